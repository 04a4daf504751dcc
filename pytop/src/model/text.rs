//! Text that comes from traced processes, and how it is made safe to show.
//!
//! Names are bytes that another process chose. They may hold escape sequences that would drive
//! the terminal, newlines that would break a table, bidirectional overrides that would show one
//! name as another, or no UTF-8 at all. [`Text`] keeps the bytes as they came and has one way out:
//! [`Text::visible`], in which whatever is not plain is written as an escape:
//!
//! ```text
//! bytes                      visible
//! 6d 61 69 6e                main
//! 1b 5b 33 31 6d             \x1b[31m
//! 61 0a 62                   a\nb
//! e2 80 ae 78                \u{202e}x
//! ff 78                      \xffx
//! ```

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Bytes of a traced process that are meant to be text, cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// The bytes as the process had them. Never write them to a terminal.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there are no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is another value with the same memory.
    #[must_use]
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// The text with every control, bidirectional or otherwise invisible character, and every
    /// byte that is not UTF-8, written as an escape. Safe for a terminal and for one line.
    #[must_use]
    pub fn visible(&self) -> Cow<'_, str> {
        visible(&self.0)
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<&std::ffi::OsStr> for Text {
    fn from(text: &std::ffi::OsStr) -> Self {
        std::os::unix::ffi::OsStrExt::as_bytes(text).into()
    }
}

impl From<&std::path::Path> for Text {
    fn from(path: &std::path::Path) -> Self {
        path.as_os_str().into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.visible())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.visible())
    }
}

/// [`Text::visible`] for bytes that are in no [`Text`].
#[must_use]
pub fn visible(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes)
        && !text.chars().any(is_hidden)
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                _ if !is_hidden(character) => shown.push(character),
                _ if character.is_ascii() => {
                    push(&mut shown, format_args!("\\x{:02x}", character as u32));
                }
                _ => push(&mut shown, format_args!("\\u{{{:x}}}", character as u32)),
            }
        }
        for byte in chunk.invalid() {
            push(&mut shown, format_args!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(shown)
}

fn push(text: &mut String, escape: fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = text.write_fmt(escape);
}

/// Whether a character changes how its neighbours are shown, or is not seen itself.
///
/// Control characters (Cc); the bidirectional controls of Unicode's UAX #9, which can make a name
/// read as another; and the characters of zero width or without a shape (U+200B–U+200F, U+2028,
/// U+2029, U+2060–U+206F, U+FEFF, U+FFF9–U+FFFB, tags and U+00AD).
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(
            visible("naïve_函数 <genexpr>".as_bytes()),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn whatever_is_not_plain_becomes_an_escape() {
        for (bytes, shown) in [
            (b"\x1b[31mred\x1b[0m".as_slice(), "\\x1b[31mred\\x1b[0m"),
            (b"a\nb\r\tc", "a\\nb\\r\\tc"),
            (b"\0\x7f", "\\x00\\x7f"),
            ("\u{202e}evil\u{2066}".as_bytes(), "\\u{202e}evil\\u{2066}"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
            (b"\xff\xfeok\xc3", "\\xff\\xfeok\\xc3"),
        ] {
            assert_eq!(visible(bytes), shown);
        }
    }
}

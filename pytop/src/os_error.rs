//! What the kernel answered, in its own words.

use std::io;

/// The text of an error, without the number that `io::Error` adds: `Permission denied`, not
/// `Permission denied (os error 13)`.
pub(crate) fn describe(error: &io::Error) -> String {
    without_numbers(&error.to_string())
}

/// A text in which errors have been written, without their numbers.
pub(crate) fn without_numbers(text: &str) -> String {
    const NUMBER: &str = " (os error ";
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once(NUMBER) {
        plain.push_str(before);
        rest = after.split_once(')').map_or("", |(_, behind)| behind);
    }
    plain + rest
}

/// Whether the kernel refused for want of privilege.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_no_number() {
        for (number, words) in [
            (libc::EACCES, "Permission denied"),
            (libc::ENOSPC, "No space left on device"),
        ] {
            assert_eq!(describe(&io::Error::from_raw_os_error(number)), words);
        }
        assert_eq!(describe(&io::Error::other("no room")), "no room");
        assert_eq!(without_numbers("a (os error 2) b (os error 3)"), "a b");
    }
}

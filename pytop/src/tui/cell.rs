//! Text of traced processes, made to fit a column.
//!
//! A name is first made visible ([`Text::visible`](crate::model::Text::visible)), then cut into
//! pieces that are shown whole or not at all. A piece is a character, or in a locale without UTF-8
//! its escape:
//!
//! ```text
//! visible text      函数_main
//! pieces            函 数 _ m a i n                       (2 2 1 1 1 1 1 columns)
//! pieces in ASCII   \u{51fd} \u{6570} _ m a i n           (8 8 1 1 1 1 1 columns)
//! seven columns     …_main   or, when its tail is cut,   函数_m…
//! ```

use std::ops::Range;

use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use super::theme::Glyphs;

/// Which end of a text goes when there is no room for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The beginning: the end of a path says more.
    Head,
    /// The end.
    Tail,
}

/// Text that is being fitted.
#[derive(Clone, Debug, Default)]
pub(super) struct Pieces(Vec<Piece>);

#[derive(Clone, Copy, Debug)]
struct Piece {
    character: char,
    escaped: bool,
    width: usize,
    style: Style,
}

impl Pieces {
    /// Adds a visible text in one style.
    pub(super) fn push(&mut self, visible: &str, style: Style, glyphs: &Glyphs) {
        self.push_styled(visible, |_| style, glyphs);
    }

    /// Adds a visible text, with the style of the character at each byte.
    pub(super) fn push_styled(
        &mut self,
        visible: &str,
        style: impl Fn(usize) -> Style,
        glyphs: &Glyphs,
    ) {
        for (index, character) in visible.char_indices() {
            // Variation selectors change the width of what stands before them in some terminals
            // and not in others.
            if matches!(character, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}') {
                continue;
            }
            let escaped = glyphs.ascii && !character.is_ascii();
            let width = if escaped {
                character.escape_unicode().count()
            } else {
                character.width().unwrap_or(0)
            };
            self.0.push(Piece {
                character,
                escaped,
                width,
                style: style(index),
            });
        }
    }

    /// The columns that the text takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|piece| piece.width).sum()
    }

    /// The text in at most `width` columns.
    pub(super) fn fit(
        &self,
        width: usize,
        cut: Cut,
        mark: Style,
        glyphs: &Glyphs,
    ) -> Line<'static> {
        if self.width() <= width {
            return line(&self.0, None, None);
        }
        if width == 0 {
            return Line::default();
        }
        let room = width - 1;
        match cut {
            Cut::Head => {
                let kept = self
                    .0
                    .get(self.0.len() - fitting(self.0.iter().rev(), room)..);
                let kept = kept.unwrap_or_default();
                // A combining character must not fall on the mark.
                let start = kept
                    .iter()
                    .position(|piece| piece.width > 0)
                    .unwrap_or(kept.len());
                line(
                    kept.get(start..).unwrap_or_default(),
                    Some(Span::styled(glyphs.head_cut, mark)),
                    None,
                )
            }
            Cut::Tail => {
                let kept = self.0.get(..fitting(self.0.iter(), room));
                line(
                    kept.unwrap_or_default(),
                    None,
                    Some(Span::styled(glyphs.tail_cut, mark)),
                )
            }
        }
    }

    /// The whole text in lines of at most `width` columns, at least one.
    pub(super) fn wrap(&self, width: usize) -> Vec<Line<'static>> {
        self.broken(width, |_, fits| (fits, 0))
    }

    /// The whole text in lines of at most `width` columns that end between words where they can.
    pub(super) fn wrap_words(&self, width: usize) -> Vec<Line<'static>> {
        let is_space = |piece: &&Piece| piece.character == ' ';
        self.broken(width, |rest, fits| {
            let words = rest.get(..=fits).unwrap_or_default();
            let space = words.iter().rposition(|piece| is_space(&piece));
            let end = space.filter(|space| *space > 0).unwrap_or(fits);
            let spaces = rest.iter().skip(end).take_while(is_space).count();
            (end, spaces)
        })
    }

    /// The text in lines. `end` tells, of pieces that are too many for one line and the number of
    /// those that fit, how many are on it, and how many are left out behind them.
    fn broken(
        &self,
        width: usize,
        end: impl Fn(&[Piece], usize) -> (usize, usize),
    ) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let mut rest = self.0.as_slice();
        while !rest.is_empty() || lines.is_empty() {
            // A piece wider than the screen is cut by the screen.
            let fits = fitting(rest.iter(), width).max(1);
            let (shown, left_out) = if fits < rest.len() {
                end(rest, fits)
            } else {
                (rest.len(), 0)
            };
            lines.push(line(rest.get(..shown).unwrap_or(rest), None, None));
            rest = rest.get(shown + left_out..).unwrap_or_default();
        }
        lines
    }
}

/// The number of pieces that fit into `width` columns.
fn fitting<'a>(pieces: impl Iterator<Item = &'a Piece>, width: usize) -> usize {
    let mut used = 0;
    pieces
        .take_while(|piece| {
            used += piece.width;
            used <= width
        })
        .count()
}

fn line(
    pieces: &[Piece],
    before: Option<Span<'static>>,
    after: Option<Span<'static>>,
) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = before.into_iter().collect();
    for run in pieces.chunk_by(|left, right| left.style == right.style) {
        let mut text = String::with_capacity(run.len());
        for piece in run {
            if piece.escaped {
                text.extend(piece.character.escape_unicode());
            } else {
                text.push(piece.character);
            }
        }
        let style = run.first().map_or_else(Style::default, |piece| piece.style);
        spans.push(Span::styled(text, style));
    }
    spans.extend(after);
    Line::from(spans)
}

/// A short text of the machine, such as a user's name, as it may be shown.
pub(super) fn shown(text: &str, glyphs: &Glyphs) -> String {
    let visible = crate::model::text::visible(text.as_bytes());
    if glyphs.ascii {
        ascii(&visible)
    } else {
        visible.into_owned()
    }
}

/// A visible text without what is not ASCII.
fn ascii(visible: &str) -> String {
    let mut text = String::with_capacity(visible.len());
    for character in visible.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            text.extend(character.escape_unicode());
        }
    }
    text
}

/// Whether a byte lies in one of the ranges.
pub(super) fn is_within(ranges: &[Range<usize>], byte: usize) -> bool {
    ranges.iter().any(|range| range.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, glyphs: &Glyphs) -> Pieces {
        let mut pieces = Pieces::default();
        pieces.push(text, Style::new(), glyphs);
        pieces
    }

    #[test]
    fn a_path_loses_its_head_and_a_name_its_tail() {
        for (text, width, head, tail) in [
            ("/srv/app.py", 11, "/srv/app.py", "/srv/app.py"),
            ("/srv/app.py", 7, "…app.py", "/srv/a…"),
            ("/srv/app.py", 1, "…", "…"),
            ("/srv/app.py", 0, "", ""),
            ("函数_main", 7, "…_main", "函数_m…"),
            ("函数", 3, "…数", "函…"),
            ("函数", 2, "…", "…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "…e\u{301}", "e\u{301}…"),
        ] {
            let glyphs = Glyphs::UNICODE;
            let pieces = pieces(text, &glyphs);
            assert_eq!(
                pieces
                    .fit(width, Cut::Head, Style::new(), &glyphs)
                    .to_string(),
                head
            );
            assert_eq!(
                pieces
                    .fit(width, Cut::Tail, Style::new(), &glyphs)
                    .to_string(),
                tail
            );
        }
    }

    #[test]
    fn in_ascii_an_escape_is_shown_whole_or_not_at_all() {
        let glyphs = Glyphs::ASCII;
        let pieces = pieces("a函b", &glyphs);
        for (width, head, tail) in [
            (10, r"a\u{51fd}b", r"a\u{51fd}b"),
            (9, "<b", "a>"),
            (2, "<b", "a>"),
        ] {
            assert_eq!(
                pieces
                    .fit(width, Cut::Head, Style::new(), &glyphs)
                    .to_string(),
                head
            );
            assert_eq!(
                pieces
                    .fit(width, Cut::Tail, Style::new(), &glyphs)
                    .to_string(),
                tail
            );
        }
    }

    #[test]
    fn everything_is_in_the_wrapped_lines() {
        let glyphs = Glyphs::UNICODE;
        let text = |lines: Vec<Line<'_>>| -> Vec<String> {
            lines.iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            text(pieces("abcdefg", &glyphs).wrap(3)),
            ["abc", "def", "g"]
        );
        assert_eq!(text(pieces("函数函", &glyphs).wrap(3)), ["函", "数", "函"]);
        assert_eq!(text(pieces("函", &glyphs).wrap(1)), ["函"]);
        assert_eq!(text(pieces("", &glyphs).wrap(3)), [""]);
        assert_eq!(
            text(pieces("one two three", &glyphs).wrap_words(7)),
            ["one two", "three"]
        );
        assert_eq!(
            text(pieces("unbreakable", &glyphs).wrap_words(4)),
            ["unbr", "eaka", "ble"]
        );
        assert_eq!(text(pieces("ab ", &glyphs).wrap_words(2)), ["ab"]);
        assert_eq!(text(pieces("", &glyphs).wrap_words(2)), [""]);
    }
}

//! Colours and glyphs.
//!
//! Colour only ever repeats what words or shapes say already, so that nothing is lost on a
//! terminal without it. The default foreground and background are kept nearly everywhere: pytop
//! looks at home on a dark and on a light terminal.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;

/// How many colours the terminal has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colors {
    /// None: bold, dim, underlined and reversed text only.
    None,
    /// The sixteen that every colour terminal has.
    #[default]
    Sixteen,
    /// The palette of 256.
    Indexed,
}

impl Colors {
    /// What the environment says: `NO_COLOR` (<https://no-color.org>), `COLORTERM` and `TERM`.
    #[must_use]
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let term = variable("TERM").unwrap_or_default();
        if variable("NO_COLOR").is_some_and(|value| !value.is_empty())
            || matches!(
                term.as_str(),
                "dumb" | "vt100" | "vt102" | "vt220" | "vt320"
            )
            || term.ends_with("-mono")
            || term.ends_with("-m")
        {
            Self::None
        } else if variable("COLORTERM").is_some_and(|value| !value.is_empty())
            || [
                "256color",
                "direct",
                "kitty",
                "alacritty",
                "ghostty",
                "foot",
            ]
            .iter()
            .any(|name| term.contains(name))
        {
            Self::Indexed
        } else {
            Self::Sixteen
        }
    }
}

/// Whether the locale's text is UTF-8, by the first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set
/// and not empty, as setlocale(3) takes them.
#[must_use]
pub fn is_utf8_locale(variable: impl Fn(&str) -> Option<String>) -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| variable(name))
        .find(|value| !value.is_empty())
        .is_some_and(|value| {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        })
}

/// The style of each kind of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    /// The name of the program, and titles.
    pub(super) title: Style,
    /// What matters most on a line.
    pub(super) strong: Style,
    /// What matters least.
    pub(super) dim: Style,
    /// Titles of columns.
    pub(super) columns: Style,
    /// The title of the column that sorts.
    pub(super) sorted: Style,
    /// The selected row.
    pub(super) selected: Style,
    /// What the filter matched.
    pub(super) highlight: Style,
    /// Graphs.
    pub(super) graph: Style,
    /// A key that can be pressed.
    pub(super) key: Style,
    /// Something to know of.
    pub(super) warning: Style,
    /// Something that is wrong.
    pub(super) error: Style,
    /// The mark of a paused screen.
    pub(super) paused: Style,
}

impl Theme {
    pub(super) fn new(colors: Colors) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let reversed = plain.add_modifier(Modifier::REVERSED);
        match colors {
            Colors::None => Self {
                title: bold,
                strong: bold,
                dim: plain.add_modifier(Modifier::DIM),
                columns: plain.add_modifier(Modifier::UNDERLINED),
                sorted: bold.add_modifier(Modifier::UNDERLINED),
                selected: reversed,
                highlight: bold.add_modifier(Modifier::UNDERLINED),
                graph: plain,
                key: bold,
                warning: bold,
                error: bold,
                paused: reversed.add_modifier(Modifier::BOLD),
            },
            Colors::Sixteen => Self {
                title: bold.fg(Color::Cyan),
                strong: bold,
                dim: plain.add_modifier(Modifier::DIM),
                columns: plain.fg(Color::Cyan),
                sorted: bold.fg(Color::Cyan),
                selected: plain.fg(Color::Black).bg(Color::Cyan),
                highlight: plain.fg(Color::Black).bg(Color::Yellow),
                graph: plain.fg(Color::Cyan),
                key: bold.fg(Color::Cyan),
                warning: plain.fg(Color::Yellow),
                error: bold.fg(Color::Red),
                paused: bold.fg(Color::Black).bg(Color::Yellow),
            },
            // Tones of middle lightness, readable on black and on white.
            Colors::Indexed => {
                let (accent, quiet, amber, red) = (
                    Color::Indexed(67),
                    Color::Indexed(244),
                    Color::Indexed(172),
                    Color::Indexed(160),
                );
                Self {
                    title: bold.fg(accent),
                    strong: bold,
                    dim: plain.fg(quiet),
                    columns: plain.fg(accent),
                    sorted: bold.fg(accent),
                    selected: plain.fg(Color::Indexed(231)).bg(Color::Indexed(24)),
                    highlight: plain.fg(Color::Indexed(16)).bg(Color::Indexed(179)),
                    graph: plain.fg(accent),
                    key: bold.fg(accent),
                    warning: plain.fg(amber),
                    error: bold.fg(red),
                    paused: bold.fg(Color::Indexed(16)).bg(Color::Indexed(179)),
                }
            }
        }
    }
}

/// The shapes that a screen is made of beside letters and digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyphs {
    /// Nothing but ASCII.
    pub(super) ascii: bool,
    /// Stands where the head of a text was cut.
    pub(super) head_cut: &'static str,
    /// Stands where the tail of a text was cut.
    pub(super) tail_cut: &'static str,
    /// Largest first.
    pub(super) descending: &'static str,
    /// Smallest first.
    pub(super) ascending: &'static str,
    /// The chosen line of a menu.
    pub(super) chosen: &'static str,
    /// A column of a graph from empty to full.
    pub(super) bars: &'static [&'static str],
    /// Frames.
    pub(super) border: border::Set<'static>,
}

impl Glyphs {
    pub(super) const UNICODE: Self = Self {
        ascii: false,
        head_cut: "…",
        tail_cut: "…",
        descending: "▼",
        ascending: "▲",
        chosen: "●",
        bars: &[" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
        border: border::ROUNDED,
    };

    pub(super) const ASCII: Self = Self {
        ascii: true,
        head_cut: "<",
        tail_cut: ">",
        descending: "v",
        ascending: "^",
        chosen: "*",
        bars: &[" ", ".", ":", "|"],
        border: border::Set {
            top_left: "+",
            top_right: "+",
            bottom_left: "+",
            bottom_right: "+",
            vertical_left: "|",
            vertical_right: "|",
            horizontal_top: "-",
            horizontal_bottom: "-",
        },
    };

    pub(super) fn new(ascii: bool) -> Self {
        if ascii { Self::ASCII } else { Self::UNICODE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment<'a>(pairs: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            let pair = pairs.iter().find(|(key, _)| *key == name)?;
            Some(pair.1.to_owned())
        }
    }

    #[test]
    fn colours_are_those_that_the_environment_promises() {
        for (pairs, colors) in [
            (&[("TERM", "xterm")][..], Colors::Sixteen),
            (&[("TERM", "linux")], Colors::Sixteen),
            (&[("TERM", "xterm-256color")], Colors::Indexed),
            (
                &[("TERM", "xterm"), ("COLORTERM", "truecolor")],
                Colors::Indexed,
            ),
            (
                &[("TERM", "xterm-256color"), ("NO_COLOR", "1")],
                Colors::None,
            ),
            (
                &[("TERM", "xterm-256color"), ("NO_COLOR", "")],
                Colors::Indexed,
            ),
            (&[("TERM", "vt100")], Colors::None),
            (&[("TERM", "dumb"), ("COLORTERM", "1")], Colors::None),
            (&[], Colors::Sixteen),
        ] {
            assert_eq!(
                Colors::from_environment(environment(pairs)),
                colors,
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        for (pairs, utf8) in [
            (&[("LANG", "en_US.UTF-8")][..], true),
            (&[("LANG", "C.utf8")], true),
            (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], false),
            (
                &[("LC_ALL", ""), ("LC_CTYPE", "de_DE.UTF-8"), ("LANG", "C")],
                true,
            ),
            (
                &[("LC_CTYPE", "de_DE.ISO-8859-1"), ("LANG", "C.UTF-8")],
                false,
            ),
            (&[], false),
        ] {
            assert_eq!(is_utf8_locale(environment(pairs)), utf8, "{pairs:?}");
        }
    }
}

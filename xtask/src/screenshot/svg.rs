//! A terminal's screen as an SVG picture.
//!
//! Each word is placed at its own column and stretched to its own width, and lines and blocks are
//! drawn rather than written, so that the grid holds whatever font the viewer has.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

use super::glyph;

/// Size of a cell in pixels.
const CELL: (f64, f64) = (8.4, 18.0);
/// From the top of a cell to the line that letters stand on.
const BASELINE: f64 = 13.5;
/// Around the screen.
const PADDING: f64 = 14.0;
const FONT_SIZE: u32 = 14;
const FONTS: &str = "'DejaVu Sans Mono','Cascadia Mono',Menlo,Consolas,'Liberation Mono',monospace";
const BACKGROUND: Rgb = Rgb(0x14, 0x17, 0x1d);
const FOREGROUND: Rgb = Rgb(0xd4, 0xd8, 0xde);
/// The 16 colours that a terminal lets its user choose.
const PALETTE: [Rgb; 16] = [
    Rgb(0x2a, 0x2f, 0x38),
    Rgb(0xe0, 0x6c, 0x75),
    Rgb(0x8f, 0xc4, 0x75),
    Rgb(0xe0, 0xb8, 0x6a),
    Rgb(0x6a, 0xa9, 0xee),
    Rgb(0xc3, 0x80, 0xd8),
    Rgb(0x5c, 0xbd, 0xc4),
    Rgb(0xc4, 0xca, 0xd3),
    Rgb(0x6b, 0x74, 0x83),
    Rgb(0xf0, 0x86, 0x8e),
    Rgb(0xa8, 0xdb, 0x8e),
    Rgb(0xf2, 0xcf, 0x86),
    Rgb(0x8c, 0xc1, 0xff),
    Rgb(0xd9, 0x9c, 0xec),
    Rgb(0x7d, 0xd8, 0xdf),
    Rgb(0xf3, 0xf5, 0xf8),
];

#[derive(Clone, Copy, PartialEq, Eq)]
struct Rgb(u8, u8, u8);

impl std::fmt::Display for Rgb {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// How a cell looks, apart from its character.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a terminal has that many independent attributes"
)]
struct Style {
    foreground: Rgb,
    background: Rgb,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
}

impl Style {
    fn of(cell: &Cell) -> Self {
        let mut foreground = rgb(cell.fgcolor(), FOREGROUND);
        let mut background = rgb(cell.bgcolor(), BACKGROUND);
        if cell.inverse() {
            (foreground, background) = (background, foreground);
        }
        Self {
            foreground,
            background,
            bold: cell.bold(),
            dim: cell.dim(),
            italic: cell.italic(),
            underline: cell.underline(),
        }
    }

    fn attributes(self) -> String {
        let mut text = format!(" fill=\"{}\"", self.foreground);
        for (set, attribute) in [
            (self.bold, " font-weight=\"bold\""),
            (self.dim, " fill-opacity=\"0.6\""),
            (self.italic, " font-style=\"italic\""),
            (self.underline, " text-decoration=\"underline\""),
        ] {
            if set {
                text.push_str(attribute);
            }
        }
        text
    }
}

fn rgb(color: Color, default: Rgb) -> Rgb {
    // xterm's cube of 6 by 6 by 6 colours, and its 24 greys.
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    match color {
        Color::Default => default,
        Color::Rgb(red, green, blue) => Rgb(red, green, blue),
        Color::Idx(index @ 0..=15) => PALETTE[usize::from(index)],
        Color::Idx(index @ 16..=231) => {
            let index = index - 16;
            Rgb(level(index / 36), level(index / 6 % 6), level(index % 6))
        }
        Color::Idx(index @ 232..) => {
            let grey = 8 + 10 * (index - 232);
            Rgb(grey, grey, grey)
        }
    }
}

/// A few characters of one style in one row.
struct Word {
    column: u16,
    columns: u16,
    text: String,
    style: Style,
}

/// Draws a screen.
pub(super) fn draw(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let width = f64::from(columns.get()) * CELL.0 + 2.0 * PADDING;
    let height = f64::from(rows.get()) * CELL.1 + 2.0 * PADDING;
    let (mut fills, mut drawings, mut words) = (String::new(), String::new(), String::new());
    for row in 0..rows.get() {
        let mut word = None::<Word>;
        for column in 0..columns.get() {
            let Some(cell) = screen
                .cell(row, column)
                .filter(|cell| !cell.is_wide_continuation())
            else {
                continue;
            };
            let style = Style::of(cell);
            let wide = if cell.is_wide() { 2 } else { 1 };
            if style.background != BACKGROUND {
                let whole = place([0.0, 0.0, f64::from(wide), 1.0], column, row);
                let _ = writeln!(fills, "<path fill=\"{}\" d=\"{whole}\"/>", style.background);
            }
            let text = cell.contents();
            let single = text
                .chars()
                .next()
                .filter(|first| first.len_utf8() == text.len());
            if let Some(drawing) = single.and_then(glyph::drawing) {
                end(&mut words, word.take(), row);
                let path = drawing
                    .rectangles
                    .iter()
                    .map(|part| place(*part, column, row));
                let opacity = drawing.opacity * if style.dim { 0.6 } else { 1.0 };
                let _ = writeln!(
                    drawings,
                    "<path fill=\"{}\" fill-opacity=\"{opacity}\" d=\"{}\"/>",
                    style.foreground,
                    path.collect::<String>()
                );
            } else if text.trim().is_empty() {
                end(&mut words, word.take(), row);
            } else {
                if word.as_ref().is_some_and(|word| word.style != style) {
                    end(&mut words, word.take(), row);
                }
                let word = word.get_or_insert(Word {
                    column,
                    columns: 0,
                    text: String::new(),
                    style,
                });
                word.columns += wide;
                word.text.push_str(text);
            }
        }
        end(&mut words, word, row);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n\
         <title>pytop on a terminal</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g shape-rendering=\"crispEdges\">\n{}</g>\n<g>\n{}</g>\n\
         <g font-family=\"{FONTS}\" font-size=\"{FONT_SIZE}\">\n{words}</g>\n</svg>\n",
        joined(&fills),
        joined(&drawings),
    )
}

/// A rectangle of a cell as part of a path.
fn place([x, y, width, height]: glyph::Rectangle, column: u16, row: u16) -> String {
    let left = PADDING + (f64::from(column) + x) * CELL.0;
    let top = PADDING + (f64::from(row) + y) * CELL.1;
    let (width, height) = (width * CELL.0, height * CELL.1);
    format!("M{left:.2} {top:.2}h{width:.2}v{height:.2}h-{width:.2}z")
}

/// Paths of the same look made into one, in the order of their first ones.
fn joined(paths: &str) -> String {
    let mut looks = Vec::<(&str, String)>::new();
    for line in paths.lines() {
        let Some((look, rest)) = line.split_once(" d=\"") else {
            continue;
        };
        let path = rest.trim_end_matches("\"/>");
        match looks.iter_mut().find(|(known, _)| *known == look) {
            Some((_, paths)) => paths.push_str(path),
            None => looks.push((look, path.to_owned())),
        }
    }
    looks.iter().fold(String::new(), |mut text, (look, path)| {
        let _ = writeln!(text, "{look} d=\"{path}\"/>");
        text
    })
}

/// Writes a finished word.
fn end(words: &mut String, word: Option<Word>, row: u16) {
    let Some(word) = word else { return };
    let _ = writeln!(
        words,
        "<text x=\"{:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" \
         lengthAdjust=\"spacingAndGlyphs\"{}>{}</text>",
        PADDING + f64::from(word.column) * CELL.0,
        PADDING + f64::from(row) * CELL.1 + BASELINE,
        f64::from(word.columns) * CELL.0,
        word.style.attributes(),
        escaped(&word.text),
    );
}

/// Text for XML, which has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn picture(bytes: &str) -> String {
        let size = |cells| NonZeroU16::new(cells).unwrap();
        let mut parser = vt100::Parser::new(size(3), size(20), 0);
        parser.process(bytes.as_bytes());
        draw(parser.screen())
    }

    #[test]
    fn words_stand_at_their_columns_and_are_escaped() {
        let picture = picture("\x1b[1;31mCPU\x1b[0m  <module>&");
        assert!(
            picture.contains(
                "<text x=\"14.0\" y=\"27.5\" textLength=\"25.2\" lengthAdjust=\"spacingAndGlyphs\" \
                 fill=\"#e06c75\" font-weight=\"bold\">CPU</text>"
            ),
            "{picture}"
        );
        let column = 14.0 + 5.0 * 8.4;
        assert!(
            picture.contains(&format!("<text x=\"{column:.1}\"")),
            "{picture}"
        );
        assert!(picture.contains(">&lt;module&gt;&amp;</text>"), "{picture}");
    }

    #[test]
    fn neighbours_of_one_look_are_one_path() {
        let picture = picture("\x1b[44m    \x1b[0m▁▂");
        assert_eq!(
            picture.matches("<path fill=\"#6aa9ee\"").count(),
            1,
            "{picture}"
        );
        assert_eq!(
            picture.matches("<path fill=\"#d4d8de\"").count(),
            1,
            "{picture}"
        );
        assert_eq!(picture.matches("<text").count(), 0, "{picture}");
    }

    #[test]
    fn xterms_colours_are_known() {
        for (index, expected) in [
            (16, "#000000"),
            (196, "#ff0000"),
            (231, "#ffffff"),
            (232, "#080808"),
            (255, "#eeeeee"),
        ] {
            assert_eq!(rgb(Color::Idx(index), FOREGROUND).to_string(), expected);
        }
    }
}

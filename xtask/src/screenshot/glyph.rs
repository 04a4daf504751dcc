//! Characters that are drawings: blocks, boxes and Braille dots.
//!
//! They must meet at the edges of their cells, which the glyphs of a viewer's font need not do.
//! So they are drawn here, as rectangles within a cell of 1 by 1.

/// A rectangle: left, top, width, height.
pub(super) type Rectangle = [f64; 4];

/// Width of a light line as a share of the cell's width.
const LINE: f64 = 0.14;
/// A cell is about this many times as high as it is wide.
const ASPECT: f64 = 2.0;

/// A drawing, and how much of the colour it takes (1 for all).
pub(super) struct Drawing {
    pub(super) rectangles: Vec<Rectangle>,
    pub(super) opacity: f64,
}

/// The drawing of a character, unless it is one that a font has to draw.
pub(super) fn drawing(character: char) -> Option<Drawing> {
    let solid = |rectangles| {
        Some(Drawing {
            rectangles,
            opacity: 1.0,
        })
    };
    let code = u32::from(character);
    let eighths = |from: u32| f64::from(code - from) / 8.0;
    match character {
        '▀' => solid(vec![[0.0, 0.0, 1.0, 0.5]]),
        '▁'..='█' => solid(vec![[0.0, 1.0 - eighths(0x2580), 1.0, eighths(0x2580)]]),
        '▉'..='▏' => solid(vec![[0.0, 0.0, 1.0 - eighths(0x2588), 1.0]]),
        '▐' => solid(vec![[0.5, 0.0, 0.5, 1.0]]),
        '░'..='▓' => Some(Drawing {
            rectangles: vec![[0.0, 0.0, 1.0, 1.0]],
            opacity: f64::from(code - 0x2590) / 4.0,
        }),
        '\u{2800}'..='\u{28ff}' => solid(braille(code - 0x2800)),
        _ => solid(arms(character)?),
    }
}

/// The dots of a Braille pattern, of which each bit is one.
fn braille(bits: u32) -> Vec<Rectangle> {
    // Column and row of dots 1 to 8.
    const PLACES: [(f64, f64); 8] = [
        (0.0, 0.0),
        (0.0, 1.0),
        (0.0, 2.0),
        (1.0, 0.0),
        (1.0, 1.0),
        (1.0, 2.0),
        (0.0, 3.0),
        (1.0, 3.0),
    ];
    let (width, height) = (0.3, 0.3 / ASPECT);
    PLACES
        .iter()
        .enumerate()
        .filter(|(dot, _)| bits >> dot & 1 == 1)
        .map(|(_, (column, row))| {
            [
                0.25 + column * 0.5 - width / 2.0,
                0.125 + row * 0.25 - height / 2.0,
                width,
                height,
            ]
        })
        .collect()
}

/// The lines of a box character, from the middle of the cell to its edges.
fn arms(character: char) -> Option<Vec<Rectangle>> {
    let [left, right, up, down] = match character {
        '─' | '━' | '═' => [true, true, false, false],
        '│' | '┃' | '║' => [false, false, true, true],
        '┌' | '╭' | '┏' | '╔' => [false, true, false, true],
        '┐' | '╮' | '┓' | '╗' => [true, false, false, true],
        '└' | '╰' | '┗' | '╚' => [false, true, true, false],
        '┘' | '╯' | '┛' | '╝' => [true, false, true, false],
        '├' => [false, true, true, true],
        '┤' => [true, false, true, true],
        '┬' => [true, true, false, true],
        '┴' => [true, true, true, false],
        '┼' => [true, true, true, true],
        '╴' => [true, false, false, false],
        '╶' => [false, true, false, false],
        '╵' => [false, false, true, false],
        '╷' => [false, false, false, true],
        _ => return None,
    };
    let thick = if "━┃┏┓┗┛".contains(character) {
        2.0 * LINE
    } else {
        LINE
    };
    let (wide, high) = (thick, thick / ASPECT);
    let (x, y) = (0.5 - wide / 2.0, 0.5 - high / 2.0);
    let arms = [
        (left, [0.0, y, 0.5 + wide / 2.0, high]),
        (right, [x, y, 0.5 + wide / 2.0, high]),
        (up, [x, 0.0, wide, 0.5 + high / 2.0]),
        (down, [x, y, wide, 0.5 + high / 2.0]),
    ];
    Some(
        arms.into_iter()
            .filter(|(there, _)| *there)
            .map(|(_, arm)| arm)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangles(character: char) -> Vec<Rectangle> {
        drawing(character).unwrap().rectangles
    }

    #[test]
    fn blocks_fill_their_eighths() {
        assert_eq!(rectangles('▁'), [[0.0, 0.875, 1.0, 0.125]]);
        assert_eq!(rectangles('█'), [[0.0, 0.0, 1.0, 1.0]]);
        assert_eq!(rectangles('▏'), [[0.0, 0.0, 0.125, 1.0]]);
        assert_eq!(rectangles('▉'), [[0.0, 0.0, 0.875, 1.0]]);
        assert!((drawing('░').unwrap().opacity - 0.25).abs() < 1e-9);
    }

    #[test]
    fn lines_reach_the_edges_where_they_go_on() {
        let horizontal = rectangles('─');
        assert_eq!(horizontal.len(), 2);
        assert!(horizontal.iter().any(|[x, ..]| *x == 0.0));
        assert!(
            horizontal
                .iter()
                .any(|[x, _, width, _]| (x + width - 1.0).abs() < 1e-9)
        );
        assert_eq!(rectangles('┼').len(), 4);
    }

    #[test]
    fn braille_has_a_dot_for_each_bit() {
        assert_eq!(rectangles('\u{2800}').len(), 0);
        assert_eq!(rectangles('\u{28ff}').len(), 8);
        // Dot 8 is at the bottom right.
        let [[x, y, ..]] = rectangles('\u{2880}')[..] else {
            panic!("one dot")
        };
        assert!(x > 0.5 && y > 0.75);
    }

    #[test]
    fn letters_are_left_to_the_font() {
        assert!(drawing('a').is_none() && drawing('▲').is_none() && drawing(' ').is_none());
    }
}

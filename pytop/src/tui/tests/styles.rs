//! Colours, and what stands in for them.

use std::fmt::Write as _;

use crossterm::event::KeyCode;
use insta::assert_snapshot;
use ratatui::style::{Color, Modifier, Style};

use super::fixture::{Screen, settings};
use crate::tui::{Colors, Settings};

fn screen(colors: Colors) -> Screen {
    let mut screen = Screen::with(
        Settings {
            colors,
            ..settings()
        },
        80,
        16,
    );
    screen.run(12);
    screen.press("j/order");
    screen.key(KeyCode::Enter);
    screen.press("p");
    screen
}

/// Each run of one style, as `line column text: style`.
fn runs(screen: &Screen) -> String {
    let buffer = screen.buffer();
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut runs: Vec<(u16, String, Style)> = Vec::new();
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            match runs.last_mut() {
                Some((_, run, style)) if *style == cell.style() => run.push_str(cell.symbol()),
                _ => runs.push((x, cell.symbol().to_owned(), cell.style())),
            }
        }
        for (x, run, style) in runs {
            let plain = style.fg == Some(Color::Reset)
                && style.bg == Some(Color::Reset)
                && style.add_modifier.is_empty();
            if !plain {
                let run = format!("[{}]", run.trim_end());
                let (fg, bg) = (style.fg.unwrap_or_default(), style.bg.unwrap_or_default());
                let modifiers = style.add_modifier;
                writeln!(text, "{y:2} {x:2} {run:40} {fg:?} on {bg:?} {modifiers:?}").unwrap();
            }
        }
    }
    text
}

#[test]
fn every_depth() {
    assert_snapshot!("styles_none", runs(&screen(Colors::None)));
    assert_snapshot!("styles_sixteen", runs(&screen(Colors::Sixteen)));
    assert_snapshot!("styles_indexed", runs(&screen(Colors::Indexed)));
}

#[test]
fn no_colour_means_no_colour_in_any_view() {
    for view in ["", "s", "?", "e", "P", "Pjjj", "/(", "p"] {
        let mut screen = screen(Colors::None);
        screen.press(view);
        for cell in screen.buffer().content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{view}");
        }
    }
}

#[test]
fn sixteen_colours_means_no_more_than_sixteen() {
    for view in ["", "s", "?", "e", "P", "Pjjj", "/(", "p"] {
        let mut screen = screen(Colors::Sixteen);
        screen.press(view);
        for cell in screen.buffer().content() {
            for color in [cell.fg, cell.bg] {
                assert!(
                    !matches!(color, Color::Indexed(_) | Color::Rgb(..)),
                    "{view}"
                );
            }
        }
    }
}

#[test]
fn the_selected_row_stands_out_at_every_depth() {
    for colors in [Colors::None, Colors::Sixteen, Colors::Indexed] {
        let screen = screen(colors);
        let buffer = screen.buffer();
        let (selected, other) = (&buffer[(79, 4)], &buffer[(79, 5)]);
        assert_ne!(selected.style(), other.style());
        if colors == Colors::None {
            assert!(selected.modifier.contains(Modifier::REVERSED));
        }
    }
}

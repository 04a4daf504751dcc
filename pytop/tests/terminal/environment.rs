//! Terminals of all kinds and sizes.

use std::fmt::Write as _;

use super::support::{Form, Python, interpreter};
use super::tmux::Terminal;
use super::{fruit, functions, pytop, wait_for_order, watching};

#[test]
fn the_size_changes() {
    let running = fruit();
    let terminal = watching(&running);
    for (columns, rows) in [(60, 12), (250, 80), (80, 24), (20, 4), (120, 30)] {
        terminal.resize(columns, rows);
        let fits = |screen: &str| {
            let last = screen
                .trim_end_matches('\n')
                .lines()
                .last()
                .unwrap_or_default();
            last.contains("F1") && last.chars().count() <= usize::from(columns)
        };
        let screen = terminal.wait("a screen of the new size", |screen| {
            screen.lines().count() == usize::from(rows)
                && (rows < 12 || fits(screen) && functions(screen).len() == 3)
        });
        assert!(
            screen
                .lines()
                .all(|line| line.chars().count() <= usize::from(columns)),
            "{screen}"
        );
    }
}

#[test]
fn the_smallest_terminal() {
    let running = fruit();
    let terminal = Terminal::open(60, 12);
    terminal.run(&pytop(&format!("-p {}", running.pid())));
    let screen = wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    for title in ["PID", "FILENAME", "LINE", "FUNCTION", "CALLS"] {
        assert!(screen.contains(title), "no {title}:\n{screen}");
    }
    for key in [
        "?", "Escape", "P", "P", "s", "Escape", "Enter", "Escape", "/", "Escape",
    ] {
        terminal.press(key);
    }
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    terminal.press("q");
    terminal.wait_for_shell();
}

/// Sequences that choose a colour, of text or behind it.
fn colours(screen: &str) -> Vec<&str> {
    screen
        .split("\x1b[")
        .skip(1)
        .filter_map(|rest| rest.split_once('m').map(|(codes, _)| codes))
        .filter(|codes| {
            codes.split(';').any(|code| {
                code.parse::<u8>()
                    .is_ok_and(|code| matches!(code, 30..=38 | 40..=48 | 90..=107))
            })
        })
        .collect()
}

#[test]
fn colours_are_used_unless_unwanted() {
    let running = fruit();
    for (setting, coloured) in [
        ("NO_COLOR=1", false),
        ("TERM=screen-256color", true),
        ("TERM=screen COLORTERM=", true),
        ("TERM=vt100 COLORTERM=", false),
    ] {
        let terminal = Terminal::open(120, 30);
        terminal.run(&format!(
            "{setting} {}",
            pytop(&format!("-p {}", running.pid()))
        ));
        wait_for_order(&terminal, &["banana", "cherry", "apple"]);
        let screen = terminal.screen_in_colour();
        assert_eq!(
            !colours(&screen).is_empty(),
            coloured,
            "{setting}: {screen:?}"
        );
    }
}

#[test]
fn a_locale_without_unicode() {
    let running = fruit();
    let terminal = Terminal::open(120, 30);
    terminal.run(&format!(
        "LC_ALL=C {}",
        pytop(&format!("-p {}", running.pid()))
    ));
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    for key in [
        "Enter", "Escape", "?", "Escape", "s", "Escape", "P", "Enter",
    ] {
        terminal.press(key);
        let screen = terminal.screen();
        assert!(screen.is_ascii(), "{screen}");
    }
}

/// The keyboard is the terminal, whatever standard input is.
#[test]
fn standard_input_is_something_else() {
    let running = fruit();
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop(&format!("-p {} </dev/null", running.pid())));
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    terminal.press("q");
    terminal.wait_for_shell();
    assert_eq!(terminal.status(), "0");
}

#[test]
fn hostile_names() {
    let names = [
        "\u{1b}]0;title\u{7}",
        "\u{1b}[2J\u{1b}[?1049l",
        "\u{202e}evil\u{9b}31m",
        "a\nb\tc",
    ];
    let shown = [
        "\\x1b]0;title\\x07",
        "\\x1b[2J\\x1b[?1049l",
        "\\u{202e}evil\\u{9b}31m",
        "a\\nb\\tc",
    ];
    let mut text = "import time\ndef called(): pass\ncodes = []\n".to_owned();
    for name in names {
        let escaped = name.chars().fold(String::new(), |mut escaped, character| {
            let _ = write!(escaped, "\\U{:08x}", u32::from(character));
            escaped
        });
        let _ = writeln!(
            text,
            "codes.append(called.__code__.replace(co_filename='{escaped}', co_name='{escaped}'))"
        );
    }
    text.push_str(
        "print('ready', flush=True)\n\
         while True:\n    for code in codes:\n        called.__code__ = code\n        called()\n    \
         time.sleep(0.01)\n",
    );
    let python = Python::of_text(interpreter("3.9"), Form::Chroot, text);
    let running = python.start();
    let terminal = Terminal::open(120, 30);
    let title = terminal.variable("pane_title");
    terminal.run(&pytop(&format!("-p {}", running.pid())));
    terminal.wait_for(&shown);
    for name in shown {
        terminal.press("Down");
        terminal.press("Enter");
        terminal.wait_for(&["Function  ", "File "]);
        terminal.press("Escape");
        terminal.wait_for(&[name]);
    }
    assert_eq!(terminal.variable("pane_title"), title);
    assert_eq!(terminal.variable("alternate_on"), "1");
    assert_eq!(terminal.screen().lines().count(), 30);
}

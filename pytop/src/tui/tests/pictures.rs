//! Pictures of each view, in each class of sizes.

use crossterm::event::KeyCode;
use insta::assert_snapshot;

use super::fixture::{Screen, process, row, settings, silent, snapshot};
use crate::model::{Coverage, Method, Row, Snapshot, Uncounted};
use crate::tui::Settings;
use crate::updates::{Scope, Update};

/// The size classes: the smallest, the classic, a window, a wall.
const SIZES: [(u16, u16); 4] = [(60, 12), (80, 24), (120, 40), (250, 80)];

fn in_every_size(name: &str, prepare: impl Fn(&mut Screen)) {
    for (width, height) in SIZES {
        let mut screen = Screen::busy(width, height);
        prepare(&mut screen);
        assert_snapshot!(format!("{name}_{width}x{height}"), screen.text());
    }
}

fn ascii() -> Settings {
    Settings {
        ascii: true,
        ..settings()
    }
}

#[test]
fn table() {
    in_every_size("table", |_| {});
}

#[test]
fn table_of_files() {
    in_every_size("files", |screen| screen.press("t"));
}

#[test]
fn table_of_processes() {
    in_every_size("grouped_by_process", |screen| screen.press("tt"));
}

#[test]
fn sort_menu() {
    in_every_size("sort_menu", |screen| screen.press("rsj"));
}

#[test]
fn filter_while_it_is_typed() {
    in_every_size("filter", |screen| screen.press("/order|handle_.2"));
}

#[test]
fn filter_that_is_no_expression() {
    in_every_size("filter_invalid", |screen| screen.press("/order("));
}

#[test]
fn filter_that_is_kept() {
    in_every_size("filter_kept", |screen| {
        screen.press("/order");
        screen.key(KeyCode::Enter);
    });
}

#[test]
fn interval_while_it_is_typed() {
    let mut screen = Screen::busy(80, 24);
    screen.press("d0.01");
    screen.key(KeyCode::Enter);
    assert_snapshot!(screen.text().lines().last().unwrap(), @"Interval in seconds: 0.01                               must be from 0.1 to 3600");
}

#[test]
fn help() {
    in_every_size("help", |screen| screen.press("?"));
}

#[test]
fn detail_of_a_function() {
    in_every_size("detail", |screen| {
        screen.key(KeyCode::Enter);
    });
}

#[test]
fn detail_of_a_file_and_a_process() {
    let mut screen = Screen::busy(80, 24);
    screen.press("te");
    assert_snapshot!("detail_of_a_file", screen.text());
    screen.key(KeyCode::Esc);
    screen.press("te");
    assert_snapshot!("detail_of_a_process", screen.text());
}

#[test]
fn detail_of_a_process_that_is_not_counted() {
    let mut screen = Screen::busy(60, 12);
    screen.press("Pjjjje");
    assert_snapshot!("detail_not_counted", screen.text());
}

#[test]
fn processes() {
    in_every_size("processes", |screen| {
        screen.press("P");
        screen.press("jjjj");
    });
}

#[test]
fn paused() {
    in_every_size("paused", |screen| screen.press("p"));
}

#[test]
fn notices() {
    let mut screen = Screen::busy(80, 24);
    screen.hear(Update::Notice(
        "pid 77: /opt/x\x1b[2J is no ELF file".into(),
    ));
    assert_snapshot!("notice", screen.text());
    screen.hear(Update::Ended(
        "python3 app.py has exited with status 0".into(),
    ));
    assert_snapshot!("ended", screen.text());
}

#[test]
fn before_the_first_interval_has_passed() {
    assert_snapshot!("no_snapshot", Screen::new(80, 24).text());
}

fn quiet(processes: Vec<crate::model::ProcessStatus>) -> Snapshot {
    Snapshot {
        processes,
        ..snapshot(Vec::new())
    }
}

#[test]
fn empty_machine() {
    for (width, height) in SIZES {
        let mut screen = Screen::new(width, height);
        screen.take(quiet(Vec::new()));
        assert_snapshot!(format!("empty_{width}x{height}"), screen.text());
    }
    let mut screen = Screen::new(80, 24);
    screen.take(quiet(Vec::new()));
    screen.press("P");
    assert_snapshot!("empty_processes", screen.text());
    let scope = Scope::Command("python3 app.py".into());
    let mut screen = Screen::with(
        Settings {
            scope,
            ..settings()
        },
        80,
        24,
    );
    screen.take(quiet(Vec::new()));
    assert_snapshot!("empty_command", screen.text());
    let scope = Scope::Processes {
        pids: vec![812, 813],
        children: true,
    };
    let mut screen = Screen::with(
        Settings {
            scope,
            ..settings()
        },
        80,
        24,
    );
    screen.take(quiet(Vec::new()));
    assert_snapshot!("empty_pids", screen.text());
}

#[test]
fn nothing_that_can_be_counted() {
    for (width, height) in SIZES {
        let mut screen = Screen::new(width, height);
        screen.take(quiet(silent()));
        assert_snapshot!(format!("not_countable_{width}x{height}"), screen.text());
    }
}

#[test]
fn nothing_called() {
    let mut screen = Screen::new(80, 24);
    screen.take(snapshot(Vec::new()));
    assert_snapshot!("nothing_called", screen.text());
    screen.run(1);
    screen.press("/nowhere");
    assert_snapshot!("nothing_matches", screen.text());
}

#[test]
fn hits_in_no_row() {
    for (width, height) in SIZES {
        let mut screen = Screen::new(width, height);
        let mut snapshot = snapshot(vec![row(812, "/srv/a.py", 1, "f", 1_009)]);
        snapshot.uncounted = Uncounted {
            table_full: 12_345,
            unreadable_name: 67,
            implausible: 0,
        };
        snapshot.processes.push(process(
            99,
            "/usr/bin/python3.8",
            "3.8.20",
            Coverage::Counted(Method::Eval),
        ));
        screen.take(snapshot);
        assert_snapshot!(format!("uncounted_{width}x{height}"), screen.text());
    }
}

fn hostile() -> Snapshot {
    let mut hostile = snapshot(vec![
        row(
            812,
            "/tmp/\x1b[31mred\x1b[0m.py",
            1,
            "\x1b]0;title\x07",
            1_009,
        ),
        row(812, "/tmp/new\nline.py", 2, "tab\there", 1_008),
        row(812, "/tmp/\u{202e}yp.live", 3, "\u{200b}hidden", 1_007),
        row(
            812,
            "/srv/项目/模块/注文処理.py",
            4,
            "合計を計算する",
            1_006,
        ),
        row(
            812,
            "/srv/项目/模块/子模块/注文処理を計算する関数の長い名前.py",
            5,
            "名前が列よりも長い関数なので切り取られる",
            1_005,
        ),
        row(812, "/tmp/e\u{301}t\u{301}e\u{301}.py", 6, "naïve", 1_004),
        row(812, "/tmp/🐍🎉.py", 7, "👩\u{200d}💻", 1_003),
        row(812, "", 8, "", 1_002),
        row(
            812,
            &"/long".repeat(2_000),
            4_294_967_295,
            &"x".repeat(10_000),
            u64::MAX / 4,
        ),
    ]);
    let (filename, name) = (b"/tmp/\xff\xfe.py".as_slice(), b"\xc3(".as_slice());
    let invalid = Row::new(812, filename, Some(9), name, 1_001);
    hostile.rows.push(invalid);
    hostile.processes = vec![process(
        812,
        "/tmp/\x1b[31m/python",
        "3.9.2",
        Coverage::NotCounted("a\x1b[2J reason".into()),
    )];
    hostile
}

#[test]
fn hostile_names() {
    let mut screen = Screen::new(120, 40);
    screen.take(hostile());
    assert_snapshot!("hostile", screen.text());
    screen.press("e");
    assert_snapshot!("hostile_detail", screen.text());
    screen.key(KeyCode::Esc);
    screen.press("P");
    assert_snapshot!("hostile_processes", screen.text());
    let mut screen = Screen::new(60, 12);
    screen.take(hostile());
    assert_snapshot!("hostile_60x12", screen.text());
}

#[test]
fn ascii_alone() {
    let mut pictures = Vec::new();
    for (width, height) in [(60, 12), (120, 40)] {
        let mut screen = Screen::with(ascii(), width, height);
        screen.run(40);
        pictures.push((format!("ascii_{width}x{height}"), screen.text()));
        screen.press("s");
        pictures.push((format!("ascii_menu_{width}x{height}"), screen.text()));
        screen.key(KeyCode::Esc);
        screen.press("e");
        pictures.push((format!("ascii_detail_{width}x{height}"), screen.text()));
        screen.key(KeyCode::Esc);
        screen.press("P");
        pictures.push((format!("ascii_processes_{width}x{height}"), screen.text()));
        screen.press("P?");
        pictures.push((format!("ascii_help_{width}x{height}"), screen.text()));
    }
    let mut screen = Screen::with(ascii(), 120, 40);
    screen.take(hostile());
    pictures.push(("ascii_hostile".to_owned(), screen.text()));
    for (name, picture) in pictures {
        assert!(picture.is_ascii(), "{name}:\n{picture}");
        assert_snapshot!(name, picture);
    }
}

#[test]
fn every_view_in_every_size_is_drawn_without_a_panic() {
    let views = [
        "", "p", "t", "tt", "s", "/order(", "?", "e", "P", "Pe", "d9", "i", "te", "tte",
    ];
    for width in [1, 39, 40, 59, 72, 96, 112, 120, 400] {
        for height in [1, 7, 8, 12, 30, 100] {
            for view in views {
                let mut screen = Screen::new(width, height);
                screen.take(hostile());
                screen.press(view);
                screen.key(KeyCode::End);
                let text = screen.text();
                let cut = &"Screen too small"[..usize::from(width).min(16)];
                assert_eq!(
                    text.contains(cut.trim_end()),
                    width < 40 || height < 8,
                    "{width}x{height} {view}"
                );
                assert!(!text.contains('\x1b'));
            }
        }
    }
}

//! What keys, the mouse and the session do.

use std::time::Duration;

use crossterm::event::{Event, KeyCode, MouseEventKind};

use super::super::action::{Action, Demand, Effects};
use super::super::areas::Areas;
use super::super::keys::{BINDINGS, Context};
use super::fixture::{Screen, row, rows, settings, snapshot};
use crate::model::{EntryKey, Estimate, GroupBy, SortKey};
use crate::tui::{Settings, TraceNews, TraceRequest};
use crate::updates::{Command, Update};

fn selected(screen: &Screen) -> Option<String> {
    match screen.app.table.key() {
        Some(EntryKey::Function(function)) => Some(function.name.to_string()),
        Some(EntryKey::File(file)) => Some(file.to_string()),
        Some(EntryKey::Process(pid)) => Some(pid.to_string()),
        None => None,
    }
}

/// The index of the selected row on the screen.
fn index(screen: &Screen) -> Option<usize> {
    screen.app.table.index()
}

fn functions(screen: &Screen) -> Vec<String> {
    let entries = screen.app.entries.iter();
    entries
        .filter_map(|entry| Some(entry.name()?.to_string()))
        .collect()
}

#[test]
fn the_selected_row_stays_selected_when_the_order_changes() {
    let mut screen = Screen::new(80, 24);
    let two = |f, g| {
        snapshot(vec![
            row(812, "a.py", 1, "f", f),
            row(812, "a.py", 2, "g", g),
        ])
    };
    screen.take(two(5, 3));
    screen.press("j");
    assert_eq!(
        (selected(&screen), index(&screen)),
        (Some("f".into()), Some(0))
    );
    screen.take(two(3, 5));
    assert_eq!(
        (selected(&screen), index(&screen)),
        (Some("f".into()), Some(1))
    );
    screen.press("r");
    assert_eq!(
        (selected(&screen), index(&screen)),
        (Some("f".into()), Some(0))
    );
}

#[test]
fn the_selected_row_is_known_without_calls_and_others_are_not() {
    let mut screen = Screen::new(80, 24);
    let all = vec![
        row(812, "a.py", 1, "f", 7),
        row(812, "a.py", 2, "g", 5),
        row(812, "a.py", 3, "h", 3),
    ];
    screen.take(snapshot(all.clone()));
    screen.press("j");
    screen.take(snapshot(vec![all[2].clone()]));
    assert_eq!(functions(&screen), ["h", "f"]);
    assert_eq!(index(&screen), Some(1));
    assert!(screen.line("812 a.py").contains('h'));
    screen.press("g");
    assert_eq!(functions(&screen), ["h"]);
    screen.press("i");
    assert_eq!(functions(&screen), ["h", "f", "g"]);
    screen.press("i>");
    assert_eq!(screen.app.view.sort, SortKey::Total);
    assert_eq!(functions(&screen), ["f", "h", "g"]);
}

#[test]
fn without_a_selection_the_table_stays_at_its_top() {
    let mut screen = Screen::busy(80, 24);
    assert_eq!(index(&screen), None);
    screen.key(KeyCode::End);
    assert_eq!(index(&screen), Some(screen.app.entries.len() - 1));
    assert!(screen.app.table.offset() > 0);
    screen.key(KeyCode::Home);
    assert_eq!((index(&screen), screen.app.table.offset()), (None, 0));
    screen.key(KeyCode::PageDown);
    screen.key(KeyCode::PageDown);
    let rows = usize::from(screen.app.areas().rows.height);
    assert_eq!(index(&screen), Some((rows - 1) * 2));
}

#[test]
fn a_filter_acts_while_it_is_typed() {
    let mut screen = Screen::busy(80, 24);
    let all = screen.app.entries.len();
    screen.press("/order");
    assert_eq!(screen.app.entries.len(), 3);
    assert_eq!(screen.app.context(), Context::Prompt);
    screen.press("(");
    assert!(screen.has("unclosed group"));
    assert_eq!(
        screen.app.entries.len(),
        3,
        "the last filter that was one stays"
    );
    screen.key(KeyCode::Enter);
    assert_eq!(screen.app.context(), Context::Prompt, "it cannot be kept");
    screen.key(KeyCode::Backspace);
    assert!(!screen.has("unclosed group"));
    screen.key(KeyCode::Enter);
    assert_eq!(screen.app.context(), Context::Table);
    assert_eq!(screen.app.entries.len(), 3);
    screen.press("/q");
    assert_eq!(
        screen.app.entries.len(),
        0,
        "a letter is typed, not a command"
    );
    screen.key(KeyCode::Esc);
    assert_eq!(
        (screen.app.entries.len(), screen.app.context()),
        (all, Context::Table)
    );
}

#[test]
fn a_paste_goes_into_the_line_and_nowhere_else() {
    let mut screen = Screen::busy(80, 24);
    assert_eq!(screen.event(Event::Paste("q".into())), Effects::NONE);
    screen.press("/");
    screen.event(Event::Paste("ord\ner".into()));
    assert_eq!(screen.app.prompt().unwrap().text, "order");
    assert_eq!(screen.app.entries.len(), 3);
}

#[test]
fn escape_goes_back_step_by_step_and_then_quits() {
    let mut screen = Screen::busy(80, 24);
    screen.press("/order");
    screen.key(KeyCode::Enter);
    screen.press("Pe?");
    for context in [Context::Detail, Context::Processes, Context::Table] {
        assert_eq!(screen.key(KeyCode::Esc), Effects::DRAW);
        assert_eq!(screen.app.context(), context);
    }
    assert!(screen.app.view.filter.is_some());
    assert_eq!(screen.key(KeyCode::Esc), Effects::DRAW);
    assert!(screen.app.view.filter.is_none());
    assert_eq!(screen.key(KeyCode::Esc), Effects::QUIT);
}

#[test]
fn every_quitting_key_quits() {
    for view in ["", "s", "?", "e", "P"] {
        let mut screen = Screen::busy(80, 24);
        screen.press(view);
        assert_eq!(screen.key(KeyCode::Char('q')), Effects::QUIT, "{view}");
    }
    for view in ["", "s", "?", "e", "P", "/", "d"] {
        let mut screen = Screen::busy(80, 24);
        screen.press(view);
        assert_eq!(screen.control('c'), Effects::QUIT, "{view}");
        assert_eq!(screen.key(KeyCode::F(10)), Effects::QUIT, "{view}");
        assert_eq!(
            screen.control('z'),
            Effects::demand(Demand::Suspend),
            "{view}"
        );
    }
}

#[test]
fn a_paused_screen_stands_still_and_misses_nothing() {
    let mut screen = Screen::new(80, 24);
    let one = |calls| snapshot(vec![row(812, "a.py", 1, "f", calls)]);
    screen.take(one(5));
    screen.press("p");
    let before = screen.text();
    assert_eq!(screen.take(one(7)), Effects::NONE);
    assert_eq!(screen.text(), before);
    screen.press("r");
    assert!(screen.has("PAUSED"), "keys still work");
    screen.press(" ");
    assert!(!screen.has("PAUSED"));
    assert_eq!(
        (screen.app.entries[0].calls, screen.app.entries[0].total),
        (7, 12)
    );
}

#[test]
fn a_reset_starts_totals_anew() {
    let mut screen = Screen::new(80, 24);
    let one = || snapshot(vec![row(812, "a.py", 1, "f", 5)]);
    screen.take(one());
    screen.take(one());
    assert_eq!(screen.app.entries[0].total, 10);
    screen.press("z");
    assert_eq!(
        (screen.app.entries[0].calls, screen.app.entries[0].total),
        (5, 0)
    );
    screen.take(one());
    assert_eq!(screen.app.entries[0].total, 5);
    screen.control('r');
    assert_eq!(screen.app.entries[0].total, 0);
}

#[test]
fn grouping_goes_round_and_keeps_what_is_selected() {
    let mut screen = Screen::busy(80, 24);
    screen.press("jj");
    assert_eq!(selected(&screen), Some("lines".into()));
    screen.key(KeyCode::Tab);
    assert_eq!(screen.app.view.group_by, GroupBy::File);
    assert_eq!(
        selected(&screen),
        Some("/srv/shop/app/models/order.py".into())
    );
    assert!(screen.line("order.py").contains("2 pids"));
    screen.key(KeyCode::Tab);
    assert_eq!(
        (screen.app.view.group_by, selected(&screen)),
        (GroupBy::Process, None)
    );
    assert!(screen.has("/usr/bin/python3.9"));
    screen.key(KeyCode::Tab);
    assert_eq!(screen.app.view.group_by, GroupBy::Function);
}

#[test]
fn the_sort_menu_sorts() {
    let mut screen = Screen::busy(80, 24);
    screen.press("rs");
    screen.key(KeyCode::Home);
    screen.key(KeyCode::Enter);
    assert_eq!(
        (screen.app.view.sort, screen.app.view.reverse),
        (SortKey::Pid, false)
    );
    screen.press("<");
    assert_eq!(screen.app.view.sort, SortKey::Pid);
    screen.press(">>>");
    assert_eq!(screen.app.view.sort, SortKey::Function);
    screen.press("s");
    screen.key(KeyCode::Esc);
    assert_eq!(screen.app.view.sort, SortKey::Function);
}

#[test]
fn the_interval_is_asked_of_the_session() {
    let mut screen = Screen::busy(80, 24);
    let set = |milliseconds| {
        let interval = Duration::from_millis(milliseconds);
        Effects::demand(Demand::Send(Command::SetInterval(interval)))
    };
    assert_eq!(screen.key(KeyCode::Char('+')), set(2000));
    assert_eq!(screen.key(KeyCode::Char('-')), set(1000));
    assert_eq!(screen.key(KeyCode::Char('-')), set(500));
    screen.press("d0.25");
    assert_eq!(screen.key(KeyCode::Enter), set(250));
    assert!(screen.has("every 0.25 s"));
    screen.press("dx");
    assert_eq!(screen.key(KeyCode::Enter), Effects::DRAW);
    assert!(screen.has("not a number of seconds"));
    screen.key(KeyCode::Esc);
    assert!(screen.has("every 0.25 s"));
}

#[test]
fn a_click_selects_sorts_and_inverts() {
    let mut screen = Screen::busy(80, 24);
    let areas = screen.app.areas();
    screen.click(20, areas.rows.y + 1);
    assert_eq!(
        (selected(&screen), index(&screen)),
        (Some("lines".into()), Some(1))
    );
    screen.click(2, areas.titles.y);
    assert_eq!(
        (screen.app.view.sort, screen.app.view.reverse),
        (SortKey::Pid, false)
    );
    assert_eq!(selected(&screen), Some("lines".into()));
    screen.click(2, areas.titles.y);
    assert!(screen.app.view.reverse);
    screen.click(10, areas.titles.y);
    assert_eq!(
        (screen.app.view.sort, screen.app.view.reverse),
        (SortKey::Filename, false)
    );
    assert_eq!(screen.click(1, areas.header.y), Effects::DRAW);
}

#[test]
fn a_click_on_a_key_presses_it() {
    let mut screen = Screen::busy(80, 24);
    screen.click(1, 23);
    assert_eq!(screen.app.context(), Context::Help);
    screen.click(1, 23);
    assert_eq!(screen.app.context(), Context::Table);
}

#[test]
fn a_click_in_the_menu_chooses_and_beside_it_closes() {
    let mut screen = Screen::busy(80, 24);
    screen.press("s");
    let text = screen.text();
    let y = text
        .lines()
        .position(|line| line.contains("function  "))
        .unwrap();
    screen.click(40, u16::try_from(y).unwrap());
    assert_eq!(screen.app.view.sort, SortKey::Function);
    screen.press("s");
    screen.click(0, 5);
    assert_eq!(
        (screen.app.context(), screen.app.view.sort),
        (Context::Table, SortKey::Function)
    );
}

#[test]
fn the_wheel_moves() {
    let mut screen = Screen::busy(80, 24);
    screen.mouse(MouseEventKind::ScrollDown, 10, 10);
    screen.mouse(MouseEventKind::ScrollDown, 10, 10);
    assert_eq!(index(&screen), Some(5));
    screen.mouse(MouseEventKind::ScrollUp, 10, 10);
    assert_eq!(index(&screen), Some(2));
    assert_eq!(screen.mouse(MouseEventKind::Moved, 10, 10), Effects::NONE);
}

#[test]
fn the_processes_are_sorted_and_selected_on_their_own() {
    let mut screen = Screen::busy(80, 24);
    screen.press("P");
    let areas = screen.app.areas();
    screen.click(0, areas.rows.y + 2);
    assert_eq!(screen.app.processes.current(), Some(1190));
    assert!(screen.has("not counted: CPython 3.11"));
    let titles = screen
        .text()
        .lines()
        .nth(areas.titles.y.into())
        .unwrap()
        .to_owned();
    let method = u16::try_from(titles.find("METHOD").unwrap()).unwrap();
    screen.click(method, areas.titles.y);
    assert_eq!(
        screen.app.processes.current(),
        Some(1190),
        "it stays selected"
    );
    let first = |screen: &Screen| {
        let line = screen
            .text()
            .lines()
            .nth(areas.rows.y.into())
            .unwrap()
            .to_owned();
        line.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(first(&screen), "1190");
    screen.press("r");
    assert_eq!(first(&screen), "812");
    screen.press(">");
    assert_eq!(first(&screen), "812", "by calls, most first");
    assert_eq!(
        screen.app.view.sort,
        SortKey::Calls,
        "the table's own order is untouched"
    );
}

#[test]
fn a_row_that_is_open_follows_the_session() {
    let mut screen = Screen::new(80, 24);
    let one = |calls| snapshot(vec![row(812, "/srv/a.py", 1, "f", calls)]);
    screen.take(one(5));
    screen.key(KeyCode::Enter);
    assert!(
        screen
            .line("Calls ")
            .contains("5 in 1 s (5.0/s), 5 in total")
    );
    assert!(screen.line("Share").contains("100% of the process"));
    screen.take(one(7));
    assert!(
        screen
            .line("Calls ")
            .contains("7 in 1 s (7.0/s), 12 in total")
    );
    screen.take(snapshot(Vec::new()));
    assert!(screen.line("Calls ").contains("0 in 1 s"));
}

#[test]
fn estimates_say_so_wherever_they_are_and_stay_in_totals() {
    let mut screen = Screen::new(180, 40);
    let rows = || {
        vec![
            row(812, "/srv/a.py", 1, "hot", 5_000),
            row(813, "/srv/a.py", 1, "calm", 70),
        ]
    };
    let estimated = || {
        let mut snapshot = snapshot(rows());
        snapshot.processes[0].estimate = Some(Estimate {
            counted: 0.05,
            uncertainty: 0.2,
        });
        snapshot
    };
    screen.take(estimated());
    let cells = |screen: &Screen, function: &str| -> Vec<String> {
        let line = screen.line(function);
        line.split_whitespace().map(str::to_owned).collect()
    };
    let hot = cells(&screen, " hot");
    assert_eq!(hot.iter().filter(|cell| *cell == "~5,000").count(), 2);
    assert!(!screen.line(" calm").contains('~'));
    assert!(screen.line("calls/s").contains("~5,070"));
    // What follows is exact, but not added up.
    screen.take(snapshot(rows()));
    let hot = cells(&screen, " hot");
    assert!(hot.contains(&"5,000".to_owned()) && hot.contains(&"~10,000".to_owned()));
    assert!(!screen.line(" calm").contains('~'));
    assert!(!screen.line("calls/s").contains('~'));
    assert!(screen.line("at most").contains("~5,070"));
    assert!(screen.line("in total").contains("~10,140"));
    screen.key(KeyCode::Enter);
    assert!(
        screen
            .line("Calls ")
            .contains("5,000 in 1 s (5,000/s), ~10,000 in total")
    );
    screen.key(KeyCode::Esc);
    screen.press("z");
    assert!(!screen.has("~"));
    screen.take(estimated());
    screen.press("P");
    assert!(screen.has("estimate, may be 20.0% more"));
    assert!(screen.has("an estimate, from 5.0% of its CPU time, and may well be 20.0% more"));
}

#[test]
fn long_texts_can_be_read_to_their_end() {
    let mut screen = Screen::new(60, 12);
    let path = format!("/srv/{}/the-end.py", "folder/".repeat(60));
    screen.take(snapshot(vec![row(812, &path, 1, "f", 5)]));
    screen.key(KeyCode::Enter);
    assert!(!screen.has("the-end.py") && screen.has("more lines below"));
    let mut seen = String::new();
    for _ in 0..40 {
        seen += &screen.text();
        screen.press("j");
    }
    assert!(seen.contains("end.py"), "{seen}");
    assert!(screen.has("the end"));
    screen.press("?");
    screen.key(KeyCode::End);
    assert!(screen.has("Click a key"));
}

#[test]
fn a_notice_goes_and_the_end_stays() {
    let mut screen = Screen::new(80, 24);
    screen.hear(Update::Notice("something".into()));
    for tick in 0..10 {
        assert!(screen.has("something"), "{tick}");
        screen.take(snapshot(rows(tick)));
    }
    assert!(!screen.has("something"));
    assert_eq!(screen.hear(Update::Ended("done".into())), Effects::DRAW);
    screen.hear(Update::Ended("the session is over".into()));
    screen.hear(Update::Notice("something".into()));
    assert!(screen.has("Counting has ended: done"));
    let close_at_end = true;
    let mut screen = Screen::with(
        Settings {
            close_at_end,
            ..settings()
        },
        80,
        24,
    );
    assert_eq!(screen.hear(Update::Ended("done".into())), Effects::QUIT);
}

#[test]
fn a_resize_keeps_the_selected_row_in_sight() {
    let mut screen = Screen::busy(120, 40);
    screen.press("jjjjjjjjjjjjjjjjjjjj");
    let name = selected(&screen).unwrap();
    for (width, height) in [(60, 12), (1, 1), (250, 80), (80, 24)] {
        screen.event(Event::Resize(width, height));
        assert_eq!(selected(&screen).as_ref(), Some(&name));
        if Areas::suffice(screen.app.size) {
            assert!(screen.has(&name), "{width}x{height}");
        } else {
            assert!(!screen.has(&name));
        }
    }
}

#[test]
fn every_key_is_in_the_help() {
    let mut screen = Screen::new(200, 100);
    screen.press("?");
    let help = screen.text();
    for binding in BINDINGS {
        assert!(help.contains(binding.help), "{}", binding.help);
        for key in binding.keys {
            assert!(help.contains(&key.name()), "{}", key.name());
        }
    }
}

#[test]
fn keys_without_a_meaning_draw_nothing() {
    let mut screen = Screen::busy(80, 24);
    assert_eq!(screen.key(KeyCode::F(12)), Effects::NONE);
    assert_eq!(screen.key(KeyCode::Char('é')), Effects::NONE);
    assert_eq!(screen.event(Event::FocusGained), Effects::NONE);
}

/// What a key asks to be traced.
fn asked(screen: &mut Screen, code: KeyCode) -> TraceRequest {
    match screen.key(code).demand {
        Some(Demand::Trace(request)) => request,
        other => panic!("no trace is asked for: {other:?}"),
    }
}

fn news(screen: &mut Screen, news: TraceNews) -> Effects {
    screen.app.update(Action::Traced(news))
}

#[test]
fn a_trace_is_of_what_is_selected() {
    let mut screen = Screen::new(100, 24);
    let rows = || {
        vec![
            row(812, "/srv/a+b.py", 7, "f", 50),
            row(813, "/srv/a+b.py", 9, "f.g", 40),
            row(812, "/srv/aab.py", 7, "f", 30),
        ]
    };
    screen.take(snapshot(rows()));
    let matched = |request: &TraceRequest| -> Vec<usize> {
        let filter = request.filter.as_ref();
        let all = rows();
        let functions = all.iter().map(|row| &row.function).enumerate();
        functions
            .filter(|(_, function)| {
                filter.is_none_or(|filter| filter.matches(function, &mut String::new()))
            })
            .map(|(index, _)| index)
            .collect()
    };
    let first = asked(&mut screen, KeyCode::Char('t'));
    assert_eq!((&first.pids[..], matched(&first)), (&[812][..], vec![0]));
    assert_eq!(screen.app.context(), Context::Trace);
    screen.press("q");
    screen.press("jje");
    let second = asked(&mut screen, KeyCode::Char('t'));
    assert_eq!((&second.pids[..], matched(&second)), (&[813][..], vec![1]));
    screen.press("q");
    assert_eq!(screen.app.context(), Context::Detail);
    screen.key(KeyCode::Esc);
    screen.key(KeyCode::Tab);
    screen.key(KeyCode::Home);
    let file = asked(&mut screen, KeyCode::Char('t'));
    assert_eq!(
        (&file.pids[..], matched(&file)),
        (&[812, 813][..], vec![0, 1])
    );
    screen.press("qP");
    let process = asked(&mut screen, KeyCode::Char('t'));
    assert_eq!((&process.pids[..], process.filter), (&[812][..], None));
}

#[test]
fn a_trace_follows_the_newest_unless_something_is_read() {
    let mut screen = Screen::busy(80, 24);
    asked(&mut screen, KeyCode::Char('t'));
    assert!(screen.has("TRACE") && screen.has("placing its probes"));
    let lines = |numbers: std::ops::Range<u32>| {
        TraceNews::Lines(numbers.map(|number| format!("event {number};")).collect())
    };
    news(&mut screen, TraceNews::Said("tracing".into()));
    assert_eq!(news(&mut screen, lines(0..100)), Effects::DRAW);
    assert!(screen.has("event 99;") && screen.has("100 events"));
    screen.key(KeyCode::Home);
    assert!(screen.has("event 0;") && !screen.has("event 99;"));
    news(&mut screen, lines(100..200));
    assert!(screen.has("event 0;") && screen.has("200 events"));
    screen.key(KeyCode::End);
    assert!(screen.has("event 199;"));
    // What is read stays, however much comes meanwhile. What has not even room to wait is not passed
    // over in silence.
    screen.key(KeyCode::Home);
    news(&mut screen, lines(200..20_000));
    assert!(screen.has("event 0;") && screen.has("20,000 events"));
    screen.key(KeyCode::End);
    assert!(screen.has("event 19999;"));
    screen.key(KeyCode::Home);
    assert!(screen.has("9,801 lines not kept") && screen.has("event 10001;"));
    screen.key(KeyCode::End);
    // So it does while the view is paused, and reading goes on without a gap.
    screen.press(" ");
    assert!(screen.has("paused"));
    news(&mut screen, lines(20_000..20_010));
    assert!(screen.has("event 19999;") && screen.has("10 more lines below"));
    screen.key(KeyCode::End);
    assert!(screen.has("event 19999;"));
    screen.press("p");
    assert!(screen.has("event 20009;") && !screen.has("paused"));
    screen.press("k");
    news(&mut screen, lines(20_010..20_012));
    assert!(!screen.has("event 20009;"));
    screen.key(KeyCode::PageDown);
    assert!(screen.has("event 20011;") && screen.has("event 20009;"));
    news(
        &mut screen,
        TraceNews::Ended("process 812 has ended".into()),
    );
    assert!(screen.has("process 812 has ended"));
    // Counting goes on, and the help lies over the trace.
    screen.run(1);
    screen.press("?");
    assert_eq!(screen.app.context(), Context::Help);
    screen.press("?");
    assert!(screen.has("TRACE"));
    assert_eq!(screen.key(KeyCode::Esc).demand, Some(Demand::EndTrace));
    assert_eq!(screen.app.context(), Context::Table);
    // What it had still to say is nobody's business any more.
    assert_eq!(news(&mut screen, lines(0..1)), Effects::NONE);
}

#[test]
fn without_a_row_there_is_nothing_to_trace() {
    let mut screen = Screen::new(80, 24);
    assert_eq!(screen.key(KeyCode::Char('t')), Effects::NONE);
    // A file that nobody calls now.
    screen.take(snapshot(vec![row(812, "/srv/a.py", 7, "f", 50)]));
    screen.key(KeyCode::Tab);
    screen.press("j");
    screen.take(snapshot(Vec::new()));
    assert_eq!(screen.key(KeyCode::Char('t')).demand, None);
    assert!(screen.has("nothing to trace"));
}

#[test]
fn what_a_trace_shows_outlives_what_was_traced() {
    let mut screen = Screen::with(
        Settings {
            close_at_end: true,
            ..settings()
        },
        80,
        24,
    );
    screen.take(snapshot(rows(1)));
    screen.press("t");
    news(&mut screen, TraceNews::Lines(vec!["=> last".into()]));
    assert_eq!(screen.hear(Update::Ended("done".into())), Effects::DRAW);
    assert!(screen.has("=> last"));
    assert_eq!(screen.key(KeyCode::Char('q')), Effects::QUIT);
}

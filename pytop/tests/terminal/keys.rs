//! What keys do.

use super::support::{Form, Python, interpreter};
use super::tmux::Terminal;
use super::{fruit, functions, pytop, wait_for_order, watching};

#[test]
fn the_first_view() {
    let running = fruit();
    let terminal = watching(&running);
    let screen = terminal.screen();
    for text in [
        &format!("pid {}", running.pid()),
        "calls/s",
        "in total",
        "functions by calls ▼",
        "every 0.2 s",
        "1 process, 1 interpreter counted by marker",
        "FILENAME",
        "CALLS",
        "F1 Help",
    ] {
        assert!(screen.contains(text), "no {text}:\n{screen}");
    }
    assert_eq!(terminal.variable("alternate_on"), "1");
    assert_eq!(terminal.variable("cursor_flag"), "0");
}

#[test]
fn sorting() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("s");
    terminal.wait_for(&["Sort by", "● calls", "most first"]);
    terminal.press("Up");
    terminal.press("Enter");
    terminal.wait_for(&["functions by function ▲"]);
    wait_for_order(&terminal, &["apple", "banana", "cherry"]);
    terminal.press("r");
    wait_for_order(&terminal, &["cherry", "banana", "apple"]);
    terminal.press(">");
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);

    // The mouse does the same.
    let screen = terminal.screen();
    let mut titles = screen.lines().enumerate();
    let (row, title) = titles
        .find(|(_, line)| line.contains("FUNCTION"))
        .expect("titles");
    let column = title
        .chars()
        .collect::<String>()
        .find("FUNCTION")
        .expect("it is there");
    terminal.click(title[..column].chars().count(), row);
    wait_for_order(&terminal, &["apple", "banana", "cherry"]);
}

#[test]
fn filtering_while_typing() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("/");
    terminal.wait_for(&["Filter /"]);
    terminal.write("che");
    wait_for_order(&terminal, &["cherry"]);
    terminal.write("[");
    terminal.wait_for(&["Filter /che[", "unclosed character class"]);
    terminal.press("BSpace");
    terminal.press("Enter");
    terminal.wait_for(&["filter /che/"]);
    assert_eq!(functions(&terminal.screen()), ["cherry"]);
    // q was typed and quits nothing.
    terminal.press("/");
    terminal.press("q");
    terminal.wait_for(&["Nothing matches /cheq/"]);
    terminal.press("Escape");
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
}

#[test]
fn pausing() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("p");
    let paused = terminal.wait_for(&["PAUSED"]);
    let total = |screen: &str| {
        let line = screen
            .lines()
            .find(|line| line.contains(" in total"))
            .expect("a header");
        line.split(" in total")
            .next()
            .expect("a number")
            .trim()
            .to_owned()
    };
    // A key that draws, so that what has been counted meanwhile would show.
    terminal.press("?");
    terminal.wait_for(&["freeze the screen"]);
    terminal.press("Escape");
    let still = terminal.wait("the table", |screen| functions(screen).len() == 3);
    assert_eq!(total(&still), total(&paused));
    terminal.press("p");
    terminal.wait("counts", |screen| {
        !screen.contains("PAUSED") && total(screen) != total(&paused)
    });
}

#[test]
fn help_names_every_key_that_it_explains() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("?");
    terminal.wait_for(&[
        "choose what to sort by",
        "freeze the screen; counting goes on",
    ]);
    terminal.press("End");
    terminal.wait_for(&["quit, while typing too"]);
    terminal.press("Escape");
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
}

#[test]
fn a_row_in_full() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("Down");
    terminal.press("Down");
    terminal.press("Enter");
    let pid = running.pid().to_string();
    let screen = terminal.wait_for(&["Function  cherry", "of the process", "now", &pid]);
    assert!(screen.contains("/fruit.py, line "), "{screen}");
    assert!(
        screen.contains('█') || screen.contains('▁'),
        "no chart:\n{screen}"
    );
    terminal.press("Escape");
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
}

#[test]
fn every_process() {
    let running = fruit();
    let other = interpreter("3.13");
    let uncounted = Python::new(other, Form::Chroot, "loop.py")
        .argument(&1)
        .start();
    let terminal = Terminal::open(160, 50);
    terminal.run(&pytop("--method marker"));
    terminal.wait("functions", |screen| functions(screen).len() == 3);
    terminal.press("P");
    let (counted, uncounted) = (running.pid().to_string(), uncounted.pid().to_string());
    let screen = terminal.wait_for(&["every process", &counted, &uncounted]);
    let line = |pid: &str| {
        let mut lines = screen.lines();
        let found = lines.find(|line| line.split_whitespace().next() == Some(pid));
        found.unwrap_or_else(|| panic!("no process {pid}:\n{screen}"))
    };
    let (counted, uncounted) = (line(&counted), line(&uncounted));
    assert!(
        counted.contains("3.9.2") && counted.contains("marker"),
        "{counted}"
    );
    assert!(uncounted.contains(&other.version), "{uncounted}");
    assert!(uncounted.contains("has no function__entry"), "{uncounted}");
    terminal.press("P");
    terminal.wait("functions", |screen| functions(screen).len() == 3);
}

#[test]
fn grouping() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("Tab");
    let screen = terminal.wait_for(&["files by calls"]);
    assert_eq!(functions(&screen), Vec::<&str>::new());
    terminal.press("Tab");
    terminal.wait_for(&["processes by calls"]);
    terminal.press("Tab");
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
}

#[test]
fn the_interval() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("d");
    terminal.write("99999");
    terminal.press("Enter");
    terminal.wait_for(&["99999", "3600"]);
    terminal.press("C-u");
    terminal.write("0.5");
    terminal.press("Enter");
    terminal.wait_for(&["every 0.5 s"]);
    terminal.press("+");
    terminal.wait_for(&["every 1 s"]);
    terminal.press("-");
    terminal.wait_for(&["every 0.5 s"]);
}

#[test]
fn totals_begin_anew() {
    let running = fruit();
    let terminal = watching(&running);
    let total = |screen: &str| -> u64 {
        let line = screen
            .lines()
            .find(|line| line.contains(" in total"))
            .expect("a header");
        let number = line.split(" in total").next().expect("a number").trim();
        number.replace(',', "").parse().expect("a number")
    };
    let screen = terminal.wait("thousands of calls", |screen| total(screen) > 3_000);
    let before = total(&screen);
    terminal.press("z");
    terminal.wait("fewer calls", |screen| total(screen) < before);
}

#[test]
fn tracing() {
    let running = fruit();
    let terminal = watching(&running);
    let is_tracing = || {
        let tasks = format!("/proc/{}/task", terminal.child());
        let mut tasks = std::fs::read_dir(tasks).expect("it has threads");
        tasks.any(|task| {
            let comm = task.map(|task| std::fs::read_to_string(task.path().join("comm")));
            // One that ends meanwhile has no name any more.
            comm.is_ok_and(|comm| comm.is_ok_and(|comm| comm.trim() == "pytop-trace"))
        })
    };
    assert!(!is_tracing());
    // Either way back, from the table and from one row in full.
    for (keys, back) in [(&["t"][..], "q"), (&["Enter", "t"], "Escape")] {
        for key in keys {
            terminal.press(key);
        }
        let screen = terminal.wait_for(&["TRACE", "=> banana in ", "<= banana in "]);
        assert!(
            !screen.contains("apple") && !screen.contains("cherry"),
            "{screen}"
        );
        assert!(screen.contains("banana in /tmp/"), "{screen}");
        assert!(is_tracing());
        // What is above is not moved by what comes.
        terminal.press("PPage");
        terminal.wait_for(&["TRACE", "more lines below"]);
        terminal.press("End");
        terminal.wait("the newest", |screen| !screen.contains("below"));
        terminal.press(back);
        terminal.wait("the counts", |screen| !screen.contains("TRACE"));
        terminal.wait("the trace's end", |_| !is_tracing());
    }
    terminal.press("Escape");
    // All of it was counted.
    terminal.wait("functions", |screen| functions(screen).len() == 3);
}

#[test]
fn a_trace_of_what_has_ended_says_so() {
    let running = fruit();
    let enduring = Python::new(interpreter("3.9"), Form::Chroot, "spin.py").start();
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop(&format!("-p {},{}", running.pid(), enduring.pid())));
    terminal.wait("both", |screen| {
        functions(screen).len() == 3 && screen.contains("/spin.py ")
    });
    terminal.press("/");
    terminal.write("banana");
    terminal.press("Enter");
    terminal.wait("banana", |screen| functions(screen) == ["banana"]);
    terminal.press("t");
    terminal.wait_for(&[": tracing", "=> banana in "]);
    drop(running);
    terminal.wait_for(&["TRACE", ": the processes have ended"]);
    // It stays for who reads on.
    terminal.press("Home");
    terminal.wait_for(&["TRACE", "more lines below"]);
    terminal.press("q");
    terminal.wait("the counts", |screen| !screen.contains("TRACE"));
}

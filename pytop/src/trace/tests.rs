use pytop_common::trace::Kind;

use super::*;

/// An event in words: `kind name frame caller depth`.
fn traced(kind: Kind, name: &str, frame: u64, caller: u64, depth: u32) -> Traced {
    let text = name
        .bytes()
        .fold(0, |sum, byte| sum * 256 + u64::from(byte));
    Traced {
        event: Event {
            time: 1,
            text,
            frame,
            caller,
            pid: 7,
            tid: 7,
            line: 1,
            depth,
            kind: kind as u8,
            ..Event::default()
        },
        names: (!name.is_empty()).then(|| Names {
            filename: Text::from("/srv/app.py"),
            function: Text::from(name),
        }),
    }
}

fn entry(name: &str, frame: u64, caller: u64, depth: u32) -> Traced {
    traced(Kind::Entry, name, frame, caller, depth)
}

fn exit(frame: u64, depth: u32) -> Traced {
    traced(Kind::Return, "", frame, 0, depth)
}

fn shown(line: &Line<'_>) -> String {
    let name = |function: &Function| {
        let names = function.names.as_ref();
        names.map_or_else(|| "?".to_owned(), |names| names.function.to_string())
    };
    let what = match line.what {
        What::Entry { function, thrown } => {
            format!("{}{}", if thrown { "!>" } else { "=>" }, name(function))
        }
        What::Return { function, way } => match way {
            Way::Seen => format!("<={}", name(function)),
            Way::Unseen => format!("<~{}", name(function)),
            Way::Created => format!("<+{}", name(function)),
        },
        What::Lost(number) => format!("lost {number}"),
    };
    format!("{}{what}", " ".repeat(line.depth))
}

fn told(selection: Selection, events: &[Traced]) -> Vec<String> {
    let mut stacks = Stacks::new(selection);
    let mut lines = Vec::new();
    for event in events {
        stacks.take(event, |line| lines.push(shown(&line)));
    }
    lines
}

#[test]
fn calls_nest() {
    let events = [
        entry("main", 10, 0, 1),
        entry("f", 11, 10, 2),
        exit(11, 2),
        entry("g", 11, 10, 2),
        entry("f", 12, 11, 3),
        exit(12, 3),
        exit(11, 2),
        exit(10, 1),
    ];
    assert_eq!(
        told(Selection::default(), &events),
        [
            "=>main", " =>f", " <=f", " =>g", "  =>f", "  <=f", " <=g", "<=main"
        ]
    );
}

#[test]
fn what_an_exception_left_is_gone_at_the_next_event() {
    let events = [
        entry("main", 10, 0, 1),
        entry("f", 11, 10, 2),
        entry("g", 12, 11, 3),
        // Both were left; another function has the place of the first one.
        entry("h", 11, 10, 2),
        entry("g", 12, 11, 3),
        exit(10, 1),
    ];
    assert_eq!(
        told(Selection::default(), &events),
        [
            "=>main", " =>f", "  =>g", "  <~g", " <~f", " =>h", "  =>g", "  <~g", " <~h", "<=main"
        ]
    );
}

#[test]
fn a_late_start_and_losses_are_put_right_by_the_next_event() {
    let mut after_loss = entry("deep", 30, 29, 5);
    after_loss.event.lost = 3;
    let mut named = traced(Kind::Return, "early", 9, 0, 1);
    named.event.frame = 9;
    let events = [
        entry("f", 12, 11, 3),
        exit(12, 3),
        after_loss,
        exit(30, 5),
        entry("h", 20, 9, 2),
        exit(20, 2),
        named,
    ];
    assert_eq!(
        told(Selection::default(), &events),
        [
            "  =>f",
            "  <=f",
            "  lost 3",
            "    =>deep",
            "    <=deep",
            " =>h",
            " <=h",
            "<=early"
        ]
    );
}

#[test]
fn after_a_loss_what_was_there_before_is_in_doubt_until_it_is_gone() {
    let mut after_loss = entry("f", 12, 11, 3);
    after_loss.event.lost = 9;
    let events = [
        entry("main", 10, 0, 1),
        entry("a", 11, 10, 2),
        // In place of `a`, at the same address, there may be another function.
        after_loss,
        exit(12, 3),
        exit(11, 2),
        entry("b", 11, 10, 2),
        exit(10, 1),
        entry("main", 10, 0, 1),
        entry("a", 11, 10, 2),
    ];
    let mut stacks = Stacks::new(Selection::default());
    let mut lines = Vec::new();
    for event in &events {
        stacks.take(event, |line| lines.push((shown(&line), line.is_cut)));
    }
    let lines: Vec<_> = lines.iter().map(|(line, cut)| (&**line, *cut)).collect();
    assert_eq!(
        lines,
        [
            ("=>main", false),
            (" =>a", false),
            ("  lost 9", true),
            ("  =>f", true),
            ("  <=f", true),
            (" <=a", true),
            (" =>b", true),
            (" <~b", false),
            ("<=main", false),
            ("=>main", false),
            (" =>a", false),
        ]
    );
}

#[test]
fn a_marker_counts() {
    let created = traced(Kind::Created, "", 0, 0, 2);
    let thrown = traced(Kind::Throw, "gen", 0, 0, 2);
    let events = [
        entry("main", 0, 0, 1),
        entry("gen", 0, 0, 2),
        created,
        thrown,
        exit(0, 2),
        exit(0, 1),
        traced(Kind::Return, "before", 0, 0, 0),
    ];
    assert_eq!(
        told(Selection::default(), &events),
        [
            "=>main", " =>gen", " <+gen", " !>gen", " <=gen", "<=main", "<=before"
        ]
    );
}

#[test]
fn functions_are_selected_alone_or_with_what_they_call() {
    let events = [
        entry("main", 10, 0, 1),
        entry("f", 11, 10, 2),
        entry("g", 12, 11, 3),
        exit(12, 3),
        exit(11, 2),
        entry("g", 11, 10, 2),
        exit(11, 2),
    ];
    let filter = || Some(" f$".parse().expect("a filter"));
    let alone = Selection {
        filter: filter(),
        subtree: false,
    };
    assert_eq!(told(alone, &events), [" =>f", " <=f"]);
    let subtree = Selection {
        filter: filter(),
        subtree: true,
    };
    assert_eq!(told(subtree, &events), [" =>f", "  =>g", "  <=g", " <=f"]);
}

#[test]
fn the_end_of_a_thread_is_the_end_of_its_calls() {
    let mut stacks = Stacks::new(Selection::default());
    let mut lines = Vec::new();
    stacks.take(&entry("main", 10, 0, 1), |_| {});
    assert_eq!(stacks.open(7).count(), 1);
    let gone = Gone {
        pid: 7,
        tid: 7,
        lost: 2,
        time: 9,
        has_ended: true,
    };
    stacks.end(&gone, |line| lines.push(shown(&line)));
    assert_eq!(lines, [" lost 2", "<~main"]);
    assert_eq!(stacks.open(7).count(), 0);
}

//! JSON: one object a line a snapshot.
//!
//! Text is given as the process has it, so that it can be compared. JSON's own escapes make that
//! safe to show as well: whatever could drive a terminal or is not seen is written as `\uXXXX`.
//! Bytes that are no UTF-8 have no place in JSON; they become visible text.
//!
//! ```text
//! bytes             JSON              text after parsing
//! 6d 61 69 6e       "main"            main
//! 1b 5b 33 31 6d    "\u001b[31m"      the five bytes
//! e2 80 ae 78       "\u202ex"         the four bytes
//! ff 78             "\\xffx"          \xffx
//! ```

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use super::durations::{MaybeDurations, Untimed};
use crate::model::text::is_hidden;
use crate::model::{Entry, Method, ProcessStatus, Snapshot, Text};

/// The version of the meaning of the fields. Added fields do not change it.
pub(super) const SCHEMA: u32 = 1;

pub(super) fn write(
    output: &mut impl Write,
    snapshot: &Snapshot,
    entries: &[Entry],
) -> io::Result<()> {
    let object = Object {
        schema: SCHEMA,
        time: humantime::format_rfc3339_millis(snapshot.time).to_string(),
        interval_s: seconds(snapshot.interval),
        drain_s: seconds(snapshot.drain),
        total_calls: snapshot.total_calls(),
        estimated: snapshot.is_estimated().then_some(true),
        probe_cost: snapshot.probe_cost().map(rounded),
        functions: snapshot.rows.len(),
        uncounted: Uncounted {
            table_full: snapshot.uncounted.table_full,
            unreadable_name: snapshot.uncounted.unreadable_name,
            implausible: snapshot.uncounted.implausible,
        },
        processes: snapshot.processes.iter().map(Process::from).collect(),
        untimed: snapshot.untimed.map(Untimed::from),
        rows: Rows(entries, snapshot.untimed.is_some()),
    };
    write_line(output, &object)
}

/// One object on a line of its own, safe to show.
pub(super) fn write_line(output: &mut impl Write, object: &impl Serialize) -> io::Result<()> {
    object.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *output,
        Visible,
    ))?;
    output.write_all(b"\n")
}

/// To the microsecond.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    time: String,
    interval_s: f64,
    drain_s: f64,
    total_calls: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated: Option<bool>,
    probe_cost: Option<f64>,
    functions: usize,
    uncounted: Uncounted,
    processes: Vec<Process<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    untimed: Option<Untimed>,
    rows: Rows<'a>,
}

#[derive(Serialize)]
struct Uncounted {
    table_full: u64,
    unreadable_name: u64,
    implausible: u64,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    exe: Cow<'a, str>,
    python: Option<&'a str>,
    method: Option<&'static str>,
    calls: u64,
    reason: Option<&'a str>,
    interpreter: Cow<'a, str>,
    user: &'a str,
    container: Option<&'a str>,
    probe_cost: Option<f64>,
    ended: bool,
    gc: Option<Collected>,
    imports: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncertainty: Option<f64>,
}

#[derive(Serialize)]
struct Collected {
    collections: u64,
    pause_s: f64,
    longest_pause_s: f64,
}

impl<'a> From<&'a ProcessStatus> for Process<'a> {
    fn from(process: &'a ProcessStatus) -> Self {
        Self {
            pid: process.pid,
            comm: unicode(&process.comm),
            exe: unicode(&process.exe),
            python: process.python.as_deref(),
            method: process.coverage.method().map(Method::name),
            calls: process.calls,
            reason: process.coverage.reason().map(|reason| &**reason),
            interpreter: unicode(&process.interpreter),
            user: &process.user,
            container: process.container.as_deref(),
            probe_cost: process.probe_cost.map(rounded),
            ended: process.ended,
            gc: process.runtime.gc.map(|gc| Collected {
                collections: gc.count,
                pause_s: seconds(gc.pause),
                longest_pause_s: seconds(gc.longest),
            }),
            imports: process.runtime.imports,
            estimated: process.estimate.map(|_| true),
            counted_share: process.estimate.map(|estimate| rounded(estimate.counted)),
            uncertainty: process
                .estimate
                .map(|estimate| rounded(estimate.uncertainty)),
        }
    }
}

/// To millionths, which is more than is known.
fn rounded(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}

/// Written from the entries as they are: there may be a hundred thousand. Where durations are
/// measured, each row has them, or null.
struct Rows<'a>(&'a [Entry], bool);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|entry| Row {
            pid: super::pid(entry),
            filename: entry.filename().map(unicode),
            line: entry.line(),
            function: entry.name().map(unicode),
            calls: entry.calls,
            estimated: entry.estimated.map(|_| true),
            counted_share: entry.estimated.map(rounded),
            durations: self.1.then(|| MaybeDurations::of(entry)),
        }))
    }
}

#[derive(Serialize)]
struct Row<'a> {
    pid: Option<u32>,
    filename: Option<Cow<'a, str>>,
    line: Option<u32>,
    function: Option<Cow<'a, str>>,
    calls: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durations: Option<MaybeDurations>,
}

/// The text itself where it is UTF-8; otherwise with `\xNN` for each byte that is not.
pub(super) fn unicode(text: &Text) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        shown.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a `String` cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    Cow::Owned(shown)
}

/// Writes what is hidden as an escape, of which JSON itself asks only for the lowest controls.
pub(super) struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((position, hidden)) = rest.char_indices().find(|(_, it)| is_hidden(*it)) {
            let (plain, tail) = rest.split_at(position);
            CompactFormatter.write_string_fragment(writer, plain)?;
            // Two of them, a surrogate pair, beyond U+FFFF.
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = tail.strip_prefix(hidden).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::tests::{assert_harmless, hostile, print, row, snapshot, two};
    use super::*;
    use crate::cli::Format;
    use crate::model::{Coverage, GroupBy, View};

    fn json(view: View, snapshots: &[Snapshot]) -> String {
        print(Format::Json, view, snapshots)
    }

    #[test]
    fn one_object_a_line() {
        let mut second = snapshot(vec![row(812, "/srv/app.py", 0, "h", 1)]);
        second.uncounted.table_full = 7;
        second.uncounted.unreadable_name = 3;
        let printed = json(View::default(), &[snapshot(two()), second]);
        let processes = |calls| {
            [
                r#""processes":[{"pid":812,"comm":"python3.9","exe":"/usr/bin/python3.9","#,
                r#""python":"3.9.2","method":"marker","calls":"#,
                calls,
                r#","reason":null,"interpreter":"/usr/bin/python3.9","user":"app","#,
                r#""container":null,"probe_cost":0.0012,"ended":false,"#,
                r#""gc":{"collections":7,"pause_s":0.0125,"longest_pause_s":0.004},"imports":3},"#,
                r#"{"pid":900,"comm":"python3.9","exe":"/opt/py/bin/python3.12","#,
                r#""python":null,"method":null,"calls":0,"#,
                r#""reason":"its marker is compiled in, but dead","#,
                r#""interpreter":"/opt/py/bin/python3.12","user":"app","#,
                r#""container":"3f2a","probe_cost":null,"ended":true,"gc":null,"imports":null}],"#,
            ]
            .concat()
        };
        let expected = [
            r#"{"schema":1,"time":"2026-11-22T18:00:01.250Z","interval_s":1.0003,"drain_s":0.02,"#,
            r#""total_calls":2002,"probe_cost":0.0012,"functions":2,"#,
            r#""uncounted":{"table_full":0,"unreadable_name":0,"implausible":0},"#,
            &processes("2002"),
            r#""rows":[{"pid":812,"filename":"/srv/app.py","line":2,"function":"f","calls":2000},"#,
            r#"{"pid":812,"filename":"/srv/app.py","line":3,"function":"g","calls":2}]}"#,
            "\n",
            r#"{"schema":1,"time":"2026-11-22T18:00:01.250Z","interval_s":1.0003,"drain_s":0.02,"#,
            r#""total_calls":11,"probe_cost":0.0012,"functions":1,"#,
            r#""uncounted":{"table_full":7,"unreadable_name":3,"implausible":0},"#,
            &processes("1"),
            r#""rows":[{"pid":812,"filename":"/srv/app.py","line":null,"function":"h","calls":1}]}"#,
            "\n",
        ]
        .concat();
        assert_eq!(printed, expected);
    }

    #[test]
    fn totals_are_of_everything_and_rows_of_the_view() {
        let view = View {
            top: Some(1),
            filter: Some("g$".parse().unwrap()),
            ..View::default()
        };
        let value: Value = serde_json::from_str(&json(view, &[snapshot(two())])).unwrap();
        assert_eq!(value["total_calls"], 2002);
        assert_eq!(value["functions"], 2);
        assert_eq!(value["rows"].as_array().unwrap().len(), 1);
        assert_eq!(value["rows"][0]["function"], "g");
    }

    #[test]
    fn fields_that_do_not_apply_to_a_group_are_null() {
        for (group_by, expected) in [
            (
                GroupBy::File,
                r#"{"pid":null,"filename":"/srv/app.py","line":null,"function":null,"calls":2002}"#,
            ),
            (
                GroupBy::Process,
                r#"{"pid":812,"filename":"/usr/bin/python3.9","line":null,"function":null,"calls":2002}"#,
            ),
        ] {
            let printed = json(
                View {
                    group_by,
                    ..View::default()
                },
                &[snapshot(two())],
            );
            assert!(
                printed.ends_with(&format!(r#""rows":[{expected}]}}{}"#, '\n')),
                "{printed}"
            );
        }
    }

    #[test]
    fn text_is_the_process_s_own_after_parsing() {
        for name in hostile() {
            let printed = json(
                View::default(),
                &[snapshot(vec![row(1, &name, 1, &name, 1)])],
            );
            assert_eq!(printed.lines().count(), 1);
            assert_harmless(&printed);
            let value: Value = serde_json::from_str(&printed).unwrap();
            let function = value["rows"][0]["function"].as_str().unwrap();
            match str::from_utf8(&name) {
                Ok(text) => assert_eq!(function, text),
                Err(_) => assert!(function.contains("\\x")),
            }
        }
    }

    #[test]
    fn hidden_characters_are_escapes() {
        for (name, expected) in [
            (b"\x1b[31m".as_slice(), r#""\u001b[31m""#),
            (b"\n\"\\\x7f", r#""\n\"\\\u007f""#),
            ("\u{202e}x\u{9b}".as_bytes(), r#""\u202ex\u009b""#),
            ("\u{e0041}é🐍".as_bytes(), r#""\udb40\udc41é🐍""#),
            (b"\xffx\x1b", r#""\\xffx\u001b""#),
        ] {
            let printed = json(View::default(), &[snapshot(vec![row(1, "", 1, name, 1)])]);
            assert!(
                printed.contains(&format!(r#""function":{expected},"#)),
                "{printed}"
            );
        }
    }

    #[test]
    fn an_incomplete_process_has_its_method_and_the_reason() {
        let mut snapshot = snapshot(two());
        let reason = "its just-in-time compiler is at work".into();
        snapshot.processes[0].coverage = Coverage::Incomplete(Method::Resume, reason);
        let printed = print(Format::Json, View::default(), &[snapshot]);
        let object: Value = serde_json::from_str(&printed).unwrap();
        let process = &object["processes"][0];
        assert_eq!(process["method"], "resume");
        assert_eq!(process["reason"], "its just-in-time compiler is at work");
    }
}

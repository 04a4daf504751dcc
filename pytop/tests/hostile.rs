//! Whatever traced processes call their functions, their files and themselves: it drives no
//! terminal, breaks no line, and is told exactly wherever the format allows it.

mod support;

use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::{Form, Lines, Outcome, Python, Pytop, Running, install_copy, interpreter, live};

/// The kernel reads so much of a filename and of a function's name, in bytes.
const FILENAME_MOST: usize = 511;
const FUNCTION_MOST: usize = 255;

/// Names as an attacker would choose them.
fn names() -> Vec<String> {
    let mut names = vec![
        // Colours, the window's title, a report that a terminal would type as an answer, and
        // the 8-bit forms of what introduces these.
        "\u{1b}[31mred\u{1b}[0m".to_owned(),
        "\u{1b}]0;title\u{7}".to_owned(),
        "\u{1b}[6n\u{1b}[c\u{1b}P+q544e\u{1b}\\".to_owned(),
        "\u{9b}31m\u{9d}0;title\u{9c}\u{90}".to_owned(),
        "\u{1b}[2J\u{1b}[H\u{1b}[?1049l\u{1b}c".to_owned(),
        // What would make two rows of one, or one of two.
        "a\nb\r\nc\td\u{b}\u{c}\u{85}\u{2028}\u{2029}e".to_owned(),
        "back\u{8}\u{8}space\u{7f}".to_owned(),
        // What would show one name as another.
        "\u{202e}gnp.exe\u{202c}\u{2066}x\u{2069}\u{200f}\u{61c}".to_owned(),
        "in\u{ad}vis\u{200b}ible\u{feff}\u{2060}\u{e0041}\u{180e}".to_owned(),
        // What means something in JSON, in CSV, and to a spreadsheet.
        "\"quoted\", and, \\escaped\\ 'too'".to_owned(),
        "=cmd|' /C calc'!A0;\",\"".to_owned(),
        "{\"pid\":1}\u{0}after the end".to_owned(),
        // What is harmless and must come through as it is.
        "naïve_函数_🐍 <genexpr>".to_owned(),
        String::new(),
        " ".to_owned(),
    ];
    names.push("long/".repeat(2_000));
    names.push("語".repeat(4_000));
    names.push("\u{1b}[1m".repeat(2_500));
    names
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// No byte of an output does anything to a terminal but end a line.
#[track_caller]
fn assert_harmless(output: &[u8]) {
    let text = str::from_utf8(output).expect("outputs are UTF-8");
    for character in text.chars().filter(|character| *character != '\n') {
        let hidden = matches!(character,
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        let around: Vec<&str> = text
            .lines()
            .filter(|line| line.contains(character))
            .collect();
        assert!(!hidden, "{character:?} in {around:?}");
    }
}

/// What a C string has of a name, cut where the kernel stops to read.
fn told(name: &str, most: usize) -> String {
    let string = name.split('\0').next().unwrap_or_default();
    if string.len() <= most {
        return string.to_owned();
    }
    let end = (0..=most).rev().find(|end| string.is_char_boundary(*end));
    format!("{}…", &string[..end.expect("0 is a boundary")])
}

/// A pytop that watches one process.
struct Watch {
    pytop: std::process::Child,
    errors: Lines,
}

impl Watch {
    fn start(pid: u32, format: &str) -> Self {
        let pid = pid.to_string();
        let mut pytop = Pytop::command()
            .args([
                "-b", "-d", "3600", "-t", "0", "--format", format, "-p", &pid,
            ])
            .env_remove("COLUMNS")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("pytop can be started");
        let errors = pytop.stderr.take().expect("standard error is a pipe");
        let errors = Lines::of("pytop's standard error".to_owned(), errors);
        let counting = errors.next();
        assert_eq!(
            counting.as_deref(),
            Some("pytop: counting 1 processes (1 interpreters)")
        );
        Self { pytop, errors }
    }

    /// All that it prints.
    fn end(self) -> Vec<u8> {
        let pid = Pid::from_raw(self.pytop.id().cast_signed());
        kill(pid, Signal::SIGINT).expect("it is there");
        let ended = self.pytop.wait_with_output().expect("it can be waited for");
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!(self.errors.rest(), Vec::<String>::new());
        ended.stdout
    }
}

/// The one row with so many calls.
fn row(snapshot: &Value, calls: usize) -> &Value {
    let rows = snapshot["rows"].as_array().expect("rows are an array");
    let mut rows = rows.iter().filter(|row| row["calls"] == calls);
    match (rows.next(), rows.next()) {
        (Some(row), None) => row,
        found => panic!("{calls} calls: {found:?}"),
    }
}

#[test]
fn names_of_functions_and_files() {
    let names = names();
    // Each name as both; and each with a name of its own, so that no two rows become one.
    let pairs: Vec<(String, String)> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (format!("{index}{name}"), name.clone()))
        .collect();
    for interpreter in live() {
        let mut python = Python::new(interpreter, Form::Chroot, "hostile.py");
        for (filename, function) in &pairs {
            let names = [hex(filename.as_bytes()), hex(function.as_bytes())];
            python = python.argument(&names.join(":"));
        }
        let mut running = python.start();
        let [table, json, csv] =
            ["table", "json", "csv"].map(|format| Watch::start(running.pid(), format));
        running.run();
        let [table, json, csv] = [table, json, csv].map(Watch::end);
        running.end_well();
        for output in [&table, &json, &csv] {
            assert_harmless(output);
        }

        let json: Value = serde_json::from_slice(&json).expect("one object");
        assert_eq!(json["rows"].as_array().map(Vec::len), Some(pairs.len()));
        assert_eq!(json["uncounted"]["unreadable_name"], 0);

        let mut reader = csv::Reader::from_reader(&csv[..]);
        let mut records: Vec<csv::StringRecord> = reader
            .records()
            .map(|record| record.expect("CSV can be read"))
            .collect();
        assert_eq!(records.len(), pairs.len());
        // As many lines as rows, whatever is in them.
        assert_eq!(csv.split(|byte| *byte == b'\n').count(), pairs.len() + 2);
        records.sort_by_key(|record| record[5].parse::<usize>().expect("calls are a number"));

        // A line of summary, a header, and a line for each row.
        assert_eq!(table.split(|byte| *byte == b'\n').count(), pairs.len() + 3);

        for (index, (filename, function)) in pairs.iter().enumerate() {
            let row = row(&json, index + 1);
            let what = format!("Python {}: {filename:?}", interpreter.name);
            assert_eq!(row["filename"], told(filename, FILENAME_MOST), "{what}");
            assert_eq!(row["function"], told(function, FUNCTION_MOST), "{what}");
            // What is not plain is written as an escape here, and what is plain as it is.
            let shown = |name, most| visible(told(name, most).as_bytes());
            assert_eq!(records[index][2], shown(filename, FILENAME_MOST), "{what}");
            assert_eq!(records[index][4], shown(function, FUNCTION_MOST), "{what}");
        }
    }
}

/// A name that is no UTF-8, such as that of a file from another encoding, has no C string.
///
/// CPython 3.15 says `<unknown>` then. Not so 3.6 to 3.10: whoever has their markers switched on,
/// makes the call fail with a `SystemError` (Python/ceval.c, `dtrace_function_entry` leaves the
/// error of `PyUnicode_AsUTF8` set), so this is not tried on them.
#[test]
fn names_that_are_no_utf8() {
    let text = "import os\n\
        def called(): pass\n\
        called.__code__ = called.__code__.replace(co_filename='/srv/\\udcff.py')\n\
        os.write(1, b'ready\\n')\n\
        os.read(0, 64)\n\
        [called() for _ in range(1009)]\n\
        called.__code__ = called.__code__.replace(co_filename='/srv', co_name='\\ud800')\n\
        [called() for _ in range(1013)]\n\
        os.write(1, b'done\\n')\n\
        os.read(0, 64)\n";
    let python = Python::of_text(interpreter("3.15"), Form::Chroot, text.to_owned());
    let mut running = python.start();
    let watch = Watch::start(running.pid(), "json");
    running.run();
    let json = watch.end();
    running.end_well();
    assert_harmless(&json);
    let json: Value = serde_json::from_slice(&json).expect("one object");
    assert_eq!(json["uncounted"]["unreadable_name"], 0);
    for (calls, filename, function) in [(1009, "<unknown>", "called"), (1013, "/srv", "<unknown>")]
    {
        let row = row(&json, calls);
        assert_eq!(
            (&row["filename"], &row["function"]),
            (&filename.into(), &function.into())
        );
    }
}

/// Paths that are hostile, or no UTF-8.
fn paths() -> [Vec<u8>; 3] {
    [
        b"\x1b]0;title\x07\n\xff py".to_vec(),
        "\u{202e}3nohtyp\u{9b}31m\u{200b}".as_bytes().to_vec(),
        b"a (deleted)\r\\x1b".to_vec(),
    ]
}

/// The same as the reader of a terminal or a table sees it.
fn visible(path: &[u8]) -> String {
    pytop::model::text::visible(path).into_owned()
}

#[test]
fn names_of_programs() {
    let interpreter = interpreter("3.9");
    for name in paths() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder
            .path()
            .join(PathBuf::from(std::ffi::OsString::from_vec(name.clone())));
        install_copy(&path, &interpreter.executable, 0o755);
        let mut command = Command::new(&path);
        command
            .envs(interpreter.environment(Form::Direct))
            .args(["-c", "print('ready', flush=True); input()"]);
        let running = Running::spawn("a hostile program".to_owned(), command);
        running.expect("ready");
        let pid = running.pid().to_string();
        let shown = visible(path.as_os_str().as_bytes());

        let outcome = Outcome::of_pytop(["--once", "-d", "0.1", "--format", "json", "-p", &pid]);
        assert_harmless(&outcome.stdout);
        let json: Value = serde_json::from_slice(&outcome.stdout).expect("one object");
        let process = &json["processes"][0];
        for key in ["exe", "interpreter"] {
            let told = process[key].as_str().expect("a path is a string");
            match path.to_str() {
                Some(path) => assert_eq!(told, path),
                None => assert!(told.contains("\\xff py"), "{told}"),
            }
        }
        assert_eq!(process["method"], "marker");
        // The kernel's name of a process is the first 15 bytes of its program's.
        let comm = process["comm"].as_str().expect("a name is a string");
        match str::from_utf8(&name[..15.min(name.len())]) {
            Ok(name) => assert_eq!(comm, name),
            Err(_) => assert!(comm.contains("\\x"), "{comm}"),
        }

        // In tables and messages.
        let grouped = ["--once", "-d", "0.1", "-g", "process", "--format", "csv"];
        for arguments in [&grouped[..], &["--once", "-d", "0.1"]] {
            assert_harmless(&Outcome::of_pytop(arguments).stdout);
        }
        let refused = Outcome::of_pytop(["--once", "--method", "resume", "-p", &pid]);
        assert_harmless(&refused.stderr);
        let [message] = refused.messages()[..] else {
            panic!("one message expected: {refused:?}");
        };
        assert!(
            message.starts_with(&format!("process {pid} ({shown}) ")),
            "{message}"
        );
    }
}

#[test]
fn names_in_messages() {
    for name in paths() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder
            .path()
            .join(PathBuf::from(std::ffi::OsString::from_vec(name)));
        install_copy(
            &path,
            &std::fs::canonicalize("/bin/cat").expect("every Linux has it"),
            0o755,
        );
        let running = Running::spawn("a hostile program".to_owned(), Command::new(&path));
        let pid = running.pid().to_string();
        let shown = visible(path.as_os_str().as_bytes());

        let not_cpython = Outcome::of_pytop(["--once", "-p", &pid]);
        assert_harmless(&not_cpython.stderr);
        assert!(
            not_cpython
                .stderr()
                .contains(&format!("({shown}) is not a CPython process"))
        );
        drop(running);

        let mut missing = Pytop::command();
        missing.args(["-b", "--"]).arg(path.join("missing"));
        let missing = Outcome::of(missing);
        assert_harmless(&missing.stderr);
        assert!(
            missing
                .stderr()
                .contains(&format!("cannot run '{shown}/missing': Not a directory"))
        );
    }
}

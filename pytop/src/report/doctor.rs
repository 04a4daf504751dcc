//! What `pytop doctor` prints.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use super::columns::{self, Column};
use super::json::{SCHEMA, unicode, write_line};
use super::table::{Layout, cells};
use crate::cli::AnswerFormat;
use crate::doctor::{Diagnosis, Finding, KnownInterpreter, Status};
use crate::model::Method;

/// Prints whether counting works, and why not.
///
/// # Errors
/// It could not be written.
pub fn write(
    output: &mut impl Write,
    format: AnswerFormat,
    layout: Layout,
    diagnosis: &Diagnosis,
) -> io::Result<()> {
    match format {
        AnswerFormat::Table => table(output, layout, diagnosis),
        AnswerFormat::Json => write_line(
            output,
            &Object {
                schema: SCHEMA,
                works: diagnosis.works(),
                findings: diagnosis.findings.iter().map(FindingObject::from).collect(),
                interpreters: diagnosis
                    .interpreters
                    .iter()
                    .map(Interpreter::from)
                    .collect(),
            },
        ),
    }
}

fn table(output: &mut impl Write, layout: Layout, diagnosis: &Diagnosis) -> io::Result<()> {
    let findings = &diagnosis.findings;
    let having = |status| {
        findings
            .iter()
            .filter(move |finding| finding.status == status)
    };
    if diagnosis.works() {
        match having(Status::Limited).count() {
            0 => writeln!(output, "pytop can count here")?,
            limits => writeln!(output, "pytop can count here, with limits ({limits})")?,
        }
    } else {
        let missing: Vec<_> = having(Status::No).map(|finding| finding.name).collect();
        writeln!(
            output,
            "pytop cannot count here, for want of {}",
            missing.join(", ")
        )?;
    }
    writeln!(output)?;
    let widest = findings.iter().map(|finding| finding.name.len()).max();
    let width = widest.unwrap_or(0);
    for Finding {
        name,
        status,
        detail,
        remedy,
    } in findings
    {
        let mut first = format!("  {:7}  {name:width$}  ", status.name());
        let indentation = " ".repeat(first.len());
        let room = layout.room_after(indentation.len());
        let remedy = remedy.as_ref().map(|remedy| format!("-> {remedy}"));
        for text in [detail].into_iter().chain(&remedy) {
            for line in wrapped(text, room) {
                writeln!(output, "{first}{line}")?;
                first.clone_from(&indentation);
            }
        }
    }
    writeln!(output)?;
    if diagnosis.interpreters.is_empty() {
        return writeln!(output, "  no CPython interpreter runs or is installed here");
    }
    let rows: Vec<_> = diagnosis.interpreters.iter().map(row).collect();
    let columns = [
        Column::left("INTERPRETER"),
        Column::left("PYTHON"),
        Column::right("PROCESSES"),
        Column::left("COUNTED BY"),
    ];
    columns::write(output, "  ", columns, &rows)
}

/// Lines of no more than `room` cells, unless a word is longer; all in one where it is not known.
fn wrapped(text: &str, room: Option<usize>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if room.is_none_or(|room| cells(line) + 1 + cells(word) <= room) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn row(interpreter: &KnownInterpreter) -> [String; 4] {
    let version = interpreter.version();
    [
        interpreter.path.to_string(),
        version.map_or_else(|| "?".to_owned(), |version| version.to_string()),
        interpreter.processes.to_string(),
        match &interpreter.verdict.chosen {
            Ok(method) => method.name().to_owned(),
            Err(reason) => format!("- ({reason})"),
        },
    ]
}

#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    works: bool,
    findings: Vec<FindingObject<'a>>,
    interpreters: Vec<Interpreter<'a>>,
}

#[derive(Serialize)]
struct FindingObject<'a> {
    name: &'a str,
    status: &'static str,
    detail: &'a str,
    remedy: Option<&'a str>,
}

#[derive(Serialize)]
struct Interpreter<'a> {
    path: Cow<'a, str>,
    python: Option<String>,
    processes: usize,
    method: Option<&'static str>,
    reason: Option<&'a str>,
}

impl<'a> From<&'a Finding> for FindingObject<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            name: finding.name,
            status: finding.status.name(),
            detail: &finding.detail,
            remedy: finding.remedy.as_deref(),
        }
    }
}

impl<'a> From<&'a KnownInterpreter> for Interpreter<'a> {
    fn from(interpreter: &'a KnownInterpreter) -> Self {
        let chosen = &interpreter.verdict.chosen;
        Self {
            path: unicode(&interpreter.path),
            python: interpreter.version().map(|version| version.to_string()),
            processes: interpreter.processes,
            method: chosen.as_ref().ok().copied().map(Method::name),
            reason: chosen.as_ref().err().map(|reason| &**reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnosis(status: Status) -> Diagnosis {
        Diagnosis {
            findings: vec![Finding {
                name: "uprobes",
                status,
                detail: "the kernel refused a uprobe (Permission denied)".to_owned(),
                remedy: Some("run pytop as root (sudo pytop)".to_owned()),
            }],
            interpreters: Vec::new(),
        }
    }

    fn printed(layout: Layout, status: Status) -> String {
        let mut output = Vec::new();
        let format = AnswerFormat::Table;
        write(&mut output, format, layout, &diagnosis(status)).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn lines_are_as_wide_as_the_terminal() {
        assert_eq!(
            printed(Layout::detect(None, None), Status::No),
            "\
pytop cannot count here, for want of uprobes

  no       uprobes  the kernel refused a uprobe (Permission denied)
                    -> run pytop as root (sudo pytop)

  no CPython interpreter runs or is installed here
"
        );
        assert_eq!(
            printed(Layout::detect(Some("50"), None), Status::Limited),
            "\
pytop can count here, with limits (1)

  limited  uprobes  the kernel refused a uprobe
                    (Permission denied)
                    -> run pytop as root (sudo
                    pytop)

  no CPython interpreter runs or is installed here
"
        );
    }

    #[test]
    fn no_terminal_is_too_narrow() {
        for columns in ["1", "20", "21"] {
            let printed = printed(Layout::detect(Some(columns), None), Status::Yes);
            assert!(printed.starts_with("pytop can count here\n"), "{printed}");
        }
    }
}

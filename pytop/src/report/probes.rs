//! What `pytop probes` prints.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};

use serde::Serialize;

use super::columns::{self, Column};
use super::json::{SCHEMA, unicode, write_line};
use crate::cli::AnswerFormat;
use crate::cpython::{EntryMarker, ListedMarker, Listing};
use crate::inspect::{Inspected, InspectedProcess, Verdict};
use crate::model::Method;

/// Pids that are named in a line.
const MOST_PIDS: usize = 8;

/// Prints the markers of files, and how interpreters are counted.
///
/// # Errors
/// It could not be written.
pub fn write(output: &mut impl Write, format: AnswerFormat, files: &[Inspected]) -> io::Result<()> {
    match format {
        AnswerFormat::Json => write_line(
            output,
            &Object {
                schema: SCHEMA,
                files: files.iter().map(File::from).collect(),
            },
        ),
        AnswerFormat::Table if files.is_empty() => {
            writeln!(output, "no CPython process is running")
        }
        AnswerFormat::Table => {
            for (number, file) in files.iter().enumerate() {
                if number > 0 {
                    writeln!(output)?;
                }
                table(output, file)?;
            }
            Ok(())
        }
    }
}

fn table(output: &mut impl Write, file: &Inspected) -> io::Result<()> {
    let deleted = if file.deleted { " (deleted)" } else { "" };
    writeln!(output, "{}{deleted}", file.path)?;
    match &file.verdict {
        Some(verdict) => interpreter(output, file, verdict)?,
        None => no_interpreter(output, &file.listing)?,
    }
    if file.listing.damaged {
        writeln!(
            output,
            "  its table of markers is damaged: this may not be all"
        )?;
    }
    if file.listing.markers.is_empty() {
        return writeln!(output, "  no markers");
    }
    let values = |index| values(&file.processes, index);
    let markers = file.listing.markers.iter().enumerate();
    let rows: Vec<_> = markers
        .map(|(index, marker)| {
            [
                marker.provider.to_string(),
                marker.name.to_string(),
                format!("{:#x}", marker.address),
                marker
                    .semaphore
                    .map_or_else(|| "-".to_owned(), |address| format!("{address:#x}")),
                marker.semaphore.map_or("-".to_owned(), |_| values(index)),
                marker.arguments.to_string(),
            ]
        })
        .collect();
    let columns = [
        Column::left("PROVIDER"),
        Column::left("NAME"),
        Column::right("ADDRESS"),
        Column::right("SEMAPHORE"),
        Column::right("VALUE"),
        Column::left("ARGUMENTS"),
    ];
    columns::write(output, "  ", columns, &rows)
}

fn no_interpreter(output: &mut impl Write, listing: &Listing) -> io::Result<()> {
    let architecture = listing.architecture;
    match &listing.python_library {
        Some(library) => writeln!(
            output,
            "  no CPython interpreter of its own, for {architecture}: it runs that of {library}, the \
             path of which ldd tells"
        ),
        None => writeln!(output, "  no CPython interpreter, for {architecture}"),
    }
}

fn interpreter(output: &mut impl Write, file: &Inspected, verdict: &Verdict) -> io::Result<()> {
    let version = match verdict.version {
        Some(version) => format!("CPython {version}"),
        None => "CPython of an unknown version".to_owned(),
    };
    let architecture = file.listing.architecture;
    write!(output, "  {version} for {architecture}")?;
    if !file.processes.is_empty() {
        write!(output, ", run by {}", pids(&file.processes))?;
    }
    writeln!(output)?;
    let entry = entry_name(verdict.entry);
    let reason = match &verdict.entry_reason {
        None => "it fires at every entry of a frame",
        Some(reason) => reason,
    };
    writeln!(output, "  function__entry is {entry}: {reason}")?;
    match &verdict.chosen {
        Err(reason) => writeln!(output, "  not counted: {reason}")?,
        Ok(chosen) => {
            writeln!(output, "  counted by {}: {}", chosen.name(), why(*chosen))?;
            let mut others = verdict.methods.iter();
            let other = others.find(|(method, probes)| method != chosen && probes.is_ok());
            if let Some((other, _)) = other {
                writeln!(
                    output,
                    "  could also be counted by --method {}",
                    other.name()
                )?;
            }
        }
    }
    for process in &file.processes {
        if let Err(reason) = &process.semaphores {
            let pid = process.pid;
            writeln!(
                output,
                "  the semaphores of process {pid} cannot be read: {reason}"
            )?;
        }
    }
    Ok(())
}

fn entry_name(entry: EntryMarker) -> &'static str {
    match entry {
        EntryMarker::Live => "live",
        EntryMarker::Dead => "dead",
        EntryMarker::None => "none",
        EntryMarker::Unusable => "unusable",
    }
}

/// What is probed.
fn why(method: Method) -> &'static str {
    match method {
        Method::Marker => "its function__entry marker is probed",
        Method::Eval => "without a live marker, its frame evaluation function is probed",
        Method::Resume => "without a live marker, the handlers of its RESUME bytecodes are probed",
    }
}

fn pids(processes: &[InspectedProcess]) -> String {
    let named: Vec<_> = processes
        .iter()
        .take(MOST_PIDS)
        .map(|process| process.pid.to_string())
        .collect();
    let named = named.join(", ");
    match processes.len() {
        1 => format!("process {named}"),
        all if all > MOST_PIDS => {
            format!("{all} processes: {named}, and {} more", all - MOST_PIDS)
        }
        all => format!("{all} processes: {named}"),
    }
}

/// The values of one marker's semaphore, each once: nearly always 0, or that of every process.
fn values(processes: &[InspectedProcess], marker: usize) -> String {
    let mut distinct = BTreeSet::new();
    for process in processes {
        let value = process.semaphores.as_ref().ok();
        distinct.insert(value.and_then(|values| values.get(marker).copied().flatten()));
    }
    let shown: Vec<_> = distinct
        .into_iter()
        .map(|value| value.map_or_else(|| "?".to_owned(), |value| value.to_string()))
        .collect();
    if shown.is_empty() {
        "-".to_owned()
    } else {
        shown.join(",")
    }
}

#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    path: Cow<'a, str>,
    deleted: bool,
    architecture: String,
    build_id: Option<String>,
    /// `None` where there is no interpreter.
    interpreter: Option<Interpreter<'a>>,
    /// The library with an interpreter that it asks for.
    python_library: Option<Cow<'a, str>>,
    processes: Vec<Process<'a>>,
    /// Whether there may be more markers.
    damaged: bool,
    markers: Vec<Marker<'a>>,
}

#[derive(Serialize)]
struct Interpreter<'a> {
    python: Option<String>,
    function_entry: &'static str,
    function_entry_reason: Option<&'a str>,
    method: Option<&'static str>,
    reason: Option<&'a str>,
    methods: Vec<PossibleMethod<'a>>,
}

#[derive(Serialize)]
struct PossibleMethod<'a> {
    method: &'static str,
    probes: Option<usize>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    /// Why the values of its semaphores are not known.
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct Marker<'a> {
    provider: Cow<'a, str>,
    name: Cow<'a, str>,
    address: u64,
    base: u64,
    semaphore: Option<u64>,
    file_offset: Option<u64>,
    semaphore_file_offset: Option<u64>,
    arguments: Cow<'a, str>,
    values: Vec<Value>,
}

#[derive(Serialize)]
struct Value {
    pid: u32,
    value: u16,
}

impl<'a> From<&'a Inspected> for File<'a> {
    fn from(file: &'a Inspected) -> Self {
        let listing = &file.listing;
        let markers = listing.markers.iter().enumerate();
        Self {
            path: unicode(&file.path),
            deleted: file.deleted,
            architecture: listing.architecture.to_string(),
            build_id: listing.build_id.as_deref().map(hex),
            interpreter: file.verdict.as_ref().map(Interpreter::from),
            python_library: listing.python_library.as_ref().map(unicode),
            processes: file.processes.iter().map(Process::from).collect(),
            damaged: listing.damaged,
            markers: markers
                .map(|(index, marker)| Marker::of(marker, index, &file.processes))
                .collect(),
        }
    }
}

impl<'a> From<&'a Verdict> for Interpreter<'a> {
    fn from(verdict: &'a Verdict) -> Self {
        let methods = verdict.methods.iter();
        Self {
            python: verdict.version.map(|version| version.to_string()),
            function_entry: entry_name(verdict.entry),
            function_entry_reason: verdict.entry_reason.as_deref(),
            method: verdict.chosen.as_ref().ok().map(|method| method.name()),
            reason: verdict.chosen.as_ref().err().map(|reason| &**reason),
            methods: methods
                .map(|(method, probes)| PossibleMethod {
                    method: method.name(),
                    probes: probes.as_ref().ok().copied(),
                    reason: probes.as_ref().err().map(String::as_str),
                })
                .collect(),
        }
    }
}

impl<'a> From<&'a InspectedProcess> for Process<'a> {
    fn from(process: &'a InspectedProcess) -> Self {
        Self {
            pid: process.pid,
            comm: unicode(&process.comm),
            reason: process.semaphores.as_ref().err().map(String::as_str),
        }
    }
}

impl<'a> Marker<'a> {
    fn of(marker: &'a ListedMarker, index: usize, processes: &[InspectedProcess]) -> Self {
        let values = processes.iter().filter_map(|process| {
            let values = process.semaphores.as_ref().ok()?;
            let value = values.get(index).copied().flatten()?;
            let pid = process.pid;
            Some(Value { pid, value })
        });
        Self {
            provider: unicode(&marker.provider),
            name: unicode(&marker.name),
            address: marker.address,
            base: marker.base,
            semaphore: marker.semaphore,
            file_offset: marker.file_offset,
            semaphore_file_offset: marker.semaphore_file_offset,
            arguments: unicode(&marker.arguments),
            values: values.collect(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

//! A line an event, for reading.
//!
//! ```text
//!       1042 python3[812]                  => main in /srv/app.py:12
//!       1057 python3[812/815]              => work in /srv/app.py:3
//! ```

use std::fmt::Write as _;
use std::io::{self, Write};

use super::Programs;
use crate::trace::{Function, Line, Way, What};

/// Columns of the program and its process.
const PROGRAM: usize = 24;
/// Columns of a level.
const LEVEL: usize = 2;
/// No line is indented further.
const DEEPEST: usize = 500;

pub(super) fn write(
    output: &mut impl Write,
    start: u64,
    programs: &Programs,
    line: &Line<'_>,
) -> io::Result<()> {
    let mut who = String::with_capacity(PROGRAM);
    if let Some(program) = programs.get(&line.pid) {
        who.push_str(&program.visible());
    }
    let _ = write!(who, "[{}", line.pid);
    if line.tid != line.pid {
        let _ = write!(who, "/{}", line.tid);
    }
    who.push(']');
    let time = line.time.saturating_sub(start) / 1000;
    let indent = LEVEL * line.depth.min(DEEPEST);
    write!(output, "{time:>10} {who:<PROGRAM$} {:indent$}", "")?;
    match line.what {
        What::Entry { function, thrown } => {
            let sign = if thrown { "!>" } else { "=>" };
            named(output, sign, function)
        }
        What::Return { function, way } => {
            let sign = match way {
                Way::Seen => "<=",
                Way::Unseen => "<~",
                Way::Created => "<+",
            };
            named(output, sign, function)
        }
        What::Lost(number) => writeln!(output, "… {} events lost …", grouped(number)),
    }
}

fn named(output: &mut impl Write, sign: &str, function: &Function) -> io::Result<()> {
    let Some(names) = &function.names else {
        return writeln!(output, "{sign} ?");
    };
    let (name, file) = (names.function.visible(), names.filename.visible());
    match function.line {
        Some(line) => writeln!(output, "{sign} {name} in {file}:{line}"),
        None => writeln!(output, "{sign} {name} in {file}:-"),
    }
}

/// A number with its thousands set apart.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_203, "1,203"),
            (u32::MAX, "4,294,967,295"),
        ] {
            assert_eq!(grouped(number), expected);
        }
    }
}

//! JSON: one object a line an event.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::Serialize;

use super::Programs;
use crate::report::json::{Visible, unicode};
use crate::trace::{Function, Line, Way, What};

pub(super) fn write(
    output: &mut impl Write,
    start: u64,
    programs: &Programs,
    line: &Line<'_>,
) -> io::Result<()> {
    let mut object = Object {
        time_us: (line.time.saturating_sub(start) / 1000),
        event: "lost",
        how: None,
        pid: line.pid,
        tid: line.tid,
        program: programs.get(&line.pid).map(unicode),
        depth: line.depth,
        filename: None,
        line: None,
        function: None,
        lost: None,
    };
    match line.what {
        What::Entry { function, thrown } => {
            object.event = "entry";
            object.how = Some(if thrown { "throw" } else { "call" });
            object.name(function);
        }
        What::Return { function, way } => {
            object.event = "return";
            object.how = Some(match way {
                Way::Seen => "return",
                Way::Unseen => "unseen",
                Way::Created => "created",
            });
            object.name(function);
        }
        What::Lost(number) => object.lost = Some(number),
    }
    object.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *output,
        Visible,
    ))?;
    output.write_all(b"\n")
}

#[derive(Serialize)]
struct Object<'a> {
    time_us: u64,
    event: &'static str,
    how: Option<&'static str>,
    pid: u32,
    tid: u32,
    program: Option<Cow<'a, str>>,
    depth: usize,
    filename: Option<Cow<'a, str>>,
    line: Option<u32>,
    function: Option<Cow<'a, str>>,
    lost: Option<u32>,
}

impl<'a> Object<'a> {
    fn name(&mut self, function: &'a Function) {
        if let Some(names) = &function.names {
            self.filename = Some(unicode(&names.filename));
            self.function = Some(unicode(&names.function));
        }
        self.line = function.line;
    }
}

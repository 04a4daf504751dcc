//! Collapsed stacks, as flame graph tools read them: one line a stack, its functions from the
//! outermost inward, joined by `;`, a space, and what it weighs.
//!
//! ```text
//! python3 (812);<module> (/srv/app.py:1);main (/srv/app.py:12);price (/srv/app.py:67) 1203
//! ```

use std::io::{self, Write};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::Programs;
use crate::cli::Weight;
use crate::trace::{Function, Gone, Line, What};

/// Stacks that are told apart. What is called beyond is part of its caller.
const MOST: usize = 1 << 20;
/// [`Stack::outer`] of a process.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Folded {
    weight: Weight,
    stacks: Vec<Stack>,
    /// The stack with one more function.
    inner: HashMap<(u32, Arc<Function>), u32>,
    processes: HashMap<u32, u32>,
    threads: HashMap<u32, Thread>,
    /// Calls that have no stack of their own.
    merged: u64,
}

#[derive(Debug)]
struct Stack {
    outer: u32,
    name: String,
    /// Nanoseconds, or calls.
    weight: u64,
}

#[derive(Debug)]
struct Thread {
    process: u32,
    path: Vec<u32>,
    since: u64,
}

impl Folded {
    pub(super) fn new(weight: Weight) -> Self {
        Self {
            weight,
            stacks: Vec::new(),
            inner: HashMap::new(),
            processes: HashMap::new(),
            threads: HashMap::new(),
            merged: 0,
        }
    }

    pub(super) fn take(&mut self, programs: &Programs, line: &Line<'_>) {
        let process = self.process(programs, line.pid);
        let thread = self.threads.entry(line.tid).or_insert_with(|| Thread {
            process,
            path: Vec::new(),
            since: line.time,
        });
        if thread.process != process {
            thread.process = process;
            thread.path.clear();
        }
        let here = thread.path.last().copied();
        let passed = line.time.saturating_sub(thread.since);
        thread.since = line.time;
        if let Some(here) = here
            && self.weight == Weight::Time
        {
            self.add(here, passed);
        }
        match line.what {
            What::Entry { function, .. } => {
                let entered = self.enter(here.unwrap_or(process), function);
                if self.weight == Weight::Calls {
                    self.add(entered, 1);
                }
                if let Some(thread) = self.threads.get_mut(&line.tid) {
                    thread.path.push(entered);
                }
            }
            What::Return { .. } => {
                if let Some(thread) = self.threads.get_mut(&line.tid) {
                    thread.path.pop();
                }
            }
            What::Lost(_) => {}
        }
    }

    /// A thread tells no more.
    pub(super) fn end(&mut self, gone: &Gone) {
        if let Some(thread) = self.threads.remove(&gone.tid)
            && let Some(here) = thread.path.last()
            && self.weight == Weight::Time
        {
            self.add(*here, gone.time.saturating_sub(thread.since));
        }
    }

    /// Writes all stacks, and returns how many calls have none of their own.
    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<u64> {
        let mut path = Vec::new();
        for stack in &self.stacks {
            let weight = match self.weight {
                Weight::Time => stack.weight / 1000,
                Weight::Calls => stack.weight,
            };
            if weight == 0 {
                continue;
            }
            path.clear();
            let mut next = Some(stack);
            while let Some(stack) = next {
                path.push(stack.name.as_str());
                next = self.stacks.get(stack.outer as usize);
            }
            for (index, name) in path.iter().rev().enumerate() {
                let separator = if index == 0 { "" } else { ";" };
                write!(output, "{separator}{name}")?;
            }
            writeln!(output, " {weight}")?;
        }
        Ok(self.merged)
    }

    fn add(&mut self, stack: u32, weight: u64) {
        if let Some(stack) = self.stacks.get_mut(stack as usize) {
            stack.weight = stack.weight.saturating_add(weight);
        }
    }

    fn process(&mut self, programs: &Programs, pid: u32) -> u32 {
        if let Some(process) = self.processes.get(&pid) {
            return *process;
        }
        let program = programs.get(&pid).map(|program| program.visible());
        let name = format!("{} ({pid})", program.unwrap_or_default());
        let process = self.new_stack(NONE, &name);
        self.processes.insert(pid, process);
        process
    }

    fn enter(&mut self, outer: u32, function: &Arc<Function>) -> u32 {
        let key = (outer, Arc::clone(function));
        if let Some(stack) = self.inner.get(&key) {
            return *stack;
        }
        if self.stacks.len() >= MOST {
            self.merged = self.merged.saturating_add(1);
            return outer;
        }
        let name = match (&function.names, function.line) {
            (None, _) => "?".to_owned(),
            (Some(names), None) => {
                format!(
                    "{} ({})",
                    names.function.visible(),
                    names.filename.visible()
                )
            }
            (Some(names), Some(line)) => {
                let (name, file) = (names.function.visible(), names.filename.visible());
                format!("{name} ({file}:{line})")
            }
        };
        let stack = self.new_stack(outer, &name);
        self.inner.insert(key, stack);
        stack
    }

    fn new_stack(&mut self, outer: u32, name: &str) -> u32 {
        let number = u32::try_from(self.stacks.len()).unwrap_or(NONE);
        self.stacks.push(Stack {
            outer,
            // It is what separates names.
            name: name.replace(';', ","),
            weight: 0,
        });
        number
    }
}

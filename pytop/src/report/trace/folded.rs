//! Collapsed stacks, as flame graph tools read them: one line a stack, its functions from the
//! outermost inward, joined by `;`, a space, and what it weighs.
//!
//! ```text
//! python3 (812);<module> (/srv/app.py:1);main (/srv/app.py:12);price (/srv/app.py:67) 1203
//! ```
//!
//! A function that was not seen leaving has no time after the last event before that is known of: what has
//! passed since is its caller's, or its own where the thread has ended with it.
//!
//! Where events of a thread were lost, what it was in may have been left meanwhile, and something
//! else entered. `(lost)` stands for all of that, until it is gone.

use std::io::{self, Write};
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::Programs;
use crate::cli::Weight;
use crate::trace::{Function, Gone, Line, Way, What};

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
    /// What is not known of a process.
    unknown: HashMap<u32, u32>,
    threads: HashMap<u32, Thread>,
    missing: Missing,
}

/// What the stacks do not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Calls that have no stack of their own and are part of their callers.
    pub merged: u64,
    /// Events that were lost.
    pub lost: u64,
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
    /// Stands for what is around `path` and not known.
    unknown: Option<u32>,
    /// The functions that it is in: their depths, and their stacks.
    path: Vec<(usize, u32)>,
    since: u64,
    /// Where it was then, if that was not seen to be left.
    left: Option<u32>,
}

impl Thread {
    /// The innermost stack.
    fn here(&self) -> Option<u32> {
        self.path.last().map(|(_, stack)| *stack).or(self.unknown)
    }

    /// What is at this depth or deeper is gone. A return may be that of a function whose entry was
    /// not told.
    fn shorten(&mut self, depth: usize) {
        while self.path.last().is_some_and(|(last, _)| *last >= depth) {
            self.path.pop();
        }
    }
}

impl Folded {
    pub(super) fn new(weight: Weight) -> Self {
        Self {
            weight,
            stacks: Vec::new(),
            inner: HashMap::new(),
            processes: HashMap::new(),
            unknown: HashMap::new(),
            threads: HashMap::new(),
            missing: Missing::default(),
        }
    }

    pub(super) fn take(&mut self, programs: &Programs, line: &Line<'_>) {
        let process = self.process(programs, line.pid);
        let is_time = self.weight == Weight::Time;
        let unknown = match line.what {
            What::Lost(_) => Some(self.unknown(process)),
            _ => None,
        };
        let thread = self.threads.entry(line.tid).or_insert_with(|| Thread {
            process,
            unknown: None,
            path: Vec::new(),
            since: line.time,
            left: None,
        });
        if thread.process != process {
            thread.process = process;
            thread.unknown = None;
            thread.path.clear();
        }
        let left = thread.left.take();
        if let What::Return {
            way: Way::Unseen, ..
        } = line.what
        {
            thread.left = left.or_else(|| thread.here());
            thread.shorten(line.depth);
            return;
        }
        let passed = line.time.saturating_sub(thread.since);
        thread.since = line.time;
        // Where the thread was while events were lost is not known.
        let been = unknown.or_else(|| thread.here()).or(left);
        if unknown.is_some() {
            thread.unknown = unknown;
            thread.path.clear();
        } else {
            thread.shorten(line.depth);
            if !line.is_cut {
                thread.unknown = None;
            }
        }
        let here = thread.here();
        if let Some(been) = been
            && is_time
        {
            self.add(been, passed);
        }
        match line.what {
            What::Entry { function, .. } => {
                let entered = self.enter(here.unwrap_or(process), function);
                if !is_time {
                    self.add(entered, 1);
                }
                if let Some(thread) = self.threads.get_mut(&line.tid) {
                    thread.path.push((line.depth, entered));
                }
            }
            What::Return { .. } => {}
            What::Lost(number) => {
                self.missing.lost = self.missing.lost.saturating_add(number.into());
            }
        }
    }

    /// A thread tells no more.
    pub(super) fn end(&mut self, gone: &Gone) {
        if let Some(thread) = self.threads.remove(&gone.tid)
            && let Some(here) = thread.left.or_else(|| thread.here())
            && self.weight == Weight::Time
        {
            self.add(here, gone.time.saturating_sub(thread.since));
        }
    }

    /// Writes all stacks, and returns what they do not show.
    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<Missing> {
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
        Ok(self.missing)
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

    /// The stack of what is not known of a process.
    fn unknown(&mut self, process: u32) -> u32 {
        if let Some(unknown) = self.unknown.get(&process) {
            return *unknown;
        }
        let unknown = self.new_stack(process, "(lost)");
        self.unknown.insert(process, unknown);
        unknown
    }

    fn enter(&mut self, outer: u32, function: &Arc<Function>) -> u32 {
        let key = (outer, Arc::clone(function));
        if let Some(stack) = self.inner.get(&key) {
            return *stack;
        }
        if self.stacks.len() >= MOST {
            self.missing.merged = self.missing.merged.saturating_add(1);
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

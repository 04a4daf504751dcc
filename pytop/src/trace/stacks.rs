//! A stack for each thread.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use pytop_common::trace::{Event, Kind};

use super::{Function, Gone, Line, Selection, Traced, Way, What};
use crate::model::Function as Named;

/// Deeper than this the kernel side does not look. A stack has no more frames.
const DEEPEST: usize = 1 << 14;
/// Answers of the filter that are remembered.
const REMEMBERED: usize = 1 << 16;

/// A frame that has been entered and not left.
#[derive(Debug)]
struct Open {
    /// What it is known by; 0 when that is not known.
    frame: u64,
    function: Arc<Function>,
    is_told: bool,
    /// It is told, or is called by one that is.
    is_inside: bool,
}

#[derive(Debug, Default)]
struct Stack {
    pid: u32,
    open: Vec<Open>,
    /// So many frames, the outermost, may be others than those in `open`: events were lost.
    doubtful: usize,
}

/// The stacks of all threads.
#[derive(Debug)]
pub struct Stacks {
    threads: HashMap<u32, Stack>,
    functions: HashMap<(u64, i32), (Arc<Function>, bool)>,
    selection: Selection,
    subject: String,
    unknown: Arc<Function>,
}

impl Stacks {
    /// No thread yet.
    #[must_use]
    pub fn new(selection: Selection) -> Self {
        Self {
            threads: HashMap::new(),
            functions: HashMap::new(),
            selection,
            subject: String::new(),
            unknown: Arc::new(Function {
                names: None,
                line: None,
            }),
        }
    }

    /// Takes an event in, and tells what has happened.
    pub fn take(&mut self, traced: &Traced, mut tell: impl FnMut(Line<'_>)) {
        let event = &traced.event;
        let (function, matches) = self.function(traced);
        let mut stack = self.threads.remove(&event.tid).unwrap_or_default();
        if stack.pid != event.pid {
            stack = Stack {
                pid: event.pid,
                ..Stack::default()
            };
        }
        if event.lost > 0 {
            stack.doubtful = usize::MAX;
            tell(line(
                &stack,
                event,
                stack.open.len(),
                What::Lost(event.lost),
            ));
        }
        let around = match usize::try_from(event.depth).unwrap_or(DEEPEST) {
            0 => stack.open.len().max(1),
            depth => depth - 1,
        };
        stack.doubtful = stack.doubtful.min(around);
        if event.kind == Kind::Entry as u8 || event.kind == Kind::Throw as u8 {
            self.enter(&mut stack, event, function, matches, &mut tell);
        } else {
            let way = if event.kind == Kind::Created as u8 {
                Way::Created
            } else {
                Way::Seen
            };
            let shown = traced.names.is_some() && matches;
            leave(
                &mut stack,
                event,
                way,
                shown.then_some(&function),
                &mut tell,
            );
        }
        self.threads.insert(event.tid, stack);
    }

    /// A thread tells no more. What it had entered is left if it has ended.
    pub fn end(&mut self, gone: &Gone, mut tell: impl FnMut(Line<'_>)) {
        let mut stack = self.threads.remove(&gone.tid).unwrap_or_default();
        let event = Event {
            time: gone.time,
            pid: gone.pid,
            tid: gone.tid,
            ..Event::default()
        };
        if gone.lost > 0 {
            stack.doubtful = usize::MAX;
            tell(line(
                &stack,
                &event,
                stack.open.len(),
                What::Lost(gone.lost),
            ));
        }
        if gone.has_ended && stack.pid == gone.pid {
            shorten(&mut stack, 0, &event, &mut tell);
        }
    }

    /// The functions that a thread is in, the outermost first.
    pub fn open(&self, tid: u32) -> impl Iterator<Item = &Arc<Function>> {
        let open = self.threads.get(&tid).map(|stack| stack.open.as_slice());
        open.unwrap_or_default().iter().map(|open| &open.function)
    }

    fn enter(
        &self,
        stack: &mut Stack,
        event: &Event,
        function: Arc<Function>,
        matches: bool,
        tell: &mut impl FnMut(Line<'_>),
    ) {
        let above = match usize::try_from(event.depth).unwrap_or(DEEPEST).min(DEEPEST) {
            0 => stack.open.len().min(DEEPEST),
            depth => depth - 1,
        };
        shorten(stack, above, event, tell);
        if stack.open.len() == above
            && event.caller != 0
            && let Some(last) = stack.open.last()
            && last.frame != 0
            && last.frame != event.caller
        {
            shorten(stack, above.saturating_sub(1), event, tell);
        }
        while stack.open.len() < above {
            let is_last = stack.open.len() + 1 == above;
            let inside = stack.open.last().is_some_and(|open| open.is_inside);
            stack.open.push(Open {
                frame: if is_last { event.caller } else { 0 },
                function: Arc::clone(&self.unknown),
                is_told: false,
                is_inside: self.selection.subtree && inside,
            });
        }
        let inside = stack.open.last().is_some_and(|open| open.is_inside);
        let is_told = matches || (self.selection.subtree && inside);
        if is_told {
            let thrown = event.kind == Kind::Throw as u8;
            let function = &function;
            tell(line(
                stack,
                event,
                stack.open.len(),
                What::Entry { function, thrown },
            ));
        }
        stack.open.push(Open {
            frame: event.frame,
            function,
            is_told,
            is_inside: is_told,
        });
    }

    /// The function of an event, and whether it is one of those that were asked for.
    fn function(&mut self, traced: &Traced) -> (Arc<Function>, bool) {
        let Some(names) = &traced.names else {
            return (Arc::clone(&self.unknown), self.selection.filter.is_none());
        };
        let key = (traced.event.text, traced.event.line);
        if let Some(known) = self.functions.get(&key) {
            return known.clone();
        }
        let function = Function {
            names: Some(names.clone()),
            line: u32::try_from(traced.event.line)
                .ok()
                .filter(|line| *line > 0),
        };
        let matches = self.selection.filter.as_ref().is_none_or(|filter| {
            let (filename, name) = (names.filename.clone(), names.function.clone());
            let subject = Named::new(traced.event.pid, filename, function.line, name);
            filter.matches(&subject, &mut self.subject)
        });
        if self.functions.len() >= REMEMBERED {
            self.functions.clear();
        }
        let known = (Arc::new(function), matches);
        self.functions.insert(key, known.clone());
        known
    }
}

/// Takes frames off until so many are left: each of them was left unseen.
fn shorten(stack: &mut Stack, left: usize, event: &Event, tell: &mut impl FnMut(Line<'_>)) {
    while stack.open.len() > left {
        if let Some(open) = stack.open.pop() {
            told(stack, event, &open, Way::Unseen, tell);
        }
    }
}

/// A frame is left. `entered_before` is its function, if it is to be told though its entry was not.
fn leave(
    stack: &mut Stack,
    event: &Event,
    way: Way,
    entered_before: Option<&Arc<Function>>,
    tell: &mut impl FnMut(Line<'_>),
) {
    let depth = usize::try_from(event.depth).unwrap_or(DEEPEST);
    let same = |open: &Open| event.frame != 0 && open.frame == event.frame;
    let at = stack.open.iter().rposition(same);
    let is_there = |open: &Open| event.frame == 0 || open.frame == 0;
    if let Some(at) = at {
        shorten(stack, at + 1, event, tell);
    } else if depth > 0 {
        shorten(stack, depth, event, tell);
        if stack.open.len() == depth && !stack.open.last().is_some_and(is_there) {
            shorten(stack, depth - 1, event, tell);
        }
    } else if event.frame != 0 {
        // Known by its place on the stack, which grows towards lower addresses.
        let inner = |open: &&Open| open.frame != 0 && open.frame < event.frame;
        let inner = stack.open.iter().rev().take_while(inner).count();
        shorten(stack, stack.open.len() - inner, event, tell);
    }
    let found = at.is_some() || (depth > 0 && stack.open.len() == depth);
    if found
        && let Some(open) = stack.open.pop()
        && (open.function.names.is_some() || entered_before.is_none())
    {
        told(stack, event, &open, way, tell);
        return;
    }
    if let Some(function) = entered_before {
        let depth = depth.saturating_sub(1).max(stack.open.len());
        tell(line(stack, event, depth, What::Return { function, way }));
    }
}

/// Tells that a frame, which is no more on the stack, was left.
fn told(stack: &Stack, event: &Event, open: &Open, way: Way, tell: &mut impl FnMut(Line<'_>)) {
    if open.is_told {
        let function = &open.function;
        tell(line(
            stack,
            event,
            stack.open.len(),
            What::Return { function, way },
        ));
    }
}

fn line<'a>(stack: &Stack, event: &Event, depth: usize, what: What<'a>) -> Line<'a> {
    Line {
        time: event.time,
        pid: event.pid,
        tid: event.tid,
        depth,
        is_cut: stack.doubtful > 0,
        what,
    }
}

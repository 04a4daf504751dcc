//! Telling every entry and every exit of a frame, one by one.
//!
//! An event has a fixed size and no text: names are kept once, as for counting. What finds no room
//! in the ring is counted where it belongs, with the thread, and the next event of the thread tells
//! the number.
//!
//! Every event tells how many frames the thread has. From 3.6 on a frame leads to the one that
//! called it, so that this number can always be had from memory; for each thread it is remembered
//! what its innermost frame was, which in nearly every case answers without a walk:
//!
//! ```text
//! the caller of the new frame is       there are now
//! the innermost frame                  one more
//! the caller of the innermost frame    as many: that one was left by an exception
//! any other                            as many as a walk finds
//! ```
//!
//! A marker tells no frame. There is a return for each entry, so they are counted.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::programs::ProbeContext;
use pytop_common::code::{FIRST_INTERNAL_OWNER, Offsets};
use pytop_common::count::{CODE_OBJECT, FrameKey, KnownFrame, Loss};
use pytop_common::trace::{Condition, Event, FrameSpec, Kind, NO_CONTAINER, Thread, UNKNOWN};

use crate::argument::{self, Registers};
use crate::code::{self, code_of, read};
use crate::maps::{EVENTS, FRAMES, KNOWN, MAX_DEPTH, THREADS};
use crate::marker::Marked;
use crate::names::{self, Located};

/// Words read of a frame: all that comes before its variables; and of one before CPython 3.14, whose
/// variables may lie on a page that nothing has been written to.
const HEADER_WORDS: usize = 10;
const FEWER_WORDS: usize = 9;
/// Frames that one walk follows, and how many walks there are at most.
const WALK: u32 = 512;
const WALKS: u32 = 32;
/// Frames of the interpreter's own between two of Python code.
const BETWEEN: u32 = 3;

/// An entry or exit at a marker.
#[inline(always)]
pub fn marked(context: &ProbeContext, kind: Kind) -> Result<(), Loss> {
    let marked = Marked::of(context)?;
    if marked.filename == marked.function {
        // A frame of the interpreter's own (see `read_header`), which 3.15 tells leaving.
        return Ok(());
    }
    let thread = current_thread()?;
    let key = FrameKey {
        first: marked.filename,
        second: marked.function,
        pid: thread.pid,
        line: 0,
    };
    let mut event = Event {
        line: marked.line,
        kind: kind as u8,
        ..Event::default()
    };
    let enters = matches!(kind, Kind::Entry);
    if thread.depth.wrapping_add(enters.into()) <= MAX_DEPTH.load() {
        let located = marked.located();
        event.text = known_text(&key, &located);
        if event.text == 0 {
            event.text = new_text(&key, &located);
        }
    }
    count(thread, &mut event, enters);
    Ok(())
}

/// Enters or leaves a frame of which only the number is known.
#[inline(always)]
fn count(thread: &mut Thread, event: &mut Event, enters: bool) {
    if enters {
        thread.depth = thread.depth.wrapping_add(1);
        event.depth = thread.depth;
    } else {
        event.depth = thread.depth;
        thread.depth = thread.depth.saturating_sub(1);
    }
    tell(thread, event);
}

/// A generator was made, whose marker has told an entry.
#[inline(always)]
pub fn created(_context: &ProbeContext) -> Result<(), Loss> {
    let thread = current_thread()?;
    let mut event = Event {
        kind: Kind::Created as u8,
        ..Event::default()
    };
    count(thread, &mut event, false);
    Ok(())
}

/// An entry at the frame evaluation function, CPython 3.6 to 3.10.
#[inline(always)]
pub fn evaluation(context: &ProbeContext) -> Result<(), Loss> {
    let (spec, registers) = at(context)?;
    let frame = registers.find(&spec.frame).ok_or(Loss::Implausible)?;
    let stack = registers.find(&spec.stack).ok_or(Loss::Implausible)?;
    let thread = current_thread()?;
    let mut header = Header::default();
    header_of(frame, &spec.offsets, &mut header)?;
    if passes_on(header.previous, thread, spec) {
        thread.depth = thread.depth.wrapping_add(1);
        thread.frame = frame;
        thread.caller = header.previous;
    } else {
        enter(thread, frame, header.previous, &spec.offsets);
    }
    thread.stack = stack;
    let mut event = Event {
        frame: stack,
        depth: thread.depth,
        ..Event::default()
    };
    name(thread, &mut event, frame, &spec.offsets)?;
    tell(thread, &event);
    Ok(())
}

/// Whether a frame only passes an exception on to the one that is entered, without being entered
/// itself: see [`FrameSpec::executing`].
#[inline(always)]
fn passes_on(caller: u64, thread: &Thread, spec: &FrameSpec) -> bool {
    spec.executing != 0
        && caller != 0
        && caller != thread.frame
        && thread.frame != UNKNOWN
        && matches!(
            read::<u8>(caller.wrapping_add(u64::from(spec.executing))),
            Ok(0)
        )
}

/// An exit where the frame evaluation function returns, CPython 3.6 to 3.10. The frame is known by
/// where on the stack the function returns to.
#[inline(always)]
pub fn evaluated(context: &ProbeContext) -> Result<(), Loss> {
    let (spec, registers) = at(context)?;
    let set = registers.zero_flag();
    if spec.condition != Condition::Always as u8 && (spec.condition == Condition::Set as u8) != set
    {
        return Ok(());
    }
    let stack = registers.find(&spec.stack).ok_or(Loss::Implausible)?;
    let thread = current_thread()?;
    let mut event = Event {
        frame: stack,
        kind: Kind::Return as u8,
        ..Event::default()
    };
    if thread.frame == UNKNOWN || (thread.stack != 0 && thread.stack != stack) {
        thread.frame = UNKNOWN;
        thread.caller = UNKNOWN;
    } else {
        event.depth = thread.depth;
        if event.depth <= thread.untold {
            // Whoever called the function lets go of the frame only when it has returned.
            name(thread, &mut event, thread.frame, &spec.offsets)?;
        }
        thread.depth = thread.depth.saturating_sub(1);
        thread.frame = thread.caller;
        thread.caller = caller_of(thread.frame, &spec.offsets);
    }
    thread.stack = 0;
    tell(thread, &event);
    Ok(())
}

/// An entry at the handler of a RESUME bytecode, CPython 3.11 and later.
#[inline(always)]
pub fn resume(context: &ProbeContext) -> Result<(), Loss> {
    let Some(resumed) = code::resumed(context, argument::site(context))? else {
        return Ok(());
    };
    let Some(frame) = resumed.frame()? else {
        return Ok(());
    };
    let offsets = &resumed.spec.offsets;
    let mut header = Header::default();
    header_of(frame, offsets, &mut header)?;
    let thread = current_thread()?;
    enter(thread, frame, header.previous, offsets);
    let mut event = Event {
        frame,
        caller: thread.caller,
        depth: thread.depth,
        ..Event::default()
    };
    name(thread, &mut event, frame, offsets)?;
    tell(thread, &event);
    Ok(())
}

/// An entry by an exception at the frame evaluation function, CPython 3.11 and later. The frame has
/// no caller yet: it will be the current one.
#[inline(always)]
pub fn throw(context: &ProbeContext) -> Result<(), Loss> {
    let (spec, registers) = at(context)?;
    if registers.find(&spec.throws).ok_or(Loss::Implausible)? as u32 == 0 {
        return Ok(());
    }
    let frame = registers.find(&spec.frame).ok_or(Loss::Implausible)?;
    let thread = current_thread()?;
    let mut event = Event {
        frame,
        kind: Kind::Throw as u8,
        ..Event::default()
    };
    if spec.counted != 0 {
        event.frame = 0;
        name(thread, &mut event, frame, &spec.offsets)?;
        count(thread, &mut event, true);
        return Ok(());
    }
    let state = registers.find(&spec.thread).ok_or(Loss::Implausible)?;
    let mut current = read::<u64>(state.wrapping_add(u64::from(spec.current)))?;
    if spec.contained != NO_CONTAINER {
        current = read::<u64>(current.wrapping_add(u64::from(spec.contained)))?;
    }
    enter(thread, frame, current, &spec.offsets);
    event.caller = thread.caller;
    event.depth = thread.depth;
    name(thread, &mut event, frame, &spec.offsets)?;
    tell(thread, &event);
    Ok(())
}

/// An exit at the handler of a bytecode that leaves a frame, CPython 3.11 and later.
#[inline(always)]
pub fn leave(context: &ProbeContext) -> Result<(), Loss> {
    let (spec, registers) = at(context)?;
    let frame = registers.find(&spec.frame).ok_or(Loss::Implausible)?;
    let thread = current_thread()?;
    let offsets = &spec.offsets;
    let mut event = Event {
        frame,
        kind: Kind::Return as u8,
        depth: thread.depth,
        ..Event::default()
    };
    let caller = if frame == thread.frame && thread.caller != UNKNOWN {
        thread.caller
    } else {
        let mut header = Header::default();
        header_of(frame, offsets, &mut header)?;
        if header.internal != 0 {
            return Ok(());
        }
        if frame == thread.frame {
        } else if frame == thread.caller {
            event.depth = thread.depth.saturating_sub(1);
        } else {
            event.depth = number(frame, offsets);
        }
        outward(header.previous, UNKNOWN, offsets)
    };
    if event.depth == 0 {
        thread.frame = UNKNOWN;
        thread.caller = UNKNOWN;
    } else {
        if event.depth <= thread.untold {
            name(thread, &mut event, frame, offsets)?;
        }
        thread.depth = event.depth.saturating_sub(1);
        thread.frame = caller;
        thread.caller = caller_of(caller, offsets);
    }
    tell(thread, &event);
    Ok(())
}

/// What is known of the probe.
#[inline(always)]
fn at(context: &ProbeContext) -> Result<(&FrameSpec, Registers), Loss> {
    let spec = FRAMES
        .get(argument::site(context))
        .ok_or(Loss::UnknownSite)?;
    Ok((spec, Registers::of(context)))
}

/// What is remembered of this thread. It alone changes it.
#[inline(always)]
fn current_thread<'a>() -> Result<&'a mut Thread, Loss> {
    let id = bpf_get_current_pid_tgid();
    let (pid, tid) = ((id >> 32) as u32, id as u32);
    if let Some(thread) = thread_mut(tid)
        && thread.pid == pid
    {
        return Ok(thread);
    }
    add_thread(pid, tid);
    thread_mut(tid).ok_or(Loss::TableFull)
}

#[inline(never)]
fn add_thread(pid: u32, tid: u32) {
    let thread = Thread {
        frame: UNKNOWN,
        caller: UNKNOWN,
        untold: u32::MAX,
        pid,
        comm: bpf_get_current_comm().unwrap_or_default(),
        ..Thread::default()
    };
    // A full table is told by the one who looks for the thread.
    let _ = THREADS.insert(&tid, &thread, 0);
}

#[inline(always)]
fn thread_mut<'a>(tid: u32) -> Option<&'a mut Thread> {
    // SAFETY: user space deletes only the entries of threads that have ended.
    THREADS
        .get_ptr_mut(&tid)
        .and_then(|thread| unsafe { thread.as_mut() })
}

/// Makes a frame the innermost one.
#[inline(always)]
fn enter(thread: &mut Thread, frame: u64, previous: u64, offsets: &Offsets) {
    let caller = outward(previous, thread.frame, offsets);
    if caller == thread.frame {
        thread.depth = thread.depth.wrapping_add(1);
    } else if caller != thread.caller {
        thread.depth = number(caller, offsets).wrapping_add(1);
    }
    if thread.untold >= thread.depth {
        thread.untold = thread.depth.saturating_sub(1);
    }
    thread.frame = frame;
    thread.caller = caller;
}

/// What is read of a frame.
#[repr(C)]
#[derive(Default)]
struct Header {
    /// The frame that it was called from.
    previous: u64,
    /// 1 when it is one of the interpreter's own, else 0.
    internal: u64,
}

#[inline(always)]
fn header_of(frame: u64, offsets: &Offsets, header: &mut Header) -> Result<(), Loss> {
    if read_header(frame, offsets, header) == 0 {
        Ok(())
    } else {
        Err(Loss::UnreadableName)
    }
}

/// [`header_of`]. 0 when it is done. The verifier takes a function with external linkage by itself,
/// once, and not again for each call; what it is given may be null to it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn read_header(frame: u64, offsets: *const Offsets, header: *mut Header) -> u64 {
    // SAFETY: references are made into these pointers and nothing else.
    let (Some(offsets), Some(header)) = (unsafe { (offsets.as_ref(), header.as_mut()) }) else {
        return 1;
    };
    let words = match read::<[u64; HEADER_WORDS]>(frame) {
        Ok(words) => words,
        Err(_) => {
            let Ok(fewer) = read::<[u64; FEWER_WORDS]>(frame) else {
                return 1;
            };
            let mut words = [0; HEADER_WORDS];
            for (word, read) in words.iter_mut().zip(fewer) {
                *word = read;
            }
            words
        }
    };
    let word = |offset: u16| words.get(usize::from(offset / 8)).copied().unwrap_or(0);
    header.previous = word(offsets.previous);
    header.internal = 0;
    if offsets.owner == 0 {
        return 0;
    }
    let owner = (word(offsets.owner) >> (8 * (offsets.owner & 7))) as u8;
    if owner >= FIRST_INTERNAL_OWNER {
        header.internal = 1;
        return 0;
    }
    // What cleans up behind an `__init__` has a frame with code of the interpreter's own, whose
    // filename and name are one text (`_Py_InitCleanup` in Python/specialize.c).
    let code = word(offsets.frame_to_code) & !u64::from(offsets.tag);
    if let Ok([filename, function]) = read::<[u64; 2]>(code.wrapping_add(u64::from(offsets.names)))
        && filename == function
    {
        header.internal = 1;
    }
    0
}

/// The first frame of Python code from here outward; 0 when there is none. `known` is one.
#[inline(always)]
fn outward(mut frame: u64, known: u64, offsets: &Offsets) -> u64 {
    for _ in 0..BETWEEN {
        if frame == 0 || frame == known {
            return frame;
        }
        let mut header = Header::default();
        if read_header(frame, offsets, &mut header) != 0 || header.internal == 0 {
            return frame;
        }
        frame = header.previous;
    }
    frame
}

/// The frame of Python code that called this one; [`UNKNOWN`] when it cannot be read.
#[inline(always)]
fn caller_of(frame: u64, offsets: &Offsets) -> u64 {
    let mut header = Header::default();
    if frame == 0 || frame == UNKNOWN || read_header(frame, offsets, &mut header) != 0 {
        return UNKNOWN;
    }
    outward(header.previous, 0, offsets)
}

/// How far a walk has come.
#[repr(C)]
#[derive(Default)]
struct Walk {
    /// The next frame.
    frame: u64,
    /// Frames of Python code that were passed.
    count: u64,
}

/// How many frames of Python code there are from this one outward; 0 when they cannot be read.
#[inline(never)]
fn number(frame: u64, offsets: &Offsets) -> u32 {
    let mut walk = Walk { frame, count: 0 };
    for _ in 0..WALKS {
        if walk.frame == 0 {
            break;
        }
        if count_frames(offsets, &mut walk) != 0 {
            return 0;
        }
    }
    walk.count as u32
}

/// Goes on with a walk. 0 when it is done. The verifier looks at it once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_frames(offsets: *const Offsets, walk: *mut Walk) -> u64 {
    // SAFETY: `number` is the only caller.
    let (Some(offsets), Some(walk)) = (unsafe { (offsets.as_ref(), walk.as_mut()) }) else {
        return 1;
    };
    let mut frame = walk.frame;
    let mut count = walk.count;
    for _ in 0..WALK {
        if frame == 0 {
            break;
        }
        let mut header = Header::default();
        if read_header(frame, offsets, &mut header) != 0 {
            return 1;
        }
        count += 1 - (header.internal & 1);
        frame = header.previous;
    }
    walk.frame = frame;
    walk.count = count;
    0
}

/// Puts the names and the first line of a frame's code into an event.
#[inline(always)]
fn name(thread: &Thread, event: &mut Event, frame: u64, offsets: &Offsets) -> Result<(), Loss> {
    if event.depth > MAX_DEPTH.load() {
        return Ok(());
    }
    let code = code_of(frame, offsets)?;
    let Ok(located) = code::located(code, offsets) else {
        return Ok(());
    };
    let key = FrameKey {
        first: code,
        second: CODE_OBJECT,
        pid: thread.pid,
        line: 0,
    };
    event.line = located.line;
    event.text = known_text(&key, &located);
    if event.text == 0 {
        code::require_code_type(code, offsets)?;
        event.text = new_text(&key, &located);
    }
    Ok(())
}

/// The key of names in the table of texts; 0 when they are not those that were seen at these
/// addresses before.
#[inline(never)]
fn known_text(key: &FrameKey, located: &Located) -> u64 {
    if let Some(known) = KNOWN.get_ptr(key)
        // SAFETY: at worst the entry is reused for another function meanwhile.
        && let Some(known) = unsafe { known.as_ref() }
        && names::are_current(located, &known.names)
        && names::are_kept(&known.names)
    {
        return known.names.text;
    }
    0
}

/// The key of names in the table of texts, where they are kept from here on. 0 when they cannot be
/// read, or when there is no room for them.
#[inline(never)]
fn new_text(key: &FrameKey, located: &Located) -> u64 {
    let Ok(names) = names::identify(located) else {
        return 0;
    };
    if !names::keep(located, &names) {
        return 0;
    }
    let known = KnownFrame {
        names,
        line: located.line,
        intervals: 0,
    };
    let _ = KNOWN.insert(key, &known, 0);
    names.text
}

/// An event of this thread could not be made: the next one tells that it is missing.
pub fn lose() {
    let id = bpf_get_current_pid_tgid();
    if let Some(thread) = thread_mut(id as u32)
        && thread.pid == (id >> 32) as u32
    {
        thread.lost = thread.lost.saturating_add(1);
    }
}

/// Puts an event into the ring, or counts that there is no room.
#[inline(always)]
fn tell(thread: &mut Thread, event: &Event) {
    if event.depth > MAX_DEPTH.load() {
        return;
    }
    let event = Event {
        // SAFETY: the helper only reads the clock.
        time: unsafe { bpf_ktime_get_ns() },
        pid: thread.pid,
        tid: bpf_get_current_pid_tgid() as u32,
        lost: thread.lost,
        ..*event
    };
    if EVENTS.output(event, u64::from(BPF_RB_NO_WAKEUP)).is_ok() {
        thread.lost = 0;
        return;
    }
    thread.lost = thread.lost.saturating_add(1);
    if event.kind <= Kind::Throw as u8 && event.depth > thread.untold {
        thread.untold = event.depth;
    }
}

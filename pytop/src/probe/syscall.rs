//! The raw calls that aya has no face for: uprobes with a semaphore and a cookie, batch reads of a
//! map, and process file descriptors. Nothing here knows what it is used for.

use std::ffi::CStr;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya::Pod;
use aya_obj::generated::{
    BPF_F_SLEEPABLE, bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_type, perf_event_attr,
    perf_sw_ids, perf_type_id,
};

/// The kernel takes the size of a structure as its version.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a structure of some hundred bytes"
)]
const PERF_EVENT_ATTR_SIZE: u32 = size_of::<perf_event_attr>() as u32;

/// A uprobe to be opened as a perf event.
#[derive(Clone, Copy, Debug)]
pub(super) struct UprobeEvent<'a> {
    /// The type of the uprobe PMU, from sysfs.
    pub(super) pmu_type: u32,
    /// A path that leads to the file.
    pub(super) path: &'a CStr,
    /// Offset of the instruction in the file, in bytes.
    pub(super) offset: u64,
    /// Offset of the semaphore in the file, in bytes; 0 for none.
    pub(super) semaphore_offset: u32,
    /// Only this process; `None` for every process that maps the file.
    pub(super) pid: Option<libc::pid_t>,
}

/// Opens a uprobe. The kernel raises the semaphore while the descriptor lives.
///
/// `config` holds the semaphore's file offset in its upper 32 bits: kernel/events/core.c,
/// `PERF_UPROBE_REF_CTR_OFFSET_SHIFT`.
pub(super) fn open_uprobe(event: &UprobeEvent<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the structure is made of integers; all zeroes is a value of it.
    let mut attributes: perf_event_attr = unsafe { mem::zeroed() };
    attributes.type_ = event.pmu_type;
    attributes.size = PERF_EVENT_ATTR_SIZE;
    attributes.config = u64::from(event.semaphore_offset) << 32;
    attributes.__bindgen_anon_3.uprobe_path = event.path.as_ptr() as u64;
    attributes.__bindgen_anon_4.probe_offset = event.offset;
    let (pid, cpu) = event.pid.map_or((-1, 0), |pid| (pid, -1));
    // SAFETY: `attributes` and the path outlive the call, which only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            pid,
            cpu,
            -1,
            aya_obj::generated::PERF_FLAG_FD_CLOEXEC,
        )
    };
    owned(result)
}

/// Opens a perf event of a process that counts nothing.
pub(super) fn open_dummy_event(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the structure is made of integers; all zeroes is a value of it.
    let mut attributes: perf_event_attr = unsafe { mem::zeroed() };
    attributes.type_ = perf_type_id::PERF_TYPE_SOFTWARE as u32;
    attributes.size = PERF_EVENT_ATTR_SIZE;
    attributes.config = perf_sw_ids::PERF_COUNT_SW_DUMMY as u64;
    open_event(&attributes, Some(pid))
}

/// Opens a perf event for a uprobe that has a number in tracefs: for everyone, or for a process, where
/// the children that it makes from then on may inherit it.
pub(super) fn open_trace_event(id: u64, pid: Option<u32>, inherit: bool) -> io::Result<OwnedFd> {
    // SAFETY: the structure is made of integers; all zeroes is a value of it.
    let mut attributes: perf_event_attr = unsafe { mem::zeroed() };
    attributes.type_ = perf_type_id::PERF_TYPE_TRACEPOINT as u32;
    attributes.size = PERF_EVENT_ATTR_SIZE;
    attributes.config = id;
    attributes.set_inherit(inherit.into());
    open_event(&attributes, pid)
}

/// Opens a perf event whose attributes hold no pointers, for a process or for everyone.
fn open_event(attributes: &perf_event_attr, pid: Option<u32>) -> io::Result<OwnedFd> {
    let (pid, cpu) = pid.map_or((-1, 0), |pid| (pid.cast_signed(), -1));
    // SAFETY: `attributes` outlives the call, which only reads it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const *attributes,
            pid,
            cpu,
            -1,
            aya_obj::generated::PERF_FLAG_FD_CLOEXEC,
        )
    };
    owned(result)
}

/// Runs a program at each hit of a perf event, and gives it `cookie` to tell the events apart.
pub(super) fn link_perf_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: writing to a field of a union of plain integers.
    let link = unsafe { &mut attributes.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    link.__bindgen_anon_2.target_fd = event.as_raw_fd().cast_unsigned();
    link.attach_type = bpf_attach_type::BPF_PERF_EVENT as u32;
    link.__bindgen_anon_3.perf_event.bpf_cookie = cookie;
    // SAFETY: the attributes are those of this command and hold no pointers.
    owned(unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes) })
}

/// Uprobes in one file, to be placed in one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct UprobeMulti<'a> {
    /// A path that leads to the file.
    pub(super) path: &'a CStr,
    /// Offsets of the instructions in the file, in bytes.
    pub(super) offsets: &'a [u64],
    /// Offsets of the semaphores in the file, in bytes; 0 for none. As many as `offsets`.
    pub(super) semaphore_offsets: &'a [u64],
    /// What tells the probes apart. As many as `offsets`.
    pub(super) cookies: &'a [u64],
    /// Only this process; 0 for every process that maps the file.
    pub(super) pid: u32,
}

/// Places uprobes, and runs a program at each hit. They are taken out when the descriptor is closed.
pub(super) fn link_uprobes(
    program: BorrowedFd<'_>,
    uprobes: &UprobeMulti<'_>,
) -> io::Result<OwnedFd> {
    let count = uprobes.offsets.len();
    if uprobes.semaphore_offsets.len() != count || uprobes.cookies.len() != count {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut attributes = empty();
    // SAFETY: writing to a field of a union of plain integers.
    let link = unsafe { &mut attributes.link_create };
    link.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
    link.attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    // SAFETY: as above.
    let multi = unsafe { &mut link.__bindgen_anon_3.uprobe_multi };
    multi.path = uprobes.path.as_ptr() as u64;
    multi.offsets = uprobes.offsets.as_ptr() as u64;
    multi.ref_ctr_offsets = uprobes.semaphore_offsets.as_ptr() as u64;
    multi.cookies = uprobes.cookies.as_ptr() as u64;
    multi.cnt = u32::try_from(count).unwrap_or(u32::MAX);
    multi.pid = uprobes.pid;
    // SAFETY: the attributes are those of this command; the path and the slices, each of `cnt`
    // numbers, outlive the call, which only reads them.
    owned(unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes) })
}

/// A program to be loaded.
#[derive(Clone, Copy)]
pub(super) struct ProgramLoad<'a> {
    pub(super) name: &'a CStr,
    pub(super) instructions: &'a [bpf_insn],
    pub(super) license: &'a CStr,
    /// The types that the object describes itself with.
    pub(super) types: Option<BorrowedFd<'a>>,
    /// Records that describe the functions, and the size of one.
    pub(super) functions: (&'a [u8], usize),
    /// Records that lead to lines of source text, and the size of one.
    pub(super) lines: (&'a [u8], usize),
    pub(super) is_for_multi: bool,
    pub(super) is_sleepable: bool,
}

/// Loads a uprobe program. Where `log` has room, the verifier says there what it found.
pub(super) fn load_program(load: &ProgramLoad<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: writing to a field of a union of plain integers.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    // The last byte stays the NUL.
    let room = program.prog_name.len() - 1;
    for (to, from) in program
        .prog_name
        .iter_mut()
        .take(room)
        .zip(load.name.to_bytes())
    {
        *to = from.cast_signed();
    }
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32;
    program.insns = load.instructions.as_ptr() as u64;
    program.insn_cnt = u32::try_from(load.instructions.len()).unwrap_or(u32::MAX);
    program.license = load.license.as_ptr() as u64;
    if load.is_for_multi {
        program.expected_attach_type = bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32;
    }
    if load.is_sleepable {
        program.prog_flags = BPF_F_SLEEPABLE;
    }
    if let Some(types) = load.types {
        program.prog_btf_fd = types.as_raw_fd().cast_unsigned();
        let records = |(bytes, size): (&[u8], usize)| {
            let count = bytes.len().checked_div(size).unwrap_or(0);
            let number = |number: usize| u32::try_from(number).unwrap_or(0);
            (bytes.as_ptr() as u64, number(count), number(size))
        };
        let (at, count, size) = records(load.functions);
        program.func_info = at;
        program.func_info_cnt = count;
        program.func_info_rec_size = size;
        let (at, count, size) = records(load.lines);
        program.line_info = at;
        program.line_info_cnt = count;
        program.line_info_rec_size = size;
    }
    if !log.is_empty() {
        program.log_level = 1;
        program.log_buf = log.as_mut_ptr() as u64;
        program.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
    }
    // SAFETY: the attributes are those of this command; everything that they point at outlives the
    // call, which reads all of it but the log, a buffer of `log_size` bytes.
    owned(unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes) })
}

/// Loads a description of types (BTF).
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: writing to a field of a union of plain integers.
    let load = unsafe { &mut attributes.__bindgen_anon_7 };
    load.btf = types.as_ptr() as u64;
    load.btf_size = u32::try_from(types.len()).unwrap_or(u32::MAX);
    // SAFETY: the attributes are those of this command; `types` outlives the call, which reads it.
    owned(unsafe { bpf(bpf_cmd::BPF_BTF_LOAD, &mut attributes) })
}

/// Puts a value, or the descriptor of a program, at an index of an array.
pub(super) fn set_element<V: Pod>(array: BorrowedFd<'_>, index: u32, value: &V) -> io::Result<()> {
    let mut attributes = empty();
    // SAFETY: writing to a field of a union of plain integers.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = array.as_raw_fd().cast_unsigned();
    element.key = (&raw const index) as u64;
    element.__bindgen_anon_1.value = (&raw const *value) as u64;
    // SAFETY: the attributes are those of this command; the index and the value, which is of the
    // size that the array was made for, outlive the call, which only reads them.
    unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Makes a map unchangeable, so that the verifier takes what is in it for constants.
pub(super) fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = empty();
    // SAFETY: writing to a field of a union of plain integers.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = map.as_raw_fd().cast_unsigned();
    // SAFETY: the attributes are those of this command and hold no pointers.
    unsafe { bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attributes) }.map(drop)
}

/// Takes everything out of a hash map, `batch` entries a call, and hands each batch to `visit`.
pub(super) fn take_all<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    batch: usize,
    mut visit: impl FnMut(&[K], &[V]),
) -> io::Result<()> {
    let mut keys = uninitialised::<K>(batch);
    let mut values = uninitialised::<V>(batch);
    // The kernel's own position, a bucket number for hash maps (kernel/bpf/hashtab.c).
    let mut position = 0_u32;
    let mut first = true;
    loop {
        let mut attributes = empty();
        // SAFETY: writing to a field of a union of plain integers.
        let arguments = unsafe { &mut attributes.batch };
        arguments.in_batch = if first { 0 } else { &raw const position as u64 };
        arguments.out_batch = &raw mut position as u64;
        arguments.keys = keys.as_mut_ptr() as u64;
        arguments.values = values.as_mut_ptr() as u64;
        arguments.count = u32::try_from(batch).unwrap_or(u32::MAX);
        arguments.map_fd = map.as_raw_fd().cast_unsigned();
        // SAFETY: the buffers have room for `count` entries of the map's own key and value size,
        // which aya checked when the map was created from the types K and V.
        let result = unsafe { bpf(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_BATCH, &mut attributes) };
        let end = match result {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel stores the number of entries that it wrote, on success and at the end.
        let count = unsafe { attributes.batch.count } as usize;
        let count = count.min(batch);
        // SAFETY: the kernel has written the first `count` entries, and every bit pattern is a
        // value of a `Pod` type.
        let (keys, values) = unsafe { (written(&keys, count), written(&values, count)) };
        visit(keys, values);
        if end {
            return Ok(());
        }
        first = false;
    }
}

/// A descriptor that becomes readable when the process has ended.
pub(super) fn open_process(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes integers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

fn empty() -> bpf_attr {
    // SAFETY: the union is made of integers; all zeroes is a value of each of its members.
    unsafe { mem::zeroed() }
}

/// # Safety
/// Pointers in `attributes` must be valid for `command`.
unsafe fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: the size is that of the attributes; the caller vouches for what they point to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as u32,
            &raw mut *attributes,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

trait IntoResult {
    fn into_result(self) -> io::Result<libc::c_long>;
}

impl IntoResult for libc::c_long {
    fn into_result(self) -> io::Result<libc::c_long> {
        if self < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(self)
        }
    }
}

impl IntoResult for io::Result<libc::c_long> {
    fn into_result(self) -> io::Result<libc::c_long> {
        self
    }
}

fn owned(result: impl IntoResult) -> io::Result<OwnedFd> {
    let descriptor = i32::try_from(result.into_result()?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn uninitialised<T>(length: usize) -> Vec<MaybeUninit<T>> {
    let mut buffer = Vec::with_capacity(length);
    buffer.resize_with(length, MaybeUninit::uninit);
    buffer
}

/// # Safety
/// The first `count` elements must have been written.
unsafe fn written<T>(buffer: &[MaybeUninit<T>], count: usize) -> &[T] {
    // SAFETY: `MaybeUninit<T>` has the layout of `T`; the caller vouches for the contents.
    unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), count.min(buffer.len())) }
}

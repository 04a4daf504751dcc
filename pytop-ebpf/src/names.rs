//! Reading names, and keeping each once.
//!
//! A name is hashed where it is, in chunks on the stack, so that a name already in the table costs
//! no copy. A new name is read straight into the table's entry. Per-CPU scratch memory would be
//! simpler but wrong: a program at a uprobe can be preempted by another one on the same CPU.
//!
//! There are two hashes of a name. The one that tells the names of all processes apart has to
//! withstand a program that chooses its names; it is made once for a function. The other one has to
//! see only whether a process's own names have changed, and is quick.

use core::arch::asm;
use core::ffi::c_void;
use core::mem::MaybeUninit;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str};
use pytop_common::count::{FILENAME_CAPACITY, FUNCTION_CAPACITY, NameCheck};

use crate::maps::{EMPTY_TEXT, SEED, TEXTS};

/// Bytes hashed at a time.
const CHUNK: usize = 128;
const CHUNK_WORDS: usize = CHUNK / size_of::<u64>();
/// More than any name that is looked at has.
const MAX_CHUNKS: usize = FILENAME_CAPACITY / CHUNK + 1;

/// A name in the process's memory.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Span {
    /// Where it is, or what could not be read.
    pub address: u64,
    /// How many bytes it has; [`TERMINATED`] when a NUL ends it, or [`UNREADABLE`].
    pub size: u32,
    /// A [`pytop_common::count::Encoding`].
    pub encoding: u32,
}

/// [`Span::size`] of a string that a NUL ends.
pub const TERMINATED: u32 = u32::MAX;
/// [`Span::size`] of a name whose place could not be read. Not 0: names can be empty.
pub const UNREADABLE: u32 = u32::MAX - 1;

/// Where the names of a function are, and its line.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Located {
    /// The filename.
    pub filename: Span,
    /// The name of the function.
    pub function: Span,
    /// The line.
    pub line: i32,
}

/// Hashes the names. An error is an address that cannot be read.
#[inline(always)]
pub fn identify(located: &Located) -> Result<NameCheck, u64> {
    let mut check = NameCheck::default();
    if hash_names(located, &raw mut check) == 0 {
        Ok(check)
    } else {
        Err(check.quick)
    }
}

/// [`identify`], taken by itself like [`is_current`]. 0 when it is done.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn hash_names(located: *const Located, check: *mut NameCheck) -> u64 {
    // SAFETY: `identify` is the only caller.
    let (Some(located), Some(check)) = (unsafe { (located.as_ref(), check.as_mut()) }) else {
        return 1;
    };
    match identified(located) {
        Ok(identified) => {
            *check = identified;
            0
        }
        Err(address) => {
            check.quick = address;
            1
        }
    }
}

#[inline(always)]
fn identified(located: &Located) -> Result<NameCheck, u64> {
    let (filename, function) = (&located.filename, &located.function);
    let filename_size = size(filename, FILENAME_CAPACITY).ok_or(filename.address)?;
    let function_size = size(function, FUNCTION_CAPACITY).ok_or(function.address)?;
    let seed = SEED.load() ^ u64::from(filename.encoding) ^ u64::from(function.encoding) << 8;
    let text = hash(strong, filename.address, filename_size, seed);
    if text == 0 {
        return Err(filename.address);
    }
    let text = hash(strong, function.address, function_size, text);
    if text == 0 {
        return Err(function.address);
    }
    let mut check = NameCheck {
        text,
        quick: 0,
        sizes: [filename_size, function_size],
        encodings: [filename.encoding as u8, function.encoding as u8],
        reserved: 0,
    };
    check.quick = quick_hash(located, &check);
    Ok(check)
}

/// Whether the names are those that were checked before.
#[inline(always)]
pub fn are_current(located: &Located, check: &NameCheck) -> bool {
    is_current(located, check) != 0
}

/// [`are_current`], which the verifier looks at once, and not again for each call: it takes
/// functions with external linkage by themselves. What they are given may be null to it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn is_current(located: *const Located, check: *const NameCheck) -> u64 {
    // SAFETY: `are_current` is the only caller.
    let (Some(located), Some(check)) = (unsafe { (located.as_ref(), check.as_ref()) }) else {
        return 0;
    };
    u64::from(matches(located, check))
}

#[inline(always)]
fn matches(located: &Located, check: &NameCheck) -> bool {
    has_form(&located.filename, check, 0, FILENAME_CAPACITY)
        && has_form(&located.function, check, 1, FUNCTION_CAPACITY)
        && quick_hash(located, check) == check.quick
}

/// Whether a name of known size has the size and the encoding that it had.
#[inline(always)]
fn has_form(span: &Span, check: &NameCheck, index: usize, capacity: usize) -> bool {
    span.size == TERMINATED
        || (span.size != UNREADABLE
            && cut(span.size, capacity) == check.sizes[index]
            && span.encoding == u32::from(check.encodings[index]))
}

/// The quick hash, of as many bytes as the names had when they were identified. The NUL of a
/// terminated one is among them: one that was as long at first and then went on has none there.
///
/// 0 when they cannot be read; names that could not be read at first are not checked again.
#[inline(always)]
fn quick_hash(located: &Located, check: &NameCheck) -> u64 {
    let end = |span: &Span, size: u16| size + u16::from(span.size == TERMINATED);
    let filename = end(&located.filename, check.sizes[0]);
    let function = end(&located.function, check.sizes[1]);
    let text = hash(quick, located.filename.address, filename, SEED.load());
    if text == 0 {
        return 0;
    }
    hash(quick, located.function.address, function, text)
}

/// Whether the names are in the table of texts.
#[inline(always)]
pub fn are_kept(check: &NameCheck) -> bool {
    TEXTS.get_ptr(check.text).is_some()
}

/// Puts the names into the table of texts, unless they are there. `false` when there is no room.
#[inline(always)]
pub fn keep(located: &Located, check: &NameCheck) -> bool {
    if are_kept(check) {
        return true;
    }
    let Some(empty) = EMPTY_TEXT.get(0) else {
        return false;
    };
    // Another CPU may add the same names at the same time; both then write the same bytes.
    let _ = TEXTS.insert(check.text, empty, u64::from(BPF_NOEXIST));
    // SAFETY: user space deletes only texts that are out of use, and waits for running programs.
    let Some(text) = TEXTS
        .get_ptr_mut(check.text)
        .and_then(|text| unsafe { text.as_mut() })
    else {
        return false;
    };
    (text.filename_length, text.filename_cut) =
        read(&located.filename, check.sizes[0], &mut text.filename);
    (text.function_length, text.function_cut) =
        read(&located.function, check.sizes[1], &mut text.function);
    text.encodings = check.encodings;
    true
}

/// Reads a name, cut to the room there is, and returns its length and whether it was cut.
#[inline(always)]
fn read<const CAPACITY: usize>(span: &Span, size: u16, into: &mut [u8; CAPACITY]) -> (u16, u8) {
    // One byte is for the NUL of those that have one, so the longest of either kind have one length.
    let room = CAPACITY as u64 - 1;
    let length = bounded(u64::from(size), room);
    // SAFETY: the helper checks the address, and writes at most the bytes there is room for.
    let result = unsafe {
        bpf_probe_read_user(
            into.as_mut_ptr().cast::<c_void>(),
            length as u32,
            span.address as *const c_void,
        )
    };
    if result == 0 {
        (length as u16, u8::from(u64::from(size) > room))
    } else {
        (0, 0)
    }
}

/// The number of bytes of a name that are hashed: one more than there is room for when it is longer.
#[inline(always)]
fn cut(size: u32, capacity: usize) -> u16 {
    if size < capacity as u32 {
        size as u16
    } else {
        capacity as u16
    }
}

/// How many bytes of a name are looked at. `None` when it cannot be read.
#[inline(always)]
fn size(span: &Span, capacity: usize) -> Option<u16> {
    if span.address == 0 || span.size == UNREADABLE {
        return None;
    }
    if span.size != TERMINATED {
        return Some(cut(span.size, capacity));
    }
    let size = terminated_size(span.address, capacity as u64);
    (size != u64::MAX).then_some(size as u16)
}

/// The length of a string that a NUL ends, no more than `capacity`; `u64::MAX` when it cannot be
/// read.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn terminated_size(address: u64, capacity: u64) -> u64 {
    let mut length = 0_u64;
    for _ in 0..MAX_CHUNKS {
        let mut chunk = MaybeUninit::<[u64; CHUNK_WORDS]>::uninit();
        // SAFETY: the helper checks the address, and writes at most `CHUNK` bytes.
        let read = unsafe {
            bpf_probe_read_user_str(
                chunk.as_mut_ptr().cast::<c_void>(),
                CHUNK as u32,
                address.wrapping_add(length) as *const c_void,
            )
        };
        if read <= 0 {
            return u64::MAX;
        }
        // The last byte of a full chunk is a NUL that the helper put there.
        length += read as u64 - 1;
        if read < CHUNK as i64 || length >= capacity {
            break;
        }
    }
    bounded(length, capacity)
}

/// The smaller of both, in a way that the verifier follows: the compiler would compare one copy of
/// the number and use another.
#[inline(always)]
fn bounded(mut size: u64, limit: u64) -> u64 {
    // SAFETY: a register is copied to itself.
    unsafe { asm!("{0} = {0}", inout(reg) size, options(pure, nomem, nostack)) };
    if size < limit { size } else { limit }
}

/// Fills a buffer with zeroes, word by word: the compiler's `memset` is a loop over bytes, which
/// the verifier follows byte by byte.
#[inline(always)]
fn zeroed(chunk: &mut MaybeUninit<[u64; CHUNK_WORDS]>) -> &mut [u64; CHUNK_WORDS] {
    for index in 0..CHUNK_WORDS {
        // SAFETY: the index is below the number of words.
        unsafe {
            chunk
                .as_mut_ptr()
                .cast::<u64>()
                .add(index)
                .write_volatile(0)
        };
    }
    // SAFETY: each word has been written.
    unsafe { chunk.assume_init_mut() }
}

/// A way to hash words one after the other.
trait Hash {
    fn add(hash: u64, word: u64) -> u64;
}

/// The finalizer of MurmurHash3 (Austin Appleby, public domain): every bit of the result depends
/// on every bit of the argument.
struct Strong;

impl Hash for Strong {
    #[inline(always)]
    fn add(hash: u64, word: u64) -> u64 {
        let mut value = hash ^ word;
        value ^= value >> 33;
        value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
        value ^= value >> 33;
        value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        value ^ (value >> 33)
    }
}

/// One round of a multiplicative hash, whose low half is given the high one's bits.
struct Quick;

impl Hash for Quick {
    #[inline(always)]
    fn add(hash: u64, word: u64) -> u64 {
        let value = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        value ^ (value >> 32)
    }
}

/// Hashes a name, and the number of its bytes. 0 when it cannot be read: an `Option` would leave
/// the verifier a value that was never written.
#[inline(always)]
fn hash(by: extern "C" fn(u64, u64, u64) -> u64, address: u64, size: u16, seed: u64) -> u64 {
    let size = u64::from(size);
    let mut hash = by(address, bounded(size, CHUNK as u64), seed ^ size);
    let mut offset = CHUNK as u64;
    for _ in 1..MAX_CHUNKS {
        if offset >= size || hash == 0 {
            break;
        }
        let part = bounded(size - offset, CHUNK as u64);
        hash = by(address.wrapping_add(offset), part, hash);
        offset += CHUNK as u64;
    }
    hash
}

/// Hashes at most [`CHUNK`] bytes with [`Strong`]. 0 when they cannot be read.
///
/// The verifier looks at a function with external linkage once, and not again for each call.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn strong(address: u64, size: u64, seed: u64) -> u64 {
    hash_chunk::<Strong>(address, size, seed)
}

/// The same with [`Quick`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn quick(address: u64, size: u64, seed: u64) -> u64 {
    hash_chunk::<Quick>(address, size, seed)
}

#[inline(always)]
fn hash_chunk<H: Hash>(address: u64, size: u64, seed: u64) -> u64 {
    let mut chunk = MaybeUninit::uninit();
    let chunk = zeroed(&mut chunk);
    let size = bounded(size, CHUNK as u64);
    // SAFETY: the helper checks the address, and writes at most `size` bytes, for which there is
    // room.
    let read = unsafe {
        bpf_probe_read_user(
            chunk.as_mut_ptr().cast::<c_void>(),
            size as u32,
            address as *const c_void,
        )
    };
    if read != 0 {
        return 0;
    }
    let mut hash = seed;
    for (index, word) in chunk.iter().enumerate() {
        if index as u64 * 8 >= size {
            break;
        }
        hash = H::add(hash, *word);
    }
    hash | 1
}

//! Reading names, and keeping each once.
//!
//! A name is hashed where it is, in chunks on the stack, so that a name already in the table costs
//! no copy. A new name is read straight into the table's entry. Per-CPU scratch memory would be
//! simpler but wrong: a program at a uprobe can be preempted by another one on the same CPU.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use pytop_common::count::{FILENAME_CAPACITY, FUNCTION_CAPACITY, FrameKey};

use crate::maps::{EMPTY_TEXT, SEED, TEXTS};

/// Bytes hashed at a time.
const CHUNK: usize = 128;
const CHUNK_WORDS: usize = CHUNK / size_of::<u64>();

/// How names are recognised without being read again.
pub struct Names {
    /// Key in the table of texts; never 0.
    pub text: u64,
    /// See [`pytop_common::count::FrameCount::tails`].
    pub tails: [u64; 2],
    /// Distance of the tails from the start of their strings.
    pub tail_offsets: [u16; 2],
    /// Bits by which the tails are shifted.
    pub tail_shifts: [u8; 2],
}

struct Hashed {
    hash: u64,
    tail: u64,
    tail_offset: u16,
    tail_shift: u8,
}

/// Hashes the names at the key's addresses. `None` when one cannot be read.
#[inline(always)]
pub fn identify(key: &FrameKey) -> Option<Names> {
    let filename = hash::<{ FILENAME_CAPACITY / CHUNK + 1 }>(key.filename, SEED.load())?;
    let function = hash::<{ FUNCTION_CAPACITY / CHUNK + 1 }>(key.function, filename.hash)?;
    Some(Names {
        text: function.hash | 1,
        tails: [filename.tail, function.tail],
        tail_offsets: [filename.tail_offset, function.tail_offset],
        tail_shifts: [filename.tail_shift, function.tail_shift],
    })
}

/// Puts the names into the table of texts, unless they are there. `false` when there is no room.
#[inline(always)]
pub fn keep(key: &FrameKey, names: &Names) -> bool {
    if TEXTS.get_ptr(names.text).is_some() {
        return true;
    }
    let Some(empty) = EMPTY_TEXT.get(0) else {
        return false;
    };
    // Another CPU may add the same names at the same time; both then write the same bytes.
    let _ = TEXTS.insert(names.text, empty, u64::from(BPF_NOEXIST));
    // SAFETY: user space deletes only texts that are out of use, and waits for running programs.
    let Some(text) = TEXTS.get_ptr_mut(names.text).and_then(|text| unsafe { text.as_mut() }) else {
        return false;
    };
    text.filename_length = read(key.filename, &mut text.filename);
    text.function_length = read(key.function, &mut text.function);
    true
}

/// Reads a string, cut to the room there is, and returns its length without the NUL.
#[inline(always)]
fn read<const CAPACITY: usize>(address: u64, into: &mut [u8; CAPACITY]) -> u16 {
    let length = read_string(address, into.as_mut_ptr(), CAPACITY as u32);
    if length > 0 { (length - 1) as u16 } else { 0 }
}

/// `bpf_probe_read_user_str`: the length with the NUL, or a negative error.
#[inline(always)]
fn read_string(address: u64, into: *mut u8, size: u32) -> i64 {
    // SAFETY: the helper checks the address, and writes at most `size` bytes.
    unsafe { bpf_probe_read_user_str(into.cast::<c_void>(), size, address as *const c_void) }
}

/// Hashes the string at `address`, of which at most `CHUNKS * (CHUNK - 1)` bytes are looked at.
#[inline(never)]
fn hash<const CHUNKS: usize>(address: u64, seed: u64) -> Option<Hashed> {
    let mut hash = seed;
    let mut length = 0_u64;
    for _ in 0..CHUNKS {
        let mut chunk = [0_u64; CHUNK_WORDS];
        let read = read_string(address.wrapping_add(length), chunk.as_mut_ptr().cast(), CHUNK as u32);
        if read <= 0 {
            return None;
        }
        for word in chunk {
            hash = mix(hash ^ word);
        }
        // The last byte of a full chunk is a NUL that the helper put there.
        length += (read - 1) as u64;
        if read < CHUNK as i64 {
            break;
        }
    }
    let size = length + 1;
    let (offset, shift) = if size >= 8 { (size - 8, 0) } else { (0, 8 * (8 - size)) };
    // SAFETY: the helper checks the address and reports a fault as an error.
    let tail: u64 = unsafe { bpf_probe_read_user(address.wrapping_add(offset) as *const u64) }.ok()?;
    Some(Hashed {
        hash: mix(hash ^ length),
        tail: tail << (shift & 63),
        tail_offset: offset as u16,
        tail_shift: shift as u8,
    })
}

/// The finalizer of MurmurHash3 (Austin Appleby, public domain): every bit of the result depends
/// on every bit of the argument.
#[inline(always)]
fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xff51_afd7_ed55_8ccd);
    value ^= value >> 33;
    value = value.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

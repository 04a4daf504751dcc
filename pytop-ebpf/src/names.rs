//! Reading names, and keeping each once.
//!
//! A name is hashed where it is, in chunks on the stack, so that a name already in the table costs
//! no copy. A new name is read straight into the table's entry. Per-CPU scratch memory would be
//! simpler but wrong: a program at a uprobe can be preempted by another one on the same CPU.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use pytop_common::count::{FILENAME_CAPACITY, FUNCTION_CAPACITY, FrameKey, NameCheck};

use crate::maps::{EMPTY_TEXT, SEED, TEXTS};

/// Bytes hashed at a time.
const CHUNK: usize = 128;
const CHUNK_WORDS: usize = CHUNK / size_of::<u64>();

/// The names of a function, found but not yet kept.
pub struct Found {
    /// How to recognise them.
    pub check: NameCheck,
    /// Lengths without the NUL, as far as they were looked at.
    sizes: [u16; 2],
}

struct Hashed {
    hash: u64,
    tail: u64,
    tail_offset: u16,
    tail_shift: u8,
    size: u16,
}

/// Hashes the names at the key's addresses. `None` when one cannot be read.
#[inline(always)]
pub fn identify(key: &FrameKey) -> Option<Found> {
    let filename = hash::<{ FILENAME_CAPACITY / CHUNK + 1 }>(key.filename, SEED.load())?;
    let function = hash::<{ FUNCTION_CAPACITY / CHUNK + 1 }>(key.function, filename.hash)?;
    Some(Found {
        check: NameCheck {
            text: function.hash | 1,
            tails: [filename.tail, function.tail],
            tail_offsets: [filename.tail_offset, function.tail_offset],
            tail_shifts: [filename.tail_shift, function.tail_shift],
            reserved: 0,
        },
        sizes: [filename.size, function.size],
    })
}

/// Whether the strings at the key's addresses still end as they did when they were read.
#[inline(always)]
pub fn are_current(key: &FrameKey, check: &NameCheck) -> bool {
    ends_as(key.filename, check, 0) && ends_as(key.function, check, 1)
}

#[inline(always)]
fn ends_as(address: u64, check: &NameCheck, index: usize) -> bool {
    let address = address.wrapping_add(u64::from(check.tail_offsets[index]));
    // SAFETY: the helper checks the address and reports a fault as an error.
    let tail: Result<u64, _> = unsafe { bpf_probe_read_user(address as *const u64) };
    tail.is_ok_and(|tail| tail << (check.tail_shifts[index] & 63) == check.tails[index])
}

/// Whether the names are in the table of texts.
#[inline(always)]
pub fn are_kept(check: &NameCheck) -> bool {
    TEXTS.get_ptr(check.text).is_some()
}

/// Puts the names into the table of texts, unless they are there. `false` when there is no room.
#[inline(always)]
pub fn keep(key: &FrameKey, names: &Found) -> bool {
    if are_kept(&names.check) {
        return true;
    }
    let Some(empty) = EMPTY_TEXT.get(0) else {
        return false;
    };
    // Another CPU may add the same names at the same time; both then write the same bytes.
    let _ = TEXTS.insert(names.check.text, empty, u64::from(BPF_NOEXIST));
    // SAFETY: user space deletes only texts that are out of use, and waits for running programs.
    let Some(text) = TEXTS
        .get_ptr_mut(names.check.text)
        .and_then(|text| unsafe { text.as_mut() })
    else {
        return false;
    };
    text.filename_length = read(key.filename, &mut text.filename);
    text.function_length = read(key.function, &mut text.function);
    text.filename_size = names.sizes[0];
    text.function_size = names.sizes[1];
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
        let read = read_string(
            address.wrapping_add(length),
            chunk.as_mut_ptr().cast(),
            CHUNK as u32,
        );
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
    let (offset, shift) = if size >= 8 {
        (size - 8, 0)
    } else {
        (0, 8 * (8 - size))
    };
    // SAFETY: the helper checks the address and reports a fault as an error.
    let tail: u64 =
        unsafe { bpf_probe_read_user(address.wrapping_add(offset) as *const u64) }.ok()?;
    Some(Hashed {
        hash: mix(hash ^ length),
        tail: tail << (shift & 63),
        tail_offset: offset as u16,
        tail_shift: shift as u8,
        size: length as u16,
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

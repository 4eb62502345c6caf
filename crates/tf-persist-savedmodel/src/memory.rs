//! Reading files into memory that was not zeroed, and huge pages for large allocations.
//!
//! This is the only `unsafe` of the crate. rustix has no safe function for either with aligned memory.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;

use aligned_vec::{AVec, Alignment};
use rustix::io::Errno;
use rustix::mm::Advice;

/// The size of a read: small enough that the data is still in the cache for `visit`, large enough to hide the cost of
/// the system call.
const PIECE: usize = 128 << 10;

/// The unused capacity of a vector.
fn spare<A: Alignment>(memory: &mut AVec<u8, A>) -> &mut [MaybeUninit<u8>] {
    let (length, capacity) = (memory.len(), memory.capacity());
    // SAFETY: the vector has allocated `capacity` bytes at this pointer, of which the first `length` are its elements.
    let rest = unsafe { memory.as_mut_ptr().add(length) };
    // SAFETY: the rest of the allocation is not used otherwise; it is borrowed for as long as the slice lives, and
    // `MaybeUninit` permits any contents.
    unsafe { std::slice::from_raw_parts_mut(rest.cast(), capacity - length) }
}

/// Appends up to `length` bytes of a file, from an offset on, to a vector with capacity for them, and calls `visit`
/// with each piece. Returns the number of bytes: fewer if the file ends or the capacity is used up. The memory is not
/// zeroed before.
pub(crate) fn append_file<A: Alignment>(
    memory: &mut AVec<u8, A>,
    file: &File,
    offset: u64,
    length: usize,
    mut visit: impl FnMut(&[u8]),
) -> io::Result<usize> {
    let mut done = 0;
    loop {
        let room = spare(memory);
        let wanted = PIECE.min(length - done).min(room.len());
        let read = match rustix::io::pread(file, &mut room[..wanted], offset + done as u64) {
            Ok((read, _)) => read,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        visit(read);
        let read = read.len();
        // SAFETY: the `read` bytes after the vector's elements have just been written, as rustix says by giving them as
        // initialised, and they lie within its capacity, since they are a part of what `spare` gave.
        unsafe { memory.set_len(memory.len() + read) };
        done += read;
        if read == 0 || done == length {
            return Ok(done);
        }
    }
}

/// Asks the operating system to back the first `length` bytes of a vector's allocation with huge pages of this size. It
/// may refuse.
pub(crate) fn prefer_huge_pages<A: Alignment>(memory: &mut AVec<u8, A>, length: usize, page: usize) {
    let start = memory.as_mut_ptr().addr();
    let Some(first) = start.checked_next_multiple_of(page) else { return };
    let end = (start + length.min(memory.capacity())) / page * page;
    if first < end {
        let pointer = memory.as_mut_ptr().wrapping_add(first - start);
        // SAFETY: the pages lie wholly within the vector's own allocation, and this advice changes neither what stands
        // in them nor who may use them.
        let _ = unsafe { rustix::mm::madvise(pointer.cast(), end - first, Advice::LinuxHugepage) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use aligned_vec::ConstAlign;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn appends_what_is_there() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|number| (number * 7) as u8).collect();
        let file = file(&bytes);
        let mut memory: AVec<u8, ConstAlign<64>> = AVec::new(64);
        memory.extend_from_slice(b"before");
        memory.reserve_exact(400_000);
        let mut seen = Vec::new();
        let read = append_file(&mut memory, &file, 10, 299_000, |piece| seen.extend_from_slice(piece)).unwrap();
        assert_eq!(read, 299_000);
        assert!(memory[..6] == *b"before" && memory[6..] == bytes[10..299_010] && seen == bytes[10..299_010]);
        // The file ends.
        assert_eq!(append_file(&mut memory, &file, 299_990, 50, |_| {}).unwrap(), 10);
        // Nothing beyond the capacity is written.
        let mut small: AVec<u8, ConstAlign<64>> = AVec::with_capacity(64, 64);
        let capacity = small.capacity();
        assert_eq!(append_file(&mut small, &file, 0, 200_000, |_| {}).unwrap(), capacity);
        assert!(small[..] == bytes[..capacity]);
        assert_eq!(append_file(&mut small, &file, 0, 0, |_| {}).unwrap(), 0);
    }

    #[test]
    fn huge_pages_hold_what_was_written() {
        for length in [0, 1, 5000, 2 << 20, 5 << 20] {
            let mut memory: AVec<u8, ConstAlign<64>> = AVec::new(64);
            memory.resize(length, 7);
            prefer_huge_pages(&mut memory, length, 2 << 20);
            assert!(memory.iter().all(|byte| *byte == 7));
        }
    }
}

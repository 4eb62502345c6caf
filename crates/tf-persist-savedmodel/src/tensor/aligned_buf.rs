//! Aligned memory that grows as data arrives, for readers that cannot trust a declared size.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use aligned_vec::AVec;
use bytemuck::NoUninit;

use super::buffer::Aligned;
use super::{ALIGNMENT, Buffer, Data, Tensor, byte_len};
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::memory;
use crate::shape::InvalidShape;

/// Data is read in pieces of this size, so that memory is first touched right before it is filled, and is still in the
/// cache.
const PIECE: usize = 256 * 1024;

/// Memory of this size and more asks for huge pages: mapping a fresh page of 4 KB costs more than filling it.
const LARGE: usize = 4 << 20;

/// The allocator maps such memory separately, with a header in front. A mapping of a multiple of the huge page's size
/// begins at one, so the tensor fills all huge pages but the first, which has the header. The added capacity is never
/// touched, and so never resident. Requesting the alignment instead would keep the allocator from reusing freed memory,
/// which is faster still.
const HUGE_PAGE: usize = 2 << 20;
const MALLOC_HEADER: usize = 4096;

/// The bytes of a numeric tensor that is being read.
pub(crate) struct AlignedBuf {
    memory: Aligned,
}

/// Why a reader could not fill the memory.
pub(crate) enum FillError {
    /// The reader ended after this many bytes.
    Ended(usize),
    /// The reader failed.
    Io(io::Error),
    /// There is no memory.
    Memory(Error),
}

impl AlignedBuf {
    pub(crate) fn new() -> Self {
        Self { memory: AVec::new(ALIGNMENT) }
    }

    /// Zeros, to be overwritten.
    pub(crate) fn zeros(len: usize) -> Result<Self> {
        let mut zeros = Self::new();
        zeros.reserve(len)?;
        zeros.memory.resize(len, 0);
        Ok(zeros)
    }

    /// Reserves more bytes. They are not touched, and so not resident, until they are written.
    pub(super) fn reserve(&mut self, additional: usize) -> Result<()> {
        let fail = |_| Error::OutOfMemory { bytes: additional };
        if self.memory.capacity() > 0 || additional < LARGE {
            return self.memory.try_reserve_exact(additional).map_err(fail);
        }
        let mapped = additional.checked_add(MALLOC_HEADER).and_then(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE));
        self.memory.try_reserve_exact(mapped.map_or(additional, |mapped| mapped - MALLOC_HEADER)).map_err(fail)?;
        memory::prefer_huge_pages(&mut self.memory, additional, HUGE_PAGE);
        Ok(())
    }

    /// Adds an element.
    #[inline]
    pub(super) fn push<T: NoUninit>(&mut self, value: &T) -> Result<()> {
        let bytes = bytemuck::bytes_of(value);
        if self.memory.capacity() - self.memory.len() < bytes.len() {
            self.grow(bytes.len())?;
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds elements.
    pub(super) fn extend<T: NoUninit>(&mut self, values: &[T]) -> Result<()> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if self.memory.capacity() - self.memory.len() < bytes.len() {
            self.grow(bytes.len())?;
        }
        self.memory.extend_from_slice(bytes);
        Ok(())
    }

    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }

    /// Shortens the memory to this many bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.memory.truncate(len);
    }

    /// Doubles the memory, so adding elements one by one copies each of them about once.
    #[cold]
    fn grow(&mut self, wanted: usize) -> Result<()> {
        self.reserve(wanted.max(self.memory.len()).max(ALIGNMENT))
    }

    /// Reads `len` bytes. `present` of them certainly exist, and get their memory at once; for the others it grows as
    /// they arrive, to at most twice their size.
    pub(crate) fn fill(&mut self, reader: &mut dyn Read, len: usize, present: usize) -> Result<(), FillError> {
        self.reserve(len.min(present)).map_err(FillError::Memory)?;
        let start = self.memory.len();
        while self.memory.len() - start < len {
            let filled = self.memory.len();
            let piece = PIECE.min(len - (filled - start));
            if self.memory.capacity() - filled < piece {
                self.grow(piece).map_err(FillError::Memory)?;
            }
            self.memory.resize(filled + piece, 0);
            let read = read_full(reader, &mut self.memory[filled..]).map_err(FillError::Io)?;
            if read < piece {
                return Err(FillError::Ended(filled - start + read));
            }
        }
        Ok(())
    }

    /// Reads `len` bytes of a file, from an offset on, into memory that was not zeroed, and calls `visit` with each
    /// piece while it is in the cache. The caller has checked the length of the file.
    pub(crate) fn fill_from(
        &mut self,
        file: &File,
        offset: u64,
        len: usize,
        visit: impl FnMut(&[u8]),
    ) -> Result<(), FillError> {
        self.reserve(len).map_err(FillError::Memory)?;
        let read = memory::append_file(&mut self.memory, file, offset, len, visit).map_err(FillError::Io)?;
        if read == len { Ok(()) } else { Err(FillError::Ended(read)) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    /// The tensor of these bytes, which are not copied.
    pub(crate) fn into_tensor(self, dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let expected = byte_len(dtype, shape)?;
        if expected != self.memory.len() {
            let reason = format!("{dtype} of this shape has {expected} bytes, {} were given", self.memory.len());
            return Err(Error::Tensor(TensorError::InvalidShape(InvalidShape { shape: shape.to_vec(), reason })));
        }
        Ok(Tensor { dtype, shape: shape.to_vec(), data: Data::Bytes(Buffer::Owned(Arc::new(self.memory))) })
    }
}

/// Fills the buffer as far as the reader has data.
pub(super) fn read_full(reader: &mut dyn Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        match reader.read(buffer) {
            Ok(0) => break,
            Ok(read) => buffer = &mut buffer[read..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

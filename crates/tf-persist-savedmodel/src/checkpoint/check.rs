//! Comparing the bytes of a tensor with their checksum.

use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::checksum::Checksum;
use super::entry::{Entry, Part};
use super::strings::{StringTensorError, decode};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::element_count;
use crate::tensor::Strings;

/// Bytes are read in pieces of this size, which are still in the cache when the checksum is computed.
const PIECE: usize = 128 << 10;

/// Errors of a part, as sentences.
pub(super) const ENDED: &str = "the file ends inside it";
pub(super) const WRONG_CHECKSUM: &str = "the checksum is wrong";

/// A part of a tensor in an open shard. Errors name `path`.
pub(super) struct Stored<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a dyn FileExt,
    pub(super) entry: &'a Entry,
    pub(super) part: &'a Part,
}

impl Stored<'_> {
    /// Checks the checksum. Takes little memory, except for strings.
    pub(super) fn check(&self) -> Result<()> {
        if self.entry.dtype == DType::String {
            return self.strings().map(drop);
        }
        self.for_each_piece(|_| Ok(()))
    }

    /// Passes on the bytes piece by piece, and compares the checksum at the end.
    pub(super) fn for_each_piece(&self, mut visit: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (mut offset, mut left) = (self.part.offset, self.length()?);
        let mut piece = vec![0; PIECE.min(left)];
        let mut checksum = Checksum::new();
        while left > 0 {
            let piece = &mut piece[..PIECE.min(left)];
            self.read_exact(piece, offset)?;
            checksum.update(piece);
            visit(piece)?;
            left -= piece.len();
            offset += piece.len() as u64;
        }
        if checksum.masked() == self.part.crc32c { Ok(()) } else { Err(self.damaged(WRONG_CHECKSUM)) }
    }

    /// The strings, after their checksums were compared.
    pub(super) fn strings(&self) -> Result<Strings> {
        let shape = match &self.part.slice {
            Some(slice) => {
                slice.shape_in(&self.entry.shape).ok_or_else(|| self.damaged("a slice lies outside of it"))?
            }
            None => self.entry.shape.clone(),
        };
        let (count, length) = (element_count(&shape)?, self.length()?);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Error::OutOfMemory { bytes: length })?;
        bytes.resize(length, 0);
        self.read_exact(&mut bytes, self.part.offset)?;
        decode(bytes, count, self.part.crc32c).map_err(|flaw| match flaw {
            StringTensorError::Reason(reason) => self.damaged(reason),
            StringTensorError::Memory(bytes) => Error::OutOfMemory { bytes },
        })
    }

    pub(super) fn damaged(&self, reason: &str) -> Error {
        Error::damaged(self.path, format!("`{}`: {reason}", self.entry.key))
    }

    /// The number of bytes, in memory.
    pub(super) fn length(&self) -> Result<usize> {
        usize::try_from(self.part.bytes).map_err(|_| Error::OutOfMemory { bytes: usize::MAX })
    }

    /// Fills the buffer. The shard was long enough when the index was opened.
    fn read_exact(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.damaged(ENDED),
            _ => Error::io("read", self.path)(error),
        })
    }
}

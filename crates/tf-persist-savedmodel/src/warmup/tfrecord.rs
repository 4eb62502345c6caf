//! TFRecord files: a sequence of records of bytes, each with two checksums.
//!
//! ```text
//! length     u64, little-endian
//! checksum   masked CRC-32C of the eight bytes before
//! data       `length` bytes
//! checksum   masked CRC-32C of the data
//! ```
//!
//! Source of the format: `tensorflow/core/lib/io/record_writer.h` and `record_reader.cc`. Compressed files are not
//! read.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::checksum::masked;
use crate::error::{Error, Result};

/// The largest record: that of protobuf messages (`INT_MAX` bytes), which these files contain.
pub const MAX_RECORD_BYTES: u64 = i32::MAX as u64;

/// A length and its checksum.
const HEADER_BYTES: usize = 12;
/// The checksum of the data.
const FOOTER_BYTES: usize = 4;

/// Reads one record after the other. An error ends them.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    path: PathBuf,
    left: u64,
    number: usize,
}

impl<R: Read> Reader<R> {
    /// Reads a file of `bytes` bytes. `path` names it in errors.
    pub fn new(path: impl AsRef<Path>, source: R, bytes: u64) -> Self {
        Self { source, path: path.as_ref().to_path_buf(), left: bytes, number: 0 }
    }

    /// The number of the last record that was read, from 1; 0 before the first.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The next record's data, or `None` at the end of the file.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the record's number if it is truncated, a checksum is wrong, or it claims more bytes
    /// than [`MAX_RECORD_BYTES`]; [`Error::Unsupported`] if the file is compressed; [`Error::Io`] and
    /// [`Error::OutOfMemory`].
    pub fn next_record(&mut self) -> Result<Option<Vec<u8>>> {
        if self.left == 0 {
            return Ok(None);
        }
        let record = self.read();
        if record.is_err() {
            self.left = 0;
        }
        record.map(Some)
    }

    fn read(&mut self) -> Result<Vec<u8>> {
        self.number += 1;
        let mut header = [0; HEADER_BYTES];
        let present = self.left.min(HEADER_BYTES as u64) as usize;
        self.fill(&mut header[..present])?;
        let whole = present == HEADER_BYTES;
        let (length, checksum) = (&header[..8], &header[8..]);
        if !whole || checksum != masked(length).to_le_bytes() {
            self.check_compression(&header)?;
            return Err(self.damaged(if whole { "the checksum of its length is wrong" } else { "it is cut off" }));
        }
        let length = length.iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        if length > MAX_RECORD_BYTES {
            return Err(self.damaged(&format!("it claims {length} bytes, and the limit is {MAX_RECORD_BYTES}")));
        }
        if self.left < length + FOOTER_BYTES as u64 {
            return Err(self.damaged("it is cut off"));
        }
        let length = length as usize;
        let mut data = Vec::new();
        data.try_reserve_exact(length).map_err(|_| Error::OutOfMemory { bytes: length })?;
        data.resize(length, 0);
        self.fill(&mut data)?;
        let mut checksum = [0; FOOTER_BYTES];
        self.fill(&mut checksum)?;
        if checksum != masked(&data).to_le_bytes() {
            return Err(self.damaged("the checksum of its data is wrong"));
        }
        Ok(data)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.left -= bytes.len() as u64;
        self.source.read_exact(bytes).map_err(|error| match error.kind() {
            // The file became shorter after its length was read.
            ErrorKind::UnexpectedEof => self.damaged("it is cut off"),
            _ => Error::io("read", &self.path)(error),
        })
    }

    /// Python can write compressed files. Their first bytes could be a length, but then its checksum is wrong.
    fn check_compression(&self, header: &[u8]) -> Result<()> {
        let kind = match header {
            _ if self.number != 1 => return Ok(()),
            [0x1f, 0x8b, 8, ..] => "gzip",
            // Deflate with a window of 32 kB, at any level; the two bytes are a multiple of 31.
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => "zlib",
            _ => return Ok(()),
        };
        Err(Error::Unsupported {
            path: self.path.clone(),
            reason: format!(
                "it is a TFRecord file compressed by {kind}, which TensorFlow Serving does not read either"
            ),
            hint: Some("write it without compression".into()),
        })
    }

    fn damaged(&self, reason: &str) -> Error {
        Error::damaged(&self.path, format!("record {}: {reason}", self.number))
    }
}

/// Writes one record.
///
/// # Errors
/// If the writer fails.
pub fn write_record(mut out: impl Write, data: &[u8]) -> std::io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked(data).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| write_record(&mut bytes, record).unwrap());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut reader = Reader::new("f", bytes, bytes.len() as u64);
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        Ok(records)
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn writes_what_tensorflow_writes() {
        // tf.io.TFRecordWriter(...).write(b"ab"), TensorFlow 2.21.
        let bytes = b"\x02\0\0\0\0\0\0\0x'\x0b4ab\x1c\xb0\xf0\xf4";
        assert_eq!(written(&[b"ab".to_vec()]), bytes);
    }

    #[test]
    fn each_damage_is_reported_with_its_record() {
        let whole = written(&[b"first".to_vec(), b"second".to_vec()]);
        let second = 12 + 5 + 4;
        for end in second + 1..whole.len() {
            assert!(refusal(&whole[..end]).contains("record 2: it is cut off"), "{end}");
        }
        let changed = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            refusal(&bytes)
        };
        for at in 0..12 {
            assert!(changed(second + at).contains("record 2: the checksum of its length"));
        }
        for at in second + 12..whole.len() {
            assert!(changed(at).contains("record 2: the checksum of its data"));
        }
        for length in [MAX_RECORD_BYTES + 1, u64::MAX] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(masked(&bytes).to_le_bytes());
            assert!(refusal(&bytes).contains(&format!("record 1: it claims {length} bytes")));
        }
    }

    #[test]
    fn compressed_files_are_refused_by_name() {
        assert!(refusal(b"\x1f\x8b\x08\0\0\0\0\0\0\x03and so on").contains("compressed by gzip"));
        assert!(refusal(b"\x78\x9c and so on").contains("compressed by zlib"));
        // A record of that length is not a compressed file.
        let long = vec![7; 0x9c78];
        assert_eq!(read(&written(std::slice::from_ref(&long))).unwrap(), [long]);
    }

    #[test]
    fn shrunk_file_is_truncated() {
        let whole = written(&[b"first".to_vec()]);
        let mut reader = Reader::new("f", &whole[..14], whole.len() as u64);
        assert!(reader.next_record().unwrap_err().to_string().contains("record 1: it is cut off"));
        assert!(reader.next_record().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn written_records_are_read(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..99), 0..9)) {
            prop_assert_eq!(read(&written(&records)).unwrap(), records);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = read(&bytes);
        }
    }
}

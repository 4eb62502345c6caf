//! TFRecord files: a sequence of records of bytes, each with two checksums.
//!
//! ```text
//! length     u64, little-endian
//! checksum   masked CRC-32C of the eight bytes before
//! data       `length` bytes
//! checksum   masked CRC-32C of the data
//! ```
//!
//! Source of the format: `tensorflow/core/lib/io/record_writer.h` and `record_reader.cc`. Python can compress a whole
//! file by gzip or zlib: [`Reader::open`] reads such files, and [`Reader::new`] refuses them, as TensorFlow Serving
//! does.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use crate::checkpoint::checksum::masked;
use crate::error::{Error, Result};

/// The largest record: that of protobuf messages (`INT_MAX` bytes), which these files contain.
pub const MAX_RECORD_BYTES: u64 = i32::MAX as u64;

/// A length and its checksum.
const HEADER_BYTES: usize = 12;
/// The checksum of the data.
const FOOTER_BYTES: usize = 4;

/// Compressed bytes are read in pieces of this size.
const PIECE: usize = 64 << 10;

/// Memory for a record of a compressed file is allocated in steps of this size, because nobody knows how long it is.
const STEP: usize = 1 << 20;

/// Reads one record after the other. An error ends them.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    path: PathBuf,
    /// The bytes that are left; `None` if the length of the file is not known.
    left: Option<u64>,
    number: usize,
    has_ended: bool,
    /// Whether it is a file of a model, of which another copy would help.
    is_of_model: bool,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    Gzip,
    Zlib,
}

impl Compression {
    /// The compression that the first bytes of a file tell. They could be a length as well, but then its checksum is
    /// right.
    fn recognize(header: &[u8]) -> Option<Self> {
        match header {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            // Deflate with a window of 32 kB, at any level; the two bytes are a multiple of 31.
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Some(Self::Zlib),
            _ => None,
        }
    }
}

/// Whether these bytes are a length and its checksum.
fn is_header(bytes: &[u8]) -> bool {
    bytes.get(..HEADER_BYTES).is_some_and(|header| header[8..] == masked(&header[..8]).to_le_bytes())
}

impl Reader<Box<dyn Read + Send>> {
    /// Opens a file of data, which may be compressed by gzip or zlib.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::open(path).map_err(Error::io("open", path))?;
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        let mut file = BufReader::with_capacity(PIECE, file);
        let start = file.fill_buf().map_err(Error::io("read", path))?;
        let compression = if is_header(start) { None } else { Compression::recognize(start) };
        let left = (metadata.is_file() && compression.is_none()).then_some(metadata.len());
        let source: Box<dyn Read + Send> = match compression {
            None => Box::new(file),
            Some(Compression::Gzip) => Box::new(BufReader::with_capacity(PIECE, MultiGzDecoder::new(file))),
            Some(Compression::Zlib) => Box::new(BufReader::with_capacity(PIECE, ZlibDecoder::new(file))),
        };
        Ok(Self { source, path: path.to_path_buf(), left, number: 0, has_ended: false, is_of_model: false })
    }
}

impl<R: Read> Reader<R> {
    /// Reads a file of `bytes` bytes. `path` names it in errors.
    pub fn new(path: impl AsRef<Path>, source: R, bytes: u64) -> Self {
        let path = path.as_ref().to_path_buf();
        Self { source, path, left: Some(bytes), number: 0, has_ended: false, is_of_model: true }
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
        if self.has_ended {
            return Ok(None);
        }
        self.number += 1;
        let record = self.read();
        if !matches!(record, Ok(Some(_))) {
            self.has_ended = true;
        }
        if matches!(record, Ok(None)) {
            self.number -= 1;
        }
        record
    }

    fn read(&mut self) -> Result<Option<Vec<u8>>> {
        let header = self.read_up_to(HEADER_BYTES)?;
        if header.is_empty() {
            return Ok(None);
        }
        if !is_header(&header) {
            self.check_compression(&header)?;
            let is_whole = header.len() == HEADER_BYTES;
            return Err(self.damaged(if is_whole { "the checksum of its length is wrong" } else { "it is cut off" }));
        }
        let length = header[..8].iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        if length > MAX_RECORD_BYTES {
            return Err(self.damaged(&format!("it claims {length} bytes, and the limit is {MAX_RECORD_BYTES}")));
        }
        if self.left.is_some_and(|left| left < length + FOOTER_BYTES as u64) {
            return Err(self.damaged("it is cut off"));
        }
        let length = length as usize;
        let data = self.read_up_to(length)?;
        let checksum = self.read_up_to(FOOTER_BYTES)?;
        if data.len() < length || checksum.len() < FOOTER_BYTES {
            return Err(self.damaged("it is cut off"));
        }
        if checksum != masked(&data).to_le_bytes() {
            return Err(self.damaged("the checksum of its data is wrong"));
        }
        Ok(Some(data))
    }

    /// The next bytes; fewer at the end of the file.
    fn read_up_to(&mut self, length: usize) -> Result<Vec<u8>> {
        let wanted = self.left.map_or(length, |left| left.try_into().map_or(length, |left: usize| left.min(length)));
        let mut bytes = Vec::new();
        while bytes.len() < wanted {
            // All of it where the file is known to be so long.
            let step = if self.left.is_some() { wanted } else { STEP.min(wanted - bytes.len()) };
            bytes.try_reserve(step).map_err(|_| Error::OutOfMemory { bytes: step })?;
            let start = bytes.len();
            let read = (&mut self.source).take(step as u64).read_to_end(&mut bytes);
            read.map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => self.damaged("it is cut off"),
                ErrorKind::InvalidData | ErrorKind::InvalidInput => self.damaged(&error.to_string()),
                _ => Error::io("read", &self.path)(error),
            })?;
            if bytes.len() - start < step {
                break;
            }
        }
        if let Some(left) = &mut self.left {
            // The file may have become shorter after its length was read.
            *left = if bytes.len() < wanted { 0 } else { *left - wanted as u64 };
        }
        Ok(bytes)
    }

    fn check_compression(&self, header: &[u8]) -> Result<()> {
        let kind = match Compression::recognize(header) {
            _ if self.number != 1 || !self.is_of_model => return Ok(()),
            Some(Compression::Gzip) => "gzip",
            Some(Compression::Zlib) => "zlib",
            None => return Ok(()),
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
        let reason = format!("record {}: {reason}", self.number);
        if self.is_of_model { Error::damaged(&self.path, reason) } else { Error::flawed(&self.path, reason) }
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

    fn opened(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut reader = Reader::open(file.path())?;
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        assert_eq!(reader.number(), records.len());
        Ok(records)
    }

    #[test]
    fn compressed_files_of_data_are_read() {
        use flate2::write::{GzEncoder, ZlibEncoder};

        let records = [b"first".to_vec(), vec![7; 3 * STEP + 5], Vec::new()];
        let plain = written(&records);
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(&plain).unwrap();
        let zlib = zlib.finish().unwrap();
        for file in [&plain, &gzip, &zlib] {
            assert_eq!(opened(file).unwrap(), records);
            let cut = opened(&file[..file.len() - 9]).unwrap_err().to_string();
            assert!(cut.contains(": it is cut off"), "{cut}");
        }
        // Two files, one behind the other, as `cat` makes them.
        assert_eq!(opened(&[gzip.clone(), gzip].concat()).unwrap().len(), 6);
        assert!(opened(b"").unwrap().is_empty());
        let long = vec![7; 0x9c78];
        assert_eq!(opened(&written(std::slice::from_ref(&long))).unwrap(), [long]);
        let mut claims = u64::from(u32::MAX >> 1).to_le_bytes().to_vec();
        claims.extend(masked(&claims).to_le_bytes());
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&claims).unwrap();
        assert!(opened(&gzip.finish().unwrap()).unwrap_err().to_string().contains("record 1: it is cut off"));
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

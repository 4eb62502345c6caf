//! Writing checkpoints that TensorFlow reads.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::checksum::{Checksum, masked};
use super::encode::{delimited, fixed32, number};
use super::entry::{Entry, Part};
use super::index::{CheckpointIndex, MAX_INDEX_BYTES};
use super::publish::{self, Unpublished};
use super::read::CheckpointReader;
use super::strings::encode;
use super::table_builder::TableBuilder;
use crate::dtype::DType;
use crate::error::{Error, Result, TensorError};
use crate::shape::{InvalidShape, element_count};
use crate::tensor::Tensor;

/// Writes a checkpoint of one shard: the bytes of the tensors in the order in which they are added, one after the
/// other, as TensorFlow's `BundleWriter` does. Equal tensors under equal keys in the same order make equal files.
///
/// The files appear with [`CheckpointWriter::finish`]. Dropped before, the writer leaves nothing behind.
///
/// ```no_run
/// use tf_persist_savedmodel::Tensor;
/// use tf_persist_savedmodel::checkpoint::CheckpointWriter;
///
/// # fn main() -> tf_persist_savedmodel::Result<()> {
/// let mut checkpoint = CheckpointWriter::create("checkpoints/step-100")?;
/// checkpoint.add("kernel", &Tensor::from_slice(&[2, 2], &[1.0_f32, 2.0, 3.0, 4.0])?)?;
/// checkpoint.add("words", &Tensor::from_strings(&[2], ["a", "b"])?)?;
/// checkpoint.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CheckpointWriter {
    new: Unpublished,
    data: publish::Part,
    /// The bytes written so far.
    length: u64,
    /// A `BundleEntryProto` for each key.
    entries: BTreeMap<String, Vec<u8>>,
    /// The offsets of tensors to which equal ones may refer, by what can be compared without reading them.
    shareable: HashMap<Likeness, Vec<u64>>,
    /// Whether a tensor was written in part.
    failed: bool,
}

/// Dtype, shape, size and checksum: the same for equal tensors.
type Likeness = (i32, Vec<usize>, u64, u32);

impl CheckpointWriter {
    /// Begins the checkpoint with this prefix, and creates its folder if it does not exist.
    ///
    /// # Errors
    /// [`Error::Exists`] if a checkpoint with this prefix exists, [`Error::Io`] if files cannot be created there, or
    /// the prefix does not end in a name.
    pub fn create(prefix: impl AsRef<Path>) -> Result<Self> {
        let new = Unpublished::begin(prefix.as_ref())?;
        let data = new.file(&new.shard_path(0, 1))?;
        Ok(Self { new, data, length: 0, entries: BTreeMap::new(), shareable: HashMap::new(), failed: false })
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// - [`TensorError::InvalidData`] if a tensor with this key was added before, or the key is empty or begins with a
    ///   zero byte: such keys belong to the format;
    /// - [`Error::Io`] if it cannot be written. The checkpoint cannot be finished afterwards.
    pub fn add(&mut self, key: &str, tensor: &Tensor) -> Result<()> {
        if tensor.dtype() != DType::String {
            return self.put(key, tensor.dtype(), tensor.shape(), &[], tensor.bytes()?, None);
        }
        let strings = tensor.strings()?;
        let (lengths, checksum) = encode(strings)?;
        self.put(key, tensor.dtype(), tensor.shape(), &lengths, strings.all_bytes(), Some(checksum))
    }

    /// Adds a tensor of these little-endian bytes. Works for numbers of any dtype, also of those that [`Tensor`] cannot
    /// hold.
    ///
    /// # Errors
    /// As [`CheckpointWriter::add`]; [`TensorError::UnsupportedDType`] if the dtype is not a number of a known size;
    /// [`TensorError::InvalidShape`] if the number of bytes does not match dtype and shape.
    pub fn add_bytes(&mut self, key: &str, dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<()> {
        check_bytes(key, dtype, shape, bytes.len())?;
        self.put(key, dtype, shape, &[], bytes, None)
    }

    /// Adds a tensor of numbers whose little-endian bytes come piece by piece: `give` calls the function that it gets
    /// with one piece after the other.
    ///
    /// # Errors
    /// As [`CheckpointWriter::add_bytes`], and those of `give`. If the tensor was written in part, the checkpoint
    /// cannot be finished afterwards.
    pub fn add_pieces(
        &mut self,
        key: &str,
        dtype: DType,
        shape: &[usize],
        give: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        self.check_key(key)?;
        // Until it is complete.
        self.failed = true;
        let shard = self.new.shard_path(0, 1);
        let (mut length, mut checksum) = (0, Checksum::new());
        give(&mut |piece| {
            length += piece.len();
            checksum.update(piece);
            self.data.write_all(piece).map_err(Error::io("write", &shard))
        })?;
        check_bytes(key, dtype, shape, length)?;
        self.failed = false;
        self.record(key, dtype, shape, length as u64, checksum.masked());
        Ok(())
    }

    /// Adds a tensor of another checkpoint, of any dtype, piece by piece, and compares its checksum. Strings and
    /// partitioned tensors are read into memory, and the latter assembled.
    ///
    /// # Errors
    /// As [`CheckpointWriter::add`] and [`CheckpointReader::read_bytes`]. If the tensor was written in part, the
    /// checkpoint cannot be finished afterwards.
    pub fn add_from(&mut self, key: &str, source: &CheckpointReader, source_key: &str) -> Result<()> {
        let entry = source.entry(source_key)?;
        match (entry.dtype, entry.parts.as_slice()) {
            (DType::String, _) => self.add(key, &source.read(source_key)?),
            (DType::Resource | DType::Variant, _) => Err(Error::Tensor(TensorError::UnsupportedDType {
                name: Some(source_key.to_owned()),
                dtype: entry.dtype,
            })),
            (_, [part @ Part { slice: None, .. }]) => {
                self.check_key(key)?;
                // Until it is complete and its checksum is right.
                self.failed = true;
                let shard = self.new.shard_path(0, 1);
                source.stored(entry, part, |stored| {
                    stored.for_each_piece(|piece| self.data.write_all(piece).map_err(Error::io("write", &shard)))
                })?;
                self.failed = false;
                self.record(key, entry.dtype, &entry.shape, part.bytes, part.crc32c);
                Ok(())
            }
            _ => self.add_bytes(key, entry.dtype, &entry.shape, source.read_bytes(source_key)?.bytes()?),
        }
    }

    /// As [`CheckpointWriter::add_from`]; but if the bytes are equal to those of a tensor of the same dtype and shape
    /// that was added so before, they are not written again: both keys refer to the same place, which TensorFlow reads.
    /// Strings are always written.
    ///
    /// # Errors
    /// As [`CheckpointWriter::add_from`].
    pub fn add_once_from(&mut self, key: &str, source: &CheckpointReader, source_key: &str) -> Result<()> {
        let entry = source.entry(source_key)?;
        let [part] = entry.parts.as_slice() else { return self.add_from(key, source, source_key) };
        if entry.dtype.size().is_none() || part.slice.is_some() || part.bytes == 0 {
            return self.add_from(key, source, source_key);
        }
        self.check_key(key)?;
        let likeness = (entry.dtype.number(), entry.shape.clone(), part.bytes, part.crc32c);
        for offset in self.shareable.get(&likeness).cloned().unwrap_or_default() {
            if self.is_at(offset, source, entry, part)? {
                let entry = self::entry(entry.dtype, &entry.shape, offset, part.bytes, part.crc32c);
                self.entries.insert(key.to_owned(), entry);
                return Ok(());
            }
        }
        let offset = self.length;
        self.add_from(key, source, source_key)?;
        self.shareable.entry(likeness).or_default().push(offset);
        Ok(())
    }

    /// Whether the bytes that were written at an offset are those of a tensor of another checkpoint.
    fn is_at(&self, offset: u64, source: &CheckpointReader, entry: &Entry, part: &Part) -> Result<bool> {
        let (mut position, mut is_equal) = (offset, true);
        let mut written = Vec::new();
        let shard = self.new.shard_path(0, 1);
        source.stored(entry, part, |stored| {
            stored.for_each_piece(|piece| {
                if is_equal {
                    written.resize(piece.len(), 0);
                    let read = self.data.as_file().read_exact_at(&mut written, position);
                    read.map_err(Error::io("read", &shard))?;
                    is_equal = written == piece;
                    position += piece.len() as u64;
                }
                Ok(())
            })
        })?;
        Ok(is_equal)
    }

    /// Makes everything durable and gives the files their names, the index last. Returns the index.
    ///
    /// # Errors
    /// - [`Error::Exists`] if a checkpoint with this prefix has appeared meanwhile;
    /// - [`Error::Unsupported`] if the index would be above [`MAX_INDEX_BYTES`];
    /// - [`Error::Io`] if the disk is full, or the files cannot be moved.
    pub fn finish(self) -> Result<CheckpointIndex> {
        let Self { mut new, data, entries, failed, .. } = self;
        let prefix = new.prefix();
        if failed {
            return Err(Error::data(format!("the checkpoint `{}`", prefix.display()), "a tensor could not be written"));
        }
        let mut table = TableBuilder::new();
        table.add(b"", &header());
        entries.iter().for_each(|(key, entry)| table.add(key.as_bytes(), entry));
        let bytes = table.finish();
        if bytes.len() as u64 > MAX_INDEX_BYTES {
            let reason = format!("its index would have {} bytes, and the limit is {MAX_INDEX_BYTES}", bytes.len());
            return Err(Error::Unsupported { path: prefix.to_path_buf(), reason, hint: None });
        }
        new.add(data, 0, 1)?;
        new.finish(&bytes)
    }

    fn put(
        &mut self,
        key: &str,
        dtype: DType,
        shape: &[usize],
        before: &[u8],
        bytes: &[u8],
        checksum: Option<u32>,
    ) -> Result<()> {
        self.check_key(key)?;
        let written = self.data.write_all(before).and_then(|()| self.data.write_all(bytes));
        if let Err(error) = written {
            self.failed = true;
            return Err(Error::io("write", self.new.shard_path(0, 1))(error));
        }
        let checksum = checksum.unwrap_or_else(|| masked(bytes));
        self.record(key, dtype, shape, (before.len() + bytes.len()) as u64, checksum);
        Ok(())
    }

    /// Checks a tensor's key.
    fn check_key(&self, key: &str) -> Result<()> {
        let refuse = |reason: &str| Err(Error::data(format!("variable `{key}`"), reason));
        if key.is_empty() || key.starts_with('\0') {
            return refuse("a checkpoint keeps such keys for itself");
        }
        if self.entries.contains_key(key) {
            return refuse("the checkpoint has one with this key already");
        }
        Ok(())
    }

    /// Adds the entry of the tensor that was just written.
    fn record(&mut self, key: &str, dtype: DType, shape: &[usize], length: u64, checksum: u32) {
        self.entries.insert(key.to_owned(), entry(dtype, shape, self.length, length, checksum));
        self.length += length;
    }
}

/// Refuses a number of bytes that does not match dtype and shape.
fn check_bytes(key: &str, dtype: DType, shape: &[usize], length: usize) -> Result<()> {
    let size = dtype
        .size()
        .ok_or_else(|| Error::Tensor(TensorError::UnsupportedDType { name: Some(key.to_owned()), dtype }))?;
    if element_count(shape)?.checked_mul(size) != Some(length) {
        let reason = format!("{dtype} of this shape does not have {length} bytes");
        return Err(Error::Tensor(TensorError::InvalidShape(InvalidShape { shape: shape.to_vec(), reason })));
    }
    Ok(())
}

/// `BundleHeaderProto`: one shard, little-endian, version 1 of the format.
fn header() -> Vec<u8> {
    let mut message = Vec::new();
    number(&mut message, 1, 1);
    delimited(&mut message, 3, &[0x08, 1]);
    message
}

/// `BundleEntryProto`. Zeros are left out, as protobuf does.
fn entry(dtype: DType, shape: &[usize], offset: u64, bytes: u64, checksum: u32) -> Vec<u8> {
    let mut dimensions = Vec::new();
    for size in shape {
        let mut dimension = Vec::new();
        if *size > 0 {
            number(&mut dimension, 1, *size as u64);
        }
        delimited(&mut dimensions, 2, &dimension);
    }
    let mut message = Vec::new();
    number(&mut message, 1, u64::from(dtype.number().cast_unsigned()));
    delimited(&mut message, 2, &dimensions);
    for (field, value) in [(4, offset), (5, bytes)] {
        if value > 0 {
            number(&mut message, field, value);
        }
    }
    if checksum > 0 {
        fixed32(&mut message, 6, checksum);
    }
    message
}

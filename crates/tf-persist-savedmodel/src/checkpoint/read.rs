//! Reading the tensors of a checkpoint.

use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::assemble::{Coverage, for_each_run};
use super::check::{ENDED, Stored, WRONG_CHECKSUM};
use super::checksum::Checksum;
use super::copy::parts_by_shard;
use super::entry::{Entry, Part};
use super::index::{CheckpointIndex, shard_path};
use super::shard::Shard;
use crate::dtype::DType;
use crate::error::{CheckpointError, Error, Result, TensorError};
use crate::shape::element_count;
use crate::tensor::{AlignedBuf, FillError, Strings, Tensor, widened};

/// Reads the tensors of a checkpoint on demand, and compares their checksums.
///
/// Numbers are read straight into the aligned memory that TensorFlow adopts. Any number of threads may read at once.
///
/// ```no_run
/// use tf_persist_savedmodel::checkpoint::CheckpointReader;
///
/// # fn main() -> tf_persist_savedmodel::Result<()> {
/// let checkpoint = CheckpointReader::open("model/variables/variables")?;
/// for entry in &checkpoint.index().entries {
///     println!("{}: {:?}", entry.key, checkpoint.read(&entry.key)?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CheckpointReader {
    index: CheckpointIndex,
    /// The shards that were opened.
    shards: Vec<OnceLock<Shard>>,
}

impl CheckpointReader {
    /// Opens the checkpoint with this prefix. None of the tensors is read.
    ///
    /// # Errors
    /// Those of [`CheckpointIndex::open`].
    pub fn open(prefix: impl AsRef<Path>) -> Result<Self> {
        CheckpointIndex::open(prefix).map(Self::new)
    }

    /// A reader of the checkpoint with this index.
    #[must_use]
    pub fn new(index: CheckpointIndex) -> Self {
        let shards = (0..index.num_shards).map(|_| OnceLock::new()).collect();
        Self { index, shards }
    }

    /// The index.
    #[must_use]
    pub fn index(&self) -> &CheckpointIndex {
        &self.index
    }

    /// Reads the tensor with this key. A partitioned tensor is assembled.
    ///
    /// # Errors
    /// - [`CheckpointError::UnknownVariable`] if the checkpoint has no such key;
    /// - [`TensorError::UnsupportedDType`] if the tensor is a resource, a variant, or of a dtype that [`Tensor`] cannot
    ///   hold, such as float8: see [`CheckpointReader::read_bytes`];
    /// - [`Error::Damaged`] with the shard's path and the key if a checksum is wrong, a shard has become too short,
    ///   strings do not match their lengths, or slices leave elements out or overlap;
    /// - [`Error::Io`] if the shard cannot be read, [`Error::OutOfMemory`] if there is no memory.
    pub fn read(&self, key: &str) -> Result<Tensor> {
        let entry = self.entry(key)?;
        match entry.dtype {
            DType::String => Tensor::from_string_array(&entry.shape, self.strings(entry)?),
            dtype if dtype.is_supported() => self.numbers(entry)?.into_tensor(dtype, &entry.shape),
            dtype => Err(Error::Tensor(TensorError::UnsupportedDType { name: Some(key.to_owned()), dtype })),
        }
    }

    /// Reads the little-endian bytes of the tensor with this key, as a uint8 tensor of rank 1. Works for numbers of any
    /// dtype, also of those that [`Tensor`] cannot hold.
    ///
    /// # Errors
    /// Those of [`CheckpointReader::read`]; [`TensorError::UnsupportedDType`] for strings, resources and variants.
    pub fn read_bytes(&self, key: &str) -> Result<Tensor> {
        let entry = self.entry(key)?;
        match entry.dtype {
            DType::Invalid | DType::String | DType::Resource | DType::Variant => Err(self.unsupported(entry)),
            _ => {
                let numbers = self.numbers(entry)?;
                let length = numbers.bytes().len();
                numbers.into_tensor(DType::UInt8, &[length])
            }
        }
    }

    /// Reads the tensor with this key. Numbers of dtypes that [`Tensor`] cannot hold are widened, exactly: int4 and
    /// int2 to int8, uint4 and uint2 to uint8, float8 and float4 to float32.
    ///
    /// # Errors
    /// Those of [`CheckpointReader::read`].
    pub fn read_widened(&self, key: &str) -> Result<Tensor> {
        let entry = self.entry(key)?;
        match entry.dtype {
            DType::Other(_) => {
                let numbers = self.numbers(entry)?;
                widened(entry.dtype, &entry.shape, numbers.bytes())?.ok_or_else(|| self.unsupported(entry))
            }
            _ => self.read(key),
        }
    }

    /// Compares every tensor with its checksum. Takes little memory, except for strings and for tensors in slices.
    ///
    /// # Errors
    /// Those of [`CheckpointReader::read`], of the first tensor that is damaged.
    pub fn check(&self) -> Result<()> {
        // In the order of the file, which is read ahead.
        for (entry, part) in parts_by_shard(&self.index).into_values().flatten() {
            self.stored(entry, part, |stored| stored.check())?;
        }
        // Each slice is right by now; all together may still not be the tensor.
        for entry in self.index.entries.iter().filter(|entry| entry.is_partitioned()) {
            match entry.dtype {
                DType::String => drop(self.strings(entry)?),
                _ => drop(self.numbers(entry)?),
            }
        }
        Ok(())
    }

    pub(super) fn entry(&self, key: &str) -> Result<&Entry> {
        self.index.get(key).ok_or_else(|| {
            Error::Checkpoint(CheckpointError::UnknownVariable {
                prefix: self.index.prefix.clone(),
                key: key.to_owned(),
                available: self.index.entries.iter().map(|entry| entry.key.clone()).collect(),
            })
        })
    }

    fn unsupported(&self, entry: &Entry) -> Error {
        Error::Tensor(TensorError::UnsupportedDType { name: Some(entry.key.clone()), dtype: entry.dtype })
    }

    fn damaged(&self, entry: &Entry, part: &Part, reason: &str) -> Error {
        Error::damaged(self.shard_path(part), format!("`{}`: {reason}", entry.key))
    }

    fn shard_path(&self, part: &Part) -> PathBuf {
        shard_path(&self.index.prefix, part.shard, self.index.num_shards)
    }

    /// The bytes of a tensor with elements of a fixed size.
    fn numbers(&self, entry: &Entry) -> Result<AlignedBuf> {
        if let [part @ Part { slice: None, .. }] = entry.parts.as_slice() {
            return self.part(entry, part);
        }
        let size = entry.dtype.size().ok_or_else(|| self.unsupported(entry))?;
        let count = self.check_slices(entry)?;
        let mut whole = AlignedBuf::zeros(count * size)?;
        let mut covered = no_coverage(count)?;
        for part in &entry.parts {
            let data = self.part(entry, part)?;
            let mut rest = data.bytes();
            self.for_each_run(entry, part, &mut covered, |run| {
                let Some((run_bytes, after)) = rest.split_at_checked(run.len() * size) else { return false };
                rest = after;
                whole.bytes_mut()[run.start * size..run.end * size].copy_from_slice(run_bytes);
                true
            })?;
        }
        Ok(whole)
    }

    /// The strings of a string tensor.
    fn strings(&self, entry: &Entry) -> Result<Strings> {
        if let [part @ Part { slice: None, .. }] = entry.parts.as_slice() {
            return self.stored(entry, part, |stored| stored.strings());
        }
        let count = self.check_slices(entry)?;
        let mut covered = no_coverage(count)?;
        // Each string, as its part and its index there.
        let mut places = Vec::new();
        places
            .try_reserve_exact(count)
            .map_err(|_| Error::OutOfMemory { bytes: count.saturating_mul(size_of::<(usize, usize)>()) })?;
        places.resize(count, (0, 0));
        let mut slices = Vec::new();
        for (number, part) in entry.parts.iter().enumerate() {
            slices.push(self.stored(entry, part, |stored| stored.strings())?);
            let mut strings = 0..;
            self.for_each_run(entry, part, &mut covered, |run| {
                places[run].iter_mut().zip(&mut strings).for_each(|(place, string)| *place = (number, string));
                true
            })?;
        }
        Ok(places.into_iter().map(|(slice, string)| slices[slice].get(string).unwrap_or_default()).collect())
    }

    /// Checks that the slices of a tensor have as many elements as the tensor, and that no two of them share bytes, so
    /// the tensor takes no more memory than the file has bytes. Returns the number of elements.
    fn check_slices(&self, entry: &Entry) -> Result<usize> {
        let count = element_count(&entry.shape)?;
        let refuse = |reason: &str| {
            let part = entry.parts.first();
            let path = part.map_or_else(|| self.index.prefix.clone(), |part| self.shard_path(part));
            Err(Error::damaged(path, format!("`{}`: {reason}", entry.key)))
        };
        let (bytes, enough) = (entry.bytes(), count as u64);
        if entry.dtype.size().map_or(enough > bytes, |size| enough.checked_mul(size as u64) != Some(bytes)) {
            return refuse("its slices are not all of it");
        }
        let mut parts: Vec<_> = entry.parts.iter().filter(|part| part.bytes > 0).collect();
        parts.sort_unstable_by_key(|part| (part.shard, part.offset));
        if parts
            .windows(2)
            .any(|pair| pair[0].shard == pair[1].shard && pair[0].offset.saturating_add(pair[0].bytes) > pair[1].offset)
        {
            return refuse("two of its slices use the same bytes");
        }
        let counted = entry.parts.iter().try_fold(0_usize, |sum, part| {
            let shape = part.slice.as_ref()?.shape_in(&entry.shape)?;
            sum.checked_add(element_count(&shape).ok()?)
        });
        if counted == Some(count) { Ok(count) } else { refuse("its slices are not all of it") }
    }

    /// Calls `put` with the range of each run of a slice's elements, after checking that no element has a value yet.
    /// `put` returns whether the slice is long enough.
    fn for_each_run(
        &self,
        entry: &Entry,
        part: &Part,
        covered: &mut Coverage,
        mut put: impl FnMut(Range<usize>) -> bool,
    ) -> Result<()> {
        let Some(slice) = &part.slice else { return Err(self.damaged(entry, part, "one of its parts is not a slice")) };
        for_each_run(slice, &entry.shape, |run| {
            if !covered.add(run.clone()) {
                return Err(self.damaged(entry, part, "two of its slices overlap"));
            }
            if put(run) { Ok(()) } else { Err(self.damaged(entry, part, "one of its slices is too short")) }
        })
    }

    /// The bytes of a part, after its checksum was compared.
    fn part(&self, entry: &Entry, part: &Part) -> Result<AlignedBuf> {
        let shard = self.shard(part)?;
        self.stored(entry, part, |stored| {
            let mut bytes = AlignedBuf::new();
            let length = stored.length()?;
            let explain = |shortfall| match shortfall {
                FillError::Ended(_) => stored.damaged(ENDED),
                FillError::Io(error) => Error::io("read", stored.path)(error),
                FillError::Memory(error) => error,
            };
            let mut checksum = Checksum::new();
            // The shard's length was checked when the index was opened.
            let filled = match shard {
                Shard::File(file) => bytes.fill_from(file, part.offset, length, |piece| checksum.update(piece)),
                packed => {
                    let mut reader = Summed { shard: packed, offset: part.offset, checksum: &mut checksum };
                    bytes.fill(&mut reader, length, length)
                }
            };
            filled.map_err(explain)?;
            if checksum.masked() == part.crc32c { Ok(bytes) } else { Err(stored.damaged(WRONG_CHECKSUM)) }
        })
    }

    /// Calls `work` with a part and its shard.
    pub(super) fn stored<T>(
        &self,
        entry: &Entry,
        part: &Part,
        work: impl FnOnce(Stored<'_>) -> Result<T>,
    ) -> Result<T> {
        work(Stored { path: &self.shard_path(part), file: self.shard(part)?, entry, part })
    }

    /// The shard of a part, opened once.
    fn shard(&self, part: &Part) -> Result<&Shard> {
        let Some(shard) = self.shards.get(part.shard as usize) else {
            return Err(Error::damaged(&self.index.prefix, format!("it has no shard {}", part.shard)));
        };
        if let Some(file) = shard.get() {
            return Ok(file);
        }
        let file = self.index.open_shard(part.shard)?;
        Ok(shard.get_or_init(|| file))
    }
}

/// A shard that is read from an offset on, with a running checksum.
struct Summed<'a> {
    shard: &'a Shard,
    offset: u64,
    checksum: &'a mut Checksum,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.shard.read_at(buffer, self.offset)?;
        self.checksum.update(&buffer[..read]);
        self.offset += read as u64;
        Ok(read)
    }
}

fn no_coverage(count: usize) -> Result<Coverage> {
    Coverage::new(count).map_err(|bytes| Error::OutOfMemory { bytes })
}

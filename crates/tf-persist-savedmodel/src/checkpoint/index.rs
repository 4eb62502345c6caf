//! The index of a checkpoint: its tensors and their positions.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tf_persist_proto::wire::{Value, try_fields};

use super::entry::{Entry, Part, RawEntry};
use super::shard::Shard;
use super::slice::Slice;
use super::table::read_table;
use crate::container::file::{file_length, read_file};
use crate::container::pack::Pack;
use crate::error::{Error, Result};
use crate::stand_in;

/// An index has about a hundred bytes a tensor. An index of this size would have half a million tensors.
pub const MAX_INDEX_BYTES: u64 = 64 << 20;

/// TensorFlow writes the number of a shard with five digits.
const MAX_SHARDS: u64 = 99_999;

/// Keys are stored without the prefix that they share with the key before, so a small file could expand without limit.
/// All keys together may take this many times the file's bytes, plus a constant. Those of real models take four times,
/// or ten times if the index is compressed.
const MAX_KEY_GROWTH: usize = 32;
const KEY_BYTES_BASE: usize = 1 << 20;

/// The version of the format that this reader knows (`kTensorBundleVersion`).
const FORMAT_VERSION: i64 = 1;

/// The tensors of a checkpoint, each with its dtype, its shape and the position of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointIndex {
    /// The prefix of the names of the checkpoint's files.
    pub prefix: PathBuf,
    /// The number of shards the tensors are spread over.
    pub num_shards: u32,
    /// The tensors, in the order of their keys.
    pub entries: Vec<Entry>,
    fingerprint: u64,
    /// The pack with the files, if they are not in a folder.
    pack: Option<Arc<Pack>>,
}

impl CheckpointIndex {
    /// Reads the index of the checkpoint with this prefix (`MODEL/variables/variables`), and checks that every tensor
    /// lies inside its shard. It reads only the sizes of the shards.
    ///
    /// # Errors
    /// - [`Error::Io`] if the index is missing or cannot be read;
    /// - [`Error::Damaged`] with the file's path, if the index is incomplete or invalid, or if a shard is missing or
    ///   too short;
    /// - [`Error::Unsupported`] if the index was written on a big-endian machine or for a later format, or is above
    ///   [`MAX_INDEX_BYTES`].
    pub fn open(prefix: impl AsRef<Path>) -> Result<Self> {
        let prefix = prefix.as_ref();
        let path = index_path(prefix);
        let Some(bytes) = read_file(&path, MAX_INDEX_BYTES, "the limit of an index")? else {
            return Err(Error::io("read", &path)(rustix::io::Errno::NOENT.into()));
        };
        let index = Self::read(prefix, &bytes)?;
        index.check_shards()?;
        Ok(index)
    }

    /// As [`CheckpointIndex::open`], of a checkpoint in a pack.
    pub(crate) fn open_in(pack: &Arc<Pack>, prefix: &str) -> Result<Self> {
        let prefix = pack.path().join(prefix);
        let path = index_path(&prefix);
        let missing = || Error::io("read", &path)(rustix::io::Errno::NOENT.into());
        let number = pack.find_shown(&path).ok_or_else(missing)?;
        let length = pack.entries()[number].length;
        if length > MAX_INDEX_BYTES {
            let reason = format!("it has {length} bytes, and the limit of an index is {MAX_INDEX_BYTES} bytes");
            return Err(Error::Unsupported { path, reason, hint: None });
        }
        let mut index = Self::read(&prefix, &pack.contents(number)?)?;
        index.pack = Some(pack.clone());
        index.check_shards()?;
        Ok(index)
    }

    /// A shard, opened.
    pub(super) fn open_shard(&self, shard: u32) -> Result<Shard> {
        let path = shard_path(&self.prefix, shard, self.num_shards);
        let Some(pack) = &self.pack else {
            return File::open(&path).map(Shard::File).map_err(Error::io("open", &path));
        };
        let missing = || Error::io("open", &path)(rustix::io::Errno::NOENT.into());
        Ok(Shard::Packed(pack.clone(), pack.find_shown(&path).ok_or_else(missing)?))
    }

    fn shard_length(&self, path: &Path) -> Result<Option<u64>> {
        match &self.pack {
            None => file_length(path),
            Some(pack) => Ok(pack.find_shown(path).map(|number| pack.entries()[number].length)),
        }
    }

    /// The index in these bytes, checked by itself.
    pub(crate) fn read(prefix: &Path, bytes: &[u8]) -> Result<Self> {
        let path = index_path(prefix);
        stand_in::check(&path, &bytes[..bytes.len().min(stand_in::BEGINNING)])?;
        let mut header = None;
        let mut parts = BTreeMap::new();
        let mut raw = Vec::new();
        let mut budget = bytes.len().saturating_mul(MAX_KEY_GROWTH).saturating_add(KEY_BYTES_BASE);
        let table = read_table(bytes, |key, value| {
            let Some(left) = budget.checked_sub(key.len()) else {
                return Err(format!("its keys have more than {MAX_KEY_GROWTH} times the file's bytes"));
            };
            budget = left;
            if header.is_none() {
                // The header has the empty key, which comes before all others.
                if !key.is_empty() {
                    return Err("it has no header".into());
                }
                header = Some(Header::read(value)?);
                return Ok(());
            }
            let name = || String::from_utf8_lossy(key).into_owned();
            let entry = RawEntry::read(value).map_err(|reason| format!("the entry of `{}`: {reason}", name()))?;
            // Names of variables never begin with a zero; the keys of slices do.
            if key.first() == Some(&0) {
                parts.insert(key.to_vec(), entry);
            } else {
                let key = String::from_utf8(key.to_vec()).map_err(|_| format!("the key `{}` is not UTF-8", name()))?;
                raw.push((key, entry));
            }
            Ok(())
        });
        table.map_err(|reason| Error::damaged(&path, reason))?;
        let header = header.ok_or_else(|| Error::damaged(&path, "it has no header"))?;
        let num_shards = header.check(&path)?;

        let entries = raw.into_iter().map(|(key, entry)| join(key, entry, &mut parts)).collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(|reason| Error::damaged(&path, reason))?;
        if let Some((key, _)) = parts.first_key_value() {
            let key = String::from_utf8_lossy(key);
            return Err(Error::damaged(&path, format!("the slice {key:?} belongs to no tensor")));
        }
        if let Some(entry) = entries.iter().find(|entry| entry.parts.iter().any(|part| part.shard >= num_shards)) {
            let reason = format!("`{}` is in a shard that is not one of its {num_shards}", entry.key);
            return Err(Error::damaged(&path, reason));
        }
        let fingerprint = farmhash::fingerprint64(bytes);
        Ok(Self { prefix: prefix.to_path_buf(), num_shards, entries, fingerprint, pack: None })
    }

    /// The tensor with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.key.as_str().cmp(key)).ok().map(|index| &self.entries[index])
    }

    /// The bytes of all tensors.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.bytes()))
    }

    /// FarmHash's `Fingerprint64` of the index file, which `fingerprint.pb` calls the checkpoint's hash.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Refuses shards that were not fetched. TensorFlow writes a shard exactly as long as its tensors, so only other
    /// shards are read.
    fn check_stand_ins(&self) -> Result<()> {
        let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
        for part in self.entries.iter().flat_map(|entry| &entry.parts) {
            let end = ends.entry(part.shard).or_default();
            *end = (*end).max(part.offset.saturating_add(part.bytes));
        }
        for (shard, end) in ends {
            let path = shard_path(&self.prefix, shard, self.num_shards);
            let Some(length) = self.shard_length(&path)?.filter(|length| *length != end) else { continue };
            let mut begin = vec![0; stand_in::BEGINNING.min(usize::try_from(length).unwrap_or(usize::MAX))];
            // An unreadable shard is an error when it is read.
            if self.open_shard(shard)?.read_exact_at(&mut begin, 0).is_ok() {
                stand_in::check(&path, &begin)?;
            }
        }
        Ok(())
    }

    /// Checks that every shard with a tensor exists and is long enough for it.
    pub(super) fn check_shards(&self) -> Result<()> {
        self.check_stand_ins()?;
        let mut lengths = BTreeMap::new();
        for entry in &self.entries {
            for part in &entry.parts {
                let path = || shard_path(&self.prefix, part.shard, self.num_shards);
                let length = match lengths.get(&part.shard) {
                    Some(length) => *length,
                    None => {
                        let Some(length) = self.shard_length(&path())? else {
                            return Err(Error::damaged(path(), "it is missing: the checkpoint has this shard"));
                        };
                        lengths.insert(part.shard, length);
                        length
                    }
                };
                if part.offset.checked_add(part.bytes).is_none_or(|end| end > length) {
                    let (bytes, offset) = (part.bytes, part.offset);
                    let key = &entry.key;
                    let reason =
                        format!("it has {length} bytes, too few for the {bytes} bytes of `{key}` at offset {offset}");
                    return Err(Error::damaged(path(), reason));
                }
            }
        }
        Ok(())
    }
}

/// The index file of the checkpoint with this prefix: `PREFIX.index`.
#[must_use]
pub fn index_path(prefix: &Path) -> PathBuf {
    with_suffix(prefix, ".index")
}

/// A shard of the checkpoint with this prefix: `PREFIX.data-00000-of-00001`.
#[must_use]
pub fn shard_path(prefix: &Path, shard: u32, num_shards: u32) -> PathBuf {
    with_suffix(prefix, &format!(".data-{shard:05}-of-{num_shards:05}"))
}

fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(prefix);
    path.push(suffix);
    path.into()
}

/// A tensor with its parts. Those of a partitioned tensor are taken out of `parts`.
fn join(key: String, entry: RawEntry, parts: &mut BTreeMap<Vec<u8>, RawEntry>) -> Result<Entry, String> {
    let RawEntry { dtype, shape, part, slices } = entry;
    if slices.is_empty() {
        return Ok(Entry { key, dtype, shape, parts: vec![part] });
    }
    let mut take = |slice: Slice| {
        let stored = parts.remove(&slice.key(&key)).ok_or_else(|| format!("a slice of `{key}` is missing"))?;
        if stored.dtype != dtype || Some(&stored.shape) != slice.shape_in(&shape).as_ref() {
            return Err(format!("a slice of `{key}` does not fit its dtype and shape"));
        }
        Ok(Part { slice: Some(slice), ..stored.part })
    };
    let parts = slices.into_iter().map(&mut take).collect::<Result<Vec<_>, String>>()?;
    Ok(Entry { key, dtype, shape, parts })
}

/// `BundleHeaderProto`, under the empty key.
struct Header {
    num_shards: i64,
    endianness: i64,
    min_consumer: i64,
}

impl Header {
    fn read(message: &[u8]) -> Result<Self, String> {
        let mut header = Self { num_shards: 0, endianness: 0, min_consumer: 0 };
        for field in try_fields(message) {
            match field.map_err(|error| format!("its header: {error}"))? {
                (1, Value::Varint(value)) => header.num_shards = value.cast_signed(),
                (2, Value::Varint(value)) => header.endianness = value.cast_signed(),
                (3, Value::Bytes(version)) => {
                    for field in try_fields(version) {
                        if let (2, Value::Varint(value)) = field.map_err(|error| format!("its header: {error}"))? {
                            header.min_consumer = value.cast_signed();
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(header)
    }

    /// The number of shards, if this reader can read what follows.
    fn check(&self, path: &Path) -> Result<u32> {
        let unsupported = |reason: String| Err(Error::Unsupported { path: path.to_path_buf(), reason, hint: None });
        if self.endianness != 0 {
            return unsupported("it was written on a big-endian machine".into());
        }
        if self.min_consumer > FORMAT_VERSION {
            let needed = self.min_consumer;
            return unsupported(format!("it needs a reader of format {needed}, and this is one of {FORMAT_VERSION}"));
        }
        u32::try_from(self.num_shards)
            .ok()
            .filter(|count| (1..=MAX_SHARDS).contains(&u64::from(*count)))
            .ok_or_else(|| Error::damaged(path, format!("it has {} shards", self.num_shards)))
    }
}

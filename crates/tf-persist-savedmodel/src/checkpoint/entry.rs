//! One tensor of a checkpoint, as the index describes it.

use tf_persist_proto::wire::{Value, WireError, try_fields};

use super::slice::Slice;
use crate::dtype::DType;
use crate::shape::{MAX_RANK, element_count};

/// A tensor of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name in the checkpoint: the variable's name in TensorFlow 1, the path through the object graph in TensorFlow
    /// 2.
    pub key: String,
    /// The element type.
    pub dtype: DType,
    /// The sizes of the dimensions; of the whole tensor, if it is partitioned.
    pub shape: Vec<usize>,
    /// Where its bytes are: one part, unless it is partitioned.
    pub parts: Vec<Part>,
}

/// A run of bytes in a shard that holds a tensor, or a slice of one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Which slice of the tensor this is; `None` if it is all of it.
    pub slice: Option<Slice>,
    /// The number of the shard, from 0.
    pub shard: u32,
    /// The offset of the bytes in the shard.
    pub offset: u64,
    /// The number of bytes.
    pub bytes: u64,
    /// Their checksum: CRC-32C, masked as LevelDB does it.
    pub crc32c: u32,
}

impl Entry {
    /// The bytes of all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.bytes))
    }

    /// Whether the tensor is stored in slices, as TensorFlow 1's partitioned variables are.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.parts.iter().any(|part| part.slice.is_some())
    }
}

/// A `BundleEntryProto` of the index.
pub(super) struct RawEntry {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) part: Part,
    /// The slices in which the tensor is stored; each has an entry of its own, and this one has no bytes.
    pub(super) slices: Vec<Slice>,
}

impl RawEntry {
    /// Reads and checks an entry by itself.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn read(message: &[u8]) -> Result<Self, String> {
        let mut number = 0;
        let mut shape = Vec::new();
        let mut slices = Vec::new();
        let (mut shard, mut offset, mut size, mut crc32c) = (0, 0, 0, 0);
        for field in try_fields(message) {
            match field.map_err(text)? {
                (1, Value::Varint(value)) => number = value.cast_signed(),
                (2, Value::Bytes(bytes)) => shape = read_shape(bytes)?,
                (3, Value::Varint(value)) => shard = value,
                (4, Value::Varint(value)) => offset = value,
                (5, Value::Varint(value)) => size = value,
                (6, Value::Fixed32(value)) => crc32c = value,
                (7, Value::Bytes(bytes)) => slices.push(Slice::read(bytes)?),
                _ => {}
            }
        }
        let dtype = DType::from_number(i32::try_from(number).unwrap_or(i32::MAX));
        if dtype == DType::Invalid {
            return Err("it has no dtype".into());
        }
        let shard = u32::try_from(shard).map_err(|_| format!("it is in shard {}", shard.cast_signed()))?;
        if offset.cast_signed() < 0 || size.cast_signed() < 0 {
            let (offset, size) = (offset.cast_signed(), size.cast_signed());
            return Err(format!("it has {size} bytes at offset {offset}"));
        }
        let part = Part { slice: None, shard, offset, bytes: size, crc32c };
        let entry = Self { dtype, shape, part, slices };
        if entry.slices.is_empty() {
            entry.check_size()?;
        }
        Ok(entry)
    }

    /// The number of bytes must match dtype and shape. A string takes at least one byte, for its length.
    fn check_size(&self) -> Result<(), String> {
        let count = element_count(&self.shape).map_err(|error| error.to_string())? as u64;
        let bytes = self.part.bytes;
        match (self.dtype, self.dtype.size()) {
            (_, Some(size)) if count.checked_mul(size as u64) != Some(bytes) => {
                Err(format!("{} of shape {:?} cannot have {bytes} bytes", self.dtype, self.shape))
            }
            (DType::String, _) if count > bytes => {
                Err(format!("{count} strings cannot have {bytes} bytes with their lengths"))
            }
            _ => Ok(()),
        }
    }
}

/// A `TensorShapeProto` in which every size is known.
fn read_shape(message: &[u8]) -> Result<Vec<usize>, String> {
    let mut shape = Vec::new();
    for field in try_fields(message) {
        match field.map_err(text)? {
            (2, Value::Bytes(dimension)) => {
                if shape.len() == MAX_RANK {
                    return Err(format!("its rank is above TensorFlow's limit of {MAX_RANK}"));
                }
                let mut size = 0_u64;
                for field in try_fields(dimension) {
                    if let (1, Value::Varint(value)) = field.map_err(text)? {
                        size = value;
                    }
                }
                let size = i64::try_from(size).ok().and_then(|size| usize::try_from(size).ok());
                shape.push(size.ok_or("one of its dimensions has no size")?);
            }
            (3, Value::Varint(1..)) => return Err("its rank is unknown".into()),
            _ => {}
        }
    }
    Ok(shape)
}

fn text(error: WireError) -> String {
    error.to_string()
}

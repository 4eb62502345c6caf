//! Mutable hash tables whose keys and values are in a model's checkpoint.

use std::collections::BTreeMap;

use super::declared::{Declared, TableTensors};
use crate::checkpoint::{CheckpointIndex, CheckpointReader, Entry};
use crate::dtype::DType;
use crate::error::Result;
use crate::saved_model::SavedModel;
use crate::tensor::{Strings, Tensor};

/// The suffixes of a table's tensors.
const ENDS: (&str, &str) = ("-keys", "-values");

/// The suffix that TensorFlow 2 appends to a table's path through the object graph.
const TABLE_SUFFIX: &str = "/.ATTRIBUTES/table";

/// The most bytes of a dense table's keys that are read to count its entries.
const MAX_COUNTED_BYTES: u64 = 16 << 20;

/// A mutable table as it was saved.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Table {
    /// Its name: its key without TensorFlow 2's suffix.
    pub name: String,
    /// The entry of its keys in the checkpoint.
    pub keys: Entry,
    /// The entry of its values, with as many rows as the keys.
    pub values: Entry,
    /// The empty and deleted keys of a dense table.
    unused: Option<Vec<Tensor>>,
}

/// The entries of a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TableContents {
    /// A row for each entry.
    pub keys: Tensor,
    /// The values of the same entries.
    pub values: Tensor,
}

impl Table {
    fn find(index: &CheckpointIndex, keys: &str, tensors: &TableTensors) -> Option<Self> {
        let name = keys.strip_suffix(ENDS.0).unwrap_or(keys);
        let name = name.strip_suffix(TABLE_SUFFIX).unwrap_or(name).to_owned();
        let (keys, values) = (index.get(keys)?.clone(), index.get(&tensors.values)?.clone());
        Some(Self { name, keys, values, unused: tensors.unused.clone() })
    }

    /// The bytes of keys and values in the checkpoint.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.keys.bytes().saturating_add(self.values.bytes())
    }

    /// The rows in the checkpoint: the entries, or the buckets of a dense table, some of which are empty.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.keys.shape.first().copied().unwrap_or_default()
    }

    /// Whether its rows are buckets, some of which are empty.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.unused.is_some()
    }

    /// The number of entries. It needs the keys of a dense table; `None` if they are too many or cannot be read.
    #[must_use]
    pub fn entries(&self, reader: &CheckpointReader) -> Option<usize> {
        if self.unused.is_none() {
            return Some(self.rows());
        }
        let keys = || reader.read(&self.keys.key).and_then(|keys| self.used(&keys)).ok();
        (self.keys.bytes() <= MAX_COUNTED_BYTES).then(keys).flatten().map(|used| used.len())
    }

    /// Reads the entries, in the arbitrary order of the checkpoint.
    ///
    /// # Errors
    /// Those of [`CheckpointReader::read`].
    pub fn read(&self, reader: &CheckpointReader) -> Result<TableContents> {
        let (keys, values) = (reader.read(&self.keys.key)?, reader.read(&self.values.key)?);
        if self.unused.is_none() {
            return Ok(TableContents { keys, values });
        }
        let used = self.used(&keys)?;
        Ok(TableContents { keys: pick(&keys, &used)?, values: pick(&values, &used)? })
    }

    /// The rows that are entries.
    fn used(&self, keys: &Tensor) -> Result<Vec<usize>> {
        let unused = self.unused.iter().flatten().map(|key| row_bytes(key, 0, 1)).collect::<Result<Vec<_>>>()?;
        let rows = self.rows();
        let mut used = Vec::new();
        for row in 0..rows {
            if !unused.contains(&row_bytes(keys, row, rows)?) {
                used.push(row);
            }
        }
        Ok(used)
    }
}

impl TableContents {
    /// The indices of the rows by their keys.
    pub(crate) fn by_key(&self) -> Result<BTreeMap<Vec<u8>, usize>> {
        let rows = self.keys.row_count().unwrap_or_default();
        (0..rows).map(|row| Ok((row_bytes(&self.keys, row, rows)?, row))).collect()
    }

    /// The values of some rows, in this order.
    pub(crate) fn values_of(&self, rows: &[usize]) -> Result<Tensor> {
        pick(&self.values, rows)
    }
}

/// The elements of a row as bytes; strings have their length in front.
fn row_bytes(tensor: &Tensor, row: usize, rows: usize) -> Result<Vec<u8>> {
    if tensor.dtype() != DType::String {
        let bytes = tensor.bytes()?;
        let size = bytes.len() / rows.max(1);
        return Ok(bytes.get(row * size..(row + 1) * size).unwrap_or_default().to_vec());
    }
    let strings = tensor.strings()?;
    let count = strings.len() / rows.max(1);
    let mut bytes = Vec::new();
    for string in (row * count..(row + 1) * count).filter_map(|index| strings.get(index)) {
        bytes.extend((string.len() as u64).to_le_bytes());
        bytes.extend(string);
    }
    Ok(bytes)
}

/// Some rows of a tensor, one after the other.
fn pick(tensor: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let all = tensor.row_count().unwrap_or_default();
    let mut shape = tensor.shape().to_vec();
    if let Some(first) = shape.first_mut() {
        *first = rows.len();
    }
    if tensor.dtype() == DType::String {
        let strings = tensor.strings()?;
        let count = strings.len() / all.max(1);
        let mut picked = Strings::with_capacity(rows.len() * count, 0);
        for row in rows {
            (row * count..(row + 1) * count).filter_map(|index| strings.get(index)).for_each(|it| picked.push(it));
        }
        return Tensor::from_string_array(&shape, picked);
    }
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend(row_bytes(tensor, *row, all)?);
    }
    Tensor::from_bytes(tensor.dtype(), &shape, &bytes)
}

/// The tables of a model in its checkpoint. The graph is only read if the checkpoint has tensors that could belong to a
/// table.
pub(super) fn tables(model: &SavedModel, index: &CheckpointIndex) -> Vec<Table> {
    let values_of = |keys: &Entry| {
        let values = index.get(&format!("{}{}", keys.key.strip_suffix(ENDS.0)?, ENDS.1))?;
        (keys.shape.first()? == values.shape.first()?).then_some(values)
    };
    let candidates: Vec<(&Entry, &Entry)> =
        index.entries.iter().filter_map(|entry| Some((entry, values_of(entry)?))).collect();
    if candidates.is_empty() {
        return Vec::new();
    }
    let declared = Declared::read(model).tables;
    let table = |(keys, values): &(&Entry, &Entry)| {
        // TensorFlow 2's keys are enough if the graph has an unknown form.
        let is_named = || keys.key.ends_with(&format!("{TABLE_SUFFIX}{}", ENDS.0));
        let undeclared = || is_named().then(|| TableTensors { values: values.key.clone(), unused: None });
        Table::find(index, &keys.key, &declared.get(&keys.key).cloned().or_else(undeclared)?)
    };
    candidates.iter().filter_map(table).collect()
}

/// The same tables in another checkpoint of the model; those that it lacks are left out.
pub(super) fn tables_in(index: &CheckpointIndex, tables: &[Table]) -> Vec<Table> {
    let again = |table: &Table| {
        let tensors = TableTensors { values: table.values.key.clone(), unused: table.unused.clone() };
        Table::find(index, &table.keys.key, &tensors)
    };
    tables.iter().filter_map(again).collect()
}

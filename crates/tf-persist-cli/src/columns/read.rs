//! Rows of a file of columns, in windows.

use std::path::Path;

use anyhow::{anyhow, bail};
use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema};
use tf_persist_core::{DType, Tensor, printable};

use super::guard::guarded;
use super::{Format, arrow_file, from_arrow, parquet_file};

/// Decoded record batches, one after the other.
pub(super) type Batches = Box<dyn Iterator<Item = anyhow::Result<RecordBatch>> + Send>;

/// An opened file, of which some columns are to be read.
pub(super) struct Opened {
    /// The columns that are read, in the order of the file.
    pub(super) schema: Schema,
    /// The names of the other columns.
    pub(super) others: Vec<String>,
    /// The number of rows, where the file says it.
    pub(super) rows: Option<usize>,
    pub(super) batches: Batches,
}

/// Reads some columns of a Parquet or Arrow file.
pub(crate) struct ColumnReader {
    source: String,
    columns: Vec<(String, DType, DataType)>,
    others: Vec<String>,
    rows: Option<usize>,
    batches: Batches,
    /// The batch that is being read, and its rows that were read.
    current: Option<(RecordBatch, usize)>,
    /// The rows that were read.
    done: usize,
}

impl ColumnReader {
    /// Opens a file to read the columns that `is_wanted` by their names, about `window` rows at a time.
    pub(crate) fn open(
        path: &Path,
        format: Format,
        window: usize,
        is_wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Self> {
        let source = path.display().to_string();
        let Opened { schema, others, rows, batches } = match format {
            Format::Parquet => parquet_file::open(path, window, is_wanted)?,
            Format::Arrow => arrow_file::open(path, is_wanted)?,
        };
        let mut columns: Vec<(String, DType, DataType)> = Vec::new();
        for field in schema.fields() {
            let (name, data_type) = (field.name(), field.data_type());
            let Some(dtype) = from_arrow::dtype(data_type) else {
                let name = printable(name);
                bail!("`{source}`, column `{name}`: elements of the type {data_type}, which no tensor has");
            };
            if columns.iter().any(|(other, ..)| other == name) {
                bail!("`{source}` has the column `{}` twice", printable(name));
            }
            columns.push((name.clone(), dtype, data_type.clone()));
        }
        Ok(Self { source, columns, others, rows, batches, current: None, done: 0 })
    }

    /// The names of the columns that are read, and the dtypes of their tensors.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, DType)> {
        self.columns.iter().map(|(name, dtype, _)| (name.as_str(), *dtype))
    }

    /// The names of the columns that are not read.
    pub(crate) fn others(&self) -> &[String] {
        &self.others
    }

    /// The number of rows, where the file says it.
    pub(crate) fn rows(&self) -> Option<usize> {
        self.rows
    }

    /// The next rows of each column: at most `count`, fewer only at the end, and none after it.
    pub(crate) fn read_rows(&mut self, count: usize) -> anyhow::Result<Vec<Tensor>> {
        let mut parts: Vec<Vec<Tensor>> = Vec::new();
        let mut read = 0;
        while read < count {
            let Some(part) = self.next_part(count - read)? else { break };
            let mut tensors = Vec::with_capacity(self.columns.len());
            for (index, (name, ..)) in self.columns.iter().enumerate() {
                let tensor = guarded(&self.source, || from_arrow::tensor(name, part.column(index), self.done))?;
                tensors.push(tensor);
            }
            read += part.num_rows();
            self.done += part.num_rows();
            parts.push(tensors);
        }
        if let (0, Some(rows)) = (read, self.rows)
            && count > 0
            && rows != self.done
        {
            bail!("`{}` is damaged: it has {} rows, and says that it has {rows}", self.source, self.done);
        }
        let mut all = Vec::with_capacity(self.columns.len());
        for (index, (name, _, data_type)) in self.columns.iter().enumerate() {
            let tensors: Vec<&Tensor> = parts.iter().map(|part| &part[index]).collect();
            let tensor = match tensors.as_slice() {
                [] => from_arrow::tensor(name, &arrow_array::new_empty_array(data_type), 0)?,
                tensors => Tensor::concatenate(tensors).map_err(|_| {
                    let name = printable(name);
                    let before = format!("before row {}", self.done);
                    anyhow!("`{}`, column `{name}`: lists of different lengths {before}", self.source)
                })?,
            };
            all.push(tensor);
        }
        Ok(all)
    }

    /// The next rows of one record batch, at most `count`; `None` at the end.
    fn next_part(&mut self, count: usize) -> anyhow::Result<Option<RecordBatch>> {
        loop {
            if let Some((batch, start)) = &mut self.current {
                let length = count.min(batch.num_rows() - *start);
                if length > 0 {
                    let part = batch.slice(*start, length);
                    *start += length;
                    return Ok(Some(part));
                }
            }
            let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
            if batch.num_columns() != self.columns.len() {
                bail!("`{}` is damaged: a part of it has other columns", self.source);
            }
            self.current = Some((batch, 0));
        }
    }
}

//! Files of rows.

use std::io::Read;
use std::path::Path;

use tf_persist_core::tensor::npy::ArrayReader;
use tf_persist_core::warmup::tfrecord::Reader;
use tf_persist_core::{DType, SignatureDef, Tensor};

use super::super::examples;
use crate::columns::{self, ColumnReader};
use crate::inputs::{column_rows, open_columns};

/// Reads the rows of one or more columns in windows.
pub(super) trait ReadRows: Send {
    /// Reads the next rows of each column: at most `count`, fewer only at the end, and none after it.
    fn read_rows(&mut self, count: usize) -> anyhow::Result<Vec<Tensor>>;
}

/// A column of a source: the rows of one input.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// The input.
    pub(super) name: String,
    /// The dtype in the file.
    pub(super) dtype: DType,
}

/// An open file, or an array of one.
pub(super) struct Source {
    /// Its name in errors.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The number of rows, where the file says it.
    pub(super) rows: Option<usize>,
    pub(super) reader: Box<dyn ReadRows>,
}

impl Source {
    /// An array of numpy's, which has at least one dimension.
    pub(super) fn array<R: Read + Send + 'static>(input: String, array: ArrayReader<R>) -> Self {
        let columns = vec![Column { name: input, dtype: array.dtype() }];
        let rows = array.shape().first().copied();
        Self { name: array.source().to_owned(), columns, rows, reader: Box::new(array) }
    }

    /// A file of columns, to be read `window` rows at a time.
    pub(super) fn columns(
        path: &Path,
        format: columns::Format,
        window: usize,
        signature: &SignatureDef,
    ) -> anyhow::Result<Self> {
        let reader = open_columns(signature, path, format, window)?;
        let columns = reader.columns().map(|(name, dtype)| Column { name: name.to_owned(), dtype }).collect();
        let rows = reader.rows();
        let reader = Box::new(Columns { reader, signature: signature.clone() });
        Ok(Self { name: path.display().to_string(), columns, rows, reader })
    }

    /// A file of records, which are strings.
    pub(super) fn records(input: String, path: &Path, signature: &SignatureDef) -> anyhow::Result<Self> {
        let has_column = examples::has_column(signature, &input);
        let reader = Box::new(Records { reader: Reader::open(path)?, has_column });
        let columns = vec![Column { name: input, dtype: DType::String }];
        Ok(Self { name: path.display().to_string(), columns, rows: None, reader })
    }
}

/// The columns of a file that are inputs.
struct Columns {
    reader: ColumnReader,
    signature: SignatureDef,
}

impl ReadRows for Columns {
    fn read_rows(&mut self, count: usize) -> anyhow::Result<Vec<Tensor>> {
        let rows = self.reader.read_rows(count)?;
        let columns = self.reader.columns().zip(rows);
        columns.map(|((name, _), rows)| column_rows(&self.signature, name, rows)).collect()
    }
}

/// The records of a TFRecord file.
struct Records {
    reader: Reader<Box<dyn Read + Send>>,
    has_column: bool,
}

impl ReadRows for Records {
    fn read_rows(&mut self, count: usize) -> anyhow::Result<Vec<Tensor>> {
        Ok(vec![examples::read_records(&mut self.reader, count, self.has_column)?])
    }
}

impl<R: Read + Send> ReadRows for ArrayReader<R> {
    fn read_rows(&mut self, count: usize) -> anyhow::Result<Vec<Tensor>> {
        Ok(vec![ArrayReader::read_rows(self, count)?])
    }
}

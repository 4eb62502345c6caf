//! Parquet and Arrow IPC files: a column is an input or an output, a row a row of it.
//!
//! Both formats become Arrow's record batches, and these become tensors. A list in a cell is a further dimension, so
//! all lists of a column have the same length. The files may come from strangers: lengths that they claim are compared
//! with what there is, and a panic of a decoder is an error about the file (`guard.rs`).

mod arrow_file;
mod from_arrow;
mod guard;
mod parquet_file;
mod parquet_zstd;
mod read;
mod to_arrow;
mod write;

use std::path::Path;

pub(crate) use read::ColumnReader;
pub(crate) use to_arrow::check;
pub(crate) use write::ColumnWriter;

/// A format of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Arrow's IPC file, which is also version 2 of Feather.
    Arrow,
}

impl Format {
    /// The format that the ending of a name tells.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "parquet" => Some(Self::Parquet),
            "arrow" | "feather" => Some(Self::Arrow),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

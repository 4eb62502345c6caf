//! Writes columns.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use tf_persist_core::{DType, Tensor};

use super::{Format, to_arrow};

/// A row group of Parquet is written when it has about this many bytes, which are in memory until then.
const ROW_GROUP: usize = 64 << 20;

/// An output: its name, its dtype, the shape of its rows, and whether all of its strings are UTF-8.
pub(crate) type Output<'a> = (&'a str, DType, &'a [usize], bool);

/// Writes a Parquet or an Arrow file in windows of rows.
pub(crate) struct ColumnWriter<W: Write + Send> {
    target: PathBuf,
    schema: SchemaRef,
    form: Form<W>,
}

enum Form<W: Write + Send> {
    Parquet(Box<ArrowWriter<W>>),
    Arrow(Box<FileWriter<W>>),
}

impl<W: Write + Send> ColumnWriter<W> {
    /// Starts a file with these columns. Errors name `target`.
    pub(crate) fn new<'a>(
        target: &Path,
        format: Format,
        writer: W,
        outputs: impl IntoIterator<Item = Output<'a>>,
    ) -> anyhow::Result<Self> {
        let fields =
            outputs.into_iter().map(|(name, dtype, shape, is_text)| to_arrow::field(name, dtype, shape, is_text));
        let schema = Arc::new(Schema::new(fields.collect::<anyhow::Result<Vec<_>>>()?));
        let writing = || format!("cannot write `{}`", target.display());
        let form = match format {
            Format::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                let writer = ArrowWriter::try_new(writer, Arc::clone(&schema), Some(properties));
                Form::Parquet(Box::new(writer.with_context(writing)?))
            }
            Format::Arrow => Form::Arrow(Box::new(FileWriter::try_new(writer, &schema).with_context(writing)?)),
        };
        Ok(Self { target: target.to_path_buf(), schema, form })
    }

    /// Writes the next rows of all columns.
    pub(crate) fn write<'a>(&mut self, rows: impl IntoIterator<Item = &'a Tensor>) -> anyhow::Result<()> {
        let columns = rows.into_iter().zip(self.schema.fields());
        let columns = columns.map(|(tensor, field)| to_arrow::array(tensor, field.data_type()));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<anyhow::Result<Vec<_>>>()?)?;
        let written = match &mut self.form {
            Form::Parquet(writer) => {
                let written = writer.write(&batch);
                let is_full = writer.in_progress_size() >= ROW_GROUP;
                let written = written.and_then(|()| if is_full { writer.flush() } else { Ok(()) });
                written.map_err(|error| anyhow!("{error}"))
            }
            Form::Arrow(writer) => writer.write(&batch).map_err(|error| anyhow!("{error}")),
        };
        written.with_context(|| format!("cannot write `{}`", self.target.display()))
    }

    /// Writes the end of the file; returns the writer.
    pub(crate) fn finish(self) -> anyhow::Result<W> {
        let writing = || format!("cannot write `{}`", self.target.display());
        match self.form {
            Form::Parquet(writer) => writer.into_inner().map_err(|error| anyhow!("{error}")).with_context(writing),
            Form::Arrow(writer) => writer.into_inner().map_err(|error| anyhow!("{error}")).with_context(writing),
        }
    }
}

//! Parquet files.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::Compression;
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::guard::guarded;
use super::parquet_zstd::ZstdPages;
use super::read::Opened;

/// The decoder reserves memory for so many rows.
const MAX_WINDOW: usize = 8192;

pub(super) fn open(path: &Path, window: usize, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<Opened> {
    let source = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open `{source}`"))?;
    let length = file.metadata().with_context(|| format!("cannot read `{source}`"))?.len();
    let file = Arc::new(Chunks { file: Arc::new(file), length });
    guarded(&source.clone(), || -> anyhow::Result<Opened> {
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&*file)?;
        let rows = usize::try_from(metadata.file_metadata().num_rows()).map_err(|_| anyhow!("it claims -1 rows"))?;
        let descriptor = metadata.file_metadata().schema_descr_ptr();
        let (mut wanted, mut others) = (Vec::new(), Vec::new());
        for (index, field) in descriptor.root_schema().get_fields().iter().enumerate() {
            if is_wanted(field.name()) { wanted.push(index) } else { others.push(field.name().to_owned()) }
        }
        let mask = ProjectionMask::roots(&descriptor, wanted);
        // Without the Arrow schema that writers embed: the types that are left are fewer.
        let levels = parquet_to_arrow_field_levels(&descriptor, mask, None)?;
        let groups = Groups { file, metadata: Arc::new(metadata) };
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &groups, window.min(MAX_WINDOW), None)?;
        let schema = Schema::clone(&reader.schema());
        let batches = Box::new(Batches { source, reader: Some(reader) });
        Ok(Opened { schema, others, rows: Some(rows), batches })
    })
}

/// The record batches of a file. After an error there are no more.
struct Batches {
    source: String,
    reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for Batches {
    type Item = anyhow::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let batch = guarded(&self.source, || reader.next().transpose().map_err(|error: ArrowError| anyhow!("{error}")));
        if !matches!(batch, Ok(Some(_))) {
            self.reader = None;
        }
        batch.transpose()
    }
}

/// A file of which only parts that exist are read.
struct Chunks {
    file: Arc<File>,
    length: u64,
}

/// The bytes of a file from an offset on.
struct From {
    file: Arc<File>,
    offset: u64,
}

impl Read for From {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<From>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(BufReader::new(From { file: Arc::clone(&self.file), offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF("a part of it lies outside of it".to_owned()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// All row groups of a file.
#[derive(Clone)]
struct Groups {
    file: Arc<Chunks>,
    metadata: Arc<ParquetMetaData>,
}

impl RowGroups for Groups {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        Ok(Box::new(ColumnChunks { groups: self.clone(), column, next: 0 }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The chunks of one column, one in each row group.
struct ColumnChunks {
    groups: Groups,
    column: usize,
    next: usize,
}

impl ColumnChunks {
    fn open(&self, group: &RowGroupMetaData) -> Result<Box<dyn PageReader>> {
        let missing = || ParquetError::General("a row group lacks a column".to_owned());
        let chunk = group.columns().get(self.column).ok_or_else(missing)?;
        let rows = usize::try_from(group.num_rows())?;
        let file = Arc::clone(&self.groups.file);
        let Compression::ZSTD(_) = chunk.compression() else {
            return Ok(Box::new(SerializedPageReader::new(file, chunk, rows, None)?));
        };
        // The pages as they are in the file.
        let plain = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        Ok(Box::new(ZstdPages::new(SerializedPageReader::new(file, &plain, rows, None)?)))
    }
}

impl Iterator for ColumnChunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.groups.metadata.row_groups().get(self.next)?;
        self.next += 1;
        Some(self.open(group))
    }
}

impl PageIterator for ColumnChunks {}

//! Arrow's IPC files.
//!
//! The record batches are found by the footer. Their places and lengths, and the sizes that compressed buffers claim,
//! are compared with the file before the decoder sees them: it allocates what it is told, and ends the process where it
//! cannot.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, CompressionType, MessageHeader, root_as_footer, root_as_message};
use arrow_schema::Schema;

use super::guard::guarded;
use super::read::Opened;

/// The first bytes of a file; a stream has none.
const MAGIC: &[u8; 6] = b"ARROW1";

/// The length of the footer, and the magic bytes.
const TRAILER: usize = 10;

/// LZ4 cannot make more of a byte.
const MAX_LZ4_RATIO: u64 = 255;

/// The bytes of a frame that are not data.
const LZ4_FRAME: u64 = 1 << 10;

/// The columns that are read: their indices and their names, and the names of the others.
fn project(schema: &Schema, is_wanted: impl Fn(&str) -> bool) -> (Vec<usize>, Vec<String>) {
    let (mut wanted, mut others) = (Vec::new(), Vec::new());
    for (index, field) in schema.fields().iter().enumerate() {
        if is_wanted(field.name()) { wanted.push(index) } else { others.push(field.name().clone()) }
    }
    (wanted, others)
}

pub(super) fn open(path: &Path, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<Opened> {
    let source = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open `{source}`"))?;
    let length = file.metadata().with_context(|| format!("cannot read `{source}`"))?.len();
    let mut start = [0; MAGIC.len()];
    if length < (MAGIC.len() + TRAILER) as u64 || file.read_exact_at(&mut start, 0).is_err() || start != *MAGIC {
        if start.starts_with(&[0xff; 4]) {
            bail!("`{source}` is a stream of Arrow: write it as a file, with `pyarrow.ipc.new_file`");
        }
        bail!("`{source}` is not an Arrow file");
    }
    let mut reader = ArrowFile { source, file, length, decoder: None, blocks: Vec::new(), next: 0 };
    let source = reader.source.clone();
    let (schema, others) = guarded(&source, || reader.read_footer(is_wanted))?;
    Ok(Opened { schema, others, rows: None, batches: Box::new(reader) })
}

/// An open file.
struct ArrowFile {
    source: String,
    file: File,
    length: u64,
    decoder: Option<FileDecoder>,
    blocks: Vec<Block>,
    next: usize,
}

impl ArrowFile {
    fn read_footer(&mut self, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<(Schema, Vec<String>)> {
        let mut trailer = [0; TRAILER];
        let end = self.length - TRAILER as u64;
        self.file.read_exact_at(&mut trailer, end)?;
        let footer_length = read_footer_length(trailer)?;
        let start = end.checked_sub(footer_length as u64).ok_or_else(|| anyhow!("its footer is cut off"))?;
        let mut bytes = vec![0; footer_length];
        self.file.read_exact_at(&mut bytes, start)?;
        let footer = root_as_footer(&bytes).map_err(|error| anyhow!("its footer is damaged: {error}"))?;
        let schema = footer.schema().ok_or_else(|| anyhow!("its footer has no schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            bail!("its numbers are big-endian");
        }
        let schema = Arc::new(arrow_ipc::convert::try_fb_to_schema(schema)?);
        let (wanted, others) = project(&schema, is_wanted);
        let read = schema.project(&wanted)?;
        let mut decoder = FileDecoder::new(Arc::clone(&schema), footer.version()).with_projection(wanted);
        for block in footer.dictionaries().iter().flatten() {
            let buffer = self.read_block(block)?;
            decoder.read_dictionary(block, &buffer)?;
        }
        self.blocks = footer.recordBatches().iter().flatten().copied().collect();
        self.decoder = Some(decoder);
        Ok((read, others))
    }

    /// Reads a block whose place and sizes are possible.
    fn read_block(&self, block: &Block) -> anyhow::Result<Buffer> {
        let damaged = || anyhow!("a part of it lies outside of it");
        let offset = u64::try_from(block.offset()).map_err(|_| damaged())?;
        let metadata = usize::try_from(block.metaDataLength()).map_err(|_| damaged())?;
        let body = u64::try_from(block.bodyLength()).map_err(|_| damaged())?;
        let length = body.checked_add(metadata as u64).ok_or_else(damaged)?;
        if offset.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(damaged());
        }
        let mut bytes = vec![0; usize::try_from(length)?];
        self.file.read_exact_at(&mut bytes, offset)?;
        check_sizes(&bytes, metadata)?;
        Ok(Buffer::from_vec(bytes))
    }

    fn read_next(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        let (Some(block), Some(decoder)) = (self.blocks.get(self.next), &self.decoder) else { return Ok(None) };
        let batch = decoder.read_record_batch(block, &self.read_block(block)?)?;
        self.next += 1;
        batch.map(Some).ok_or_else(|| anyhow!("a part of it has no rows"))
    }
}

impl Iterator for ArrowFile {
    type Item = anyhow::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let source = self.source.clone();
        guarded(&source, || self.read_next()).transpose()
    }
}

/// Refuses compressed buffers that claim to become larger than they can.
fn check_sizes(bytes: &[u8], metadata: usize) -> anyhow::Result<()> {
    /// The prefix of a message, in files since 2019: a marker before its length.
    const MARKER: [u8; 4] = [0xff; 4];
    let damaged = || anyhow!("the head of a part of it is damaged");
    let head = bytes.get(..metadata).ok_or_else(damaged)?;
    let prefix = if head.starts_with(&MARKER) { 2 * MARKER.len() } else { MARKER.len() };
    let message = root_as_message(head.get(prefix..).ok_or_else(damaged)?).map_err(|_| damaged())?;
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    let Some(batch) = batch else { return Ok(()) };
    let Some(compression) = batch.compression() else { return Ok(()) };
    if compression.codec() == CompressionType::ZSTD {
        bail!("it is compressed by zstd, which is not supported (expected lz4 or none)");
    }
    for buffer in batch.buffers().iter().flatten() {
        let (start, length) = (usize::try_from(buffer.offset())?, usize::try_from(buffer.length())?);
        let start = metadata.checked_add(start).ok_or_else(damaged)?;
        let compressed = start.checked_add(length).and_then(|end| bytes.get(start..end)).ok_or_else(damaged)?;
        let Some(claimed) = compressed.first_chunk::<8>() else { continue };
        // -1 marks a buffer that is not compressed.
        let claimed = i64::from_le_bytes(*claimed);
        if claimed > 0 && claimed as u64 > MAX_LZ4_RATIO * compressed.len() as u64 + LZ4_FRAME {
            bail!("a compressed part of {} bytes claims to have {claimed}", compressed.len());
        }
    }
    Ok(())
}

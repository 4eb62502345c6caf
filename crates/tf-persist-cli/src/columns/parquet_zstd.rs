//! Pages of Parquet that are compressed by zstd.
//!
//! The crate parquet reads them with the C library zstd, of which TensorFlow has a copy in the same process. Here, the
//! page reader is told that pages are not compressed, and the decoder in Rust is put behind it.

use std::io::Read;

use bytes::Bytes;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use ruzstd::decoding::StreamingDecoder;

/// The largest page. Writers make pages of about 1 MB; their lengths have 31 bits.
const MAX_PAGE: u64 = i32::MAX as u64;

/// Decompresses the pages of another reader.
pub(super) struct ZstdPages<P> {
    pages: P,
}

impl<P: PageReader> ZstdPages<P> {
    pub(super) fn new(pages: P) -> Self {
        Self { pages }
    }
}

impl<P: PageReader> Iterator for ZstdPages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl<P: PageReader> PageReader for ZstdPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.pages.get_next_page()? else { return Ok(None) };
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = decompressed(buf, 0)?,
            // The levels before the values are not compressed.
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed: true, .. } => {
                *buf = decompressed(buf, *def_levels_byte_len as usize + *rep_levels_byte_len as usize)?;
            }
            Page::DataPageV2 { .. } => {}
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }
}

/// The bytes before `plain` as they are, and those after it decompressed.
fn decompressed(page: &Bytes, plain: usize) -> Result<Bytes> {
    let failed = |error: &dyn std::fmt::Display| ParquetError::General(format!("a page is damaged: {error}"));
    if plain > page.len() {
        return Err(failed(&"its levels are longer than it is"));
    }
    let (levels, mut compressed) = page.split_at(plain);
    let mut bytes = levels.to_vec();
    while !compressed.is_empty() {
        let decoder = StreamingDecoder::new(&mut compressed).map_err(|error| failed(&error))?;
        let left = MAX_PAGE - bytes.len() as u64;
        decoder.take(left + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        if bytes.len() as u64 > MAX_PAGE {
            return Err(failed(&"it is too large"));
        }
    }
    Ok(bytes.into())
}

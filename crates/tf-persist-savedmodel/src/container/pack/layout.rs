//! Every byte of a pack outside of the files' contents, as a function of names, lengths and checksums.
//!
//! Packs are written with these functions, and read by comparing: a pack that differs from what would have been written
//! is refused. So two readers cannot understand a pack in different ways.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14 to 4.3.16
//! (end) and 4.5.3 (ZIP64).

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::name::SUMS;

/// Contents begin at multiples of this, so that they can be mapped and viewed as numbers.
pub(super) const ALIGNMENT: u64 = 64;

/// The end record without its comment.
pub(super) const END_BYTES: usize = 22;
/// ZIP64's end record and the locator that leads to it.
pub(super) const END64_BYTES: usize = 56 + 20;
/// The beginning of the comment in every version of the format. The version follows.
pub(super) const MAGIC: &str = "tfpack ";
/// The comment without the digest.
pub(super) const COMMENT_HEAD: &str = "tfpack 1 sha256=";
/// A SHA-256 as text.
pub(super) const DIGEST_BYTES: usize = 64;
/// The comment of the archive.
pub(super) const COMMENT_BYTES: usize = COMMENT_HEAD.len() + DIGEST_BYTES;
/// The fixed part of a record of the central directory.
pub(super) const RECORD_BYTES: usize = 46;
/// The offset of the checksum in a local header.
pub(super) const CRC_OFFSET: u64 = 14;

const LOCAL: u32 = 0x0403_4b50;
pub(super) const RECORD: u32 = 0x0201_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
pub(super) const END: u32 = 0x0605_4b50;

/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// Midnight of 1 January 1980, the earliest time.
const TIME_AND_DATE: u32 = 0x0021_0000;
/// Unix attributes: a regular file that its owner may write and all may read.
const ATTRIBUTES: u32 = 0o100_644 << 16;
/// The attributes are Unix's.
const UNIX: u16 = 3 << 8;
/// The extra fields for large sizes, and for the bytes that align contents (as Android's `zipalign` has them).
const EXTRA_SIZES: u16 = 0x0001;
const EXTRA_ALIGNMENT: u16 = 0xd935;

/// The placeholder for a number that is in an extra field.
const ELSEWHERE: u32 = u32::MAX;

/// A file of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name with its folders, separated by `/`.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// The checksum that ZIP readers compare.
    pub crc32: u32,
    /// The digest of its contents.
    pub sha256: [u8; 32],
}

/// A number of 32 bits, or the mark that it is in an extra field.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(ELSEWHERE)
}

fn is_long(number: u64) -> bool {
    short(number) == ELSEWHERE
}

/// The version of ZIP that a reader needs.
fn needed(long: bool) -> u16 {
    if long { 45 } else { 20 }
}

/// Little-endian numbers, one after the other.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(&mut self, numbers: &[u16]) {
        numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
    }
    fn u32(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
    }
    fn u64(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|number| self.0.extend(number.to_le_bytes()));
    }
}

/// The header before a file's contents, which begins at `offset`. The contents after it are aligned.
pub(super) fn local_header(offset: u64, name: &str, length: u64, crc32: u32) -> Vec<u8> {
    let long = is_long(length);
    let mut extra = Bytes::default();
    if long {
        extra.u16(&[EXTRA_SIZES, 16]);
        extra.u64(&[length, length]);
    }
    let unaligned = offset.wrapping_add((30 + name.len() + extra.0.len() + 6) as u64);
    // Less than 64.
    let zeros = (unaligned.wrapping_neg() % ALIGNMENT) as u16;
    extra.u16(&[EXTRA_ALIGNMENT, 2 + zeros, ALIGNMENT as u16]);
    extra.0.resize(extra.0.len() + usize::from(zeros), 0);

    let mut header = Bytes::default();
    header.u32(&[LOCAL]);
    header.u16(&[needed(long), FLAGS, 0]);
    header.u32(&[TIME_AND_DATE, crc32, short(length), short(length)]);
    // Names are shorter than 64 KiB.
    header.u16(&[name.len() as u16, extra.0.len() as u16]);
    header.0.extend(name.as_bytes());
    header.0.extend(extra.0);
    header.0
}

/// The offsets of the headers of these files, and the end of the last contents; `None` if no file can be so long.
pub(super) fn offsets<'a>(files: impl IntoIterator<Item = (&'a str, u64)>) -> Option<(Vec<u64>, u64)> {
    let mut end = 0_u64;
    let mut offsets = Vec::new();
    for (name, length) in files {
        offsets.push(end);
        end = contents(end, name, length).checked_add(length)?;
        // So adding headers and table cannot overflow either.
        if end > u64::MAX / 2 {
            return None;
        }
    }
    Some((offsets, end))
}

/// The offset of the contents of a file whose header is at `offset`.
pub(super) fn contents(offset: u64, name: &str, length: u64) -> u64 {
    offset + local_header(offset, name, length, 0).len() as u64
}

/// A record of the central directory.
fn record(offset: u64, name: &str, length: u64, crc32: u32) -> Vec<u8> {
    let mut sizes = Bytes::default();
    if is_long(length) {
        sizes.u64(&[length, length]);
    }
    if is_long(offset) {
        sizes.u64(&[offset]);
    }
    let mut extra = Bytes::default();
    if !sizes.0.is_empty() {
        extra.u16(&[EXTRA_SIZES, sizes.0.len() as u16]);
        extra.0.extend(sizes.0);
    }
    let needed = needed(!extra.0.is_empty());
    let mut record = Bytes::default();
    record.u32(&[RECORD]);
    record.u16(&[UNIX | needed, needed, FLAGS, 0]);
    record.u32(&[TIME_AND_DATE, crc32, short(length), short(length)]);
    record.u16(&[name.len() as u16, extra.0.len() as u16, 0, 0, 0]);
    record.u32(&[ATTRIBUTES, short(offset)]);
    record.0.extend(name.as_bytes());
    record.0.extend(extra.0);
    record.0
}

/// The lines of the file with the checksums, as `sha256sum` writes them.
fn sums(entries: &[Entry]) -> String {
    let mut sums = String::new();
    for entry in entries {
        push_hex(&mut sums, &entry.sha256);
        sums.push_str("  ");
        sums.push_str(&entry.name);
        sums.push('\n');
    }
    sums
}

/// The bytes after the contents of the last file, which end at `start`: the file with the checksums, the central
/// directory, and the end record with the digest of both.
pub(super) fn table(entries: &[Entry], offsets: &[u64], start: u64) -> Vec<u8> {
    let sums = sums(entries);
    let (length, crc32) = (sums.len() as u64, crc32fast::hash(sums.as_bytes()));
    let mut table = Bytes(local_header(start, SUMS, length, crc32));
    table.0.extend(sums.as_bytes());

    let directory = start + table.0.len() as u64;
    for (entry, offset) in entries.iter().zip(offsets) {
        table.0.extend(record(*offset, &entry.name, entry.length, entry.crc32));
    }
    table.0.extend(record(start, SUMS, length, crc32));

    let end = start + table.0.len() as u64;
    let (count, size) = (entries.len() as u64 + 1, end - directory);
    let short_count = u16::try_from(count).unwrap_or(u16::MAX);
    if short_count == u16::MAX || is_long(size) || is_long(directory) {
        table.u32(&[END64]);
        table.u64(&[44]);
        table.u16(&[UNIX | 45, 45]);
        table.u32(&[0, 0]);
        table.u64(&[count, count, size, directory]);
        table.u32(&[LOCATOR64, 0]);
        table.u64(&[end]);
        table.u32(&[1]);
    }
    table.u32(&[END]);
    table.u16(&[0, 0, short_count, short_count]);
    table.u32(&[short(size), short(directory)]);
    table.u16(&[COMMENT_BYTES as u16]);
    table.0.extend(COMMENT_HEAD.as_bytes());
    let mut digest = String::new();
    push_hex(&mut digest, &Sha256::digest(&table.0));
    table.0.extend(digest.as_bytes());
    table.0
}

/// Appends bytes in hexadecimal digits.
#[doc(hidden)]
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    // Writing to a string cannot fail.
    bytes.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap_or_default());
}

//! Packs as written, and manipulated packs.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::layout::{COMMENT_BYTES, DIGEST_BYTES, END_BYTES, Entry, contents, local_header, offsets, push_hex, table};
use super::name::SUMS;
use super::{Pack, is_pack};
use crate::error::Error;

/// The files of these tests' packs.
const FILES: [(&str, &[u8]); 5] = [
    ("assets/empty.txt", b""),
    ("assets/words.txt", b"a\nb\n"),
    ("saved_model.pb", &[7; 1000]),
    ("variables/variables.data-00000-of-00001", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("variables/variables.index", &[9; 64]),
];

fn entry(name: &str, contents: &[u8]) -> Entry {
    let (length, crc32) = (contents.len() as u64, crc32fast::hash(contents));
    Entry { name: name.to_owned(), length, crc32, sha256: Sha256::digest(contents).into() }
}

/// A pack of these files in this order, whether that is allowed or not, and where its table begins.
fn pack(files: &[(&str, &[u8])]) -> (Vec<u8>, usize) {
    let entries: Vec<Entry> = files.iter().map(|(name, contents)| entry(name, contents)).collect();
    let (offsets, end) = offsets(entries.iter().map(|entry| (entry.name.as_str(), entry.length))).unwrap();
    let mut bytes = Vec::new();
    for ((entry, offset), (_, contents)) in entries.iter().zip(&offsets).zip(files) {
        bytes.extend(local_header(*offset, &entry.name, entry.length, entry.crc32));
        bytes.extend(*contents);
    }
    assert_eq!(bytes.len() as u64, end);
    bytes.extend(table(&entries, &offsets, end));
    (bytes, end as usize)
}

/// Gives a pack the digest of what its table is by now.
fn sign(bytes: &mut [u8], table: usize) {
    let end = bytes.len() - DIGEST_BYTES;
    let mut digest = String::new();
    push_hex(&mut digest, &Sha256::digest(&bytes[table..end]));
    bytes[end..].copy_from_slice(digest.as_bytes());
}

fn open(bytes: &[u8]) -> Result<Pack, Error> {
    Pack::from_bytes(Bytes::copy_from_slice(bytes))
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let error = open(bytes).unwrap_err();
    assert!(error.to_string().contains(why), "{error}");
    // A file is refused as bytes are.
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    assert!(Pack::open(file.path()).unwrap_err().to_string().contains(why));
}

/// A pack whose central directory and headers are changed, and whose digest is right.
#[track_caller]
fn refused_with(why: &str, change: impl FnOnce(&mut Vec<u8>, usize)) {
    let (mut bytes, table) = pack(&FILES);
    change(&mut bytes, table);
    sign(&mut bytes, table);
    refused(&bytes, why);
}

/// The first offset of this text, from an offset on.
fn find(bytes: &[u8], text: &[u8], from: usize) -> usize {
    from + bytes[from..].windows(text.len()).position(|window| window == text).unwrap()
}

#[test]
fn what_was_written_is_read() {
    let (bytes, _) = pack(&FILES);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    assert!(is_pack(file.path()));
    for pack in [open(&bytes).unwrap(), Pack::open(file.path()).unwrap()] {
        assert_eq!(pack.entries().len(), FILES.len());
        for (name, expected) in FILES {
            let number = pack.find(name).unwrap();
            assert_eq!(pack.contents(number).unwrap(), expected, "{name}");
            let mut buffer = [0; 2000];
            assert_eq!(pack.read_at(number, &mut buffer, 2).unwrap(), expected.len().saturating_sub(2), "{name}");
        }
        assert_eq!(pack.find("assets/./words.txt"), Some(1));
        assert_eq!(pack.find("words.txt"), None);
        assert!(pack.has_folder("assets") && !pack.has_folder("asset") && !pack.has_folder("saved_model.pb"));
    }
}

/// Readers of ZIP archives that know nothing of packs read them, and find contents aligned.
#[test]
fn a_pack_is_an_archive() {
    let (bytes, _) = pack(&FILES);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    assert_eq!(archive.len(), FILES.len() + 1);
    for (number, (name, expected)) in FILES.iter().enumerate() {
        let mut file = archive.by_index(number).unwrap();
        assert_eq!((file.name().unwrap().as_ref(), file.data_start().unwrap() % 64), (*name, 0));
        assert_eq!(file.unix_mode(), Some(0o100_644));
        let mut contents = Vec::new();
        file.read_to_end(&mut contents).unwrap();
        assert_eq!(contents, *expected);
    }
    let mut sums = String::new();
    archive.by_name(SUMS).unwrap().read_to_string(&mut sums).unwrap();
    assert_eq!(sums.lines().count(), FILES.len());
    assert!(sums.lines().next().unwrap().ends_with("  assets/empty.txt"));
}

#[test]
fn cut_short_anywhere_it_is_refused() {
    let (bytes, _) = pack(&FILES);
    for length in (0..bytes.len()).step_by(7).chain([0, 1, bytes.len() - 1]) {
        assert!(open(&bytes[..length]).is_err(), "{length}");
        assert!(open(&bytes[bytes.len() - length..]).is_err(), "{length}");
    }
    refused(b"", "cut short");
    refused(&bytes[..bytes.len() - 1], "cut short");
    let mut longer = bytes.clone();
    longer.push(0);
    refused(&longer, "cut short");
    // Something before it, which other readers of archives pass over.
    refused(&[b"#!/bin/sh\n", bytes.as_slice()].concat(), "end record");
}

/// No bit of a pack can be changed without being found out: on opening, or when the file is read that it is in.
#[test]
fn every_changed_byte_is_found() {
    let (bytes, _) = pack(&FILES);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let Ok(pack) = open(&changed) else { continue };
        let read = |number| pack.contents(number).map(drop);
        let error = (0..pack.entries().len()).find_map(|number| read(number).err());
        let error = error.unwrap_or_else(|| panic!("byte {at} was changed, and nobody noticed"));
        assert!(error.to_string().contains("checksum is wrong"), "{error}");
    }
}

#[test]
fn a_wrong_checksum_names_the_file() {
    let (mut bytes, table) = pack(&FILES);
    let at = find(&bytes, &[9; 64], 0);
    bytes[at] = 8;
    let error = open(&bytes).unwrap().contents(4).unwrap_err().to_string();
    assert_eq!(error, "`<memory>/variables/variables.index` is damaged: its checksum is wrong");
    // So does one in the table that is signed.
    let (mut bytes, _) = pack(&FILES);
    let at = find(&bytes, b"  saved_model.pb\n", table) - 1;
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    refused(&bytes, "the checksum of its table is wrong");
    // The file's own checksum in the archive has changed with it, and so it takes more to make it fit.
    sign(&mut bytes, table);
    refused(&bytes, "table is not what it would be");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../evil", "/etc/passwd", "a/../../b", "a\\b", "a\tb", "", "./a", "a/", "a//b", "SHA256SUMS"] {
        let (bytes, _) = pack(&[(name, b"x")]);
        refused(&bytes, "cannot be");
    }
    refused(&pack(&[("a", b"x"), ("a", b"y")]).0, "it comes twice");
    refused(&pack(&[("b", b"x"), ("a", b"y")]).0, "names are sorted");
    refused(&pack(&[("a", b"x"), ("a/b", b"y")]).0, "its folder is a file");
    refused_with("not UTF-8", |bytes, table| {
        let at = find(bytes, b"assets/words", find(bytes, b"PK\x01\x02", table));
        bytes[at] = 0xff;
    });
}

#[test]
fn what_only_other_archives_have_is_refused() {
    let record = |bytes: &[u8], table: usize, number: usize| {
        (0..=number).fold(table, |at, _| find(bytes, b"PK\x01\x02", at + 1))
    };
    let difference = "its table is not what it would be in a pack of these files";
    // Compressed; encrypted; a link; a date.
    for (at, value) in [(10, 8), (8, 1), (41, 0xa1), (12, 1)] {
        refused_with(difference, |bytes, table| {
            let at = record(bytes, table, 2) + at;
            bytes[at] = value;
        });
    }
    // A comment of its own.
    refused_with("a record of its table cannot be", |bytes, table| {
        let at = record(bytes, table, 4) + 28;
        bytes[at] = 0xff;
    });
    // A header that says otherwise than the table.
    for at in [8, 14, 18, 22, 26, 30] {
        refused_with("the data before `assets/words.txt`", |bytes, _| {
            let at = find(bytes, b"PK\x03\x04", 1) + at;
            bytes[at] ^= 1;
        });
    }
}

#[test]
fn files_that_overlap_or_reach_beyond_the_end_are_refused() {
    let record = |bytes: &[u8], table: usize, number: usize| {
        (0..=number).fold(table, |at, _| find(bytes, b"PK\x01\x02", at + 1))
    };
    // The second file begins where the first does.
    refused_with("its table is not what", |bytes, table| {
        let at = record(bytes, table, 1) + 42;
        bytes[at..at + 4].fill(0);
    });
    let lengths = "the lengths in its table are not those of the file";
    // 5 instead of 4 takes a byte of the data before the next file.
    for (length, why) in [(5_u32, "its table is not what"), (500, lengths), (1 << 20, lengths), (u32::MAX - 1, lengths)]
    {
        refused_with(why, |bytes, table| {
            let at = record(bytes, table, 1) + 20;
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&length.to_le_bytes());
        });
    }
    // The length refers to an extra field that does not exist.
    refused_with("a record of its table cannot be", |bytes, table| {
        let at = record(bytes, table, 1) + 20;
        bytes[at..at + 8].fill(0xff);
    });
    // The table has another offset, or an endless length.
    for (at, value) in [(12, 1), (16, 1), (12, u32::MAX - 1), (16, u32::MAX - 1), (12, u32::MAX), (16, u32::MAX)] {
        refused_with("end record", |bytes, _| {
            let at = bytes.len() - COMMENT_BYTES - END_BYTES + at;
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        });
    }
}

#[test]
fn the_list_of_checksums_is_of_the_files() {
    let change = |text: &[u8], with: &[u8]| {
        refused_with("does not name the files that it has", |bytes, table| {
            let at = find(bytes, text, table);
            bytes[at..at + with.len()].copy_from_slice(with);
        });
    };
    change(b"  assets/words.txt", b"  assets/xords.txt");
    change(b"  assets/words.txt", b"* ");
    change(b"words.txt\n", b"words.txt ");
    refused_with("its last file is not `SHA256SUMS`", |bytes, table| {
        let at = bytes.windows(10).rposition(|window| window == b"SHA256SUMS").unwrap();
        assert!(at > table);
        bytes[at] = b'X';
    });
}

#[test]
fn other_versions_and_other_archives_are_told_apart() {
    let (mut bytes, _) = pack(&FILES);
    let at = bytes.len() - COMMENT_BYTES;
    bytes[at + 7] = b'2';
    refused(&bytes, "version `2`");
    assert!(matches!(open(&bytes), Err(Error::Unsupported { hint: Some(_), .. })));
    bytes[at] = b'T';
    refused(&bytes, "does not end as a pack does");

    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("saved_model.pb", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&[7; 1000]).unwrap();
    refused(&archive.finish().unwrap().into_inner(), "does not end as a pack does");
}

/// Lengths and places that do not fit 32 bits, in a file of holes: read here and by another reader of archives.
#[test]
fn files_of_more_than_four_gigabytes() {
    let entries: Vec<Entry> = [("a", u64::from(u32::MAX)), ("b", 5 << 30), ("c", 3)]
        .map(|(name, length)| Entry { name: name.into(), length, crc32: 0, sha256: [0; 32] })
        .into();
    let (offsets, end) = offsets(entries.iter().map(|entry| (entry.name.as_str(), entry.length))).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    for (entry, offset) in entries.iter().zip(&offsets) {
        file.seek(SeekFrom::Start(*offset)).unwrap();
        file.write_all(&local_header(*offset, &entry.name, entry.length, entry.crc32)).unwrap();
        assert_eq!(contents(*offset, &entry.name, entry.length) % 64, 0);
    }
    file.seek(SeekFrom::Start(end)).unwrap();
    file.write_all(&table(&entries, &offsets, end)).unwrap();

    let mut archive = zip::ZipArchive::new(file.try_clone().unwrap()).unwrap();
    for (number, entry) in entries.iter().enumerate() {
        let found = archive.by_index(number).unwrap();
        assert_eq!((found.name().unwrap().as_ref(), found.size()), (entry.name.as_str(), entry.length));
        assert_eq!(found.data_start(), Some(contents(offsets[number], &entry.name, entry.length)));
    }
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let pack = Pack::open(Path::new(&path)).unwrap();
    assert_eq!(pack.entries(), entries);
    let mut buffer = [1; 8];
    assert_eq!(pack.read_at(2, &mut buffer, 0).unwrap(), 3);
}

#[test]
fn a_pack_that_shrinks_after_it_was_opened_is_an_error() {
    let (bytes, _) = pack(&FILES);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &bytes).unwrap();
    let pack = Pack::open(file.path()).unwrap();
    File::options().write(true).open(file.path()).unwrap().set_len(200).unwrap();
    assert!(pack.contents(2).unwrap_err().to_string().contains("ends inside it"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_pack_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(open(&bytes).is_err());
    }

    /// A table that was changed anywhere, and signed: an error, or contents within bounds.
    #[test]
    fn signed_nonsense_is_refused(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (mut bytes, table) = pack(&FILES);
        for (index, value) in changes {
            let at = table + index.index(bytes.len() - table - COMMENT_BYTES);
            bytes[at] = value;
        }
        sign(&mut bytes, table);
        if let Ok(pack) = open(&bytes) {
            for number in 0..pack.entries().len() {
                let _ = pack.contents(number);
            }
        }
    }
}

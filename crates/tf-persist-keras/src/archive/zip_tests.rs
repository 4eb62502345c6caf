//! Archives as Keras writes them, compressed again, and hostile ones.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn archive(method: CompressionMethod, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::DEFAULT.compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn open(bytes: Vec<u8>) -> Result<KerasZip> {
    KerasZip::from_bytes(bytes, Path::new("a.keras"))
}

fn refusal(bytes: Vec<u8>) -> String {
    open(bytes).unwrap_err().to_string()
}

/// The offset of the first central header.
fn central(bytes: &[u8]) -> usize {
    bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap()
}

#[test]
fn stored_and_deflated_entries_are_read() {
    let config = [b'x'; 5000];
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let zip = open(archive(method, &[("config.json", &config), ("model.weights.h5", b"abc")])).unwrap();
        assert_eq!(zip.names().collect::<Vec<_>>(), ["config.json", "model.weights.h5"]);
        assert!(zip.contains("config.json") && !zip.contains("metadata.json"));
        assert_eq!(zip.read("config.json").unwrap(), config[..]);
        assert_eq!(zip.read("model.weights.h5").unwrap(), b"abc"[..]);
        let missing = zip.read("metadata.json").unwrap_err().to_string();
        assert_eq!(missing, "`a.keras` is damaged: the archive has no entry `metadata.json`");
    }
}

#[test]
fn a_stored_entry_is_not_copied() {
    let bytes = Bytes::from(archive(CompressionMethod::Stored, &[("model.weights.h5", &[7; 100])]));
    let zip = KerasZip::from_bytes(bytes.clone(), Path::new("a.keras")).unwrap();
    let entry = zip.read("model.weights.h5").unwrap();
    assert!(bytes.as_ptr_range().contains(&entry.as_ptr()));
}

#[test]
fn folders_are_no_entries() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_directory("assets/", SimpleFileOptions::DEFAULT).unwrap();
    writer.start_file("assets/a", SimpleFileOptions::DEFAULT).unwrap();
    let zip = open(writer.finish().unwrap().into_inner()).unwrap();
    assert_eq!(zip.names().collect::<Vec<_>>(), ["assets/a"]);
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../a", "assets/../../a", "/etc/passwd", "assets\\a", "a\0b"] {
        let bytes = archive(CompressionMethod::Stored, &[("xyz", b""), (name, b"")]);
        assert!(refusal(bytes).contains("leads out of the archive"), "{name}");
    }
    assert!(open(archive(CompressionMethod::Stored, &[("assets/a..b/..c", b"")])).is_ok());
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let mut bytes = archive(CompressionMethod::Stored, &[("asset1", b"1"), ("asset2", b"2")]);
    for at in 0..bytes.len() - 6 {
        if &bytes[at..at + 6] == b"asset2" {
            bytes[at + 5] = b'1';
        }
    }
    assert!(refusal(bytes).contains("in it twice"));
}

#[test]
fn encrypted_entries_are_refused() {
    let mut bytes = archive(CompressionMethod::Stored, &[("config.json", b"1")]);
    let central = central(&bytes);
    bytes[6] |= 1;
    bytes[central + 8] |= 1;
    assert_eq!(refusal(bytes), "`a.keras` cannot be used: the entry `config.json` of the archive is encrypted");
}

#[test]
fn entries_that_share_their_bytes_are_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("a", SimpleFileOptions::DEFAULT).unwrap();
    writer.write_all(b"abc").unwrap();
    writer.shallow_copy_file("a", "b").unwrap();
    assert!(refusal(writer.finish().unwrap().into_inner()).contains("share their bytes"));
}

#[test]
fn declared_sizes_are_bounded() {
    let mut bytes = archive(CompressionMethod::Deflated, &[("model.weights.h5", &[0; 1000])]);
    let central = central(&bytes);
    let compressed = u32::from_le_bytes(bytes[central + 20..central + 24].try_into().unwrap());
    // Within what deflate could do, and more than there is.
    bytes[central + 24..central + 28].copy_from_slice(&(compressed * 1032).to_le_bytes());
    let error = open(bytes.clone()).unwrap().read("model.weights.h5").unwrap_err().to_string();
    assert!(error.contains("does not have the") || error.contains("cannot be decompressed"), "{error}");
    // Less than there is.
    bytes[central + 24..central + 28].copy_from_slice(&10_u32.to_le_bytes());
    let error = open(bytes.clone()).unwrap().read("model.weights.h5").unwrap_err().to_string();
    assert!(error.contains("larger than its declared"), "{error}");
    // More than deflate can make of it.
    bytes[central + 24..central + 28].copy_from_slice(&(compressed * 1032 + 1).to_le_bytes());
    assert!(refusal(bytes).contains("stored bytes cannot be"));
}

#[test]
fn config_and_metadata_have_limits() {
    let large = vec![b' '; MAX_CONFIG as usize + 1];
    let entries: [(&str, &[u8]); 2] = [("config.json", &large), ("metadata.json", &large[..(1 << 20) + 1])];
    let zip = open(archive(CompressionMethod::Deflated, &entries)).unwrap();
    for (name, _) in entries {
        assert!(zip.read(name).unwrap_err().to_string().contains("more than"), "{name}");
    }
}

#[test]
fn damage_is_noticed() {
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let mut bytes = archive(method, &[("config.json", b"{\"class_name\": \"Functional\"}")]);
        let central = central(&bytes);
        bytes[central - 3] ^= 0x10;
        let error = open(bytes).unwrap().read("config.json").unwrap_err().to_string();
        assert!(error.contains("its entry `config.json`"), "{error}");
    }
    for bytes in [&b""[..], b"PK", b"\x89HDF\r\n\x1a\n"] {
        assert!(refusal(bytes.to_vec()).contains("not a zip archive"));
    }
}

#[test]
fn no_changed_bytes_make_it_panic() {
    let stored = archive(CompressionMethod::Stored, &[("config.json", b"{}"), ("model.weights.h5", &[1; 300])]);
    let deflated = archive(CompressionMethod::Deflated, &[("config.json", b"{}"), ("model.weights.h5", &[1; 300])]);
    for whole in [stored, deflated] {
        for at in 0..whole.len() {
            for byte in [0, 0x7F, 0xFF, whole[at] ^ 1] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let Ok(zip) = open(bytes) else { continue };
                let names: Vec<String> = zip.names().map(str::to_owned).collect();
                for name in names {
                    let _ = zip.read(&name);
                }
            }
        }
    }
}

#[test]
fn bombs_are_refused_before_they_are_read() {
    let zeros = vec![b' '; 4 << 20];
    let zip =
        open(archive(CompressionMethod::Deflated, &[("config.json", &zeros), ("small", &zeros[..1 << 20])])).unwrap();
    let error = zip.read("config.json").unwrap_err();
    assert!(error.to_string().contains("has 4194304 bytes in"), "{error}");
    assert!(error.hint().is_some() && zip.read("small").is_ok());
}

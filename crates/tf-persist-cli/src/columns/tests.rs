//! Files that are written and read, cut off, and changed at random.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use tf_persist_core::{DType, Tensor};

use super::*;

const FORMATS: [(Format, &str); 2] = [(Format::Parquet, "x.parquet"), (Format::Arrow, "x.arrow")];

fn columns() -> Vec<(&'static str, Tensor)> {
    let floats: Vec<f32> = (0..600).map(|index| index as f32 / 7.0).collect();
    let words: Vec<String> = (0..100).map(|index| format!("word {}", index % 9)).collect();
    let numbers: Vec<i64> = (0..100).collect();
    vec![
        ("image", Tensor::from_slice(&[100, 2, 3], &floats).unwrap()),
        ("text", Tensor::from_strings(&[100], words).unwrap()),
        ("id", Tensor::from_slice(&[100], &numbers).unwrap()),
    ]
}

/// The bytes of a file of these columns, written in windows of 40 rows.
fn written(format: Format) -> Vec<u8> {
    let columns = columns();
    let outputs = columns.iter().map(|(name, tensor)| (*name, tensor.dtype(), &tensor.shape()[1..], true));
    let mut writer = ColumnWriter::new(Path::new("x"), format, Vec::new(), outputs).unwrap();
    for start in [0, 40, 80] {
        let end = (start + 40).min(100);
        let rows: Vec<Tensor> = columns.iter().map(|(_, tensor)| tensor.rows(start..end).unwrap()).collect();
        writer.write(&rows).unwrap();
    }
    writer.finish().unwrap()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// All rows of a file, read in windows.
fn read(path: &Path, format: Format, window: usize) -> anyhow::Result<Vec<Tensor>> {
    let mut reader = ColumnReader::open(path, format, window, |name| name != "id")?;
    // The names may have been changed.
    assert!(reader.others().len() <= 3);
    let mut parts: Vec<Vec<Tensor>> = Vec::new();
    loop {
        let rows = reader.read_rows(window)?;
        let count = rows.first().and_then(Tensor::row_count).unwrap_or(0);
        if count == 0 {
            break;
        }
        parts.push(rows);
    }
    let columns = parts.first().map_or(0, Vec::len);
    let all = (0..columns).map(|index| Tensor::concatenate(&parts.iter().map(|part| &part[index]).collect::<Vec<_>>()));
    Ok(all.collect::<Result<_, _>>()?)
}

#[test]
fn written_columns_are_read_in_windows() {
    let folder = Folder::new();
    let expected: Vec<Tensor> = columns().into_iter().take(2).map(|(_, tensor)| tensor).collect();
    for (format, name) in FORMATS {
        let path = folder.file(name, &written(format));
        assert_eq!(Format::of(&path), Some(format));
        for window in [1, 7, 40, 99, 1000] {
            assert_eq!(read(&path, format, window).unwrap(), expected, "{name}, {window}");
        }
        let reader = ColumnReader::open(&path, format, 10, |_| true).unwrap();
        let dtypes: Vec<_> = reader.columns().collect();
        assert_eq!(dtypes, [("image", DType::Float32), ("text", DType::String), ("id", DType::Int64)]);
        assert_eq!(written(format), written(format));
    }
}

#[test]
fn files_that_are_cut_off_are_refused() {
    let folder = Folder::new();
    for (format, name) in FORMATS {
        let whole = written(format);
        for end in (0..whole.len()).step_by(whole.len() / 40) {
            let error = read(&folder.file(name, &whole[..end]), format, 64).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}

/// Bytes that are changed at random give other rows or an error. They end no process, and a decoder's panic is an
/// error.
#[test]
fn changed_files_are_read_or_refused() {
    crate::error::hide_expected_panics();
    let folder = Folder::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for (format, name) in FORMATS {
        let whole = written(format);
        let mut refused = 0;
        for _ in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..=random(3) {
                // Most of what can be contradicted is in the last bytes.
                let at = if random(2) == 0 { random(bytes.len()) } else { bytes.len() - 1 - random(bytes.len() / 3) };
                bytes[at] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5)];
            }
            refused += usize::from(read(&folder.file(name, &bytes), format, 64).is_err());
        }
        assert!(refused > 100, "{name}: {refused}");
    }
}

//! Rows from files, divided; commands that fail.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tf_persist_core::tensor::npz;
use tf_persist_core::train::Dataset;
use tf_persist_core::{LoadOptions, Tensor};

use super::*;
use crate::config::Length;
use crate::tools::Tools;

fn tools() -> Tools {
    Tools::new(LoadOptions::default())
}

fn write(path: &Path, arrays: &[(&str, &Tensor)]) {
    npz::write(path, File::create(path).unwrap(), arrays.iter().copied()).unwrap();
}

fn numbers(from: i32, count: usize) -> Tensor {
    let values: Vec<i32> = (from..).take(count).collect();
    Tensor::from_slice(&[count], &values).unwrap()
}

#[test]
fn a_folder_is_all_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("b.npz"), &[("x", &numbers(10, 2))]);
    write(&path("a.npz"), &[("x", &numbers(0, 3))]);
    fs::write(path(".c.npz"), "half").unwrap();
    fs::write(path("notes.txt"), "notes").unwrap();
    let data = all_of(&[folder.path().to_path_buf()], &tools()).unwrap();
    let (name, tensor) = data.arrays().next().unwrap();
    assert_eq!((name, tensor.view::<i32>().unwrap()), ("x", &[0, 1, 2, 10, 11][..]));
    let refused = |paths: &[PathBuf]| all_of(paths, &tools()).unwrap_err().to_string();
    write(&path("c.npz"), &[("y", &numbers(0, 2))]);
    assert!(refused(&[folder.path().to_path_buf()]).contains("c.npz` has no array `x`, which"));
    write(&path("c.npz"), &[("x", &numbers(0, 2)), ("y", &numbers(0, 2))]);
    assert!(refused(&[folder.path().to_path_buf()]).contains("c.npz` has an array `y`, which"));
    let empty = tempfile::tempdir().unwrap();
    assert!(refused(&[empty.path().to_path_buf()]).starts_with("there are no files with rows in `"));
    assert!(refused(&[path("notes.txt")]).ends_with("does not end in .npz, .parquet or .arrow"));
    fs::write(path("d.parquet"), "PAR1").unwrap();
    assert!(refused(&[path("d.parquet")]).contains("a file of columns, which this program cannot read"));
}

#[test]
fn a_row_stays_held_out_as_data_grow() {
    let held = |count: usize| {
        let names = Tensor::from_strings(&[count], (0..count).map(|row| format!("row {row}"))).unwrap();
        let data = Dataset::new("data", vec![("x".into(), numbers(0, count)), ("name".into(), names)]).unwrap();
        let (trained, held_out) = split(&data, 0.25).unwrap();
        assert_eq!(trained[0].1.len() + held_out[0].1.len(), count);
        assert_eq!(held_out[1].1.len(), held_out[0].1.len());
        held_out[0].1.view::<i32>().unwrap().to_vec()
    };
    let (few, many) = (held(200), held(1000));
    assert!((30..=70).contains(&few.len()) && (200..=300).contains(&many.len()), "{} {}", few.len(), many.len());
    assert!(many.starts_with(&few));
    let one = Dataset::new("data", vec![("x".into(), numbers(0, 1))]).unwrap();
    assert!(split(&one, 0.5).unwrap_err().to_string().starts_with("`data` has too few rows: 1, and none of them"));
}

fn shell(script: &str, within: Length) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let words: Vec<String> = ["sh", "-c", script].map(String::from).to_vec();
    let variables = [("TF_PERSIST_DATA", folder.path())];
    run(&words, &variables, &folder.path().join("log"), within, &tools()).map_err(|error| error.to_string())
}

#[test]
fn commands_that_fail_say_why() {
    let minute = Length::from_secs(60);
    assert_eq!(shell("test -d \"$TF_PERSIST_DATA\"", minute), Ok(()));
    let failed = shell("echo begun; echo no rows today >&2; exit 3", minute).unwrap_err();
    assert_eq!(failed, "the command `sh` ended with exit code 3: no rows today");
    assert_eq!(shell("kill -9 $$", minute).unwrap_err(), "the command `sh` was ended by signal 9");
    let words = vec!["/nowhere/at-all".to_owned()];
    let folder = tempfile::tempdir().unwrap();
    let error = run(&words, &[], &folder.path().join("log"), minute, &tools()).unwrap_err().to_string();
    assert!(error.starts_with("the command `/nowhere/at-all` cannot start: "), "{error}");
}

#[test]
fn a_command_that_hangs_ends_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("late");
    let begun = Instant::now();
    let script = format!("(sleep 5; touch {}) & sleep 60", file.display());
    let failed = shell(&script, Length::from_secs(1)).unwrap_err();
    assert_eq!(failed, "the command `sh` took longer than 1s");
    assert!(begun.elapsed() < Duration::from_secs(30));
    std::thread::sleep(Duration::from_millis(5500));
    assert!(!file.exists());
}

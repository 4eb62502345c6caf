//! The project's Python scripts, run in its virtual environment.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::recorded::root;

/// Runs `scripts/NAME ARGS`; its standard output. Panics with all it said if it fails.
pub(crate) fn run(name: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let python = interpreter();
    let output = Command::new(&python)
        .arg(root().join("scripts").join(name))
        .args(args)
        .env("TF_CPP_MIN_LOG_LEVEL", "2")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; scripts/setup makes it", python.display()));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name} failed\n{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

fn interpreter() -> PathBuf {
    root().join(".venv").join("bin").join("python")
}

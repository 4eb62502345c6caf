//! Modules of `python/`, run in its virtual environment.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use tf_persist_testing::root;

/// Runs a module of `python/`, such as `checks.check_export`, and returns its standard output. Panics with all output
/// if it fails.
pub(crate) fn run(module: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let python = interpreter();
    let output = Command::new(&python)
        .args(["-m", module])
        .args(args)
        .env("PYTHONPATH", root().join("python"))
        .env("TF_CPP_MIN_LOG_LEVEL", "2")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; scripts/setup makes it", python.display()));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{module} failed\n{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

fn interpreter() -> PathBuf {
    root().join(".venv").join("bin").join("python")
}

//! Helpers that the tests of several crates share. A dev-dependency only, and without dependencies of its own: every
//! crate of the workspace can use it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests panic, and say what is skipped")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// After this long a wait for a condition fails. Longer than anything that a test waits for.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Set in the process that [`in_own_process`] starts; its value is the name of the test.
const CHILD: &str = "TF_PERSIST_TEST_CHILD";

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The folder of one of the repository's models.
#[must_use]
pub fn model(name: &str) -> PathBuf {
    root().join("models").join(name).join("model")
}

/// The folder of libtensorflow: `TF_PERSIST_LIBTENSORFLOW`, or the repository's virtual environment. It may be missing.
#[must_use]
pub fn libtensorflow() -> PathBuf {
    env::var_os("TF_PERSIST_LIBTENSORFLOW").map_or_else(|| root().join(".venv"), PathBuf::from)
}

/// The corpus of real models, `TF_PERSIST_CORPUS`. If it is unset, says that `test` is skipped.
#[must_use]
pub fn corpus(test: &str) -> Option<PathBuf> {
    let corpus = env::var_os("TF_PERSIST_CORPUS").map(PathBuf::from);
    if corpus.is_none() {
        skipped(test, "TF_PERSIST_CORPUS is not set");
    }
    corpus
}

/// The cases of TensorFlow Serving and their models: `TF_PERSIST_CONFORMANCE`, or `conformance` beside the corpus. If
/// there are none, says that `test` is skipped.
#[must_use]
pub fn conformance(test: &str) -> Option<PathBuf> {
    let beside_corpus =
        || PathBuf::from(env::var_os("TF_PERSIST_CORPUS")?).parent().map(|above| above.join("conformance"));
    let folder = env::var_os("TF_PERSIST_CONFORMANCE").map(PathBuf::from).or_else(beside_corpus);
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        skipped(test, "neither TF_PERSIST_CONFORMANCE nor TF_PERSIST_CORPUS names a folder");
    }
    found
}

/// The Keras files with recorded answers: `TF_PERSIST_KERAS_CASES`, or `keras_cases` beside the corpus. If there are
/// none, says that `test` is skipped.
#[must_use]
pub fn keras_cases(test: &str) -> Option<PathBuf> {
    let beside_corpus =
        || PathBuf::from(env::var_os("TF_PERSIST_CORPUS")?).parent().map(|above| above.join("keras_cases"));
    let folder = env::var_os("TF_PERSIST_KERAS_CASES").map(PathBuf::from).or_else(beside_corpus);
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        skipped(test, "neither TF_PERSIST_KERAS_CASES nor TF_PERSIST_CORPUS names a folder");
    }
    found
}

/// Says that a test is skipped, and why.
pub fn skipped(test: &str, why: &str) {
    println!("SKIPPED {test}: {why}");
}

/// Copies a folder and everything in it. The copies can be written to even where the originals cannot.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::write(target, fs::read(path).unwrap()).unwrap();
        }
    }
}

/// The preface of a client of HTTP/2 (RFC 9113, section 3.4).
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2 (RFC 9113, section 4.1).
#[must_use]
pub fn http2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Waits until a condition holds.
///
/// # Panics
/// If it does not hold within [`TIMEOUT`].
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < TIMEOUT, "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a test in a process of its own: one that counts threads, files or memory, or that other tests must not slow
/// down. `test` is the test's full name in its binary.
///
/// # Panics
/// If the test fails.
pub fn in_own_process(test: &str, body: impl FnOnce()) {
    in_own_environment(test, &[], body);
}

/// [`in_own_process`], with environment variables.
///
/// # Panics
/// If the test fails.
pub fn in_own_environment(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if env::var_os(CHILD).is_some_and(|child| child == test) {
        return body();
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(CHILD, test).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{stdout}{stderr}");
    assert!(output.status.success(), "{test} failed in its own process");
    assert!(stdout.contains("1 passed"), "{test} is not the name of one test");
}

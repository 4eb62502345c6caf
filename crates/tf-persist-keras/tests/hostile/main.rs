//! Hostile files: whatever their bytes are, reading them gives a model or one sentence, in a second, in 200 MB.
//!
//! `TF_PERSIST_HOSTILE_ROUNDS` is the number of changed files of each kind, `TF_PERSIST_HOSTILE_SEED` the number of the
//! first one. With `TF_PERSIST_KERAS_CASES`, the folder of recorded cases, their configs are changed, too.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests say how many files they refused, and which hangs")]

mod bombs;
mod bytes;
mod config;
mod measure;
mod mutate;
mod random;
mod samples;
mod shapes;
mod strangers;

/// The number of changed files of each kind, unless a test has its own.
fn rounds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("TF_PERSIST_HOSTILE_SEED").unwrap_or(0);
    // Debug builds are slower by far.
    let default = if cfg!(debug_assertions) { default.div_ceil(50) } else { default };
    first..first + number("TF_PERSIST_HOSTILE_ROUNDS").unwrap_or(default)
}

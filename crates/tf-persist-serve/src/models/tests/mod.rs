//! Tests without TensorFlow: a loaded version is the text of a file.

mod catalog;
mod config;
mod crash_journal;
mod eviction;
mod folder;
mod harness;
mod reload;
mod remote_paths;
mod serve;
mod state_machine;

//! Tests without TensorFlow: what answers is the text of a file.

mod aspire;
mod bench;
mod config;
mod folder;
mod journal;
mod reload;
mod serve;

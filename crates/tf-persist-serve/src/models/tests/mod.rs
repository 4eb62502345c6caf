//! Tests without TensorFlow: what answers is the text of a file.

mod aspire;
mod config;
mod folder;
mod journal;
mod serve;

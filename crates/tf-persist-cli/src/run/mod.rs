//! `tf-persist run`.

mod args;
mod batches;
mod examples;
mod inputs;
mod output;
mod requests;
#[expect(clippy::module_inception, reason = "each command has a `run.rs`")]
mod run;
mod shard;
mod timings;
mod view;

pub(crate) use args::RunArgs;
pub(crate) use run::run;

//! `tf-persist scan`: what a model may do to the machine that runs it.

mod args;
mod json;
mod run;

pub(crate) use args::ScanArgs;
pub(crate) use run::run;

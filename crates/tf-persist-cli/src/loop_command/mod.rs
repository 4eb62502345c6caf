//! `tf-persist loop`: watches, trains, measures, publishes.

mod args;
mod run;

pub(crate) use args::LoopArgs;
pub(crate) use run::run;

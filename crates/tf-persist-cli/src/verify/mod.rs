//! `tf-persist verify`: does the model give the answers that were recorded?

mod args;
mod record;
mod report;
mod run;

pub(crate) use args::VerifyArgs;
pub(crate) use run::run;

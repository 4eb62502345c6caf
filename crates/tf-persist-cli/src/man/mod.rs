//! `tf-persist man`.

mod args;
mod run;

pub(crate) use args::ManArgs;
pub(crate) use run::run;

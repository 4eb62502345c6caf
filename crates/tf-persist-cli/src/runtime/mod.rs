//! `tf-persist runtime`: which libtensorflow is used.

mod args;
mod install;
mod run;

pub(crate) use args::RuntimeArgs;
pub(crate) use run::run;

//! `tf-persist diff`: how two models differ.

mod args;
mod json;
mod run;
mod text;

pub(crate) use args::DiffArgs;
pub(crate) use run::run;

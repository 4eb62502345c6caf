//! `tf-persist store`: versions of models.

mod args;
mod json;
mod log;
mod publish;
mod run;
mod text;

pub(crate) use args::StoreArgs;
pub(crate) use run::run;

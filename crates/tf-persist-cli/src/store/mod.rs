//! `tf-persist store`: versions of models.

mod args;
mod json;
mod log;
#[cfg(feature = "remote")]
mod mlflow;
mod place;
mod publish;
#[cfg(feature = "remote")]
mod registry;
mod run;
mod text;
#[cfg(feature = "remote")]
mod transfer;

pub(crate) use args::StoreArgs;
pub(crate) use run::run;

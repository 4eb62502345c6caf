//! `tf-persist image`: models with everything that serves them, as an OCI image.

mod args;
mod binary;
mod contents;
mod libraries;
mod models;
mod run;
mod system;

pub(crate) use args::ImageArgs;
pub(crate) use run::run;

//! `tf-persist store`: versions of models.

mod args;
mod hint;
mod json;
mod log;
mod path;
mod publish;
mod run;
mod text;

pub(crate) use args::StoreArgs;
pub(crate) use hint::hint;
pub(crate) use path::{check_writable, resolve};
pub(crate) use run::run;

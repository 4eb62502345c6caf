//! `tf-persist export`.

mod args;
#[cfg(feature = "keras")]
mod keras;
mod run;

pub(crate) use args::ExportArgs;
pub(crate) use run::run;

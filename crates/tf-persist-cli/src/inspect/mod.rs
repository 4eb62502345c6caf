//! `tf-persist inspect`.

mod args;
mod json;
#[cfg(feature = "keras")]
mod keras;
mod report;
mod run;
mod stats;
mod text;

pub(crate) use args::InspectArgs;
pub(crate) use run::run;

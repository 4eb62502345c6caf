//! `tf-persist serve-local`.

mod args;
#[cfg(feature = "remote")]
mod buckets;
mod files;
mod log;
mod origin;
#[cfg(feature = "remote")]
mod remote_store;
mod run;
mod settings;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use args::{ServeArgs, complete};
pub(crate) use run::run;

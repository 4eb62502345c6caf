//! `tf-persist serve-local`, and `serve` as containers start it.

mod args;
#[cfg(feature = "remote")]
mod buckets;
mod container;
mod files;
#[cfg(test)]
mod flag_tests;
mod log;
mod origin;
mod platform;
#[cfg(feature = "remote")]
mod remote_store;
mod request_log;
mod run;
mod session;
mod settings;
#[cfg(feature = "remote")]
mod storage_uri;
mod store;
#[cfg(test)]
mod tests;
#[cfg(feature = "traces")]
mod traces;

pub(crate) use args::{ServeArgs, complete};
pub(crate) use container::Invoked;
pub(crate) use run::run;

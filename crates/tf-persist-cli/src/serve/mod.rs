//! `tf-persist serve-local`.

mod args;
#[cfg(feature = "remote")]
mod buckets;
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
mod store;
#[cfg(test)]
mod tests;

pub(crate) use args::{ServeArgs, complete};
pub(crate) use run::run;

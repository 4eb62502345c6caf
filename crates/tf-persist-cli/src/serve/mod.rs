//! `tf-persist serve-local`.

mod args;
mod files;
mod log;
mod run;
mod settings;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use args::{ServeArgs, complete};
pub(crate) use run::run;

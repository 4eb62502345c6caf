//! `tf-persist ready`: asks a server whether it is ready.

mod args;
mod run;

pub(crate) use args::ReadyArgs;
pub(crate) use run::run;

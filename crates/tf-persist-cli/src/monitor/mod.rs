//! `tf-persist monitor`: what a served model is asked and answers, from its request log.

mod args;
mod run;

pub(crate) use args::MonitorArgs;
pub(crate) use run::run;

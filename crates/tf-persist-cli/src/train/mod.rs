//! `tf-persist train`.

mod args;
mod command;
mod curve;
#[cfg(feature = "keras")]
mod keras_output;
#[cfg(not(feature = "keras"))]
#[path = "without_keras.rs"]
mod keras_output;
#[cfg(feature = "plot")]
mod plot;
mod progress;
mod report;
mod run;

pub(crate) use args::TrainArgs;
pub(crate) use run::run;

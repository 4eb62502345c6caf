//! Versions in the model registry of an MLflow server.
//!
//! A version is pushed as a logged model of MLflow 3: its files and its manifest, with an `MLmodel` file by which
//! `mlflow.tensorflow` and `mlflow.pyfunc` load it. A version of the registered model then names it. MLflow gives the
//! number, so tags of the version there say which version of the store it is. Whoever pulls gets that version back; one
//! that MLflow itself logged becomes a new version of the store.
//!
//! MLflow moves aliases without a precondition, and keeps no history of them: the last writer wins.

mod address;
mod artifacts;
mod ml_model;
mod pull;
mod push;
mod registry;
mod server;
#[cfg(test)]
mod tests;

pub use address::MlflowAddress;
pub use pull::{cached, resolve};
pub use push::{MlflowOptions, MlflowPushed};

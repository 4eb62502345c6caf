//! A server that answers TensorFlow Serving's clients: its REST and gRPC interfaces over models that [`tf_persist_core`] runs.
//!
//! The way of a request: [`http`] or [`grpc`] decodes it straight into tensors, [`models`] says which version of which model it is
//! for, [`inference`] checks it against the signature, [`run`] runs it, alone or with others, and the protocol it came by encodes
//! the answer. Whatever refuses it on that way says why with one [`Status`], for which each protocol has one table of codes.
//!
//! The peer whose behaviour this is: <https://github.com/tensorflow/serving>, release 2.20. Where a comment names a file ending in
//! `.cc`, it is of that repository, under `tensorflow_serving/`.

mod api;
pub mod batching;
mod catch_panic;
mod error;
pub mod grpc;
pub mod http;
pub mod inference;
pub mod metrics;
pub mod models;
mod net;
mod offload;
mod priority;
pub mod security;
mod server;
mod settings;
mod shutdown;
mod state;
mod status;

pub use api::{Api, Protocol};
pub use error::ServerError;
pub use server::Server;
pub use settings::Settings;
pub use state::ServerState;
pub use status::Status;

/// A duration as the log has it, so that all of them are numbers of one unit.
fn milliseconds(duration: std::time::Duration) -> f64 {
    // Microseconds are exact in a float for centuries, and print short.
    duration.as_micros() as f64 / 1000.0
}

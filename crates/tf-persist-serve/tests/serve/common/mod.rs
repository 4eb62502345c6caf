//! The one server harness, and what clients need.

pub(crate) mod gated_model;
pub(crate) mod grpc;
pub(crate) mod http;
pub(crate) mod models;
pub(crate) mod server;

pub(crate) use server::TestServer;

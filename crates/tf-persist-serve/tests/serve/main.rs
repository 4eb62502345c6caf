//! The server from outside: over real connections, and with real models in TensorFlow.
//!
//! Tests with models need libtensorflow (`TF_PERSIST_LIBTENSORFLOW`, or the repository's `.venv`); those with models of
//! TensorFlow Serving's own tests need `TF_PERSIST_CONFORMANCE` or `TF_PERSIST_CORPUS`. Without them they say so and
//! pass.

mod batching;
mod batching_equality;
mod catalog;
mod common;
mod grpc;
mod http;
mod models;
mod page;
mod platforms;
mod request_log;
mod resources;
mod security;
mod shutdown;
mod traffic;
mod v2;
mod warmup;

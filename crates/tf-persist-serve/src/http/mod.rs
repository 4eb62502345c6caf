//! TensorFlow Serving's REST interface, over HTTP/1.1. There is no router crate: none matches TensorFlow Serving's
//! grammar of URLs.
//!
//! A request passes through `connection`, which reads its head, `dispatch`, which checks keys and limits, `routes`,
//! which parses the URL, `body`, which reads the body, `handlers`, which answer it by way of [`json`], and `reply`,
//! which makes it an HTTP response. `platforms` has the routes of SageMaker and Vertex AI, and makes TensorFlow
//! Serving's requests of theirs.

mod body;
mod connection;
mod dispatch;
mod handlers;
pub mod json;
mod page;
mod pages;
mod parse_errors;
mod platforms;
mod reply;
mod routes;
mod settings;
mod v2;

pub(crate) use connection::serve;
pub(crate) use platforms::has_own_models;
pub use platforms::{Platform, SageMaker, Vertex};
pub use settings::HttpSettings;

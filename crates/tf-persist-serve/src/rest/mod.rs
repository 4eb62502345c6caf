//! TensorFlow Serving's REST interface, over HTTP/1.1 and without a router: its grammar of URLs is no router's.
//!
//! The way of a request: `connection` reads its head, `service` says whether it may be asked and finds the route that `url` reads,
//! `body` reads what comes with it, `handlers` answer by way of [`json`], `reply` makes HTTP of it.

mod body;
mod connection;
mod handlers;
pub mod json;
mod pages;
mod refused;
mod reply;
mod service;
mod settings;
mod url;

pub(crate) use connection::serve;
pub use settings::Settings;

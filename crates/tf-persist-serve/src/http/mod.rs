//! TensorFlow Serving's REST interface, over HTTP/1.1 and without a router: its grammar of URLs is no router's.
//!
//! The way of a request: `connection` reads its head, `dispatch` says whether it may be asked and finds the route that `routes` reads,
//! `body` reads what comes with it, `handlers` answer by way of [`json`], `reply` makes HTTP of it.

mod body;
mod connection;
mod dispatch;
mod handlers;
pub mod json;
mod pages;
mod parse_errors;
mod reply;
mod routes;
mod settings;

pub(crate) use connection::serve;
pub use settings::HttpSettings;

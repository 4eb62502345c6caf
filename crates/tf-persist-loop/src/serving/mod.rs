//! The server that a version comes into production on: its rules, and what it counts.

mod client;
mod metrics;
mod traffic;

pub(crate) use client::Server;
pub(crate) use metrics::{INFINITE, Page, is_of_client};
pub(crate) use traffic::{Rules, has_rules, write};

#[cfg(test)]
mod tests;

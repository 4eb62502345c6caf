//! Who may ask, and how much.

mod api_keys;
mod concurrency;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub use api_keys::{ApiKeys, ApiKeysError};
pub use concurrency::{ConcurrencyLimit, Permit};
pub use settings::{Limits, Pem, Settings, Tls};
pub(crate) use tls::Certificates;
pub use tls::TlsError;

//! API keys, TLS and limits.

mod api_keys;
mod concurrency;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use api_keys::ApiKeys;
pub use api_keys::ApiKeysError;
pub(crate) use concurrency::ConcurrencyLimit;
pub use settings::{Limits, Pem, SecuritySettings, Tls};
pub(crate) use tls::Certificates;
pub use tls::TlsError;

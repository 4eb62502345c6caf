//! Who may ask, and how much.

mod gate;
mod keys;
mod settings;
#[cfg(test)]
mod tests;
mod tls;

pub use gate::{Gate, Permit};
pub use keys::{Keys, KeysError};
pub use settings::{Limits, Pem, Settings, Tls};
pub(crate) use tls::Certificates;
pub use tls::TlsError;

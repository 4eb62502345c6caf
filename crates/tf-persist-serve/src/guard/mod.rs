//! Who may ask, and how much.

mod settings;

pub use settings::{Limits, Settings, Tls};

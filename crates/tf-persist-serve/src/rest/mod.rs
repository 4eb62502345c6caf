//! TensorFlow Serving's REST interface.

pub mod json;
mod settings;

pub use settings::Settings;

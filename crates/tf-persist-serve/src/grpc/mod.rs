//! TensorFlow Serving's gRPC interface.

mod settings;

pub use settings::Settings;

//! Interop tests against Python TensorFlow; see `interop/`.

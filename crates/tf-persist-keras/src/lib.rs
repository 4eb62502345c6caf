//! Keras files without Keras and without TensorFlow.

mod archive;
mod graph;
mod reason;

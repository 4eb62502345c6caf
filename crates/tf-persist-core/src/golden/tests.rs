//! Records as TensorFlow Serving writes them, and as nobody should.

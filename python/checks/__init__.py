"""Checks of what tf-persist wrote or answered, with Python's TensorFlow. The Rust tests in tests/ and scripts/test run them."""

import tf_persist_keras  # noqa: F401 (sets what Keras and TensorFlow read when they are first imported)

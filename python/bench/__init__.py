"""Benchmarks against Python, C and other servers, run by scripts/bench."""

import tf_persist_keras  # noqa: F401 (sets what Keras and TensorFlow read when they are first imported)

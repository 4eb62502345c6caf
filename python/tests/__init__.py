"""Tests of tf_persist_keras: `python -m unittest discover -s python/tests -t python`."""

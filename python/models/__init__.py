"""Makers of the models that tests, benchmarks and the demo read.

- `make_models`: the small real models of models/, with recorded answers
- `make_checkpoints`, `make_custom_op_models`, `make_attacks`, `make_diff_pairs`: models for one test each
- `registry`: the `@model` decorator
- `keras_models`, `trainable`, `modules`, `element_types`, `v1_graphs`, `v1_lore`: the makers of models/, by family
- `assets`: text files to be taken in as assets
- `keras_digits`: compiled Keras models on scikit-learn's digits
"""

import tf_persist_keras  # noqa: F401 (sets what Keras and TensorFlow read when they are first imported)

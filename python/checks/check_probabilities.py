"""Loads a SavedModel with Python's `tf.saved_model.load` and compares its probabilities with those of Keras.

    PYTHONPATH=python .venv/bin/python -m checks.check_probabilities MODEL HELD_OUT.npz
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

ALLOWED = 1e-6


def main() -> int:
    """The command line."""
    held_out = np.load(sys.argv[2])
    answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"](image=tf.constant(held_out["image"]))
    (probabilities,) = (tensor.numpy() for tensor in answer.values())
    difference = np.abs(probabilities - held_out["probabilities"]).max()
    print(f"{len(probabilities)} answers of tf.saved_model.load; largest difference to Keras: {difference:.1g}")
    return int(difference > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())

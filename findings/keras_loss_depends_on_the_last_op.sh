#!/usr/bin/env bash
# On the TensorFlow backend, Keras's cross-entropies look at the op that made the probabilities. If it is a softmax (or sigmoid),
# they compute from its input, although `from_logits` is False; if any other op stands behind it, such as a `Reshape` to the same
# shape, they clip the probabilities to [1e-7, 1 - 1e-7]. So an op that changes nothing changes the loss of a confident mistake
# from 60 to 16.1, and its gradient from about 1 to 0: the first model learns from the sample, and the second never does.
# `evaluate` of the first model also disagrees with the loss function called with the answers of `predict`.
#
# Observed with Keras 3.15.1, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64:
#   softmax last:           loss 60.0,  the weights change
#   softmax, then Reshape:  loss 16.12, the weights do not change
#   loss function called with what `predict` answers: 16.12
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PY'
import sys

import keras
import numpy as np
import tensorflow as tf

x, y = np.array([[60.0, 0.0]], np.float32), np.array([1])


def trained(*behind) -> tuple[float, bool, float]:
    """The loss of a step, whether the weights changed, and the loss of what `predict` answers."""
    dense = keras.layers.Dense(2, use_bias=False, kernel_initializer="identity", activation="softmax")
    model = keras.Sequential([keras.Input((2,)), dense, *behind])
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    of_answers = float(keras.losses.sparse_categorical_crossentropy(y, model.predict(x, verbose=0))[0])
    loss = float(model.train_on_batch(x, y))
    return loss, not np.array_equal(dense.kernel.numpy(), np.eye(2)), of_answers


print("keras", keras.__version__, "tensorflow", tf.__version__)
last, reshaped = trained(), trained(keras.layers.Reshape((2,)))
for name, (loss, changed, of_answers) in (("softmax last", last), ("softmax, then Reshape", reshaped)):
    print(f"{name}: loss {loss:.4g}, the weights {'change' if changed else 'stay'}; loss of the answers {of_answers:.4g}")
as_seen = np.allclose([last[0], last[2], reshaped[0], reshaped[2]], [60, 16.118, 16.118, 16.118], rtol=1e-3)
sys.exit(0 if as_seen and last[1] and not reshaped[1] else 1)
PY

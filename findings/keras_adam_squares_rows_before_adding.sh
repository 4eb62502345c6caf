#!/usr/bin/env bash
# Keras's Adam gives an embedding another step than a dense weight with the same gradient. The gradient of `Embedding` is kept
# as rows; if an id stands in a batch more than once, Adam squares each row and then adds them, so the velocity gets the sum of
# the squares and not the square of the sum. The step is larger than the learning rate: by sqrt(2) for an id that stands twice.
# TensorFlow 1's AdamOptimizer added the rows first.
#
# Observed with Keras 3.15.1, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64; learning rate 0.1, total gradient 2:
#   the id once in the batch:  velocity 0.004, step 0.1
#   the id twice in the batch: velocity 0.002, step 0.1414
#   the id twice, tf.compat.v1.train.AdamOptimizer: step 0.1
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


def keras_step(ids) -> tuple[float, float]:
    """The velocity of row 1 of an embedding of ones after a batch, and the step that it made."""
    embedding = keras.layers.Embedding(4, 1, embeddings_initializer="ones")
    model = keras.Sequential([keras.Input((None,), dtype="int32"), embedding, keras.layers.GlobalAveragePooling1D()])
    optimizer = keras.optimizers.Adam(0.1)
    model.compile(optimizer, "mse", jit_compile=False)
    model.train_on_batch(np.array([ids]), np.zeros((1, 1), np.float32))
    (velocity,) = (variable.numpy() for variable in optimizer.variables if "velocity" in variable.path)
    return float(velocity[1, 0]), 1 - float(embedding.embeddings.numpy()[1, 0])


def tensorflow1_step(ids) -> float:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        table = tf.compat.v1.Variable(tf.ones([4, 1]))
        loss = tf.reduce_mean(tf.square(tf.reduce_mean(tf.gather(table, ids), axis=0)))
        step = tf.compat.v1.train.AdamOptimizer(0.1, epsilon=1e-7).minimize(loss)
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(step)
        return 1 - float(session.run(table)[1, 0])


print("keras", keras.__version__, "tensorflow", tf.__version__)
once, twice, first = keras_step([1]), keras_step([1, 1]), tensorflow1_step([1, 1])
print(f"once: velocity {once[0]:.4f}, step {once[1]:.4f}; twice: velocity {twice[0]:.4f}, step {twice[1]:.4f}; TensorFlow 1, twice: step {first:.4f}")
wanted = (0.004, 0.1, 0.002, 0.1414, 0.1)
sys.exit(0 if np.allclose((*once, *twice, first), wanted, rtol=2e-3) else 1)
PY

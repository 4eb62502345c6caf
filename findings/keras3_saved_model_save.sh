#!/usr/bin/env bash
# tensorflow-cpu 2.21.0, keras 3.15.1: `tf.saved_model.save(keras_model)` writes a model whose saver restores copies of the variables
# (nodes `Variable`, `Variable_1`, …), not the variables that its signature reads. `tf.saved_model.load` works, because Python restores
# by the object graph. A session that uses the saver (the C API, TensorFlow Serving, tf.compat.v1) loads the model without an error, and
# then every run fails: "Could not find variable sequential/dense/bias". `model.export` writes a model that works in both.
# Exit code 0: reproduced. 1: not reproduced.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet tensorflow-cpu==2.21.0 keras==3.15.1
cd "$folder"
cat > see.py <<'PYTHON'
import sys

import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
X = np.ones((1, 3), np.float32)


def in_session(folder):
    """The answer of the only output, or the error."""
    with tf.Graph().as_default(), v1.Session() as session:
        signature = v1.saved_model.load(session, ["serve"], folder).signature_def["serving_default"]
        (x,), (y,) = signature.inputs.values(), signature.outputs.values()
        try:
            return session.run(y.name, {x.name: X})
        except tf.errors.OpError as error:
            return error


model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
expected = model(X).numpy()
tf.saved_model.save(model, "saved")
model.export("exported", verbose=False)
(python,) = tf.saved_model.load("saved").signatures["serving_default"](tf.constant(X)).values()
saved, exported = in_session("saved"), in_session("exported")
print("tf.saved_model.save, in Python:", python.numpy())
print("tf.saved_model.save, in a session:", type(saved).__name__, str(saved).splitlines()[0][:80])
print("model.export, in a session:", exported)
seen = (
    np.allclose(python, expected)
    and isinstance(saved, tf.errors.OpError)
    and "Could not find variable" in str(saved)
    and np.allclose(exported, expected)
)
sys.exit(not seen)
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python see.py

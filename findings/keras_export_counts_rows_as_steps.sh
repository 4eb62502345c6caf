#!/usr/bin/env bash
# The exported function of a Keras model with `TimeDistributed` over sequences of unknown length gives as many steps as the batch
# has rows, whatever the length of the sequences. 3 sequences of 6 steps get answers for 3 steps, without an error. `model(x)` and
# `model.predict` answer all 6 steps. Where the batch happens to have as many rows as steps, the export is right.
#
# Observed with Keras 3.15.1, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64, TimeDistributed(Dense(2)) over [None, None, 4]:
#   input [3, 6, 4]: predict [3, 6, 2], session over the exported model [3, 3, 2]
#   input [6, 6, 4]: predict [6, 6, 2], session over the exported model [6, 6, 2], equal
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - "$work" <<'PY'
import sys

import keras
import numpy as np
import tensorflow as tf

source = keras.Input((None, 4))
model = keras.Model(source, keras.layers.TimeDistributed(keras.layers.Dense(2))(source))
folder = f"{sys.argv[1]}/model"
model.export(folder, verbose=False)
print("keras", keras.__version__, "tensorflow", tf.__version__)
inputs = [np.random.default_rng(0).normal(size=(rows, 6, 4)).astype(np.float32) for rows in (3, 6)]
predicted = [model.predict(x, verbose=0) for x in inputs]
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    signature = tf.compat.v1.saved_model.load(session, ["serve"], folder).signature_def["serving_default"]
    (given,), (answer,) = signature.inputs.values(), signature.outputs.values()
    exported = [session.run(answer.name, {given.name: x}) for x in inputs]
for x, ours, theirs in zip(inputs, predicted, exported):
    print(f"{len(x)} sequences of 6 steps: predict {ours.shape}, exported {theirs.shape}")
shapes = [(ours.shape, theirs.shape) for ours, theirs in zip(predicted, exported)]
equal = np.allclose(exported[1], predicted[1], atol=1e-6)
sys.exit(0 if shapes == [((3, 6, 2), (3, 3, 2)), ((6, 6, 2), (6, 6, 2))] and equal else 1)
PY

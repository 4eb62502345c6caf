#!/usr/bin/env bash
# Keras's `model.export` keeps random augmentation in the served function. A model with `RandomFlip` answers the same image
# differently within one batch of the exported SavedModel, whereas `model.predict` and `model(x, training=False)` do not flip.
# No warning is given. The reason: the augmentation layers are called with `training=True` unless told otherwise, and `export`
# traces the model without telling them. Sequential and functional models are both affected.
#
# Observed with Keras 3.15.1, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64:
#   predict and training=False:        0 of 64 images flipped
#   session over the exported model:  about half of 64 images flipped
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

work = sys.argv[1]
images = np.tile(np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1), (64, 1, 1, 1))


def flipped(answers) -> int:
    return sum(not np.array_equal(answer, image) for answer, image in zip(np.asarray(answers), images))


def exported(model, folder: str) -> int:
    model.export(folder, verbose=False)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signature = meta.signature_def["serving_default"]
        (source,), (answer,) = signature.inputs.values(), signature.outputs.values()
        return flipped(session.run(answer.name, {source.name: images}))


source = keras.Input((4, 4, 1))
models = {
    "sequential": keras.Sequential([keras.Input((4, 4, 1)), keras.layers.RandomFlip("horizontal", seed=1)]),
    "functional": keras.Model(source, keras.layers.RandomFlip("horizontal", seed=1)(source)),
}
print("keras", keras.__version__, "tensorflow", tf.__version__)
as_seen = True
for name, model in models.items():
    predict, told = flipped(model.predict(images, verbose=0)), flipped(model(images, training=False))
    served = exported(model, f"{work}/{name}")
    print(f"{name}: predict flips {predict} of 64 images, training=False {told}, the exported model {served}")
    as_seen &= predict == told == 0 and 10 < served < 54
sys.exit(0 if as_seen else 1)
PY

#!/usr/bin/env bash
# Keras writes a compiled model with `AUC(multi_label=True, label_weights=[…])` and cannot read its own file: the weights become a
# tensor in the metric's config, and loading hands the description of that tensor to TensorFlow as if it were numbers. Saving says
# nothing. With `compile=False` the file loads, without optimizer, loss and metrics, so training cannot go on where it was.
#
# Observed with Keras 3.15.1, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64:
#   load_model("auc.keras")                 ValueError: Attempt to convert a value ({'class_name': '__tensor__', …
#   load_model("auc.keras", compile=False)  loads
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

print("keras", keras.__version__)
path = f"{sys.argv[1]}/auc.keras"
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "sigmoid")])
metric = keras.metrics.AUC(multi_label=True, num_labels=3, label_weights=[0.5, 0.3, 0.2])
model.compile("sgd", "binary_crossentropy", metrics=[metric])
model.fit(np.ones((8, 4)), np.eye(8, 3), verbose=0)
model.save(path)
found = []
for options in ({}, {"compile": False}):
    try:
        keras.models.load_model(path, **options)
        found.append("loads")
    except ValueError as error:
        found.append(f"ValueError: {str(error)[:60]}")
    print(f"load_model with {options}: {found[-1]}")
sys.exit(0 if "__tensor__" in found[0] and found[1] == "loads" else 1)
PY

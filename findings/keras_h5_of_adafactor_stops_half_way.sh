#!/usr/bin/env bash
# A model trained with Adafactor cannot be saved as `.h5`: Keras gives two of the optimizer's variables one name, and h5py refuses the
# second. The error comes half-way: the file is there, and has replaced what was under its name. It has the model's weights, and a
# part of the optimizer's. As `.keras` the same model is saved and loaded.
#
# Observed with Keras 3.15.1, h5py 3.14.0, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64:
#   save("model.keras")  saved
#   save("model.h5")     ValueError: Unable to synchronously create dataset (name already exists); the older file is overwritten
#   load_model("model.h5", compile=False) has the new weights
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1 h5py==3.14.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - "$work" <<'PY'
import pathlib
import sys

import h5py
import keras
import numpy as np

print("keras", keras.__version__, "h5py", h5py.__version__)
folder = pathlib.Path(sys.argv[1])
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
model.compile(keras.optimizers.Adafactor(), keras.losses.MeanSquaredError())
model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
model.save(folder / "model.keras")
keras.models.load_model(folder / "model.keras")
path = folder / "model.h5"
path.write_bytes(b"an older file")
reason = ""
try:
    model.save(path)
except ValueError as error:
    reason = str(error)
print("model.keras: saved; model.h5:", reason or "saved")
left = keras.models.load_model(path, compile=False) if h5py.is_hdf5(path) else None
same = left is not None and all(np.array_equal(a, b) for a, b in zip(left.get_weights(), model.get_weights()))
print("what is left under model.h5:", "the new weights" if same else "something else")
sys.exit(0 if "name already exists" in reason and same else 1)
PY

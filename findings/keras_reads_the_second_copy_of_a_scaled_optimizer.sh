#!/usr/bin/env bash
# Under the policy `mixed_float16`, Keras's `compile` puts a `LossScaleOptimizer` around the optimizer. A `.keras` file then has the
# state of the optimizer inside twice, in `optimizer/vars` and in `optimizer/inner_optimizer/vars`, and its config names the optimizer
# inside alone. Whoever writes such a file would take the first for the state, or write the first alone. Keras takes the second where
# they differ; without it, the first, with a warning that the variables of the optimizer are skipped.
#
# Observed with Keras 3.15.1, h5py 3.14.0, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64, after 2 steps, with a copy changed to 70:
#   config: Adam; variables: 10, and 6 of them again
#   first copy changed   2 steps
#   second copy changed  70 steps
#   first copy alone     70 steps, with the warning
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1 h5py==3.14.0
cd "$work"
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import io
import json
import warnings
import zipfile

import h5py
import keras
import numpy as np

keras.config.set_dtype_policy("mixed_float16")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, dtype="float32")])
model.compile("adam", "mean_squared_error")
x = np.ones((8, 4), np.float32)
model.fit(x, x[:, :2], epochs=2, verbose=0)
model.save("model.keras")

archive = zipfile.ZipFile("model.keras")
entries = {name: archive.read(name) for name in archive.namelist()}
optimizer = json.loads(entries["config.json"])["compile_config"]["optimizer"]["class_name"]
weights = h5py.File(io.BytesIO(entries["model.weights.h5"]))
outer, inner = weights["optimizer/vars"], weights["optimizer/inner_optimizer/vars"]
print(f"config: {optimizer}; variables: {len(outer)}, and {len(inner)} of them again")
own = len(outer) - len(inner)
assert (optimizer, len(outer), own) == ("Adam", 10, 4)
assert all((outer[str(own + n)][()] == inner[str(n)][()]).all() for n in range(len(inner)))


def steps(change):
    """The steps of the optimizer inside, of a file with a change."""
    buffer = io.BytesIO(entries["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        change(file["optimizer"])
    with zipfile.ZipFile("changed.keras", "w") as changed:
        for name, contents in entries.items():
            changed.writestr(name, buffer.getvalue() if name == "model.weights.h5" else contents)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        loaded = keras.models.load_model("changed.keras")
    said = any("Skipping variable loading for optimizer" in str(each.message) for each in seen)
    return int(loaded.optimizer.inner_optimizer.iterations), said


def first(group):
    group["vars/4"][()] = 70


def second(group):
    group["inner_optimizer/vars/0"][()] = 70


def alone(group):
    first(group)
    del group["inner_optimizer"]


found = [steps(lambda group: None), steps(first), steps(second), steps(alone)]
print("steps as saved, with another first copy, with another second copy, with another first copy alone:", found)
assert found == [(2, False), (2, False), (70, False), (70, True)], found
PYTHON

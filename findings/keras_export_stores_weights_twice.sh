#!/usr/bin/env bash
# Keras's `model.export` writes each weight twice into the checkpoint of the SavedModel: once under `variables/N`, and once
# under `_all_variables/N`. The folder is twice as large as the weights, and twice as large as `tf.saved_model.save` of the
# same variables.
#
# Observed with Keras 3.15.1, tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64:
#   4,004,000 bytes of weights, 8,008,650 bytes of variables.data-00000-of-00001, keys in pairs with equal values
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - "$work" <<'PY'
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(1000)])
folder = pathlib.Path(sys.argv[1], "model")
model.export(str(folder), verbose=False)
weights = sum(weight.numpy().nbytes for weight in model.weights)
data = (folder / "variables" / "variables.data-00000-of-00001").stat().st_size
reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
keys = sorted(key for key in reader.get_variable_to_shape_map() if key.endswith("VARIABLE_VALUE"))
pairs = [key for key in keys if not key.startswith("_") and np.array_equal(reader.get_tensor(key), reader.get_tensor(f"_all_{key}"))]
print("keras", keras.__version__, "tensorflow", tf.__version__)
print(f"{weights:,} bytes of weights, {data:,} bytes of data; {keys}")
sys.exit(0 if len(keys) == 4 and len(pairs) == 2 and data > 2 * weights else 1)
PY

#!/usr/bin/env bash
# Keras 3 loads `.h5` files of Keras 2 that use `hard_sigmoid`, and answers with other numbers, without an error or a warning
# about it. Keras 2 computes clip(0.2 x + 0.5, 0, 1), Keras 3 clip(x / 6 + 0.5, 0, 1), and the files name both "hard_sigmoid".
#
# Observed with tf_keras 2.21.0 and Keras 3.15.1 on tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64:
#   the largest difference between the probabilities of one file in both is 0.07; for `sigmoid` it is below 1e-6
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1 tf_keras==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - "$work" <<'PY'
import sys

import keras
import numpy as np
import tf_keras

work = sys.argv[1]
x = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
print("tf_keras", tf_keras.__version__, "keras", keras.__version__)
largest = {}
for activation in ("sigmoid", "hard_sigmoid"):
    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(3, activation=activation)])
    path = f"{work}/{activation}.h5"
    model.save(path)
    answers = model.predict(x, verbose=0)
    again = keras.models.load_model(path).predict(x, verbose=0)
    largest[activation] = float(np.abs(again - answers).max())
    print(f"{activation}: the largest difference between Keras 2 and Keras 3 is {largest[activation]:.3g}")
sys.exit(0 if largest["sigmoid"] < 1e-6 and largest["hard_sigmoid"] > 0.01 else 1)
PY

#!/usr/bin/env bash
# Without oneDNN, a convolution in groups runs op by op, and fails once it is followed by BiasAdd in a graph: Grappler's remapper makes
# _FusedConv2D of the two, and the kernel of that refuses groups. oneDNN's kernel takes them. TensorFlow turns oneDNN on by default on
# some x86 processors and leaves it off on others, so that one SavedModel runs on one machine and has no kernel on the next. Keras's own
# layers do not show it, because they compile convolutions in groups by XLA.
#
# Observed with tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64:
#   TF_ENABLE_ONEDNN_OPTS=0: op by op runs; as a graph UNIMPLEMENTED, "Fused conv implementation does not support grouped convolutions
#   for now"; as a graph without remapping runs
#   TF_ENABLE_ONEDNN_OPTS=1: all three run
#
# Exit code 0: reproduced. Needs python3.11 to python3.13, the network, and 1.5 GB in the folder for temporary files.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
cat >"$work/groups.py" <<'PYTHON'
import numpy as np
import tensorflow as tf

kernel, bias = tf.Variable(np.ones((3, 3, 2, 6), np.float32)), tf.Variable(np.ones(6, np.float32))
image = np.ones((1, 11, 12, 4), np.float32)


def convolve(x):
    return tf.identity(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias))


def attempt(name, function):
    try:
        function(image)
        print(f"{name}: runs")
    except tf.errors.UnimplementedError as error:
        print(f"{name}: UNIMPLEMENTED, {'grouped' if 'does not support grouped convolutions' in str(error) else error}")


attempt("op by op", convolve)
attempt("graph", tf.function(convolve))
tf.config.optimizer.set_experimental_options({"remapping": False})
attempt("graph without remapping", tf.function(lambda x: convolve(x)))
PYTHON
for onednn in 0 1; do
    echo "TF_ENABLE_ONEDNN_OPTS=$onednn"
    TF_ENABLE_ONEDNN_OPTS=$onednn TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" "$work/groups.py" 2>/dev/null | tee "$work/$onednn"
done
diff - "$work/0" <<'EXPECTED' || { echo "this has changed"; exit 1; }
op by op: runs
graph: UNIMPLEMENTED, grouped
graph without remapping: runs
EXPECTED
diff - "$work/1" <<'EXPECTED' || { echo "this has changed"; exit 1; }
op by op: runs
graph: runs
graph without remapping: runs
EXPECTED

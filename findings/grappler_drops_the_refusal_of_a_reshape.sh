#!/usr/bin/env bash
# A Reshape that another Reshape follows is left out by TensorFlow's optimizer, and with it the check that the number of elements
# fits. So a request of a wrong size, which the model refuses op by op, is answered where the graph is optimized: in a session with
# the default configuration, in a tf.function, and hence in a server. A model cannot rely on such a Reshape to refuse its inputs.
#
# Observed with tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64; x has 8 elements, and y = reshape(reshape(x, [-1, 6]), [-1, 4]):
#   op by op                                            InvalidArgumentError
#   session, disable_meta_optimizer                     InvalidArgumentError
#   session, default configuration                      an answer of the shape [2, 4]
#   tf.function                                         an answer of the shape [2, 4]
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PY'
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
EIGHT = np.ones((2, 4), np.float32)
REFUSED = "InvalidArgumentError"


def reshaped(x: tf.Tensor) -> tf.Tensor:
    """Two reshapes, of which only the second fits eight elements."""
    return tf.abs(tf.reshape(tf.reshape(x, [-1, 6]), [-1, 4]))


def outcome(run: Callable[[], np.ndarray | tf.Tensor]) -> str:
    """The shape of an answer, or the error."""
    try:
        return str(list(run().shape))
    except tf.errors.InvalidArgumentError:
        return REFUSED


def in_session(off: bool) -> np.ndarray:
    """The answer of a session, perhaps without the optimizer."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf1.placeholder(tf.float32, [None, None])
        y = reshaped(x)
    config = tf1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = off
    with tf1.Session(graph=graph, config=config) as session:
        return session.run(y, {x: EIGHT})


function = tf.function(reshaped, input_signature=[tf.TensorSpec([None, None])])
seen = {
    "op by op": outcome(lambda: reshaped(tf.constant(EIGHT))),
    "session without the optimizer": outcome(lambda: in_session(True)),
    "session": outcome(lambda: in_session(False)),
    "tf.function": outcome(lambda: function(EIGHT)),
}
print("tensorflow", tf.__version__)
for where, what in seen.items():
    print(f"{where}: {what}")
sys.exit(0 if list(seen.values()) == [REFUSED, REFUSED, "[2, 4]", "[2, 4]"] else 1)
PY

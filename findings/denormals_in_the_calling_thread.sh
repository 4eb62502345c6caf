#!/usr/bin/env bash
# TensorFlow flushes denormals to zero only in its own threads. A session with inter_op_parallelism_threads = -1 runs its graph
# in the calling thread and keeps denormals: the same session, op and number give two answers, depending on the number of elements,
# because ops with many elements are divided among TensorFlow's threads.
#
# Observed with tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64, oneDNN on:
#   default session:                  1e-20 * 1e-20 = 0 for 1 element and for 200,000
#   inter_op_parallelism_threads=-1:  1e-40 for 1 element, and 0 for (nearly) all of 200,000
# Python's eager mode and tf.function give 0 too.
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PY'
import sys

import numpy as np
import tensorflow as tf

graph = tf.Graph()
with graph.as_default():
    x = tf.compat.v1.placeholder(tf.float32, [None])
    y = x * x


def denormals(size: int, inter: int) -> int:
    """How many squares of 1e-20 have any bit set."""
    config = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=inter, intra_op_parallelism_threads=4)
    with tf.compat.v1.Session(graph=graph, config=config) as session:
        return int(np.count_nonzero(session.run(y, {x: np.full(size, 1e-20, np.float32)}).view(np.uint32)))


print("tensorflow", tf.__version__)
seen = {(inter, size): denormals(size, inter) for inter in (0, -1) for size in (1, 200_000)}
for (inter, size), count in seen.items():
    print(f"inter_op_parallelism_threads={inter}: {count} of {size} products are 1e-40, the others 0")
eager = int(np.count_nonzero((tf.constant([1e-20]) * tf.constant([1e-20])).numpy().view(np.uint32)))
print(f"eager: {eager} of 1")
as_seen = seen[0, 1] == seen[0, 200_000] == eager == 0 and seen[-1, 1] == 1 and seen[-1, 200_000] < 200_000
sys.exit(0 if as_seen else 1)
PY

#!/usr/bin/env bash
# TensorFlow's optimizer makes a convolution and the FusedBatchNorm behind it one op, which has the first output alone, although
# somebody fetches another one. A graph that gives the mean or the variance of a normalisation as an output next to the activation
# then fails in every run of a session with the default configuration.
#
# Observed with tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64; y = relu(batch norm of a convolution of x), fetched with its mean:
#   weights and statistics in variables or constants    OutOfRangeError: Node … (type: '_FusedConv2D', num of outputs: 1) does not
#                                                       have output 1
#   the same, without the optimizer's remapping         an answer
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
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

tf1 = tf.compat.v1
random = np.random.default_rng(0)
WEIGHTS = random.normal(0.0, 0.3, (3, 3, 3, 4)).astype(np.float32)
MEAN = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
IMAGE = np.ones((1, 8, 8, 3), np.float32)


def outcome(frozen: bool, remapping: int = RewriterConfig.DEFAULT) -> str:
    """What a session gives for the activation and the mean."""
    graph = tf.Graph()
    with graph.as_default():
        kept = tf.constant if frozen else tf1.Variable
        x = tf1.placeholder(tf.float32, [None, 8, 8, 3])
        convolved = tf.nn.conv2d(x, kept(WEIGHTS), 1, "SAME")
        ones, zeros = kept(np.ones(4, np.float32)), kept(np.zeros(4, np.float32))
        normalised = tf.raw_ops.FusedBatchNormV3(
            x=convolved, scale=ones, offset=zeros, mean=kept(MEAN), variance=kept(np.ones(4, np.float32)), is_training=False
        )
        fetches = [tf.nn.relu(normalised.y), normalised.batch_mean]
        initialise = tf1.global_variables_initializer()
    config = tf1.ConfigProto()
    config.graph_options.rewrite_options.remapping = remapping
    with tf1.Session(graph=graph, config=config) as session:
        session.run(initialise)
        try:
            mean = session.run(fetches, {x: IMAGE})[1]
        except tf.errors.OutOfRangeError as error:
            return f"OutOfRangeError: {error.message.splitlines()[-1]}"
    return "an answer" if np.array_equal(mean, MEAN) else f"another mean: {mean}"


print("tensorflow", tf.__version__)
seen = {
    "variables": outcome(False),
    "constants": outcome(True),
    "variables, no remapping": outcome(False, RewriterConfig.OFF),
    "constants, no remapping": outcome(True, RewriterConfig.OFF),
}
for how, what in seen.items():
    print(f"{how}: {what}")
found = list(seen.values())
as_seen = all("does not have output 1" in what for what in found[:2]) and found[2:] == ["an answer"] * 2
sys.exit(0 if as_seen else 1)
PY

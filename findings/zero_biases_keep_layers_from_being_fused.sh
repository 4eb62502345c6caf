#!/usr/bin/env bash
# A frozen model that was not trained, whose speed is often measured in place of a trained one's, runs other ops. Its biases are zeros,
# as Keras makes them. Grappler drops a `BiasAdd` of zeros, and then does not fuse the activation with the matrix product, which it does
# where there is a bias. So the layer of a trained model runs as one op, and that of an untrained one as two.
#
# Observed with tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64: the ops that run for y = relu(x W + b), where W and b are constants:
#   b of zeros  MatMul, Relu
#   b of ones   _FusedMatMul with BiasAdd and Relu
#
# Exit code 0: reproduced. Needs python3.11 to python3.13 and the network: it downloads 300 MB into a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0
cd "$work"
# Without oneDNN, the ops have the names of the graph.
TF_ENABLE_ONEDNN_OPTS=0 TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'PYTHON'
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()


def ops(bias):
    """The ops that run, and what they fuse."""
    session = v1.Session(graph=v1.Graph())
    with session.graph.as_default():
        x = v1.placeholder(tf.float32, [None, 8])
        product = tf.matmul(x, tf.constant(np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)))
        y = tf.identity(tf.nn.relu(tf.nn.bias_add(product, tf.constant(bias))))
    options, metadata = v1.RunOptions(output_partition_graphs=True), v1.RunMetadata()
    session.run(y, {x: np.ones((2, 8), np.float32)}, options, metadata)
    nodes = [node for graph in metadata.partition_graphs for node in graph.node]
    kernels = sorted((node for node in nodes if node.op in ("MatMul", "_FusedMatMul", "BiasAdd", "Relu")), key=lambda node: node.op)
    return [(node.op, [name.decode() for name in node.attr["fused_ops"].list.s]) for node in kernels]


zeros, ones = ops(np.zeros(8, np.float32)), ops(np.ones(8, np.float32))
print(f"b of zeros  {zeros}\nb of ones   {ones}")
assert zeros == [("MatMul", []), ("Relu", [])]
assert ones == [("_FusedMatMul", ["BiasAdd", "Relu"])]
PYTHON

#!/usr/bin/env bash
# TensorFlow folds a constant factor behind a convolution into its weights, so that BatchNormalization costs nothing in a frozen
# model, but only behind Conv2D. Behind DepthwiseConv2dNative, which separable networks alternate with Conv2D, the factor and the
# summand stay ops of their own, and the activation is not fused either: three more passes through memory for each such layer.
# Multiplied into the weights by hand, with the summand as a BiasAdd, the same layer becomes one fused op.
#
# Observed with tensorflow-cpu 2.21.0, CPython 3.11, Linux x86-64, oneDNN on; ops of the partitioned graph that runs:
#   x -> Conv2D -> * c -> + d -> Relu6                  one fused op, no Mul
#   x -> DepthwiseConv2dNative -> * c -> + d -> Relu6   DepthwiseConv2dNative, Mul, AddV2, Relu6
#   x -> DepthwiseConv2dNative, c in its weights -> BiasAdd d -> Relu6   one fused op
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

tf1 = tf.compat.v1
random = np.random.default_rng(0)
weights = random.normal(0.0, 0.3, (3, 3, 8, 8)).astype(np.float32)
factor, summand = (random.uniform(0.5, 1.5, 8).astype(np.float32) for _ in range(2))


def layer(kind: str, x: tf.Tensor) -> tf.Tensor:
    """A convolution, a factor, a summand and an activation."""
    if kind == "Conv2D":
        y = tf.nn.conv2d(x, weights, 1, "SAME") * factor + summand
    elif kind == "depthwise":
        y = tf.nn.depthwise_conv2d(x, weights[..., :1], [1, 1, 1, 1], "SAME") * factor + summand
    else:
        by_hand = weights[..., :1] * factor[:, np.newaxis]
        y = tf.nn.bias_add(tf.nn.depthwise_conv2d(x, by_hand, [1, 1, 1, 1], "SAME"), summand)
    return tf.nn.relu6(y)


def ops(kind: str) -> tuple[list[str], np.ndarray]:
    """The ops that run, but for those that only pass on, and an answer."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf1.placeholder(tf.float32, [1, 16, 16, 8])
        y = tf.identity(layer(kind, x) + 0.0, name="y")
    image = np.linspace(-1.0, 1.0, 16 * 16 * 8, dtype=np.float32).reshape(1, 16, 16, 8)
    metadata = tf1.RunMetadata()
    with tf1.Session(graph=graph) as session:
        answer = session.run(y, {x: image}, tf1.RunOptions(output_partition_graphs=True), metadata)
    passing = {"Const", "Identity", "_Arg", "_Retval", "_Recv", "_Send"}
    return sorted(node.op for part in metadata.partition_graphs for node in part.node if node.op not in passing), answer


print("tensorflow", tf.__version__)
seen = {kind: ops(kind) for kind in ("Conv2D", "depthwise", "by hand")}
for kind, (found, _) in seen.items():
    print(f"{kind}: {', '.join(found)}")
has = lambda kind, op: any(op in found for found in seen[kind][0])  # noqa: E731
as_seen = not has("Conv2D", "Mul") and has("Conv2D", "FusedConv2D")
as_seen &= has("depthwise", "Mul") and has("depthwise", "Relu6") and not has("depthwise", "FusedDepthwise")
as_seen &= has("by hand", "FusedDepthwise") and not has("by hand", "Relu6")
as_seen &= bool(np.allclose(seen["depthwise"][1], seen["by hand"][1], atol=1e-5))
sys.exit(0 if as_seen else 1)
PY

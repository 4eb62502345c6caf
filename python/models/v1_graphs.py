"""TF1-style graphs, written by the v1 SavedModelBuilder."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_diabetes, load_iris

from models.assets import asset_file
from models.registry import model
from models.v1_helpers import CLASSIFY, REGRESS, builder, graph_session, signature, v1
from tf_persist_keras.recorded.cases import Built, Case


def _example(values: np.ndarray) -> bytes:
    """A serialized tf.Example with the float feature `x`."""
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))
    return tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString(deterministic=True)


def _iris_logits(x: tf.Tensor) -> tf.Tensor:
    """The linear model; its variables are shared between calls.

    `kernel` is one variable in two slices; `bias` is a reference variable, as all were before TF2.
    """
    with v1.variable_scope("iris", reuse=v1.AUTO_REUSE):
        kernel = v1.get_variable(
            "kernel",
            [4, 3],
            initializer=v1.zeros_initializer(),
            partitioner=v1.fixed_size_partitioner(2),
            use_resource=True,
        )
        with tf.device("/cpu:1"):
            bias = v1.get_variable("bias", [3], initializer=v1.zeros_initializer(), use_resource=False)
    return tf.matmul(x, tf.convert_to_tensor(kernel)) + bias


@model("tf1_graph", "TF1 graph on real iris data: reference and sliced variables, two shards, tf.Example, assets")
def tf1_graph(folder: Path) -> Built:
    """Logistic regression trained with momentum, whose slots and step are saved too.

    The label table is initialised through the `legacy_init_op` collection, as models before TF 1.13 have it.
    """
    iris = load_iris()
    features, classes = iris.data.astype(np.float32), iris.target.astype(np.int64)
    two_devices = v1.ConfigProto(device_count={"CPU": 2})
    with asset_file(folder, "species.txt", list(iris.target_names)) as asset, graph_session(two_devices) as session:
        species = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                asset, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE
            ),
            default_value="unknown",
        )
        x = v1.placeholder(tf.float32, [None, 4], "x")
        label = v1.placeholder(tf.int64, [None], "label")
        logits = _iris_logits(x)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=label, logits=logits))
        step = v1.train.get_or_create_global_step()
        train = v1.train.MomentumOptimizer(0.05, momentum=0.9).minimize(loss, global_step=step)
        session.run(v1.global_variables_initializer())
        for _ in range(100):
            session.run(train, {x: features, label: classes})

        serialized = v1.placeholder(tf.string, [None], "tf_example")
        parsed = v1.parse_example(serialized, {"x": v1.FixedLenFeature([4], tf.float32)})["x"]
        scores = tf.nn.softmax(_iris_logits(parsed))
        best = tf.argsort(scores, direction="DESCENDING", stable=True)
        probabilities = tf.nn.softmax(logits, name="probabilities")
        signatures = {
            "serving_default": signature(
                {"x": x}, {"probabilities": probabilities, "species": species.lookup(tf.argmax(logits, axis=1))}
            ),
            "classify": signature(
                {"inputs": serialized},
                {"classes": species.lookup(tf.cast(best, tf.int64)), "scores": tf.gather(scores, best, batch_dims=1)},
                CLASSIFY,
            ),
            "regress": signature(
                {"inputs": serialized}, {"outputs": tf.reduce_sum(scores * [0.0, 1.0, 2.0], axis=1)}, REGRESS
            ),
        }
        v1.add_to_collection("legacy_init_op", v1.tables_initializer())
        writer = builder(folder)
        writer.add_meta_graph_and_variables(
            session,
            ["serve"],
            signatures,
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            clear_devices=True,
            saver=v1.train.Saver(sharded=True),
        )
        writer.save()
    extra = folder / "assets.extra"
    extra.mkdir()
    (extra / "about.txt").write_text("Fisher's iris data, 150 flowers: for people, not for the graph.\n")
    flowers = [features[[0]], features[[0, 50, 100, 149]], features[:0]]
    cases = [Case("serving_default", {"x": batch}) for batch in flowers]
    for name in ("classify", "regress"):
        for batch in flowers[:2]:
            examples = np.array([_example(row) for row in batch], dtype=object)
            cases.append(Case(name, {"inputs": examples}))
    return Built(cases)


def _linear(x: tf.Tensor) -> tuple[tf.Tensor, list[tf.Variable]]:
    kernel = v1.get_variable("kernel", [2, 1], initializer=v1.constant_initializer([[949.0], [0.0]]))
    bias = v1.get_variable("bias", [1], initializer=v1.constant_initializer(152.0))
    return tf.matmul(x, kernel) + bias, [kernel, bias]


@model("multi", "two meta graphs (`serve`, and `serve,train` with gradients) over the same variables")
def multi(folder: Path) -> Built:
    """Linear regression on two features of the diabetes data; two outputs that are one tensor, and a main op."""
    writer = builder(folder)
    with graph_session() as session:
        signatures = _multi_serving()
        session.run(v1.global_variables_initializer())
        main_op = v1.tables_initializer()
        writer.add_meta_graph_and_variables(session, ["serve"], signatures, main_op=main_op)
    with graph_session():
        writer.add_meta_graph(["serve", "train"], _multi_training())
    writer.save()
    data = load_diabetes()
    x, target = data.data[:8, [2, 8]].astype(np.float32), data.target[:8, np.newaxis].astype(np.float32)
    serve, train = ["serve"], ["serve", "train"]
    shift = np.array(10.0, np.float32)
    return Built(
        [
            Case("serving_default", {"x": x[:1]}, serve),
            Case("serving_default", {"x": x}, serve),
            Case("shifted", {"x": x[:3], "shift": shift}, serve),
            Case("aliases", {"x": x[:2]}, serve),
            Case("serving_default", {"x": x}, train),
            Case("gradients", {"x": x, "target": target}, train),
        ]
    )


def _multi_serving() -> dict[str, Any]:
    x = v1.placeholder(tf.float32, [None, 2], "x")
    shift = v1.placeholder(tf.float32, [], "shift")
    y, _ = _linear(x)
    return {
        "serving_default": signature({"x": x}, {"y": y}),
        "shifted": signature({"x": x, "shift": shift}, {"y": y + shift}),
        "aliases": signature({"x": x}, {"y": y, "same": y}),
    }


def _multi_training() -> dict[str, Any]:
    x = v1.placeholder(tf.float32, [None, 2], "x")
    target = v1.placeholder(tf.float32, [None, 1], "target")
    y, variables = _linear(x)
    loss = tf.reduce_mean(tf.square(y - target), name="loss")
    kernel, bias = tf.gradients(loss, variables)
    return {
        "serving_default": signature({"x": x}, {"y": y}),
        "gradients": signature({"x": x, "target": target}, {"loss": loss, "kernel": kernel, "bias": bias}),
    }

"""Small v1 SavedModels, each with one feature of real SavedModels that tools overlook."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from models.assets import asset_file
from models.registry import model, strings
from models.v1_helpers import builder, graph_session, signature, v1
from tf_persist_keras.recorded.cases import EXACT, Built, Case


@model("sparse", "constants only, no variables folder; sparse (coo_sparse) inputs and outputs")
def sparse(folder: Path) -> Built:
    """A frozen linear layer over a sparse matrix, and one that returns a sparse matrix."""
    with graph_session() as session:
        features = v1.sparse_placeholder(tf.float32, [None, 4], "features")
        scores = tf.sparse.sparse_dense_matmul(features, tf.constant([[1.0], [-0.5], [0.25], [8.0]]))
        doubled = tf.SparseTensor(features.indices, features.values * 2.0, features.dense_shape)
        signatures = {
            "serving_default": signature({"features": features}, {"scores": scores}),
            "sparse": signature({"features": features}, {"doubled": doubled}),
        }
        writer = builder(folder)
        writer.add_meta_graph_and_variables(session, ["serve"], signatures)
        writer.save()
    batches = [
        {
            "features.indices": np.array(indices, np.int64).reshape(-1, 2),
            "features.values": np.array(values, np.float32),
            "features.dense_shape": np.array(shape, np.int64),
        }
        for indices, values, shape in (
            ([[0, 1], [1, 0], [1, 3]], [2.0, 3.0, 0.5], [3, 4]),
            ([], [], [2, 4]),
        )
    ]
    return Built([Case(name, batch) for name in signatures for batch in batches], tolerance=EXACT)


@model("text_format", "saved_model.pbtxt instead of saved_model.pb, with variables, and with an empty tag set")
def text_format(folder: Path) -> Built:
    """Half plus two once more, without any tag."""
    with graph_session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        a, b = (v1.get_variable(name, initializer=value, use_resource=True) for name, value in (("a", 0.5), ("b", 2.0)))
        session.run(v1.global_variables_initializer())
        writer = builder(folder)
        writer.add_meta_graph_and_variables(session, [], {"serving_default": signature({"x": x}, {"y": a * x + b})})
        writer.save(as_text=True)
    cases = [Case("serving_default", {"x": np.array(batch, np.float32)}) for batch in ([1.0], [-4.0, 0.0, 7.0])]
    return Built(cases, tags=(), tolerance=EXACT)


@model("gpu_pinned", "an operation pinned to a GPU: loads on a CPU with soft placement only")
def gpu_pinned(folder: Path) -> Built:
    """Squares, on `/gpu:0`."""
    config = {"allow_soft_placement": True}
    with graph_session(v1.ConfigProto(**config)) as session:
        x = v1.placeholder(tf.float32, [None], "x")
        with tf.device("/gpu:0"):
            y = tf.square(x, name="y")
        writer = builder(folder)
        writer.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature({"x": x}, {"y": y})})
        writer.save()
    case = Case("serving_default", {"x": np.array([-3.0, 0.0, 1.5], np.float32)})
    return Built([case], session_config=config, tolerance=EXACT)


@model("bare_table", "a lookup table that no init op initialises: its initialiser runs once after loading")
def bare_table(folder: Path) -> Built:
    """Words to their numbers; the initialiser is only in the collection `table_initializer`."""
    with asset_file(folder, "words.txt", ["alpha", "beta", "gämma"]) as asset, graph_session() as session:
        table = tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer(
                asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            ),
            num_oov_buckets=1,
        )
        words = v1.placeholder(tf.string, [None], "words")
        initialisers = [operation.name for operation in v1.get_collection(v1.GraphKeys.TABLE_INITIALIZERS)]
        writer = builder(folder)
        writer.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature({"words": words}, {"ids": table.lookup(words)})},
            assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
        )
        writer.save()
    cases = [Case("serving_default", {"words": batch}) for batch in (strings("beta"), strings("gämma", "delta", ""))]
    return Built(cases, run_after_load=initialisers, tolerance=EXACT)


@model("session_only", "what Python's eager loader refuses: an output of a reference dtype, two keys for one tensor")
def session_only(folder: Path) -> Built:
    """A reference variable as an output (its TensorInfo has dtype 101, which means float32), and two input keys
    that name one tensor, which is fed once."""
    with graph_session() as session:
        x = v1.placeholder(tf.float32, [2], "x")
        weights = v1.get_variable("weights", initializer=[0.25, -8.0], use_resource=False)
        session.run(v1.global_variables_initializer())
        signatures = {
            "serving_default": signature({"x": x, "same": x}, {"y": weights * x}),
            "weights": signature({}, {"weights": weights.op.outputs[0]}),
        }
        writer = builder(folder)
        writer.add_meta_graph_and_variables(session, ["serve"], signatures)
        writer.save()
    values = np.array([3.0, 0.5], np.float32)
    cases = [Case("weights"), Case("serving_default", {"x": values, "same": values})]
    return Built(cases, tolerance=EXACT, loads_eagerly=False)

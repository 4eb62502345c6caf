"""Exports models in pairs, to see what `tf-persist diff` makes of them.

    python -m models.make_diff_pairs OUT

Writes SavedModels of a trainable `tf.Module` with an LSTM, a loop, a branch and two lookup tables, and of a TensorFlow 1 graph:
`first`, and `again`, exported after other functions were traced, so that every number in a made-up name differs; `process`, from
another process; `trained`, after three steps of training; `constant`, `swapped` and `tables`, with one small thing changed each;
`v1_first`, `v1_again` and `v1_loop`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


class Model(tf.Module):
    """A model with state, functions in functions, control flow and tables."""

    def __init__(self, change: str = "") -> None:
        super().__init__()
        keras.backend.clear_session()  # else its names would be numbered on
        keras.utils.set_random_seed(7)
        self.change = change
        network = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(5), keras.layers.Dense(2)])
        self.network = network
        self.weights = [variable.value for variable in network.variables]
        self.step = tf.Variable(0, dtype=tf.int64, name="step")
        self.tables = [self.table(["a", "b"]), self.table(["c", "d", "e"])]

    def table(self, words: list[str]) -> tf.lookup.StaticHashTable:
        """From words to their places."""
        values = tf.range(len(words), dtype=tf.int64)
        return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(words), values), -1)

    @tf.function
    def loop(self, x: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """A loop with a branch in it."""
        for _ in tf.range(count):
            x = x * 0.5 if tf.reduce_sum(x) > 1 else x + (0.25 if self.change == "constant" else 0.125)
        return x

    def export(self, path: Path) -> tf.types.experimental.ConcreteFunction:
        """Writes the model with functions traced anew; gives its step of training."""

        @tf.function
        def serve(a: tf.Tensor, b: tf.Tensor, word: tf.Tensor) -> dict[str, tf.Tensor]:
            a, b = (b, a) if self.change == "swapped" else (a, b)
            first, second = reversed(self.tables) if self.change == "tables" else self.tables
            answer = {"sum": self.network(a) - self.loop(self.network(b), 3), "half": tf.reduce_sum(a) / 2}
            return answer | {"first": first.lookup(word), "second": second.lookup(tf.strings.lower(word))}

        @tf.function
        def train(a: tf.Tensor, y: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.network(a) - y) ** 2)
            trained = [variable.value for variable in self.network.trainable_variables]
            for variable, gradient in zip(trained, tape.gradient(loss, trained), strict=True):
                variable.assign_sub(0.1 * gradient)
            self.step.assign_add(1)
            return {"loss": loss}

        x = tf.TensorSpec([None, 4, 3], tf.float32)
        signatures = {
            "serving_default": serve.get_concrete_function(
                tf.TensorSpec(x.shape, tf.float32, "a"),
                tf.TensorSpec(x.shape, tf.float32, "b"),
                tf.TensorSpec([None], tf.string, "word"),
            ),
            "train": train.get_concrete_function(
                tf.TensorSpec(x.shape, tf.float32, "a"), tf.TensorSpec([None, 2], tf.float32, "y")
            ),
        }
        tf.saved_model.save(self, str(path), signatures=signatures)
        return signatures["train"]


def export_v1(path: Path, constant: float = 0.5) -> None:
    """A graph of TensorFlow 1 with a loop, whose saver has a random name in it."""
    with v1.Graph().as_default(), v1.Session() as session:
        v1.disable_control_flow_v2()
        x = v1.placeholder(tf.float32, [None], name="x")
        weight = v1.get_variable("weight", initializer=np.float32(3), use_resource=False)
        y = v1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y * weight + constant), (0, x))[1]
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only-first", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    out: Path = arguments.out
    if arguments.only_first:
        Model().export(out)
        return 0
    subprocess.run([sys.executable, __file__, out / "process", "--only-first"], check=True)
    model = Model()
    model.export(out / "first")
    step = model.export(out / "again")
    rng = np.random.default_rng(3)
    for _ in range(3):
        images, wanted = rng.normal(size=(8, 4, 3)), rng.normal(size=(8, 2))
        step(a=tf.constant(images, tf.float32), y=tf.constant(wanted, tf.float32))
    model.export(out / "trained")
    for change in ["constant", "swapped", "tables"]:
        Model(change).export(out / change)
    export_v1(out / "v1_first")
    export_v1(out / "v1_again")
    export_v1(out / "v1_loop", 0.75)
    return 0


if __name__ == "__main__":
    sys.exit(main())

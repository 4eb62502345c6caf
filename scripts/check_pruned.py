#!/usr/bin/env python3
"""Models whose parts hang together in ways that are easily cut, and a check of what is left of them.

    scripts/check_pruned.py make DIR            writes the models, and what each answers, to DIR
    scripts/check_pruned.py check MODEL=DIR/NAME ...   each MODEL, an export of DIR/NAME, answers the same, in a v1 session and
                                                as Python's `tf.saved_model.load` loads it

The signature is `serving_default`, its input `x`. Exit code 1 if any answer differs or a model does not load.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


class SharedConstant(tf.Module):
    """Two signatures capture one constant and one table; only one of them stays."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.constant([2.0, 3.0])
        self.offset = tf.Variable([5.0, 7.0])
        pairs = tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], tf.int64))
        self.table = tf.lookup.StaticHashTable(pairs, -1)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads the constant and the table."""
        known = tf.cast(self.table.lookup(tf.constant(["a"])), tf.float32)
        return {"y": x * self.factor + known}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def other(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads them as well, and a variable."""
        known = tf.cast(self.table.lookup(tf.constant(["a"])), tf.float32)
        return {"z": x * self.factor + self.offset + known}


def in_session(folder: Path, build: Callable[[tf.Tensor], tuple[tf.Tensor, list[tf.Tensor] | None]]) -> None:
    """A model of TensorFlow 1: `build` gives the output, and the variables that are saved, if not all."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], "x")
        y, saved = build(x)
        # One after the other: some begin as others.
        for variable in v1.global_variables():
            session.run(variable.initializer)
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        others = {"saver": v1.train.Saver(saved), "main_op": v1.variables_initializer(rest(saved))} if saved else {}
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, **others)
        builder.save()


def rest(saved: list[tf.Tensor]) -> list[tf.Tensor]:
    """The variables that are not saved."""
    return [variable for variable in v1.global_variables() if all(variable is not other for other in saved)]


def initial_value(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """A variable that begins as another's multiple, which the signature does not read."""
    first = v1.get_variable("first", initializer=tf.constant([1.0, 2.0]))
    second = v1.get_variable("second", initializer=first * 3.0)
    return x * second, None


def average(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """A moving average alone."""
    weight = v1.get_variable("weight", initializer=tf.constant([1.0, 2.0]))
    averages = v1.train.ExponentialMovingAverage(0.9)
    averages.apply([weight])
    return x * averages.average(weight), None


def partial(x: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """One variable is saved, the other initialised at every load."""
    saved = v1.get_variable("saved", initializer=tf.constant([1.0, 2.0]))
    fresh = v1.get_variable("fresh", initializer=tf.constant([4.0, 8.0]))
    return x * saved + fresh, [saved]


def make(folder: Path) -> None:
    """Writes the models and their answers."""
    module = SharedConstant()
    signatures = {"serving_default": module.serve, "other": module.other}
    tf.saved_model.save(module, str(folder / "shared_constant"), signatures=signatures)
    for kind, use_resources in (("reference", False), ("resource", True)):
        (v1.enable_resource_variables if use_resources else v1.disable_resource_variables)()
        for name, build in (("initial_value", initial_value), ("average", average), ("partial", partial)):
            if (name, kind) != ("average", "resource"):
                in_session(folder / f"{name}_{kind}", build)
    for model in sorted(folder.iterdir()):
        np.save(model / "answer.npy", answer_in_session(model))


def answer_in_session(model: Path) -> np.ndarray:
    """The answer in a session of TensorFlow 1."""
    with tf.Graph().as_default(), v1.Session() as session:
        signature = v1.saved_model.load(session, ["serve"], str(model)).signature_def["serving_default"]
        return session.run(signature.outputs["y"].name, {signature.inputs["x"].name: X})


def check(pair: str) -> None:
    """Raises if an export answers otherwise than its original did."""
    model, original = (Path(part) for part in pair.split("=", 1))
    expected = np.load(original / "answer.npy")
    np.testing.assert_array_equal(answer_in_session(model), expected, err_msg=f"{model}, session")
    loaded = tf.saved_model.load(str(model))
    answer = loaded.signatures["serving_default"](x=tf.constant(X))["y"].numpy()
    np.testing.assert_array_equal(answer, expected, err_msg=f"{model}, eager")


def main() -> None:
    """Does what the arguments say."""
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    elif len(sys.argv) > 2 and sys.argv[1] == "check":
        for pair in sys.argv[2:]:
            check(pair)
            print("ok", pair)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""Models whose parts depend on each other in ways that pruning easily breaks, and a check of their exports.

    python -m checks.check_pruned make DIR            writes the models, and what each answers, to DIR
    python -m checks.check_pruned check MODEL=DIR/NAME ...   each MODEL, an export of DIR/NAME, answers the same, in a v1 session and
                                                as Python's `tf.saved_model.load` loads it

The signature is `serving_default`, its input `x`. Exit code 1 if any answer differs or a model does not load.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

v1 = tf.compat.v1
X = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


class SharedConstant(tf.Module):
    """Two signatures capture one constant and one table; the export keeps one signature."""

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


class WithoutSaver(tf.Module):
    """Signatures that read, that write, and that have no outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable([[1.0, 2.0], [3.0, 4.0]], name="weight")
        self.count = tf.Variable(5.0, name="count")

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads one variable."""
        return {"y": x @ self.weight}

    @tf.function(input_signature=[])
    def look(self) -> dict[str, tf.Tensor]:
        """Reads a variable, and returns nothing."""
        tf.debugging.assert_greater(self.weight[0, 0], 0.0)
        return {}

    @tf.function(input_signature=[])
    def reset(self) -> dict[str, tf.Tensor]:
        """Writes a variable, and returns nothing."""
        self.count.assign(0.0)
        return {}


@tf.custom_gradient
def clipped(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """A function with a custom gradient."""
    return x * 3.0, lambda gradient: tf.clip_by_value(gradient, -0.5, 0.5)


class OwnGradient(tf.Module):
    """A signature with a custom gradient, and one that trains."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable([2.0, 3.0], name="weight")

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Its gradient is 0.5 times the weight."""
        return {"y": clipped(x * self.weight)}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def train(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Writes the variable."""
        self.weight.assign_add(tf.reduce_sum(x, 0))
        return {"loss": tf.reduce_sum(self.weight)}


class Small(tf.Module):
    """A graph of a few nodes, without variables."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Two operations in a function."""
        return {"y": x * 2.0 + 1.0}


class FlagArgument(tf.Module):
    """Batch normalisation whose condition is an argument of the enclosing function and of a loop; and one with several branches."""

    def __init__(self) -> None:
        super().__init__()
        self.average = tf.Variable([1.0, 2.0], name="average")
        self.count = tf.Variable(3.0, name="count")

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32), tf.TensorSpec([], tf.bool)])
    def normalise(self, x: tf.Tensor, training: tf.Tensor) -> tf.Tensor:
        """Writes the average if it trains."""

        def train() -> tf.Tensor:
            self.average.assign_sub(tf.reduce_mean(x, 0) * 0.1)
            return tf.reduce_mean(x, 0)

        mean = tf.cond(training, train, lambda: tf.identity(self.average))
        again = lambda step, total: (step + 1, total + tf.cond(training, train, lambda: tf.identity(self.average)))
        _, total = tf.while_loop(lambda step, _: step < 3, again, (0, tf.zeros(2)))
        mode = tf.cast(training, tf.int32)
        scale = tf.switch_case(mode, [lambda: tf.identity(self.count), lambda: self.count.assign_add(1.0)])
        return (x - mean - tf.stop_gradient(total)) * tf.stop_gradient(scale)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Does not train."""
        return {"y": self.normalise(x, tf.constant(False))}


def switch(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """Branches chosen by a number; some of them write."""
    mode = v1.placeholder_with_default(2, [], "mode")
    average = v1.get_variable("average", initializer=tf.constant([1.0, 2.0]), use_resource=True)
    write = lambda: average.assign_sub([0.5, 0.5], read_value=True)
    return x - tf.switch_case(mode, [write, write, lambda: average * 2.0]), None


def in_session(folder: Path, build: Callable[[tf.Tensor], tuple[tf.Tensor, list[tf.Tensor] | None]]) -> None:
    """A model of TensorFlow 1: `build` returns the output, and the saved variables if not all are saved."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], "x")
        y, saved = build(x)
        # In order, because some initial values depend on other variables.
        for variable in v1.global_variables():
            session.run(variable.initializer)
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        others = {"saver": v1.train.Saver(saved), "main_op": v1.variables_initializer(rest(saved))} if saved else {}
        at_load = v1.get_collection("at_load")
        if at_load:
            others["main_op"] = tf.group(*at_load)
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, **others)
        builder.save()
        session.run(at_load)
        np.save(folder / "answer.npy", session.run(y, {x: X}))


def rest(saved: list[tf.Tensor]) -> list[tf.Tensor]:
    """The variables that are not saved."""
    return [variable for variable in v1.global_variables() if all(variable is not other for other in saved)]


def initial_value(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """A variable whose initial value is a multiple of another one, which the signature does not read."""
    first = v1.get_variable("first", initializer=tf.constant([1.0, 2.0]))
    second = v1.get_variable("second", initializer=first * 3.0)
    return x * second, None


def average(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """Only a moving average."""
    weight = v1.get_variable("weight", initializer=tf.constant([1.0, 2.0]))
    averages = v1.train.ExponentialMovingAverage(0.9)
    averages.apply([weight])
    return x * averages.average(weight), None


def partial(x: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """One variable is saved, the other initialised at every load."""
    saved = v1.get_variable("saved", initializer=tf.constant([1.0, 2.0]))
    fresh = v1.get_variable("fresh", initializer=tf.constant([4.0, 8.0]))
    return x * saved + fresh, [saved]


def assigned(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """A variable that the init op gives another value than the checkpoint has, computed from one that it leaves alone."""
    weight = v1.get_variable("weight", initializer=tf.constant([1.0, 2.0]))
    offset = v1.get_variable("offset", initializer=tf.constant([4.0, 8.0]))
    v1.add_to_collection("at_load", v1.assign(offset, weight * 10.0).op)
    return x * weight + offset, None


def branch(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """Batch normalisation that assigns its moving average in a branch that no signature takes."""
    training = v1.placeholder_with_default(False, [], "is_training")
    average = v1.get_variable("average", initializer=tf.constant([1.0, 2.0]))

    def train() -> tf.Tensor:
        with tf.control_dependencies([v1.assign_sub(average, average * 0.1)]):
            return tf.reduce_mean(x, 0)

    return x - v1.cond(training, train, lambda: tf.identity(average)), None


def partitioned(x: tf.Tensor) -> tuple[tf.Tensor, None]:
    """Variables of both kinds, and one in two parts."""
    weight = v1.get_variable("dense/weight", initializer=tf.constant([[1.0, 2.0], [3.0, 4.0]]), use_resource=False)
    bias = v1.get_variable("dense/bias", initializer=tf.constant([0.5, 0.25]), use_resource=True)
    rows = tf.range(8.0)
    parts = v1.get_variable(
        "rows",
        [4, 2],
        initializer=lambda shape, partition_info=None, **_: tf.reshape(rows, [4, 2])[partition_info.var_offset[0] :][:2],
        partitioner=v1.fixed_size_partitioner(2),
    )
    return tf.matmul(x, weight) + bias + tf.nn.embedding_lookup(parts, [2]), None


def without_saver(folder: Path) -> None:
    """Removes the saver from a model, as modules of TensorFlow Hub in the format of TensorFlow 1 have none."""
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (meta_graph,) = model.meta_graphs
    meta_graph.ClearField("saver_def")
    nodes = [node for node in meta_graph.graph_def.node if not node.name.startswith("save/")]
    del meta_graph.graph_def.node[:]
    meta_graph.graph_def.node.extend(nodes)
    file.write_bytes(model.SerializeToString())


def of_objects(folder: Path, model: tf.Module | keras.Model, signatures: dict | None, **options: bool) -> None:
    """A model of TensorFlow 2, with its answer and the gradient of it."""
    tf.saved_model.save(model, str(folder), signatures, tf.saved_model.SaveOptions(**options))
    answer, gradient = eager(tf.saved_model.load(str(folder)))
    np.save(folder / "answer.npy", answer)
    np.save(folder / "gradient.npy", gradient)


def eager(loaded: tf.types.experimental.GenericFunction) -> tuple[np.ndarray, np.ndarray]:
    """The answer of a loaded model, and its gradient."""
    signature = loaded.signatures["serving_default"]
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        (y,) = signature(**{key: x for key in signature.structured_input_signature[1]}).values()
    return y.numpy(), tape.gradient(y, x).numpy()


def make(folder: Path) -> None:
    """Writes the models and their answers."""
    module = SharedConstant()
    signatures = {"serving_default": module.serve, "other": module.other}
    of_objects(folder / "shared_constant", module, signatures)
    bare = WithoutSaver()
    signatures = {"serving_default": bare.serve, "look": bare.look, "reset": bare.reset}
    of_objects(folder / "without_saver", bare, signatures, experimental_skip_saver=True)
    of_objects(folder / "no_outputs", bare, signatures)
    own = OwnGradient()
    signatures = {"serving_default": own.serve, "train": own.train}
    of_objects(folder / "own_gradient", own, signatures, experimental_custom_gradients=True)
    small = Small()
    of_objects(folder / "small", small, {"serving_default": small.serve})
    flag = FlagArgument()
    of_objects(folder / "flag_argument", flag, {"serving_default": flag.serve})
    # The saver of this model restores copies of the variables that the signature reads.
    network = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    network.compile("adam", "mse")
    network.fit(X, X, verbose=0)
    of_objects(folder / "keras", network, None)
    in_session(folder / "partitioned_without_saver", partitioned)
    without_saver(folder / "partitioned_without_saver")
    for kind in ("old", "new"):
        (v1.enable_control_flow_v2 if kind == "new" else v1.disable_control_flow_v2)()
        in_session(folder / f"branch_{kind}", branch)
    in_session(folder / "switch", switch)
    v1.disable_resource_variables()
    v1.disable_control_flow_v2()
    in_session(folder / "branch_reference", branch)
    for kind, use_resources in (("reference", False), ("resource", True)):
        (v1.enable_resource_variables if use_resources else v1.disable_resource_variables)()
        for name, build in (
            ("initial_value", initial_value),
            ("average", average),
            ("partial", partial),
            ("assigned", assigned),
        ):
            if (name, kind) != ("average", "resource"):
                in_session(folder / f"{name}_{kind}", build)


def answer_in_session(model: Path) -> np.ndarray:
    """The answer in a session of TensorFlow 1."""
    with tf.Graph().as_default(), v1.Session() as session:
        signature = v1.saved_model.load(session, ["serve"], str(model)).signature_def["serving_default"]
        (x,), (y,) = signature.inputs.values(), signature.outputs.values()
        return session.run(y.name, {x.name: X})


def check(pair: str) -> None:
    """Raises if an export gives other answers than its original."""
    model, original = (Path(part) for part in pair.split("=", 1))
    expected = np.load(original / "answer.npy")
    np.testing.assert_allclose(answer_in_session(model), expected, rtol=1e-6, err_msg=f"{model}, session")
    loaded = tf.saved_model.load(str(model))
    if (original / "gradient.npy").exists() and (model / "variables").exists():
        answer, gradient = eager(loaded)
        np.testing.assert_allclose(gradient, np.load(original / "gradient.npy"), rtol=1e-6, err_msg=f"{model}, gradient")
    else:
        signature = loaded.signatures["serving_default"]
        (key,) = signature.structured_input_signature[1]
        (answer,) = (value.numpy() for value in signature(**{key: tf.constant(X)}).values())
    np.testing.assert_allclose(answer, expected, rtol=1e-6, err_msg=f"{model}, eager")
    print("ok", pair, *sorted(loaded.signatures))
    for name in set(loaded.signatures) & {"look", "reset"}:
        loaded.signatures[name]()


def main() -> None:
    """The command line."""
    if len(sys.argv) == 3 and sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    elif len(sys.argv) > 2 and sys.argv[1] == "check":
        for pair in sys.argv[2:]:
            check(pair)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()

"""Training checkpoints with the models that they belong to, for tests/interop/restore.rs.

    python -m models.make_checkpoints make DIR     writes DIR/CASE/model, DIR/CASE/checkpoint… and DIR/CASE/expected.npz
    python -m models.make_checkpoints check DIR    runs DIR/CASE/restored and compares it with what was recorded

Each model is saved before it is trained; what its signature answers after training, when the checkpoint is written, is recorded.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops import lookup_ops

from tf_persist_keras import write

v1 = tf.compat.v1
X = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
CASES: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {}


def case(function: Callable[[Path], dict[str, np.ndarray]]) -> Callable[[Path], dict[str, np.ndarray]]:
    """Registers a case under the function's name."""
    CASES[function.__name__] = function
    return function


class Net(tf.Module):
    """A plain module: no Keras, and variables that have no names of their own."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layers = [tf.Variable(tf.random.normal([4, width])), tf.Variable(tf.random.normal([width, 2]))]
        self.steps = tf.Variable(0, dtype=tf.int64)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answer."""
        return {"y": (x @ self.layers[0]) @ self.layers[1], "steps": self.steps + 0}


def train(net: Net) -> None:
    """Other values for all variables."""
    for variable in net.layers:
        variable.assign(tf.random.normal(variable.shape))
    net.steps.assign_add(7)


def answers(net: Net) -> dict[str, np.ndarray]:
    """The answer of the signature."""
    return {name: value.numpy() for name, value in net(tf.constant(X)).items()}


def save(net: Net, folder: Path) -> None:
    """The SavedModel of a module."""
    tf.saved_model.save(net, folder / "model", signatures=net.__call__)


def keras_model() -> keras.Model:
    """Trained layers, statistics, a seed; compiled."""
    model = keras.Sequential(
        [
            keras.Input((4,), name="x"),
            keras.layers.Dense(3, name="first"),
            keras.layers.Dropout(0.5, seed=3),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("adam", "mse", metrics=["mae"])
    fit(model, 1)
    return model


def fit(model: keras.Model, epochs: int) -> None:
    """A few steps."""
    model.fit(X, X[:, :2], epochs=epochs, verbose=0)


def predict(model: keras.Model) -> dict[str, np.ndarray]:
    """The answer of a session of the exported model, under any name."""
    return {"output": np.asarray(model(X, training=False))}


@case
def keys(folder: Path) -> dict[str, np.ndarray]:
    """`tf.train.Checkpoint` of the object that was saved."""
    net = Net()
    save(net, folder)
    train(net)
    tf.train.Checkpoint(net).write(folder / "checkpoint")
    return answers(net)


@case
def objects(folder: Path) -> dict[str, np.ndarray]:
    """The model is an object of the checkpoint, which also has the optimizer's variables."""
    net = Net()
    save(net, folder)
    train(net)
    optimizer = keras.optimizers.Adam()
    optimizer.build(net.layers)
    tf.train.Checkpoint(model=net, optimizer=optimizer).save(folder / "training" / "checkpoint")
    return answers(net)


@case
def root_inside(folder: Path) -> dict[str, np.ndarray]:
    """The checkpoint is of an object of the model."""
    net = Net()
    module = tf.Module()
    module.net = net
    tf.saved_model.save(module, folder / "model", signatures=net.__call__)
    train(net)
    tf.train.Checkpoint(net).write(folder / "checkpoint")
    return answers(net)


@case
def two_objects(folder: Path) -> dict[str, np.ndarray]:
    """Two objects of one architecture: the user must choose."""
    net, other = Net(), Net()
    save(net, folder)
    train(net)
    tf.train.Checkpoint(discriminator=other, generator=net).write(folder / "checkpoint")
    return answers(net)


@case
def slots(folder: Path) -> dict[str, np.ndarray]:
    """An optimizer that keeps its variables as slots of others, beneath an object."""
    net = Net()
    net.optimizer = v1.train.AdamOptimizer(0.1)

    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(net(tf.constant(X))["y"] ** 2)
        gradients = tape.gradient(loss, net.layers)
        net.optimizer.apply_gradients(zip(gradients, net.layers, strict=True))

    step()
    save(net, folder)
    step()
    tf.train.Checkpoint(trainer=net).write(folder / "checkpoint")
    return answers(net)


@case
def missing(folder: Path) -> dict[str, np.ndarray]:
    """The checkpoint lacks a variable, which keeps the model's value."""
    net = Net()
    save(net, folder)
    steps = net.steps.numpy()
    train(net)
    tf.train.Checkpoint(layers=net.layers).write(folder / "checkpoint")
    return {**answers(net), "steps": steps}


@case
def shapes(folder: Path) -> dict[str, np.ndarray]:
    """Another width, and a counter of another dtype: refused."""
    net = Net()
    save(net, folder)
    wide = Net(5)
    wide.steps = tf.Variable(0.0)
    wide.more = tf.Variable(1.0)
    tf.train.Checkpoint(wide).write(folder / "checkpoint")
    return {}


@case
def keras_saved(folder: Path) -> dict[str, np.ndarray]:
    """`tf.saved_model.save` of a Keras model, and a checkpoint of model and optimizer."""
    model = keras_model()
    tf.saved_model.save(model, folder / "model")
    fit(model, 3)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(folder / "training" / "checkpoint")
    model.save_weights(folder / "x.weights.h5")
    return predict(model)


@case
def keras_archive(folder: Path) -> dict[str, np.ndarray]:
    """`model.export`, which saves every variable twice."""
    model = keras_model()
    model.export(folder / "model", verbose=False)
    fit(model, 3)
    tf.train.Checkpoint(model).write(folder / "checkpoint")
    return predict(model)


@case
def keras_script(folder: Path) -> dict[str, np.ndarray]:
    """`tf-persist-keras-export`: plain variables with Keras's names; checkpoints never have metrics."""
    model = keras_model()
    write.export(model, folder / "model", write.Options())
    fit(model, 3)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(folder / "training" / "checkpoint")
    return predict(model)


@case
def keras_renumbered(folder: Path) -> dict[str, np.ndarray]:
    """The same, trained in a process that had made a model before: `sequential_1/…` for `sequential/…`."""
    keras.utils.clear_session()
    write.export(keras_model(), folder / "model", write.Options(inference_only=True))
    keras.utils.clear_session()
    keras.Sequential([keras.Input((4,)), keras.layers.LayerNormalization()])
    model = keras_model()
    fit(model, 3)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(folder / "checkpoint")
    return predict(model)


def session_model(folder: Path, partitions: int, average: bool) -> dict[str, np.ndarray]:
    """TensorFlow 1: a graph, its SavedModel, and its Saver's checkpoint."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        partitioner = v1.fixed_size_partitioner(partitions) if partitions > 1 else None
        with v1.variable_scope("layer", partitioner=partitioner):
            kernel = v1.get_variable("kernel", [4, 7], use_resource=False)
        bias = v1.get_variable("bias", [7])
        output = tf.matmul(x, tf.convert_to_tensor(kernel)) + bias
        if average:
            tf.train.ExponentialMovingAverage(0.9).apply([bias])
        session.run(v1.global_variables_initializer())
        served = [variable for variable in v1.global_variables() if "Average" not in variable.name]
        builder = v1.saved_model.Builder(str(folder / "model"))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"output": output})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, saver=v1.train.Saver(served)
        )
        builder.save()
        for variable in v1.global_variables():
            session.run(variable.assign(tf.random.normal(variable.shape)))
        v1.train.Saver().save(session, str(folder / "training" / "model.ckpt"), global_step=20)
        return {"output": session.run(output, {x: X})}


@case
def session_saver(folder: Path) -> dict[str, np.ndarray]:
    """The Saver's checkpoint also has a moving average, which nothing uses."""
    return session_model(folder, 1, average=True)


@case
def session_partitioned(folder: Path) -> dict[str, np.ndarray]:
    """A variable in three slices."""
    return session_model(folder, 3, average=False)


@case
def session_objects(folder: Path) -> dict[str, np.ndarray]:
    """TensorFlow 1's model and a checkpoint of objects, whose variables have the same names."""
    session_model(folder, 1, average=False)
    net = tf.Module()
    net.a = tf.Variable(tf.random.normal([4, 7]), name="layer/kernel")
    net.b = tf.Variable(tf.random.normal([7]), name="bias")
    tf.train.Checkpoint(net=net).write(folder / "checkpoint")
    return {"output": (X @ net.a + net.b).numpy()}


def save_module(module: tf.Module, function: Callable, folder: Path) -> None:
    """The SavedModel of a module with one signature, of an input `x`."""
    function = tf.function(function, input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    module.function = function
    tf.saved_model.save(module, folder / "model", signatures=function)


@case
def grown_variable(folder: Path) -> dict[str, np.ndarray]:
    """A variable with an open number of rows in the graph, and more rows in the checkpoint."""

    def rows(count: int) -> tf.Module:
        module = tf.Module()
        module.rows = tf.Variable(tf.random.normal([count, 2]), shape=tf.TensorShape([None, 2]), name="rows")
        return module

    module, grown = rows(2), rows(5)
    save_module(module, lambda x: {"sum": tf.reduce_sum(module.rows) * x}, folder)
    tf.train.Checkpoint(model=grown).write(folder / "checkpoint")
    return {"sum": (tf.reduce_sum(grown.rows) * X).numpy()}


@case
def grown_tables(folder: Path) -> dict[str, np.ndarray]:
    """Tables that have entries in the checkpoint which the model lacks; the object graph names neither keys nor values."""
    module = tf.Module()
    module.words = lookup_ops.MutableHashTable(tf.int64, tf.string, "none")
    module.vectors = lookup_ops.DenseHashTable(
        tf.string,
        tf.float32,
        default_value=tf.constant([-1.0, -2.0]),
        empty_key="",
        deleted_key="-",
        initial_num_buckets=4,
    )
    module.scale = tf.Variable(2.0)

    def look_up(x: tf.Tensor) -> dict[str, tf.Tensor]:
        words = module.words.lookup(tf.cast(x[:, 0] * 3, tf.int64))
        return {"vectors": module.vectors.lookup(words) * module.scale}

    def insert(numbers: list[int], words: list[str]) -> None:
        module.words.insert(tf.constant(numbers, tf.int64), tf.constant(words))
        module.vectors.insert(tf.constant(words), tf.random.normal([len(words), 2]))

    insert([-1, 0], ["a", "b"])
    save_module(module, look_up, folder)
    insert([-2, -3, 1, 2], ["c", "d", "e", "f"])
    module.vectors.erase(tf.constant(["b"]))
    module.scale.assign(10.0)
    tf.train.Checkpoint(model=module).write(folder / "checkpoint")
    return {name: value.numpy() for name, value in look_up(tf.constant(X)).items()}


@case
def session_tables(folder: Path) -> dict[str, np.ndarray]:
    """The same for TensorFlow 1, whose Saver names keys and values after the table."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        table = lookup_ops.MutableHashTable(tf.int64, tf.float32, -1.0, name="numbers", checkpoint=True)
        scale = v1.get_variable("scale", [], initializer=v1.constant_initializer(2.0))
        output = table.lookup(tf.cast(x[:, 0] * 3, tf.int64)) * scale
        session.run([v1.global_variables_initializer(), table.insert(tf.constant([0], tf.int64), [0.5])])
        signature = v1.saved_model.predict_signature_def({"x": x}, {"output": output})
        builder = v1.saved_model.Builder(str(folder / "model"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
        session.run([table.insert(tf.constant([-3, -1, 2], tf.int64), [1.5, 2.5, 3.5]), scale.assign(3.0)])
        v1.train.Saver().save(session, str(folder / "training" / "model.ckpt"))
        return {"output": session.run(output, {x: X})}


def session_average(folder: Path, partitions: int, scope: str) -> dict[str, np.ndarray]:
    """TensorFlow 1's moving averages: in a scope of their own, of a partitioned variable, and of all variables but one."""
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        partitioner = v1.fixed_size_partitioner(partitions) if partitions > 1 else None
        with v1.variable_scope("layer", partitioner=partitioner):
            kernel = v1.get_variable("kernel", [4, 7], use_resource=False)
        bias = v1.get_variable("bias", [7])
        scale = v1.get_variable("scale", [])
        output = (tf.matmul(x, tf.convert_to_tensor(kernel)) + bias) * scale
        averages = tf.train.ExponentialMovingAverage(0.9)
        averaged = [*(kernel if partitions > 1 else [kernel]), bias]
        with v1.variable_scope(scope) if scope else v1.name_scope(None):
            update = averages.apply(averaged)
        session.run(v1.variables_initializer(averaged))
        session.run(v1.global_variables_initializer())
        served = [variable for variable in v1.global_variables() if "Average" not in variable.name]
        signature = v1.saved_model.predict_signature_def({"x": x}, {"output": output})
        builder = v1.saved_model.Builder(str(folder / "model"))
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, saver=v1.train.Saver(served)
        )
        builder.save()
        for variable in [*averaged, scale]:
            session.run(variable.assign(tf.random.normal(variable.shape)))
        session.run(update)
        v1.train.Saver().save(session, str(folder / "training" / "model.ckpt"))
        for variable in averaged:
            session.run(variable.assign(averages.average(variable)))
        return {"output": session.run(output, {x: X})}


@case
def session_averages(folder: Path) -> dict[str, np.ndarray]:
    """Names with the usual suffix."""
    return session_average(folder, 1, "")


@case
def session_averages_in_scope(folder: Path) -> dict[str, np.ndarray]:
    """Only the averages are in a scope."""
    return session_average(folder, 1, "training")


@case
def session_averages_partitioned(folder: Path) -> dict[str, np.ndarray]:
    """Averages of slices."""
    return session_average(folder, 3, "")


@case
def keras_averages(folder: Path) -> dict[str, np.ndarray]:
    """`use_ema` of Keras's optimizers, which hold the averages in a list; statistics of a layer have none."""
    keras.utils.clear_session()
    model = keras_model()
    model.compile(keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.8), "mse")
    model.export(folder / "model", verbose=False)
    for _ in range(3):
        model.train_on_batch(X, X[:, :2])
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(folder / "checkpoint")
    model.optimizer.finalize_variable_values(model.trainable_variables)
    return predict(model)


@case
def keras_scope(folder: Path) -> dict[str, np.ndarray]:
    """A checkpoint of the model as it was loaded again, whose names lack the model's own: `first/kernel`."""
    keras.utils.clear_session()
    model = keras_model()
    write.export(model, folder / "model", write.Options(inference_only=True))
    model.save(folder / "x.keras")
    model = keras.models.load_model(folder / "x.keras")
    fit(model, 2)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(folder / "checkpoint")
    return predict(model)


def make(root: Path) -> None:
    """Writes all cases."""
    for name, function in CASES.items():
        folder = root / name
        folder.mkdir(parents=True)
        np.savez(folder / "expected.npz", **function(folder))


def run_session(model: Path) -> dict[str, np.ndarray]:
    """The answer of a session, which is how TensorFlow's C API runs a model."""
    with tf.Graph().as_default(), v1.Session() as session:
        meta_graph = v1.saved_model.load(session, ["serve"], str(model))
        signature = meta_graph.signature_def["serving_default"]
        (feed,) = signature.inputs.values()
        return session.run({key: info.name for key, info in signature.outputs.items()}, {feed.name: X})


def run_objects(model: Path) -> dict[str, np.ndarray]:
    """The answer after `tf.saved_model.load`, which restores by the object graph."""
    signature = tf.saved_model.load(model).signatures["serving_default"]
    (feed,) = signature.structured_input_signature[1]
    return {key: value.numpy() for key, value in signature(**{feed: tf.constant(X)}).items()}


ONLY_WAY = {"keras_saved": (run_objects,), "slots": (run_session,)}
"""Models that TensorFlow runs in one way alone, restored or not: a session does not find the variables of a Keras 3 model that
`tf.saved_model.save` wrote, and `tf.saved_model.load` does not know TensorFlow 1's optimizers."""


def check(root: Path) -> None:
    """Runs what was restored in every way it can be run, and compares the answers."""
    failed = []
    for name in CASES:
        model = root / name / "restored"
        if not model.exists():
            continue
        expected = np.load(root / name / "expected.npz")
        for way in ONLY_WAY.get(name, (run_session, run_objects)):
            answer = way(model)
            if len(answer) == 1:
                answer = {expected.files[0]: next(iter(answer.values()))}
            for key in expected.files:
                if not np.allclose(answer[key], expected[key], rtol=1e-6, atol=1e-6):
                    failed.append(f"{name}, {way.__name__}: {key} is {answer[key]}, not {expected[key]}")
        print(name)
    if failed:
        sys.exit("\n".join(failed))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["make", "check"])
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    {"make": make, "check": check}[arguments.action](arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

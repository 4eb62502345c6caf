"""Writes models that the fast path must not answer otherwise: `python -m checks.make_rewrite_models FOLDER`.

Each has the signature `serving_default`; some have others. The test `tests/interop/rewrites.rs` compares their answers.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
Tensors = dict[str, tf.Tensor]

random = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    """Numbers around 0."""
    return random.normal(0.0, 1.0, shape).astype(np.float32)


def spec(*sizes: int | None, dtype: tf.DType = tf.float32, name: str = "x") -> tf.TensorSpec:
    """The input of a signature."""
    return tf.TensorSpec(list(sizes), dtype, name)


class Model(tf.Module):
    """A module of variables."""

    def __init__(self, **values: object) -> None:
        self.all = {name: tf.Variable(value, name=name) for name, value in values.items()}


def save(folder: Path, module: tf.Module, call: Callable[..., tf.Tensor], signature: tf.TensorSpec) -> None:
    """Saves a function with one output, `y`."""
    serve = tf.function(lambda x: {"y": call(x)}, input_signature=[signature])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def effects_in_order(folder: Path) -> None:
    """A function fills a table behind slow products; another, which waits for it, reads the table."""
    module = Model(factor=2.0)

    def table() -> tf.Tensor:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.float32, shared_name="filled")

    @tf.function
    def fill(x: tf.Tensor) -> tf.Tensor:
        slow = x
        for _ in range(40):
            slow = tf.matmul(slow, slow) / 100.0
        value = tf.reshape(tf.reduce_sum(x) + 0.0 * tf.reduce_sum(slow), [1])
        handle = tf.function(table)()
        tf.raw_ops.LookupTableInsertV2(table_handle=handle, keys=tf.constant([1], tf.int64), values=value)
        return x * module.all["factor"]

    @tf.function
    def read(x: tf.Tensor) -> tf.Tensor:
        del x
        handle = tf.function(table)()
        return tf.raw_ops.LookupTableFindV2(table_handle=handle, keys=tf.constant([1], tf.int64), default_value=-1.0)

    def call(x: tf.Tensor) -> tf.Tensor:
        filled = fill(x)
        with tf.control_dependencies([filled]):
            return read(x)

    module.functions = [fill, read]
    save(folder, module, call, spec(200, 200))


def two_handles(folder: Path) -> None:
    """A variable is written by another handle of the same shared name."""
    module = Model(twice=[5.0, 6.0, 7.0])

    def call(x: tf.Tensor) -> tf.Tensor:
        other = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[3], shared_name="twice", container="")
        written = tf.raw_ops.AssignVariableOp(resource=other, value=x)
        with tf.control_dependencies([written]):
            return x + module.all["twice"]

    save(folder, module, call, spec(3))


def growing_loop(folder: Path) -> None:
    """The result of a loop has another shape than what it begins with."""
    module = Model(part=[1.0, 2.0, 3.0])

    def call(count: tf.Tensor) -> tf.Tensor:
        invariants = [tf.TensorShape([]), tf.TensorShape([None])]
        step = lambda index, all_: (index + 1, tf.concat([all_, module.all["part"]], 0))  # noqa: E731
        _, grown = tf.while_loop(lambda index, _: index < count, step, [0, tf.zeros([1])], invariants)
        return tf.reshape(grown, [7])

    save(folder, module, call, spec(dtype=tf.int32))


def batch_product(folder: Path) -> None:
    """A product of a batch, with a bias and an activation."""
    module = Model(weights=weights(4, 5), bias=weights(5))
    save(folder, module, lambda x: tf.nn.relu(tf.matmul(x, module.all["weights"]) + module.all["bias"]), spec(None, None, 4))


def bias_of_a_vector(folder: Path) -> None:
    """A product in the shape of its input, with a bias that takes matrices alone."""
    module = Model(weights=weights(4, 5), bias=weights(5))

    def call(x: tf.Tensor) -> tf.Tensor:
        product = tf.matmul(tf.reshape(x, [-1, 4]), module.all["weights"])
        shaped = tf.reshape(product, tf.concat([tf.shape(x)[:-1], [5]], 0))
        return tf.nn.bias_add(shaped, module.all["bias"])

    save(folder, module, call, tf.TensorSpec(None, tf.float32, "x"))


def three_transposes(folder: Path) -> None:
    """Transposes that change nothing together."""
    module = Model(factor=2.0)

    def call(x: tf.Tensor) -> tf.Tensor:
        for _ in range(3):
            x = tf.transpose(x, [1, 2, 0])
        return x * module.all["factor"]

    save(folder, module, call, tf.TensorSpec(None, tf.float32, "x"))


def far_mean(folder: Path) -> None:
    """A normalisation whose mean is far from 0 beside its spread."""
    module = Model(
        kernel=np.ones((1, 1, 16, 4), np.float32),
        gamma=[1.3, 0.7, 2.1, -0.9],
        beta=[0.5, 0.1, -0.2, 0.3],
        mean=[2048.0] * 4,
        variance=[1e-2] * 4,
    )

    def call(x: tf.Tensor) -> tf.Tensor:
        convolved = tf.nn.conv2d(x, module.all["kernel"], 1, "SAME")
        parameters = [module.all[name] for name in ("gamma", "beta", "mean", "variance")]
        return tf1.nn.fused_batch_norm(convolved, *parameters, is_training=False)[0]

    save(folder, module, call, spec(None, 1, 1, 16))


def small_images(folder: Path) -> None:
    """A convolution without padding of images of any size, and a factor for each channel."""
    module = Model(kernel=weights(3, 3, 3, 4), factor=weights(4))

    def call(x: tf.Tensor) -> tf.Tensor:
        factor = module.all["factor"]
        return tf.nn.relu(tf.nn.conv2d(x, module.all["kernel"], 1, "VALID") * factor + factor)

    save(folder, module, call, spec(None, None, None, 3))


def small_images_biased(folder: Path) -> None:
    """The same with a bias alone, which TensorFlow fuses with the convolution."""
    module = Model(kernel=weights(3, 3, 3, 4), bias=weights(4))

    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, module.all["kernel"], 1, "VALID"), module.all["bias"]))

    save(folder, module, call, spec(None, None, None, 3))


def save1(folder: Path, build: Callable[[], tuple[Tensors, Tensors]]) -> None:
    """Saves a graph of TensorFlow 1 with its control flow."""
    tf1.disable_control_flow_v2()
    with tf.Graph().as_default(), tf1.variable_scope("", use_resource=True):
        inputs, outputs = build()
        with tf1.Session() as session:
            session.run(tf1.global_variables_initializer())
            tf1.saved_model.simple_save(session, str(folder), inputs, outputs)


def gather_in_a_loop(folder: Path) -> None:
    """Rows of a variable, gathered in a loop."""

    def build() -> tuple[Tensors, Tensors]:
        table = tf1.get_variable("table", initializer=weights(10, 3))
        count = tf1.placeholder(tf.int32, [], "x")
        step = lambda index, total: (index + 1, total + tf.nn.embedding_lookup(table, [index]))  # noqa: E731
        _, total = tf1.while_loop(lambda index, _: index < count, step, [0, tf.zeros([1, 3])])
        return {"x": count}, {"y": total}

    save1(folder, build)


def initialised_in_a_loop(folder: Path) -> None:
    """Whether a variable is initialised, asked in a loop."""

    def build() -> tuple[Tensors, Tensors]:
        variable = tf1.get_variable("variable", initializer=weights(3))
        count = tf1.placeholder(tf.int32, [], "x")

        def step(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return index + 1, total + tf.cast(tf1.is_variable_initialized(variable), tf.float32) * variable

        _, total = tf1.while_loop(lambda index, _: index < count, step, [0, tf.zeros([3])])
        return {"x": count}, {"y": total}

    save1(folder, build)


def colocated_branches(folder: Path) -> None:
    """Branches that are placed beside a factor that becomes a part of weights."""

    def build() -> tuple[Tensors, Tensors]:
        x = tf1.placeholder(tf.float32, [None, 3], "x")
        scaled = tf.matmul(x, tf1.get_variable("weights", initializer=weights(3, 4))) * 2.0
        branches = tf1.cond(tf.reduce_sum(x) > 1.0, lambda: scaled + 1.0, lambda: scaled - 1.0)
        return {"x": x}, {"y": branches}

    save1(folder, build)


def statistics(folder: Path) -> None:
    """The mean that a normalisation passes on is an output."""

    def build() -> tuple[Tensors, Tensors]:
        x = tf1.placeholder(tf.float32, [None, 4, 4, 3], "x")
        parameters = [tf1.get_variable(name, initializer=weights(3) ** 2) for name in ("gamma", "beta", "mean", "variance")]
        normalised, mean, _ = tf1.nn.fused_batch_norm(x, *parameters, is_training=False)
        return {"x": x}, {"y": normalised, "mean": mean}

    save1(folder, build)


@dataclass(frozen=True)
class Loop:
    """A loop over the steps of an LSTM layer of four units, as a user may write it, or with changes to it."""

    order: str = "ifgo"
    start: int = 0
    by: int = 1
    limit: int | None = None
    rows_of_states: int | None = None
    room_for_more: int = 0
    kept_shape: tuple[int | None, ...] = (None, 4)
    read_shape: tuple[int | None, ...] = (-1, 3)
    reads_first: bool = False
    waits: bool = False
    looks_at_list: bool = False
    looks_at_length: bool = False
    other_counter: bool = False

    def call(self, module: Model, x: tf.Tensor) -> tf.Tensor:
        """What is behind the last step, and all hidden states."""
        steps = tf.shape(x)[1]
        checks = [tf.debugging.check_numerics(1.0 / tf.cast(steps - 33, tf.float32), "33 steps")] if self.waits else []
        with tf.control_dependencies(checks):
            swapped = tf.transpose(x, [1, 0, 2])
            read = tf.raw_ops.TensorListFromTensor(tensor=swapped, element_shape=tf.constant(self.read_shape))
        count = steps if self.limit is None else self.limit
        room = count + self.room_for_more if self.room_for_more else count
        written = tf.TensorArray(tf.float32, size=room, element_shape=self.kept_shape)
        states = tf.zeros([tf.shape(x)[0] if self.rows_of_states is None else self.rows_of_states, 4])

        def goes_on(other: tf.Tensor, time: tf.Tensor, written: tf.TensorArray, *_: tf.Tensor) -> tf.Tensor:
            if self.looks_at_list:
                tf.raw_ops.TensorListLength(input_handle=read)
            if self.looks_at_length:
                return time < tf.raw_ops.TensorListLength(input_handle=written.flow)
            return tf.logical_and(other < 2**31 - 1, time < count) if self.other_counter else time < count

        def step(other: tf.Tensor, time: tf.Tensor, written: tf.TensorArray, hidden: tf.Tensor, carry: tf.Tensor) -> tuple:
            row = tf.raw_ops.TensorListGetItem(input_handle=read, index=time, element_shape=tf.constant([-1, 3]), element_dtype=tf.float32)
            z = tf.matmul(row, module.all["kernel"]) + tf.matmul(hidden, module.all["recurrent_kernel"])
            gate = dict(zip(self.order, tf.split(tf.nn.bias_add(z, module.all["bias"]), 4, axis=1), strict=True))
            carry = tf.sigmoid(gate["f"]) * carry + tf.sigmoid(gate["i"]) * tf.tanh(gate["g"])
            hidden = tf.sigmoid(gate["o"]) * tf.tanh(carry)
            return other + 1, time + self.by, written.write(time, hidden), hidden, carry

        shapes = [tf.TensorShape([]), tf.TensorShape([]), tf.TensorShape(None), tf.TensorShape([None, 4]), tf.TensorShape([None, 4])]
        loop = [tf.constant(-5), tf.constant(self.start), written, states, states]
        _, _, written, hidden, carry = tf.while_loop(goes_on, step, loop, shape_invariants=shapes)
        return tf.concat([[written.read(0)] if self.reads_first else written.stack(), [hidden + carry]], 0)


# Loops, some of which are no LSTM layer over all steps.
LOOPS = {
    "lstm_loop": Loop(),
    "lstm_loop_of_ten": Loop(limit=10),
    "other_gates": Loop(order="igfo"),
    "second_step_first": Loop(start=1),
    "longer_list": Loop(room_for_more=2),
    "one_row_for_all": Loop(rows_of_states=1),
    "every_other_step": Loop(by=2),
    "two_rows_are_kept": Loop(kept_shape=(2, 4)),
    "two_rows_are_read": Loop(read_shape=(2, 3)),
    "only_the_first_is_read": Loop(reads_first=True),
    "waits_for_a_check": Loop(waits=True),
    "looks_at_the_list": Loop(looks_at_list=True),
    "looks_at_the_length": Loop(looks_at_length=True),
    "counts_from_below": Loop(other_counter=True),
}


def save_loop(folder: Path) -> None:
    """A loop over steps of three numbers."""
    module = Model(kernel=weights(3, 16), recurrent_kernel=weights(4, 16), bias=weights(16))
    save(folder, module, functools.partial(LOOPS[folder.name].call, module), spec(None, None, 3))


def save_layers(folder: Path, *layers: keras.layers.Layer) -> None:
    """Keras layers over steps of three numbers, one after the other."""
    module = tf.Module()
    module.network = keras.Sequential([keras.Input((None, 3)), *layers])
    save(folder, module, module.network, spec(None, None, 3))


def lstm(folder: Path) -> None:
    """Only what is behind the last step of the second layer is needed."""
    save_layers(folder, keras.layers.LSTM(6, return_sequences=True), keras.layers.LSTM(4, use_bias=False))


def lstm_both_ways(folder: Path) -> None:
    """Two layers, of which one goes backwards."""
    save_layers(folder, keras.layers.Bidirectional(keras.layers.LSTM(6, return_sequences=True)))


def lstm_of_another_activation(folder: Path) -> None:
    """A layer that TensorFlow's op does not know."""
    save_layers(folder, keras.layers.LSTM(6, activation="relu"))


def main(folder: Path, only: list[str]) -> None:
    """Writes all models, or those of these names."""
    # The control flow of TensorFlow 1 is for the process: its models come last.
    modern = [effects_in_order, two_handles, growing_loop, batch_product, bias_of_a_vector, three_transposes, far_mean]
    modern += [small_images, small_images_biased, lstm, lstm_both_ways, lstm_of_another_activation]
    for name in LOOPS:
        if not only or name in only:
            save_loop(folder / name)
    for make in [*modern, gather_in_a_loop, initialised_in_a_loop, colocated_branches, statistics]:
        if not only or make.__name__ in only:
            make(folder / make.__name__)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

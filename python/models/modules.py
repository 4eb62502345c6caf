"""Plain `tf.Module`s: the smallest model, and one with state."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from models.registry import model
from tf_persist_keras.recorded.cases import EXACT, Built, Case


class HalfPlusTwo(tf.Module):
    """`y = a * x + b` with a = 0.5 and b = 2."""

    def __init__(self) -> None:
        super().__init__()
        self.a = tf.Variable(0.5, name="a")
        self.b = tf.Variable(2.0, name="b")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Half of x, plus two."""
        return {"y": self.a * x + self.b}


@model("half_plus_two", "the smallest model with variables: y = 0.5 x + 2; for benchmarks")
def half_plus_two(folder: Path) -> Built:
    """TensorFlow Serving's smoke test, as TF2 writes it."""
    module = HalfPlusTwo()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})
    batches = [[1.0], [1.0, 2.0, 5.0], [-4.0, 0.0, 1e30, np.inf, np.nan], []]
    return Built([Case("serving_default", {"x": np.array(batch, np.float32)}) for batch in batches], tolerance=EXACT)


class Counter(tf.Module):
    """A counter that also counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.total = tf.Variable(0, dtype=tf.int64, name="total")
        self.calls = tf.Variable(0, dtype=tf.int32, name="calls")

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64, name="delta")])
    def increment(self, delta: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds to the total and returns both variables."""
        return {"total": self.total.assign_add(delta, read_value=True), "calls": self.calls.assign_add(1)}

    @tf.function(input_signature=[])
    def value(self) -> dict[str, tf.Tensor]:
        """The total, unchanged."""
        return {"total": self.total.read_value()}

    @tf.function(input_signature=[])
    def reset(self) -> dict[str, tf.Tensor]:
        """Sets the total to zero and returns the old value; keeps the number of calls."""
        before = self.total.read_value()
        self.total.assign(0)
        return {"before": before}


@model("counter", "a model with state: signatures that change variables, and two without inputs")
def counter(folder: Path) -> Built:
    """The cases run in order, in one session."""
    module = Counter()
    signatures = {"increment": module.increment, "value": module.value, "reset": module.reset}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    steps = [Case("increment", {"delta": np.array(delta, np.int64)}) for delta in (1, 41, -50, 2**40)]
    value, reset = Case("value"), Case("reset")
    cases = [value, *steps[:2], value, *steps[2:], value, reset, value, steps[0], value]
    return Built(cases, sequence=True, tolerance=EXACT)


class Denormals(tf.Module):
    """Numbers below the smallest normal float, which TensorFlow's threads treat as zero."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = tf.Variable(0, dtype=tf.int32, name="seen")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """A square, which may be a denormal, and a multiple, whose input may be one."""
        return {"square": x * x, "multiple": x * 1e30}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def train(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Counts the squares that have any bit set."""
        square = x * x
        some = tf.math.count_nonzero(tf.bitcast(square, tf.int32), dtype=tf.int32)
        self.seen.assign_add(some)
        return {"loss": tf.reduce_sum(square), "seen": some}


@model("denormals", "squares of tiny numbers, one and 200,000 of them: denormals are zero in every thread")
def denormals(folder: Path) -> Built:
    """The cases run in order, in one session."""
    module = Denormals()
    signatures = {"serving_default": module.predict, "train": module.train}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    batches = [np.full(size, 1e-20, np.float32) for size in (1, 200_000)] + [np.array([1e-40, 2.0, 0.0], np.float32)]
    cases = [Case(signature, {"x": batch}) for signature in signatures for batch in batches]
    return Built(cases, sequence=True, tolerance=EXACT)

"""Makes the SavedModels that use the ops of examples/, with recorded requests and answers.

    python -m models.make_custom_op_models MOVING_AVERAGE.so HAVERSINE.so

The libraries are what `scripts/build_custom_op` and `cargo build -p haversine-op` make. What the ops answer is compared
with numpy's answers before it is recorded.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from models.v1_helpers import builder, graph_session, signature, v1
from tf_persist_keras.recorded.cases import Built, Case, Tolerance
from tf_persist_keras.recorded.record import record
from tf_persist_keras.recorded.runners import SessionRunner

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DECAY = 0.75


def smoothed(x: np.ndarray) -> np.ndarray:
    """What MovingAverage should answer."""
    y = x.copy()
    for t in range(1, x.shape[-1]):
        y[..., t] = DECAY * y[..., t - 1] + (1 - DECAY) * x[..., t]
    return y


def kilometres(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """What Haversine should answer, by another formula: the angle between vectors."""

    def vector(point: np.ndarray) -> np.ndarray:
        latitude, longitude = np.radians(point).T
        flat = np.cos(latitude)
        return np.stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)], axis=-1)

    a, b = vector(start), vector(end)
    return 6371.0088 * np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, axis=-1))


def moving_average(ops, folder: Path) -> Built:
    """A tf.Module whose function calls MovingAverage on a variable times the input."""

    class Smoother(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = tf.Variable([2.0, 0.5], name="gain")

        @tf.function(input_signature=[tf.TensorSpec([2, None], tf.float32, "x")])
        def smooth(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": ops.moving_average(x * self.gain[:, tf.newaxis], decay=DECAY)}

    module = Smoother()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.smooth})
    return Built([Case("serving_default", {"x": x}) for x in series()])


def series() -> list[np.ndarray]:
    """Inputs of the moving average."""
    rng = np.random.default_rng(7)
    return [rng.normal(size=(2, length)).astype(np.float32) for length in (5, 1, 0)]


def no_shape_function(ops, folder: Path) -> Built:
    """A v1 graph with an op that has no shape function, as those of old libraries have none."""
    with graph_session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        y = ops.last_of_moving_average(x, decay=DECAY)
        writer = builder(folder)
        writer.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature({"x": x}, {"y": y})})
        writer.save()
    return Built([Case("serving_default", {"x": x[0]}) for x in series()])


def haversine(ops, folder: Path) -> Built:
    """A tf.Module that calls Haversine in a branch and at the top."""

    class Distances(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float64, name) for name in ("start", "end")])
        def distance(self, start: tf.Tensor, end: tf.Tensor) -> dict[str, tf.Tensor]:
            there = ops.haversine(start=start, end=end)
            back = lambda: tf.reduce_max(ops.haversine(start=end, end=start))  # noqa: E731 (a branch)
            longest = tf.cond(tf.size(there) > 0, back, lambda: tf.constant(0.0, tf.float64))
            return {"kilometres": there, "longest": longest}

    module = Distances()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.distance})
    return Built([Case("serving_default", {"start": start, "end": end}) for start, end in journeys()])


def journeys() -> list[tuple[np.ndarray, np.ndarray]]:
    """Berlin to Paris and Tokyo to Lima; across a pole; nowhere; and random ones."""
    rng = np.random.default_rng(7)
    random = [rng.uniform([-90, -180], [90, 180], (6, 2)) for _ in range(2)]
    cities = np.array([[52.52, 13.405], [35.68, 139.69]]), np.array([[48.8566, 2.3522], [-12.05, -77.04]])
    poles = np.array([[90.0, 0.0], [10.0, 10.0]]), np.array([[-90.0, 50.0], [10.0, 10.0]])
    return [cities, poles, (np.zeros((0, 2)), np.zeros((0, 2))), (random[0], random[1])]


def check(name: str, built: Built, folder: Path) -> None:
    """Compares what a fresh session answers with numpy."""
    gain = np.array([[2.0], [0.5]], np.float32)
    session = SessionRunner(folder, built.tags)
    for case in built.cases:
        answer = session.run(case.signature, case.inputs)
        if name == "haversine":
            expected = kilometres(case.inputs["start"], case.inputs["end"])
            np.testing.assert_allclose(answer["kilometres"], expected, rtol=1e-9, atol=1e-3)
        elif name == "moving_average":
            np.testing.assert_allclose(answer["y"], smoothed(case.inputs["x"] * gain), rtol=1e-5, atol=1e-6)
        else:
            x = case.inputs["x"]
            np.testing.assert_allclose(answer["y"], smoothed(x)[-1] if x.size else 0.0, rtol=1e-5, atol=1e-6)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("moving_average", type=Path)
    parser.add_argument("haversine", type=Path)
    arguments = parser.parse_args()
    in_cc = tf.load_op_library(str(arguments.moving_average.resolve()))
    in_rust = tf.load_op_library(str(arguments.haversine.resolve()))
    makers = [
        ("moving_average_op", in_cc, moving_average, "a tf.Module with an op of a library in C++"),
        ("moving_average_op", in_cc, no_shape_function, "a v1 graph with a custom op that has no shape function"),
        ("haversine_op", in_rust, haversine, "a tf.Module with an op of a library in Rust, in a branch as well"),
    ]
    for example, ops, build, description in makers:
        name = build.__name__
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / name
            built = build(ops, folder / "model")
            check(name, built, folder / "model")
            built = Built(built.cases, tolerance=Tolerance(1e-6, 1e-6), custom_op_libs=[example])
            record(name, description, built, folder)
            target = EXAMPLES / example / "models" / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
            print(f"{target}: {len(built.cases)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Models that echo every element type."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from models.registry import SEED, model, strings
from tf_persist_keras.recorded.cases import EXACT, Arrays, Built, Case

DTYPES = (
    [tf.float16, tf.bfloat16, tf.float32, tf.float64]
    + [tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64]
    + [tf.bool, tf.complex64, tf.complex128, tf.string]
)
FLOAT8 = tf.dtypes.experimental.float8_e4m3fn


class Echo(tf.Module):
    """Returns its inputs."""

    @tf.function
    def echo(self, **tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        """Each tensor under its own name."""
        return {key: tf.identity(tensor) for key, tensor in tensors.items()}

    @tf.function
    def mixed(
        self, count: tf.Tensor, weights: tf.Tensor, flags: tf.Tensor, name: tf.Tensor, phase: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Computes with several types at once."""
        chosen = tf.boolean_mask(weights, flags)
        return {
            "label": tf.strings.join([name, tf.strings.as_string(count)], separator="#"),
            "total": tf.reduce_sum(chosen) * tf.cast(count, tf.float64),
            "chosen": tf.cast(chosen, tf.bfloat16),
            "turned": phase * tf.constant(1j, tf.complex64),
            "any": tf.reduce_any(flags),
            "bytes": tf.io.decode_raw(name, tf.uint8),
        }


def _specs(shape: list[int | None] | None, dtypes: list[tf.DType] = DTYPES) -> dict[str, tf.TensorSpec]:
    return {dtype.name: tf.TensorSpec(shape, dtype, name=dtype.name) for dtype in dtypes}


def _values(dtype: tf.DType) -> np.ndarray:
    """Six values of a type, including its extremes."""
    if dtype == tf.string:
        return strings("plain", "", "grüße 🙂", b"\x00\xff\xfe", b"ends in NUL\x00", b"x" * 40)
    if dtype == tf.bool:
        return np.array([True, False, True, True, False, False])
    if dtype.is_integer:
        return np.array([dtype.min, dtype.max, 0, 1, 2, 100], dtype.as_numpy_dtype)
    if dtype.is_complex:
        parts = [1 + 2j, -0.5j, 0, complex(np.inf, -1), complex(0, np.nan), 3.25 - 7j]
        return np.array(parts, dtype.as_numpy_dtype)
    smallest = {tf.float16: 2**-24, tf.bfloat16: 2**-133, tf.float32: 2**-149, tf.float64: 2**-1074}[dtype]
    return np.array([dtype.max, -0.0, np.inf, -np.inf, np.nan, smallest], dtype.as_numpy_dtype)


def _mixed_inputs() -> Arrays:
    return {
        "count": np.array(3, np.int32),
        "weights": np.random.default_rng(SEED).normal(size=5),
        "flags": np.array([True, False, True, True, False]),
        "name": np.array("größe".encode(), dtype=object),
        "phase": np.array([[1 + 1j, 2 - 3j]], np.complex64),
    }


@model("dtypes", "every element type echoed, as vectors, scalars and of unknown rank; one signature mixes them")
def dtypes(folder: Path) -> Built:
    """Sixteen types, with extremes, subnormal numbers, NaN, bytes that are not UTF-8, and zero-size tensors."""
    module = Echo()
    some = [tf.float32, tf.int64, tf.string]
    signatures = {
        "serving_default": module.echo.get_concrete_function(**_specs([None])),
        "scalars": module.echo.get_concrete_function(**_specs([])),
        "unknown_rank": module.echo.get_concrete_function(**_specs(None, some)),
        "mixed": module.mixed.get_concrete_function(
            count=tf.TensorSpec([], tf.int32, "count"),
            weights=tf.TensorSpec([None], tf.float64, "weights"),
            flags=tf.TensorSpec([None], tf.bool, "flags"),
            name=tf.TensorSpec([], tf.string, "name"),
            phase=tf.TensorSpec([None, 2], tf.complex64, "phase"),
        ),
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)
    vectors = {dtype.name: _values(dtype) for dtype in DTYPES}
    empty = {key: values[:0] for key, values in vectors.items()}
    scalars = [{key: values[place, ...] for key, values in vectors.items()} for place in (0, 2)]
    ranks = [{dtype.name: vectors[dtype.name].reshape(shape) for dtype in some} for shape in ([6], [1, 2, 3, 1])]
    zero_size = {dtype.name: np.empty([2, 0, 3], vectors[dtype.name].dtype) for dtype in some}
    single = {dtype.name: vectors[dtype.name][3, ...] for dtype in some}
    return Built(
        [Case("serving_default", inputs) for inputs in (vectors, empty)]
        + [Case("scalars", inputs) for inputs in scalars]
        + [Case("unknown_rank", inputs) for inputs in (*ranks, zero_size, single)]
        + [Case("mixed", _mixed_inputs())],
        tolerance=EXACT,
    )


class Float8(tf.Module):
    """Rounds to float8, and has it as input and output."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def rounded(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """float32 in and out, float8 inside."""
        return {"y": tf.cast(tf.cast(x, FLOAT8), tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], FLOAT8, name="x")])
    def widened(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """float8 in."""
        return {"y": tf.cast(x, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def narrowed(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """float8 out."""
        return {"y": tf.cast(x, FLOAT8)}


@model("float8", "signatures with an element type that clients do not know, beside one that they can call")
def float8(folder: Path) -> Built:
    """float8 inside the graph is fine; as an input or an output it must be refused by name."""
    module = Float8()
    signatures = {"serving_default": module.rounded, "widened": module.widened, "narrowed": module.narrowed}
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return Built(
        [Case("serving_default", {"x": np.array([0.1, 1.0, -3.3, 448.0, 0.0], np.float32)})],
        tolerance=EXACT,
        refused={"widened": "the input `x` is float8_e4m3fn", "narrowed": "the output `y` is float8_e4m3fn"},
    )

"""Names, dtypes and shapes of a model's inputs and outputs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.export.export_utils import get_input_signature

from .errors import ExportError, first_line

SAMPLE_WEIGHT = "sample_weight"
TARGET = "y"
TARGET_SPEC = re.compile(r"(?P<name>[^=]+)=(?P<dtype>\w+)\[(?P<shape>[^\]]*)\]")

Specs = dict[str, tf.TensorSpec]


@dataclass(frozen=True)
class Inputs:
    """A model's inputs: by signature key, and the structure that the model is called with."""

    specs: Specs
    structure: Any

    def pack(self, arguments: Mapping[str, tf.Tensor]) -> Any:
        """The tensors in the model's own structure."""
        return keras.tree.pack_sequence_as(self.structure, [arguments[key] for key in self.specs])


@dataclass(frozen=True)
class Targets:
    """A model's targets: by signature key; `keys` has one for each output, or None for an output without a target."""

    specs: Specs
    keys: list[str | None]
    structure: Any

    def pack(self, arguments: Mapping[str, tf.Tensor]) -> Any:
        """The tensors in the structure of the model's outputs."""
        if not self.specs:
            return None
        values = [None if key is None else arguments[key] for key in self.keys]
        return values[0] if not keras.tree.is_nested(self.structure) else _pack(self.structure, values)


def signature_key(name: str) -> str:
    """The name as a valid signature key; TensorFlow accepts only Python identifiers."""
    key = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{key}" if not key or key[0].isdigit() else key


def inputs_of(model: keras.Model, examples: Mapping[str, np.ndarray]) -> Inputs:
    """The inputs by the names of the input layers, or by the keys where the model takes a dict.

    A subclassed model's only input is `x`, with the dtype that the examples have there.
    """
    structure = _input_structure(model)
    names = _leaf_names(structure, "x")
    specs: Specs = {}
    for name, leaf in zip(names, keras.tree.flatten(structure), strict=True):
        if getattr(leaf, "sparse", False) or getattr(leaf, "ragged", False):
            raise ExportError(f"the input `{name}` is sparse or ragged, which the exporter does not support")
        key = signature_key(name)
        if key in specs:
            raise ExportError(f"two inputs are called `{key}`; give the input layers names")
        is_declared = isinstance(leaf, keras.KerasTensor)
        dtype = leaf.dtype if is_declared or key not in examples else examples[key].dtype
        specs[key] = tf.TensorSpec(leaf.shape, dtype, key)
    return Inputs(specs, structure)


def _input_structure(model: keras.Model) -> Any:
    if isinstance(model, keras.Sequential) and model.built:
        return model.inputs[0]
    if isinstance(model, keras.models.Model) and hasattr(model, "_inputs_struct"):
        return model._inputs_struct
    try:
        arguments = get_input_signature(model)
    except (ValueError, TypeError) as error:
        raise ExportError(
            "the model's input shapes are not known, because it was never called: start it with `keras.Input`, or "
            "call it on a batch before it is saved or returned"
        ) from error
    if len(arguments) != 1:
        raise ExportError(f"the model's `call` takes {len(arguments)} inputs; pass them as one dict, as `fit` needs it")
    return arguments[0]


def output_names(model: keras.Model, outputs: Any) -> list[str]:
    """One signature key for each output: a dict's keys, or the names of the output layers."""
    count = len(keras.tree.flatten(outputs))
    declared = list(getattr(getattr(model, "_functional", None) or model, "output_names", None) or [])
    names = _leaf_names(outputs, "output")
    if not isinstance(outputs, dict) and len(declared) == count:
        names = declared
    keys = [signature_key(name) for name in names]
    return keys if len(set(keys)) == count else [f"{key}_{index}" for index, key in enumerate(keys)]


def targets_of(
    model: keras.Model,
    inputs: Inputs,
    outputs: Mapping[str, tf.TensorSpec],
    structure: Any,
    examples: Mapping[str, np.ndarray],
    overrides: Mapping[str, tf.TensorSpec],
) -> Targets:
    """The targets: `y` of a model with one output, else the outputs' names; `_target` is added to an input's name.

    Sparse losses want class indices, int64, without the last axis of the output; all others what the output is. Arrays
    among the examples and `overrides` go before that.
    """
    losses = _losses(model, list(outputs), structure)
    specs: Specs = {}
    keys: list[str | None] = []
    for (output, spec), loss in zip(outputs.items(), losses, strict=True):
        if loss is None:
            keys.append(None)
            continue
        key = output if len(outputs) > 1 else TARGET
        key = f"{key}_target" if key in inputs.specs else key
        keys.append(key)
        specs[key] = _target_spec(key, spec, loss, examples, overrides)
    unknown = sorted(set(overrides) - set(specs))
    if unknown:
        raise ExportError(f"--target names `{unknown[0]}`, but the model's targets are {sorted(specs)}")
    return Targets(specs, keys, structure)


def parse_target(text: str) -> tuple[str, tf.TensorSpec]:
    """`NAME=DTYPE[SHAPE]`, such as `y=int32[None]`; raises `ValueError`."""
    match = TARGET_SPEC.fullmatch(text.replace(" ", ""))
    if not match:
        raise ValueError(f"`{text}` is not NAME=DTYPE[SHAPE], such as y=int32[None]")
    sizes = [None if size in ("None", "-1") else int(size) for size in match["shape"].split(",") if size]
    try:
        return match["name"], tf.TensorSpec(sizes, tf.as_dtype(match["dtype"]), match["name"])
    except TypeError as error:
        raise ValueError(f"`{match['dtype']}` is not a dtype") from error


def _target_spec(
    key: str,
    output: tf.TensorSpec,
    loss: Any,
    examples: Mapping[str, np.ndarray],
    overrides: Mapping[str, tf.TensorSpec],
) -> tf.TensorSpec:
    if key in overrides:
        return overrides[key]
    if key in examples:
        array = examples[key]
        dtype = np.dtype(np.float32) if array.dtype == np.float64 else array.dtype
        return tf.TensorSpec([None, *array.shape[1:]], dtype, key)
    if "sparse" in _loss_name(loss).lower():
        return tf.TensorSpec(output.shape[:-1], tf.int64, key)
    return tf.TensorSpec(output.shape, tf.float32 if output.dtype.is_floating else output.dtype, key)


def _losses(model: keras.Model, names: list[str], structure: Any) -> list[Any]:
    """For each output its loss; "" if it only has metrics or the model computes its own loss; or None."""
    loss = model._compile_loss._user_loss if model._compile_loss is not None else None
    metrics = [
        given
        for given in (
            getattr(model._compile_metrics, "_user_metrics", None),
            getattr(model._compile_metrics, "_user_weighted_metrics", None),
        )
        if given
    ]
    own_step = any(
        getattr(type(model), name) is not getattr(keras.Model, name) for name in ("train_step", "compute_loss")
    )
    if loss is None:
        return ["" if own_step or metrics else None for _ in names]
    by_output = _by_output(loss, names, structure)
    measured = [any(_by_output(given, names, structure)[index] for given in metrics) for index in range(len(names))]
    return ["" if each is None and has else each for each, has in zip(by_output, measured, strict=True)]


def _by_output(given: Any, names: list[str], structure: Any) -> list[Any]:
    """An argument of `compile`, one entry for each output."""
    if isinstance(given, dict):
        keyed = {signature_key(str(key)): value for key, value in given.items()}
        return [keyed.get(name) for name in names]
    if isinstance(given, list | tuple) and keras.tree.is_nested(structure) and len(given) == len(names):
        return list(given)
    return [given] * len(names)


def _loss_name(loss: Any) -> str:
    if isinstance(loss, list | tuple):
        return " ".join(_loss_name(each) for each in loss)
    if isinstance(loss, str):
        return loss
    return f"{getattr(loss, '__name__', '')} {type(loss).__name__}"


def _leaf_names(structure: Any, stem: str) -> list[str]:
    """A name for each leaf: its path of keys, its own name, or `stem` with a number."""
    leaves = keras.tree.flatten(structure)
    if isinstance(structure, dict) and all(not keras.tree.is_nested(value) for value in structure.values()):
        # `keras.tree` may flatten a dict in another order.
        by_leaf = {id(value): key for key, value in structure.items()}
        return [str(by_leaf[id(leaf)]) for leaf in leaves]
    named = [getattr(leaf, "name", None) if isinstance(leaf, keras.KerasTensor) else None for leaf in leaves]
    if len(leaves) == 1:
        return [named[0] or stem]
    return [name or f"{stem}_{index}" for index, name in enumerate(named)]


def _pack(structure: Any, values: list[Any]) -> Any:
    try:
        return keras.tree.pack_sequence_as(structure, values)
    except (ValueError, TypeError) as error:
        raise ExportError(f"the targets do not fit the structure of the outputs: {first_line(error)}") from error

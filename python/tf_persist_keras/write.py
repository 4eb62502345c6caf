"""Writes the SavedModel beside its target and renames it, so that it appears complete or not at all."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .errors import ExportError, first_line
from .interface import inputs_of, targets_of
from .state import State
from .steps import trace_serving, trace_training

RECORDED = ("meta.json", "io.npz")


@dataclass(frozen=True)
class Options:
    """Options of the export."""

    inference_only: bool = False
    sample_weight: bool = False
    targets: Mapping[str, tf.TensorSpec] = field(default_factory=dict)
    examples: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Exported:
    """The result of an export: the signatures' traced functions, the number of variables by group, the recorded cases."""

    signatures: Mapping[str, Any]
    variables: Mapping[str, int]
    recorded: list[str]


def export(model: keras.Model, target: Path, options: Options) -> Exported:
    """Writes the model to the folder `target`, which must not exist."""
    check_target(target)
    signatures = _signatures(model, options)
    state = State(model, list(signatures.values()), trains=not options.inference_only)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            built = Path(scratch) / "model"
            _save(state, signatures, built, target)
            recorded = _record(model, signatures, options, Path(scratch))
            _sync(built)
            built.rename(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise ExportError(f"`{target}` cannot be written: {error.strerror or error}") from error
    return Exported(signatures, state.counts, recorded)


def check_target(target: Path) -> None:
    """Refuses a target that exists, or whose parent folder does not."""
    if target.exists() or target.is_symlink():
        raise ExportError(f"`{target}` exists; choose another name or remove it")
    if not target.parent.is_dir():
        raise ExportError(f"`{target.parent}` is not a folder")


def _signatures(model: keras.Model, options: Options) -> dict[str, Any]:
    if not options.inference_only and not model.compiled:
        raise ExportError(
            "the model is not compiled, so it cannot be trained: call `model.compile` before it is saved or "
            "returned, or export it with --inference-only"
        )
    if not options.inference_only and model.optimizer is None:
        raise ExportError("the model is compiled without an optimizer; export it with --inference-only")
    inputs = inputs_of(model, options.examples)
    serving = trace_serving(model, inputs)
    signatures = {"serving_default": serving.function}
    if not options.inference_only:
        targets = targets_of(model, inputs, serving.outputs, serving.structure, options.examples, options.targets)
        signatures |= trace_training(model, inputs, targets, options.sample_weight)
    return signatures


def _save(state: State, signatures: Mapping[str, Any], folder: Path, target: Path) -> None:
    try:
        tf.saved_model.save(state, str(folder), signatures=dict(signatures))
    except (AssertionError, ValueError, TypeError, NotImplementedError) as error:
        raise ExportError(f"TensorFlow cannot save the model: {first_line(error)}") from error
    except tf.errors.OpError as error:
        raise ExportError(f"`{target}` cannot be written: {first_line(error)}") from error
    saved = [name for name, _ in tf.train.list_variables(str(folder / "variables" / "variables"))]
    count, wanted = sum(name.endswith("/.ATTRIBUTES/VARIABLE_VALUE") for name in saved), sum(state.counts.values())
    if count != wanted:
        raise ExportError(f"{count} of {wanted} variables were saved; please report this bug")


def _record(model: keras.Model, signatures: Mapping[str, Any], options: Options, scratch: Path) -> list[str]:
    """Runs the examples and writes requests and answers to the model's assets.extra, in the format of models/."""
    if not options.examples:
        return []
    from .recorded.cases import Built, Case
    from .recorded.record import record

    cases = []
    for name in ("serving_default", "evaluate"):
        keys = list(signatures[name].structured_input_signature[1]) if name in signatures else []
        if keys and all(key in options.examples for key in keys):
            specs = signatures[name].structured_input_signature[1]
            cases.append(Case(name, {key: _as(options.examples[key], specs[key]) for key in keys}))
    if not cases:
        wanted = sorted(signatures["serving_default"].structured_input_signature[1])
        raise ExportError(f"the examples have {sorted(options.examples)}, the model needs {wanted}")
    try:
        record(model.name, f"Keras model `{model.name}`", Built(cases), scratch)
    except Exception as error:
        raise ExportError(f"the examples do not run: {first_line(error)}") from error
    extra = scratch / "model" / "assets.extra"
    extra.mkdir()
    for file in RECORDED:
        shutil.move(scratch / file, extra / file)
    return [case.signature for case in cases]


def _as(array: np.ndarray, spec: tf.TensorSpec) -> np.ndarray:
    """The array in the signature's dtype; strings as bytes."""
    if spec.dtype == tf.string:
        texts = np.empty(array.size, object)
        texts[:] = [text.encode() if isinstance(text, str) else bytes(text) for text in array.ravel().tolist()]
        return texts.reshape(array.shape)
    return array.astype(spec.dtype.as_numpy_dtype)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync_folder(path)
    _sync_folder(folder)


def _sync_folder(path: Path) -> None:
    """Flushes a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""How the model in a file was compiled, and the whole state of its optimizer.

Where Keras 3.15.1 cannot put an optimizer's state back, it warns and goes on with a new one, or says nothing.
"""

import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import keras
import numpy as np
from keras.src.legacy.saving import json_utils, saving_utils
from keras.src.legacy.saving.legacy_h5_format import load_optimizer_weights_from_hdf5_group
from keras.src.saving.saving_lib import H5IOStore, NpzIOStore

from .errors import ExportError

SKIPPED = "Skipping variable loading for optimizer"
"""How Keras's warning begins when it ignores the saved state of an optimizer."""
BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")
"""Losses and metrics that `compile` chooses by the outputs' shapes."""
WAYS_OUT = "export from the program that trained it, with module:function, or inference alone with --inference-only"


@contextmanager
def skipped_states() -> Iterator[list[str]]:
    """Suppresses Keras's warnings that it skipped an optimizer's state, and yields their texts."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    registry: dict[str, Any] = {}  # so that repeated warnings are shown as often as without this
    for warning in caught:
        if str(warning.message).startswith(SKIPPED):
            texts.append(str(warning.message))
        else:
            place = (warning.filename, warning.lineno)
            warnings.warn_explicit(warning.message, warning.category, *place, registry=registry)


def check_archive_optimizer(model: keras.Model, path: Path, skipped: list[str]) -> None:
    """Ensures that the model from a `.keras` file has the file's optimizer, with its state.

    `skipped` are Keras's warnings while it loaded. A state that was saved before the first step has no slots, and Keras
    skips it for that; it is put into a new optimizer. Any other state that was skipped is refused.
    """
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json")).get("compile_config")
        # Saving as .h5 takes the optimizer out of the live model's compile configuration (Keras 3.15.1).
        if config and "optimizer" not in config and _compiles_as_keras(type(model)):
            raise ExportError(
                f"`{path}` does not name the optimizer of its model, because Keras leaves it out of a .keras file after "
                f"the model was saved as .h5: save it as .keras first, or export the .h5 file, or {WAYS_OUT}"
            )
        if not skipped:
            return
        values = _archive_state(archive)
    # An optimizer that scales the loss, for mixed precision, wraps another one and lists its variables among its own.
    main = getattr(model, "optimizer", None)
    own = [each for each in (main, getattr(main, "inner_optimizer", None)) if each is not None]
    others = [text for text in skipped if not text.startswith(tuple(f"{SKIPPED} '{each.name}'" for each in own))]
    if others or len(skipped) > len(own):
        raise ExportError(f"`{path}` has the state of an optimizer that Keras does not restore: {WAYS_OUT}")
    optimizer = type(main).from_config(main.get_config())
    _restore(optimizer, values, model, path)
    model.optimizer = optimizer


def _compiles_as_keras(kind: type[keras.Model]) -> bool:
    """Whether the class uses Keras's own compile configuration, unchanged."""
    methods = ("compile", "compile_from_config", "get_compile_config")
    return all(getattr(kind, name) is getattr(keras.Model, name) for name in methods)


def _archive_state(archive: zipfile.ZipFile) -> list[np.ndarray]:
    is_hdf5 = "model.weights.h5" in archive.namelist()
    kind, ending = (H5IOStore, "h5") if is_hdf5 else (NpzIOStore, "npz")
    store = kind(f"model.weights.{ending}", archive, mode="r")
    try:
        entry = store.get("optimizer")
        return [np.asarray(entry[str(index)]) for index in range(len(entry.keys()))]
    finally:
        store.close()


def compile_from_hdf5(model: keras.Model, path: Path, known: dict[str, Any]) -> None:
    """Compiles a model as its `.h5` file describes, and restores the optimizer; does nothing if the file has no description.

    Keras 3.15.1 does not do it: it looks for the short names of losses, such as `mse`, among the metrics and fails, and
    it builds the optimizer for the variables that the model itself owns, not its layers, which loses the state. Names
    are given to `compile` as they are, as they were when the model was first compiled, so the metrics' names stay.
    """
    with h5py.File(path, "r") as file:
        text = file.attrs.get("training_config")
        if text is None:
            return
        state = load_optimizer_weights_from_hdf5_group(file) if "optimizer_weights" in file else []
        values = [np.asarray(value) for value in state]
    config = json_utils.decode(text)
    wanted = {"optimizer_config": config["optimizer_config"], "loss_weights": config.get("loss_weights")}
    arguments = saving_utils.compile_args_from_training_config(wanted, known)
    arguments["loss"] = _compile_argument(config.get("loss"), keras.losses, known, path)
    for name in ("metrics", "weighted_metrics"):
        arguments[name] = _compile_argument(config.get(name), keras.metrics, known, path)
    model.compile(**arguments)
    if model.optimizer is not None:
        _restore(model.optimizer, values, model, path)


def _compile_argument(config: Any, module: ModuleType, known: dict[str, Any], path: Path) -> Any:
    """A loss or metric of a training configuration, or a list or dict of them, as `compile` takes it."""
    if config is None:
        return None
    if isinstance(config, list):
        return [_compile_argument(each, module, known, path) for each in config]
    if isinstance(config, dict) and "class_name" not in config:
        return {key: _compile_argument(each, module, known, path) for key, each in config.items()}
    if isinstance(config, str):
        name, found = config, keras.saving.get_registered_object(config, known)
        if found is None and (config in BY_SHAPE or _knows(module, config)):
            found = config
    else:
        name, found = config["class_name"], module.deserialize(config, custom_objects=known)
        if isinstance(found, str):
            # Files of Keras 2 have classes that Keras 3 lacks; then the object's name decides.
            name = config["config"].get("name", name)
            found = module.get(name) if _knows(module, name) else None
    if found is None:
        kind = "loss" if module is keras.losses else "metric"
        raise ExportError(
            f"`{path}` uses the {kind} `{name}`, which Keras does not know: name the Python module that defines it "
            "with --custom-objects MODULE"
        )
    return found


def _knows(module: ModuleType, name: str) -> bool:
    try:
        module.get(name)
    except ValueError:
        return False
    return True


def _restore(optimizer: keras.optimizers.Optimizer, values: list[np.ndarray], model: keras.Model, path: Path) -> None:
    """Builds a new optimizer for the model with the saved state, which has no slots before the first step."""
    before_first_step = _fits(optimizer, values)
    if before_first_step:
        _assign(optimizer, values)
    optimizer.build(model.trainable_variables)
    if before_first_step or not values:
        return
    if not _fits(optimizer, values):
        raise ExportError(
            f"`{path}` has {len(values)} optimizer variables, which do not fit its optimizer, "
            f"`{type(optimizer).__name__}`, with {len(optimizer.variables)}; this happens when layers were frozen after "
            f"training: {WAYS_OUT}"
        )
    _assign(optimizer, values)


def _fits(optimizer: keras.optimizers.Optimizer, values: list[np.ndarray]) -> bool:
    return [value.shape for value in values] == [tuple(variable.shape) for variable in optimizer.variables]


def _assign(optimizer: keras.optimizers.Optimizer, values: list[np.ndarray]) -> None:
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)

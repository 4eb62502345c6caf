"""Loads a Keras model from a `.keras` file, an `.h5` file, or a function that returns it."""

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras

from . import compiled
from .errors import ExportError, first_line
from .source import HDF5_ENDINGS, check, is_file, lambda_refused

UNKNOWN = re.compile(r"(?:Could not locate|Unknown) ([\w ]+?):? '([^']+)'")
"""Keras's message for an unregistered class or function, in its readers of `.keras` and of `.h5` files."""


def load_model(
    source: str, custom_objects: list[str], unsafe_lambda: bool, inference_only: bool = False
) -> keras.Model:
    """The model behind `source`; modules named in `custom_objects` are imported first.

    A file's model is compiled as the file says, and its optimizer has the saved state, unless `inference_only`.
    """
    if keras.config.backend() != "tensorflow":
        raise ExportError(
            f"Keras runs on `{keras.config.backend()}` here, but only TensorFlow can write a SavedModel; "
            "run again with KERAS_BACKEND=tensorflow"
        )
    check(source, unsafe_lambda, inference_only)
    known = _custom_objects(custom_objects)
    if is_file(source):
        return _load_file(Path(source), known, unsafe_lambda, inference_only)
    return _call(source)


def _load_file(path: Path, known: dict[str, Any], unsafe_lambda: bool, inference_only: bool) -> keras.Model:
    is_hdf5 = path.suffix in HDF5_ENDINGS
    compiles = not inference_only
    try:
        with compiled.skipped_states() as skipped:
            model = keras.saving.load_model(
                path, custom_objects=known, compile=compiles and not is_hdf5, safe_mode=not unsafe_lambda
            )
        if not isinstance(model, keras.Model):
            raise ExportError(f"`{path}` contains a `{type(model).__name__}`, not a model")
        if compiles and is_hdf5:
            compiled.compile_from_hdf5(model, path, known)
        elif compiles:
            compiled.check_archive_optimizer(model, path, skipped)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(_why_not_loaded(path, error)) from error
    return model


def _why_not_loaded(path: Path, error: Exception) -> str:
    unknown = UNKNOWN.search(str(error))
    if unknown:
        kind, name = unknown[1].strip(), unknown[2]
        return (
            f"`{path}` uses the {kind} `{name}`, which Keras does not know: name the Python module that defines it "
            "with --custom-objects MODULE"
        )
    if "safe_mode" in str(error) or "unsafe" in str(error).lower():
        return str(lambda_refused(path))
    return f"`{path}` cannot be loaded by Keras {keras.__version__}: {first_line(error)}"


def _custom_objects(names: list[str]) -> dict[str, Any]:
    """The public classes and functions that the modules define, by name; importing them also registers decorated ones."""
    known: dict[str, Any] = {}
    for name in names:
        module = _import(name)
        own = {key: value for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
        known.update({key: value for key, value in own.items() if callable(value) and not key.startswith("_")})
    return known


def _import(name: str) -> ModuleType:
    """The module by its dotted name, looked for in the current folder too, or by the path of its file."""
    try:
        if name.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(name).stem, name)
            if spec is None or spec.loader is None:
                raise ImportError(f"`{name}` is not a Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            return module
        if "" not in sys.path:
            sys.path.insert(0, "")
        return importlib.import_module(name)
    except Exception as error:
        raise ExportError(f"the module `{name}` cannot be imported: {first_line(error)}") from error


def _call(source: str) -> keras.Model:
    name, _, function = source.rpartition(":")
    module = _import(name)
    build = getattr(module, function, None)
    if not callable(build):
        raise ExportError(f"the module `{name}` has no function `{function}`")
    try:
        model = build()
    except Exception as error:
        raise ExportError(f"`{source}` failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(model, keras.Model):
        raise ExportError(f"`{source}` returned a `{type(model).__name__}`, not a Keras model")
    return model

"""Checks of a model's source before Keras and TensorFlow are imported, which takes seconds."""

import ast
import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py

from .errors import ExportError, first_line

HDF5_ENDINGS = (".h5", ".hdf5")
SHARDED_WEIGHTS = ".weights.json"
TORCH = "keras.src.backend.torch."
"""The modules that only Keras's torch backend has, such as those of its optimizers."""
BY_FUNCTION = (
    "build and compile the model in a function, call `model.load_weights({name!r})` there, and export that as "
    "module:function"
)


def is_file(source: str) -> bool:
    """Whether the source is a file, not a function."""
    path = Path(source)
    return path.suffix in (".keras", *HDF5_ENDINGS) or source.endswith(SHARDED_WEIGHTS) or path.exists()


def check(source: str, unsafe_lambda: bool, inference_only: bool) -> None:
    """Refuses sources that Keras would refuse later, or with a less helpful error."""
    if is_file(source):
        _check_file(Path(source), unsafe_lambda, inference_only)
    elif ":" in source:
        _check_function(*source.rpartition(":")[::2])
    else:
        raise ExportError(f"`{source}` does not exist (expected a .keras or .h5 file, or module:function)")


def lambda_refused(path: Path) -> ExportError:
    """The error for a file that would run code."""
    return ExportError(
        f"`{path}` contains a lambda, which is Python code that would run here: if you trust the file, "
        "export with --unsafe-lambda"
    )


def _check_file(path: Path, unsafe_lambda: bool, inference_only: bool) -> None:
    if not path.exists():
        raise ExportError(f"`{path}` does not exist")
    if path.is_dir():
        is_saved_model = any((path / name).exists() for name in ("saved_model.pb", "saved_model.pbtxt"))
        what = "is a SavedModel already" if is_saved_model else "is a folder"
        raise ExportError(f"`{path}` {what}; expected a .keras or .h5 file, or module:function")
    if path.name.endswith(SHARDED_WEIGHTS):
        how = BY_FUNCTION.format(name=path.name)
        raise ExportError(f"`{path}` lists the shards of Keras's sharded weights, not the model: {how}")
    if path.suffix == ".keras":
        _check_archive(path, unsafe_lambda, inference_only)
    elif path.suffix in HDF5_ENDINGS:
        _check_hdf5(path)
    else:
        raise ExportError(f"`{path}` is not a Keras file by its name, which ends in .keras, .h5 or .hdf5")


def _check_archive(path: Path, unsafe_lambda: bool, inference_only: bool) -> None:
    if not zipfile.is_zipfile(path):
        hint = "; it is an HDF5 file: rename it to .h5" if h5py.is_hdf5(path) else ", or is cut short"
        raise ExportError(f"`{path}` is not a Keras file: it is not a zip archive{hint}")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for wanted in ("config.json", "model.weights"):
            if not any(name.startswith(wanted) for name in names):
                raise ExportError(f"`{path}` is not a whole Keras file: the archive has no `{wanted}`")
        try:
            config = json.loads(archive.read("config.json"))
        except (KeyError, ValueError, RecursionError, zipfile.BadZipFile):
            return  # Keras says what is wrong with it.
    if not isinstance(config, dict):
        return
    if not unsafe_lambda and _holds(config, "class_name", "__lambda__"):
        raise lambda_refused(path)
    if not inference_only and _holds(config.get("compile_config"), "module", TORCH):
        raise ExportError(
            f"`{path}` was compiled under Keras's torch backend, with an optimizer that TensorFlow does not have: "
            "export the model alone with --inference-only, or compile it again on TensorFlow in a function (module:function)"
        )


def _holds(config: Any, key: str, begin: str) -> bool:
    """Whether a value under the key has this prefix, at any depth."""
    todo = [config]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            if str(item.get(key)).startswith(begin):
                return True
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return False


def _check_hdf5(path: Path) -> None:
    if not h5py.is_hdf5(path):
        hint = "; it is a zip archive: rename it to .keras" if zipfile.is_zipfile(path) else ", or is cut short"
        raise ExportError(f"`{path}` is not an HDF5 file{hint}")
    try:
        with h5py.File(path, "r") as file:
            whole = "model_config" in file.attrs
    except OSError as error:
        raise ExportError(f"`{path}` cannot be read: {first_line(error)}") from error
    if not whole:
        raise ExportError(f"`{path}` contains only weights, not the model: {BY_FUNCTION.format(name=path.name)}")


def _check_function(module: str, function: str) -> None:
    """Refuses a module that does not exist, or whose source never names the function. The module is not run."""
    if module.endswith(".py"):
        path = Path(module)
        if not path.exists():
            raise ExportError(f"the module `{module}` cannot be imported: there is no such file")
    else:
        if "" not in sys.path:
            sys.path.insert(0, "")
        if "." in module:
            return  # To look for it, its packages would be imported.
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return
        if found is None:
            raise ExportError(f"the module `{module}` cannot be imported: No module named '{module}'")
        path = Path(found.origin or "")
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    if not _may_define(tree, function):
        raise ExportError(f"the module `{module}` has no function `{function}`")


def _may_define(tree: ast.AST, name: str) -> bool:
    for node in ast.walk(tree):
        defines = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if defines and node.name in (name, "__getattr__"):
            return True
        if isinstance(node, ast.Name) and node.id in (name, "globals", "exec", "setattr"):
            return True
        if isinstance(node, ast.alias) and (node.asname or node.name) in (name, "*"):
            return True
    return False

"""Two ways to call the signatures of a SavedModel: a v1 session, the reference, and Python's own eager loader.

The session makes the calls that any C API client makes: it feeds and fetches the tensors that the signature names.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format, text_format

from . import describe
from .cases import Arrays
from .entries import SPARSE_PARTS, split_sparse


class SessionRunner:
    """A meta graph in its own v1 session."""

    def __init__(
        self,
        folder: Path,
        tags: Sequence[str],
        session_config: Mapping[str, Any] | str = "",
        run_after_load: Sequence[str] = (),
    ) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=_config_proto(session_config))
        with self._session.graph.as_default():
            self._meta_graph = tf.compat.v1.saved_model.load(self._session, list(tags), str(folder))
        if run_after_load:
            operations = [self._session.graph.get_operation_by_name(name.split(":")[0]) for name in run_after_load]
            self._session.run(operations, self._asset_paths(folder))

    def run(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """One `Session.run` of the signature."""
        definition = self._meta_graph.signature_def[signature]
        names = tensor_names(definition.inputs)
        feeds = {names[key]: value for key, value in inputs.items()}
        outputs = self._session.run(tensor_names(definition.outputs), feeds)
        return {key: _as_array(value) for key, value in outputs.items()}

    def signature_defs(self) -> dict[str, Any]:
        """The signatures that can be run."""
        return {name: definition for name, definition in self._meta_graph.signature_def.items() if definition.method_name}

    def _asset_paths(self, folder: Path) -> dict[str, str]:
        return {
            asset.tensor_info.name: str(folder / "assets" / asset.filename)
            for asset in describe.assets(self._meta_graph)
        }


class EagerRunner:
    """A meta graph loaded by `tf.saved_model.load`."""

    def __init__(self, folder: Path, tags: Sequence[str]) -> None:
        self._loaded = tf.saved_model.load(str(folder), tags=list(tags))

    def run(self, signature: str, inputs: Arrays) -> dict[str, np.ndarray]:
        """One call of the signature's function."""
        arguments = {_argument_name(key): _as_tensor(value) for key, value in inputs.items()}
        outputs: dict[str, np.ndarray] = {}
        for key, value in self._loaded.signatures[signature](**arguments).items():
            if isinstance(value, tf.SparseTensor):
                outputs.update({f"{key}.{part}": getattr(value, part).numpy() for part in SPARSE_PARTS})
            else:
                outputs[key] = _as_array(value.numpy())
        return outputs


def tensor_names(infos: Mapping[str, Any]) -> dict[str, str]:
    """The tensor behind each key of a signature's TensorInfos, in order of the keys; a sparse key has three."""
    names = {}
    for key, info in sorted(infos.items()):
        if info.WhichOneof("encoding") == "coo_sparse":
            sparse = info.coo_sparse
            tensors = (sparse.indices_tensor_name, sparse.values_tensor_name, sparse.dense_shape_tensor_name)
            names.update({f"{key}.{part}": tensor for part, tensor in zip(SPARSE_PARTS, tensors, strict=True)})
        else:
            names[key] = info.name
    return names


def _config_proto(fields: Mapping[str, Any] | str) -> tf.compat.v1.ConfigProto:
    """A ConfigProto from JSON fields or from text format."""
    config = tf.compat.v1.ConfigProto()
    if isinstance(fields, str):
        return text_format.Parse(fields, config)
    return json_format.ParseDict(fields, config)


def _argument_name(key: str) -> str:
    """The keyword argument of an input in `tf.saved_model.load`; sparse parts are joined with an underscore."""
    stem, part = split_sparse(key)
    return f"{stem}_{part}" if part else key


def _as_tensor(array: np.ndarray) -> tf.Tensor:
    return tf.constant(array, tf.string if array.dtype == object else None, shape=array.shape)


def _as_array(value: Any) -> np.ndarray:
    """TensorFlow returns scalars as bare Python or numpy values."""
    return np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)

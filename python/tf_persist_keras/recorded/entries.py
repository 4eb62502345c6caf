"""Recorded arrays: the entries of meta.json and the arrays of io.npz that they point to.

A dense entry is `{"dtype", "shape", "npz"}`. Strings lie in three arrays, `KEY.bytes` (uint8), `KEY.offsets` (int64,
one more than there are strings) and `KEY.shape` (int64), in row-major order. bfloat16, which npz does not know, lies as
its uint16 bits. A sparse entry is `{"indices", "values", "dense_shape"}`, each of them a dense entry.
"""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from .cases import Arrays

SPARSE_PARTS = ("indices", "values", "dense_shape")
BFLOAT16 = np.dtype(tf.bfloat16.as_numpy_dtype)

Entry = dict[str, Any]


def split_sparse(key: str) -> tuple[str, str | None]:
    """The signature key and the sparse part behind a flat key: `("ids", "indices")` for `ids.indices`."""
    stem, _, part = key.rpartition(".")
    return (stem, part) if stem and part in SPARSE_PARTS else (key, None)


def dtype_name(array: np.ndarray) -> str:
    """The dtype as TensorFlow names it; object arrays hold strings."""
    return "string" if array.dtype == object else tf.as_dtype(array.dtype).name


def encode(arrays: Arrays, prefix: str, npz: dict[str, np.ndarray]) -> dict[str, Entry]:
    """Adds the arrays to `npz` under `PREFIX.KEY` and returns their entries by signature key."""
    entries: dict[str, Entry] = {}
    for flat, array in arrays.items():
        key, part = split_sparse(flat)
        entry = _encode_dense(array, f"{prefix}.{flat}", npz)
        if part is None:
            entries[key] = entry
        else:
            entries.setdefault(key, {})[part] = entry
    return entries


def decode(entries: Mapping[str, Entry], npz: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The recorded arrays, sparse ones under `KEY.indices`, `KEY.values` and `KEY.dense_shape`."""
    arrays = {}
    for key, entry in entries.items():
        if "npz" in entry:
            arrays[key] = _decode_dense(entry, npz)
        else:
            arrays.update({f"{key}.{part}": _decode_dense(entry[part], npz) for part in SPARSE_PARTS})
    return arrays


def _encode_dense(array: np.ndarray, name: str, npz: dict[str, np.ndarray]) -> Entry:
    if array.dtype == object:
        values = array.ravel().tolist()
        npz[f"{name}.bytes"] = np.frombuffer(b"".join(values), dtype=np.uint8)
        npz[f"{name}.offsets"] = np.cumsum([0, *map(len, values)], dtype=np.int64)
        npz[f"{name}.shape"] = np.array(array.shape, dtype=np.int64)
    else:
        npz[name] = array.view(np.uint16) if array.dtype == BFLOAT16 else array
    return {"dtype": dtype_name(array), "shape": list(array.shape), "npz": name}


def _decode_dense(entry: Entry, npz: Mapping[str, np.ndarray]) -> np.ndarray:
    name = entry["npz"]
    if entry["dtype"] == "string":
        data, offsets = npz[f"{name}.bytes"].tobytes(), npz[f"{name}.offsets"].tolist()
        array = np.empty(len(offsets) - 1, dtype=object)
        array[:] = [data[start:end] for start, end in itertools.pairwise(offsets)]
        return array.reshape(npz[f"{name}.shape"])
    array = npz[name]
    return array.view(BFLOAT16) if entry["dtype"] == "bfloat16" else array

"""Reads checkpoints with Python's TensorFlow and writes their tensors to numpy archives.

    python -m checks.read_checkpoint PREFIX=FILE.npz ...

Each tensor is stored under its key. Element types that numpy lacks are stored as unsigned integers with the same bits, and
strings as numpy bytes. Strings in slices are left out, because TensorFlow writes them but cannot read them.
"""

import sys

import numpy as np
import tensorflow as tf


def read(prefix: str) -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint, by its key."""
    reader = tf.train.load_checkpoint(prefix)
    tensors = {}
    for key in reader.get_variable_to_shape_map():
        try:
            tensors[key] = _plain(reader.get_tensor(key))
        except ValueError as error:
            if "Dtype string not supported" not in str(error):
                raise
    return tensors


def _plain(value: object) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype == object or array.dtype.kind in "SU":
        return array.astype(np.bytes_)
    if array.dtype.kind in "biufc" and array.dtype.isbuiltin == 1:
        return array
    # numpy cannot view a scalar as another type.
    return array.reshape(-1).view(f"u{array.dtype.itemsize}").reshape(array.shape)


def main() -> int:
    """The command line."""
    if len(sys.argv) < 2 or not all("=" in pair for pair in sys.argv[1:]):
        print(__doc__, file=sys.stderr)
        return 2
    for pair in sys.argv[1:]:
        prefix, _, archive = pair.rpartition("=")
        np.savez(archive, **read(prefix))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Reads checkpoints with Python's TensorFlow and writes what is in them as numpy archives.

    python -m checks.read_checkpoint PREFIX=FILE.npz ...

Each tensor stands under its key. Element types that numpy does not have stand as the unsigned integers of their bits, and
strings as numpy's bytes. Strings in slices are left out: TensorFlow writes them, and does not read them.
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
    # A scalar has to have a dimension to be viewed as another type.
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

"""Helpers for the makers of v1 graphs."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from models.registry import SEED

v1 = tf.compat.v1
PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


def signature(inputs: Mapping[str, Any], outputs: Mapping[str, Any], method: str = PREDICT) -> Any:
    """A SignatureDef over tensors (dense or sparse) of the current graph."""
    build = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        inputs={key: build(tensor) for key, tensor in inputs.items()},
        outputs={key: build(tensor) for key, tensor in outputs.items()},
        method_name=method,
    )


@contextlib.contextmanager
def graph_session(config: v1.ConfigProto | None = None) -> Iterator[v1.Session]:
    """A session over a new, seeded default graph."""
    with tf.Graph().as_default(), v1.Session(config=config) as session:
        v1.set_random_seed(SEED)
        yield session


def builder(folder: Path) -> Any:
    """The v1 SavedModelBuilder."""
    return v1.saved_model.Builder(str(folder))

"""Recorded cases of a model, and how they are run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
"""Arrays by signature key. Strings are object arrays of bytes; a sparse key is `KEY.indices`, `KEY.values` and
`KEY.dense_shape`."""


@dataclass(frozen=True)
class Tolerance:
    """The allowed difference of a fresh number from the recorded one: `atol + rtol * |recorded|`. Integers, booleans and strings
    must be equal."""

    atol: float = 1e-5
    rtol: float = 1e-4


EXACT = Tolerance(0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """One request to record: a signature, its inputs, and the meta graph's tags where they are not the model's."""

    signature: str
    inputs: Arrays = field(default_factory=dict)
    tags: Sequence[str] | None = None


@dataclass(frozen=True)
class HeldOut:
    """Labelled examples outside of the training data, written with the model's answers to held_out.npz."""

    signature: str
    input_key: str
    output_key: str
    inputs: np.ndarray
    labels: np.ndarray
    least_accuracy: float


@dataclass(frozen=True)
class Built:
    """The result of a maker that wrote a SavedModel.

    `sequence`: the cases change the model's state and run in order, in one session.
    `run_after_load`: operations to run once after loading, with the asset paths fed.
    `session_config`: fields of the ConfigProto without which the model does not load.
    `loads_eagerly`: whether Python's `tf.saved_model.load` loads the model too.
    `refused`: signatures that a C API client cannot call, with the reason; they have no cases.
    `custom_op_libs`: the libraries of ops that it needs, by their folders in examples/.
    """

    cases: Sequence[Case]
    tags: Sequence[str] = ("serve",)
    sequence: bool = False
    tolerance: Tolerance = Tolerance()
    run_after_load: Sequence[str] = ()
    session_config: Mapping[str, Any] = field(default_factory=dict)
    loads_eagerly: bool = True
    refused: Mapping[str, str] = field(default_factory=dict)
    held_out: HeldOut | None = None
    custom_op_libs: Sequence[str] = ()

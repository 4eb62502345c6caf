"""The registry of model makers, and what a maker hands to the recorder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20_240_601
"""Every maker's seed: initial weights, data splits and invented inputs."""

Arrays = Mapping[str, np.ndarray]
"""Arrays by signature key. Strings are object arrays of bytes; a sparse key is `KEY.indices`, `KEY.values` and
`KEY.dense_shape`."""


@dataclass(frozen=True)
class Tolerance:
    """How far a fresh number may be from the recorded one: `atol + rtol * |recorded|`. Integers, booleans and strings
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
    """Labelled examples that were not trained on: written with the model's answers to held_out.npz."""

    signature: str
    input_key: str
    output_key: str
    inputs: np.ndarray
    labels: np.ndarray
    least_accuracy: float


@dataclass(frozen=True)
class Built:
    """What a maker hands back after it has written its SavedModel.

    `sequence`: the cases change the model's state and run in order, in one session.
    `run_after_load`: operations to run once after loading, with the asset paths fed.
    `session_config`: fields of the ConfigProto without which the model does not load.
    `loads_eagerly`: whether Python's `tf.saved_model.load` takes the model, too.
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


@dataclass(frozen=True)
class Maker:
    """A registered model: its folder's name, one line about it, and the function that writes the SavedModel."""

    name: str
    description: str
    build: Callable[[Path], Built]


MAKERS: dict[str, Maker] = {}


def model(name: str, description: str) -> Callable[[Callable[[Path], Built]], Callable[[Path], Built]]:
    """Registers a function that writes a SavedModel to the folder it is given (which does not exist yet)."""

    def register(build: Callable[[Path], Built]) -> Callable[[Path], Built]:
        if name in MAKERS:
            raise ValueError(f"two models are called `{name}`")
        MAKERS[name] = Maker(name, description, build)
        return build

    return register


def strings(*values: str | bytes) -> np.ndarray:
    """A vector of byte strings; text becomes UTF-8."""
    array = np.empty(len(values), dtype=object)
    array[:] = [value.encode() if isinstance(value, str) else value for value in values]
    return array

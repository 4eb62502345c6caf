"""The registry of model makers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_persist_keras.recorded.cases import Built

SEED = 20_240_601
"""Every maker's seed: initial weights, data splits and invented inputs."""


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

"""Makes `models/custom_keras/`: a Keras file with a custom layer, a custom function and a Lambda, and what it answers;
two with a custom layer that calls the model in a third file.

    PYTHONPATH=python .venv/bin/python -m models.make_custom_keras [FOLDER]

`recipes.toml` and `encoder.toml` there, written by hand, say what the classes below compute.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers, ops

from models.registry import SEED


@keras.saving.register_keras_serializable(package="my_package")
class GatedUnit(layers.Layer):
    """A gated linear unit with a learned scale."""

    def __init__(self, units, scale=2.0, **options):
        super().__init__(**options)
        self.units, self.scale = units, scale
        self.up = layers.Dense(2 * units)

    def build(self, shape):
        self.up.build(shape)
        self.gamma = self.add_weight(shape=(self.units,), initializer="random_normal", name="gamma")
        super().build(shape)

    def call(self, x):
        a, b = ops.split(self.up(x), 2, axis=-1)
        return ops.gelu(a) * b * self.gamma * self.scale

    def get_config(self):
        return {**super().get_config(), "units": self.units, "scale": self.scale}


@keras.saving.register_keras_serializable(package="my_package")
def cubed(x):
    """x³."""
    return x * x * x


@keras.saving.register_keras_serializable(package="my_package")
class Encoder(layers.Layer):
    """A model that was trained before. The file of the outer model has its weights only if it is tuned further."""

    def __init__(self, model=None, tuned=False, **options):
        super().__init__(**options)
        self.tuned = tuned
        self.encode = model if tuned else lambda x: model(x)

    def call(self, x):
        return self.encode(x)

    def get_config(self):
        return {**super().get_config(), "tuned": self.tuned}


def randomize(model, seed) -> None:
    """Gives all weights of a model other values."""
    for weight in model.weights:
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape).astype(np.float32))


def make_encoder(folder) -> None:
    """A model, and two models that call it in a layer, one of which has tuned its weights."""
    x = keras.Input((6,), name="x")
    encoder = keras.Model(x, layers.Dense(3, name="code")(layers.Dense(5, "tanh", name="hidden")(x)), name="encoder")
    randomize(encoder, SEED)
    encoder.save(folder / "encoder.keras")
    for name, tuned in [("with_encoder", False), ("with_tuned_encoder", True)]:
        keras.utils.set_random_seed(SEED)
        x = keras.Input((6,), name="x")
        encode = Encoder(keras.saving.load_model(folder / "encoder.keras"), tuned, name="encode")
        model = keras.Model(x, layers.Dense(2, name="dense")(encode(x)), name=name)
        randomize(model, SEED + 1)
        model.save(folder / f"{name}.keras")
        given = np.random.default_rng(SEED).normal(size=(3, 6)).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=given, output_0=model(given, training=False).numpy())


def main() -> None:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "models/custom_keras")
    folder.mkdir(parents=True, exist_ok=True)
    make_encoder(folder)
    keras.utils.set_random_seed(SEED)
    x = keras.Input((6,), name="x")
    gated = GatedUnit(5, name="gate")(x)
    y = layers.Dense(4, activation=cubed, name="dense")(gated)
    model = keras.Model(x, layers.Lambda(lambda t: t + 1.0, name="plus_one")(y), name="custom")
    randomize(model, SEED)
    model.save(folder / "custom.keras")
    given = np.random.default_rng(SEED).normal(size=(3, 6)).astype(np.float32)
    np.savez(folder / "io.npz", x=given, output_0=model(given, training=False).numpy())


if __name__ == "__main__":
    main()

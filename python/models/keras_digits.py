"""Compiled models on scikit-learn's digits, one function for each optimizer, for `tf-persist-keras-export models.keras_digits:adam OUT`.

Each has batch normalisation, two dropout layers (one with a seed, one without) and a learning-rate schedule, except
`constant_rate`, whose rate is a variable.
"""

import keras
import numpy as np
from keras import layers
from keras.optimizers import schedules
from sklearn.datasets import load_digits

SEED = 20_240_601


def batches(steps: int, size: int = 32) -> list[tuple[np.ndarray, np.ndarray]]:
    """The first `steps` batches of the digits, in a fixed random order, starting again at the end."""
    data = load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    rows = [order[np.arange(step * size, (step + 1) * size) % len(order)] for step in range(steps)]
    images = (data.images / 16.0).astype(np.float32)[..., np.newaxis]
    return [(images[row], data.target[row].astype(np.int64)) for row in rows]


def network(optimizer: keras.optimizers.Optimizer, jit_compile: bool = False) -> keras.Model:
    """A small CNN, compiled; its initial weights are always the same."""
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.3, seed=SEED, name="drop_1"),
            layers.Dense(32, activation="relu", name="dense"),
            layers.Dropout(0.2, name="drop_2"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name="digits",
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=jit_compile)
    return model


def sgd(jit_compile: bool = False) -> keras.Model:
    """SGD with momentum."""
    rate = schedules.ExponentialDecay(0.05, 10, 0.9)
    return network(keras.optimizers.SGD(rate, momentum=0.9), jit_compile)


def adam(jit_compile: bool = False) -> keras.Model:
    """Adam."""
    return network(keras.optimizers.Adam(schedules.CosineDecay(4e-3, 100)), jit_compile)


def adamw(jit_compile: bool = False) -> keras.Model:
    """AdamW."""
    rate = schedules.CosineDecay(1e-3, 100, warmup_target=4e-3, warmup_steps=8)
    return network(keras.optimizers.AdamW(rate, weight_decay=0.01), jit_compile)


def rmsprop(jit_compile: bool = False) -> keras.Model:
    """RMSprop, centred and with momentum."""
    rate = schedules.PiecewiseConstantDecay([12, 25], [2e-3, 1e-3, 5e-4])
    return network(keras.optimizers.RMSprop(rate, momentum=0.9, centered=True), jit_compile)


def constant_rate(jit_compile: bool = False) -> keras.Model:
    """Adam whose learning rate is a variable."""
    return network(keras.optimizers.Adam(1e-3), jit_compile)


OPTIMIZERS = {"sgd": sgd, "adam": adam, "adamw": adamw, "rmsprop": rmsprop}

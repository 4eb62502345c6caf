"""A model with training data, for `tf-persist train`."""

from pathlib import Path

import keras
import numpy as np
from keras import layers
from keras.optimizers import schedules
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from models.registry import SEED, model
from tf_persist_keras import write
from tf_persist_keras.recorded.cases import Built, Case


def digits_network() -> keras.Model:
    """A small CNN with batch normalisation, dropout, and Adam on a learning-rate schedule; compiled, not trained."""
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.2, seed=SEED, name="drop"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ],
        name="digits",
    )
    rate = schedules.ExponentialDecay(8e-3, 100, 0.7)
    network.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    return network


@model("digits_trainable", "Keras 3 CNN on scikit-learn's digits, exported untrained with its train signature and data")
def digits_trainable(folder: Path) -> Built:
    """As `tf-persist-keras-export` writes it: `serving_default`, `train`, `evaluate`, and the optimizer's state.

    The cases are two steps of training, and what the model answers before and after.
    """
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[..., np.newaxis]
    labels = data.target.astype(np.int64)
    train_x, held_x, train_y, held_y = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=SEED
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    write.export(digits_network(), folder, write.Options())
    np.savez_compressed(folder.parent / "train.npz", image=train_x, y=train_y)
    np.savez_compressed(folder.parent / "validate.npz", image=held_x, y=held_y)
    np.savez_compressed(folder.parent / "examples.npz", image=held_x[:16])
    served = Case("serving_default", {"image": held_x[:4]})
    steps = [Case("train", {"image": train_x[start : start + 8], "y": train_y[start : start + 8]}) for start in (0, 8)]
    evaluated = Case("evaluate", {"image": held_x[:8], "y": held_y[:8]})
    return Built(cases=[served, evaluated, *steps, evaluated, served], sequence=True)

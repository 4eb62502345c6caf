"""Makes `models/digits_keras/`: a compiled Keras CNN that was trained for a while, as `model.save` writes it, and what it answers.

    PYTHONPATH=python .venv/bin/python -m models.make_keras_file [FOLDER]
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from models.registry import SEED
from models.trainable import digits_network

EPOCHS = 5


def main() -> None:
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "models/digits_keras")
    folder.mkdir(parents=True, exist_ok=True)
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[..., np.newaxis]
    train_x, held_x, train_y, held_y = train_test_split(
        images, data.target.astype(np.int64), test_size=0.25, stratify=data.target, random_state=SEED
    )
    keras.utils.set_random_seed(SEED)
    network = digits_network()
    network.fit(train_x, train_y, batch_size=32, epochs=EPOCHS, verbose=0)
    network.save(folder / "digits.keras")
    probabilities = network(held_x, training=False).numpy()
    np.savez_compressed(folder / "held_out.npz", image=held_x, label=held_y, probabilities=probabilities)
    right = (probabilities.argmax(axis=1) == held_y).mean()
    print(f"{folder}: {right:.1%} of {len(held_y)} held-out digits right after {EPOCHS} epochs")


if __name__ == "__main__":
    main()

"""Makes the Keras files of the tests in keras.rs, and what Keras's own `fit` makes of them.

Run in this folder with Keras 3.15 and TensorFlow 2.21.
"""

import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
from keras import layers

EPOCHS, BATCH_SIZE = 3, 16


def make(name, optimizer, metrics, policy="float32"):
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)).astype("float32")
    y = (x.sum(axis=1, keepdims=True) + rng.normal(size=(50, 1))).astype("float32")
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(8, "tanh"), layers.Dense(1, dtype="float32")]
    )
    model.compile(optimizer, "mse", metrics=metrics, jit_compile=False)
    model.save(f"{name}.keras")
    np.savez(f"{name}.npz", x=x, y=y)
    history = model.fit(x, y, epochs=EPOCHS, batch_size=BATCH_SIZE, shuffle=False, verbose=0).history
    last = {key: np.float64(values[-1]) for key, values in history.items()}
    if policy == "mixed_float16":
        model.save(f"{name}.fit.keras")
    np.savez(f"{name}.fit.npz", prediction=model.predict(x, batch_size=50, verbose=0), **last)
    keras.config.set_dtype_policy("float32")


if __name__ == "__main__":
    make(
        "ema",
        keras.optimizers.Adam(0.05, use_ema=True, ema_momentum=0.9),
        [keras.metrics.RootMeanSquaredError(), keras.metrics.R2Score()],
    )
    make("mixed", keras.optimizers.Adam(0.01), None, "mixed_float16")

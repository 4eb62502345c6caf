"""Checks that Keras trains on what `tf-persist train` made of its models of `mixed_float16`, and the other way.

    python -m checks.check_loss_scale --tf-persist target/debug/tf-persist

Keras puts a `LossScaleOptimizer` around their optimizer, whose state its `.keras` files have twice. A model is trained
for as many epochs in all ways: by Keras alone, and half of it by `tf-persist train` of a file that Keras wrote, before
or after its own training. The files are read by Keras, which goes on. One line each; exit code 1 if a step was lost,
the two copies of a state differ, or answers are further apart than rounding makes them.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import h5py
import keras
import numpy as np

BATCH_SIZE, BATCHES, EPOCHS = 16, 4, 3

# They were equal bit for bit where this was written.
TOLERANCE = 1e-3


def data() -> tuple[np.ndarray, np.ndarray]:
    """Rows and targets."""
    random = np.random.default_rng(0)
    x = random.normal(size=(BATCH_SIZE * BATCHES, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True) + 1


optimizers = keras.optimizers
KINDS = {
    "constant rate": lambda: optimizers.Adam(0.02),
    "schedule": lambda: optimizers.Adam(optimizers.schedules.ExponentialDecay(0.02, 3, 0.9)),
    "averages": lambda: optimizers.Adam(0.02, use_ema=True, ema_momentum=0.9),
    "of its own": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.02), 1024.0, 5),
}


def compiled(kind: str) -> keras.Model:
    """A model before its first step."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((4,), name="x"), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1, dtype="float32")]
    )
    model.compile(KINDS[kind](), keras.losses.MeanSquaredError(), jit_compile=False)
    return model


def fit(model: keras.Model) -> keras.Model:
    """Half of a training in Keras."""
    model.fit(*data(), epochs=EPOCHS, batch_size=BATCH_SIZE, shuffle=False, verbose=0)
    return model


def copies_differ(file: Path) -> bool:
    """Whether the state of the optimizer inside is not the end of that of the one around it."""
    with zipfile.ZipFile(file) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
        outer, inner = weights["optimizer/vars"], weights["optimizer/inner_optimizer/vars"]
        own = len(outer) - len(inner)
        return own != 4 or any((outer[str(own + n)][()] != inner[str(n)][()]).any() for n in range(len(inner)))


class Check:
    """The ways to train a model, and what Keras alone makes of it."""

    def __init__(self, program: Path, folder: Path, kind: str) -> None:
        self._program, self._folder = program, folder
        self._kind = kind
        self.failed = 0
        np.savez(folder / "data.npz", x=data()[0], y=data()[1])
        self._wanted = fit(fit(compiled(kind)))

    def train(self, source: str, target: str) -> None:
        """Half of a training by `tf-persist`."""
        options = f"--epochs {EPOCHS} --batch-size {BATCH_SIZE} --no-shuffle --intra-op-threads 1".split()
        self.call("train", source, "--data", "data.npz", *options, "--output", target)

    def call(self, *arguments: str) -> None:
        """Runs `tf-persist`, and ends with its words if it fails."""
        done = subprocess.run([self._program, *arguments], cwd=self._folder, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)

    def report(self, way: str, file: str, model: keras.Model) -> None:
        """Compares a trained model with that of Keras alone. `file` is the last one that `tf-persist` wrote."""
        steps, wanted = ([int(each.optimizer.inner_optimizer.iterations) for each in (model, self._wanted)])
        x, _ = data()
        difference = np.abs(model.predict(x, verbose=0) - self._wanted.predict(x, verbose=0)).max()
        has_twice = file.endswith(".keras") and copies_differ(self._folder / file)
        is_right = steps == wanted and difference < TOLERANCE and not has_twice
        self.failed += not is_right
        print(
            f"{'ok' if is_right else 'FAILED'}: {way}, {self._kind}: {steps} of {wanted} steps, difference {difference:.1e}"
            + (", the copies of its state differ" if has_twice else "")
        )

    def run(self, all_ways: bool) -> None:
        """The two ways to share a training, or all."""
        compiled(self._kind).save(self._folder / "fresh.keras")
        self.train("fresh.keras", "half.keras")
        load = lambda file: keras.models.load_model(self._folder / file)
        self.report("tf-persist, then Keras", "half.keras", fit(load("half.keras")))
        fit(compiled(self._kind)).save(self._folder / "fitted.keras")
        self.train("fitted.keras", "whole.keras")
        self.report("Keras, then tf-persist", "whole.keras", load("whole.keras"))
        if not all_ways:
            return
        self.train("half.keras", "twice.keras")
        self.report("tf-persist, then tf-persist", "twice.keras", load("twice.keras"))
        for source, target in [("half.keras", "half.h5"), ("half.h5", "again.keras")]:
            self.call("export", source, target)
        self.report("tf-persist, .h5, .keras, then Keras", "again.keras", fit(load("again.keras")))
        fit(compiled(self._kind)).save(self._folder / "fitted.h5")
        self.call("export", "fitted.h5", "moved.keras")
        self.report("Keras, .h5, .keras, then Keras", "moved.keras", fit(load("moved.keras")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    program = parser.parse_args().tf_persist.absolute()
    keras.config.set_dtype_policy("mixed_float16")
    failed = 0
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            check = Check(program, Path(folder), kind)
            check.run(kind == next(iter(KINDS)))
            failed += check.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

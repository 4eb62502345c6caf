"""Times an epoch of `tf-persist train` against `model.fit`; run by `scripts/bench train`.

The model is `adam` of models/keras_digits.py (convolution, batch normalisation, dropout, two dense layers, a schedule of
the learning rate), the data scikit-learn's 1,797 digits, batches of 32. Both shuffle. The sides take turns, A B C A B C
and on, and the medians of their epochs and of the ratios round by round are printed.

- An epoch of ours is the last of a process's; the first one has TensorFlow optimize the graph.
- An epoch of Keras's is `fit(epochs=1)` on a model that has been fitted before, so that it does not trace or compile.
- "From the start" is what a user waits for one epoch: for us the whole process, data and model loaded and saved again;
  for Keras the first `fit` of a model, with Python and TensorFlow imported, the model built and the data in memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
import keras
import numpy as np
from sklearn.datasets import load_digits

from models.keras_digits import adam
from tf_persist_keras import write

BATCH = 32
JIT = ("auto", False)


class Ours:
    """The release binary; each call is a process."""

    def __init__(self, binary: Path, scratch: Path, options: list[str], model: str = "model") -> None:
        self._scratch, self._count = scratch, 0
        self._command = [str(binary), "train", str(scratch / model), "--data", str(scratch / "data.npz"), *options]
        self._environment = {"TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv"), **os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}

    def run(self, epochs: int) -> tuple[float, list[float]]:
        """Seconds of the whole process, and of each epoch."""
        self._count += 1
        target = ["--output", str(self._scratch / f"out{self._count}")]
        rest = ["--batch-size", str(BATCH), "--epochs", str(epochs), "--format", "json"]
        started = time.perf_counter()
        ran = subprocess.run(
            [*self._command, *target, *rest],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )
        seconds = time.perf_counter() - started
        return seconds, [epoch["seconds"] for epoch in json.loads(ran.stdout)["epochs"]]


def fit(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of one epoch."""
    started = time.perf_counter()
    model.fit(images, labels, batch_size=BATCH, epochs=1, verbose=0)
    return time.perf_counter() - started


def compare(what: str, ours: Callable[[], float], theirs: dict[str, Callable[[], float]], rounds: int) -> None:
    """Prints one line for each comparison: medians, and the median of the ratios."""
    times: dict[str, list[float]] = {name: [] for name in ["ours", *theirs]}
    for _ in range(rounds):
        times["ours"].append(ours())
        for name, side in theirs.items():
            times[name].append(side())
    median = statistics.median(times["ours"])
    for name in theirs:
        ratio = statistics.median(b / a for a, b in zip(times["ours"], times[name], strict=True))
        print(
            f"{what}: {median * 1e3:.1f} ms; {name}: {statistics.median(times[name]) * 1e3:.1f} ms; "
            f"{ratio:.2f} times as fast",
            flush=True,
        )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="counted rounds (default 9)")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "tf-persist", metavar="FILE")
    parser.add_argument("options", nargs="*", help="more options for `tf-persist train`, after --")
    arguments = parser.parse_args()
    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)[..., np.newaxis]
    labels = data.target.astype(np.int64)
    with TemporaryDirectory(prefix="bench-train-") as work:
        scratch = Path(work)
        write.export(adam(), scratch / "model", write.Options())
        np.savez(scratch / "data.npz", image=images, y=labels)
        ours = Ours(arguments.binary, scratch, arguments.options)
        ours.run(1)
        models = {f"fit, jit_compile={jit}": adam(jit_compile=jit) for jit in JIT}
        for model in models.values():
            fit(model, images, labels)
        warm = {name: (lambda model=model: fit(model, images, labels)) for name, model in models.items()}
        compare("an epoch", lambda: ours.run(4)[1][-1], warm, arguments.rounds)
        cold = {
            f"first fit, jit_compile={jit}": (lambda jit=jit: fit(adam(jit_compile=jit), images, labels)) for jit in JIT
        }
        compare("an epoch from the start", lambda: ours.run(1)[0], cold, max(arguments.rounds // 3, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Times Keras files against Python; run by `scripts/bench keras`.

- MobileNetV2 for 224 x 224 images: `tf-persist export model.keras DST` against Python that loads the file and exports it, both as
  whole processes.
- `tf-persist run model.keras` against `run` of its SavedModel, whole processes.
- An epoch of `tf-persist train digits.keras` against `fit`, compiled by XLA as Keras does by default, and without.

The sides take turns; medians, and medians of the ratios round by round.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from sklearn.datasets import load_digits

from bench.frozen import network
from bench.train import JIT, ROOT, Ours, compare, fit
from models.keras_digits import adam

OURS = str(ROOT / "target/release/tf-persist")
ENVIRONMENT = {**os.environ, "TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv")}
PYTHON = "import sys, keras; keras.models.load_model(sys.argv[1]).export(sys.argv[2], verbose=False)"


def process(command: list[str]) -> float:
    """Seconds of a process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def pair(what: str, sides: dict[str, Callable[[], float]], rounds: int) -> None:
    """Prints the medians of each side, and the ratio of the second to the first."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(rounds + 1):
        for name, side in sides.items():
            result = side()
            if round_:
                times[name].append(result)
    for name, results in times.items():
        print(f"{what}: {name}: {statistics.median(results) * 1e3:.0f} ms")
    first, second = times.values()
    ratio = statistics.median(b / a for a, b in zip(first, second, strict=True))
    print(f"{what}: the second takes {ratio:.2f} times as long", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds (default 7)")
    parser.add_argument("--only", choices=["export", "run", "train"])
    arguments = parser.parse_args()
    wanted = [arguments.only] if arguments.only else ["export", "run", "train"]
    with TemporaryDirectory() as folder:
        scratch = Path(folder)
        file, target = scratch / "mobilenetv2.keras", scratch / "exported"
        model = network()
        model.save(file)
        name = model.layers[0].name
        weights = sum(weight.size * 4 for weight in model.get_weights())
        print(f"MobileNetV2: {weights / 1e6:.1f} MB of weights, the file {file.stat().st_size / 1e6:.1f} MB")

        def fresh(command: list[str]) -> float:
            shutil.rmtree(target, ignore_errors=True)
            return process([*command, str(file), str(target)])

        if "export" in wanted:
            sides = {"tf-persist": lambda: fresh([OURS, "export"]), "Python": lambda: fresh([sys.executable, "-c", PYTHON])}
            pair("export", sides, arguments.rounds)
        if "run" in wanted:
            process([OURS, "export", "--overwrite", str(file), str(target)])
            np.savez(scratch / "image.npz", **{name: np.random.default_rng(0).random((1, 224, 224, 3), np.float32)})
            run = lambda path: process([OURS, "run", str(path), "--inputs", str(scratch / "image.npz")])
            pair("run", {"SavedModel": lambda: run(target), "Keras file": lambda: run(file)}, arguments.rounds)
        if "train" in wanted:
            data = load_digits()
            images = (data.images / 16.0).astype(np.float32)[..., np.newaxis]
            np.savez(scratch / "data.npz", image=images, y=data.target.astype(np.int64))
            adam().save(scratch / "model.keras")
            ours = Ours(Path(OURS), scratch, [], model="model.keras")
            fitted = {f"fit, jit_compile={jit}": adam(jit) for jit in JIT}
            for one in fitted.values():
                fit(one, images, data.target)
            sides = {name: lambda one=one: fit(one, images, data.target) for name, one in fitted.items()}
            compare("an epoch", lambda: ours.run(2)[1][-1], sides, arguments.rounds)
    return 0


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    sys.exit(main())

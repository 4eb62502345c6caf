"""Times the export of a large model against copying its files; run by `scripts/bench export`."""

import argparse
import os
import shutil
import statistics
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "target/release/tf-persist"
VARIABLES = 200
ELEMENTS = 1_250_000


def make_model(folder: Path) -> None:
    """A model with 1 GB of float32 variables."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    module = tf.Module()
    module.weights = [tf.Variable(random.random(ELEMENTS, dtype=np.float32)) for _ in range(VARIABLES)]

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32, "x")])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": x + tf.add_n([weight[0] for weight in module.weights])}

    tf.saved_model.save(module, str(folder), signatures={"serving_default": serve})


def timed(command: str, target: Path) -> float:
    """Seconds of a command that writes `target`, which is deleted before."""
    shutil.rmtree(target, ignore_errors=True)
    os.sync()
    started = perf_counter()
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def compare(what: str, folder: Path, model: Path, flush: bool, rounds: int) -> None:
    """Prints the medians of both sides, and the median of the ratios; the first round does not count."""
    target = folder / "target"
    copy = f"cp -r {model} {target}" + (f" && sync -f {target}" if flush else "")
    pairs = [(timed(f"{OURS} export {model} {target}", target), timed(copy, target)) for _ in range(rounds + 1)][1:]
    shutil.rmtree(target)
    ours, theirs = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
    print(f"{what}: export {ours * 1e3:.0f} ms, cp -r {theirs * 1e3:.0f} ms, {ratio:.2f} times its time", flush=True)


def main() -> None:
    """Makes the model and compares in both places."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    with TemporaryDirectory(prefix="tf-persist-bench-") as on_disk:
        model = Path(on_disk) / "model"
        make_model(model)
        if Path("/dev/shm").is_dir():
            with TemporaryDirectory(prefix="tf-persist-bench-", dir="/dev/shm") as in_memory:
                copied = Path(in_memory) / "model"
                shutil.copytree(model, copied)
                compare("in memory", Path(in_memory), copied, False, rounds)
        compare("on disk, flushed", Path(on_disk), model, True, rounds)


if __name__ == "__main__":
    main()

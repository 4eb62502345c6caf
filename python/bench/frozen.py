"""Times MobileNetV2 with variables against the same frozen; run by `scripts/bench frozen`.

Both sides are `tf-persist run --repeat` with the same session settings, one after the other, several rounds: as fast as one caller
gets them (one intra-op thread, the graph run in the calling thread), and with TensorFlow's defaults. The median run of each round
counts.
"""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
OURS = str(ROOT / "target/release/tf-persist")
ENVIRONMENT = {**os.environ, "TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv")}
REPEAT = 60
IMAGES = 4
SETTINGS = {
    "one caller, intra_op 1, inter_op -1": ["--intra-op-threads", "1", "--inter-op-threads", "-1"],
    "TensorFlow's defaults": [],
}


def network() -> Any:
    """Keras's MobileNetV2 for 224 x 224 images, with random weights."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV2(weights=None)
    spread_statistics(model)
    return model


def spread_statistics(model: Any) -> None:
    """Makes the statistics of batch normalisation random, and the last layer's weights large.

    As Keras initialises them, all answers would be 0.001.
    """
    import keras

    random = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            near_one = [random.uniform(0.5, 1.5, size) for _ in range(2)]
            near_zero = [random.normal(0.0, 0.1, size) for _ in range(2)]
            layer.set_weights([near_one[0], near_zero[0], near_zero[1], near_one[1]])
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([20.0 * kernel, bias])


def make_model(folder: Path) -> str:
    """Exports the network; the name of its input."""
    model = network()
    model.export(str(folder), verbose=False)
    return model.inputs[0].name


def run(model: Path, inputs: Path, output: Path, settings: list[str]) -> np.ndarray:
    """The answer of a model."""
    command = [OURS, "run", str(model), "--inputs", str(inputs), "--output", str(output), *settings]
    subprocess.run(command, check=True, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    with np.load(output) as answers:
        return answers[answers.files[0]]


def time_run(model: Path, inputs: Path, settings: list[str]) -> tuple[float, float]:
    """The median time of a run in milliseconds, and how long the process took without the repetitions."""
    command = [OURS, "run", str(model), "--inputs", str(inputs), "--repeat", str(REPEAT), "--format", "json", *settings]
    started = perf_counter()
    done = subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    took = perf_counter() - started
    timings = json.loads(done.stdout)["timings"]
    run_ms = timings["median_us"] / 1e3
    return run_ms, took * 1e3 - run_ms * timings["runs"]


def main() -> None:
    """Makes the models, compares the answers, prints the ratios."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    with TemporaryDirectory(prefix="tf-persist-bench-") as name:
        folder = Path(name)
        plain, frozen, inputs = folder / "plain", folder / "frozen", folder / "in.npz"
        key = make_model(plain)
        subprocess.run([OURS, "export", str(plain), str(frozen), "--frozen"], check=True)
        random = np.random.default_rng(0)
        for settings_name, settings in SETTINGS.items():
            largest = top = 0.0
            for _ in range(IMAGES):
                np.savez(inputs, **{key: random.standard_normal((1, 224, 224, 3), dtype=np.float32)})
                answers = [run(model, inputs, folder / "out.npz", settings) for model in (plain, frozen)]
                largest = max(largest, float(np.abs(answers[0] - answers[1]).max()))
                top = max(top, float(answers[0].max()))
            pairs = [(time_run(plain, inputs, settings), time_run(frozen, inputs, settings)) for _ in range(rounds)]
            for index, what in enumerate(("run", "whole process without the repetitions")):
                ours = statistics.median(pair[1][index] for pair in pairs)
                theirs = statistics.median(pair[0][index] for pair in pairs)
                ratio = statistics.median(pair[0][index] / pair[1][index] for pair in pairs)
                print(f"{settings_name}: {what}: frozen {ours:.2f} ms, with variables {theirs:.2f} ms, ratio {ratio:.2f}")
            print(f"{settings_name}: largest difference of an output {largest:.3g}, largest output {top:.3g}", flush=True)


if __name__ == "__main__":
    main()

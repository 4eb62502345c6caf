"""Times many rows through an MLP: `tf-persist run --batch-size` against `keras.Model.predict`; run by `scripts/bench batches`.

The model is an MLP 784-128-10 with random weights, the data 100,000 rows of floats. Each side is a whole process, from the start
to the outputs on disk: ours reads the SavedModel that `model.export` wrote, Python imports Keras, loads the `.keras` file and calls
`predict` with batches of 1,024. Both read and write the same format. The sides take turns; medians and the median of the ratios
round by round are printed, and the largest difference between the outputs.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import perf_counter

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
BATCH = 1024
ENVIRONMENT = {**os.environ, "TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv"), "TF_CPP_MIN_LOG_LEVEL": "2"}

PREDICT = """
import sys
import numpy as np
import keras

model, source, target, batch, name = sys.argv[1:]
loaded = np.load(source)
rows = loaded if source.endswith(".npy") else loaded[name]
answers = keras.models.load_model(model).predict(rows, batch_size=int(batch), verbose=0)
if target.endswith(".npy"):
    np.save(target, answers)
else:
    np.savez(target, answers=answers)
"""


def make_models(folder: Path) -> str:
    """Writes the model as a Keras file and as a SavedModel; the name of its input."""
    import keras

    keras.utils.set_random_seed(0)
    layers = [keras.Input((784,)), keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(layers)
    model.save(folder / "mlp.keras")
    model.export(str(folder / "mlp"), verbose=False)
    return model.inputs[0].name


def run(command: list[str]) -> tuple[float, float]:
    """Seconds of a process, and its peak memory in MB."""
    started = perf_counter()
    with TemporaryFile() as errors:
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        took = perf_counter() - started
        # The status is known here; the object would wait for the process in vain.
        process.returncode = os.waitstatus_to_exitcode(status)
        if status:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)}\n{errors.read().decode()}")
    return took, usage.ru_maxrss / 1e3


def read(path: Path) -> np.ndarray:
    """The only array of a file."""
    loaded = np.load(path)
    return loaded if path.suffix == ".npy" else loaded[loaded.files[0]]


def compare(binary: Path, folder: Path, name: str, ending: str, arguments: argparse.Namespace) -> None:
    """Prints one line for a format."""
    source = folder / f"in{ending}"
    targets = folder / f"ours{ending}", folder / f"theirs{ending}"
    given = ["--input", f"{name}=@{source}"] if ending == ".npy" else ["--inputs", str(source)]
    ours = [str(binary), "run", str(folder / "mlp"), *given, "--batch-size", str(BATCH), "--output", str(targets[0])]
    ours += arguments.options
    theirs = [sys.executable, "-c", PREDICT, str(folder / "mlp.keras"), str(source), str(targets[1]), str(BATCH), name]
    pairs = [(run(ours), run(theirs)) for _ in range(arguments.rounds)]
    difference = float(np.abs(read(targets[0]) - read(targets[1])).max())
    seconds = [statistics.median(pair[side][0] for pair in pairs) for side in range(2)]
    memory = [statistics.median(pair[side][1] for pair in pairs) for side in range(2)]
    ratio = statistics.median(pair[1][0] / pair[0][0] for pair in pairs)
    print(
        f"{ending}: {seconds[0]:.2f} s, {memory[0]:.0f} MB; keras.Model.predict: {seconds[1]:.2f} s, {memory[1]:.0f} MB; "
        f"{ratio:.2f} times as fast; largest difference {difference:.2g}",
        flush=True,
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default 5)")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the data (default 100,000)")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "tf-persist", metavar="FILE")
    parser.add_argument("options", nargs="*", help="more options for `tf-persist run`, after --")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="bench-batches-") as work:
        folder = Path(work)
        name = make_models(folder)
        rows = np.random.default_rng(0).random((arguments.rows, 784), dtype=np.float32)
        np.save(folder / "in.npy", rows)
        np.savez(folder / "in.npz", **{name: rows})
        for ending in (".npy", ".npz"):
            compare(arguments.binary, folder, name, ending, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

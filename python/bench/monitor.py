"""Times `tf-persist monitor` against a script with pandas and scipy that computes the same figures; run by `scripts/bench monitor`.

The log has JSON lines of a model with ten inputs and two outputs. Both are whole processes and take turns: ours reads the log and its
reference, the script the log and the rows of the reference from a .npz file. The figures must agree to 1e-3 (p-values of Kolmogorov
and Smirnov above 0.001 to 0.05). Seconds and peak memory of each, and the median of the ratios, are printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("monitor_pandas.py")
REFERENCE_ROWS = 200_000
BLOCK = 100_000
KINDS = ("web", "phone", "shop", "partner")
TOLERANCE = 1e-3
# The p-value of a distance that chance makes hangs on the fluctuations within a bin, however many rows there are: ours is a little larger.
BY_CHANCE = 0.05


def rows(seed: int, count: int, moved: float) -> dict[str, np.ndarray]:
    """Inputs and outputs by name: eight numbers, an integer that is a category, a text, and two answers."""
    import numpy as np

    random = np.random.default_rng(seed)
    columns = {f"x{index}": random.normal(moved * index, 1 + index, count) for index in range(4)}
    columns |= {f"x{index}": random.exponential(index, count) for index in range(4, 6)}
    columns["x6"] = np.maximum(random.normal(moved, 1, count), 0)
    columns["x7"] = np.where(random.random(count) < 0.02, np.nan, random.lognormal(moved, 1, count))
    columns["level"] = random.integers(0, 6, count)
    columns["kind"] = random.choice(KINDS, count, p=[0.4 + moved, 0.3 - moved, 0.2, 0.1])
    columns["score"] = 1 / (1 + np.exp(-columns["x0"] - columns["x1"] / 2))
    columns["price"] = columns["x4"] * 3 + columns["x6"]
    return columns


def write_log(path: Path, seed: int, count: int, moved: float) -> None:
    outputs = ("score", "price")
    with open(path, "w", encoding="utf-8") as file:
        for start in range(0, count, BLOCK):
            columns = {name: values.tolist() for name, values in rows(seed + start, min(BLOCK, count - start), moved).items()}
            for index, values in enumerate(zip(*columns.values(), strict=True)):
                at = start + index
                row = {name: [value] for name, value in zip(columns, values, strict=True)}
                inputs = json.dumps({name: value for name, value in row.items() if name not in outputs})
                answers = json.dumps({name: row[name] for name in outputs})
                second = at * 86_400 // count
                time = f"2026-11-29T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{at % 1_000_000:06}Z"
                file.write(
                    f'{{"time":"{time}","id":"request-{at}","model":"m","version":1,"protocol":"REST","api":"predict",'
                    f'"signature_name":"serving_default","inputs":{inputs},"outputs":{answers},'
                    f'"latency_ms":{0.2 + at % 97 / 50:.3f},"status":"OK"}}\n'
                )


def make(folder: Path, count: int) -> None:
    """Writes the log, and the rows of the reference as a log and as arrays."""
    import numpy as np

    before = rows(1, REFERENCE_ROWS, 0.0)
    np.savez(folder / "before.npz", **{key: value for key, value in before.items() if key != "kind"})
    np.save(folder / "kind.npy", before["kind"])
    write_rows(folder / "before.jsonl", before)
    write_log(folder / "now.jsonl", 1_000_000, count, 0.1)


def run(command: list) -> tuple[float, float]:
    """Seconds of a process, and its peak memory in MB."""
    started = perf_counter()
    with TemporaryFile() as errors:
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        took = perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            sys.exit(f"bench monitor: {command[0]}: {errors.read().decode()}")
    return took, usage.ru_maxrss / 1e3


def compare(ours: dict, theirs: dict) -> float:
    """The largest difference of a figure, relative where it is above 1."""
    largest = 0.0
    for feature in ours["features"]:
        for key, value in theirs[feature["name"]].items():
            difference = abs(feature[key] - value) / max(1.0, abs(value))
            if key == "ks_p_value" and value > TOLERANCE and difference < BY_CHANCE:
                continue
            largest = max(largest, difference)
            if largest > TOLERANCE:
                sys.exit(f"bench monitor: {feature['name']}: {key} is {feature[key]}, and {value} by pandas and scipy")
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="requests of the log (default: 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs (default: 3)")
    parser.add_argument("--program", type=Path, default=ROOT / "target/release/tf-persist", help="the program")
    arguments = parser.parse_args()
    with TemporaryDirectory(dir=ROOT / "target") as name:
        folder = Path(name)
        log, reference = folder / "now.jsonl", folder / "reference.json"
        # In a process of its own: a child counts the memory that its parent had when it was started.
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(folder, arguments.rows))
        maker.start()
        maker.join()
        if maker.exitcode != 0:
            sys.exit("bench monitor: the log could not be written")
        run([arguments.program, "monitor", "reference", folder / "before.jsonl", "--output", reference])
        ours = [arguments.program, "monitor", log, "--reference", reference, "--format", "json", "--output", folder / "ours.json"]
        theirs = [sys.executable, SCRIPT, log, folder / "before.npz", folder / "kind.npy", folder / "theirs.json"]
        pairs = [(run(ours), run(theirs)) for _ in range(arguments.rounds)]
        difference = compare(json.loads((folder / "ours.json").read_text()), json.loads((folder / "theirs.json").read_text()))
        size = log.stat().st_size / 1e6
        for side, what in enumerate(("tf-persist monitor", "pandas and scipy")):
            took = statistics.median(pair[side][0] for pair in pairs)
            memory = max(pair[side][1] for pair in pairs)
            print(f"{what}: {took:.2f} s, {arguments.rows / took:,.0f} requests/s, {size / took:.0f} MB/s, {memory:.0f} MB resident")
        ratio = statistics.median(theirs[0] / ours[0] for ours, theirs in pairs)
        print(f"{ratio:.1f} times faster; figures differ by {difference:.1e} at most")


def write_rows(path: Path, columns: dict[str, np.ndarray]) -> None:
    """A log of rows, for the reference."""
    outputs = ("score", "price")
    names, values = list(columns), [column.tolist() for column in columns.values()]
    with open(path, "w", encoding="utf-8") as file:
        for row in zip(*values, strict=True):
            tensors = {name: [value] for name, value in zip(names, row, strict=True)}
            inputs = {name: value for name, value in tensors.items() if name not in outputs}
            answers = {name: tensors[name] for name in outputs}
            record = {"model": "m", "signature_name": "serving_default", "inputs": inputs, "outputs": answers, "status": "OK"}
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()

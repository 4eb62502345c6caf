"""Times one caller's runs on the default session, on the fast path and in ONNX Runtime; run by `scripts/bench optimize`.

Each side is a process of its own, since TensorFlow's threads are the process's. They run in turns, and all others wait. A turn is
as many runs as take about 0.1 seconds, and counts by its median. The table has the medians of all turns, and the medians of the
ratios turn by turn.
"""

import argparse
import json
import os
import statistics
import subprocess
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from bench import onnx

from . import models

ROOT = Path(__file__).resolve().parents[3]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
OURS = TARGET / "release/examples/bench_run"
ONNX = ROOT / "target/bench_onnx_runtime/release/bench-onnx-runtime"
# With threads of its own for each session, `auto` also tries one thread an op.
SETTINGS = {"TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv"), "TF_CPP_MIN_LOG_LEVEL": "2", "TF_OVERRIDE_GLOBAL_THREADPOOL": "1"}
ENVIRONMENT = os.environ | SETTINGS
TURN_SECONDS = 0.1


class Side:
    """A process that times runs of a model."""

    def __init__(self, command: list, answer: Path) -> None:
        self.answer = answer
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(list(map(str, command)), stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT)
        load, self.what = self._read().split(" ", 1)
        self.load_ms = float(load)
        first = self.time(3)
        self.runs = max(3, round(TURN_SECONDS * 1e6 / first))

    def _read(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"error: {self.process.args[0]} ended with status {self.process.wait()}")
        return line.strip()

    def time(self, runs: int) -> float:
        """The median time of a run in microseconds."""
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        return float(self._read())

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()


def start(stack: ExitStack, model: models.Model, arguments: argparse.Namespace) -> dict[str, Side]:
    """The sides for a model."""
    sides = {}
    threads = [] if arguments.intra is None else [arguments.intra]
    for optimize in ("off", *arguments.optimize):
        answer = model.folder / f"{optimize}.answer"
        command = [OURS, model.folder / "model", model.folder / "in.npz", optimize, answer, *threads]
        sides[optimize] = stack.enter_context(Side(command, answer))
    if model.not_converted is None and ONNX.exists():
        answer = model.folder / "onnx.answer"
        shape = ",".join(map(str, model.shape))
        request = [model.folder / "model.onnx", model.folder / "in.bin", model.dtype, shape]
        sides["onnx"] = stack.enter_context(Side([ONNX, onnx.library(), *request, answer, *threads], answer))
    return sides


def measure(model: models.Model, arguments: argparse.Namespace) -> dict:
    """The figures of a model."""
    with ExitStack() as stack:
        sides = start(stack, model, arguments)
        turns = [{name: side.time(side.runs) for name, side in sides.items()} for _ in range(arguments.rounds + 1)][1:]
        answers = {name: np.fromfile(side.answer, np.float32) for name, side in sides.items()}
        median = lambda values: statistics.median(values)
        return {
            name: {
                "us": median(turn[name] for turn in turns),
                "times": median(turn["off"] / turn[name] for turn in turns),
                "difference": float(np.abs(answers[name] - answers["off"]).max()),
                "load_ms": side.load_ms,
                "what": side.what,
            }
            for name, side in sides.items()
        }


def main() -> None:
    """Makes the models, and prints a line for each."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--models", nargs="+", choices=models.NAMES, default=list(models.NAMES), metavar="NAME")
    arguments.add_argument("--optimize", nargs="+", choices=("on", "auto"), default=["auto"])
    arguments.add_argument("--intra", type=int, help="threads within an op, of all sides (default: those of each)")
    arguments.add_argument("--json", type=Path, help="writes the figures to this file")
    parsed = arguments.parse_args()
    python = onnx.PYTHON if onnx.PYTHON.exists() else ROOT / ".venv/bin/python"
    figures = {}
    columns = ["off", *parsed.optimize, "onnx"]
    print(f"| model | {' | '.join(columns)} | largest difference | what was done |\n|{'---|' * (len(columns) + 3)}")
    for model in models.prepare(python, ROOT / "target/bench_optimize", parsed.models):
        found = figures[model.name] = measure(model, parsed)
        cell = lambda side: f"{side['us']:,.1f} µs ({side['times']:.2f})"
        cells = [cell(found[name]) if name in found else model.not_converted or "not built" for name in columns]
        differences = ", ".join(f"{side['difference']:.1e}" for name, side in found.items() if name != "off")
        done = "; ".join(found[name]["what"] for name in parsed.optimize)
        print(f"| {models.NAMES[model.name]} | {' | '.join(cells)} | {differences} | {done} |", flush=True)
    if parsed.json:
        parsed.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

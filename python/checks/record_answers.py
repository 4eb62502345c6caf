"""Runs recorded cases in a v1 session and writes the fresh answers.

    python -m checks.record_answers --out FOLDER DIR=META ...    each DIR, a SavedModel, with the inputs of META

Writes FOLDER/NAME.npz, with NAME the last part of META and the arrays named as in META/io.npz. Answers to the same inputs
from the same libtensorflow on the same machine are what tf-persist must give bit for bit; recorded ones may come from another machine.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from tf_persist_keras.recorded.entries import decode, encode
from tf_persist_keras.recorded.runners import SessionRunner


def record(model: Path, recorded: Path, target: Path) -> None:
    """Runs the cases in order, one session for each tag set."""
    meta = json.loads((recorded / "meta.json").read_text())
    sessions: dict[tuple[str, ...], SessionRunner] = {}
    answers: dict[str, np.ndarray] = {}
    with np.load(recorded / "io.npz") as npz:
        for index, case in enumerate(meta["cases"]):
            tags = tuple(case.get("tags", meta["tags"]))
            if tags not in sessions:
                config, targets = meta.get("session_config") or {}, meta.get("run_after_load") or []
                sessions[tags] = SessionRunner(model, tags, config, targets)
            outputs = sessions[tags].run(case["signature"], decode(case["inputs"], npz))
            encode(outputs, f"c{index}.out", answers)
    np.savez(target, **answers)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="DIR=META")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for pair in arguments.pairs:
        model, _, recorded = pair.partition("=")
        record(Path(model), Path(recorded), arguments.out / f"{Path(recorded).name}.npz")
    return 0


if __name__ == "__main__":
    sys.exit(main())

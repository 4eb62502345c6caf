"""Checks SavedModels against recorded answers, with Python's TensorFlow, in one process.

    python -m checks.check_export DIR=META ...            each DIR, a SavedModel, against META/meta.json and META/io.npz
    python -m checks.check_export --list FILE             the same pairs from a file, one a line
    python -m checks.check_export --eager-only DIR=META   with `tf.saved_model.load` only
    python -m checks.check_export --op-library FILE.so …  after loading a library of ops that the models use; repeatable

Each model is loaded with `tf.saved_model.load` and into a v1 session, and every recorded case is run in both. A model
that the eager loader is recorded to refuse is run in the session only. One line a model; exit code 1 if any fails.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_persist_keras.recorded.cases import Tolerance
from tf_persist_keras.recorded.compare import Mismatch, largest_difference
from tf_persist_keras.recorded.entries import decode
from tf_persist_keras.recorded.runners import EagerRunner, SessionRunner

Load = Callable[[list[str]], EagerRunner | SessionRunner]


def check(model: Path, recorded: Path, eager_only: bool) -> str:
    """Runs the recorded cases on `model` and describes the differences; raises an exception on a failure."""
    meta = json.loads((recorded / "meta.json").read_text(encoding="utf-8"))
    loads_eagerly = meta.get("status", {}).get("tf_saved_model_load", "ok") == "ok"
    if eager_only and not loads_eagerly:
        return "no cases: the eager loader is recorded to refuse it"
    loads: list[tuple[str, Load]] = []
    if loads_eagerly:
        loads.append(("eager", lambda tags: EagerRunner(model, tags)))
    if not eager_only:
        config, targets = meta.get("session_config") or {}, meta.get("run_after_load") or []
        loads.append(("session", lambda tags: SessionRunner(model, tags, config, targets)))
    with np.load(recorded / "io.npz") as npz:
        differences = [f"{_run_cases(way, load, meta, npz):.3g} ({way})" for way, load in loads]
    return f"{len(meta['cases'])} cases, largest difference {', '.join(differences)}"


def _run_cases(way: str, load: Load, meta: Mapping[str, Any], npz: Mapping[str, np.ndarray]) -> float:
    """Runs all cases in order, with each tag set loaded once: cases may depend on the state that earlier ones left."""
    tolerance = Tolerance(**meta["tolerance"])
    loaded: dict[tuple[str, ...], EagerRunner | SessionRunner] = {}
    largest = 0.0
    for index, case in enumerate(meta["cases"]):
        tags = tuple(case.get("tags", meta["tags"]))
        try:
            if tags not in loaded:
                loaded[tags] = load(list(tags))
            answers = loaded[tags].run(case["signature"], decode(case["inputs"], npz))
            largest = max(largest, largest_difference(answers, decode(case["outputs"], npz), tolerance))
        except Exception as error:
            raise RuntimeError(f"{way}, case {index} (`{case['signature']}`): {_first_line(error)}") from error
    return largest


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if isinstance(error, Mismatch) else f"{type(error).__name__}: {text[0] if text else ''}"


def _pair(text: str) -> tuple[Path, Path]:
    model, separator, recorded = text.strip().partition("=")
    if not (model and separator and recorded):
        raise argparse.ArgumentTypeError(f"`{text.strip()}` is not DIR=META")
    return Path(model), Path(recorded)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", type=_pair, metavar="DIR=META")
    parser.add_argument("--list", type=Path, metavar="FILE", help="more pairs, one a line")
    parser.add_argument("--eager-only", action="store_true", help="leave out the v1 session")
    parser.add_argument("--op-library", action="append", default=[], metavar="FILE.so", help="loaded first; repeatable")
    arguments = parser.parse_args()
    for library in arguments.op_library:
        tf.load_op_library(library)
    pairs = list(arguments.pairs)
    try:
        if arguments.list:
            pairs += [_pair(line) for line in arguments.list.read_text().splitlines() if line.strip()]
    except (OSError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    if not pairs:
        parser.error("nothing to check: give DIR=META or --list FILE")
    failed = False
    for model, recorded in pairs:
        try:
            print(f"ok {recorded.name}: {check(model, recorded, arguments.eager_only)}", flush=True)
        except Exception as error:
            failed = True
            print(f"FAIL {recorded.name}: {error}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

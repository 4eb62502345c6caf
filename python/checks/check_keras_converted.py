"""Loads the files that `write_back_cases` converted from Keras 2 to Keras 3 in Keras 3, and compares their answers with
those that Keras 2 gave.

    cargo run -p tf-persist-keras --example write_back_cases -- CASES OUT k2_
    PYTHONPATH=python .venv/bin/python -m checks.check_keras_converted OUT --cases CASES [FILTER] [--at-least PERCENT]

Answers must be within 1e-5, absolute or relative. Files that cannot be converted, loaded or differ are listed.
"""

import argparse
import collections
import gc
import json
import os
import pathlib
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from checks.check_keras_back import answers, saved_state
from checks.check_keras_cases import differs, same_bits

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}


def check(case, path):
    """What is wrong with a converted file; None if nothing is."""
    meta = json.loads((case / "meta.json").read_text())
    arrays = np.load(case / "io.npz", allow_pickle=False)
    if not path.exists():
        return "is not converted"
    try:
        model = keras.models.load_model(str(path))
    except Exception as error:
        return f"cannot be loaded: {' '.join(str(error).split())[-600:]}"
    try:
        for got, wanted in answers(model, meta, arrays):
            if len(got) != len(wanted):
                return f"{len(got)} outputs, wanted {len(wanted)}"
            for a, b in zip(got, wanted):
                if a.dtype.kind in "iu" and b.dtype.kind in "iu":
                    a = a.astype(b.dtype)
                if what := differs(a, b, TOLERANCE):
                    return what
    except Exception as error:
        return f"cannot be run: {' '.join(str(error).split())[-600:]}"
    # Keras 2 does not save the learning rate.
    before = [np.asarray(value) for value in saved_state(case / path.parent.name)]
    state = [np.asarray(value) for value in saved_state(path)]
    state = [value for value in state if value.shape or value.dtype == np.int64]
    if not all(any(same_bits(value, one) for one in before) for value in state):
        return "the optimizer's state differs"
    if state and len(model.optimizer.variables) < len(state):
        return "the optimizer's state is not loaded"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--cases", type=pathlib.Path, required=True)
    parser.add_argument("--at-least", type=float, default=100.0, help="the percentage of files that must be equal")
    arguments = parser.parse_intermixed_args()
    # What was imported is no garbage, and Keras's graphs are made of cycles.
    gc.freeze()
    began = time.monotonic()
    counts = collections.Counter()
    for folder in sorted(arguments.out.glob("k2_*/*/")):
        case = arguments.cases / folder.parent.name
        if arguments.filter not in case.name:
            continue
        keras.backend.clear_session()
        for name in ("keras3.keras", "keras3.h5"):
            wrong = check(case, folder / name)
            counts["differ" if wrong else "equal"] += 1
            if wrong:
                print(f"{case.name}/{folder.name}: {name} {wrong}")
    total = sum(counts.values())
    percentage = 100.0 * counts["equal"] / max(total, 1)
    print(f"{counts['equal']} of {total} converted files of Keras 2 give the same answers in Keras {keras.__version__}: "
          f"{percentage:.1f} %, {time.monotonic() - began:.0f} s")
    sys.exit(not total or percentage < arguments.at_least)


if __name__ == "__main__":
    main()

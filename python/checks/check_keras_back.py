"""Loads the Keras files that `write_back_cases` wrote in Keras, and compares them with the files that they came from.

    cargo run -p tf-persist-keras --example write_back_cases -- CASES OUT [FILTER]
    PYTHONPATH=python .venv/bin/python -m checks.check_keras_back OUT --cases CASES [FILTER]

Run it with each Keras that wrote files: Keras 3, and `tf_keras` for those of Keras 2; files of the other one are passed
over. Weights, the optimizer's state and answers must be equal bit for bit. Where Keras cannot read its own file, what
was written must give the recorded answers, if it can be read.
"""

import argparse
import collections
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from checks.check_keras_cases import differs, same_bits, tensor

try:
    import tf_keras as keras
except ImportError:
    import keras


def load(path):
    """The model with its training, or without if that cannot be read."""
    try:
        return keras.models.load_model(str(path))
    except Exception:
        return keras.models.load_model(str(path), compile=False)


def values(variables):
    """The values of variables with their names, without seeds."""
    named = [(getattr(variable, "path", variable.name), np.asarray(variable.numpy())) for variable in variables]
    return [(name, value) for name, value in named if "seed_generator" not in name]


def state(model):
    optimizer = getattr(model, "optimizer", None)
    variables = getattr(optimizer, "variables", []) if optimizer is not None else []
    return [value for _, value in values(variables() if callable(variables) else variables)]


def answers(model, meta, arrays):
    for case in meta["cases"]:
        inputs = [tensor(arrays, case["inputs"][key]) for key in sorted(case["inputs"], key=int)]
        wanted = [tensor(arrays, case["outputs"][key]) for key in sorted(case["outputs"], key=int)]
        results = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        results = list(results.values()) if isinstance(results, dict) else results
        results = results if isinstance(results, (list, tuple)) else [results]
        yield [np.asarray(result) for result in results], wanted


def compare(original, written, meta, arrays):
    """Yields what is different."""
    before, after = values(original.weights), values(written.weights)
    if len(before) != len(after):
        yield f"{len(after)} weights, wanted {len(before)}"
    for (name, a), (_, b) in zip(before, after):
        if not same_bits(a, b):
            yield f"weight {name} differs"
    before, after = state(original), state(written)
    if len(before) != len(after) or not all(same_bits(a, b) for a, b in zip(before, after)):
        yield f"the optimizer differs ({len(before)} and {len(after)} variables)"
    for (a, _), (b, _) in zip(answers(original, meta, arrays), answers(written, meta, arrays)):
        if not all(same_bits(x, y) for x, y in zip(a, b)):
            yield "answers differ"


def check(case, folder, counts):
    meta = json.loads((case / "meta.json").read_text())
    arrays = np.load(case / "io.npz", allow_pickle=False)
    try:
        original = load(case / folder.name)
    except Exception as error:
        original = None
        reason = str(error).strip().split("\n")[0][:100]
    for path in sorted(folder.iterdir()):
        try:
            written = load(path)
        except Exception as error:
            if original is None:
                counts["neither can be read"] += 1
            else:
                yield path.name, f"cannot be read: {str(error).strip()[-500:]}"
            continue
        if original is not None:
            found = list(compare(original, written, meta, arrays))
        else:
            counts["read, and the original cannot be"] += 1
            found = [what for got, wanted in answers(written, meta, arrays)
                     for a, b in zip(got, wanted) if (what := differs(a, b, meta["tolerance"]))]
            if found:
                print(f"  {case.name}/{folder.name}: the original cannot be read ({reason}); {path.name}: {found[0]}")
            continue
        counts["differs" if found else "equal"] += 1
        yield from ((path.name, what) for what in found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--cases", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    major = keras.__version__.split(".")[0]
    counts, wrong = collections.Counter(), []
    for folder in sorted(arguments.out.glob("*/*/")):
        case = arguments.cases / folder.parent.name
        if arguments.filter not in case.name or ".weights." in folder.name:
            continue
        if json.loads((case / "meta.json").read_text())["keras_version"].split(".")[0] != major:
            continue
        keras.backend.clear_session()
        wrong.extend(f"{case.name}/{folder.name}: {file}: {what}" for file, what in check(case, folder, counts))
    print("\n".join(wrong))
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

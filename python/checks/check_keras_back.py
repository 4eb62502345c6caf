"""Loads the Keras files that `write_back_cases` wrote in Keras, and compares them with the files that they came from.

    cargo run -p tf-persist-keras --example write_back_cases -- CASES OUT [FILTER]
    PYTHONPATH=python .venv/bin/python -m checks.check_keras_back OUT --keras keras --cases CASES [FILTER]
    PYTHONPATH=python .venv/bin/python -m checks.check_keras_back OUT --keras tf_keras --cases CASES [FILTER]

`--keras` is the package that loads: `keras` (Keras 3) or `tf_keras` (Keras 2). Only the files that this Keras wrote are
checked. Weights, the optimizer's state and answers must be equal bit for bit. Where Keras cannot read its own file,
what was written must give the recorded answers, if it can be read. A file whose groups, attributes, datasets and
entries are those of its original is equal without being loaded, and those that are equal to each other are loaded once,
unless `--all` is given.
"""

import argparse
import collections
import gc
import hashlib
import importlib
import io
import json
import os
import pathlib
import sys
import time
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np

from checks.check_keras_cases import differs, same_bits, tensor


class Keras:
    """The Keras that loads files."""

    def __init__(self, package):
        self.keras = importlib.import_module(package)
        self.major = self.keras.__version__.split(".")[0]

    def load(self, path):
        """The model with its training, or without if that cannot be read."""
        try:
            return self.keras.models.load_model(str(path))
        except Exception:
            return self.keras.models.load_model(str(path), compile=False)

    def wrote(self, meta):
        return meta["keras_version"].split(".")[0] == self.major


def of_group(group):
    """What an HDF5 file has, by path."""
    def attributes(item):
        return {name: np.asarray(value).tolist() for name, value in sorted(item.attrs.items())}

    found = {"": attributes(group)}

    def add(name, item):
        value = [str(item.dtype), item.shape, item[()].tobytes()] if isinstance(item, h5py.Dataset) else None
        if value and item.dtype == object:
            value[2] = np.asarray(item[()]).tolist()
        found[name] = [attributes(item), value]

    group.visititems(add)
    return found


def digest(path):
    """A digest of the contents of a Keras file. Two with the same one have the same contents."""
    found = {}
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                found[name] = archive.read(name)
        found["model.weights.h5"] = of_group(h5py.File(io.BytesIO(found["model.weights.h5"]), "r"))
        metadata = json.loads(found.pop("metadata.json", b"{}"))
        found["version"] = metadata.get("keras_version")
    else:
        found["file"] = of_group(h5py.File(path, "r"))
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()


def values(variables):
    """The values of variables with their names, without seeds."""
    named = [(getattr(variable, "path", variable.name), np.asarray(variable.numpy())) for variable in variables]
    return [(name, value) for name, value in named if "seed_generator" not in name]


def state(model):
    optimizer = getattr(model, "optimizer", None)
    variables = getattr(optimizer, "variables", []) if optimizer is not None else []
    return [value for _, value in values(variables() if callable(variables) else variables)]


def saved_state(path):
    """The optimizer's variables in a file, in order. Keras 3 does not read them from all of its own `.h5` files."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            file = h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")
        group = file.get("optimizer/vars", {})
        return [group[name][()] for name in sorted(group, key=int)]
    group = h5py.File(path, "r").get("optimizer_weights")
    return [] if group is None else [group[name][()] for name in group.attrs["weight_names"]]


def all_same_bits(before, after):
    return len(before) == len(after) and all(same_bits(np.asarray(a), np.asarray(b)) for a, b in zip(before, after))


def answers(model, meta, arrays):
    for case in meta["cases"]:
        inputs = [tensor(arrays, case["inputs"][key]) for key in sorted(case["inputs"], key=int)]
        wanted = [tensor(arrays, case["outputs"][key]) for key in sorted(case["outputs"], key=int)]
        results = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        results = list(results.values()) if isinstance(results, dict) else results
        results = results if isinstance(results, (list, tuple)) else [results]
        yield [np.asarray(result) for result in results], wanted


class Original:
    """A file of a case, with what Keras makes of it."""

    def __init__(self, keras, case, file):
        self.keras, self.name = keras, f"{case.name}/{file}"
        self.path = case / file
        self.meta = json.loads((case / "meta.json").read_text())
        self.arrays = np.load(case / "io.npz", allow_pickle=False)
        self.reason = None
        self.model = None
        self.answers = None

    def load(self):
        """The model, None if Keras cannot read it."""
        if self.model is None and self.reason is None:
            try:
                self.model = self.keras.load(self.path)
                self.answers = [got for got, _ in answers(self.model, self.meta, self.arrays)]
            except Exception as error:
                self.model, self.reason = None, str(error).strip().split("\n")[0][:100]
        return self.model

    def differences(self, path, written):
        """Yields what is different in a model from a file."""
        before, after = values(self.model.weights), values(written.weights)
        if len(before) != len(after):
            yield f"{len(after)} weights, wanted {len(before)}"
        for (name, a), (_, b) in zip(before, after):
            if not same_bits(a, b):
                yield f"weight {name} differs"
        before, after = saved_state(self.path), saved_state(path)
        if not all_same_bits(before, after):
            yield f"the optimizer differs ({len(before)} and {len(after)} variables)"
        if self.path.suffix == path.suffix and not all_same_bits(state(self.model), state(written)):
            yield "the optimizer differs when it is loaded"
        results = list(answers(written, self.meta, self.arrays))
        if all(all_same_bits(a, b) for a, (b, _) in zip(self.answers, results)):
            return
        # Keras reads some of its own files otherwise than it wrote them: Keras 2 does so where the bins of a
        # `Discretization` in a `.keras` file were learned, whoever wrote the file.
        learned = any(status.endswith("do not test against") for status in map(str, self.meta["status"].values()))
        if learned and path.suffix == ".keras":
            return
        if self.is_right(self.answers) or not self.is_right([got for got, _ in results]):
            yield "answers differ"

    def is_right(self, answers):
        """Whether these are the recorded answers."""
        for got, case in zip(answers, self.meta["cases"]):
            wanted = [tensor(self.arrays, case["outputs"][key]) for key in sorted(case["outputs"], key=int)]
            if any(differs(a, b, self.meta["tolerance"]) for a, b in zip(got, wanted)):
                return False
        return True

    def check(self, path, counts):
        """Checks a written file. Gives what is different."""
        original = self.load()
        try:
            written = self.keras.load(path)
        except Exception as error:
            if original is None:
                counts["neither can be read"] += 1
                return []
            return [f"cannot be read: {str(error).strip()[-500:]}"]
        if original is not None:
            found = list(self.differences(path, written))
            counts["loaded and equal"] += not found
            return found
        counts["read, and the original cannot be"] += 1
        tolerance = self.meta["tolerance"]
        for got, wanted in answers(written, self.meta, self.arrays):
            for what in (differs(a, b, tolerance) for a, b in zip(got, wanted)):
                if what:
                    print(f"  {self.name}: the original cannot be read ({self.reason}); {path.name}: {what}")
        return []


def check(original, folder, counts, check_all):
    own, checked = digest(original.path), {}
    for path in sorted(folder.iterdir()):
        if path.stem == "keras3":
            continue
        key = path.name if check_all else digest(path)
        if key == own:
            counts["the same contents"] += 1
            continue
        if key in checked:
            counts["as another"] += not checked[key]
        else:
            checked[key] = original.check(path, counts)
        counts["differs"] += bool(checked[key])
        yield from ((path.name, what) for what in checked[key])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--cases", type=pathlib.Path, required=True)
    parser.add_argument("--keras", choices=["keras", "tf_keras"], required=True)
    parser.add_argument("--all", action="store_true", help="load files with the same contents, too")
    arguments = parser.parse_intermixed_args()
    # What was imported is no garbage, and Keras's graphs are made of cycles.
    gc.freeze()
    began = time.monotonic()
    keras = Keras(arguments.keras)
    counts, wrong = collections.Counter(), []
    for folder in sorted(arguments.out.glob("*/*/")):
        case = arguments.cases / folder.parent.name
        if arguments.filter not in case.name or ".weights." in folder.name:
            continue
        original = Original(keras, case, folder.name)
        if not keras.wrote(original.meta):
            continue
        keras.keras.backend.clear_session()
        found = check(original, folder, counts, arguments.all)
        wrong.extend(f"{original.name}: {file}: {what}" for file, what in found)
    print("\n".join(wrong))
    counts = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()) if count)
    print(f"{arguments.keras} {keras.keras.__version__}: {counts or 'no files'}, {time.monotonic() - began:.0f} s")
    sys.exit(bool(wrong) or not counts)


if __name__ == "__main__":
    main()

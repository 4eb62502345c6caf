"""Runs the models that `convert_cases` made of Keras files, and compares with the answers of the Keras that wrote them.

    cargo run -p tf-persist-keras --example convert_cases -- CASES OUT [FILTER]
    PYTHONPATH=python .venv/bin/python -m checks.check_keras_cases OUT --cases CASES [FILTER]

Each answer must be within the tolerance of the eager answer. How many are bit for bit those of Python's own export, run
in a session, is counted. With --loader, `tf.saved_model.load` must answer the same bit for bit.
"""

import argparse
import collections
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf


def tensor(arrays, spec):
    """An array of a case. Strings are bytes and the offsets of their ends."""
    key = spec["npz"]
    if spec["dtype"] != "string":
        value = arrays[key]
        if spec["dtype"] == "bfloat16" and value.dtype != tf.bfloat16.as_numpy_dtype:
            value = value.view(tf.bfloat16.as_numpy_dtype)
        return value
    data, offsets = arrays[f"{key}.bytes"].tobytes(), arrays[f"{key}.offsets"]
    strings = [data[start:end] for start, end in zip(offsets, offsets[1:])]
    return np.array(strings, dtype=object).reshape(spec["shape"])


def differs(got, wanted, tolerance):
    """What is different, or None."""
    if got.shape != wanted.shape:
        return f"shape {got.shape}, wanted {wanted.shape}"
    if got.dtype != wanted.dtype and not (got.dtype == object or wanted.dtype == object):
        return f"dtype {got.dtype}, wanted {wanted.dtype}"
    if got.dtype == object or got.dtype.kind in "biuS":
        return None if (got == wanted).all() else f"{(got != wanted).sum()} of {got.size} elements differ"
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    a, b = got.astype(wide), wanted.astype(wide)
    close = np.isclose(a, b, atol=tolerance["atol"], rtol=tolerance["rtol"], equal_nan=True)
    return None if close.all() else f"largest difference {np.nanmax(np.abs(a - b)):.3g}"


def same_bits(a, b):
    if a.dtype == object or b.dtype == object:
        return a.shape == b.shape and bool((a == b).all())
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


class Session:
    """A model in a v1 session, as clients of the C API have it."""

    def __init__(self, folder):
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=1))
        with self.session.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(folder))
        self.signature = meta.signature_def["serving_default"]

    def run(self, names, values):
        feed = {self.signature.inputs[name].name: value for name, value in zip(names, values)}
        keys = sorted(self.signature.outputs, key=lambda key: (len(key), key))
        return self.session.run([self.signature.outputs[key].name for key in keys], feed)


def loaded(folder, names, values):
    """The answers of `tf.saved_model.load`."""
    function = tf.saved_model.load(str(folder)).signatures["serving_default"]
    answers = function(**{name: tf.constant(value) for name, value in zip(names, values)})
    return [answers[key].numpy() for key in sorted(answers, key=lambda key: (len(key), key))]


def check(case, folder, with_loader, counts):
    """Checks one file; yields what is wrong."""
    meta = json.loads((case / "meta.json").read_text())
    arrays = np.load(case / "io.npz", allow_pickle=False)
    names = (folder.parent / f"{folder.name}.inputs").read_text().split("\n")
    try:
        session = Session(folder)
    except Exception as error:
        yield f"cannot be loaded: {str(error)[:600]}"
        return
    for number, one in enumerate(meta["cases"]):
        inputs = [tensor(arrays, one["inputs"][key]) for key in sorted(one["inputs"], key=int)]
        wanted = [tensor(arrays, one["outputs"][key]) for key in sorted(one["outputs"], key=int)]
        try:
            got = session.run(names, inputs)
        except Exception as error:
            yield f"case {number} cannot be run: {str(error)[:600]}"
            return
        if len(got) != len(wanted):
            yield f"{len(got)} outputs, wanted {len(wanted)}"
            return
        wrong = [(index, differs(a, b, meta["tolerance"])) for index, (a, b) in enumerate(zip(got, wanted))]
        yield from (f"case {number} output {index}: {what}" for index, what in wrong if what)
        exported = one.get("export_outputs")
        if exported and not any(what for _, what in wrong):
            bits = [tensor(arrays, exported[key]) for key in sorted(exported, key=int)]
            equal = all(same_bits(a, b) for a, b in zip(got, bits))
            counts["bits equal" if equal else "bits differ"] += 1
            if not equal:
                # Python's own export may be wrong, as of a `TimeDistributed` over any number of steps.
                off = [np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0) if a.shape == b.shape else np.inf
                       for a, b in zip(got, bits)]
                print(f"  {case.name}/{folder.name}: case {number} not bit for bit: {max(off):.2g}")
        if with_loader:
            other = loaded(folder, names, inputs)
            if not all(same_bits(a, b) for a, b in zip(got, other)):
                yield f"case {number}: tf.saved_model.load answers otherwise"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--cases", type=pathlib.Path, required=True)
    parser.add_argument("--loader", action="store_true", help="compare with tf.saved_model.load as well")
    arguments = parser.parse_args()
    counts, wrong = collections.Counter(), []
    for folder in sorted(arguments.out.glob("*/*/")):
        if arguments.filter not in folder.parent.name or not (folder / "saved_model.pb").exists():
            continue
        found = list(check(arguments.cases / folder.parent.name, folder, arguments.loader, counts))
        counts["wrong" if found else "right"] += 1
        wrong.extend(f"{folder.parent.name}/{folder.name}: {what}" for what in found)
    print("\n".join(wrong))
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""Runs the models that `convert_cases` made of Keras files, and compares with the answers of the Keras that wrote them.

    cargo run -p tf-persist-keras --example convert_cases -- CASES OUT [FILTER]
    PYTHONPATH=python .venv/bin/python -m checks.check_keras_cases OUT [FILTER] --cases CASES

Each file must be converted, but for those that must be refused, and each answer must be within the tolerance of the
eager answer. At least 95 % of the answers must be bit for bit those of Python's own export, run in a session: the
recorded ones, or those on this machine. With --loader, `tf.saved_model.load` must answer the same bit for bit.
"""

import argparse
import collections
import concurrent.futures
import functools
import gc
import json
import multiprocessing
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

# The share of the answers that must be bit for bit those of Python's own export. docs/keras.md names the others.
BIT_EQUAL = 0.95


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

    def close(self):
        self.session.close()


def loaded(function, names, values):
    """The answers of a signature of `tf.saved_model.load`."""
    answers = function(**{name: tf.constant(value) for name, value in zip(names, values)})
    return [answers[key].numpy() for key in sorted(answers, key=lambda key: (len(key), key))]


def files(cases, out, only):
    """The folders of the converted files whose answers are recorded, or where these should be."""
    for case in sorted(case for case in cases.glob("*/") if only in case.name):
        meta = json.loads((case / "meta.json").read_text())
        # The answers of a case of training are those of the trained file.
        names = [meta["train"]["after"]] if "train" in meta else meta["files"]
        yield from (out / case.name / name for name in names if name != "model.json")


def why_not_converted(meta, folder):
    """What is wrong with a file that was not converted, or None."""
    reason = folder.parent / f"{folder.name}.error"
    if not reason.exists():
        return "was not converted"
    reason = reason.read_text()
    # Keras does not write a vocabulary that was learned to an `.h5` file, and cannot read such a file itself.
    cannot_be_read = str(meta["status"].get(folder.name)).startswith("keras cannot read it")
    if meta.get("expect") == "refuse" or cannot_be_read and "an `.h5` file does not keep it" in reason:
        return None
    return f"was refused: {reason}"


@functools.lru_cache(maxsize=1)
def export_of(file):
    """What Python exports of a Keras file on this machine, in a session, and the names of its inputs. None if it does not."""
    try:
        import keras

        model = keras.models.load_model(file, compile=False)
        with tempfile.TemporaryDirectory() as folder:
            model.export(folder, verbose=False)
            session = Session(folder)
    except Exception:
        return None
    names = [each.name for each in model.inputs]
    return session, names if set(names) == set(session.signature.inputs) else list(session.signature.inputs)


def exported_here(file, inputs):
    """The answer of Python's own export on this machine."""
    export = export_of(file)
    return None if export is None else export[0].run(export[1], inputs)


def check(case, folder, with_loader, counts, notes):
    """Checks one file; yields what is wrong."""
    meta = json.loads((case / "meta.json").read_text())
    if not (folder / "saved_model.pb").exists():
        if why := why_not_converted(meta, folder):
            yield why
        counts["refused"] += 1
        return
    if meta.get("expect") == "refuse":
        yield "was converted, and must be refused"
        return
    arrays = np.load(case / "io.npz", allow_pickle=False)
    names = (folder.parent / f"{folder.name}.inputs").read_text().split("\n")
    try:
        session = Session(folder)
    except Exception as error:
        yield f"cannot be loaded: {str(error)[:600]}"
        return
    function = tf.saved_model.load(str(folder)).signatures["serving_default"] if with_loader else None
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
        if exported := one.get("export_outputs"):
            bits = [tensor(arrays, exported[key]) for key in sorted(exported, key=int)]
            equal = len(got) == len(bits) and all(same_bits(a, b) for a, b in zip(got, bits))
            if not equal and [a.shape for a in got] == [b.shape for b in bits]:
                # Sums are added in another order on another processor, in Python as well.
                here = exported_here(case / folder.name, inputs)
                equal = here is not None and all(same_bits(a, b) for a, b in zip(got, here))
            counts["bits equal" if equal else "bits differ"] += 1
            if not equal:
                # Python's own export may be wrong, as of a `TimeDistributed` over any number of steps.
                off = [np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0) if a.shape == b.shape else np.inf
                       for a, b in zip(got, bits)]
                notes.append(f"case {number} not bit for bit: {max(off):.2g}")
        if function is not None:
            other = loaded(function, names, inputs)
            counts["answers of tf.saved_model.load"] += 1
            if not all(same_bits(a, b) for a, b in zip(got, other)):
                yield f"case {number}: tf.saved_model.load answers otherwise"
    session.close()


def check_file(folder, cases, with_loader):
    """What a process does for one file: its counts, notes and what is wrong."""
    counts, notes = collections.Counter(), []
    wrong = list(check(cases / folder.parent.name, folder, with_loader, counts, notes))
    counts["wrong" if wrong else "right"] += 1
    return counts, notes, wrong


def prepare():
    """Each process takes one core, and the garbage collector passes over TensorFlow's own objects, which takes long."""
    gc.freeze()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--cases", type=pathlib.Path, required=True)
    parser.add_argument("--loader", action="store_true", help="compare with tf.saved_model.load as well")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes (default 2)")
    arguments = parser.parse_args()
    folders = list(files(arguments.cases, arguments.out, arguments.filter))
    total, wrong = collections.Counter(), []
    one = functools.partial(check_file, cases=arguments.cases, with_loader=arguments.loader)
    with concurrent.futures.ProcessPoolExecutor(
            arguments.jobs, multiprocessing.get_context("spawn"), initializer=prepare) as pool:
        for folder, (counts, notes, found) in zip(folders, pool.map(one, folders, chunksize=8)):
            name = f"{folder.parent.name}/{folder.name}"
            total.update(counts)
            wrong.extend(f"{name}: {what}" for what in found)
            for note in notes:
                print(f"  {name}: {note}")
    compared = total["bits equal"] + total["bits differ"]
    if total["bits equal"] < BIT_EQUAL * compared:
        wrong.append(f"{total['bits equal']} of {compared} answers are bit for bit those of Python's export, wanted {BIT_EQUAL:.0%}")
    if not total["right"]:
        wrong.append("no file was right")
    print("\n".join(wrong))
    print(", ".join(f"{count} {what}" for what, count in sorted(total.items())))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""Checks that an exported Keras model resumes exactly: N + M steps equal N steps, a save, and M more.

    python -m checks.check_resume                                   all optimizers, N = M = 20
    python -m checks.check_resume --only adam sgd --steps 10 30
    python -m checks.check_resume --tf-persist target/debug/tf-persist   and Rust trains and rewrites, too

Each model of models/keras_digits.py (batch normalisation, dropout with and without a seed, a learning-rate schedule) is
exported, and its `train` signature is run on scikit-learn's digits in a v1 session, as C API clients do it:

1. `session`: N + M steps in one session, the reference
2. `resumed`: N steps, saved with the model's own saver to a new SavedModel, loaded from there, M steps
3. `rewritten`: the same, with the saved model written once more by `tf-persist export` in between
4. `rust`: N + M steps of `tf-persist train`, in the order of the data
5. `rust, then python`: N steps of `tf-persist train`, and M in a session
6. `python, then rust`: N steps in a session, and M of `tf-persist train`
7. `rust, resumed`: an epoch of `tf-persist train` on shuffled data and one more with `--resume`, against two without a
   stop
8. `eager`: the saved model loaded with `tf.saved_model.load`, M steps
9. `keras`: `train_on_batch`, N + M steps, without XLA
10. `.keras`, `.h5`: N steps of `train_on_batch`, saved as a file, exported from there, M steps in a session; Keras's
   files do not hold the state of the dropout layers' seeds, which is put back by hand
11. `keras xla`: `train_on_batch` as Keras compiles it by itself, with XLA, which draws other random numbers from the
   same seeds: other dropout, other losses (without dropout they are within 1e-6)

All but the last must have the reference's losses, accuracies and variables bit for bit. One line each; exit code 1 if
any differs.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.keras_digits import OPTIMIZERS, batches
from tf_persist_keras import load, write
from tf_persist_keras.recorded.runners import tensor_names

Batches = list[tuple[np.ndarray, np.ndarray]]
Logs = list[dict[str, np.ndarray]]

TAGS = ["serve"]


class Session:
    """A SavedModel in a v1 session, on one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
        with self._session.graph.as_default():
            self._meta_graph = tf.compat.v1.saved_model.load(self._session, TAGS, str(folder))

    def train(self, data: Batches) -> Logs:
        """One step of the `train` signature for each batch."""
        definition = self._meta_graph.signature_def["train"]
        feeds, fetches = tensor_names(definition.inputs), tensor_names(definition.outputs)
        return [self._session.run(fetches, {feeds["image"]: x, feeds["y"]: y}) for x, y in data]

    def save(self, folder: Path) -> None:
        """Writes the model with its present variables, through its own saver."""
        (folder / "variables").mkdir(parents=True)
        saver = self._meta_graph.saver_def
        prefix = str(folder / "variables" / "variables")
        self._session.run(saver.save_tensor_name, {saver.filename_tensor_name: prefix})
        shutil.copy(self._folder / "saved_model.pb", folder)


class Rust:
    """`tf-persist train`, on one thread."""

    def __init__(self, binary: Path, scratch: Path) -> None:
        self._binary, self._scratch = str(binary), scratch

    def train(self, model: Path, data: Batches, target: Path, *options: str) -> Logs:
        """One epoch of these batches of equal size, in order by default."""
        file = self._scratch / "data.npz"
        np.savez(file, image=np.concatenate([x for x, _ in data]), y=np.concatenate([y for _, y in data]))
        command = [self._binary, "train", str(model), "--data", str(file), "--output", str(target), "--format", "json"]
        command += ["--intra-op-threads", "1", "--inter-op-threads", "1"]
        command += options or ("--no-shuffle", "--batch-size", str(len(data[0][1])))
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        outputs = json.loads(ran.stdout)["batches"]
        steps = zip(*outputs.values(), strict=True)
        return [dict(zip(outputs, map(np.float32, values), strict=True)) for values in steps]

    def export(self, model: Path, target: Path) -> None:
        """Exports the model."""
        command = [self._binary, "export", str(model), str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def variables(folder: Path) -> dict[str, np.ndarray]:
    """The checkpoint's variables by key."""
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name: reader.get_tensor(name) for name in sorted(names)}


def difference(logs: Logs, reference: Logs) -> float | None:
    """The largest relative difference of the losses, or None if everything is equal bit for bit."""
    assert len(logs) == len(reference), f"{len(logs)} steps, not {len(reference)}"
    assert all(a.keys() == b.keys() for a, b in zip(logs, reference, strict=True))
    same = all(_bits(a[key]) == _bits(b[key]) for a, b in zip(logs, reference, strict=True) for key in b)
    pairs = [(float(a["loss"]), float(b["loss"])) for a, b in zip(logs, reference, strict=True)]
    return None if same else max(abs(a - b) / abs(b) for a, b in pairs)


def unequal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> list[str]:
    """The variables that differ in a bit or exist on one side only."""
    same = {key for key in one.keys() & other.keys() if _bits(one[key]) == _bits(other[key])}
    return sorted((one.keys() | other.keys()) - same)


def _bits(value: Any) -> tuple[str, bytes]:
    array = np.asarray(value)
    return array.dtype.str, array.tobytes()


def keras_steps(model: keras.Model, data: Batches) -> Logs:
    """`train_on_batch`, batch by batch."""
    return [
        {key: np.float32(value) for key, value in model.train_on_batch(x, y, return_dict=True).items()}
        for x, y in data
    ]


def seeds(model: keras.Model) -> list[keras.Variable]:
    """The state of the seed generators."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def eager_steps(folder: Path, data: Batches, end: Path) -> Logs:
    """The `train` signature through Python's eager loader; saves the model at `end`."""
    loaded = tf.saved_model.load(str(folder))
    train = loaded.signatures["train"]
    steps = [train(image=tf.constant(x), y=tf.constant(y)) for x, y in data]
    tf.saved_model.save(loaded, str(end), signatures=loaded.signatures)
    return [{key: value.numpy() for key, value in step.items()} for step in steps]


def check(name: str, first: int, then: int, scratch: Path, tf_persist: Path | None) -> bool:
    """Checks all ways for one optimizer; prints a line for each and returns whether all are exact."""
    build: Callable[..., keras.Model] = OPTIMIZERS[name]
    data = batches(first + then)
    head, tail = data[:first], data[first:]
    write.export(build(), scratch / "exported", write.Options())

    session = Session(scratch / "exported")
    reference = session.train(head)
    session.save(scratch / "saved")
    reference += session.train(tail)
    session.save(scratch / "end")
    end, start = variables(scratch / "end"), variables(scratch / "exported")
    losses = [float(step["loss"]) for step in reference]
    moved = len(unequal(start, end))
    print(f"{name}: {len(end)} variables, {moved} changed; loss {losses[0]:.4f} to {losses[-1]:.4f}", flush=True)

    def report(way: str, logs: Logs, part: Logs, folder: Path | None = None, exact: bool = True) -> bool:
        off = difference(logs, part)
        differ = unequal(variables(folder), end) if folder else []
        line = f"{len(logs)} steps bit-equal" if off is None else f"{len(logs)} steps, losses off by up to {off:.2g}"
        if folder:
            equal = sum(key not in differ for key in end)
            line += ", ".join([f", {equal} of {len(end)} variables bit-equal", *differ])
        holds = not exact or (off is None and not differ)
        print(f"  {'ok  ' if holds else 'FAIL'} {way}: {line}", flush=True)
        return holds

    again = Session(scratch / "saved")
    logs = again.train(tail)
    again.save(scratch / "resumed")
    holds = [report("resumed", logs, reference[first:], scratch / "resumed")]
    if tf_persist:
        rust = Rust(tf_persist, scratch)
        rust.export(scratch / "saved", scratch / "rewritten")
        again = Session(scratch / "rewritten")
        logs = again.train(tail)
        again.save(scratch / "rewritten_end")
        holds.append(report("rewritten", logs, reference[first:], scratch / "rewritten_end"))
        logs = rust.train(scratch / "exported", data, scratch / "rust")
        holds.append(report("rust", logs, reference, scratch / "rust"))
        logs = rust.train(scratch / "exported", head, scratch / "rust_half")
        again = Session(scratch / "rust_half")
        logs += again.train(tail)
        again.save(scratch / "rust_python")
        holds.append(report("rust, then python", logs, reference, scratch / "rust_python"))
        logs = rust.train(scratch / "saved", tail, scratch / "python_rust")
        holds.append(report("python, then rust", logs, reference[first:], scratch / "python_rust"))
        shuffled = ("--seed", "7", "--batch-size", "20")
        through = rust.train(scratch / "exported", data, scratch / "two_epochs", "--epochs", "2", *shuffled)
        rust.train(scratch / "exported", data, scratch / "one_epoch", *shuffled)
        logs = rust.train(scratch / "one_epoch", data, scratch / "second_epoch", "--resume", "--epochs", "2")
        off = difference(logs, through[-len(logs) :])
        differ = unequal(variables(scratch / "second_epoch"), variables(scratch / "two_epochs"))
        holds.append(off is None and not differ and len(logs) * 2 == len(through))
        losses = "bit-equal" if off is None else f"off by up to {off:.2g}"
        line = f"{len(logs)} steps {losses}, {len(differ)} variables differ"
        print(f"  {'ok  ' if holds[-1] else 'FAIL'} rust, resumed: {line}", flush=True)
    logs = eager_steps(scratch / "saved", tail, scratch / "eager")
    holds.append(report("eager", logs, reference[first:], scratch / "eager"))
    model = build()
    logs = keras_steps(model, data)
    write.export(model, scratch / "keras", write.Options())
    holds.append(report("keras", logs, reference, scratch / "keras"))
    model = build()
    keras_steps(model, head)
    for ending in (".keras", ".h5"):
        model.save(scratch / f"half{ending}")
        loaded = load.load_model(str(scratch / f"half{ending}"), [], False)
        for variable, value in zip(seeds(loaded), seeds(model), strict=True):
            variable.assign(value)
        write.export(loaded, scratch / f"half{ending}-exported", write.Options())
        again = Session(scratch / f"half{ending}-exported")
        logs = again.train(tail)
        again.save(scratch / f"end{ending}")
        holds.append(report(ending, logs, reference[first:], scratch / f"end{ending}"))
    holds.append(report("keras xla", keras_steps(build(jit_compile=True), data), reference, exact=False))
    return all(holds)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(OPTIMIZERS), default=list(OPTIMIZERS), metavar="NAME")
    parser.add_argument("--steps", nargs=2, type=int, default=[20, 20], metavar=("N", "M"))
    parser.add_argument("--tf-persist", type=Path, metavar="FILE", help="the binary, for what Rust does")
    arguments = parser.parse_args()
    os.environ.setdefault("TF_PERSIST_LIBTENSORFLOW", str(Path(tf.__file__).parent))
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    holds = []
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix="check-resume-") as scratch:
            holds.append(check(name, *arguments.steps, Path(scratch), arguments.tf_persist))
    return int(not all(holds))


if __name__ == "__main__":
    sys.exit(main())

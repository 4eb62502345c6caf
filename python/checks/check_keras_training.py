"""Trains the models that `convert_cases` made of compiled Keras files, and compares with what Keras itself did.

    cargo run -p tf-persist-keras --example convert_cases -- CASES OUT train
    PYTHONPATH=python .venv/bin/python -m checks.check_keras_training OUT --cases CASES [FILTER]

The steps of `meta.json` run in a v1 session on as many threads as Keras had: two, if it does not say. Each loss and metric must be within 2e-5 of that of
`train_on_batch(jit_compile=False)`, and each variable at the end within the tolerance of `after.keras`. Both are equal
bit for bit, except in cases that `DIFFERENT` lists with the reason, and where Keras itself has other bits on this machine.
"""

import argparse
import collections
import io
import json
import os
import pathlib
import sys
import tempfile
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import numpy as np
import tensorflow as tf

from .check_keras_cases import same_bits, tensor

LOSS_TOLERANCE = 2e-5

# Cases that may differ in their last bits, with the reason.
DIFFERENT = {
    "layer_conv2d_groups": "Keras compiles grouped convolutions with XLA",
    **dict.fromkeys([
        "double_precision", "layer_activation_gelu", "layer_activation_hard_silu", "layer_activation_silu",
        "layer_attention_masked", "layer_convlstm", "layer_convlstm_dropout", "layer_gru_before",
        "layer_gru_before_dropout", "layer_gru_dropout", "layer_gru_unroll", "layer_lstm_dropout", "layer_lstm_unroll",
        "layer_rnn_dropout_cells", "layer_simplernn", "layer_simplernn_bidirectional", "layer_simplernn_dropout",
        "layer_simplernn_dropout_inputs", "layer_simplernn_dynamic", "layer_simplernn_long", "layer_simplernn_masked",
        "layer_simplernn_sequences", "layer_simplernn_unroll", "layer_time_distributed_dynamic", "loss_dice_axis",
        "loss_focal", "loss_focal_logits", "loss_msle", "metric_regression", "metric_scores"],
        "for a reason that is not known"),
}

# Cases whose training is refused.
REFUSED = {"layer_spectral", "metric_at"}


class Training:
    """A model in a v1 session, as clients of the C API have it."""

    def __init__(self, folder, threads):
        self.session = tf.compat.v1.Session(graph=tf.Graph(), config=tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads))
        with self.session.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(folder))
            handles = [op for op in self.session.graph.get_operations() if op.type == "VarHandleOp"]
            self.reads = {
                op.get_attr("shared_name").decode(): tf.raw_ops.ReadVariableOp(
                    resource=op.outputs[0], dtype=op.get_attr("dtype"))
                for op in handles
            }
        self.signatures = meta.signature_def

    def run(self, name, values):
        signature = self.signatures[name]
        feed = {signature.inputs[key].name: value for key, value in values.items()}
        outputs = {key: info.name for key, info in signature.outputs.items()}
        return self.session.run(outputs, feed)

    def variables(self):
        return self.session.run(self.reads)


def trained(case, folder, train):
    """The variables of a model that Keras trained, by the names that they have in a SavedModel."""
    if (case / "after.npz").exists():
        return dict(np.load(case / "after.npz"))
    table = json.loads((folder.parent / "compiled.keras/assets.extra/keras/variables.json").read_text())
    with zipfile.ZipFile(case / train["after"]) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        return {variable["name"]: np.asarray(file[variable["path"]]) for variable in table["variables"]}


def differs_here(case, folder, train, arrays):
    """Whether Keras itself has other bits on this machine than it recorded: sums are added in another order there."""
    import keras

    if (case / "after.npz").exists():
        return False
    model = keras.models.load_model(case / "compiled.keras")
    model.jit_compile = False
    for step in train["steps"]:
        x = [tensor(arrays, step["inputs"][key]) for key in sorted(step["inputs"], key=int)]
        y = [tensor(arrays, spec) for spec in (step["targets"].values() if "targets" in step else [step["target"]])]
        model.train_on_batch(x[0] if len(x) == 1 else x, y[0] if len(y) == 1 else y)
    with tempfile.TemporaryDirectory() as work:
        file = pathlib.Path(work) / "after.keras"
        model.save(file)
        here = trained(case, folder, {"after": file})
    return any(not same_bits(here[key], value) for key, value in trained(case, folder, train).items())


def step_inputs(training, names, arrays, step):
    values = {name: tensor(arrays, step["inputs"][key]) for name, key in zip(names, sorted(step["inputs"], key=int))}
    targets = [key for key in training.signatures["train"].inputs if key not in values]
    given = step["targets"] if "targets" in step else {"y": step["target"]}
    given = {targets[0]: spec for spec in given.values()} if len(targets) == 1 else given
    for key in targets:
        wanted = training.signatures["train"].inputs[key].dtype
        values[key] = tensor(arrays, given[key]).astype(tf.as_dtype(wanted).as_numpy_dtype)
    return values


def check(case, folder, counts):
    """Checks one file; yields what is wrong."""
    meta = json.loads((case / "meta.json").read_text())
    train = meta["train"]
    arrays = np.load(case / "io.npz", allow_pickle=False)
    names = (folder.parent / f"{folder.name}.inputs").read_text().split("\n")
    try:
        training = Training(folder, train.get("threads", 2))
    except Exception as error:
        yield f"cannot be loaded: {str(error)[:600]}"
        return
    if ("train" in training.signatures) == (case.name in REFUSED):
        yield "has a signature `train`" if case.name in REFUSED else "has no signature `train`"
    if "train" not in training.signatures:
        return
    equal, largest = True, 0.0
    for number, step in enumerate(train["steps"]):
        values = step_inputs(training, names, arrays, step)
        before = training.variables()
        evaluated = training.run("evaluate", values)
        if any(not same_bits(value, before[key]) for key, value in training.variables().items()):
            yield "`evaluate` changes variables"
        logs = training.run("train", values)
        if set(logs) != set(step["logs"]) or set(evaluated) != set(logs):
            yield f"step {number}: outputs {sorted(logs)}, wanted {sorted(step['logs'])}"
            return
        for key, wanted in step["logs"].items():
            difference = float(np.max(np.abs(logs[key] - np.float32(wanted)))) if logs[key].size else 0.0
            equal &= difference == 0
            largest = max(largest, difference)
            if not difference <= LOSS_TOLERANCE:
                yield f"step {number}: {key} is {logs[key]}, wanted {wanted}"
    got, wanted = training.variables(), trained(case, folder, train)
    missing = sorted(set(wanted) - set(got))
    if missing:
        yield f"variables {missing} are missing; it has {sorted(got)}"
    for key in set(wanted) & set(got):
        if not np.allclose(got[key], wanted[key], **train["tolerance"]):
            yield f"{key} differs by {np.max(np.abs(got[key] - wanted[key])):.3g}"
        if not same_bits(got[key], wanted[key]):
            equal = False
            largest = max(largest, float(np.max(np.abs(got[key].astype(float) - wanted[key].astype(float)))))
    counts["equal bit for bit" if equal else "not equal bit for bit"] += 1
    if equal:
        return
    reason = DIFFERENT.get(case.name)
    if reason is None and differs_here(case, folder, train, arrays):
        reason = "Keras itself has other bits on this machine"
    if reason is None:
        yield f"not equal bit for bit: {largest:.2g}"
    else:
        print(f"{case.name}/{folder.name}: {largest:.2g}: {reason}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--cases", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    counts, wrong = collections.Counter(), []
    for folder in sorted(arguments.out.glob("*/*/")):
        case = arguments.cases / folder.parent.name
        if arguments.filter not in case.name or not (folder / "saved_model.pb").exists():
            continue
        if not folder.name.startswith("compiled") or "train" not in json.loads((case / "meta.json").read_text()):
            continue
        found = list(check(case, folder, counts))
        counts["wrong" if found else "right"] += 1
        wrong.extend(f"{case.name}/{folder.name}: {what}" for what in found)
    print("\n".join(wrong))
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

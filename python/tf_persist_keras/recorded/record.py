"""Runs a freshly built model in the reference runtime and writes its answers.

The reference is a v1 session with TensorFlow's default options; Python's eager loader must agree with it.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from . import describe
from .cases import Arrays, Built, Case, HeldOut, Tolerance
from .compare import largest_difference
from .entries import encode
from .runners import EagerRunner, SessionRunner

EAGER_TOLERANCE = Tolerance(atol=1e-6, rtol=0.0)


def record(name: str, description: str, built: Built, folder: Path) -> None:
    """Writes `folder`/io.npz, meta.json and, where there is one, held_out.npz for the model in `folder`/model."""
    answers = _run_in_session(built, folder / "model")
    meta: dict[str, Any] = {
        "name": name,
        "kind": description,
        "tags": list(built.tags),
        "tensorflow": tf.version.VERSION,
        "meta_graphs": describe.meta_graphs(folder / "model"),
        "variables": describe.variables(folder / "model"),
        "status": {"v1_session_load": "ok", **_eager_status(built, folder / "model", answers)},
        "sequence": built.sequence,
        "tolerance": asdict(built.tolerance),
    }
    if built.run_after_load:
        meta["run_after_load"] = list(built.run_after_load)
    if built.session_config:
        meta["session_config"] = dict(built.session_config)
    if built.custom_op_libs:
        meta["custom_op_libs"] = list(built.custom_op_libs)
    if built.refused:
        meta["refused"] = dict(built.refused)
    if built.held_out:
        meta["held_out"] = _record_held_out(built, built.held_out, folder)
    npz: dict[str, np.ndarray] = {}
    meta["cases"] = [
        _encode_case(index, case, outputs, npz)
        for index, (case, outputs) in enumerate(zip(built.cases, answers, strict=True))
    ]
    np.savez_compressed(folder / "io.npz", **npz)
    (folder / "meta.json").write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _run_in_session(built: Built, model: Path) -> list[Arrays]:
    """The answers to the cases, in order; one session for each tag set."""
    sessions: dict[tuple[str, ...], SessionRunner] = {}
    answers = []
    for case in built.cases:
        tags = _tags(built, case)
        if tags not in sessions:
            sessions[tags] = SessionRunner(model, tags, built.session_config, built.run_after_load)
        answers.append(sessions[tags].run(case.signature, case.inputs))
    return answers


def _eager_status(built: Built, model: Path, answers: list[Arrays]) -> dict[str, Any]:
    """Whether Python loads the model eagerly, and how much its answers then differ from the session's."""
    if built.loads_eagerly:
        return {
            "tf_saved_model_load": "ok",
            "tf2_signature_vs_v1_max_abs_diff": _eager_difference(built, model, answers),
        }
    try:
        EagerRunner(model, built.tags)
    except tf.errors.OpError as error:
        return {"tf_saved_model_load": f"{type(error).__name__}: {error.message.splitlines()[0]}"}
    raise ValueError("the eager loader takes this model after all")


def _eager_difference(built: Built, model: Path, answers: list[Arrays]) -> float:
    """The largest difference between the eager signatures and the session; raises `Mismatch` above 1e-6."""
    loaded: dict[tuple[str, ...], EagerRunner] = {}
    largest = 0.0
    for case, expected in zip(built.cases, answers, strict=True):
        tags = _tags(built, case)
        if tags not in loaded:
            loaded[tags] = EagerRunner(model, tags)
        fresh = loaded[tags].run(case.signature, case.inputs)
        largest = max(largest, largest_difference(fresh, expected, EAGER_TOLERANCE))
    return largest


def _tags(built: Built, case: Case) -> tuple[str, ...]:
    return tuple(built.tags if case.tags is None else case.tags)


def _encode_case(index: int, case: Case, outputs: Arrays, npz: dict[str, np.ndarray]) -> dict[str, Any]:
    entry: dict[str, Any] = {"signature": case.signature}
    if case.tags is not None:
        entry["tags"] = list(case.tags)
    entry["inputs"] = encode(case.inputs, f"c{index}.in", npz)
    entry["outputs"] = encode(outputs, f"c{index}.out", npz)
    return entry


def _record_held_out(built: Built, held_out: HeldOut, folder: Path) -> dict[str, Any]:
    """Writes held_out.npz: the examples, their `label`s and the session's answers to all of them in one batch."""
    session = SessionRunner(folder / "model", built.tags)
    answers = session.run(held_out.signature, {held_out.input_key: held_out.inputs})[held_out.output_key]
    accuracy = float(np.mean(answers.argmax(axis=-1) == held_out.labels))
    if accuracy < held_out.least_accuracy:
        raise ValueError(f"held-out accuracy is {accuracy:.4f}, less than {held_out.least_accuracy}")
    arrays = {held_out.input_key: held_out.inputs, "label": held_out.labels, held_out.output_key: answers}
    np.savez_compressed(folder / "held_out.npz", **arrays)
    return {"examples": len(held_out.labels), "accuracy": accuracy}

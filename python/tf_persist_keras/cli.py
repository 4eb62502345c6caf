"""Exports a compiled Keras 3 model as a SavedModel that can be served and trained on, with its whole state.

    tf-persist-keras-export model.keras OUT                       a .keras file, or an .h5 file
    tf-persist-keras-export package.module:function OUT           a function that returns the model
    tf-persist-keras-export model.keras OUT --custom-objects my_layers
    tf-persist-keras-export model.keras OUT --examples batch.npz  records requests and answers in OUT/assets.extra

OUT gets the signatures `serving_default`, `train` (one step of the optimizer) and `evaluate`. See docs/keras_exporter.md.
"""

import argparse
import os
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import source
from .errors import ExportError, first_line

if TYPE_CHECKING:
    from .write import Exported

SEEDS_LOST = (
    "Keras's files do not have the state of random seeds (keras issue 19796), so dropout restarts its sequence; to "
    "continue exactly, export from the program that trained, or set the seeds in a function and export module:function"
)


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            return {name: npz[name] for name in npz.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ExportError(f"`{path}` is not a readable npz file: {first_line(error)}") from error


def check_backend() -> None:
    """Refuses backends other than TensorFlow, which Keras could otherwise fail to import."""
    backend = os.environ["KERAS_BACKEND"]
    if backend != "tensorflow":
        raise ExportError(
            f"KERAS_BACKEND is `{backend}`, but only TensorFlow can write a SavedModel; run again with "
            "KERAS_BACKEND=tensorflow"
        )


def run(arguments: argparse.Namespace) -> "Exported":
    """Loads and exports. TensorFlow is imported here, not for `--help` or an invalid argument."""
    check_backend()
    source.check(arguments.source, arguments.unsafe_lambda, arguments.inference_only)
    examples = read_examples(arguments.examples) if arguments.examples else {}
    from . import interface, load, write

    try:
        targets = dict(interface.parse_target(text) for text in arguments.targets)
    except ValueError as error:
        raise ExportError(f"--target: {error}") from error
    write.check_target(arguments.target)
    model = load.load_model(
        arguments.source, arguments.custom_objects, arguments.unsafe_lambda, arguments.inference_only
    )
    options = write.Options(arguments.inference_only, arguments.sample_weight, targets, examples)
    return write.export(model, arguments.target, options)


def describe(exported: "Exported") -> str:
    """The signatures and the state, one line each."""
    lines = []
    for name, function in exported.signatures.items():
        wanted = ", ".join(
            f"{key} {spec.dtype.name}{spec.shape.as_list()}"
            for key, spec in function.structured_input_signature[1].items()
        )
        lines.append(f"{name}: {wanted} -> {', '.join(function.structured_outputs)}")
    counts = [f"{count} {group}" for group, count in exported.variables.items() if count]
    lines.append(f"variables: {', '.join(counts) or 'none'}")
    if exported.recorded:
        lines.append(f"recorded: {', '.join(exported.recorded)}")
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="tf-persist-keras-export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="MODEL", help=".keras or .h5 file, or module:function")
    parser.add_argument("target", type=Path, metavar="OUT", help="the folder to write; must not exist")
    parser.add_argument(
        "--custom-objects", action="append", default=[], metavar="MODULE", help="import this module or .py file with custom layers, losses or metrics; repeatable"
    )
    parser.add_argument("--examples", type=Path, metavar="FILE.npz", help="record requests and answers for these inputs and targets, by signature key")
    parser.add_argument("--inference-only", action="store_true", help="write only `serving_default` and the weights")
    parser.add_argument("--sample-weight", action="store_true", help="let `train` and `evaluate` take `sample_weight`")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        dest="targets",
        metavar="NAME=DTYPE[SHAPE]",
        help="dtype and shape of a target, such as y=int32[None]; repeatable",
    )
    parser.add_argument("--unsafe-lambda", action="store_true", help="run the Python code in the file")
    arguments = parser.parse_args()
    try:
        exported = run(arguments)
        print(describe(exported))
        if exported.variables["seeds"] and ":" not in arguments.source and not arguments.inference_only:
            print(f"note: {SEEDS_LOST}", file=sys.stderr)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


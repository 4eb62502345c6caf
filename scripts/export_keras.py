#!/usr/bin/env python3
"""Exports a compiled Keras 3 model as a SavedModel that can be served and trained on, with its whole state.

    scripts/export_keras.py model.keras OUT                       a .keras file, or an .h5 file
    scripts/export_keras.py package.module:function OUT           a function that returns the model
    scripts/export_keras.py model.keras OUT --custom-objects my_layers
    scripts/export_keras.py model.keras OUT --examples batch.npz  records requests and answers in OUT/assets.extra

OUT gets the signatures `serving_default`, `train` (one step of the optimizer) and `evaluate`. See docs/keras.md.
"""

import argparse
import sys
import zipfile
from pathlib import Path

import numpy as np

from keras_export import interface, load, write
from keras_export.errors import ExportError, first_line

SEEDS_LOST = (
    "Keras's files do not hold the state of random seeds (keras issue 19796), so dropout begins its sequence anew; to "
    "go on exactly, export from the program that trained, or set the seeds in a function and export module:function"
)


def read_examples(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file."""
    try:
        with np.load(path, allow_pickle=False) as npz:
            return {name: npz[name] for name in npz.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ExportError(f"`{path}` is not an npz file that can be read: {first_line(error)}") from error


def target(text: str) -> tuple[str, object]:
    """An argument of --target."""
    try:
        return interface.parse_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def describe(exported: write.Exported) -> str:
    """The signatures and the state, one a line."""
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="MODEL", help=".keras or .h5 file, or module:function")
    parser.add_argument("target", type=Path, metavar="OUT", help="the folder to write; must not exist")
    parser.add_argument(
        "--custom-objects", action="append", default=[], metavar="MODULE", help="module or .py file; repeatable"
    )
    parser.add_argument("--examples", type=Path, metavar="FILE.npz", help="inputs, and targets, by signature key")
    parser.add_argument("--inference-only", action="store_true", help="`serving_default` and the weights alone")
    parser.add_argument("--sample-weight", action="store_true", help="`train` and `evaluate` take `sample_weight`")
    parser.add_argument(
        "--target", type=target, action="append", default=[], dest="targets", metavar="NAME=DTYPE[SHAPE]",
        help="a target's dtype and shape, such as y=int32[None]; repeatable",
    )  # fmt: skip
    parser.add_argument("--unsafe-lambda", action="store_true", help="run Python code that the file contains")
    arguments = parser.parse_args()
    try:
        examples = read_examples(arguments.examples) if arguments.examples else {}
        model = load.load_model(arguments.source, arguments.custom_objects, arguments.unsafe_lambda)
        options = write.Options(
            arguments.inference_only, arguments.sample_weight, dict(arguments.targets), examples
        )
        exported = write.export(model, arguments.target, options)
        print(describe(exported))
        if exported.variables["seeds"] and ":" not in arguments.source and not arguments.inference_only:
            print(f"note: {SEEDS_LOST}", file=sys.stderr)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

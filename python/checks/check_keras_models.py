"""Checks SavedModels that were written without Python, such as those of converted Keras files.

    python -m checks.check_keras_models DIR[=INPUTS.npz] ...    `INPUTS.npz` has arrays by the names of the inputs

Each DIR is loaded with `tf.saved_model.load` and into a v1 session, and every signature must give the same bits in
both, on the given inputs or random ones. The saver of the session and `tf.train.Checkpoint` must read each other's
checkpoints, and a model that Python loads and saves again must give the same answers. One line a model; exit code 1 if
any fails.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_persist_keras.recorded.runners import SessionRunner, tensor_names

v1 = tf.compat.v1
Answers = dict[str, dict[str, np.ndarray]]
WORDS = np.array(["the", "quick", "brown", "fox", "", "jumps over\nthe", "Ünïcödé", "7"], object)


def inputs_of(spec: Mapping[str, tf.TensorSpec], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The given inputs of a signature, or random ones with 3 for each open size."""
    generator = np.random.default_rng(1)
    inputs = {}
    for name, tensor in sorted(spec.items()):
        shape = [3 if size is None else size for size in tensor.shape]
        if name in given:
            inputs[name] = given[name]
        elif tensor.dtype == tf.string:
            inputs[name] = generator.choice(WORDS, shape)
        elif tensor.dtype.is_floating or tensor.dtype.is_complex:
            inputs[name] = generator.normal(size=shape).astype(tensor.dtype.as_numpy_dtype)
        else:
            inputs[name] = generator.integers(0, 2, shape).astype(tensor.dtype.as_numpy_dtype)
    return inputs


def variables(loaded: tf.Module) -> Iterator[tuple[str, tf.Variable]]:
    """The variables of a loaded model by their keys in the checkpoint."""
    escaped = lambda name: name.replace(".", "..").replace("/", ".S")
    children = {name: child for name, child in vars(loaded).items() if not name.startswith("_self_")}
    todo = [(escaped(name), child) for name, child in children.items() if name != "signatures"]
    while todo:
        path, node = todo.pop()
        if isinstance(node, tf.Variable):
            yield f"{path}/.ATTRIBUTES/VARIABLE_VALUE", node
        elif isinstance(node, Mapping):
            todo += [(f"{path}/{escaped(name)}", child) for name, child in node.items()]


def run_eagerly(loaded: tf.Module, inputs: Mapping[str, Mapping[str, np.ndarray]]) -> Answers:
    """The answers of all signatures, in order of their names."""
    return {
        name: {key: value.numpy() for key, value in loaded.signatures[name](**_tensors(given)).items()}
        for name, given in sorted(inputs.items())
    }


def _tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array, shape=array.shape) for name, array in arrays.items()}


def compare(what: str, answers: Answers, expected: Answers, tolerance: float = 0.0) -> None:
    """Raises an exception unless all bits are equal, or floats within a relative tolerance."""
    for signature, outputs in expected.items():
        for name, value in outputs.items():
            other = np.asarray(answers[signature][name])
            same = value.dtype == other.dtype and value.shape == other.shape
            if same and value.dtype == object:
                same = value.tolist() == other.tolist()
            elif same and value.tobytes() != other.tobytes():
                same = bool(tolerance) and np.allclose(value, other, tolerance, tolerance, equal_nan=True)
            if not same:
                raise AssertionError(f"{what}: `{name}` of `{signature}` is {other!r}, not {value!r}")


def check_checkpoints(model: Path, folder: Path) -> int:
    """Saves and restores variables through the session's saver and `tf.train.Checkpoint`. Returns their number."""
    loaded = tf.saved_model.load(str(model))
    original = {key: variable.numpy() for key, variable in variables(loaded)}
    change = lambda value: (~value if value.dtype == bool else value + 1).astype(value.dtype)
    changed = {key: change(value) for key, value in original.items()}
    for key, variable in variables(loaded):
        variable.assign(changed[key])
    by_objects = tf.train.Checkpoint(loaded).write(str(folder / "objects"))
    with tf.Graph().as_default(), v1.Session() as session:
        meta_graph = v1.saved_model.load(session, ["serve"], str(model))
        saver = meta_graph.saver_def
        if not (saver.restore_op_name or original):
            return 0
        session.run(saver.restore_op_name, {saver.filename_tensor_name: by_objects})
        saved = session.run(saver.save_tensor_name, {saver.filename_tensor_name: str(folder / "session")}).decode()
    reader, keys = tf.train.load_checkpoint(saved), tf.train.load_checkpoint(model / "variables" / "variables")
    if reader.get_variable_to_shape_map() != keys.get_variable_to_shape_map():
        raise AssertionError("the session's checkpoint does not have the keys of the model's")
    again = tf.saved_model.load(str(model))
    # `tf.train.Checkpoint` counts its own checkpoints in a variable that other checkpoints lack.
    tf.train.Checkpoint(again).read(saved).assert_existing_objects_matched()
    for key, variable in variables(again):
        np.testing.assert_array_equal(variable.numpy(), changed[key], err_msg=key)
        np.testing.assert_array_equal(keys.get_tensor(key), original[key], err_msg=key)
    return len(original)


def run_method(loaded: tf.Module, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answers of the method `serve`, which takes and returns tensors as the Keras model does."""
    (function,) = loaded.serve.concrete_functions
    ((takes,), _) = function.structured_input_signature
    answers = loaded.serve(tf.nest.map_structure(lambda spec: tf.constant(inputs[spec.name]), takes))
    names = [spec.name for spec in tf.nest.flatten(function.structured_outputs)]
    return {name: value.numpy() for name, value in zip(names, tf.nest.flatten(answers), strict=True)}


def check(model: Path, given: Mapping[str, np.ndarray]) -> str:
    """Describes a model; raises an exception if a check fails."""
    loaded = tf.saved_model.load(str(model))
    specs = {name: signature.structured_input_signature[1] for name, signature in loaded.signatures.items()}
    inputs = {name: inputs_of(spec, given) for name, spec in specs.items()}
    expected = run_eagerly(loaded, inputs)
    if hasattr(loaded, "serve"):
        answers = run_method(loaded, inputs["serving_default"])
        compare("serve", {"serving_default": answers}, {"serving_default": expected["serving_default"]})
    session = SessionRunner(model, ["serve"])
    compare("session", {name: session.run(name, arrays) for name, arrays in sorted(inputs.items())}, expected)
    for name, definition in session.signature_defs().items():
        if sorted(tensor_names(definition.inputs)) != sorted(specs[name]):
            raise AssertionError(f"the signature `{name}` has other inputs in Python than in a session")
    with tempfile.TemporaryDirectory() as folder:
        count = check_checkpoints(model, Path(folder))
        fresh = tf.saved_model.load(str(model))
        tf.saved_model.save(fresh, f"{folder}/again", signatures=dict(fresh.signatures))
        # Within further functions, TensorFlow fuses other operations.
        compare("saved again", run_eagerly(tf.saved_model.load(f"{folder}/again"), inputs), expected, 1e-6)
    return f"{len(expected)} signatures, {count} variables"


def _pair(text: str) -> tuple[Path, dict[str, np.ndarray]]:
    model, _, arrays = text.partition("=")
    if not arrays:
        return Path(model), {}
    with np.load(arrays) as npz:
        return Path(model), dict(npz)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=_pair, metavar="DIR[=INPUTS.npz]")
    failed = 0
    for model, given in parser.parse_args().models:
        try:
            print("ok", model, check(model, given), flush=True)
        except Exception as error:
            failed += 1
            print("FAILED", model, f"{type(error).__name__}: {str(error).strip()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

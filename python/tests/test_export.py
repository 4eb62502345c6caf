"""Tests of the exporter: what it writes for odd models, and what it says to the usual mistakes.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

PYTHON = Path(__file__).resolve().parents[1]

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from models.keras_digits import adam, batches, constant_rate
from tests import keras_odd
from tf_persist_keras import interface, load, write
from tf_persist_keras.errors import ExportError
from tf_persist_keras.recorded.runners import SessionRunner

ROWS = 6


class Case(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory(prefix="test-export-keras-")
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def exported(self, model: keras.Model, **options: object) -> SessionRunner:
        """The exported model in a session."""
        write.export(model, self.folder / "model", write.Options(**options))
        return SessionRunner(self.folder / "model", ["serve"])

    def refused(self, text: str, source: object, **options: object) -> None:
        """The message contains `text`, and nothing is left behind."""
        before = sorted(self.folder.iterdir())
        with self.assertRaises(ExportError) as caught:
            model = source if isinstance(source, keras.Model) else load.load_model(str(source), [], False)
            write.export(model, self.folder / "refused", write.Options(**options))
        self.assertIn(text, str(caught.exception))
        self.assertEqual(sorted(self.folder.iterdir()), before)


def numbers(*shape: int) -> np.ndarray:
    """Numbers between 0 and 1, the same every time."""
    return np.random.default_rng(7).random(shape).astype(np.float32)


class Written(Case):
    """What is written."""

    def against_keras(
        self, model: keras.Model, x: object, y: object, request: dict[str, np.ndarray], rtol: float = 0.0
    ) -> None:
        """Three steps of the signature and of `train_on_batch`, and an evaluation, are equal bit for bit."""
        model.jit_compile = False
        session = self.exported(model)
        inputs = {key: request[key] for key in request if key in self.keys("serving_default")}
        served = session.run("serving_default", inputs)
        outputs = model.predict_on_batch(x)
        if not isinstance(outputs, dict):
            names = model.output_names if isinstance(outputs, list) else list(served)
            outputs = dict(zip(names, keras.tree.flatten(outputs), strict=True))
        self.assertEqual(served.keys(), outputs.keys())
        for key, value in outputs.items():
            np.testing.assert_allclose(served[key], value, atol=1e-6)
        for _ in range(3):
            answer = session.run("train", request)
            logs = model.train_on_batch(x, y, return_dict=True)
            self.assertEqual(answer.keys(), logs.keys())
            for key, value in logs.items():
                np.testing.assert_allclose(answer[key], value, rtol=rtol, atol=0, err_msg=key)
        answer = session.run("evaluate", request)
        for key, value in model.test_on_batch(x, y, return_dict=True).items():
            np.testing.assert_allclose(answer[key], value, rtol=rtol, atol=0, err_msg=key)

    def keys(self, signature: str) -> set[str]:
        """The input keys of a signature that was written."""
        loaded = tf.saved_model.load(str(self.folder / "model"))
        return set(loaded.signatures[signature].structured_input_signature[1])

    def test_dicts(self) -> None:
        """Names of inputs and outputs; a target that would have an input's name; an output without a loss."""
        left, right, kind, again = numbers(ROWS, 2), numbers(ROWS, 3), np.arange(ROWS) % 3, numbers(ROWS, 2)
        model = keras_odd.many()
        request = {"left": left, "right": right, "kind": kind.astype(np.int64), "left_target": again}
        x = {"left": left, "right": right}
        self.against_keras(model, x, {"kind": kind, "left": again, "aside": np.zeros((ROWS, 1))}, request)
        self.assertEqual(self.keys("train"), set(request))

    def test_lists(self) -> None:
        """The same with lists."""
        left, right, kind, again = numbers(ROWS, 2), numbers(ROWS, 3), np.arange(ROWS) % 3, numbers(ROWS, 2)
        request = {"left": left, "right": right, "kind": kind.astype(np.int64), "left_again": again}
        y = [kind, again, np.zeros((ROWS, 1))]
        self.against_keras(keras_odd.many_in_lists(), [left, right], y, request)
        self.assertEqual(self.keys("train"), set(request))

    def test_texts(self) -> None:
        """A vocabulary table, and a metric with much state."""
        text = np.array(["good film", "bad", "a good day", "unheard"])
        good = np.array([[1], [0], [1], [0]], np.float32)
        request = {"text": np.array([each.encode() for each in text], object), "y": good}
        self.against_keras(keras_odd.texts(), tf.constant(text), good, request)

    def test_recurrent(self) -> None:
        """Gradients gathered over two steps, averaged weights, clipping, recurrent dropout.

        A last digit differs from Keras's own function, we think because TensorFlow optimizes the graph differently in it.
        """
        x, y = numbers(ROWS, 5, 2), numbers(ROWS, 1)
        self.against_keras(keras_odd.recurrent(), x, y, {"series": x, "y": y}, rtol=1e-6)

    def test_subclassed(self) -> None:
        """Its input is `x`; the seed that all of Keras shares is saved, too."""
        x, y = numbers(ROWS, 3), numbers(ROWS, 1)
        self.against_keras(keras_odd.subclassed(), x, y, {"x": x, "y": y})
        names = [name for name, _ in tf.train.list_variables(str(self.folder / "model/variables/variables"))]
        self.assertTrue(any(name.startswith("other/") and "seed" in name for name in names), names)

    def test_learning_rate_is_a_variable(self) -> None:
        """A rate that is no schedule is state, and is saved."""
        x, y = batches(1)[0]
        self.against_keras(constant_rate(), x, y, {"image": x, "y": y})
        names = [name for name, _ in tf.train.list_variables(str(self.folder / "model/variables/variables"))]
        self.assertTrue(any("learning_rate" in name for name in names), names)

    def test_sample_weight(self) -> None:
        """It is one more input, of `train` and `evaluate`."""
        x, y, weight = numbers(ROWS, 5, 2), numbers(ROWS, 1), numbers(ROWS)
        model = keras_odd.recurrent()
        model.jit_compile = False
        session = self.exported(model, sample_weight=True)
        answer = session.run("train", {"series": x, "y": y, "sample_weight": weight})
        logs = model.train_on_batch(x, y, sample_weight=weight, return_dict=True)
        self.assertEqual(answer.keys(), logs.keys())
        for key, value in logs.items():
            # As in `test_recurrent`.
            np.testing.assert_allclose(answer[key], value, rtol=1e-6, atol=0, err_msg=key)

    def test_evaluate_and_serving_change_nothing(self) -> None:
        """Every variable is as before, the metrics and the seeds too."""
        (x, y), (other_x, other_y) = batches(2)
        session = self.exported(adam())
        session.run("train", {"image": x, "y": y})
        before = self.state(session)
        session.run("evaluate", {"image": other_x, "y": other_y})
        session.run("serving_default", {"image": other_x})
        after = self.state(session)
        self.assertGreater(len(before), 20)
        for key, value in before.items():
            np.testing.assert_array_equal(after[key], value, key)

    def state(self, session: SessionRunner) -> dict[str, np.ndarray]:
        """All variables of the session, through the model's saver."""
        saver = session._meta_graph.saver_def
        prefix = str(self.folder / "state")
        session._session.run(saver.save_tensor_name, {saver.filename_tensor_name: prefix})
        reader = tf.train.load_checkpoint(prefix)
        names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
        return {name: reader.get_tensor(name) for name in names}

    def test_every_variable_once(self) -> None:
        """As many as Keras has, and the session's saver knows no others."""
        model = adam()
        session = self.exported(model)
        model.train_on_batch(*batches(1)[0])
        expected = len(model.variables) + len(model.optimizer.variables) + len(model.metrics_variables)
        self.assertEqual(len(self.state(session)), expected)

    def test_names_do_not_depend_on_what_was_made_before(self) -> None:
        """Keras numbers optimizers and seeds as they are made, and a file changes their names."""
        model = adam()
        model.save(self.folder / "model.keras")
        models = {"one": model, "two": adam(), "file": load.load_model(str(self.folder / "model.keras"), [], False)}
        names = {}
        for name, each in models.items():
            write.export(each, self.folder / name, write.Options())
            names[name] = tf.train.list_variables(str(self.folder / name / "variables/variables"))
        self.assertEqual(names["one"], names["two"])
        self.assertEqual(names["one"], names["file"])

    def test_inference_only(self) -> None:
        """One signature, and the weights alone."""
        model = keras_odd.not_compiled()
        write.export(model, self.folder / "model", write.Options(inference_only=True))
        loaded = tf.saved_model.load(str(self.folder / "model"))
        self.assertEqual(list(loaded.signatures), ["serving_default"])

    def test_inference_only_of_a_trained_model(self) -> None:
        """Neither optimizer nor metrics nor seeds go with it."""
        model = adam()
        model.train_on_batch(*batches(1)[0])
        exported = write.export(model, self.folder / "model", write.Options(inference_only=True))
        self.assertEqual({group: count for group, count in exported.variables.items() if count}, {"weights": 9})

    def test_examples_are_recorded(self) -> None:
        """Requests and answers lie in assets.extra, where checks.check_export reads them."""
        x, y = batches(1)[0]
        exported = write.export(adam(), self.folder / "model", write.Options(examples={"image": x, "y": y}))
        self.assertEqual(exported.recorded, ["serving_default", "evaluate"])
        pair = f"{self.folder / 'model'}={self.folder / 'model' / 'assets.extra'}"
        subprocess.run([sys.executable, "-m", "checks.check_export", pair], cwd=PYTHON, check=True, capture_output=True)

    def test_custom_objects(self) -> None:
        """A layer and a loss that are not registered, by their module."""
        path = self.folder / "custom.keras"
        keras_odd.with_custom().save(path)
        model = load.load_model(str(path), ["tests.keras_odd"], False)
        self.exported(model)

    def test_target_is_set(self) -> None:
        """The dtype and shape of a target, from the command line."""
        name, spec = interface.parse_target("y=int32[None, 1]")
        self.exported(adam(), targets={name: spec})
        loaded = tf.saved_model.load(str(self.folder / "model"))
        spec = loaded.signatures["train"].structured_input_signature[1]["y"]
        self.assertEqual((spec.dtype, spec.shape.as_list()), (tf.int32, [None, 1]))


class Refused(Case):
    """What is said to the usual mistakes."""

    def test_files(self) -> None:
        """Files that hold no model."""
        model = adam()
        weights = self.folder / "w.weights.h5"
        model.save_weights(weights)
        self.refused("contains only weights", weights)
        text = self.folder / "notes.keras"
        text.write_text("not a model")
        self.refused("not a zip archive", text)
        cut = self.folder / "cut.h5"
        cut.write_bytes(b"\x89HDF")
        self.refused("not an HDF5 file", cut)
        self.refused("does not exist", self.folder / "absent.keras")
        self.refused("does not exist (expected", self.folder / "absent")
        self.refused("is a folder", self.folder)
        sharded = self.folder / "big.weights.json"
        sharded.write_text("{}")
        self.refused("lists the shards of Keras's sharded weights", sharded)
        other = self.folder / "model.pt"
        other.write_bytes(b"PK")
        self.refused("not a Keras file by its name", other)
        renamed = self.folder / "renamed.keras"
        renamed.write_bytes(weights.read_bytes())
        self.refused("it is an HDF5 file", renamed)

    def test_cut_short_anywhere(self) -> None:
        """A .keras and an .h5 file that end too early."""
        for ending in (".keras", ".h5"):
            whole = self.folder / f"whole{ending}"
            adam().save(whole)
            data = whole.read_bytes()
            for part in (0.1, 0.5, 0.9, 0.999):
                cut = self.folder / f"cut-{part}{ending}"
                cut.write_bytes(data[: int(len(data) * part)])
                with self.assertRaises(ExportError, msg=cut.name):
                    load.load_model(str(cut), [], False)

    def test_saved_model(self) -> None:
        """It is one already."""
        write.export(keras_odd.not_compiled(), self.folder / "model", write.Options(inference_only=True))
        self.refused("is a SavedModel already", self.folder / "model")

    def test_unknown_layer(self) -> None:
        """The layer is named, with the way out, for both kinds of files."""
        for ending in (".keras", ".h5"):
            path = self.folder / f"custom{ending}"
            keras_odd.with_custom().save(path)
            self.refused("`Scale`", path)
            self.refused("--custom-objects", path)

    def test_lambda(self) -> None:
        """A file that would run code."""
        model = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x * 2)])
        model.save(self.folder / "lambda.keras")
        self.refused("--unsafe-lambda", self.folder / "lambda.keras")

    def test_compiled_on_torch(self) -> None:
        """The optimizer is one that TensorFlow does not have, and the model can be served all the same."""
        adam().save(self.folder / "adam.keras")
        path = self.folder / "torch.keras"
        with zipfile.ZipFile(self.folder / "adam.keras") as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "config.json":
                    config = json.loads(data)
                    config["compile_config"]["optimizer"]["module"] = "keras.src.backend.torch.optimizers.torch_adam"
                    data = json.dumps(config).encode()
                new.writestr(name, data)
        self.refused("compiled under Keras's torch backend", path)
        self.refused("--inference-only", path)
        model = load.load_model(str(path), [], False, True)
        write.export(model, self.folder / "served", write.Options(inference_only=True))
        self.assertEqual(list(tf.saved_model.load(str(self.folder / "served")).signatures), ["serving_default"])

    def test_told_without_tensorflow(self) -> None:
        """What is no model is refused before Keras and TensorFlow are imported."""
        (self.folder / "module_of_mine.py").write_text("def build():\n    pass\n")
        for source, said in (
            ("absent.keras", "`absent.keras` does not exist"),
            ("absent", "`absent` does not exist (expected"),
            (".", "`.` is a folder"),
            ("no_such_module:build", "the module `no_such_module` cannot be imported"),
            ("module_of_mine:other", "the module `module_of_mine` has no function `other`"),
        ):
            code = (
                "import sys; sys.path.insert(0, sys.argv[1])\n"
                "from tf_persist_keras import cli; from tf_persist_keras.errors import ExportError\n"
                "try: cli.source.check(sys.argv[2], False, False)\n"
                "except ExportError as error: print(error, sorted({'keras', 'tensorflow'} & set(sys.modules)))"
            )
            command = [sys.executable, "-c", code, str(PYTHON), source]
            done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
            self.assertTrue(done.stdout.startswith(said) and done.stdout.endswith("[]\n"), done.stdout + done.stderr)

    def test_not_compiled(self) -> None:
        """Both ways out are said."""
        self.refused("--inference-only", keras_odd.not_compiled())
        self.refused("model.compile", keras_odd.not_compiled())

    def test_functions(self) -> None:
        """Functions that are not there, or return something else."""
        self.refused("no function `nothing`", "tests.keras_odd:nothing")
        self.refused("returned a `int`", "tests.keras_odd:not_a_model")
        self.refused("cannot be imported", "no_such_module:build")
        self.refused("never called", "tests.keras_odd:never_called")

    def test_target_exists(self) -> None:
        """Nothing is overwritten."""
        (self.folder / "refused").mkdir()
        self.refused("exists", keras_odd.subclassed())

    def test_examples_do_not_fit(self) -> None:
        """Other names, or other shapes; nothing is written."""
        self.refused("the model needs ['image']", adam(), examples={"picture": numbers(2, 8, 8, 1)})
        self.refused("the examples do not run", adam(), examples={"image": numbers(2, 9, 9, 1)})

    def test_target_does_not_fit(self) -> None:
        """A target's name or shape that the loss does not take."""
        self.refused("--target names `label`", adam(), targets={"label": tf.TensorSpec([None], tf.int64)})
        self.refused("--target", adam(), targets={"y": tf.TensorSpec([None, 3, 4], tf.int64)})

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The exporter's own process."""
        command = [sys.executable, "-m", "tf_persist_keras", *arguments]
        variables = {**os.environ, "PYTHONPATH": str(PYTHON), **environment}
        return subprocess.run(command, env=variables, capture_output=True, text=True)

    def test_command_line(self) -> None:
        """What it prints, and the note on a file's seeds."""
        adam().save(self.folder / "digits.keras")
        done = self.command(str(self.folder / "digits.keras"), str(self.folder / "out"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("serving_default: image float32[None, 8, 8, 1] -> probabilities", done.stdout)
        self.assertIn("train: image float32[None, 8, 8, 1], y int64[None] -> loss, accuracy", done.stdout)
        self.assertIn("variables: 9 weights, 2 seeds, 15 optimizer, 4 metrics", done.stdout)
        self.assertIn("state of random seeds", done.stderr)
        done = self.command("tests.keras_odd:not_compiled", str(self.folder / "out"))
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("exists", done.stderr)

    def test_disk_full(self) -> None:
        """No file may grow beyond 4 KiB, as on a full disk: it is said, and nothing is left behind."""
        script = (
            "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); from tf_persist_keras import cli; "
            "sys.argv[1:] = ['tests.keras_odd:subclassed', 'out']; sys.exit(cli.main())"
        )
        variables = {**os.environ, "PYTHONPATH": str(PYTHON), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=self.folder, env=variables, capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("`out` cannot be written", done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_other_backend(self) -> None:
        """Keras on something else; in a process of its own."""
        done = self.command("tests.keras_odd:subclassed", str(self.folder / "out"), KERAS_BACKEND="jax")
        self.assertEqual(done.returncode, 1)
        self.assertIn("KERAS_BACKEND=tensorflow", done.stderr)

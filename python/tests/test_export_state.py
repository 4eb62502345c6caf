"""Tests of the exporter: a file's model is compiled as it was, with the optimizer's whole state, or refused.
"""

import contextlib
import io
import json
import sys
import warnings
import zipfile
from pathlib import Path
from unittest import mock

import h5py
import keras
import numpy as np
from keras import layers

from tests import keras_odd
from tests.test_export import ROWS, Case, numbers
from tf_persist_keras import cli, compiled, load
from tf_persist_keras.errors import ExportError

X, Y = numbers(ROWS, 3), numbers(ROWS, 1)


class Two(keras.Sequential):
    """A model with an optimizer that Keras knows nothing of."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)
        self.second = keras.optimizers.SGD(0.1, momentum=0.9)


def network(*arguments: object, kind: type[keras.Sequential] = keras.Sequential, **named: object) -> keras.Model:
    """Two dense layers, compiled with the arguments."""
    model = kind([keras.Input((3,), name="x"), layers.Dense(2, name="hidden"), layers.Dense(1, name="out")])
    model.compile(*arguments, jit_compile=False, **named)
    return model


def trained(*arguments: object, **named: object) -> keras.Model:
    """The same after two steps."""
    model = network(*arguments, **named)
    for _ in range(2):
        model.train_on_batch(X, Y)
    return model


class Own(Two):
    """One whose own `compile` Keras does not call when it loads a file."""

    def compile(self, *arguments: object, **named: object) -> None:
        """Keras's."""
        super().compile(*arguments, **named)


class State(Case):
    """What the model has after it was loaded."""

    def saved(self, model: keras.Model, ending: str) -> str:
        """The model's file."""
        path = self.folder / f"model{ending}"
        model.save(path)
        return str(path)

    def loaded(self, path: str, *modules: str) -> keras.Model:
        """The file's model; a warning is a failure."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return load.load_model(path, list(modules), False)

    def same_optimizer(self, one: keras.Model, two: keras.Model) -> None:
        """The same kind, configuration and state."""
        one, two = one.optimizer, two.optimizer
        self.assertIs(type(one), type(two))
        self.assertEqual(one.get_config(), two.get_config())
        for left, right in zip(one.variables, two.variables, strict=True):
            np.testing.assert_array_equal(left.numpy(), right.numpy(), left.path)

    def test_trained(self) -> None:
        """Names, objects, functions: the state is the file's, and so is the next step."""
        weighted = {"weighted_metrics": [keras.metrics.LogCoshError()]}
        compiled_with = [
            ("adam", "mse", {"metrics": ["mae", "MSLE", "accuracy", "auc"]}),
            (keras.optimizers.AdamW(0.01), keras.losses.LogCosh(), weighted),
            ("rmsprop", keras.losses.mean_absolute_error, {"metrics": [keras.metrics.mean_squared_error]}),
            ("sgd", "MeanSquaredError", {"metrics": ["mape"]}),
        ]
        # An .h5 file after the .keras file of the same model, as the other order loses the optimizer's name.
        for number, (rule, loss, named) in enumerate(compiled_with):
            model = trained(rule, loss, **named)
            for steps, ending in ((3, ".keras"), (4, ".h5")):
                with self.subTest(number=number, ending=ending):
                    again = self.go_on(model, self.loaded(self.saved(model, ending)))
                    self.assertEqual(int(again.optimizer.iterations.numpy()), steps)

    def go_on(self, model: keras.Model, again: keras.Model) -> keras.Model:
        """One more step of both, with equal answers by equal names."""
        self.same_optimizer(model, again)
        answers = []
        for each in (model, again):
            each.reset_metrics()
            answers.append({name: float(value) for name, value in each.train_on_batch(X, Y, return_dict=True).items()})
        self.assertEqual(*answers)
        self.same_optimizer(model, again)
        return again

    def test_dicts_of_names(self) -> None:
        """A loss and metrics for each of several outputs."""
        for build in (keras_odd.many, keras_odd.many_in_lists):
            model = build()
            path = self.saved(model, ".h5")
            self.assertIn('"mse"', json.dumps(json.loads(h5py.File(path).attrs["training_config"])))
            again = self.loaded(path)
            left, right = numbers(ROWS, 2), numbers(ROWS, 3)
            y = [np.arange(ROWS) % 3, numbers(ROWS, 2), np.zeros((ROWS, 1))]
            x: object = [left, right]
            targets: object = y
            if build is keras_odd.many:
                x = {"left": left, "right": right}
                targets = dict(zip(("kind", "left", "aside"), y, strict=True))
            answers = [each.test_on_batch(x, targets, return_dict=True) for each in (model, again)]
            self.assertEqual(answers[0].keys(), answers[1].keys())
            for name, value in answers[0].items():
                self.assertAlmostEqual(float(value), float(answers[1][name]), places=6, msg=name)

    def test_gathered_gradients_and_averages(self) -> None:
        """What an optimizer keeps beside its slots."""
        for ending in (".h5", ".keras"):
            model = keras_odd.recurrent()
            for _ in range(3):
                model.train_on_batch(numbers(ROWS, 5, 2), Y)
            self.same_optimizer(model, self.loaded(self.saved(model, ending)))

    def test_before_the_first_step(self) -> None:
        """No slots are saved, which is no loss and no reason for a warning; what is saved is kept."""
        for ending in (".h5", ".keras"):
            for loss, metric in (("mse", "mae"), (keras.losses.MeanSquaredError(), keras.metrics.MeanAbsoluteError())):
                model = network(keras.optimizers.Adam(0.5), loss, metrics=[metric])
                model.optimizer.iterations.assign(7)
                again = self.loaded(self.saved(model, ending))
                self.assertEqual((again.optimizer.built, int(again.optimizer.iterations.numpy())), (True, 7))
                model.optimizer.build(model.trainable_variables)
                self.same_optimizer(model, again)

    def test_loss_scale(self) -> None:
        """An optimizer inside of another, before the first step and after it."""
        for model in (network, trained):
            rule = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.5))
            model = model(rule, "mse")
            again = [self.loaded(self.saved(model, ending)) for ending in (".keras", ".h5")]
            if not rule.built:
                rule.build(model.trainable_variables)
            for each in again:
                self.same_optimizer(model, each)

    def test_no_name_of_the_optimizer(self) -> None:
        """Saving as .h5 takes it out of what is saved as .keras afterwards; the .h5 file has it."""
        for model in (trained("adam", "mse"), network(keras.optimizers.Adam(), "mse"), trained("rmsprop", "mse")):
            first = self.saved(model, ".h5")
            second = self.saved(model, ".keras")
            with zipfile.ZipFile(second) as archive:
                self.assertNotIn("optimizer", json.loads(archive.read("config.json"))["compile_config"])
            self.refused("name the optimizer", second)
            self.refused("--inference-only", second)
            self.assertIsInstance(self.loaded(first).optimizer, type(model.optimizer))
            self.assertFalse(load.load_model(second, [], False, inference_only=True).compiled)

    def test_another_state(self) -> None:
        """Layers that were frozen after training: the state is not that of a new optimizer."""
        for ending in (".h5", ".keras"):
            model = trained("adam", "mse")
            model.get_layer("hidden").trainable = False
            path = self.saved(model, ending)
            self.refused("10 optimizer variables, which do not fit its optimizer, `Adam`, with 6", path)
            self.refused("module:function", path)

    def test_another_optimizer(self) -> None:
        """The state of one that Keras does not build."""
        for kind in (Two, Own):
            model = trained("adam", "mse", kind=kind)
            model.second.build(model.trainable_variables)
            path = self.saved(model, ".keras")
            with self.assertRaisesRegex(ExportError, "an optimizer that Keras does not restore"):
                load.load_model(path, [__file__], False)

    def test_custom_loss_and_metric(self) -> None:
        """They are asked for by name, also where a name is Keras's; not for inference."""
        for which in ("loss", "metric"):
            rules = {"loss": keras_odd.custom_loss} if which == "loss" else {"metrics": [keras_odd.custom_loss]}
            model = trained("adam", **{"loss": "mse", **rules})
            path = self.saved(model, ".h5")
            self.refused(f"the {which} `custom_loss`, which Keras does not know", path)
            self.refused("--custom-objects", path)
            self.go_on(model, self.loaded(path, "tests.keras_odd"))
            self.assertFalse(load.load_model(path, [], False, inference_only=True).compiled)
        own = compiled._compile_argument("mse", keras.losses, {"mse": keras_odd.custom_loss}, Path())
        self.assertIs(own, keras_odd.custom_loss)

    def test_other_warnings_pass(self) -> None:
        """Only what is dealt with is kept back."""
        with self.assertWarnsRegex(UserWarning, "of the user's"), compiled.skipped_states() as skipped:
            warnings.warn("one of the user's", stacklevel=1)
            warnings.warn(f"{compiled.SKIPPED} 'adam'", stacklevel=1)
        self.assertEqual(skipped, [f"{compiled.SKIPPED} 'adam'"])

    def test_not_compiled(self) -> None:
        """An .h5 file without a training configuration."""
        self.refused("not compiled", self.saved(keras_odd.not_compiled(), ".h5"))

    def test_broken_configuration(self) -> None:
        """A training configuration that is none."""
        path = self.saved(network("adam", "mse"), ".h5")
        nothing = '{"optimizer_config": {"class_name": "Nothing", "config": {}}}'
        for text in ("[", "[]", "{}", '{"optimizer_config": 1}', nothing):
            with h5py.File(path, "r+") as file:
                file.attrs["training_config"] = text
            self.refused("model.h5` cannot be loaded", path)

    def test_command_line(self) -> None:
        """The option reaches the loader, and an error its exit code."""
        model = trained("adam", "mse", metrics=["mae"])
        paths = [self.saved(model, ".h5"), self.saved(model, ".keras")]
        self.assertEqual(self.main(paths[0], "one")[0], 0)
        code, out, err = self.main(paths[1], "two")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, "^error: .* name the optimizer [^\n]*\n$")
        code, out, err = self.main(paths[1], "two", "--inference-only")
        self.assertEqual((code, err), (0, ""))
        self.assertNotIn("train", out)

    def main(self, path: str, name: str, *options: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        arguments = ["tf-persist-keras-export", path, str(self.folder / name), *options]
        told = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with mock.patch.object(sys, "argv", arguments), told[0], told[1]:
            code = cli.main()
        return code, out.getvalue(), err.getvalue()

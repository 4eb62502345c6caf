"""The functions of the signatures: Keras's own steps with named tensors as inputs and outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from .errors import ExportError, first_line
from .interface import SAMPLE_WEIGHT, Inputs, Specs, Targets, output_names, signature_key

Tensors = dict[str, tf.Tensor]


@dataclass(frozen=True)
class Serving:
    """The traced `serving_default`, its outputs by key, and the structure in which the model returns them."""

    function: Any
    outputs: Specs
    structure: Any


def trace_serving(model: keras.Model, inputs: Inputs) -> Serving:
    """Traces `predict_step`."""
    found: dict[str, Any] = {}

    def predict(**arguments: tf.Tensor) -> Tensors:
        outputs = model.predict_step((inputs.pack(arguments),))
        found["structure"] = keras.tree.map_structure(lambda tensor: object(), outputs)
        leaves = keras.tree.flatten(outputs)
        return dict(zip(output_names(model, outputs), leaves, strict=True))

    function = _trace("serving_default", predict, inputs.specs)
    tensors = function.structured_outputs
    # Tracing reorders a dict; the targets need the order of the flattened structure.
    names = output_names(model, found["structure"])
    outputs = {name: tf.TensorSpec(tensors[name].shape, tensors[name].dtype, name) for name in names}
    return Serving(function, outputs, found["structure"])


def trace_training(model: keras.Model, inputs: Inputs, targets: Targets, weighted: bool) -> dict[str, Any]:
    """Traces `train` and `evaluate`.

    `train` is `train_on_batch`: the metrics are set back, then one `train_step` is made. `evaluate` is `test_on_batch`
    with the metrics put back afterwards, so that it leaves the model as it was. Both answer with `loss` and the metrics
    of the batch alone.
    """
    specs = {**inputs.specs, **targets.specs}
    if weighted:
        if SAMPLE_WEIGHT in specs:
            raise ExportError(f"the model has an input or output called `{SAMPLE_WEIGHT}` of its own")
        specs[SAMPLE_WEIGHT] = tf.TensorSpec([None], tf.float32, SAMPLE_WEIGHT)

    def data(arguments: Mapping[str, tf.Tensor]) -> tuple[Any, ...]:
        return inputs.pack(arguments), targets.pack(arguments), arguments.get(SAMPLE_WEIGHT)

    def train(**arguments: tf.Tensor) -> Tensors:
        model.reset_metrics()
        return _answers(model.train_step(data(arguments)))

    def evaluate(**arguments: tf.Tensor) -> Tensors:
        variables = [variable.value for variable in model.metrics_variables]
        before = [tf.identity(variable) for variable in variables]
        model.reset_metrics()
        answers = {key: tf.identity(value) for key, value in _answers(model.test_step(data(arguments))).items()}
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return answers

    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    # Keras makes the metrics' variables when it first traces a step, too late for that step to reset them.
    _trace("train", train, specs)
    return {"train": _trace("train", train, specs), "evaluate": _trace("evaluate", evaluate, specs)}


def _answers(logs: Any) -> Tensors:
    """The return values of a step, flat and by signature key."""
    if not isinstance(logs, Mapping):
        raise ExportError(f"the model's own step returns a `{type(logs).__name__}`, not a dict of metrics")
    answers: Tensors = {}
    for name, value in logs.items():
        nested = value.items() if isinstance(value, Mapping) else [("", value)]
        answers.update({signature_key(f"{name}_{key}" if key else name): tf.convert_to_tensor(v) for key, v in nested})
    return answers


def _trace(name: str, function: Callable[..., Tensors], specs: Specs) -> Any:
    """The concrete function of `specs`, without XLA and without autograph, as Keras traces its own steps."""
    try:
        return tf.function(function, autograph=False, jit_compile=False).get_concrete_function(**specs)
    except ExportError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{key}: {spec.dtype.name}{spec.shape}" for key, spec in specs.items())
        raise ExportError(
            f"the model does not run as a graph (`{name}` with {shapes}): {type(error).__name__}: {first_line(error)}"
            + ("; a target's dtype and shape can be set with --target" if name != "serving_default" else "")
        ) from error

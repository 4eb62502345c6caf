"""The models of `scripts/bench optimize`: SavedModels, a request to each, and the same in ONNX's format."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.onnx import convert

# What the table says of each.
NAMES = {
    "half_plus_two": "`0.5 x + 2`",
    "mlp": "MLP 784-128-10",
    "mobilenet": "MobileNetV2, 224 x 224",
    "resnet": "ResNet-50, 224 x 224",
    "lstm": "LSTM of 128 units, 100 steps",
    "transformer": "transformer encoder, 4 layers of 256 units, 64 tokens",
    "text": "text model with a table (TextVectorization, Embedding)",
    "embedding": "embedding model, 10 ids of 100,000",
}


@dataclass(frozen=True)
class Model:
    """A model on disk, and why it is not in ONNX's format, if it is not."""

    name: str
    folder: Path
    dtype: str
    shape: list[int]
    not_converted: str | None


def prepare(python: Path, folder: Path, names: list[str]) -> list[Model]:
    """Makes the models that are not there yet, in another process: one for each, to keep memory small."""
    for name in names:
        if not (folder / name / "spec.json").exists():
            subprocess.run([python, "-m", "bench.optimize.models", folder, name], check=True)
    return [Model(name, folder / name, **json.loads((folder / name / "spec.json").read_text())) for name in names]


def _network(name: str) -> tuple[Any, np.ndarray]:
    """A Keras model with random weights, and a request."""
    import keras
    from keras import layers

    from bench.frozen import network, spread_statistics

    keras.utils.set_random_seed(1)
    random = np.random.default_rng(0)
    image = random.random((1, 224, 224, 3), dtype=np.float32)
    match name:
        case "mlp":
            stack = [keras.Input((784,)), layers.Dense(128, "relu"), layers.Dense(10, "softmax")]
            return keras.Sequential(stack), random.random((1, 784), dtype=np.float32)
        case "mobilenet":
            return network(), image
        case "resnet":
            model = keras.applications.ResNet50(weights=None)
            spread_statistics(model)
            return model, image
        case "lstm":
            stack = [keras.Input((100, 32)), layers.LSTM(128), layers.Dense(10, "softmax")]
            return keras.Sequential(stack), random.standard_normal((1, 100, 32), dtype=np.float32)
        case "transformer":
            return _transformer(), random.integers(0, 8000, (1, 64), dtype=np.int32)
        case "text":
            words = [f"word{number}" for number in range(10_000)]
            vectorise = layers.TextVectorization(max_tokens=20_000, output_sequence_length=64)
            vectorise.set_vocabulary(words)
            text = [keras.Input((), dtype="string"), vectorise, layers.Embedding(20_000, 64)]
            model = keras.Sequential([*text, layers.GlobalAveragePooling1D(), layers.Dense(16, "relu"), layers.Dense(1)])
            return model, np.array([" ".join(f"Word{number}, it is." for number in range(0, 200, 7))])
        case "embedding":
            stack = [keras.Input((10,), dtype="int32"), layers.Embedding(100_000, 32), layers.Flatten()]
            model = keras.Sequential([*stack, layers.Dense(64, "relu"), layers.Dense(1, "sigmoid")])
            return model, random.integers(0, 100_000, (1, 10), dtype=np.int32)
    raise ValueError(name)


def _transformer(vocabulary: int = 8000, length: int = 64, width: int = 256, heads: int = 4) -> Any:
    import keras
    from keras import layers

    tokens = keras.Input((length,), dtype="int32")
    # Of the tokens, so that the converter sees a part of the graph.
    positions = layers.Embedding(length, width)(keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1) - 1)
    x = layers.Embedding(vocabulary, width)(tokens) + positions
    for _ in range(4):
        attended = layers.MultiHeadAttention(heads, width // heads)(x, x)
        x = layers.LayerNormalization()(x + attended)
        inner = layers.Dense(4 * width, "relu")(x)
        x = layers.LayerNormalization()(x + layers.Dense(width)(inner))
    return keras.Model(tokens, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))


def _make(folder: Path, name: str) -> None:
    import tensorflow as tf

    if name == "half_plus_two":
        module, request = tf.Module(), np.array([1.5], np.float32)
        module.a, module.b = tf.Variable(0.5), tf.Variable(2.0)
        signature = [tf.TensorSpec([None], tf.float32, "x")]
        call = tf.function(lambda x: {"y": module.a * x + module.b}, input_signature=signature)
        tf.saved_model.save(module, str(folder / "model"), signatures={"serving_default": call})
        key = "x"
    else:
        model, request = _network(name)
        model.export(str(folder / "model"), verbose=False)
        key, dtype = model.inputs[0].name, model.inputs[0].dtype
        signature = [tf.TensorSpec(model.inputs[0].shape, dtype, key)]
        call = tf.function(lambda x: model(x, training=False), input_signature=signature)
    np.savez(folder / "in.npz", **{key: request})
    request.tofile(folder / "in.bin")
    spec = {"dtype": str(request.dtype), "shape": list(request.shape), "not_converted": convert(call, signature, request, folder / "model.onnx")}
    # Written last: it marks a complete model.
    (folder / "spec.json").write_text(json.dumps(spec))


def main() -> None:
    """`FOLDER NAME`: makes a model."""
    folder = Path(sys.argv[1]) / sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    print(f"bench optimize: making {sys.argv[2]}", file=sys.stderr)
    _make(folder, sys.argv[2])


if __name__ == "__main__":
    main()

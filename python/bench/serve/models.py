"""The served models, and requests with Python's answers."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import onnx

NAMES = ("tiny", "mlp", "mobilenet")


@dataclass(frozen=True)
class Model:
    """A model on disk; `base` has its versions."""

    name: str
    base: Path
    requests: Path

    @property
    def version(self) -> Path:
        """The folder of its first version."""
        return self.base / "1"

    @property
    def onnx(self) -> Path:
        """The same in ONNX's format, if it was converted."""
        return self.base.with_suffix(".onnx")


def prepare(folder: Path, names: tuple[str, ...]) -> list[Model]:
    """Makes the models that are not there yet, in another process, to keep the memory of this one small."""
    subprocess.run([sys.executable, "-m", "bench.serve.models", str(folder), *names], check=True)
    made = [Model(name, folder / name, folder / f"{name}.json") for name in names]
    for model in made:
        if onnx.PYTHON.exists() and not model.onnx.exists():
            subprocess.run([onnx.PYTHON, "-m", "bench.onnx", str(model.version), str(model.onnx)], check=False)
    return made


def _make(folder: Path, name: str) -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    random = np.random.default_rng(0)
    if name == "tiny":
        module = tf.Module()
        module.a, module.b = tf.Variable(0.5), tf.Variable(2.0)
        shape, count = (1, 1), 64
        call = lambda x: module.a * x + module.b  # noqa: E731
    elif name == "mlp":
        module = keras.Sequential(
            [keras.Input((784,)), keras.layers.Dense(128, "relu"), keras.layers.Dense(10, "softmax")]
        )
        shape, count = (1, 784), 64
        call = module
    else:
        module = keras.applications.MobileNetV2(weights=None, input_shape=(224, 224, 3))
        shape, count = (1, 224, 224, 3), 4
        call = lambda x: module(x, training=False)  # noqa: E731
    saved = module
    if name != "tiny":
        saved = tf.Module()
        # Plain variables: the wrappers of Keras would be saved as copies.
        saved.weights = [weight.value for weight in module.weights]

    @tf.function(input_signature=[tf.TensorSpec([None, *shape[1:]], tf.float32, "x")])
    def serve(x):
        return {"y": call(x)}

    tf.saved_model.save(saved, str(folder / name / "1"), signatures={"serving_default": serve})
    cases = []
    for _ in range(count):
        values = random.random(shape, dtype=np.float32)
        # Few digits, as in hand-written JSON.
        values = np.round(values, 4).astype(np.float32)
        cases.append({"values": values.ravel().tolist(), "expected": serve(values)["y"].numpy().ravel().tolist()})
    requests = {"input": "x", "output": "y", "shape": list(shape), "cases": cases}
    # Written last and atomically: it marks a complete model.
    temporary = folder / f"{name}.json.part"
    temporary.write_text(json.dumps(requests))
    temporary.rename(folder / f"{name}.json")


def main() -> None:
    """`FOLDER NAME…`: makes missing models."""
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        if not (folder / f"{name}.json").exists():
            print(f"bench_serve: making {name}", file=sys.stderr)
            _make(folder, name)


if __name__ == "__main__":
    main()

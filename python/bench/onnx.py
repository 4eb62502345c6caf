"""Models in ONNX's format, for the rivals of `scripts/bench optimize` and `scripts/bench serve`.

`python -m bench.onnx SAVED_MODEL DST.onnx` converts a signature with the one input `x`; it runs in the rivals' environment.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-bench/onnx/bin/python"


def library() -> Path:
    """pip's libonnxruntime."""
    return next(PYTHON.parent.parent.glob("lib/*/site-packages/onnxruntime/capi/libonnxruntime.so*"))


def convert(call: Any, signature: list, request: np.ndarray, path: Path) -> str | None:
    """Writes a model in ONNX's format, or says why it cannot."""
    try:
        import onnxruntime
        import tf2onnx
        from keras.src.export.tf2onnx_lib import patch_tf2onnx
    except ImportError:
        return "not installed"
    patch_tf2onnx()
    part = path.with_suffix(".part")
    try:
        tf2onnx.convert.from_function(call, signature, opset=18, output_path=str(part))
        # The converter writes ops that it does not know as they are.
        session = onnxruntime.InferenceSession(part)
        session.run(None, {session.get_inputs()[0].name: request})
    except Exception as error:
        return f"not converted: {str(error).splitlines()[0][:100]}"
    os.replace(part, path)
    return None


def main() -> None:
    """The command line."""
    import tensorflow as tf

    loaded = tf.saved_model.load(sys.argv[1])
    served = loaded.signatures["serving_default"]
    spec = served.structured_input_signature[1]["x"]
    call = tf.function(lambda x: served(x=x)["y"], input_signature=[spec])
    request = np.zeros([1 if size is None else size for size in spec.shape], np.float32)
    if why := convert(call, [spec], request, Path(sys.argv[2])):
        sys.exit(f"error: {why}")


if __name__ == "__main__":
    main()

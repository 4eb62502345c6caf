"""The fast path against the default session and ONNX Runtime."""

"""Makes the models that the checks of the Open Inference Protocol serve: `python -m checks.v2_models FOLDER`.

`simple`, `simple_string` and `simple_identity` are like the models of the same names that Triton's examples ask; `echo` gives back a
tensor of any datatype, each with a signature of its name; `iris` is like that of KServe's.
"""

import sys
from pathlib import Path

import tensorflow as tf

DTYPES = {
    "BOOL": tf.bool,
    "UINT8": tf.uint8,
    "UINT16": tf.uint16,
    "UINT32": tf.uint32,
    "UINT64": tf.uint64,
    "INT8": tf.int8,
    "INT16": tf.int16,
    "INT32": tf.int32,
    "INT64": tf.int64,
    "FP16": tf.float16,
    "BF16": tf.bfloat16,
    "FP32": tf.float32,
    "FP64": tf.float64,
    "BYTES": tf.string,
}


def main() -> None:
    folder = Path(sys.argv[1])
    save = lambda name, signatures: tf.saved_model.save(tf.Module(), str(folder / name / "1"), signatures=signatures)  # noqa: E731

    def pair(dtype: tf.DType):
        return [tf.TensorSpec([None, 16], dtype, name) for name in ("INPUT0", "INPUT1")]

    @tf.function(input_signature=pair(tf.int32))
    def simple(INPUT0, INPUT1):  # noqa: N803
        return {"OUTPUT0": INPUT0 + INPUT1, "OUTPUT1": INPUT0 - INPUT1}

    @tf.function(input_signature=pair(tf.string))
    def simple_string(INPUT0, INPUT1):  # noqa: N803
        numbers = [tf.strings.to_number(text, tf.int32) for text in (INPUT0, INPUT1)]
        return {"OUTPUT0": tf.strings.as_string(numbers[0] + numbers[1]), "OUTPUT1": tf.strings.as_string(numbers[0] - numbers[1])}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, "INPUT0")])
    def simple_identity(INPUT0):  # noqa: N803
        return {"OUTPUT0": tf.identity(INPUT0)}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, "input-0")])
    def iris(rows):
        return {"output-0": tf.cast(tf.argmax(rows, axis=1), tf.int32)}

    save("simple", simple)
    save("simple_string", simple_string)
    save("simple_identity", simple_identity)
    save("iris", iris)

    def echo(dtype: tf.DType):
        return tf.function(lambda x: {"y": tf.identity(x)}, input_signature=[tf.TensorSpec(None, dtype, "x")])

    signatures = {name: echo(dtype) for name, dtype in DTYPES.items()}
    save("echo", {"serving_default": echo(tf.float32), **signatures})


if __name__ == "__main__":
    main()

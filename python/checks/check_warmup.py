"""Checks recorded requests with Python: TensorFlow's own reader of the file, and its protobufs.

    python -m checks.check_warmup DIR=META ...    DIR/assets.extra/tf_serving_warmup_requests against META/meta.json and io.npz

Every record must be the request and the answer of one of the recorded cases. One line a model; exit code 1 if any fails.
`tensorflow-serving-api` is not needed: its messages are put together here, field numbers and all, around TensorFlow's.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tf_persist_keras.recorded.cases import Tolerance
from tf_persist_keras.recorded.compare import Mismatch, largest_difference
from tf_persist_keras.recorded.entries import decode

FILE = "assets.extra/tf_serving_warmup_requests"
TENSOR = ".tensorflow.TensorProto"

# The messages of tensorflow_serving/apis that a recorded request has: name, number and type of each field. `map` is a map from
# texts to tensors.
MESSAGES = {
    "ModelSpec": [("name", 1, "text"), ("signature_name", 3, "text")],
    "PredictRequest": [("model_spec", 1, "ModelSpec"), ("inputs", 2, "map"), ("output_filter", 3, "texts")],
    "PredictResponse": [("outputs", 1, "map"), ("model_spec", 2, "ModelSpec")],
    "PredictLog": [("request", 1, "PredictRequest"), ("response", 2, "PredictResponse")],
    "LogMetadata": [("model_spec", 1, "ModelSpec"), ("saved_model_tags", 3, "texts")],
    "PredictionLog": [("log_metadata", 1, "LogMetadata"), ("predict_log", 6, "PredictLog")],
}


def prediction_log() -> type:
    """The class of `tensorflow.serving.PredictionLog`, as far as it is needed."""
    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="warmup.proto", package="tensorflow.serving", syntax="proto3")
    file.dependency.append("tensorflow/core/framework/tensor.proto")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, of in fields:
            added = message.field.add(name=field, number=number, type=kind.TYPE_MESSAGE, label=kind.LABEL_OPTIONAL)
            if of in ("text", "texts"):
                added.type = kind.TYPE_STRING
            elif of == "map":
                entry = message.nested_type.add(name=f"{field.capitalize()}Entry")
                entry.options.map_entry = True
                entry.field.add(name="key", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
                entry.field.add(
                    name="value", number=2, type=kind.TYPE_MESSAGE, label=kind.LABEL_OPTIONAL, type_name=TENSOR
                )
                added.type_name = f".tensorflow.serving.{name}.{entry.name}"
            else:
                added.type_name = f".tensorflow.serving.{of}"
            if of in ("texts", "map"):
                added.label = kind.LABEL_REPEATED
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.PredictionLog"))


def arrays(tensors: dict) -> dict[str, np.ndarray]:
    """Tensors by name as numpy has them."""
    return {name: tf.make_ndarray(tensor) for name, tensor in tensors.items()}


def check(model: Path, recorded: Path, log_class: type) -> str:
    """Compares every record with the case of its signature that has its inputs."""
    meta = json.loads((recorded / "meta.json").read_text(encoding="utf-8"))
    tolerance, exact = Tolerance(**meta["tolerance"]), Tolerance(atol=0.0, rtol=0.0)
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(model / FILE))]
    with np.load(recorded / "io.npz") as npz:
        cases = [(case["signature"], decode(case["inputs"], npz), decode(case["outputs"], npz)) for case in meta["cases"]]
    for number, data in enumerate(records, 1):
        log = log_class.FromString(data)
        if log.SerializeToString(deterministic=True) != log_class.FromString(log.SerializeToString()).SerializeToString(
            deterministic=True
        ):
            raise Mismatch(f"record {number} does not survive being written again")
        asked = log.predict_log.request
        inputs, outputs = arrays(asked.inputs), arrays(log.predict_log.response.outputs)
        for signature, wanted, answers in cases:
            if signature == asked.model_spec.signature_name and _equal(inputs, wanted, exact):
                largest_difference(outputs, answers, tolerance)
                break
        else:
            raise Mismatch(f"record {number}, `{asked.model_spec.signature_name}`, is none of the recorded cases")
    return f"{len(records)} records"


def _equal(fresh: dict, recorded: dict, exact: Tolerance) -> bool:
    try:
        return largest_difference(fresh, recorded, exact) == 0.0
    except Mismatch:
        return False


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="DIR=META")
    failed = False
    log_class = prediction_log()
    for pair in parser.parse_args().pairs:
        model, _, recorded = pair.partition("=")
        try:
            print(f"ok {Path(recorded).name}: {check(Path(model), Path(recorded), log_class)}", flush=True)
        except Exception as error:
            failed = True
            print(f"FAIL {Path(recorded).name}: {type(error).__name__}: {error}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

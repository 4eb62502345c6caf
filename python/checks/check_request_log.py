"""Reads the request log of `tf-persist serve-local` with TensorFlow's TFRecordDataset and TensorFlow Serving's own messages.

    python -m checks.check_request_log --tf-persist target/debug/tf-persist

The digits are asked over gRPC and REST with a log as TFRecords and one as JSON lines; the records are compared with the requests and
answers, `run --requests` and `verify --requests` read both files, and a server that is killed leaves a readable file. Exit code 1 if
anything is not as it should be.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from checks.check_serve import ROOT, SECONDS, Failed, Server

MODEL = ROOT / "models" / "digits" / "model"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "digits"
        base.mkdir()
        (base / "3").symlink_to(MODEL)
        try:
            for kind in ("tfrecord", "jsonl"):
                _check(arguments.tf_persist, base, Path(folder) / kind, kind)
        except Failed as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


def _check(tf_persist: Path, base: Path, log: Path, kind: str) -> None:
    flags = [f"--model_base_path={base}", "--model_name=digits", f"--request_log={log}", f"--request_log_format={kind}"]
    images = np.random.default_rng(7).random((3, 8, 8, 1), np.float32)
    server = Server(tf_persist, flags, base.parent / "server.log")
    server.wait_until_ready()
    answers = [server.predict("digits", "", {"image": images[:1]}), server.predict("digits", "", {"image": images})]
    body = json.dumps({"instances": images.tolist()})
    code, text = server.curl("/v1/models/digits:predict", "--data", body, "--header", "X-Request-Id: from curl")
    if code != 200:
        raise Failed(text)
    if server.end() != 0:
        raise Failed("the server did not end with 0")
    [file] = log.iterdir()
    if not file.name.endswith(f".{kind}"):
        raise Failed(f"the file is {file.name}")
    if kind == "tfrecord":
        _compare_records(file, images, answers)
    else:
        _compare_lines(file, images, answers)
    _read_back(tf_persist, file, 3)

    # A server that is killed leaves what it wrote, and the next one completes the file.
    server = Server(tf_persist, flags, base.parent / "server.log")
    server.wait_until_ready()
    server.predict("digits", "", {"image": images})
    end = time.monotonic() + SECONDS
    while not any(path.name.endswith(".part") and path.stat().st_size for path in log.iterdir()):
        if time.monotonic() > end:
            raise Failed("the record is not written")
        time.sleep(0.02)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(SECONDS)
    [part] = [path for path in log.iterdir() if path.name.endswith(".part")]
    if kind == "tfrecord" and len(_logs(part)) != 1:
        raise Failed("the file of a killed server cannot be read")
    server = Server(tf_persist, flags, base.parent / "server.log")
    server.wait_until_ready()
    server.predict("digits", "", {"image": images})
    server.end()
    files = sorted(log.iterdir())
    if len(files) != 3 or not all(path.name.endswith(f".{kind}") for path in files):
        raise Failed(f"the files are {files}")
    for path, count in zip(files, (3, 1, 1), strict=True):
        _read_back(tf_persist, path, count)


def _logs(file: Path) -> list[prediction_log_pb2.PredictionLog]:
    return [prediction_log_pb2.PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))]


def _compare_records(file: Path, images: np.ndarray, answers: list[dict[str, np.ndarray]]) -> None:
    logs = _logs(file)
    if len(logs) != 3:
        raise Failed(f"there are {len(logs)} records")
    for log, rows, answer in zip(logs, (1, 3, 3), (answers[0], answers[1], answers[1]), strict=True):
        spec = log.log_metadata.model_spec
        if (spec.name, spec.version.value, spec.signature_name) != ("digits", 3, "serving_default"):
            raise Failed(f"the model is {spec}")
        if log.log_metadata.sampling_config.sampling_rate != 1.0 or list(log.log_metadata.saved_model_tags) != ["serve"]:
            raise Failed(f"the metadata is {log.log_metadata}")
        if abs(log.log_metadata.timestamp_secs - time.time()) > SECONDS:
            raise Failed("the time is wrong")
        _equal(tf.make_ndarray(log.predict_log.request.inputs["image"]), images[:rows])
        for name, expected in answer.items():
            _equal(tf.make_ndarray(log.predict_log.response.outputs[name]), expected)


def _compare_lines(file: Path, images: np.ndarray, answers: list[dict[str, np.ndarray]]) -> None:
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for line, rows, answer in zip(lines, (1, 3, 3), (answers[0], answers[1], answers[1]), strict=True):
        if (line["model"], line["version"], line["signature_name"], line["status"]) != ("digits", 3, "serving_default", "OK"):
            raise Failed(f"the line is {line}")
        _equal(np.array(line["inputs"]["image"], np.float32), images[:rows])
        for name, expected in answer.items():
            _equal(np.array(line["outputs"][name], expected.dtype), expected)
    if [line.get("id") for line in lines] != [None, None, "from curl"]:
        raise Failed("the request has another id")


def _equal(found: np.ndarray, expected: np.ndarray) -> None:
    if found.dtype != expected.dtype or not np.array_equal(found, expected):
        raise Failed(f"{found} instead of {expected}")


def _read_back(tf_persist: Path, file: Path, count: int) -> None:
    run = [tf_persist, "run", MODEL, "--requests", file]
    answers = subprocess.run(run, check=True, capture_output=True, text=True, timeout=SECONDS).stdout.splitlines()
    if len(answers) != count or not all("outputs" in json.loads(answer) for answer in answers):
        raise Failed(f"`run --requests {file}` answers {answers}")
    verify = [tf_persist, "verify", MODEL, "--requests", file, "--format", "json"]
    report = subprocess.run(verify, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
    if json.loads(report)["verdict"] != "same":
        raise Failed(f"`verify --requests {file}` says {report}")
    print(f"{file.name}: {count} requests read back")


if __name__ == "__main__":
    sys.exit(main())

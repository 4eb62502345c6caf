"""Calls `tf-persist serve-local` with TensorFlow Serving's own Python client and with curl, as its users do.

    python -m checks.check_serve --tf-persist target/debug/tf-persist               the models of models/
    python -m checks.check_serve --tf-persist … --corpus DIR                        and those of a corpus of real models

Every recorded case of every model is asked over gRPC (`tensorflow-serving-api`) and compared with Python's recorded answer; the
digits are asked over REST with curl, plain, gzipped and wrongly; a version is published, deleted and the server told to end while
it is asked. Exit code 1 if anything is not as it should be.
"""

import argparse
import contextlib
import gzip
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_persist_keras.recorded.cases import Tolerance
from tf_persist_keras.recorded.compare import Mismatch, largest_difference
from tf_persist_keras.recorded.entries import decode

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Failed(Exception):
    """A check failed."""


class Server:
    """A server process and its clients."""

    def __init__(self, tf_persist: Path, arguments: list[str], log: Path) -> None:
        self.grpc_port, self.rest_port = _free_port(), _free_port()
        command = [tf_persist, "serve-local", f"--port={self.grpc_port}", f"--rest_api_port={self.rest_port}", *arguments]
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}", options=ANY_SIZE)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def wait_until_ready(self) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise Failed(f"the server ended with {self.process.returncode}:\n{self.log.read_text()[-2000:]}")
            with contextlib.suppress(OSError, urllib.error.URLError):
                with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/readyz", timeout=5) as reply:
                    if reply.status == 200:
                        return
            time.sleep(0.05)
        raise Failed(f"the server was not ready after {SECONDS} s:\n{self.log.read_text()[-2000:]}")

    def curl(self, path: str, *arguments: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.rest_port}{path}"
        command = ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *arguments, url]
        text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout
        body, _, code = text.rpartition("\n")
        return int(code), body

    def predict(self, model: str, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = model, signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        answer = self.prediction.Predict(request, SECONDS)
        return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}

    def versions(self, model: str) -> dict[int, str]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        states = get_model_status_pb2.ModelVersionStatus.State
        answer = self.models.GetModelStatus(request, SECONDS)
        return {status.version: states.Name(status.state) for status in answer.model_version_status}

    def wait_for(self, model: str, expected: dict[int, str]) -> None:
        end = time.monotonic() + SECONDS
        while (found := self.versions(model)) != expected:
            if time.monotonic() > end:
                raise Failed(f"the versions of `{model}` are {found} instead of {expected}")
            time.sleep(0.05)

    def end(self) -> int:
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    parser.add_argument("--corpus", type=Path, help="a corpus of real models")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            _check_recorded(arguments.tf_persist, _recorded_models(arguments.corpus), Path(folder))
            _check_rest_and_life(arguments.tf_persist, Path(folder))
        except (Failed, Mismatch, grpc.RpcError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


def _recorded_models(corpus: Path | None) -> list[Path]:
    """Models with recorded cases that need neither op libraries nor session options that the server lacks."""
    folders = [path.parent for path in sorted((ROOT / "models").glob("*/meta.json"))]
    if corpus:
        folders += [path.parent for path in sorted((corpus / "dev").glob("*/meta.json"))]
    chosen = []
    for folder in folders:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        graphs = meta.get("meta_graphs") or []
        servable = len(graphs) == 1 or any(graph["tags"] == ["serve"] for graph in graphs)
        if (folder / "model").is_dir() and meta.get("cases") and servable and not meta.get("custom_op_libs"):
            chosen.append(folder)
    return chosen


def _check_recorded(tf_persist: Path, models: list[Path], scratch: Path) -> None:
    """Sends each recorded case of each model over gRPC to one server of all models."""
    config = []
    for model in models:
        base = scratch / "recorded" / model.name
        base.mkdir(parents=True)
        (base / "1").symlink_to(model / "model")
        config.append(f'config {{ name: "{model.name}" base_path: "{base}" model_platform: "tensorflow" }}')
    file = scratch / "models.config"
    file.write_text("model_config_list { %s }\n" % "\n".join(config), encoding="utf-8")
    server = Server(tf_persist, [f"--model_config_file={file}"], scratch / "recorded.log")
    try:
        server.wait_until_ready()
        for model in models:
            meta = json.loads((model / "meta.json").read_text(encoding="utf-8"))
            served = [tuple(graph["tags"]) for graph in meta["meta_graphs"]]
            tags = served[0] if len(served) == 1 else ("serve",)
            tolerance, asked, largest = Tolerance(**meta["tolerance"]), 0, 0.0
            with np.load(model / "io.npz") as npz:
                for case in meta["cases"]:
                    if tuple(case.get("tags", meta["tags"])) != tags:
                        continue
                    answers = server.predict(model.name, case["signature"], decode(case["inputs"], npz))
                    try:
                        largest = max(largest, largest_difference(answers, decode(case["outputs"], npz), tolerance))
                    except Mismatch as error:
                        raise Failed(f"{model.name}, signature `{case['signature']}`: {error}") from None
                    asked += 1
            print(f"{model.name}: {asked} cases over gRPC, largest difference {largest:.3g}")
        if code := server.end():
            raise Failed(f"the server ended with {code}")
    finally:
        server.process.kill()


def _check_rest_and_life(tf_persist: Path, scratch: Path) -> None:
    """Classifies digits with curl while versions are added and removed."""
    model, base = ROOT / "models" / "digits", scratch / "digits"
    shutil.copytree(model / "model", base / "1")
    server = Server(tf_persist, ["--model_name=digits", f"--model_base_path={base}"], scratch / "digits.log")
    try:
        server.wait_until_ready()
        _check_curl(server, model, scratch)
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "digits"
        signatures = get_model_metadata_pb2.SignatureDefMap()
        server.prediction.GetModelMetadata(metadata, SECONDS).metadata["signature_def"].Unpack(signatures)
        _expect("signatures", "serving_default" in signatures.signature_def, True)
        with _asking(server, model) as answers:
            shutil.copytree(model / "model", base / ".copying")
            (base / ".copying").rename(base / "2")
            server.wait_for("digits", {2: "AVAILABLE", 1: "END"})
            shutil.rmtree(base / "2")
            server.wait_for("digits", {2: "END", 1: "AVAILABLE"})
        print(f"digits: {answers['given']} answers while a version was published and rolled back, none failed")
        _expect("exit code after SIGTERM", server.end(), 0)
    finally:
        server.process.kill()


def _check_curl(server: Server, model: Path, scratch: Path) -> None:
    meta = json.loads((model / "meta.json").read_text(encoding="utf-8"))
    with np.load(model / "io.npz") as npz:
        case = meta["cases"][0]
        [image], [expected] = decode(case["inputs"], npz).values(), decode(case["outputs"], npz).values()
    body = json.dumps({"instances": image.tolist()}).encode()
    (scratch / "plain.json").write_bytes(body)
    (scratch / "gzipped").write_bytes(gzip.compress(body))
    url = "/v1/models/digits:predict"
    gzipped = ["--header", "Content-Encoding: gzip", "--data-binary", f"@{scratch / 'gzipped'}"]
    for what, arguments in {"plain": ["--data", f"@{scratch / 'plain.json'}"], "gzipped": gzipped}.items():
        code, text = server.curl(url, *arguments)
        _expect(f"code of a {what} request", code, 200)
        found = np.array(json.loads(text)["predictions"], dtype=np.float32)
        largest_difference({"probabilities": found}, {"probabilities": expected}, Tolerance(**meta["tolerance"]))
    _expect("code of a broken request", server.curl(url, "--data", "{")[0], 400)
    _expect("code of an unknown model", server.curl("/v1/models/letters")[0], 404)
    code, text = server.curl("/v1/models/digits")
    _expect("state", (code, json.loads(text)["model_version_status"][0]["state"]), (200, "AVAILABLE"))
    code, text = server.curl("/v1/models/digits/metadata")
    _expect("metadata", (code, json.loads(text)["model_spec"]["version"]), (200, "1"))
    print("digits: asked with curl")


@contextlib.contextmanager
def _asking(server: Server, model: Path) -> Iterator[dict[str, int]]:
    """Sends requests repeatedly in another thread; every answer must be the recorded one."""
    meta = json.loads((model / "meta.json").read_text(encoding="utf-8"))
    case, tolerance = meta["cases"][0], Tolerance(**meta["tolerance"])
    with np.load(model / "io.npz") as npz:
        inputs, expected = decode(case["inputs"], npz), decode(case["outputs"], npz)
    answers, failures, stop = {"given": 0}, [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                largest_difference(server.predict("digits", case["signature"], inputs), expected, tolerance)
                answers["given"] += 1
            except (Mismatch, grpc.RpcError) as error:
                failures.append(error)
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
    if failures:
        raise Failed(f"after {answers['given']} answers: {failures[0]}")
    _expect("answers", answers["given"] > 0, True)


def _expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Failed(f"{what}: {found} instead of {expected}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())

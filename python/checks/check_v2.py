"""Calls `tf-persist serve-local` with the clients of the Open Inference Protocol: Triton's here, KServe's in check_v2_kserve.

    python -m checks.check_v2 --tf-persist target/debug/tf-persist

It needs `tritonclient[http,grpc]` and `kserve`, which `scripts/test` installs with TensorFlow beside them. The two register protobuf
messages of the same names, so that one process cannot import both. Exit code 1 if anything is not as it should be.
"""

import argparse
import asyncio
import contextlib
import queue
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import InferenceServerException

from checks import v2_examples
from checks.v2_server import Failed, Server, expect

DATATYPES: dict[str, np.ndarray] = {
    "BOOL": np.array([[True, False], [False, True]]),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 65535], np.uint16),
    "UINT32": np.array([0, 2**32 - 1], np.uint32),
    "UINT64": np.array([0, 2**64 - 1], np.uint64),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-(2**15), 2**15 - 1], np.int16),
    "INT32": np.array([[[-(2**31), 2**31 - 1]]], np.int32),
    "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
    "FP16": np.array([0.1, -65504, np.inf], np.float16),
    "FP32": np.array([0.1, 1e-45, -np.inf, 16777216, 3.4028235e38], np.float32),
    "FP64": np.array([0.1, 5e-324, np.inf, 1.7976931348623157e308], np.float64),
    "BYTES": np.array([["ä".encode(), b""], [b"two", b"three"]], np.object_),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "checks.v2_models", folder], check=True, stderr=subprocess.DEVNULL)
        try:
            with Server(arguments.tf_persist, folder) as server:
                _check_http(server)
                _check_grpc(server)
                asyncio.run(_check_async(server))
                v2_examples.run(server.http, server.grpc)
                addresses = [server.http, server.grpc]
                subprocess.run([sys.executable, "-m", "checks.check_v2_kserve", *addresses], check=True)
                _check_stop(server)
        except (Failed, InferenceServerException, subprocess.CalledProcessError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print("Triton's and KServe's clients: health, metadata, tensors, compression, errors")
    return 0


def refused(words: str, call: Callable[[], Any]) -> None:
    """Checks that a call fails, and that the client can print why."""
    try:
        call()
    except InferenceServerException as error:
        expect(words in str(error), f"`{words}` is not in: {error}")
        return
    raise Failed(f"a call that must fail with `{words}` did not fail")


def same(found: np.ndarray | None, expected: np.ndarray, what: str) -> None:
    """Compares arrays; NaN equals NaN. Strings of JSON come as text."""
    expect(found is not None and found.shape == expected.shape, f"{what}: {None if found is None else found.shape}")
    if expected.dtype == np.object_:
        encoded = [text.encode() if isinstance(text, str) else text for text in found.ravel()]
        expect(encoded == expected.ravel().tolist(), f"{what}: {found} instead of {expected}")
        return
    equal = found == expected if expected.dtype.kind not in "fV" else (found == expected) | ((found != found) & (expected != expected))
    expect(bool(np.all(equal)), f"{what}: {found} instead of {expected}")


def _check_http(server: Server) -> None:
    client = tritonclient.http.InferenceServerClient(server.http)
    _check_pages(client, as_json=True)
    expect(client.get_model_metadata("simple")["inputs"][0] == {"name": "INPUT0", "datatype": "INT32", "shape": [-1, 16]}, "metadata")
    expect(client.get_model_config("simple")["input"][0]["data_type"] == "TYPE_INT32", "config")
    statistics = client.get_inference_statistics("simple")["model_stats"][0]
    expect(statistics["version"] == "1", str(statistics))
    refused("shared memory is not supported", lambda: client.register_system_shared_memory("r", "/r", 64))
    refused("shared memory is not supported", lambda: client.get_cuda_shared_memory_status())
    refused("trace extension is not supported", lambda: client.get_trace_settings())

    def infer(
        model: str, array: np.ndarray, datatype: str, binary: bool, output: bool | None, signature: str = "", **more: Any
    ) -> np.ndarray | None:
        tensor = tritonclient.http.InferInput("x", array.shape, datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        outputs = None if output is None else [tritonclient.http.InferRequestedOutput("y", binary_data=output)]
        parameters = {"signature_name": signature or datatype}
        answer = client.infer(model, [tensor], outputs=outputs, parameters=parameters, request_id="an id", **more)
        expect(answer.get_response()["id"] == "an id" and answer.get_response()["model_version"] == "1", "id and version")
        return answer.as_numpy("y")

    for datatype, array in DATATYPES.items():
        for binary in (True, False):
            for output in (True, False, None):
                found = infer("echo", array, datatype, binary, output)
                same(found, array, f"HTTP, {datatype}, binary in {binary}, out {output}")
    bfloat16 = np.array([1.5, -0.25], ml_dtypes.bfloat16)
    same(infer("echo", bfloat16, "BF16", True, True).astype(np.float32), bfloat16.astype(np.float32), "HTTP, BF16")
    special = np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)
    for output in (True, False):
        same(infer("echo", special, "FP32", False, output), special, "HTTP, not finite")
    no_text = np.array([b"\xff\x00"], np.object_)
    same(infer("echo", no_text, "BYTES", True, True), no_text, "HTTP, bytes that are no text")
    refused("is not UTF-8; request the output in binary", lambda: infer("echo", no_text, "BYTES", True, False))
    empty = np.zeros([0, 3], np.float32)
    same(infer("echo", empty, "FP32", True, True), empty, "HTTP, empty")
    large = np.random.default_rng(0).random([512, 512]).astype(np.float32)
    for algorithm in ("gzip", "deflate"):
        for array in (large, np.zeros([2], np.float32)):
            compressed = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
            for binary in (True, False):
                same(infer("echo", array, "FP32", binary, binary, **compressed), array, f"HTTP, {algorithm}")
    refused("no signature `none`", lambda: infer("echo", special, "FP32", True, True, signature="none"))
    refused("is FP32, and the signature expects INT8", lambda: infer("echo", special, "FP32", True, True, signature="INT8"))
    refused("Servable not found", lambda: infer("none", special, "FP32", True, True))
    refused("Specific(echo, 9)", lambda: infer("echo", special, "FP32", True, True, model_version="9"))
    refused("version label: stable", lambda: infer("echo", special, "FP32", True, True, model_version="stable"))
    refused("sequences are not supported", lambda: infer("echo", special, "FP32", True, True, sequence_id=7))
    same(infer("echo", special, "FP32", True, True, priority=1, timeout=10_000_000), special, "HTTP, priority and timeout")

    classes = [tritonclient.http.InferRequestedOutput("OUTPUT0", class_count=2)]
    found = client.infer("simple", v2_examples.pair(tritonclient.http), outputs=classes).as_numpy("OUTPUT0")
    expect(found.tolist() == [[b"16:15", b"15:14"]], f"classes: {found}")
    pending = [client.async_infer("simple", v2_examples.pair(tritonclient.http)) for _ in range(20)]
    for answer in pending:
        same(answer.get_result().as_numpy("OUTPUT0"), np.arange(1, 17, dtype=np.int32).reshape(1, 16), "HTTP, async_infer")
    client.close()


def _check_pages(client: Any, as_json: bool) -> None:
    """Everything but inference, over either protocol."""
    expect(client.is_server_live() and client.is_server_ready(), "the server is live and ready")
    expect(client.is_model_ready("simple") and client.is_model_ready("simple", "1"), "a model is ready")
    expect(not client.is_model_ready("simple", "9") and not client.is_model_ready("none"), "what is not there is not ready")
    metadata = client.get_server_metadata()
    expect((metadata["name"] if as_json else metadata.name) == "tf-persist", "the name of the server")
    index = client.get_model_repository_index()
    ready = {entry["name"]: entry["state"] for entry in index} if as_json else {entry.name: entry.state for entry in index.models}
    names = ("echo", "iris", "simple", "simple_identity", "simple_string")
    expect(ready == dict.fromkeys(names, "READY"), f"the index: {ready}")
    client.load_model("simple")
    refused("parameters are not supported", lambda: client.load_model("simple", config="{}"))
    refused("`none` is not configured", lambda: client.load_model("none"))
    refused("cannot be unloaded by clients", lambda: client.unload_model("simple"))
    refused("Servable not found", lambda: client.get_model_metadata("none"))


def _check_grpc(server: Server) -> None:
    client = tritonclient.grpc.InferenceServerClient(server.grpc)
    _check_pages(client, as_json=False)
    tensor = client.get_model_metadata("simple").inputs[0]
    expect((tensor.name, tensor.datatype, list(tensor.shape)) == ("INPUT0", "INT32", [-1, 16]), f"metadata: {tensor}")
    config = client.get_model_config("simple", as_json=True)["config"]
    expect(config["input"][0]["data_type"] == "TYPE_INT32", f"config: {config}")
    statistics = client.get_inference_statistics().model_stats
    expect(any(entry.inference_count > 50 for entry in statistics), f"statistics: {statistics}")
    refused("shared memory is not supported", lambda: client.register_system_shared_memory("r", "/r", 64))
    refused("LogSettings is not supported", lambda: client.get_log_settings())

    def infer(model: str, array: np.ndarray, datatype: str, signature: str = "", **more: Any) -> np.ndarray | None:
        tensor = tritonclient.grpc.InferInput("x", array.shape, datatype)
        tensor.set_data_from_numpy(array)
        parameters = {"signature_name": signature or datatype}
        answer = client.infer(model, [tensor], parameters=parameters, request_id="an id", **more)
        expect(answer.get_response().id == "an id", "id")
        return answer.as_numpy("y")

    arrays = DATATYPES | {"BYTES": np.array([b"\xff\x00", b""], np.object_)}
    for datatype, array in arrays.items():
        same(infer("echo", array, datatype), array, f"gRPC, {datatype}")
    bfloat16 = np.array([1.5, -0.25], ml_dtypes.bfloat16)
    same(infer("echo", bfloat16, "BF16").astype(np.float32), bfloat16.astype(np.float32), "gRPC, BF16")
    large = np.random.default_rng(0).random([512, 512]).astype(np.float32)
    for algorithm in ("gzip", "deflate"):
        same(infer("echo", large, "FP32", compression_algorithm=algorithm), large, f"gRPC, {algorithm}")
    refused("no signature `none`", lambda: infer("echo", large, "FP32", signature="none"))
    refused("Specific(echo, 9)", lambda: infer("echo", large, "FP32", model_version="9"))
    refused("sequences are not supported", lambda: infer("echo", large, "FP32", sequence_id=7))
    # The client gives up by itself, or the server's answer comes first: only the code is the same.
    refused("StatusCode.DEADLINE_EXCEEDED", lambda: infer("echo", large, "FP32", client_timeout=1e-6))
    same(infer("echo", large, "FP32", priority=1, timeout=10_000_000), large, "gRPC, priority and timeout")
    classes = [tritonclient.grpc.InferRequestedOutput("OUTPUT0", class_count=2)]
    found = client.infer("simple", v2_examples.pair(tritonclient.grpc), outputs=classes).as_numpy("OUTPUT0")
    expect(found.tolist() == [[b"16:15", b"15:14"]], f"classes: {found}")

    # Streams are refused, and the client says why.
    answers: queue.Queue = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put(error))
    # The refusal may come first; the client then refuses by itself, and says that the callback has the reason.
    with contextlib.suppress(InferenceServerException):
        client.async_stream_infer("simple", v2_examples.pair(tritonclient.grpc))
    error = answers.get(timeout=60)
    expect("streams are not supported" in str(error), f"a stream: {error}")
    client.stop_stream()
    client.close()


async def _check_async(server: Server) -> None:
    expected = np.arange(1, 17, dtype=np.int32).reshape(1, 16)
    for module, address in ((tritonclient.http, server.http), (tritonclient.grpc, server.grpc)):
        client = module.aio.InferenceServerClient(address)
        expect(await client.is_server_ready() and await client.is_model_ready("simple"), f"{module.__name__}.aio")
        answers = await asyncio.gather(*(client.infer("simple", v2_examples.pair(module)) for _ in range(50)))
        for answer in answers:
            same(answer.as_numpy("OUTPUT0"), expected, f"{module.__name__}.aio")
        try:
            await client.infer("none", v2_examples.pair(module))
            raise Failed(f"{module.__name__}.aio: a model that is not there answered")
        except InferenceServerException as error:
            expect("Servable not found" in str(error), str(error))
        await client.close()


def _check_stop(server: Server) -> None:
    """The server is alive after all this, and ends when it is told to."""
    with urllib.request.urlopen(f"http://{server.http}/v2/health/live", timeout=10) as reply:
        expect(reply.status == 200, "live")
    expect(server.end() == 0, "the server ends with code 0")


if __name__ == "__main__":
    sys.exit(main())

"""Programs in the shape of Triton's client examples, which differ from those in the address and in nothing that the server sees.

`simple` adds and subtracts two rows of 16 numbers, `simple_string` does the same with numbers as strings, and `simple_identity` gives
strings back. See src/python/examples of https://github.com/triton-inference-server/client.
"""

from functools import partial
from queue import Queue
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype

from checks.v2_server import expect

SIXTEEN = np.arange(16, dtype=np.int32).reshape(1, 16)
ONES = np.ones([1, 16], np.int32)


def pair(module: ModuleType, arrays: tuple[np.ndarray, np.ndarray] = (SIXTEEN, ONES), **more: Any) -> list:
    """The two inputs of `simple` or `simple_string`."""
    inputs = []
    for name, array in zip(("INPUT0", "INPUT1"), arrays):
        tensor = module.InferInput(name, array.shape, np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, **more)
        inputs.append(tensor)
    return inputs


def _as_text(array: np.ndarray) -> np.ndarray:
    return np.array([str(number).encode() for number in array.ravel()], np.object_).reshape(array.shape)


def _outputs(module: ModuleType) -> list:
    return [module.InferRequestedOutput("OUTPUT0"), module.InferRequestedOutput("OUTPUT1")]


def _check(answer: Any, what: str) -> None:
    total, difference = answer.as_numpy("OUTPUT0"), answer.as_numpy("OUTPUT1")
    expect((total == SIXTEEN + ONES).all() and (difference == SIXTEEN - ONES).all(), what)


def run(http: str, grpc: str) -> None:
    """All of them, against these addresses."""
    simple_http_infer_client(http)
    simple_http_string_infer_client(http)
    simple_http_async_infer_client(http)
    simple_http_health_metadata(http)
    simple_grpc_infer_client(grpc)
    simple_grpc_string_infer_client(grpc)
    simple_grpc_async_infer_client(grpc)
    simple_grpc_explicit_contents(grpc)


def simple_http_infer_client(url: str) -> None:
    client = tritonclient.http.InferenceServerClient(url=url, verbose=False)
    module = tritonclient.http
    first, second = (tensor for tensor in pair(module))
    first.set_data_from_numpy(SIXTEEN, binary_data=False)
    second.set_data_from_numpy(ONES, binary_data=True)
    outputs = [module.InferRequestedOutput("OUTPUT0", binary_data=True), module.InferRequestedOutput("OUTPUT1", binary_data=False)]
    _check(client.infer("simple", [first, second], outputs=outputs, query_params={"test_1": 1}), "simple_http_infer_client")
    _check(client.infer("simple", [first, second], headers={"test": "1"}), "simple_http_infer_client without outputs")
    statistics = client.get_inference_statistics(model_name="simple")
    expect(len(statistics["model_stats"]) == 1, "one model has statistics")
    client.close()


def simple_http_string_infer_client(url: str) -> None:
    client = tritonclient.http.InferenceServerClient(url=url)
    for binary in (True, False):
        inputs = pair(tritonclient.http, (_as_text(SIXTEEN), _as_text(ONES)), binary_data=binary)
        answer = client.infer("simple_string", inputs, outputs=_outputs(tritonclient.http))
        total = answer.as_numpy("OUTPUT0").astype(np.int32)
        expect((total == SIXTEEN + ONES).all(), f"simple_http_string_infer_client: {total}")
    text = np.array([["a".encode(), "ä€".encode()]], np.object_)
    tensor = tritonclient.http.InferInput("INPUT0", text.shape, "BYTES")
    tensor.set_data_from_numpy(text)
    found = client.infer("simple_identity", [tensor]).as_numpy("OUTPUT0")
    expect((found == text).all(), f"simple_identity: {found}")
    client.close()


def simple_http_async_infer_client(url: str) -> None:
    client = tritonclient.http.InferenceServerClient(url=url, concurrency=4)
    requests = [client.async_infer("simple", pair(tritonclient.http), outputs=_outputs(tritonclient.http)) for _ in range(8)]
    for request in requests:
        _check(request.get_result(), "simple_http_async_infer_client")
    client.close()


def simple_http_health_metadata(url: str) -> None:
    client = tritonclient.http.InferenceServerClient(url=url)
    expect(client.is_server_live(query_params={"test_1": 1}), "live")
    expect(client.is_server_ready() and client.is_model_ready("simple"), "ready")
    expect(client.get_server_metadata()["name"] != "", "the server has a name")
    metadata = client.get_model_metadata("simple", query_params={"test_1": 1})
    expect(metadata["name"] == "simple" and metadata["versions"] == ["1"], f"simple_http_health_metadata: {metadata}")
    client.close()


def simple_grpc_infer_client(url: str) -> None:
    client = tritonclient.grpc.InferenceServerClient(url=url, verbose=False)
    inputs = pair(tritonclient.grpc)
    answer = client.infer("simple", inputs, outputs=_outputs(tritonclient.grpc), client_timeout=60, headers={"test": "1"})
    _check(answer, "simple_grpc_infer_client")
    _check(client.infer("simple", inputs, compression_algorithm="gzip"), "simple_grpc_infer_client with gzip")
    expect(len(client.get_inference_statistics(model_name="simple").model_stats) == 1, "one model has statistics")
    client.close()


def simple_grpc_string_infer_client(url: str) -> None:
    client = tritonclient.grpc.InferenceServerClient(url=url)
    inputs = pair(tritonclient.grpc, (_as_text(SIXTEEN), _as_text(ONES)))
    total = client.infer("simple_string", inputs, outputs=_outputs(tritonclient.grpc)).as_numpy("OUTPUT0").astype(np.int32)
    expect((total == SIXTEEN + ONES).all(), f"simple_grpc_string_infer_client: {total}")
    client.close()


def simple_grpc_async_infer_client(url: str) -> None:
    client = tritonclient.grpc.InferenceServerClient(url=url)
    answers: Queue = Queue()
    callback = partial(lambda answers, result, error: answers.put((result, error)), answers)
    for _ in range(8):
        client.async_infer("simple", pair(tritonclient.grpc), callback, outputs=_outputs(tritonclient.grpc))
    for _ in range(8):
        result, error = answers.get(timeout=60)
        expect(error is None, f"simple_grpc_async_infer_client: {error}")
        _check(result, "simple_grpc_async_infer_client")
    client.close()


def simple_grpc_explicit_contents(url: str) -> None:
    """The generated stub, with tensors in `contents`."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    with grpc.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        expect(stub.ServerLive(service_pb2.ServerLiveRequest()).live, "live")
        expect(stub.ServerReady(service_pb2.ServerReadyRequest()).ready, "ready")
        request = service_pb2.ModelInferRequest(model_name="simple", model_version="", id="my request id")
        for name, array in (("INPUT0", SIXTEEN), ("INPUT1", ONES)):
            tensor = request.inputs.add(name=name, datatype="INT32", shape=[1, 16])
            tensor.contents.int_contents[:] = array.ravel().tolist()
        for name in ("OUTPUT0", "OUTPUT1"):
            request.outputs.add(name=name)
        answer = stub.ModelInfer(request)
        total = np.frombuffer(answer.raw_output_contents[0], np.int32)
        expect(answer.id == "my request id" and (total == (SIXTEEN + ONES).ravel()).all(), "simple_grpc_explicit_contents")

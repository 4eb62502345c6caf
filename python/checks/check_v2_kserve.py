"""KServe's clients against a running server: `python -m checks.check_v2_kserve HTTP_ADDRESS GRPC_ADDRESS`.

Run by check_v2, in a process of its own.
"""

import asyncio
import logging
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from checks.v2_server import Failed, expect

ROWS = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 7.6]]


def main() -> int:
    # The clients log what they raise.
    logging.disable(logging.CRITICAL)
    http, address = sys.argv[1:]
    try:
        asyncio.run(_check_rest(f"http://{http}"))
        asyncio.run(_check_grpc(address))
    except Failed as error:
        print(f"FAILED: kserve: {error}", file=sys.stderr)
        return 1
    return 0


def _iris(as_numpy: bool, binary: bool = True) -> InferRequest:
    """The request of KServe's example of a classifier of flowers."""
    tensor = InferInput("input-0", [2, 4], "FP32", data=None if as_numpy else sum(ROWS, []))
    if as_numpy:
        tensor.set_data_from_numpy(np.array(ROWS, np.float32), binary_data=binary)
    return InferRequest("iris", [tensor])


def _echo(array: np.ndarray, datatype: str, binary: bool) -> InferRequest:
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    outputs = [RequestedOutput("y", {"binary_data": binary})]
    return InferRequest("echo", [tensor], parameters={"signature_name": datatype}, request_outputs=outputs)


async def _check_rest(url: str) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=60))
    expect(await client.is_server_live(url) is True, "live")
    expect(await client.is_server_ready(url) is True, "ready")
    expect(await client.is_model_ready(url, "iris") is True, "a model is ready")
    expect(await client.is_model_ready(url, "none") is False, "a model that is not there")
    for request in (_iris(False), _iris(True), _iris(True, binary=False)):
        answer = await client.infer(url, request, model_name="iris")
        output = answer.outputs[0]
        expect((output.name, output.datatype, output.as_numpy().tolist()) == ("output-0", "INT32", [0, 3]), f"iris: {output}")
    arrays = {
        "BOOL": np.array([True, False]),
        "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
        "UINT8": np.array([[0, 255]], np.uint8),
        "FP32": np.array([0.1, 1e-45], np.float32),
        "FP64": np.array([0.1, 5e-324]),
        "BYTES": np.array([b"a", b""], np.object_),
    }
    for datatype, array in arrays.items():
        for binary in (True, False):
            answer = await client.infer(url, _echo(array, datatype, binary), model_name="echo")
            found = answer.outputs[0].as_numpy()
            if datatype == "BYTES":
                found = np.array([text.encode() if isinstance(text, str) else text for text in found.ravel()], np.object_)
            expect(found.tolist() == array.tolist(), f"REST, {datatype}, binary {binary}: {found}")
    half = np.array([0.1, np.inf], np.float16)
    answer = await client.infer(url, _echo(half, "FP16", True), model_name="echo")
    expect(answer.outputs[0].as_numpy().tolist() == half.tolist(), f"REST, FP16: {answer}")
    # A tensor without elements has `binary_data_size` of 0 and `data` of null.
    empty = await client.infer(url, _echo(np.zeros([0, 2], np.float32), "FP32", True), model_name="echo")
    expect(list(empty.outputs[0].shape) == [0, 2], f"REST, empty: {empty}")
    # NaN becomes null on its way to the server, since orjson has no word for it; the answer is read in binary.
    missing = {
        "inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [float("nan")]}],
        "parameters": {"binary_data_output": True},
    }
    answer = await client.infer(url, missing, model_name="echo")
    expect(bool(np.isnan(answer.outputs[0].as_numpy()[0])), f"REST, NaN: {answer}")
    large = np.random.default_rng(0).random([300, 300]).astype(np.float32)
    answer = await client.infer(url, _echo(large, "FP32", True), model_name="echo")
    expect((answer.outputs[0].as_numpy() == large).all(), "REST, a large tensor, whose answer is compressed")
    for model, words in (("none", "Servable not found"), ("simple", "has no input `input-0`")):
        try:
            await client.infer(url, _iris(True), model_name=model)
            raise Failed(f"`{model}` answered")
        except httpx.HTTPStatusError as error:
            expect(words in str(error), f"{words}: {error}")
    await client.close()


async def _check_grpc(address: str) -> None:
    async with InferenceGRPCClient(address, timeout=60) as client:
        expect(await client.is_server_live() and await client.is_server_ready(), "live and ready")
        expect(await client.is_model_ready("iris") and not await client.is_model_ready("none"), "a model is ready")
        for request in (_iris(False), _iris(True)):
            answer = await client.infer(request)
            expect(answer.outputs[0].as_numpy().tolist() == [0, 3], f"iris: {answer}")
        half = np.array([0.1, np.inf], np.float16)
        answer = await client.infer(_echo(half, "FP16", True))
        expect(answer.outputs[0].as_numpy().tolist() == half.tolist(), f"gRPC, FP16: {answer}")
        try:
            await client.infer(InferRequest("none", _iris(True).inputs))
            raise Failed("gRPC: a model that is not there answered")
        except grpc.RpcError as error:
            expect("Servable not found" in str(error), str(error))


if __name__ == "__main__":
    sys.exit(main())

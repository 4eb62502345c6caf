"""Receives the traces of `tf-persist serve-local` over OTLP, and decodes them with OpenTelemetry's own messages.

    python -m checks.check_traces --tf-persist target/debug/tf-persist

Needs the package opentelemetry-proto. A collector of a few lines takes the requests of the exporter; the spans of requests over REST
and gRPC are compared with what was asked, with and without a parent in `traceparent`. Exit code 1 if anything is not as it should be.
"""

import argparse
import gzip
import http.server
import os
import secrets
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2
from tensorflow_serving.apis import predict_pb2

from checks.check_serve import ROOT, SECONDS, Failed, Server

IMAGE = np.zeros((2, 8, 8, 1), np.float32)


class Collector(http.server.ThreadingHTTPServer):
    """A receiver of OTLP over HTTP."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.resources: list[dict[str, Any]] = []
        self.spans: list[trace_pb2.Span] = []
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait_for(self, holds: Any) -> list[trace_pb2.Span]:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with self.lock:
                found = [span for span in self.spans if holds(span)]
            if found:
                return found
            time.sleep(0.05)
        raise Failed(f"the span has not come; there are {[span.name for span in self.spans]}")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
            raise AssertionError(f"{self.path} {self.headers}")
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        with self.server.lock:
            for resource in request.resource_spans:
                self.server.resources.append(_attributes(resource.resource.attributes))
                self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        answer = trace_service_pb2.ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        del format, arguments


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "digits"
        base.mkdir()
        (base / "3").symlink_to(ROOT / "models" / "digits" / "model")
        try:
            _check(arguments.tf_persist, base)
        except Failed as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


def _check(tf_persist: Path, base: Path) -> None:
    collector = Collector()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"
    os.environ["OTEL_SERVICE_NAME"] = "digits in a test"
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    server = Server(tf_persist, [f"--model_base_path={base}", "--model_name=digits"], base.parent / "server.log")
    server.wait_until_ready()

    # REST, within a trace of the client.
    trace, parent = secrets.token_bytes(16), secrets.token_bytes(8)
    header = f"traceparent: 00-{trace.hex()}-{parent.hex()}-01"
    body = f'{{"instances": {IMAGE.tolist()}}}'
    code, text = server.curl("/v1/models/digits:predict", "--data", body, "--header", header)
    if code != 200:
        raise Failed(text)
    [root] = collector.wait_for(lambda span: span.trace_id == trace and span.name.startswith("POST"))
    if root.parent_span_id != parent or root.name != "POST /v1/models/*:predict" or root.kind != trace_pb2.Span.SPAN_KIND_SERVER:
        raise Failed(f"the span is {root}")
    expected = {
        "http.request.method": "POST",
        "url.path": "/v1/models/digits:predict",
        "http.response.status_code": 200,
        "tf_persist.model": "digits",
        "tf_persist.version": 3,
        "tf_persist.signature": "serving_default",
    }
    if _attributes(root.attributes) != expected:
        raise Failed(f"the attributes are {_attributes(root.attributes)}")
    _check_phases(collector, root)

    # gRPC, within a trace of the client and without.
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "digits"
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(IMAGE))
    trace = secrets.token_bytes(16)
    server.prediction.Predict(request, SECONDS, metadata=[("traceparent", f"00-{trace.hex()}-{parent.hex()}-01")])
    [root] = collector.wait_for(lambda span: span.trace_id == trace and span.parent_span_id == parent)
    if root.name != "tensorflow.serving.PredictionService/Predict" or _attributes(root.attributes)["rpc.grpc.status_code"] != 0:
        raise Failed(f"the span is {root}")
    _check_phases(collector, root)
    request.model_spec.name = "none"
    try:
        server.prediction.Predict(request, SECONDS)
    except grpc.RpcError:
        pass
    [root] = collector.wait_for(lambda span: any(it.key == "rpc.grpc.status_code" and it.value.int_value for it in span.attributes))
    if root.parent_span_id or _attributes(root.attributes)["rpc.grpc.status_code"] != 5:
        raise Failed(f"the span is {root}")

    # A trace that its client does not sample is not exported, and the last ones are exported at the end.
    unsampled, last = secrets.token_bytes(16), secrets.token_bytes(16)
    for identity, flag in ((unsampled, "00"), (last, "01")):
        server.curl("/v1/models/digits:predict", "--data", body, "--header", f"traceparent: 00-{identity.hex()}-{parent.hex()}-{flag}")
    if server.end() != 0:
        raise Failed("the server did not end with 0")
    collector.wait_for(lambda span: span.trace_id == last)
    if any(span.trace_id == unsampled for span in collector.spans):
        raise Failed("a trace that is not sampled was exported")
    if any(resource["service.name"] != "digits in a test" for resource in collector.resources):
        raise Failed(f"the resources are {collector.resources}")

    # A collector that is gone costs the traces alone.
    collector.shutdown()
    collector.server_close()
    server = Server(tf_persist, [f"--model_base_path={base}", "--model_name=digits"], base.parent / "server.log")
    server.wait_until_ready()
    code, text = server.curl("/v1/models/digits:predict", "--data", body)
    if code != 200 or server.end() != 0:
        raise Failed(f"without a collector: {code} {text}")
    print(f"{len(collector.spans)} spans received")


def _check_phases(collector: Collector, root: trace_pb2.Span) -> None:
    def is_child(span: trace_pb2.Span) -> bool:
        return span.trace_id == root.trace_id and span.parent_span_id == root.span_id

    collector.wait_for(lambda span: is_child(span) and span.name == "encode")
    children = {span.name: span for span in collector.spans if is_child(span)}
    if not {"decode", "run", "encode"} <= set(children) <= {"queue", "decode", "run", "encode"}:
        raise Failed(f"the phases are {sorted(children)}")
    order = [children[name] for name in ("decode", "run", "encode")]
    # Starts are the difference of an end and a duration of two clocks.
    slack = 1_000_000
    for span in order:
        if not root.start_time_unix_nano - slack <= span.start_time_unix_nano <= span.end_time_unix_nano <= root.end_time_unix_nano + slack:
            raise Failed(f"{span.name} is not within its request")
    for before, after in zip(order, order[1:], strict=False):
        if before.end_time_unix_nano > after.end_time_unix_nano:
            raise Failed(f"{before.name} ends after {after.name}")


def _attributes(attributes: Any) -> dict[str, Any]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in attributes}


if __name__ == "__main__":
    sys.exit(main())

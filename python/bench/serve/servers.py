"""Starts the measured servers and waits until they are ready."""

import json
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from bench import onnx

from .models import Model

ROOT = Path(__file__).resolve().parents[3]
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
OURS = RELEASE / "tf-persist"
ECHO = RELEASE / "examples/bench_echo"
LOAD = RELEASE / "examples/bench_load"
LOOP = ROOT / "target/bench_serve/serve_rest"
ONNX = ROOT / "target/bench_onnx_runtime/release/serve-onnx-runtime"

READY_SECONDS = 120


@dataclass
class Server:
    """A running server."""

    name: str
    process: subprocess.Popen
    rest: int | None
    grpc: int | None
    ready_seconds: float
    protocol: str = "rest"
    options: list[str] = field(default_factory=list)

    def memory(self) -> float:
        """Resident memory of the process and its children, in MB."""
        return sum(_resident(pid) for pid in _family(self.process.pid)) / 1e6

    def peak(self) -> float:
        """Peak resident memory of the process and its children, in MB."""
        return sum(_peak(pid) for pid in _family(self.process.pid)) / 1e6

    def processor_seconds(self) -> float:
        """User and system time of the process and its children."""
        return sum(_ticks(pid) for pid in _family(self.process.pid)) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _ticks(pid: int) -> int:
    try:
        # The name in parentheses may contain spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(member for child in children for member in _family(int(child)))]


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=1).status == 200
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def _started(name, command, is_ready, rest=None, grpc=None, environment=None, **more) -> Iterator[Server]:
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("w") as out:
            begin = perf_counter()
            process = subprocess.Popen(
                list(map(str, command)), stdout=out, stderr=out, env={**os.environ, **(environment or {})}
            )
            try:
                while not is_ready():
                    if process.poll() is not None or perf_counter() - begin > READY_SECONDS:
                        raise RuntimeError(f"{name} did not start:\n{log.read_text()[-2000:]}")
                    sleep(0.005)
                yield Server(name, process, rest, grpc, perf_counter() - begin, **more)
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def ours(model: Model, options: tuple[str, ...] = (), binary: Path = OURS):
    """`tf-persist serve-local`, of this build or another."""
    rest, grpc = free_port(), free_port()
    command = [binary, "serve-local", f"--port={grpc}", f"--rest_api_port={rest}", "--model_name=m"]
    command += [f"--model_base_path={model.base}", *options]
    ready = lambda: _answers(f"http://127.0.0.1:{rest}/readyz") and _listens(grpc)  # noqa: E731
    return _started("serve-local", command, ready, rest, grpc)


def loop(model: Model, intra_op_threads: int = 0):
    """`python/bench/c/serve_rest.cc`: only REST over the C API. 0 threads within an op means one per core."""
    port = free_port()
    command = [LOOP, model.version, port, intra_op_threads]
    return _started("C++ loop", command, lambda: _listens(port), port)


def onnx_runtime(model: Model, intra_op_threads: int = 0):
    """`python/bench/onnx_runtime/src/serve.rs`: only REST, over ONNX Runtime. 0 threads within an op means its own choice."""
    port = free_port()
    command = [ONNX, onnx.library(), model.onnx, port, *([intra_op_threads] if intra_op_threads else [])]
    return _started("ONNX Runtime", command, lambda: _listens(port), port)


def echo(protocol: str):
    """axum or tonic as an echo server."""
    port = free_port()
    ports = {"rest" if protocol == "rest" else "grpc": port}
    return _started("echo", [ECHO, protocol, port], lambda: _listens(port), **ports, options=["--echo"])


def fastapi(model: Model, handler: str):
    """FastAPI under uvicorn, one worker; `handler` is `async` or `def`."""
    port = free_port()
    python = ROOT / ".venv-bench/fastapi/bin/python"
    command = [python, "-m", "uvicorn", "bench.serve.fastapi_app:app", "--port", port, "--log-level", "warning"]
    environment = {"MODEL": str(model.version), "HANDLER": handler, "PYTHONPATH": str(ROOT / "python")}
    ready = lambda: _answers(f"http://127.0.0.1:{port}/ready")  # noqa: E731
    return _started(f"FastAPI ({handler})", command, ready, port, environment=environment)


@contextmanager
def mlserver(model: Model) -> Iterator[Server]:
    """MLServer with one worker process, which its documentation recommends for small models."""
    port, grpc, metrics = free_port(), free_port(), free_port()
    with TemporaryDirectory() as folder:
        settings = {"http_port": port, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0, "debug": False}
        (Path(folder) / "settings.json").write_text(json.dumps(settings))
        described = {
            "name": "m",
            "implementation": "bench.serve.mlserver_model.SavedModel",
            "parameters": {"uri": str(model.version)},
        }
        (Path(folder) / "model-settings.json").write_text(json.dumps(described))
        command = [ROOT / ".venv-bench/mlserver/bin/mlserver", "start", folder]
        ready = lambda: _answers(f"http://127.0.0.1:{port}/v2/models/m/ready")  # noqa: E731
        environment = {"PYTHONPATH": str(ROOT / "python")}
        with _started("MLServer", command, ready, port, environment=environment, protocol="v2") as server:
            yield server


def has(rival: str) -> bool:
    """Whether pip could install a rival."""
    return (ROOT / f".venv-bench/{rival}/requirements.installed").exists()

"""A `serve-local` process for the checks of the Open Inference Protocol."""

import contextlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

SECONDS = 60


class Failed(Exception):
    """A check failed."""


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


class Server:
    """A server of the models below a folder; ends with the block."""

    def __init__(self, tf_persist: Path, folder: Path) -> None:
        config = folder / "models.config"
        entries = (
            f'config {{ name: "{base.name}" base_path: "{base}" model_platform: "tensorflow" }}'
            for base in sorted(folder.iterdir())
            if base.is_dir()
        )
        config.write_text("model_config_list {\n" + "\n".join(entries) + "\n}\n", encoding="utf-8")
        grpc, rest = _free_port(), _free_port()
        self.grpc, self.http = f"127.0.0.1:{grpc}", f"127.0.0.1:{rest}"
        self.log = folder / "server.log"
        command = [tf_persist, "serve-local", f"--port={grpc}", f"--rest_api_port={rest}", f"--model_config_file={config}"]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)

    def __enter__(self) -> "Server":
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                with urllib.request.urlopen(f"http://{self.http}/v2/health/ready", timeout=5) as reply:
                    if reply.status == 200:
                        return self
            time.sleep(0.05)
        self.process.kill()
        raise Failed(f"the server is not ready:\n{self.log.read_text()[-2000:]}")

    def end(self) -> int:
        """Stops the server; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]

"""The story of docs/loop.md, on real digits: drift, a new version, and one that goes back. `examples/loop/run` starts it.

    python examples/loop/story.py --tf-persist target/debug/tf-persist --folder FOLDER

Eight clients ask `serve-local` for digits all the time. Exit code 1 if a request fails or the loop does not do what it should.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
from picture import draw
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "models" / "digits_trainable"
CLIENTS = 8
PAUSE = 0.08  # seconds between two requests of a client
DEGREES = 40  # by which the digits are turned
PATIENCE = 300  # seconds for a step of the story


class Failed(Exception):
    """The story did not go as it should."""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m", flush=True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


class Digits:
    """Real digits: those to train on, and others, which are asked for. People label these, and hold them out."""

    def __init__(self) -> None:
        train, rest = np.load(DATA / "train.npz"), np.load(DATA / "validate.npz")
        self.train = (train["image"], train["y"])
        self.held_out = (rest["image"], rest["y"])

    @staticmethod
    def turned(digits: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        images = np.stack([ndimage.rotate(image, DEGREES, reshape=False, order=1) for image in digits[0]])
        return np.clip(images, 0, 1).astype(np.float32), digits[1]


def write(path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Writes a file that appears whole."""
    path.parent.mkdir(exist_ok=True)
    hidden = path.with_name(f".{path.name}")
    with open(hidden, "wb") as file:
        np.savez(file, image=digits[0], y=digits[1])
    os.replace(hidden, path)


class Program:
    """The commands of tf-persist, in a folder."""

    def __init__(self, tf_persist: Path, folder: Path) -> None:
        self.tf_persist, self.folder = tf_persist.resolve(), folder

    def __call__(self, *words: object) -> str:
        done = subprocess.run([self.tf_persist, *map(str, words)], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"tf-persist {' '.join(map(str, words))}: {done.stderr}{done.stdout}")
        return done.stdout

    def start(self, *words: object, log: Path | None = None) -> subprocess.Popen:
        output = log.open("ab") if log else None
        return subprocess.Popen([self.tf_persist, *map(str, words)], cwd=self.folder, stdout=output, stderr=output or subprocess.DEVNULL)

    def production(self) -> int:
        return json.loads((self.folder / "models.store/digits/.store/labels.json").read_text())["labels"]["production"]

    def decisions(self) -> list[dict]:
        return json.loads(self("store", "log", "digits", "--format", "json")).get("decisions", [])

    def decided(self, decision: str) -> int:
        """How often."""
        return sum(it["decision"] == decision for it in self.decisions())

    def accuracy(self, version: int, digits: tuple[np.ndarray, np.ndarray]) -> float:
        np.savez(self.folder / "asked.npz", image=digits[0])
        self("run", f"digits@{version}", "--inputs", "asked.npz", "--output", "answers.npz")
        answers = np.load(self.folder / "answers.npz")["probabilities"]
        return float(np.mean(answers.argmax(1) == digits[1]))


def publish_first(program: Program, digits: Digits) -> None:
    """Version 1: trained on upright digits, with a recorded request and a reference of held-out digits with its answers."""
    model = DATA / "model"
    program("train", model, "--data", DATA / "train.npz", "--epochs", 12, "--output", "first")
    program("verify", "first", "--record", DATA / "examples.npz")
    images = digits.held_out[0]
    np.savez(program.folder / "asked.npz", image=images)
    program("run", "first", "--inputs", "asked.npz", "--output", "answers.npz")
    answers = np.load(program.folder / "answers.npz")["probabilities"]
    np.savez(program.folder / "reference.npz", image=images, probabilities=answers)
    reference = "first/assets.extra/monitor_reference.json"
    program("monitor", "reference", "reference.npz", "--model", "first", "--output", reference)
    shutil.copytree(model, program.folder / "untrained")
    program("store", "init")
    program("store", "publish", "first", "digits", "--label", "production", "--note", "upright digits")


class Clients:
    """Threads that ask for digits. They know the truth, and write it down as labels."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.labels = port, (folder / "labels.jsonl").open("a", encoding="utf-8")
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.digits: tuple[np.ndarray, np.ndarray] | None = None
        self.failures: list[str] = []
        self.answers: list[tuple[float, int, bool]] = []  # when, which version, whether it was right
        self.threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            # One that was not started has no number.
            if thread.ident:
                thread.join()
        self.labels.close()

    def _ask(self, number: int) -> None:
        random, connection, asked = np.random.default_rng(number), None, 0
        while not self.stopping.is_set():
            images, truth = self.digits
            row = int(random.integers(len(truth)))
            body, name = json.dumps({"instances": images[row : row + 1].tolist()}), f"client {number} request {asked}"
            asked += 1
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("POST", "/v1/models/digits:predict", body, {"X-Request-Id": name})
                reply = connection.getresponse()
                text, version = reply.read(), int(reply.headers.get("x-tf-persist-version", 0))
                if reply.status != 200:
                    raise Failed(f"{reply.status} {text.decode()[:200]}")
                right = int(np.argmax(json.loads(text)["predictions"][0])) == int(truth[row])
                with self.lock:
                    self.answers.append((time.time(), version, right))
                    self.labels.write(json.dumps({"id": name, "label": int(truth[row])}) + "\n")
                    self.labels.flush()
            except (OSError, http.client.HTTPException, Failed) as error:
                connection = None
                with self.lock:
                    self.failures.append(f"{name}: {error!r}")
            self.stopping.wait(PAUSE)


def wait_for(what: str, holds, process: subprocess.Popen | None = None) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if process and process.poll() is not None:
            raise Failed(f"the loop ended with {process.returncode} before this: {what}")
        if time.monotonic() > end:
            raise Failed(f"this did not happen within {PATIENCE} s: {what}")
        time.sleep(0.3)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def tell(tf_persist: Path, folder: Path) -> dict:
    """Tells the story. Returns what it measured."""
    folder.mkdir(parents=True, exist_ok=True)
    program, digits, port = Program(tf_persist, folder), Digits(), free_port()
    say("1. A model is trained on upright digits, and is version 1")
    publish_first(program, digits)
    write(folder / "data/upright.npz", digits.train)
    write(folder / "held_out/digits.npz", digits.held_out)
    text = (ROOT / "examples/loop/loop.toml").read_text().replace("{SERVER}", f"http://127.0.0.1:{port}")
    (folder / "loop.toml").write_text(text)
    print(program("loop", "loop.toml", "--dry-run"), end="")
    program("loop", "loop.toml", "--once")  # writes traffic.toml
    (folder / "monitoring.txt").write_text("prometheus_config { enable: true }")

    say(f"2. It is served, and {CLIENTS} clients ask for upright digits")
    flags = ["--store=models.store", f"--rest_api_port={port}", "--port=0", "--file_system_poll_wait_seconds=1", "--traffic=traffic.toml"]
    flags += ["--request_log=logs", "--request_log_format=jsonl", "--monitoring_config_file=monitoring.txt"]
    server = program.start("serve-local", *flags, log=folder / "server.log")
    clients, loop = Clients(port, folder), None
    try:
        wait_for("the server is ready", lambda: is_ready(port), server)
        clients.digits = digits.held_out
        clients.start()
        begun = time.time()
        loop = program.start("loop", "loop.toml")
        return _watched(program, digits, clients, loop, begun)
    finally:
        clients.stop()
        for process in (loop, server):
            if process:
                process.send_signal(signal.SIGTERM)
                process.wait(PATIENCE)


def _watched(program: Program, digits: Digits, clients: Clients, loop: subprocess.Popen, begun: float) -> dict:
    folder = program.folder
    time.sleep(5)
    if found := [it["decision"] for it in program.decisions()]:
        raise Failed(f"upright digits led to {found}")

    say(f"3. The camera is mounted anew: digits are turned by {DEGREES}°. People label some of them, and hold some out")
    turned = digits.turned(digits.held_out)
    write(folder / "data/turned.npz", digits.turned(digits.train))
    write(folder / "held_out/digits.npz", turned)
    drifted = time.time()
    clients.digits = turned
    wait_for("a new version is in production", lambda: program.production() != 1, loop)
    promoted, good = time.time(), program.production()
    wait_for("it is kept", lambda: program.decided("keep") == 1, loop)
    before, after = program.accuracy(1, turned), program.accuracy(good, turned)
    say(f"version {good} is in production, {promoted - drifted:.0f} s after the drift. Held-out turned digits: {before:.1%} before, {after:.1%} now")
    if not after > before:
        raise Failed("the new version is not better")

    say("4. A person's script shifts all labels by one, in the held-out rows, too: the gates cannot see it. The requests' labels are right")
    for name, part in (("data/upright.npz", digits.train), ("data/turned.npz", digits.turned(digits.train)), ("held_out/digits.npz", turned)):
        write(folder / name, (part[0], (part[1] + 1) % 10))
    print(program("loop", "loop.toml", "--now"), end="")
    wait_for("a bad version is promoted", lambda: program.decided("promote") == 2, loop)
    wait_for("it is rolled back", lambda: program.decided("roll_back") == 1 and program.production() == good, loop)
    say(f"a bad version was promoted, its quality fell, and version {good} is in production again")
    time.sleep(2)
    clients.stop()
    decisions = program.decisions()
    if clients.failures:
        raise Failed(f"{len(clients.failures)} requests failed: {clients.failures[:3]}")
    (folder / "loop.svg").write_text(draw(clients.answers, decisions, begun))
    program("monitor", "logs", "--model", "digits@production", "--labels", "labels.jsonl", "--window", "5s", "--format", "html", "--output", "loop.html")
    say("5. Every decision is in the store's log")
    print(program("store", "log", "digits"), end="")
    seconds = time.time() - begun
    say(f"{len(clients.answers)} requests, none failed, {seconds:.0f} s. The picture: {folder / 'loop.svg'}; the monitor's page: {folder / 'loop.html'}")
    return {"before": before, "after": after, "to_promotion": promoted - drifted, "requests": len(clients.answers), "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    parser.add_argument("--folder", type=Path, required=True, help="where everything is kept")
    arguments = parser.parse_args()
    try:
        tell(arguments.tf_persist, arguments.folder.resolve())
    except Failed as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

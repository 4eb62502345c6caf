"""Times and memory of one `serve-local` with many small models; run by `scripts/bench many`.

    python -m bench.many [--models 200] [--rounds 3] [--binary target/release/tf-persist] [--old OTHER/tf-persist]

Each model is a matrix product with 1 MB of variables of its own. Measured are the time from the start of the process until `/readyz` says
ready, with versions loaded at once and one after the other, with and without remembered trials of the fast path, and with one broken model
among them; the resident memory of a model beyond its variables, against the same server with one model; and, with `--max_resident_bytes`,
what a request to a model costs that is not in memory. `--old` is the binary of another build, for comparison.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIDE = 512
VARIABLES = SIDE * SIDE * 4
BODY = json.dumps({"instances": [[0.001] * SIDE]}).encode()
WAIT = 600


def make_models(folder: Path, count: int) -> None:
    """SavedModels that differ in their values alone. They stay for the next run."""
    missing = [number for number in range(count) if not (folder / f"m{number}/1/saved_model.pb").exists()]
    if not missing:
        return
    print(f"writing {len(missing)} models into {folder}", file=sys.stderr)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    class Product(tf.Module):
        def __init__(self):
            super().__init__()
            self.matrix = tf.Variable(tf.random.normal((SIDE, SIDE), stddev=0.05))

        @tf.function(input_signature=[tf.TensorSpec((None, SIDE), tf.float32, "x")])
        def __call__(self, x):
            return {"y": tf.nn.relu(x @ self.matrix)}

    module = Product()
    for number in missing:
        module.matrix.assign(tf.random.normal((SIDE, SIDE), stddev=0.05))
        hidden = folder / f".m{number}"
        shutil.rmtree(hidden, ignore_errors=True)
        tf.saved_model.save(module, str(hidden / "1"), signatures=module.__call__)
        shutil.rmtree(folder / f"m{number}", ignore_errors=True)
        hidden.rename(folder / f"m{number}")


def config_of(scratch: Path, models: list[Path]) -> Path:
    text = "".join(f'config {{ name: "{model.name}" base_path: "{model}" model_platform: "tensorflow" }}\n' for model in models)
    file = scratch / f"models-{len(models)}-{models[-1].name}.config"
    file.write_text(f"model_config_list {{ {text} }}\n", encoding="utf-8")
    return file


def resident(process: subprocess.Popen, kind: str = "VmRSS") -> int:
    for line in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {kind}")


def get(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=body, timeout=WAIT) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextlib.contextmanager
def server(binary: Path, config: Path, cache: Path, *flags: str) -> Iterator[tuple[subprocess.Popen, int, float]]:
    """A server once it is ready, its port, and the seconds until then."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(binary), "serve-local", "--port=0", f"--rest_api_port={port}", f"--model_config_file={config}", *flags]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "TF_CPP_MIN_LOG_LEVEL": "2", "TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv")}
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--log_level=error"], env=environment, stderr=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None or time.perf_counter() - started > WAIT:
                sys.exit(f"the server ended with {process.returncode}: {' '.join(command)}")
            with contextlib.suppress(OSError):
                if get(port, "/readyz")[0] == 200:
                    break
            time.sleep(0.005)
        yield process, port, time.perf_counter() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_for_trials(port: int) -> float:
    """Seconds until every version has had its trial."""
    started = time.perf_counter()
    while time.perf_counter() - started < WAIT:
        versions = [version for model in json.loads(get(port, "/models")[1])["models"] for version in model["versions"]]
        reasons = [(version["optimization"] or {}).get("reason") for version in versions]
        if not any("not tried yet" in (reason or "") for reason in reasons):
            return time.perf_counter() - started
        time.sleep(0.2)
    return float("nan")


def times(binary: Path, config: Path, scratch: Path, rounds: int, *flags: str, remembered: bool = False) -> list[float]:
    """Seconds to ready of several starts; each with an empty cache, unless the trials of the first are remembered."""
    found = []
    cache = Path(tempfile.mkdtemp(dir=scratch))
    for number in range(rounds + remembered):
        if not remembered:
            cache = Path(tempfile.mkdtemp(dir=scratch))
        with server(binary, config, cache, *flags) as (_, port, seconds):
            if remembered and number == 0:
                wait_for_trials(port)
            else:
                found.append(seconds)
    return found


def memory(binary: Path, configs: tuple[Path, Path], count: int, scratch: Path, *flags: str, trials: bool = False) -> tuple[float, float]:
    """The resident bytes of a model beyond its variables, at ready (or after the trials) and after a request to each."""
    at_ready, after_requests = [], []
    for config, models in zip(configs, (1, count), strict=True):
        with server(binary, config, Path(tempfile.mkdtemp(dir=scratch)), *flags) as (process, port, _):
            if trials:
                wait_for_trials(port)
            time.sleep(1)
            at_ready.append(resident(process))
            for number in range(models):
                status, _ = get(port, f"/v1/models/m{number}:predict", BODY)
                assert status == 200, status
            after_requests.append(resident(process))
    beyond = [(many - one) / (count - 1) - VARIABLES for one, many in (at_ready, after_requests)]
    return beyond[0], beyond[1]


def on_demand(binary: Path, config: Path, count: int, scratch: Path) -> None:
    """Requests to all models in turn, with room for a quarter of them."""
    limit = count // 4 * VARIABLES * 3
    with server(binary, config, Path(tempfile.mkdtemp(dir=scratch)), f"--max_resident_bytes={limit}") as (process, port, seconds):
        print(f"with room for a quarter ({limit / 1e6:.0f} MB): ready after {seconds:.2f} s, resident {resident(process) / 1e6:.0f} MB")
        durations, failures = [], []

        def ask(first: int) -> None:
            for number in range(first, 2 * count, 4):
                begun = time.perf_counter()
                status, text = get(port, f"/v1/models/m{number % count}:predict", BODY)
                durations.append(time.perf_counter() - begun)
                if status != 200:
                    failures.append((status, text))

        threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rate = len(durations) / (time.perf_counter() - begun)
        durations.sort()
        print(
            f"  {len(durations)} requests of 4 clients to all models in turn: {len(failures)} failed, {rate:.0f} a second, median "
            f"{statistics.median(durations) * 1e3:.0f} ms, slowest {durations[-1] * 1e3:.0f} ms, peak {resident(process, 'VmHWM') / 1e6:.0f} MB"
        )
        if failures:
            sys.exit(f"failed: {failures[0]}")


def line(name: str, found: list[float], count: int) -> float:
    median = statistics.median(found)
    print(f"  {name:<58} {median:7.2f} s {median / count * 1e3:7.1f} ms a model   ({', '.join(f'{it:.2f}' for it in found)})")
    return median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tf-persist")
    parser.add_argument("--old", type=Path, help="the binary of another build")
    parser.add_argument("--only", choices=["times", "memory", "demand"])
    arguments = parser.parse_args()
    count, rounds, binary = arguments.models, arguments.rounds, arguments.binary
    folder = ROOT / "target/bench_many"
    folder.mkdir(parents=True, exist_ok=True)
    make_models(folder, count)
    models = [folder / f"m{number}" for number in range(count)]
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        every, one = config_of(scratch, models), config_of(scratch, models[:1])
        if arguments.only in (None, "times"):
            print(f"{count} models of {VARIABLES / 1e6:.1f} MB, from start to ready:")
            base = None
            if arguments.old:
                base = line("the other build", times(arguments.old, every, scratch, rounds), count)
            alone = line("one after the other", times(binary, every, scratch, rounds, "--num_load_threads=1"), count)
            default = line("as by default", times(binary, every, scratch, rounds), count)
            line("as by default, the trials remembered", times(binary, every, scratch, rounds, remembered=True), count)
            line("--optimize=off", times(binary, every, scratch, rounds, "--optimize=off"), count)
            broken = scratch / "broken"
            shutil.copytree(models[0], broken)
            (broken / "1/saved_model.pb").write_bytes(b"broken")
            with_broken = config_of(scratch, [*models[1:], broken])
            line("as by default, one of them broken", times(binary, with_broken, scratch, rounds, "--max_num_load_retries=0"), count)
            print(f"  {alone / default:.2f} times as fast as one after the other" + (f", {base / default:.2f} times as fast as the other build" if base else ""))
        if arguments.only in (None, "memory"):
            print("resident memory of a model beyond its variables, at ready and after a request to each:")
            for name, flags, trials in [("--optimize=off", ["--optimize=off"], False), ("as by default", [], False), ("as by default, after the trials", [], True)]:
                at_ready, after = memory(binary, (one, every), count, scratch, *flags, trials=trials)
                print(f"  {name:<58} {at_ready / 1e6:7.2f} MB {after / 1e6:7.2f} MB")
        if arguments.only in (None, "demand"):
            on_demand(binary, every, count, scratch)


if __name__ == "__main__":
    main()

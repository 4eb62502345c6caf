"""Times the store against cp, sha256sum, cat and Python's model-signing; run by `scripts/bench store`.

Signatures are compared where `scripts/test` has installed model-signing, and remotes where it has installed moto.
"""

import argparse
import importlib.util
import os
import shutil
import socket
import statistics
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep

from bench.export import OURS, ROOT, make_model

SMALL = ROOT / "models/half_plus_two/model"


def seconds(command: list, code: int = 0) -> float:
    """How long a command takes, which must end with this code."""
    started = perf_counter()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    took = perf_counter() - started
    if done.returncode != code:
        sys.exit(f"bench store: {command}: {done.stderr.decode()}")
    return took


def report(what: str, pairs: list) -> None:
    """Prints the medians of both sides, and the median of the ratios; the first pair does not count."""
    ours, theirs = (statistics.median(pair[side] for pair in pairs[1:]) for side in (0, 1))
    ratio = statistics.median(pair[0] / pair[1] for pair in pairs[1:])
    print(f"{what}: {ours * 1e3:.1f} ms against {theirs * 1e3:.1f} ms, {ratio:.3f} times the time", flush=True)


def large(folder: Path, model: Path, flush: bool, rounds: int) -> None:
    """Publication and verification of 1 GB."""
    store, target = folder / "store", folder / "copy"

    def published(*options) -> float:
        shutil.rmtree(store, ignore_errors=True)
        seconds([OURS, "store", "init", "--store", store])
        os.sync()
        return seconds([OURS, "store", "publish", model, "large", "--store", store, *options])

    def copied() -> float:
        shutil.rmtree(target, ignore_errors=True)
        os.sync()
        return seconds(["bash", "-c", f"cp -r {model} {target}" + (f" && sync -f {target}" if flush else "")])

    place = "on disk, flushed" if flush else "in memory"
    report(f"publish 1 GB {place}, against cp -r", [(published(), copied()) for _ in range(rounds + 1)])
    shutil.rmtree(target)
    files = ["bash", "-c", f"find {store}/large/1 -type f -print0 | xargs -0 sha256sum"]
    cat = ["bash", "-c", f"find {store}/large/1 -type f -print0 | xargs -0 cat >/dev/null"]
    verify = [OURS, "store", "verify", "--store", store]
    report(f"verify 1 GB {place}, against sha256sum", [(seconds(verify), seconds(files)) for _ in range(rounds + 1)])
    report(f"verify 1 GB {place}, against cat", [(seconds(verify), seconds(cat)) for _ in range(rounds + 1)])
    shutil.rmtree(store)


def remote(folder: Path, model: Path, rounds: int) -> None:
    """A push and a pull of 1 GB against plain multipart by the same crate, with moto as the server."""
    moto, plain = ROOT / "target/tools/moto-5.2.5", ROOT / "target/release/examples/plain_multipart"
    if not moto.is_dir():
        print("remote: SKIPPED, scripts/test has not installed moto")
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    os.environ |= {"AWS_ACCESS_KEY_ID": "name", "AWS_SECRET_ACCESS_KEY": "word", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": address}
    start = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(start, env=os.environ | {"PYTHONPATH": str(moto)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{address}/plain", method="PUT"))
                break
            except urllib.error.URLError:
                sleep(0.2)
        store, source, target = folder / "store", folder / "large.bin", folder / "copy.bin"
        data = model / "variables/variables.data-00000-of-00001"
        source.symlink_to(data)
        seconds([OURS, "store", "init", "--store", store])
        seconds([OURS, "store", "publish", model, "large", "--store", store])
        pushed, pulled = [], []
        for number in range(rounds + 1):
            bucket, pulled_to = f"round{number}", folder / f"pulled{number}"
            urllib.request.urlopen(urllib.request.Request(f"{address}/{bucket}", method="PUT"))
            push = [OURS, "store", "push", "large@1", f"s3://{bucket}", "--store", store]
            pushed.append((seconds(push), seconds([plain, "put", source, "plain", "large"])))
            seconds([OURS, "store", "init", "--store", pulled_to])
            pull = [OURS, "store", "pull", f"s3://{bucket}/large@1", "--store", pulled_to]
            pulled.append((seconds(pull), seconds([plain, "get", "plain", "large", target])))
            shutil.rmtree(pulled_to)
            # It keeps everything in memory.
            urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST"))
            urllib.request.urlopen(urllib.request.Request(f"{address}/plain", method="PUT"))
        report("push 1 GB to moto, against plain multipart", pushed)
        report("pull 1 GB from moto, against plain multipart", pulled)
    finally:
        server.kill()


def signatures(folder: Path, rounds: int) -> None:
    """A whole process that verifies the signature of a small model."""
    if importlib.util.find_spec("model_signing") is None or importlib.util.find_spec("OpenSSL") is None:
        print("signatures: SKIPPED, scripts/test has not installed model-signing")
        return
    store, key = folder / "store", folder / "key.pem"
    for command in (["init"], ["key", "new", key], ["publish", SMALL, "small", "--sign", key]):
        seconds([OURS, "store", *command, "--store", store])
    version = store / "small/1"
    ours = [OURS, "store", "verify", "small", "--public-key", f"{key}.pub", "--store", store]
    theirs = [sys.executable, "-m", "model_signing", "verify", "key", "--public_key", f"{key}.pub"]
    theirs += ["--signature", version / "model.sig", version]
    report("verify a signature, against model_signing", [(seconds(ours), seconds(theirs)) for _ in range(rounds + 1)])


def listing(folder: Path, rounds: int) -> None:
    """1,000 models of 20 versions; files of versions are left out, since a list does not read them."""
    store = folder / "many"
    for command in (["init"], *[["publish", SMALL, "m0", "--label", "production"]] * 20):
        seconds([OURS, "store", *command, "--store", store])
    for number in range(1, 1000):
        for name in (".store", *map(str, range(1, 21))):
            (store / f"m{number}" / name).mkdir(parents=True)
        for path in (store / "m0/.store").glob("*.json*"):
            text = path.read_text().replace('"m0"', f'"m{number}"')
            (store / f"m{number}/.store" / path.name).write_text(text)
    times = sorted(seconds([OURS, "store", "list", "--store", store]) for _ in range(rounds + 1))
    print(f"list 1,000 models of 20 versions: {statistics.median(times) * 1e3:.1f} ms", flush=True)


def main() -> None:
    """Compares everything."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    with TemporaryDirectory(prefix="tf-persist-bench-") as on_disk:
        folder = Path(on_disk)
        signatures(folder, rounds)
        listing(folder, rounds)
        model = folder / "model"
        make_model(model)
        if Path("/dev/shm").is_dir():
            with TemporaryDirectory(prefix="tf-persist-bench-", dir="/dev/shm") as in_memory:
                copied = Path(in_memory) / "model"
                shutil.copytree(model, copied)
                large(Path(in_memory), copied, False, rounds)
        large(folder, model, True, rounds)
        # A range of an object takes moto seconds: a gigabyte takes one and a half minutes.
        remote(folder, model, 1)


if __name__ == "__main__":
    main()

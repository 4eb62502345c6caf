"""Processes that are killed at random moments, four at once, leave every store whole: here, in another folder, and in a bucket (moto).

    python -m checks.check_kills --tf-persist target/debug/tf-persist [--moto FOLDER] [--kills 1000] [--seed 1]

After each four, the files themselves must show no half version, no label to nothing and no version lost; then the next command must work
and tidy up. The files are read here, without tf-persist.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree

from checks.check_remotes import ROOT, Servers, free_port

# What a command may say that comes too late, or has nothing to do.
ANSWERS = re.compile(
    "has no (version|label|model|published)|labels|is labelled|not used again|no version that is still there|is pushing|has been pushing"
    "|another writer|other writers|was not published|is signed already|is another version|was removed meanwhile"
)


class Folder:
    """The files of a store in a folder."""

    def __init__(self, path: pathlib.Path):
        self.path, self.hashes = path, {}

    def files(self) -> dict[str, int]:
        found = {}
        for folder, _, names in os.walk(self.path / "m"):
            for name in names:
                path = pathlib.Path(folder, name)
                # Other processes may be at it.
                with contextlib.suppress(FileNotFoundError):
                    found[str(path.relative_to(self.path))] = path.stat().st_size
        return found

    def read(self, key: str) -> bytes:
        return (self.path / key).read_bytes()

    def sha256(self, key: str) -> str:
        state = (self.path / key).stat()
        identity = (state.st_ino, state.st_size, state.st_mtime_ns)
        if identity not in self.hashes:
            self.hashes[identity] = hashlib.sha256(self.read(key)).hexdigest()
        return self.hashes[identity]


class Bucket:
    """The objects of a store in a bucket of moto, which takes any signature."""

    def __init__(self, url: str, prefix: str):
        self.url, self.prefix, self.hashes = url, prefix, {}

    def request(self, place: str, contents: bytes | None = None, method: str = "GET") -> bytes:
        request = urllib.request.Request(f"{self.url}{place}", data=contents, method=method, headers={"Authorization": "AWS name:any"})
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def files(self) -> dict[str, int]:
        found, token = {}, ""
        while True:
            query = {"list-type": "2", "prefix": f"{self.prefix}/m/"} | ({"continuation-token": token} if token else {})
            tree = xml.etree.ElementTree.fromstring(self.request(f"?{urllib.parse.urlencode(query)}"))
            for item in tree.iterfind("{*}Contents"):
                key = item.findtext("{*}Key").removeprefix(f"{self.prefix}/")
                found[key] = int(item.findtext("{*}Size"))
                self.hashes.setdefault(key, {})["tag"] = item.findtext("{*}ETag")
            token = tree.findtext("{*}NextContinuationToken")
            if not token:
                return found

    def read(self, key: str) -> bytes:
        return self.request(f"/{self.prefix}/{key}")

    def write(self, key: str, contents: bytes) -> None:
        self.request(f"/{self.prefix}/{key}", contents, "PUT")

    def sha256(self, key: str) -> str:
        known = self.hashes[key]
        if known.get("hashed") != known["tag"]:
            known |= {"hashed": known["tag"], "sha256": hashlib.sha256(self.read(key)).hexdigest()}
        return known["sha256"]


def contents(files: dict[str, int], folder: str) -> frozenset:
    """Names and sizes below a folder, but for a signature."""
    inside = {key.removeprefix(folder): size for key, size in files.items() if key.startswith(folder)}
    return frozenset((name, size) for name, size in inside.items() if name != "model.sig")


def check(store: Folder | Bucket, whole: set[frozenset], told: set[int], is_quiet: bool) -> list[str]:
    """What is wrong with a store. `is_quiet`: the last command has ended, and must have tidied up."""
    files = store.files()
    if "m/.store/labels.json" not in files:
        return ["it has no labels"] if told else []
    wrong = []
    labels = json.loads(store.read("m/.store/labels.json"))
    lines = store.read("m/.store/log.jsonl").split(b"\n")[:-1] if "m/.store/log.jsonl" in files else []
    events = [json.loads(line) for line in lines]
    events += [event for event in labels["recent"] if event["sequence"] > len(events)]
    if [event["sequence"] for event in events] != list(range(1, labels["counter"] + 1)):
        wrong.append("the log has gaps")
    if any(after["at"] < before["at"] for before, after in zip(events, events[1:])):
        wrong.append("the log goes back in time")
    pending = json.loads(store.read("m/.store/intent.json"))["step"] if "m/.store/intent.json" in files else {}
    changing = set(pending.get("remove", {}).get("versions", []) + [pending.get("publish", {}).get("version")])
    published, removed, pointing = {}, set(), {}
    for event in events:
        match event["event"]:
            case "published":
                published[event["version"]] = event["manifest"]
            case "removed":
                removed.add(event["version"])
            case "labelled":
                if pointing.get(event["label"]) != event["from"]:
                    wrong.append(f"event {event['sequence']} moves {event['label']} from where it was not")
                pointing[event["label"]] = event["to"]
    if {label: to for label, to in pointing.items() if to} != labels["labels"]:
        wrong.append(f"the labels are {labels['labels']}, and {pointing} in the log")
    manifests = {int(name[1]) for key in files if (name := re.fullmatch(r"m/\.store/(\d+)\.json", key))}
    versions = manifests if isinstance(store, Folder) else set(labels["versions"])
    if lost := (set(published) - removed - changing) - versions:
        wrong.append(f"versions {sorted(lost)} are lost")
    if odd := versions - (set(published) - removed) - changing:
        wrong.append(f"versions {sorted(odd)} are not in the log")
    if lost := told - set(published):
        wrong.append(f"versions {sorted(lost)} were told, and are not in the log")
    if lost := set(labels["labels"].values()) - versions:
        wrong.append(f"labels point to {sorted(lost)}")
    for version in versions:
        manifest = store.read(f"m/.store/{version}.json")
        if version in published and hashlib.sha256(manifest).hexdigest() != published[version]:
            wrong.append(f"the manifest of {version} is another one")
        manifest = json.loads(manifest)
        if contents(files, f"m/{version}/") != frozenset((file["name"], file["size"]) for file in manifest["files"]):
            wrong.append(f"version {version} has other files than its manifest")
        elif any(store.sha256(f"m/{version}/{file['name']}") != file["sha256"] for file in manifest["files"]):
            wrong.append(f"version {version} has other bytes than its manifest")
    # What TensorFlow Serving takes for a version.
    for folder in {key.split("/")[1] for key in files if re.match(r"m/\d+/saved_model\.pb$", key)}:
        if contents(files, f"m/{folder}/") not in whole:
            wrong.append(f"folder {folder} is half a model")
    if is_quiet and isinstance(store, Folder):
        left = [name for key in files if (name := key.removeprefix("m/.store/")) != key]
        left = [name for name in left if not re.fullmatch(r"\d+\.json|labels\.json|log\.jsonl|lock|push-.*|staging/pull-.*", name)]
        if left:
            wrong.append(f"files are left: {left}")
        if extra := {key.split("/")[1] for key in files if re.match(r"m/\d+/", key)} - {str(version) for version in versions}:
            wrong.append(f"folders {sorted(extra)} are no versions")
    return wrong


class Run:
    """The stores, and what is done to them."""

    def __init__(self, tf_persist: str, folder: pathlib.Path, environment: dict[str, str], bucket: Bucket | None, seed: int):
        self.tf_persist, self.folder, self.environment, self.random = tf_persist, folder, environment, random.Random(seed)
        self.stores = {name: Folder(folder / name) for name in ("here", "there", "pulled")}
        if bucket:
            self.stores["s3://suite/kills"] = bucket
        self.told = {name: set() for name in self.stores}
        self.durations = collections.defaultdict(lambda: 0.15)
        self.counts = collections.defaultdict(collections.Counter)
        self.sources = []
        for index, size in enumerate((1 << 18, 1 << 18, 9 << 20)):
            source = folder / f"source{index}"
            shutil.copytree(ROOT / "models/half_plus_two/model", source)
            (source / "assets.extra").mkdir()
            (source / "assets.extra/large").write_bytes(self.random.randbytes(1 << 16) * (size >> 16))
            self.sources.append(source)
        self.whole = set()
        for source in self.sources:
            files = [path for path in source.rglob("*") if path.is_file()]
            self.whole.add(frozenset((str(path.relative_to(source)), path.stat().st_size) for path in files))

    def command(self, words: str) -> subprocess.Popen:
        command = [self.tf_persist, "store", *words.split()]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def versions(self, name: str) -> list[int]:
        """The versions of a store, as they are now."""
        store = self.stores[name]
        found = [re.fullmatch(r"m/\.store/(\d+)\.json", key) for key in store.files()]
        return sorted(int(name[1]) for name in found if name) or [1]

    def choose(self) -> tuple[str, str, str]:
        """A kind of command, its words, and the store that it changes."""
        pick = self.random.choice
        remotes = [name for name in self.stores if name not in ("here", "pulled")]
        store = pick(list(self.stores))
        label, number = pick("abc"), pick(self.versions(store)[-6:])
        kind = self.random.choices(("publish", "label", "promote", "rollback", "gc", "remove", "push", "pull"), (4, 2, 1, 2, 3, 1, 4, 3))[0]
        match kind:
            case "publish":
                return kind, f"publish {pick(self.sources[:2] * 3 + self.sources[2:])} m --label {label} --store here", "here"
            case "push":
                remote = pick(remotes)
                return kind, f"push m@{pick(self.versions('here')[-4:])} {remote} --label {label} --store here", remote
            case "pull":
                remote = pick(remotes)
                return kind, f"pull {remote}/m@{pick(self.versions(remote)[-4:])} --label {label} --store pulled", "pulled"
            case "label" | "promote":
                to = f"--to {label}" if kind == "promote" else label
                return kind, f"{kind} m@{number} {to} --store {store}", store
            case "rollback":
                return kind, f"rollback m --label {label} --store {store}", store
            case "gc":
                return kind, f"gc m --keep 4 --keep-labelled --store {store}", store
            case _:
                return kind, f"remove m@{number} --store {store}", store

    def round(self) -> int:
        """Starts four commands, kills them, and checks all stores. Returns the number of commands that were killed."""
        running = []
        for kind, words, store in [self.choose() for _ in range(4)]:
            end = time.monotonic() + self.random.uniform(0.1, 1.1) * self.durations[kind]
            running.append((end, kind, words, store, time.monotonic(), self.command(words)))
        killed = 0
        for end, kind, words, store, start, process in sorted(running, key=lambda it: it[0]):
            try:
                out, err = process.communicate(timeout=max(0, end - time.monotonic()))
                self.durations[kind] += 0.2 * (time.monotonic() - start - self.durations[kind])
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                if process.returncode < 0:
                    # Else it ended just then. A command that is always killed is given more time.
                    self.durations[kind] *= 1.02
            if process.returncode == -9:
                killed += 1
                self.counts[kind]["killed"] += 1
                self.counts[kind]["in the middle"] += self.is_left(store)
            elif process.returncode == 0:
                self.counts[kind]["done"] += 1
                if (version := re.match(r"m@(\d+)(\n| is (at|in) )", out)) and kind in ("publish", "push", "pull"):
                    self.told[store].add(int(version[1]))
            elif process.returncode != 1 or not ANSWERS.search(err) or "panicked" in err:
                sys.exit(f"`store {words}` ended with {process.returncode}:\n{out}{err}")
            else:
                self.counts[kind]["refused"] += 1
        return killed

    def is_left(self, name: str) -> bool:
        """Whether something of a change under way is in a store, of this process or of another one."""
        signs = r"m/\.store/(intent\.json|trash/.*|staging/(?!pull-).*|.*\.new|\d+\.claim)|m/\.store/staging/pull-.*"
        return any(re.fullmatch(signs, key) for key in self.stores[name].files())

    def expect(self, name: str, is_quiet: bool, when: str) -> None:
        if wrong := check(self.stores[name], self.whole, self.told[name], is_quiet):
            kept = pathlib.Path(tempfile.gettempdir(), "kills")
            shutil.copytree(self.folder, kept, dirs_exist_ok=True, copy_function=os.link)
            sys.exit(f"{name}, {when}: {'; '.join(wrong)}\n(the folders are kept in {kept})")

    def ran(self, words: str) -> str:
        process = self.command(words)
        out, err = process.communicate(timeout=120)
        if process.returncode != 0:
            sys.exit(f"`store {words}` ended with {process.returncode}:\n{out}{err}")
        return out

    def run(self, kills: int) -> None:
        self.ran("init --store here")
        for source in self.sources:
            self.ran(f"publish {source} m --store here")
        for name in self.stores:
            if name not in ("here", "pulled"):
                self.ran(f"push m@1 {name} --store here")
        self.ran("pull there/m@1 --store pulled")
        done = 0
        while done < kills:
            done += self.round()
            for name in self.stores:
                self.expect(name, False, f"after {done} kills")
            for name in self.stores:
                self.ran(f"label m@latest next --store {name}")
                self.expect(name, True, f"after {done} kills and the next command")
        for name, store in self.stores.items():
            if isinstance(store, Folder):
                self.ran(f"verify m --store {name}")
            else:
                self.collect(name, store)

    def collect(self, name: str, bucket: Bucket) -> None:
        """A day later, `gc` deletes what killed pushes and removals left."""
        for key in bucket.files():
            if key.endswith(".claim"):
                claim = json.loads(bucket.read(key)) | {"at": "2020-01-01T00:00:00Z"}
                bucket.write(key, json.dumps(claim).encode())
        self.ran(f"gc m --keep 1000 --store {name}")
        versions = {str(version) for version in json.loads(bucket.read("m/.store/labels.json"))["versions"]}
        expected = {"labels.json", "log.jsonl"} | {f"{version}.json" for version in versions}
        left = [key for key in bucket.files() if (parts := key.split("/"))[1] not in versions and parts[2] not in expected]
        if left:
            sys.exit(f"{name}: `gc` leaves {left}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tf-persist", type=pathlib.Path, required=True)
    parser.add_argument("--moto", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with Servers() as servers, tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        environment = os.environ | {"TF_PERSIST_CACHE": str(folder / "cache")}
        bucket = None
        if arguments.moto:
            port = free_port()
            start = "from moto.server import main; main()"
            if not servers.start(port, sys.executable, "-c", start, "-H", "127.0.0.1", "-p", port, PYTHONPATH=str(arguments.moto)):
                sys.exit("moto does not start")
            url = f"http://127.0.0.1:{port}"
            environment |= {"AWS_ACCESS_KEY_ID": "name", "AWS_SECRET_ACCESS_KEY": "word", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url}
            urllib.request.urlopen(urllib.request.Request(f"{url}/suite", method="PUT"))
            bucket = Bucket(f"{url}/suite", "kills")
        else:
            print("SKIPPED: a bucket, since moto is not installed")
        run = Run(str(arguments.tf_persist.resolve()), folder, environment, bucket, arguments.seed)
        run.run(arguments.kills)
        killed = sum(counts["killed"] for counts in run.counts.values())
        print(f"{killed} kills (seed {arguments.seed}): no half version, no label to nothing, no version lost, the next command works and tidies")
        for kind, counts in sorted(run.counts.items()):
            print(f"  {kind}: " + ", ".join(f"{counts[what]} {what}" for what in ("killed", "in the middle", "done", "refused")))


if __name__ == "__main__":
    main()

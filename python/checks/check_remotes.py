"""Remote stores against real servers: moto for S3, azurite for Azure, Python's own web server; for Google, an imitation (fake_gcs.py).

    python -m checks.check_remotes --tf-persist target/debug/tf-persist [--moto FOLDER] [--azurite FOLDER]

FOLDER has the packages: of pip's `--target`, and of npm's `--prefix`. The one suite of tf-persist-store runs for all of them.
"""

import argparse
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCOUNT, KEY = "devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Servers:
    """Processes that end with this one."""

    def __init__(self):
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait()

    def start(self, port: int, *command, **environment) -> bool:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=os.environ | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running.append(process)
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                if process.poll() is not None:
                    return False
                time.sleep(0.05)
        return False


def ran(tf_persist: str, line: str, environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run([tf_persist, *line.split()], env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode != code:
        sys.exit(f"`tf-persist {line}` ended with {done.returncode}, and not with {code}:\n{said}")
    if environment["AWS_SECRET_ACCESS_KEY"] in said:
        sys.exit(f"`tf-persist {line}` prints the password:\n{said}")
    return said


def command_line(tf_persist: str, bucket: str, environment: dict[str, str], folder: pathlib.Path) -> None:
    """A version is published, pushed, promoted, and read by its address; wrong names are sentences."""
    here, other = folder / "here", folder / "other"
    models = ROOT / "models"
    steps = [
        (f"store init --store {here}", "is a store", 0),
        (f"store publish {models}/digits/model digits --store {here}", "digits@1", 0),
        (f"store publish {models}/digits_trainable/model digits --store {here}", "digits@2", 0),
        (f"store push digits@1 {bucket}/team --label production --store {here}", "digits@1 is at", 0),
        (f"store push digits@2 {bucket}/team --store {here}", "digits@2 is at", 0),
        (f"store promote digits@2 --to production --store {bucket}/team", "digits@production is 2; it was 1", 0),
        (f"store rollback digits --store {bucket}/team", "digits@production is 1; it was 2", 0),
        (f"store list --store {bucket}/team", "2 versions, latest 2; production 1", 0),
        (f"store log digits --store {bucket}/team", "rolled back production: 2 -> 1", 0),
        (f"inspect {bucket}/team/digits@production", "serving_default", 0),
        (f"diff {bucket}/team/digits@1 {models}/digits/model", "same: signatures", 0),
        (f"store pull {bucket}/team/digits@production --label live --store {other}", "digits@1 is in", 0),
        (f"store verify --store {other}", "digits@1: as published", 0),
        (f"store sync {bucket}/team --store {other}", "digits@2: pulled", 0),
        (f"inspect {bucket}/team/digits@9", "has no version 9", 1),
        (f"inspect {bucket}/team/digits/1", f"the version is `{bucket}/team/digits@1`", 1),
        # The suite has left other stores there, any of which may be named.
        (f"store list --store {bucket}", f"`{bucket}` is not a store of models, and `{bucket}/", 1),
        (f"store show digits@1 --store {bucket}", f"`{bucket}` is not a store of models, and `{bucket}/", 1),
        (f"store list --store {bucket}/team/digits", f"is not a store of models, and `{bucket}/team` is one", 1),
        (f"store list --store {bucket}-absent/x", "bucket does not exist", 1),
    ]
    for line, expected, code in steps:
        said = ran(tf_persist, line, environment, code)
        if expected not in said:
            sys.exit(f"`tf-persist {line}` does not say `{expected}`:\n{said}")


def interrupted(tf_persist: str, bucket: str, environment: dict[str, str], folder: pathlib.Path) -> None:
    """A push and a pull that are killed again and again are gone on with, and nobody sees half a version."""
    here, source, there = folder / "large", folder / "source", f"{bucket}/killed"
    write_large_model(source, 64 << 20)
    ran(tf_persist, f"store init --store {here}", environment)
    ran(tf_persist, f"store publish {source} large --store {here}", environment)
    lines = {"push": f"store push large@1 {there} --store {here}", "pull": f"store pull {there}/large@1 --store {folder / 'pulled'}"}
    for name, line in lines.items():
        kills = 0
        while True:
            process = subprocess.Popen([tf_persist, *line.split()], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                said, _ = process.communicate(timeout=0.15 * 1.4**kills)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                kills += 1
        if process.returncode != 0 or kills == 0:
            sys.exit(f"`{line}` ended with {process.returncode} after {kills} kills:\n{said}")
        print(f"{name} of 67 MB, killed {kills} times: {said.strip()}")
    said = ran(tf_persist, f"store verify --store {folder / 'pulled'}", environment)
    if "large@1: as published" not in said:
        sys.exit(said)


def write_large_model(folder: pathlib.Path, size: int) -> None:
    """A model of the repository with a large file that is not compressed well."""
    shutil.copytree(ROOT / "models/half_plus_two/model", folder)
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra/large").write_bytes(os.urandom(1 << 20) * (size >> 20))


def without_preconditions(tf_persist: str, servers: Servers, environment: dict[str, str], folder: pathlib.Path) -> None:
    """A server that overwrites what should stay is found out at the first write."""
    port = free_port()
    if not servers.start(port, sys.executable, "-m", "checks.fake_gcs", port, "--ignore-preconditions"):
        sys.exit("the imitation of Google's server does not start")
    environment = environment | {"GOOGLE_SERVICE_ACCOUNT_KEY": google_account(port)}
    steps = [
        (f"store push digits@1 gs://suite/x --store {folder / 'here'}", "does not keep preconditions: it overwrote", 1),
        (f"store push digits@1 gs://suite/x --unguarded --store {folder / 'here'}", "digits@1 is at", 0),
        ("store label digits@1 a --store gs://suite/x", "does not keep preconditions: it overwrote", 1),
        ("store label digits@1 a --unguarded --store gs://suite/x", "digits@a is 1", 0),
    ]
    for line, expected, code in steps:
        said = ran(tf_persist, line, environment, code)
        if expected not in said:
            sys.exit(f"`tf-persist {line}` does not say `{expected}`:\n{said}")


def redirected(tf_persist: str, environment: dict[str, str]) -> None:
    """A bucket's server that redirects to another host does not get the credentials sent there."""
    seen = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, *_args):
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)

    class First(Other):
        def do_GET(self):
            self.send_response(307)
            self.send_header("Location", f"http://localhost:{other.server_port}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    first = http.server.ThreadingHTTPServer(("127.0.0.1", 0), First)
    for server in (first, other):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{first.server_port}", "AWS_SESSION_TOKEN": "token"}
    said = ran(tf_persist, "inspect s3://suite/x/m@1", environment, 1)
    if "which would get the credentials" not in said or seen:
        sys.exit(f"a redirect to another host was followed {len(seen)} times:\n{said}")


def google_account(port: int) -> str:
    """Settings that send requests for Google to a server of this machine."""
    place = {"gcs_base_url": f"http://127.0.0.1:{port}", "disable_oauth": True}
    return json.dumps(place | {"client_email": "", "private_key": "", "private_key_id": ""})


def web_server(tf_persist: str, servers: Servers, environment: dict[str, str], folder: pathlib.Path) -> None:
    """Python's web server knows no ranges."""
    port = free_port()
    if not servers.start(port, sys.executable, "-m", "http.server", port, "--bind", "127.0.0.1", "--directory", folder / "here"):
        sys.exit("Python's web server does not start")
    third = folder / "third"
    said = ran(tf_persist, f"store pull http://127.0.0.1:{port}/digits@2 --store {third}", environment)
    said += ran(tf_persist, f"store verify --store {third}", environment)
    if "digits@2: as published" not in said:
        sys.exit(said)


def serving(tf_persist: str, servers: Servers, bucket: str, environment: dict[str, str]) -> None:
    """Labels of a bucket are followed, and what is served stays when the bucket is gone."""
    port = free_port()
    flags = ["--port=0", f"--rest_api_port={port}", "--file_system_poll_wait_seconds=1", "--log-level=error"]
    if not servers.start(port, tf_persist, "serve-local", "--store", f"{bucket}/team", *flags, **environment):
        sys.exit("serve-local does not start with a bucket")

    def ask(path: str) -> dict:
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}"))

    def wait(version: str) -> None:
        for _ in range(600):
            models = ask("/models")["models"]
            if models and models[0]["labels"].get("production") == version:
                return
            time.sleep(0.1)
        sys.exit(f"production is not {version}: {ask('/models')}")

    def signatures() -> list[str]:
        metadata = ask("/v1/models/digits/labels/production/metadata")["metadata"]
        return sorted(metadata["signature_def"]["signature_def"])

    wait("1")
    first = signatures()
    ran(tf_persist, f"store promote digits@2 --to production --store {bucket}/team", environment)
    wait("2")
    if signatures() == first:
        sys.exit(f"the label answers as before: {first}")
    ran(tf_persist, f"store rollback digits --label production --store {bucket}/team", environment)
    wait("1")
    servers.running[0].kill()
    time.sleep(3)
    if signatures() != first or ask("/models")["models"][0]["labels"]["production"] != "1":
        sys.exit(f"without its bucket, the server does not answer as before: {ask('/models')}")


class PlainBucket:
    """Numbered folders that no store wrote, served from `--model_base_path s3://…` as TensorFlow Serving does."""

    def __init__(self, tf_persist: str, servers: Servers, bucket: str, environment: dict[str, str], folder: pathlib.Path):
        self.place = f"{environment['AWS_ENDPOINT_URL']}/{bucket.removeprefix('s3://')}/plain"
        self.put_model("half", 1, "half_plus_two")
        self.put_model("digits", 7, "digits")
        config = folder / "models.config"
        (folder / "local").mkdir()
        shutil.copytree(ROOT / "models/half_plus_two/model", folder / "local/1")
        paths = {"half": f"{bucket}/plain/half", "digits": f"{bucket}/plain/digits/", "ours": f"{bucket}/team/digits", "here": folder / "local"}
        entries = [f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}' for name, path in paths.items()]
        config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
        self.port = free_port()
        flags = ["--port=0", f"--rest_api_port={self.port}", "--file_system_poll_wait_seconds=1", "--log-level=error"]
        if not servers.start(self.port, tf_persist, "serve-local", f"--model_config_file={config}", *flags, **environment):
            sys.exit("serve-local does not start with base paths in a bucket")

    def request(self, method: str, key: str, body: bytes | None = None) -> None:
        # moto waits for ever for a body that it takes for a form, which is urllib's default.
        headers = {"Content-Type": "application/octet-stream"}
        # It does not check signatures, but strangers may not replace or delete objects.
        scope = "name/20260101/us-east-1/s3/aws4_request"
        headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        urllib.request.urlopen(urllib.request.Request(f"{self.place}/{key}", data=body, headers=headers, method=method), timeout=30)

    def files(self, model: str) -> dict[str, pathlib.Path]:
        folder = ROOT / "models" / model / "model"
        return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}

    def put_model(self, name: str, version: int, model: str, only: str = "") -> None:
        for file, path in self.files(model).items():
            if only in file:
                self.request("PUT", f"{name}/{version}/{file}", path.read_bytes())

    def ask(self, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body).encode()
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=data))

    def model(self, name: str) -> dict:
        return next((model for model in self.ask("/models")["models"] if model["name"] == name), {})

    def wait(self, what: str, holds) -> None:
        for _ in range(600):
            if holds():
                return
            time.sleep(0.1)
        sys.exit(f"base paths in a bucket: not {what}: {json.dumps(self.ask('/models'), indent=1)}")

    def serves(self, name: str, *versions: int) -> bool:
        states = self.model(name).get("versions", [])
        return [int(it["version"]) for it in states if it["state"] == "AVAILABLE"] == list(versions)

    def half(self) -> list[float]:
        return self.ask("/v1/models/half:predict", {"instances": [1.0, 2.0, 5.0]})["predictions"]

    def check(self) -> None:
        for name, version in [("half", 1), ("digits", 7), ("ours", 2), ("here", 1)]:
            self.wait(f"{name} {version} served", lambda name=name, version=version: self.serves(name, version))
        if self.half() != [2.5, 3.0, 4.5]:
            sys.exit(f"half plus two of a bucket answers {self.half()}")
        # Half an upload, in the order of names, is not taken. Nor is it a failed version.
        for only in ("saved_model.pb", "variables.data"):
            self.put_model("half", 2, "digits", only)
            self.wait("half an upload noticed", lambda: "version 2" in self.model("half").get("problem", ""))
            if not self.serves("half", 1):
                sys.exit(f"half an upload is served: {self.model('half')}")
        self.put_model("half", 2, "digits", "variables.index")
        self.wait("the whole upload served", lambda: self.serves("half", 2) and "problem" not in self.model("half"))
        # A loaded version stays as it is, as in TensorFlow Serving.
        self.put_model("half", 2, "half_plus_two")
        time.sleep(3)
        signatures = self.ask("/v1/models/half/metadata")["metadata"]["signature_def"]["signature_def"]
        if "regress_x_to_y" in signatures or not self.serves("half", 2):
            sys.exit(f"a version was loaded again: {sorted(signatures)}")
        # The newest version is deleted: back to the one before.
        for file in self.files("digits") | self.files("half_plus_two"):
            self.request("DELETE", f"half/2/{file}")
        self.wait("the version before served again", lambda: self.serves("half", 1))

    def check_without_bucket(self) -> None:
        self.wait("the missing bucket reported", lambda: "cannot reach" in self.model("half").get("problem", ""))
        if self.half() != [2.5, 3.0, 4.5] or not self.serves("digits", 7):
            sys.exit(f"without its bucket, the server does not answer as before: {self.ask('/models')}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tf-persist", required=True)
    parser.add_argument("--moto", type=pathlib.Path)
    parser.add_argument("--azurite", type=pathlib.Path)
    arguments = parser.parse_args()
    places = []
    with Servers() as servers, tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "name",
            "AWS_SECRET_ACCESS_KEY": "very-secret-word",
            "AWS_REGION": "us-east-1",
            "AZURE_STORAGE_USE_EMULATOR": "true",
            "TF_PERSIST_CACHE": str(folder / "cache"),
        }
        if arguments.moto:
            port = free_port()
            start = "from moto.server import main; main()"
            if not servers.start(port, sys.executable, "-c", start, "-H", "127.0.0.1", "-p", port, PYTHONPATH=str(arguments.moto)):
                sys.exit("moto does not start")
            environment["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/suite", method="PUT"))
            places.append("s3://suite")
        else:
            print("SKIPPED: S3, since moto is not installed")
        if arguments.azurite:
            port = free_port()
            azurite = arguments.azurite / "node_modules/.bin/azurite-blob"
            options = ["--blobHost", "127.0.0.1", "--blobPort", port, "--location", folder / "azurite", "--skipApiVersionCheck", "--silent"]
            if not servers.start(port, azurite, *options):
                sys.exit("azurite does not start")
            environment["AZURITE_BLOB_STORAGE_URL"] = f"http://127.0.0.1:{port}"
            make_container(port)
            places.append("az://suite")
        else:
            print("SKIPPED: Azure, since azurite is not installed")
        port = free_port()
        if not servers.start(port, sys.executable, "-m", "checks.fake_gcs", port):
            sys.exit("the imitation of Google's server does not start")
        environment["GOOGLE_SERVICE_ACCOUNT_KEY"] = google_account(port)
        places.append("gs://suite")
        environment["TF_PERSIST_REMOTES"] = " ".join(places)
        # As the tests of the workspace, so that nothing is compiled again.
        suite = ["cargo", "test", "--quiet", "--locked", "--workspace", "--test", "remote"]
        if subprocess.run(suite, env=environment, cwd=ROOT).returncode != 0:
            sys.exit(f"the suite fails for one of {', '.join(places)}")
        for place in places:
            if place.startswith("s3:"):
                command_line(arguments.tf_persist, place, environment, folder)
                web_server(arguments.tf_persist, servers, environment, folder)
                without_preconditions(arguments.tf_persist, servers, environment, folder)
                redirected(arguments.tf_persist, environment)
                interrupted(arguments.tf_persist, place, environment, folder)
        if arguments.moto:
            plain = PlainBucket(arguments.tf_persist, servers, places[0], environment, folder)
            plain.check()
            # Last: it ends moto, the first of the servers.
            serving(arguments.tf_persist, servers, places[0], environment)
            plain.check_without_bucket()
    print(f"remote stores: {', '.join(places)} (gs is an imitation), a folder and web servers: as they should be")


def make_container(port: int) -> None:
    """Creates a container with the published key of the emulator."""
    import base64
    import email.utils
    import hashlib
    import hmac

    date = email.utils.formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
    resource = f"/{ACCOUNT}/{ACCOUNT}/suite\nrestype:container"
    text = "PUT\n" + "\n" * 11 + canonical + resource
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    url = f"http://127.0.0.1:{port}/{ACCOUNT}/suite?restype=container"
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers))
    except urllib.error.HTTPError as error:
        sys.exit(f"azurite refuses a container: {error} {error.read()!r}")


if __name__ == "__main__":
    main()

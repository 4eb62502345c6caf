"""Pushes versions to Debian's docker-registry, and pulls them with other tools: oras-py, skopeo, KServe's storage.

    PYTHONPATH=python:TOOLS .venv/bin/python -m checks.check_oci --tf-persist PROGRAM

TOOLS has the packages `oras` and `kserve-storage`. A tool that is missing is named as SKIPPED. The registry listens on a
free port of this machine; a second one wants a user and a password.
"""

import argparse
import base64
import contextlib
import hashlib
import http.server
import importlib.util
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/digits/model"

# "secret" as bcrypt has it.
SECRET = "$2b$04$8drCCiwfTL7wfTGdkBr0lODI2wyD/N3vM9b21UIgGwNj.1xawBNU2"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def registry(folder, htpasswd=None):
    """A registry with nothing in it; gives its host and port."""
    port = free_port()
    auth = f"auth: {{htpasswd: {{realm: test, path: {htpasswd}}}}}\n" if htpasswd else ""
    config = folder / f"{port}.yml"
    config.write_text(
        f"version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / str(port)}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: 127.0.0.1:{port}}}\n{auth}")
    server = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


class Proxy(http.server.BaseHTTPRequestHandler):
    """A registry that answers as bad networks and odd registries do, in front of a good one."""

    behind = ""
    fail = lambda request: None  # noqa: E731
    seen = []

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).seen.append((self.command, self.path, dict(self.headers)))
        if type(self).fail(self):
            return
        request = urllib.request.Request(f"http://{self.behind}{self.path}", body or None, method=self.command)
        for name in set(self.headers):
            if name.lower() not in ("host", "content-length", "connection"):
                request.add_header(name, ", ".join(self.headers.get_all(name)))
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        data = answer.read()
        self.send_response(answer.status if hasattr(answer, "status") else answer.code)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value.replace(self.behind, self.headers["Host"]))
        self.send_header("Content-Length", answer.headers.get("Content-Length", len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def proxy(behind, fail):
    handler = type("Handler", (Proxy,), {"behind": behind, "fail": fail, "seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", handler.seen
    finally:
        server.shutdown()


class Store:
    def __init__(self, program, folder, **environment):
        self.program, self.folder, self.environment = program, folder, environment
        self("init")

    def run(self, *words):
        environment = {**os.environ, "TF_PERSIST_STORE": str(self.folder), "DOCKER_CONFIG": str(self.folder), **self.environment}
        return subprocess.run([self.program, "store", *map(str, words)], env=environment, capture_output=True, text=True)

    def __call__(self, *words):
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def fails(self, *words):
        done = self.run(*words)
        assert done.returncode == 1, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        return done.stderr

    def identity(self, reference):
        return json.loads(self("show", reference, "--format", "json"))["manifest_sha256"]


def contents(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()}


def manifest(host, name, reference):
    request = urllib.request.Request(f"http://{host}/v2/{name}/manifests/{reference}")
    request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def has(package):
    found = importlib.util.find_spec(package) is not None
    if not found:
        print(f"SKIPPED: the package {package} is not installed")
    return found


def check_pack(program, folder, host):
    """A version goes through the registry, whole and with its identity."""
    one, other = Store(program, folder / "one"), Store(program, folder / "other")
    one("key", "new", folder / "key.pem")
    one("publish", MODEL, "digits", "--sign", folder / "key.pem", "--note", "first")
    address = f"oci://{host}/team/digits:v1"
    said = one("push", "digits@1", address)
    assert "digits@1" in said and "sha256:" in said, said
    again = one("push", "digits@1", address)
    assert "0 of" in again, again
    other("pull", address, "--require-signature", folder / "key.pem.pub")
    assert one.identity("digits@1") == other.identity("digits@1")
    assert "as published" in other("verify", "digits@1", "--public-key", folder / "key.pem.pub")
    assert contents(one.folder / "digits/1") == contents(other.folder / "digits/1")
    # A second version sends what changed, and its tag moves.
    one("publish", ROOT / "models/digits_trainable/model", "digits")
    moved = one("push", "digits@2", address)
    assert "pointed to" in moved, moved
    other("pull", address)
    assert one.identity("digits@2") == other.identity("digits@2")
    # A path of every command.
    environment = {**os.environ, "TF_PERSIST_CACHE": str(folder / "cache"), "DOCKER_CONFIG": str(folder)}
    for _ in range(2):
        said = subprocess.run([program, "inspect", address], env=environment, capture_output=True, text=True)
        assert said.returncode == 0 and "train" in said.stdout, said
    for reference, wrong in ((f"oci://{host}/Team/digits:1", "upper case"), (f"oci://{host}/team/digits:nope", "does not exist"),
                             (f"oci://{host}/team/nobody:1", "does not exist")):
        error = other.fails("pull", reference)
        assert wrong in error, error
    return one, address


def check_others(folder, host, one):
    """Other clients pull what was pushed."""
    one("push", "digits@1", f"oci://{host}/team/digits:others")
    wanted = contents(one.folder / "digits/1")
    if has("oras"):
        from oras.client import OrasClient
        OrasClient(insecure=True).pull(target=f"{host}/team/digits:others", outdir=str(folder / "oras"))
        assert contents(folder / "oras") == wanted, contents(folder / "oras")
        print("oras-py pulls the files")
    if shutil.which("skopeo"):
        source = f"docker://{host}/team/digits:others"
        subprocess.run(["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{folder / 'skopeo'}"], check=True)
        copied = {path.name for path in (folder / "skopeo").iterdir()}
        assert set(wanted.values()) <= copied, copied
        print("skopeo copies the artifact")
    else:
        print("SKIPPED: skopeo is not installed")


def check_modelcar(folder, host, one):
    """The image for KServe."""
    for kind, options in (("plain", []), ("gzip", ["--gzip"])):
        one("push", "digits@1", f"oci://{host}/car:{kind}", "--modelcar", *options)
        first = manifest(host, "car", kind)
        one("push", "digits@1", f"oci://{host}/car:{kind}-2", "--modelcar", *options)
        assert first == manifest(host, "car", f"{kind}-2"), "two images of one version differ"
        layer = first["layers"][-1]
        with urllib.request.urlopen(f"http://{host}/v2/car/blobs/{layer['digest']}") as answer:
            data = answer.read()
        path = folder / f"{kind}.tar"
        path.write_bytes(data)
        with tarfile.open(path) as archive:
            names = archive.getnames()
            assert names == sorted(names) and all(name.startswith("models/1/") for name in names), names
            assert all((it.mode, it.uid, it.gid, it.mtime, it.isfile()) == (0o644, 0, 0, 0, True) for it in archive)
            found = {name.removeprefix("models/1/"): hashlib.sha256(archive.extractfile(name).read()).hexdigest() for name in names}
        assert found == contents(one.folder / "digits/1")
        if has("kserve_storage"):
            os.environ["KSERVE_OCI_INSECURE_REGISTRY"] = "true"
            from kserve_storage import Storage
            target = Storage.download(f"oci://{host}/car:{kind}", str(folder / f"kserve-{kind}"))
            there = {name.split("1/", 1)[-1]: digest for name, digest in contents(target).items()}
            assert there == contents(one.folder / "digits/1"), there
            print(f"KServe's storage downloads the image ({kind})")
    one("push", "digits@2", f"oci://{host}/car:based", "--modelcar", "--base", f"{host}/car:plain")
    based = manifest(host, "car", "based")
    assert len(based["layers"]) == 2 and based["layers"][0] == manifest(host, "car", "plain")["layers"][0]
    error = one.fails("pull", f"oci://{host}/car:plain", "digits")
    assert "modelcar" in error, error
    if shutil.which("umoci") and shutil.which("skopeo"):
        subprocess.run(["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{host}/car:based",
                        f"oci:{folder / 'image'}:based"], check=True)
        subprocess.run(["umoci", "unpack", "--rootless", "--image", f"{folder / 'image'}:based", folder / "bundle"],
                       check=True, capture_output=True)
        for number in "12":
            assert contents(folder / f"bundle/rootfs/models/{number}") == contents(one.folder / f"digits/{number}")
        print("umoci unpacks the image on a base")
    else:
        print("SKIPPED: umoci is not installed")


def check_failures(program, folder, host, one):
    """Networks and registries that fail, lie or send elsewhere."""
    digits = lambda at: f"oci://{at}/team/digits:v1"  # noqa: E731
    number = [0]

    def pull(fail, expected=None):
        number[0] += 1
        other = Store(program, folder / f"bad-{number[0]}")
        with proxy(host, fail) as (at, seen):
            if expected is None:
                other("pull", digits(at))
                assert other.identity("digits@2") == one.identity("digits@2")
            else:
                error = other.fails("pull", digits(at))
                assert expected in error and "panicked" not in error, error
                assert not (other.folder / "digits/2").exists()
        return seen

    def answer(request, status, headers=(), body=b""):
        request.send_response(status)
        for key, value in headers:
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
        return True

    # Every third request fails once.
    counter = [0]

    def sometimes(request):
        counter[0] += 1
        return answer(request, 503) if counter[0] % 3 == 0 else None
    pull(sometimes)

    with proxy(host, sometimes) as (at, _):
        one("push", "digits@1", f"oci://{at}/sometimes:1")
    assert manifest(host, "sometimes", "1")["layers"]

    # A blob of the right size with a changed byte.
    def changed(request):
        if request.command == "GET" and "/blobs/" in request.path:
            with urllib.request.urlopen(f"http://{host}{request.path}") as real:
                data = bytearray(real.read())
            data[len(data) // 2] ^= 1
            return answer(request, 200, body=bytes(data))
    pull(changed, "other contents")

    # A manifest that is not the one of the digest that the registry names.
    def lies(request):
        if "/manifests/" in request.path:
            type_ = "application/vnd.oci.image.manifest.v1+json"
            return answer(request, 200, [("Content-Type", type_), ("Docker-Content-Digest", f"sha256:{'0' * 64}")], b"{}")
    pull(lies, "other contents")
    pull(lambda request: answer(request, 200, body=b"<html>") if "/manifests/" in request.path else None, "its manifest")
    pull(lambda request: answer(request, 200, body=b" " * (5 << 20)) if "/manifests/" in request.path else None, "more than")
    pull(lambda request: answer(request, 307, [("Location", request.path)]) if "/blobs/" in request.path else None,
         "redirects again and again")

    # Blobs are elsewhere, which must not see what the registry sees.
    elsewhere = []

    def store(request):
        elsewhere.append(dict(request.headers))
        with urllib.request.urlopen(f"http://{host}{request.path}") as real:
            return answer(request, 200, body=real.read())
    with proxy(host, store) as (at, _):
        config = {"auths": {}}
        number[0] += 1
        other = Store(program, folder / f"bad-{number[0]}")

        def redirects(request):
            if request.headers.get("Authorization") is None:
                return answer(request, 401, [("WWW-Authenticate", "Basic realm=\"test\"")])
            if request.command == "GET" and "/blobs/" in request.path:
                return answer(request, 307, [("Location", f"http://{at}{request.path}")])
        with proxy(host, redirects) as (front, _):
            config["auths"][front] = {"auth": base64.b64encode(b"ada:secret").decode()}
            (other.folder / "config.json").write_text(json.dumps(config))
            other("pull", digits(front))
        assert elsewhere and not any("Authorization" in headers for headers in elsewhere), "credentials went elsewhere"

    # A token service.
    tokens = []

    def bearer(request):
        if request.path.startswith("/token"):
            tokens.append((request.path, request.headers.get("Authorization")))
            return answer(request, 200, body=json.dumps({"token": "t0ken"}).encode())
        if request.headers.get("Authorization") != "Bearer t0ken":
            realm = f"http://{request.headers['Host']}/token"
            challenge = f'Bearer realm="{realm}",service="test",scope="repository:team/digits:pull"'
            return answer(request, 401, [("WWW-Authenticate", challenge)])
        del request.headers["Authorization"]
    pull(bearer)
    assert tokens and "service=test" in tokens[0][0] and "repository%3Ateam%2Fdigits%3Apull" in tokens[0][0], tokens

    # An upload in parts that breaks goes on where it was.
    big = folder / "big"
    shutil.copytree(MODEL, big)
    (big / "assets.extra").mkdir(exist_ok=True)
    (big / "assets.extra/data").write_bytes(os.urandom(40 << 20))
    one("publish", big, "big")
    broken = []

    def breaks(request):
        patches = [path for method, path, _ in type(request).seen if method == "PATCH"]
        if len(patches) == 2 and not broken:
            broken.append(request.path)
            request.close_connection = True
            return True
    with proxy(host, breaks) as (at, seen):
        one("push", "big@1", f"oci://{at}/big:1")
        assert broken and any(method == "GET" and "uploads" in path for method, path, _ in seen), "nothing was resumed"
    other = Store(program, folder / "big-store")
    other("pull", f"oci://{host}/big:1")
    assert other.identity("big@1") == one.identity("big@1")
    print("registries that fail, lie or send elsewhere are noticed")


def check_credentials(program, folder, one):
    """Users and passwords, as docker keeps them."""
    htpasswd = folder / "htpasswd"
    htpasswd.write_text(f"ada:{SECRET}\n")
    with registry(folder, htpasswd) as host:
        address = f"oci://{host}/team/digits:1"
        error = one.fails("push", "digits@1", address)
        assert "refuses" in error and "config.json" in error, error
        for entry, ok in (("ada:secret", True), ("ada:wrong", False)):
            config = {"auths": {host: {"auth": base64.b64encode(entry.encode()).decode()}}}
            (one.folder / "config.json").write_text(json.dumps(config))
            if ok:
                one("push", "digits@1", address)
            else:
                error = one.fails("push", "digits@1", address)
                assert "refuses" in error and "wrong" not in error, error
        helper = folder / "bin/docker-credential-test"
        helper.parent.mkdir()
        helper.write_text("#!/bin/sh\nread host; echo \"{\\\"ServerURL\\\": \\\"$host\\\", \\\"Username\\\": \\\"ada\\\", \\\"Secret\\\": \\\"secret\\\"}\"\n")
        helper.chmod(0o755)
        (one.folder / "config.json").write_text(json.dumps({"credHelpers": {host: "test"}}))
        one.environment["PATH"] = f"{helper.parent}:{os.environ['PATH']}"
        one("push", "digits@1", address)
    (one.folder / "config.json").unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", required=True)
    arguments = parser.parse_args()
    if not shutil.which("docker-registry"):
        print("SKIPPED: docker-registry is not installed (apt-get install docker-registry skopeo umoci)")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        program = os.path.abspath(arguments.tf_persist)
        with registry(folder) as host:
            one, address = check_pack(program, folder, host)
            check_others(folder, host, one)
            check_modelcar(folder, host, one)
            check_failures(program, folder, host, one)
        check_credentials(program, folder, one)
    print("registries: all passed")


if __name__ == "__main__":
    main()

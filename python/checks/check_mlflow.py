"""Pushes versions to an MLflow server, loads them with MLflow, and pulls what MLflow logged.

    PYTHONPATH=python ENVIRONMENT/bin/python -m checks.check_mlflow --tf-persist PROGRAM [--moto FOLDER]

ENVIRONMENT has `mlflow[auth]` and TensorFlow. Two servers listen on free ports of this machine, one of which wants a user and
a password. With the folder of the packages `moto[server,s3]`, a third one keeps its files in a bucket.
"""

import argparse
import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

import keras
import mlflow
import numpy as np
import tensorflow as tf
from mlflow import MlflowClient

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
PASSWORD = "a password/with:signs"
# Under load a server takes half a minute to start.
START = 180


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A server in a session of its own. MLflow starts further processes, which end with it."""

    def __init__(self, command, log, **environment):
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=output, stderr=output, start_new_session=True, cwd=log.parent,
                env={**os.environ, **environment})

    def wait_for(self, url, statuses):
        for _ in range(START * 5):
            with contextlib.suppress(OSError):
                try:
                    status = urllib.request.urlopen(url, timeout=5).status
                except urllib.error.HTTPError as error:
                    status = error.code
                if status in statuses:
                    return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.2)
        raise AssertionError(f"{url}: no answer in {START} s\n{self.log.read_text()}")

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def mlflow_server(folder, name, *arguments, **environment):
    """Starts a server; gives it and its host and port."""
    port, place = free_port(), folder / name
    place.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{place}/db.sqlite",
               "--host", "127.0.0.1", "--port", port, "--workers", "1", *arguments]
    # Jobs are for evaluations, and take a process each.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment}
    return Process(command, place / "log", **environment), f"127.0.0.1:{port}"


class Proxy(http.server.BaseHTTPRequestHandler):
    """A server that fails or lies, in front of a good one."""

    protocol_version = "HTTP/1.1"
    behind = ""
    seen = []

    def fail(self, body):
        """Answers, and returns true, where the server behind is not to."""

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, {name.title(): value for name, value in self.headers.items()}))
        if self.fail(body):
            return
        connection = http.client.HTTPConnection(self.behind)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "host")}
        connection.request(self.command, self.path, body or None, {"Host": self.behind, **headers})
        answer = connection.getresponse()
        self.pass_on(answer, answer.read())

    def pass_on(self, answer, data):
        kept = [(name, value) for name, value in answer.getheaders()
                if name.lower() not in ("transfer-encoding", "connection", "content-length")]
        self.say(answer.status, data, *kept)

    def say(self, status, body=b"", *headers, length=None):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
        return True

    do_GET = do_POST = do_PUT = do_PATCH = do

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def proxy(behind, **methods):
    """A proxy in front of a server; gives its host and port, and the requests that it has seen."""
    handler = type("Handler", (Proxy,), {"behind": behind, "seen": [], **methods})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    # Programs go away without reading an answer to its end, here on purpose.
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", handler.seen
    finally:
        server.shutdown()
        server.server_close()


class Store:
    """A store, and the program that works on it."""

    def __init__(self, program, folder, **environment):
        self.program, self.folder, self.environment = program, folder, environment
        self("init")

    def run(self, *words):
        environment = {**os.environ, "TF_PERSIST_STORE": str(self.folder), **self.environment}
        return subprocess.run([self.program, *map(str, words)], env=environment, capture_output=True, text=True)

    def __call__(self, *words):
        done = self.run("store", *words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def fails(self, *words):
        done = self.run("store", *words)
        assert done.returncode == 1, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        assert "panicked" not in done.stderr, done.stderr
        return done.stderr

    def identity(self, reference):
        return json.loads(self("show", reference, "--format", "json"))["manifest_sha256"]

    def outputs(self, path, inputs, folder):
        """What `run` answers to these inputs, by output."""
        given, answers = folder / "given.npz", folder / "answers.npz"
        np.savez(given, **inputs)
        done = self.run("run", path, "--inputs", given, "--output", answers, "--libtensorflow", LIBTENSORFLOW)
        assert done.returncode == 0, done.stderr
        with np.load(answers) as arrays:
            return dict(arrays)


# The folder of the TensorFlow that this process uses.
LIBTENSORFLOW = pathlib.Path(tf.__file__).parent


def contents(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()}


def same(a, b):
    """Whether two arrays are the same but for rounding; strings may be text or bytes."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind in "SUO" or b.dtype.kind in "SUO":
        text = lambda array: [it.decode() if isinstance(it, bytes) else str(it) for it in array.ravel().tolist()]  # noqa: E731
        return text(a) == text(b)
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-6)


def check_pushed(program, folder, host):
    """A version goes through the server, whole and with its identity; labels are aliases."""
    client = MlflowClient(f"http://{host}")
    one, other = Store(program, folder / "one"), Store(program, folder / "other")
    key = folder / "key.pem"
    one("key", "new", key)
    metadata = folder / "metadata.json"
    metadata.write_text('{"accuracy": 0.97}')
    one("publish", MODELS / "digits/model", "digits", "--sign", key, "--note", "first ü", "--metadata", metadata)
    address = f"mlflow://{host}/digits"
    said = one("push", "digits@1", address, "--label", "production,candidate")
    assert f"digits@1 is `{address}@1` now" in said and "`production` pointed to nothing" in said, said
    version = client.get_model_version_by_alias("digits", "production")
    fingerprint = tf.saved_model.experimental.read_fingerprint(str(one.folder / "digits/1")).singleprint()
    assert version.tags == {
        "tf_persist.manifest_sha256": one.identity("digits@1"), "tf_persist.model": "digits", "tf_persist.version": "1",
        "tf_persist.note": "first ü", "tf_persist.metadata": '{"accuracy":0.97}', "tf_persist.fingerprint": fingerprint,
    }, version.tags
    assert (version.version, version.status, version.description) == ("1", "READY", "first ü"), version
    assert client.get_experiment_by_name("digits") is not None

    # The same once more is not another version.
    said = one("push", "digits@1", address, "--label", "production")
    assert "already" in said and "alias" not in said, said
    # A second version, whose number here is not its number there.
    one("publish", MODELS / "digits_trainable/model", "digits", "--version", "7")
    said = one("push", "digits@7", address, "--label", "production", "--experiment", "others")
    assert f"digits@7 is `{address}@2` now" in said and "`production` pointed to version 1" in said, said
    assert sorted(it.version for it in client.search_model_versions("name='digits'")) == ["1", "2"]
    assert client.get_registered_model("digits").aliases == {"production": "2", "candidate": "1"}

    said = other("pull", f"{address}@candidate", "--require-signature", f"{key}.pub", "--label", "tried")
    assert f"digits@1 is `{address}@1`" in said and "digits@1 is in" in said, said
    other("pull", f"{address}@production")
    assert "already" in other("pull", address)
    for number in "17":
        assert one.identity(f"digits@{number}") == other.identity(f"digits@{number}")
        assert contents(one.folder / f"digits/{number}") == contents(other.folder / f"digits/{number}")
    assert "as published, signed" in other("verify", "digits@1", "--public-key", f"{key}.pub")
    assert "not signed" in other.fails("pull", f"{address}@2", "--require-signature", f"{key}.pub")
    # What is signed after the push is signed there, too.
    one("sign", "digits@7", "--key", key)
    one("push", "digits@7", address)
    third = Store(program, folder / "third")
    third("pull", f"{address}@2", "--require-signature", f"{key}.pub")
    one("key", "new", folder / "other.pem")
    one("sign", "digits@7", "--key", folder / "other.pem", "--replace")
    assert "--replace-signature" in one.fails("push", "digits@7", address)
    one("push", "digits@7", address, "--replace-signature")
    Store(program, folder / "fourth")("pull", f"{address}@2", "--require-signature", folder / "other.pem.pub")

    for reference, wrong in (("digits@9", "does not exist"), ("digits@nobody", "does not exist"), ("nobody", "does not exist"),
                             ("digits@v2", "looks like a version")):
        assert wrong in other.fails("pull", f"mlflow://{host}/{reference}")
    assert "MLflow gives the number" in one.fails("push", "digits@1", f"{address}@1")
    assert "keeps its name" in other.fails("pull", address, "others")
    assert "not an MLflow server" in other.fails("pull", f"mlflow://{host}/prefix/digits")
    print("versions are pushed and pulled whole; labels are aliases")
    return one


def check_loaded(folder, host, one):
    """MLflow loads what was pushed, and its answers are those of `run`."""
    mlflow.set_tracking_uri(f"http://{host}")
    random = np.random.default_rng(0)
    models = {
        "digits": {"image": random.random((3, 8, 8, 1), dtype=np.float32)},
        "text": {"text": np.array(["what a fine day", "ü", ""])},
        "tf1_graph": {"x": random.random((4, 4), dtype=np.float32)},
        "two_in_two_out": {"body": random.random((5, 4), dtype=np.float32), "blood": random.random((5, 6), dtype=np.float32)},
    }
    for name, inputs in models.items():
        one("publish", MODELS / name / "model", name, "--label", "loaded")
        one("push", f"{name}@loaded", f"mlflow://{host}/{name}", "--label", "loaded")
        given = {key: np.char.encode(value) if value.dtype.kind == "U" else value for key, value in inputs.items()}
        wanted = one.outputs(f"{name}@loaded", given, folder)
        function = mlflow.tensorflow.load_model(f"models:/{name}@loaded")
        found = function(**{key: tf.constant(value) for key, value in inputs.items()})
        assert found.keys() == wanted.keys(), (name, found.keys())
        for key, value in found.items():
            assert same(value.numpy(), wanted[key]), (name, key, value, wanted[key])
        model = mlflow.pyfunc.load_model(f"models:/{name}@loaded")
        assert model.metadata.signature is not None and model.metadata.metadata["tf_persist"]["model"] == name
        for key, value in model.predict(inputs).items():
            # pyfunc makes flat lists of columns.
            assert same(np.ravel(value), np.ravel(wanted[key])), (name, key, value, wanted[key])
        wrong = {key: value[..., None] for key, value in inputs.items()}
        try:
            model.predict(wrong)
        except mlflow.exceptions.MlflowException as error:
            assert "shape" in str(error).lower(), error
        else:
            raise AssertionError(f"{name}: MLflow does not know the shapes of its inputs")
    print(f"mlflow.tensorflow and mlflow.pyfunc load what was pushed: {', '.join(models)}")


class Doubled(tf.Module):
    """A SavedModel as MLflow logs it."""

    def __init__(self):
        super().__init__()
        self.scale = tf.Variable([[1.0, 2.0, 3.0]])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def __call__(self, x):
        return {"y": 2 * x * self.scale}


def check_logged(program, folder, host):
    """What MLflow logged is pulled and run."""
    mlflow.set_tracking_uri(f"http://{host}")
    mlflow.set_experiment("logged")
    x = np.random.default_rng(1).random((4, 3), dtype=np.float32)
    module = Doubled()
    dense = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, activation="relu")])
    with mlflow.start_run():
        mlflow.tensorflow.log_model(module, name="module", registered_model_name="module",
                                    saved_model_kwargs={"signatures": module.__call__})
    mlflow.tensorflow.log_model(dense, name="a dense model", registered_model_name="a dense model")
    MlflowClient().update_model_version("module", "1", description="logged by MLflow")
    store = Store(program, folder / "logged-store")
    for name, model, wanted in (("module", "module", module(tf.constant(x))["y"].numpy()),
                                ("a%20dense%20model", "dense", dense(x).numpy())):
        said = store("pull", f"mlflow://{host}/{name}@latest", model, "--label", "new")
        assert f"{model}@1 is `mlflow://{host}/{name}@1`" in said, said
        (found,) = store.outputs(f"{model}@new", {"x": x}, folder).values()
        assert same(found, wanted), (name, found, wanted)
        assert "already" in store("pull", f"mlflow://{host}/{name}@1", model)
        assert "as published" in store("verify", model)
    manifest = json.loads(store("show", "module", "--format", "json"))["manifest"]
    assert manifest["source"] == f"mlflow://{host}/module@1" and manifest["note"] == "logged by MLflow", manifest
    assert manifest["metadata"]["mlflow"]["version"] == 1, manifest
    assert "only letters" in store.fails("pull", f"mlflow://{host}/a%20dense%20model")
    (folder / "x.txt").write_text("x")
    with mlflow.start_run():
        info = mlflow.pyfunc.log_model(name="other", python_model=lambda model_input: model_input,
                                       pip_requirements=["mlflow"], registered_model_name="other")
    assert info is not None
    assert "is not a model of TensorFlow" in store.fails("pull", f"mlflow://{host}/other")
    # And from a store to the server again.
    store("push", "dense@1", f"mlflow://{host}/again")
    found = mlflow.pyfunc.load_model("models:/again/1").predict({"x": x})
    assert same(list(found.values())[0], dense(x).numpy()), found
    print("what MLflow logged is pulled and run: a SavedModel, a .keras file")


def check_failures(program, folder, host, one):
    """Networks and servers that fail, lie or send elsewhere."""
    number = [0]

    def pull(expected=None, name="digits@1", model=None, **methods):
        number[0] += 1
        other = Store(program, folder / f"bad-{number[0]}")
        with proxy(host, **methods) as (at, seen):
            words = ["pull", f"mlflow://{at}/{name}", *([model] if model else [])]
            if expected is None:
                other(*words)
            else:
                error = other.fails(*words)
                assert expected in error, error
                assert not list(other.folder.glob("*/[0-9]*")), "something was published"
        return seen

    def is_file(self, name):
        return self.command == "GET" and self.path.endswith(name)

    # Every third request fails once.
    counter = [0]

    def sometimes(self, body):
        counter[0] += 1
        return self.say(503) if counter[0] % 3 == 0 else None
    pull(fail=sometimes)
    with proxy(host, fail=sometimes) as (at, _):
        one("push", "text@loaded", f"mlflow://{at}/sometimes")
    pull(name="sometimes")

    def changed(self, answer, data):
        if is_file(self, "saved_model.pb"):
            data = data[:100] + bytes([data[100] ^ 1]) + data[101:]
        Proxy.pass_on(self, answer, data)
    pull("other contents", pass_on=changed)

    def other_manifest(self, answer, data):
        Proxy.pass_on(self, answer, data.replace(b"0.97", b"0.99") if is_file(self, "tf-persist.json") else data)
    pull("other contents", pass_on=other_manifest)

    def no_manifest(self, body):
        return self.say(404) if is_file(self, "tf-persist.json") else None
    pull("does not exist", fail=no_manifest)
    pull("refuses access", fail=lambda self, body: self.say(401, b"<html>You are not authenticated</html>"))

    # The check of the Host header, which every name but those of this machine and of private networks fails.
    def other_host(self, body):
        self.headers.replace_header("Host", "mlflow.example")
        connection = http.client.HTTPConnection(self.behind)
        connection.request(self.command, self.path, body or None, dict(self.headers))
        answer = connection.getresponse()
        self.pass_on(answer, answer.read())
        return True
    pull("--allowed-hosts", fail=other_host)

    # A connection that breaks goes on where it was, if the server can; without ranges it begins again.
    for ranges in (True, False):
        broken = []

        def breaks(self, answer, data):
            if not ranges and is_file(self, "model.keras"):
                self.close_connection = True
            if is_file(self, "model.keras") and len(broken) < 2 and (ranges or not broken):
                broken.append(self.headers.get("Range"))
                self.close_connection = True
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[:1000])
                return
            Proxy.pass_on(self, answer, data)

        def no_ranges(self, body):
            if not ranges:
                del self.headers["Range"]
        seen = pull(name="a%20dense%20model", model="dense", fail=no_ranges, pass_on=breaks)
        wanted = [headers.get("Range", "") for _, path, headers in seen if path.endswith("model.keras")]
        assert wanted[1].startswith("bytes=1000-"), wanted
        assert (len(wanted), wanted[2][:11]) == ((3, "bytes=2000-") if ranges else (3, "")), wanted

    # Files are elsewhere, where nobody may see what the server sees.
    elsewhere = []

    def files(self, body):
        elsewhere.append({name.title() for name in self.headers})

    with proxy(host, fail=files) as (at, _):
        def redirects(self, body):
            if self.command == "GET" and "/artifacts/" in self.path:
                return self.say(307, b"", ("Location", f"http://{at}{self.path}"))
        with proxy(host, fail=redirects) as (front, seen):
            number[0] += 1
            other = Store(program, folder / f"bad-{number[0]}", MLFLOW_TRACKING_TOKEN="t0ken")
            other("pull", f"mlflow://{front}/digits@1")
            assert all(headers["Authorization"] == "Bearer t0ken" for _, _, headers in seen)
    assert elsewhere and not any("Authorization" in names for names in elsewhere), "credentials went elsewhere"
    error = one.fails("push", "digits@1", f"mlflow://127.0.0.1:{free_port()}/digits")
    assert "cannot reach" in error, error
    print("servers that fail, lie or send elsewhere are noticed")


def check_interrupted(program, folder, host, one):
    """A push that was killed is gone on with, and makes one version."""
    big = folder / "big"
    shutil.copytree(MODELS / "digits/model", big)
    (big / "assets.extra").mkdir(exist_ok=True)
    for index in range(4):
        (big / f"assets.extra/{index}").write_bytes(os.urandom(20 << 20))
    one("publish", big, "big")
    sent = []

    def slow(self, body):
        if self.command == "PUT" and len(body) > 1 << 20:
            sent.append(self.path)
            if len(sent) > 2:
                # Longer than the program lives.
                time.sleep(20)
    with proxy(host, fail=slow) as (at, _):
        environment = {**os.environ, "TF_PERSIST_STORE": str(one.folder)}
        pushing = subprocess.Popen([program, "store", "push", "big@1", f"mlflow://{at}/big"], env=environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            if len(sent) > 2:
                break
            time.sleep(0.05)
        pushing.kill()
        pushing.wait()
    client = MlflowClient(f"http://{host}")
    assert not client.search_model_versions("name='big'")
    with proxy(host) as (at, seen):
        one("push", "big@1", f"mlflow://{at}/big")
        again = [path for method, path, headers in seen if method == "PUT" and int(headers["Content-Length"]) > 1 << 20]
    assert 1 <= len(again) <= 2, again
    assert [it.version for it in client.search_model_versions("name='big'")] == ["1"]
    other = Store(program, folder / "big-store")
    other("pull", f"mlflow://{host}/big")
    assert other.identity("big@1") == one.identity("big@1")
    print("a push that was killed is gone on with")


def check_credentials(program, folder, host, one):
    """Users and passwords, by the variables of MLflow; none of them is printed."""
    address = f"mlflow://{host}/digits"
    said = one.fails("push", "digits@1", address)
    assert "refuses access" in said and "MLFLOW_TRACKING_USERNAME" in said, said
    one.environment |= {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    said = one("push", "digits@1", address, "--label", "production")
    assert PASSWORD not in said, said
    other = Store(program, folder / "with-password", **one.environment)
    other.environment["TF_PERSIST_STORE"] = str(other.folder)
    assert other("pull", f"{address}@production")
    one.environment["MLFLOW_TRACKING_PASSWORD"] = "another secret"
    for words in (("push", "digits@1", address), ("pull", f"{address}@production")):
        said = one.fails(*words)
        assert "refuses access" in said and "secret" not in said and "401" in said, said
    encoded = base64.b64encode(b"admin:another secret").decode()
    assert encoded not in said
    del one.environment["MLFLOW_TRACKING_PASSWORD"]
    assert "without MLFLOW_TRACKING_PASSWORD" in one.fails("push", "digits@1", address)
    one.environment = {"MLFLOW_TRACKING_TOKEN": "no\ntoken"}
    said = one.fails("push", "digits@1", address)
    assert "MLFLOW_TRACKING_TOKEN" in said and "no\n" not in said, said
    one.environment = {}
    said = one.run("store", "push", "digits@1", f"mlflow://admin:secret@{host}/digits").stderr
    assert "come from the environment" in said and "secret" not in said, said
    print("users and passwords")


def check_bucket(program, folder, moto):
    """A server that names a bucket, and keeps no files itself."""
    port = free_port()
    path = os.pathsep.join([str(moto), os.environ.get("PYTHONPATH", "")])
    s3 = Process([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port], folder / "moto.log", PYTHONPATH=path)
    settings = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true"}
    server, host = mlflow_server(folder, "bucket", "--no-serve-artifacts", "--default-artifact-root", "s3://models/mlflow")
    try:
        s3.wait_for(f"http://127.0.0.1:{port}/", (200, 403))
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/models", method="PUT")).close()
        server.wait_for(f"http://{host}/health", (200,))
        one, other = (Store(program, folder / name, **settings) for name in ("bucket-one", "bucket-other"))
        big = folder / "larger"
        shutil.copytree(MODELS / "digits/model", big)
        (big / "assets.extra").mkdir(exist_ok=True)
        (big / "assets.extra/data").write_bytes(os.urandom(20 << 20))
        one("publish", big, "digits")
        one("push", "digits@1", f"mlflow://{host}/digits", "--label", "production")
        other("pull", f"mlflow://{host}/digits@production")
        assert one.identity("digits@1") == other.identity("digits@1")
        print("a server whose files are in a bucket")
    finally:
        server.end()
        s3.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", required=True)
    parser.add_argument("--moto", type=pathlib.Path)
    arguments = parser.parse_args()
    program = os.path.abspath(arguments.tf_persist)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_EXPERIMENT_NAME"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        server, host = mlflow_server(folder, "open", "--artifacts-destination", folder / "files")
        stack.callback(server.end)
        auth, auth_host = mlflow_server(
            folder, "auth", "--artifacts-destination", folder / "auth-files", "--app-name", "basic-auth",
            MLFLOW_AUTH_ADMIN_USERNAME="admin", MLFLOW_AUTH_ADMIN_PASSWORD=PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY="key")
        stack.callback(auth.end)
        server.wait_for(f"http://{host}/health", (200,))
        one = check_pushed(program, folder, host)
        check_loaded(folder, host, one)
        check_logged(program, folder, host)
        check_failures(program, folder, host, one)
        check_interrupted(program, folder, host, one)
        auth.wait_for(f"http://{auth_host}/health", (200,))
        check_credentials(program, folder, auth_host, one)
        if arguments.moto:
            check_bucket(program, folder, arguments.moto)
        else:
            print("SKIPPED: without --moto there is no bucket")
    print("MLflow: all passed")


if __name__ == "__main__":
    main()

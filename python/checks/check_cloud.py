"""Starts `tf-persist` as SageMaker and Vertex AI start a container, and calls it as they do.

    python -m checks.check_cloud --tf-persist target/debug/tf-persist

What they do is taken from their documents: the only argument `serve`, environment variables, where a model lies, and the requests that reach a
container. The platforms themselves are not there: nothing of their own is run. Google Cloud Storage is an imitation (fake_gcs.py). Exit code 1 if
anything is not as it should be.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from checks.check_remotes import Servers, free_port, google_account

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
HALF, DIGITS = ROOT / "models/half_plus_two/model", ROOT / "models/digits/model"


class Failed(Exception):
    """A check failed."""


class Container:
    """A process as the platform starts it, on one port."""

    def __init__(self, command: list[str], environment: dict[str, str], port: int, log: Path) -> None:
        self.port, self.log = port, log
        # The platforms' containers have little else in their environments.
        kept = {name: os.environ[name] for name in ("PATH", "TF_PERSIST_LIBTENSORFLOW", "LD_LIBRARY_PATH") if name in os.environ}
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, env=kept | environment, stdout=output, stderr=output)

    def call(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> tuple[int, bytes, str]:
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as reply:
                return reply.status, reply.read(), reply.headers.get("Content-Type", "")
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers.get("Content-Type", "")

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Posts JSON, and reads JSON."""
        text = body if isinstance(body, str) else json.dumps(body)
        status, reply, _ = self.call("POST", path, text, **({"Content_Type": "application/json"} | headers))
        return status, json.loads(reply)

    def wait_for(self, path: str) -> None:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self.call("GET", path)[0] == 200:
                    return
            time.sleep(0.02)
        raise Failed(f"{path} did not answer 200:\n{self.log.read_text()[-3000:]}")


@contextlib.contextmanager
def container(command: list[str], environment: dict[str, str], port: int, folder: Path) -> Iterator[Container]:
    running = Container(command, environment | {"HOME": str(folder)}, port, folder / "log")
    try:
        yield running
        running.process.send_signal(signal.SIGTERM)
        expect("exit code after SIGTERM", running.process.wait(SECONDS), 0)
    finally:
        running.process.kill()
        running.process.wait()


def expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise Failed(f"{what}: {found!r} instead of {expected!r}")


def refused(what: str, found: tuple[int, Any], status: int, words: str) -> None:
    code, body = found
    if code != status or words not in body.get("error", ""):
        raise Failed(f"{what}: {found!r} instead of {status} with {words!r}")


def sagemaker(tf_persist: str, folder: Path) -> None:
    """One model, as SageMaker unpacks it into /opt/ml/model; here into another folder, which an environment variable names."""
    port, root = free_port(), folder / "opt/ml/model"
    for version in ("1", "2"):
        shutil.copytree(HALF, root / "half_plus_two" / version)
    shutil.copytree(DIGITS, root / "digits" / "7")
    (root / "code").mkdir()
    environment = {"SAGEMAKER_BIND_TO_PORT": str(port), "SAGEMAKER_TFS_DEFAULT_MODEL_NAME": "half_plus_two"}
    with container([tf_persist, "serve"], environment | {"TF_PERSIST_MODEL_BASE_PATH": str(root)}, port, folder) as server:
        server.wait_for("/ping")
        # Healthy with the first version, and ready with all.
        server.wait_for("/readyz")
        invoke = lambda body, **headers: server.post("/invocations", body, **headers)
        half = {"predictions": [2.5, 3.0]}
        expect("instances", invoke({"instances": [1.0, 2.0]}), (200, half))
        expect("a character set", invoke({"instances": [1.0, 2.0]}, Content_Type="application/json; charset=utf-8"), (200, half))
        expect("inputs", invoke({"inputs": [1.0, 2.0]})[1], {"outputs": [2.5, 3.0]})
        expect("one number", invoke("1.0"), (200, {"predictions": [2.5]}))
        expect("data", invoke("[[1.0, 2.0]]"), (200, {"predictions": [half["predictions"]]}))
        expect("values", invoke("1.0\n2.0\n"), (200, half))
        expect("JSON lines", invoke("1.0\n2.0\n", Content_Type="application/jsonlines"), (200, half))
        expect("jsons", invoke("1.0 2.0", Content_Type="application/jsons"), (200, half))
        expect("CSV", invoke("1.0\n2.0\n", Content_Type="text/csv"), (200, half))
        expect("rows of CSV", invoke("1,2\n3,4", Content_Type="text/csv"), (200, {"predictions": [[2.5, 3.0], [3.5, 4.0]]}))
        status, body, kind = server.call("POST", "/invocations", "1.0", Accept="application/jsonlines", Content_Type="application/json")
        expect("an answer as a line", (status, body.count(b"\n"), json.loads(body), kind), (200, 0, {"predictions": [2.5]}, "application/jsonlines"))

        attributes = lambda text: {"X_Amzn_SageMaker_Custom_Attributes": text}
        expect("a version", invoke("1.0", **attributes("tfs-model-version=1"))[0], 200)
        image = [[[0.0]] * 8] * 8
        status, answer = invoke({"instances": [image]}, **attributes("tfs-model-name=digits,tfs-model-version=7,tfs-method=predict"))
        expect("another model", (status, len(answer["predictions"])), (200, 1))
        refused("an absent version", invoke("1.0", **attributes("tfs-model-version=3")), 404, "Specific(half_plus_two, 3)")
        refused("no number", invoke("1.0", **attributes("tfs-model-version=x")), 400, "tfs-model-version")
        refused("another method", invoke("1.0", **attributes("tfs-method=explain")), 400, "tfs-method")
        refused("another type", invoke("1.0", Content_Type="application/x-npy"), 415, "Unsupported Media Type: application/x-npy")
        refused("broken JSON", invoke("[1.0"), 400, "JSON")
        refused("nothing", invoke(""), 400, "no instances")
        refused("a text for a number", invoke("a\n", Content_Type="text/csv"), 400, "")
        expect("GET /invocations", server.call("GET", "/invocations")[0], 405)
        expect("a path of nobody", server.call("GET", "/nothing")[0], 404)
        states = {model["name"]: len(model["versions"]) for model in json.loads(server.call("GET", "/models")[1])["models"]}
        expect("our page of the models", states, {"half_plus_two": 2, "digits": 1})
    print("SageMaker: one container with two models, asked in each way")


def sagemaker_without_model(tf_persist: str, folder: Path) -> None:
    """A folder without a model ends the container with a sentence, as does a port that is none."""
    (folder / "empty").mkdir()
    for environment, words in [
        ({"TF_PERSIST_MODEL_BASE_PATH": str(folder / "empty")}, "no model is below"),
        ({"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT"),
    ]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)} | environment
        done = subprocess.run([tf_persist, "serve"], env=environment, capture_output=True, text=True, timeout=SECONDS)
        if done.returncode == 0 or words not in done.stderr:
            raise Failed(f"{environment}: {done.returncode}, {done.stderr}")


def sagemaker_multi(tf_persist: str, folder: Path) -> None:
    """Models that SageMaker loads and unloads while the container runs."""
    port, models = free_port(), folder / "opt/ml/models"
    for name in ("a", "b", "c"):
        shutil.copytree(HALF, models / name / "model/half_plus_two/1")
    (models / "broken/model/1").mkdir(parents=True)
    (models / "broken/model/1/saved_model.pb").write_bytes(b"no model")
    (models / "empty/model").mkdir(parents=True)
    url = lambda name: str(models / name / "model")
    environment = {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_BIND_TO_PORT": str(port)}
    with container([tf_persist, "serve"], environment, port, folder) as server:
        server.wait_for("/ping")
        load = lambda name: server.post("/models", {"model_name": name, "url": url(name)})
        get = lambda path: (lambda reply: (reply[0], json.loads(reply[1])))(server.call("GET", path))
        expect("no models", get("/models"), (200, {"models": []}))
        for name in ("a", "b"):
            expect(f"load {name}", load(name)[0], 200)
        refused("load twice", load("a"), 409, "already loaded")
        refused("load nothing", load("absent"), 404, "absent")
        refused("load an empty folder", load("empty"), 404, "no model is below")
        expect("load a broken model", load("broken")[0], 500)
        refused("no request", server.post("/models", {"model_name": "x"}), 400, "url")
        refused("no JSON", server.post("/models", "["), 400, "not a request")
        listed = [{"modelName": name, "modelUrl": url(name)} for name in ("a", "b")]
        expect("list", get("/models"), (200, {"models": listed}))
        expect("show", get("/models/a"), (200, listed[0]))
        refused("show a broken one", get("/models/broken"), 404, "not loaded")
        expect("invoke", server.post("/models/a/invoke", "1.0", X_Amzn_SageMaker_Target_Model="a.tar.gz"), (200, {"predictions": [2.5]}))
        expect("invoke with CSV", server.post("/models/b/invoke", "2.0", Content_Type="text/csv"), (200, {"predictions": [3.0]}))
        refused("invoke an absent one", server.post("/models/c/invoke", "1.0"), 404, "not loaded")
        expect("unload", server.call("DELETE", "/models/a")[0], 200)
        expect("unload twice", server.call("DELETE", "/models/a")[0], 404)
        refused("invoke what was unloaded", server.post("/models/a/invoke", "1.0"), 404, "not loaded")
        expect("load again", load("a")[0], 200)
        expect("PUT", server.call("PUT", "/models/a", "")[0], 405)
        churn(server, load)
    print("SageMaker: models loaded and unloaded by requests")


def churn(server: Container, load: Any) -> None:
    """Another model comes and goes while one is asked."""
    failures, asked, stop = [], [0], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = server.post("/models/b/invoke", "2.0")
            asked[0] += 1
            if answer != (200, {"predictions": [3.0]}):
                failures.append(answer)

    thread = threading.Thread(target=ask)
    thread.start()
    for _ in range(5):
        expect("load", load("c")[0], 200)
        expect("invoke", server.post("/models/c/invoke", "1.0")[0], 200)
        expect("unload", server.call("DELETE", "/models/c")[0], 200)
    stop.set()
    thread.join()
    expect("requests that failed meanwhile", (failures, asked[0] > 0), ([], True))


def vertex(tf_persist: str, folder: Path) -> None:
    """A model in Google Cloud Storage, a SavedModel itself or a folder of versions, as Vertex AI names it."""
    gcs = free_port()
    with Servers() as servers:
        if not servers.start(gcs, sys.executable, "-m", "checks.fake_gcs", gcs):
            raise Failed("fake_gcs does not start")
        upload(gcs, HALF, "artifacts/7/model")
        upload(gcs, HALF, "artifacts/versions/3")
        for name, address, version in [("model", "gs://artifacts/7/model", "1"), ("versions", "gs://artifacts/versions/", "3")]:
            port = free_port()
            endpoint = "/v1/endpoints/12/deployedModels/34"
            environment = {
                "AIP_HTTP_PORT": str(port),
                "AIP_HEALTH_ROUTE": endpoint,
                "AIP_PREDICT_ROUTE": f"{endpoint}:predict",
                "AIP_STORAGE_URI": address,
                "AIP_ENDPOINT_ID": "12",
                "AIP_DEPLOYED_MODEL_ID": "34",
                "AIP_PROJECT_NUMBER": "5",
                "AIP_MODE": "PREDICTION",
                "GOOGLE_SERVICE_ACCOUNT_KEY": google_account(gcs),
            }
            scratch = folder / name
            scratch.mkdir()
            with container([tf_persist, "serve"], environment, port, scratch) as server:
                server.wait_for(endpoint)
                asked_by_vertex(server, f"{endpoint}:predict")
                states = json.loads(server.call("GET", "/models")[1])["models"][0]["versions"]
                expect("versions", [(it["version"], it["state"]) for it in states], [(version, "AVAILABLE")])
        # A place without a model: the container runs and is not healthy.
        port = free_port()
        environment |= {"AIP_HTTP_PORT": str(port), "AIP_STORAGE_URI": "gs://artifacts/7/nothing"}
        with container([tf_persist, "serve"], environment, port, folder) as server:
            end = time.monotonic() + SECONDS
            while (problem := problem_of(server)) is None and time.monotonic() < end:
                time.sleep(0.05)
            if "is not a model itself" not in (problem or ""):
                raise Failed(f"the problem of a place without a model is {problem!r}")
            expect("health without a model", server.call("GET", endpoint)[0], 503)
    print("Vertex AI: a model and a folder of versions in a bucket")


def problem_of(server: Container) -> str | None:
    with contextlib.suppress(OSError):
        return json.loads(server.call("GET", "/models")[1])["models"][0].get("problem")
    return None


def asked_by_vertex(server: Container, route: str) -> None:
    predict = lambda body, **headers: server.post(route, body, **headers)
    expect("instances", predict({"instances": [1.0, 2.0]}), (200, {"predictions": [2.5, 3.0]}))
    expect("empty parameters", predict({"instances": [1.0], "parameters": {}}), (200, {"predictions": [2.5]}))
    expect("null parameters", predict({"instances": [1.0], "parameters": None}), (200, {"predictions": [2.5]}))
    default = {"signature_name": "serving_default"}
    expect("a signature", predict({"instances": [1.0], "parameters": default}), (200, {"predictions": [2.5]}))
    expect("a raw request", predict({"inputs": [1.0]}), (200, {"outputs": [2.5]}))
    refused("an absent signature", predict({"instances": [1.0], "parameters": {"signature_name": "absent"}}), 400, "absent")
    refused("another parameter", predict({"instances": [1.0], "parameters": {"top_k": 3}}), 400, '"top_k"')
    refused("parameters that are none", predict({"instances": [1.0], "parameters": 3}), 400, "parameters")
    refused("no JSON", predict("{"), 400, "JSON")
    refused("no instances", predict({"parameters": {}}), 400, "")
    expect("GET of the predict route", server.call("GET", route)[0] == 200, False)


def upload(port: int, folder: Path, place: str) -> None:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        url = f"http://127.0.0.1:{port}/{place}/{path.relative_to(folder)}"
        urllib.request.urlopen(urllib.request.Request(url, data=path.read_bytes(), method="PUT"), timeout=SECONDS).close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    tf_persist = str(parser.parse_args().tf_persist.resolve())
    for check in (sagemaker, sagemaker_without_model, sagemaker_multi, vertex):
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(tf_persist, Path(folder))
            except Failed as error:
                print(f"FAILED: {check.__name__}: {error}", file=sys.stderr)
                with contextlib.suppress(OSError):
                    print((Path(folder) / "log").read_text()[-3000:], file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

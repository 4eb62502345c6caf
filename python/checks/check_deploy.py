"""Compares the manifests of `tf-persist deploy` and of the Helm chart with schemas, and runs what they start.

    PYTHONPATH=python:TOOLS .venv/bin/python -m checks.check_deploy --tf-persist PROGRAM --kserve DIR [--crds DIR]

TOOLS has the package `kubernetes-validate`, with Kubernetes's own schemas, and perhaps `helm-python-sdk`, which is Helm.
DIR has the package `kserve`, whose classes list the fields of KServe's objects with their types; with --crds, the CRDs
of KServe's repository are compared, too. There is no cluster: nothing is applied.
"""

import argparse
import ast
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import jsonschema
import kubernetes_validate
import numpy as np
import yaml

from checks.check_remotes import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/digits/model"
CHART = ROOT / "deploy/helm/tf-persist"
IMAGE = "ghcr.io/team/digits:7"
VERSIONS = ("1.32", "1.37")
SECONDS = 60


class Classes:
    """The fields of KServe's classes, which are read and not run: the package needs many others."""

    def __init__(self, folder):
        self.known = {}
        for file in pathlib.Path(folder).glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef):
                    values = {target.id: ast.literal_eval(statement.value) for statement in node.body if isinstance(statement, ast.Assign)
                              for target in statement.targets if target.id in ("openapi_types", "attribute_map")}
                    required = set(re.findall(r"Invalid value for `(\w+)`, must not be `None`", file.read_text()))
                    if len(values) == 2:
                        self.known[node.name] = ({values["attribute_map"][name]: kind for name, kind in values["openapi_types"].items()},
                                                 {values["attribute_map"][name] for name in required})
        assert {"V1beta1InferenceService", "V1alpha1ServingRuntime"} <= set(self.known), folder
        schemas = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
        newest = max((path for path in schemas.glob("v*-local-strict")), key=lambda path: [int(it) for it in re.findall(r"\d+", path.name)])
        self.kubernetes = json.loads((newest / "_definitions.json").read_text())["$defs"]

    def check(self, value, kind, path):
        """Refuses a field that the class does not have, a type that is another one, and an absent field that is needed."""
        simple = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object, "IntOrString": (int, str), "ResourceQuantity": str}
        if (inner := re.fullmatch(r"list\[(.+)\]", kind)) is not None:
            assert isinstance(value, list), f"{path} is not a list"
            for index, item in enumerate(value):
                self.check(item, inner[1], f"{path}[{index}]")
        elif (inner := re.fullmatch(r"dict\(str, (.+)\)", kind)) is not None:
            assert isinstance(value, dict) and all(isinstance(key, str) for key in value), f"{path} is not a map"
            for key, item in value.items():
                self.check(item, inner[1], f"{path}.{key}")
        elif kind in simple:
            assert isinstance(value, simple[kind]) and not (kind == "int" and isinstance(value, bool)), f"{path} is {value!r}, not {kind}"
        elif kind in self.known:
            fields, required = self.known[kind]
            assert isinstance(value, dict), f"{path} is not an object"
            assert not required - set(value), f"{path} lacks {required - set(value)}"
            for key, item in value.items():
                assert key in fields, f"{path} has no field `{key}`"
                self.check(item, fields[key], f"{path}.{key}")
        else:
            names = [name for name in self.kubernetes if name.startswith("io.k8s.") and name.endswith(f".{kind.removeprefix('V1')}") and ".v1." in name]
            assert names or kind == "V1beta1MetricQuantity", f"{path}: no schema for {kind}"
            if names:
                schema = {"$ref": f"#/$defs/{names[0]}", "$defs": self.kubernetes}
                errors = [f"{path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]
                assert not errors, errors


def strict(schema):
    """A CRD's schema that refuses unknown fields, as `kubectl apply` with validation does."""
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if "properties" in schema and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
        if schema.get("x-kubernetes-int-or-string"):
            schema.pop("type", None)
        return schema
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


def crd_schemas(folder):
    found = {}
    for file in pathlib.Path(folder).rglob("serving.kserve.io_*.yaml"):
        for document in yaml.safe_load_all(file.read_text()):
            for version in document["spec"]["versions"]:
                found[document["spec"]["names"]["kind"], version["name"]] = strict(version["schema"]["openAPIV3Schema"])
    return found


class Checker:
    def __init__(self, kserve, crds):
        self.classes = Classes(kserve)
        self.crds = crd_schemas(crds) if crds else {}

    def check(self, document):
        group, _, version = document["apiVersion"].rpartition("/")
        if group != "serving.kserve.io":
            for kubernetes in VERSIONS:
                kubernetes_validate.validate(document, kubernetes, strict=True)
            return
        self.classes.check(document, version.capitalize() + document["kind"], document["kind"])
        if self.crds:
            schema = dict(self.crds[document["kind"], version])
            # Those of every object.
            schema["properties"] = {**schema["properties"], "metadata": {}}
            errors = [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(document)]
            assert not errors, errors

    def refuses(self, document, change):
        """The check itself finds what is wrong."""
        changed = json.loads(json.dumps(document))
        change(changed)
        try:
            self.check(changed)
        except (AssertionError, kubernetes_validate.ValidationError):
            return
        raise SystemExit(f"a wrong {document['kind']} passed")


class Program:
    def __init__(self, path, folder):
        self.path = str(pathlib.Path(path).resolve())
        self.environment = {**os.environ, "TF_PERSIST_STORE": str(folder / "store")}

    def run(self, *words, **variables):
        return subprocess.run([self.path, *map(str, words)], env=self.environment | variables, capture_output=True, text=True)

    def __call__(self, *words, **variables):
        done = self.run(*words, **variables)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def manifests(self, *words):
        return list(yaml.safe_load_all(self("deploy", *words)))

    def fails(self, *words):
        done = self.run("deploy", *words)
        assert done.returncode in (1, 2) and not done.stdout and "panicked" not in done.stderr, f"{words}: {done}"
        return done.stderr


def check_kserve(program, checker):
    """Both kinds of services, with each way to scale."""
    (service,) = program.manifests("kserve", "digits@production", "--image", IMAGE)
    checker.check(service)
    assert (service["kind"], service["metadata"]["name"]) == ("InferenceService", "digits")
    assert service["metadata"]["annotations"]["io.tf-persist/model"] == "digits@1"
    predictor = service["spec"]["predictor"]
    (container,) = predictor["containers"]
    assert container["image"] == IMAGE and "readinessProbe" in container and "model" not in predictor
    assert predictor["terminationGracePeriodSeconds"] > container["lifecycle"]["preStop"]["sleep"]["seconds"] + 30
    checker.refuses(service, lambda it: it["spec"]["predictor"].update(replicas=3))
    checker.refuses(service, lambda it: it["spec"]["predictor"].update(minReplicas="1"))
    checker.refuses(service, lambda it: it["spec"]["predictor"]["containers"][0].update(readinessProbes={}))
    checker.refuses(service, lambda it: it["spec"]["predictor"]["containers"][0]["readinessProbe"]["httpGet"].pop("port"))

    words = ("kserve", "digits@1", "--image", f"oci://{IMAGE}", "--namespace", "models", "--name", "numbers", "--image-pull-secret", "ghcr",
             "--service-account", "reader", "--env", "TF_PERSIST_OPTIMIZE=off", "--env", "ODD=$(HOME) \"'\n#", "--memory", "3Gi", "--cpu", "500m")
    runtime, service = program.manifests(*words, "--storage-uri", "oci+native://ghcr.io/team/model:7", "--prometheus", "http://prometheus:9090", "--min-replicas", "2")
    for document in (runtime, service):
        checker.check(document)
        assert document["metadata"]["namespace"] == "models"
    assert (runtime["kind"], runtime["metadata"]["name"], service["spec"]["predictor"]["model"]["runtime"]) == ("ServingRuntime", "tf-persist", "tf-persist")
    (container,) = runtime["spec"]["containers"]
    assert container["image"] == IMAGE and "--model_base_path=/mnt/models" in container["args"] and "--model_name={{.Name}}" in container["args"]
    assert {"name": "ODD", "value": "$$(HOME) \"'\n#"} in container["env"], "a value in Kubernetes is what was given"
    predictor = service["spec"]["predictor"]
    assert predictor["serviceAccountName"] == "reader" and predictor["imagePullSecrets"] == [{"name": "ghcr"}]
    (metric,) = predictor["autoScaling"]["metrics"]
    assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda" and "scaleMetric" not in predictor
    assert 'pod=~"numbers-predictor-.*"' in metric["external"]["metric"]["query"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 3)
    fixed = program.manifests("kserve", MODEL, "--name", "digits", "--image", IMAGE, "--max-replicas", "1")[0]
    checker.check(fixed)
    assert fixed["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none" and "scaleMetric" not in fixed["spec"]["predictor"]
    for words, wrong in (
            (("--image", "Ghcr.io/Team"), "upper case"), (("--image", "a b"), "--image"), (("--image", IMAGE, "--name", "Digits"), "lower case"),
            (("--image", IMAGE, "--name", "x" * 41), "at most 40"), (("--image", IMAGE, "--namespace", "a.b"), "at most 63"),
            (("--image", IMAGE, "--storage-uri", "ftp://a"), "does not know"), (("--image", IMAGE, "--storage-uri", "s3://"), "does not know"),
            (("--image", IMAGE, "--min-replicas", "4", "--max-replicas", "3"), "less than"), (("--image", IMAGE, "--min-replicas", "0"), "0"),
            (("--image", IMAGE, "--memory", "2GB"), "not a size"), (("--image", IMAGE, "--cpu", "none"), "not a number"),
            (("--image", IMAGE, "--env", "PYTHONPATH=/x"), "PYTHONPATH"), (("--image", IMAGE, "--prometheus", "prometheus"), "--prometheus"),
            (("--image", IMAGE, "--runtime", "r"), "storage-uri"), (("--image", IMAGE, "--target-requests", "3"), "prometheus"), ((), "--image")):
        error = program.fails("kserve", "digits@1", *words)
        assert wrong in error, (words, error)
    assert "has no version 3" in program.fails("kserve", "digits@3", "--image", IMAGE)
    print("KServe's objects fit its types")
    return container


@contextlib.contextmanager
def server(program, arguments, folder):
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program.path, *arguments], stdout=output, stderr=output, env=program.environment)
    try:
        yield process, log
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, log.read_text()[-3000:]
    finally:
        process.kill()
        process.wait()


def check_server(program, container, folder):
    """The container's arguments start a server, which answers at the paths of the probes and of the metrics."""
    models = folder / "mnt/models"
    models.mkdir(parents=True)
    (models / "7").symlink_to(MODEL)
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }\n")
    port, grpc = free_port(), free_port()
    replaced = {"{{.Name}}": "numbers", "/mnt/models": str(models), "--rest_api_port=8080": f"--rest_api_port={port}", "--port=9000": f"--port={grpc}",
                "/tf-persist/etc/monitoring.config": str(monitoring)}
    arguments = container["args"]
    for old, new in replaced.items():
        assert any(old in argument for argument in arguments), (old, arguments)
        arguments = [argument.replace(old, new) for argument in arguments]
    with server(program, arguments, folder) as (process, log):
        end = time.monotonic() + SECONDS

        def get(path, data=None):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=SECONDS) as answer:
                return answer.read()
        while True:
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
            with contextlib.suppress(OSError):
                get(container["readinessProbe"]["httpGet"]["path"])
                break
            time.sleep(0.1)
        get(container["livenessProbe"]["httpGet"]["path"])
        assert b"tf_persist_requests_under_way" in get("/monitoring/prometheus/metrics"), "the measure that KEDA asks for"
        body = json.dumps({"instances": np.load(ROOT / "models/digits/io.npz")["c0.in.image"].tolist()}).encode()
        assert len(json.loads(get("/v1/models/numbers:predict", body))["predictions"]) == 1
    print("the server starts with the container's arguments, and answers its probes")


def check_batch(program, checker, folder):
    """The Job fits Kubernetes, and its pods write what one run writes."""
    (job,) = program.manifests("batch", "digits@1", "--image", IMAGE, "--claim", "scores", "--inputs", "/in/", "--output", "out", "--shards", "3",
                               "--batch-size", "8", "--namespace", "models")
    checker.check(job)
    checker.refuses(job, lambda it: it["spec"].update(indexed=True))
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    (container,) = spec["template"]["spec"]["containers"]
    data = folder / "data"
    (data / "in").mkdir(parents=True)
    (data / "out").mkdir()
    rows = np.load(ROOT / "models/digits/io.npz")["c2.in.image"]
    for index, part in enumerate(np.array_split(rows, 3)):
        np.savez(data / f"in/part-{index:05}.npz", image=part)
    (data / "in/_SUCCESS").write_text("")
    arguments = [argument.replace("/models/digits/1", str(MODEL)).replace("/data/", f"{data}/") for argument in container["args"]]
    for index in range(3):
        program(*arguments, JOB_COMPLETION_INDEX=str(index))
    found = [np.load(data / f"out/part-{index:05}.npz")["probabilities"] for index in range(3)]
    np.testing.assert_allclose(np.concatenate(found), np.load(ROOT / "models/digits/io.npz")["c2.out.probabilities"], rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in (data / "out").iterdir()) == [f"part-{index:05}.npz" for index in range(3)]
    # A pod that is started again.
    program(*arguments, JOB_COMPLETION_INDEX="1")
    for variables, wrong in (({"JOB_COMPLETION_INDEX": "3"}, "has 3 files"), ({}, "--shard"), ({"JOB_COMPLETION_INDEX": "x"}, "JOB_COMPLETION_INDEX")):
        done = program.run(*arguments, **variables)
        assert done.returncode != 0 and wrong in done.stderr, done
    for words, wrong in ((("--shards", "0"), "0"), (("--shards", "1", "--claim", "A"), "at most 63"), (("--shards", "1", "--inputs", "../in"), "within the volume")):
        base = {"--claim": "scores", "--inputs": "in", "--output": "out"}
        given = dict(zip(words[::2], words[1::2], strict=True))
        error = program.fails("batch", "digits@1", "--image", IMAGE, *[word for pair in (base | given).items() for word in pair])
        assert wrong in error, error
    print("the Job fits Kubernetes, and its pods write the answers of all rows")


def check_chart(checker):
    """The chart as Helm renders it."""
    if importlib.util.find_spec("helm_python") is None:
        print("SKIPPED: helm-python-sdk is not installed, so the chart is not rendered: scripts/test --all does that")
        return
    import helm_python as helm
    least = {"image": {"repository": "ghcr.io/team/digits", "tag": "7"}}
    full = {**least, "imagePullSecrets": [{"name": "ghcr"}], "model": {"name": "digits", "basePath": "s3://models/digits"}, "args": ["--max_batch_size=64"],
            "env": [{"name": "A", "value": "b"}], "apiKeySecret": "keys", "autoscaling": {"enabled": True}, "serviceAccountName": "reader",
            "podAnnotations": {"a": "b"}, "nodeSelector": {"kind": "cpu"}, "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}}, "service": {"annotations": {"a": "b"}, "type": "LoadBalancer"}}
    report = helm.lint(CHART, full, kube_version="v1.32.0")
    assert not report["errors"] and all(message["severity"] <= 1 for message in report["messages"]), report
    with helm.Chart.load(CHART) as chart:
        for values, kinds in ((least, {"Deployment", "Service", "PodDisruptionBudget"}),
                              (full, {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"}),
                              ({**least, "podDisruptionBudget": False, "metrics": False}, {"Deployment", "Service"})):
            texts = chart.render(values, name="digits", namespace="models")
            documents = [document for name, text in texts.items() if name.endswith(".yaml") for document in yaml.safe_load_all(text) if document]
            assert {document["kind"] for document in documents} == kinds
            for document in documents:
                checker.check(document)
        pinned = chart.render({"image": {"repository": "r", "digest": "sha256:" + "0" * 64}}, name="d", namespace="n")
        assert "image: r@sha256:000" in pinned["tf-persist/templates/deployment.yaml"]
        for wrong in ({}, {"image": {"repository": ""}}, {**least, "replica": 3}, {**least, "drainSeconds": -1}, {**least, "autoscaling": {"targetCPU": 0}}):
            try:
                chart.render(wrong, name="d", namespace="n")
            except helm.HelmError:
                continue
            raise SystemExit(f"the chart took {wrong}")
    print("the chart is rendered by Helm", helm.helm_sdk_version(), "and fits Kubernetes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tf-persist", required=True)
    parser.add_argument("--kserve", required=True)
    parser.add_argument("--crds")
    args = parser.parse_args()
    checker = Checker(pathlib.Path(args.kserve) / "kserve/models", args.crds)
    with tempfile.TemporaryDirectory(prefix="tf-persist-deploy-") as name:
        folder = pathlib.Path(name)
        program = Program(args.tf_persist, folder)
        program("store", "init")
        program("store", "publish", MODEL, "digits", "--label", "production")
        container = check_kserve(program, checker)
        check_server(program, container, folder)
        check_batch(program, checker, folder)
        check_chart(checker)
    print("manifests are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())

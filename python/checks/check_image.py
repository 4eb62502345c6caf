"""Writes images, unpacks them, and asks the servers in them.

    PYTHONPATH=python .venv/bin/python -m checks.check_image --tf-persist PROGRAM

An image is unpacked by this script and by umoci, and runs in a chroot as its user; with crun if this machine lets it
start containers. docker-registry gets one, and skopeo reads it. What is missing is named as SKIPPED.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

import numpy as np

from checks.check_oci import registry
from checks.check_remotes import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIGITS, HALF = ROOT / "models/digits", ROOT / "models/half_plus_two"
SECONDS = 120
USER = 65532
BUILD_SECONDS = 10
# Every container has these: without /proc, libtensorflow ends the process; without /dev/urandom, it throws an exception that nobody catches. The
# mounts go with the namespace, and so with the process.
MOUNT = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && shift && exec "$@"'


# As `readOnlyRootFilesystem` of Kubernetes with a volume at /tmp.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && mount -t tmpfs tmpfs "$1/tmp" && '


def in_root(rootfs, user, command, read_only=False):
    """A command in another root folder, as another user."""
    mount = (READ_ONLY if read_only else "") + MOUNT
    found = {name: shutil.which(name) or name for name in ("unshare", "sh", "chroot")}
    return [found["unshare"], "--mount", found["sh"], "-c", f"PATH=$PATH:/bin:/usr/bin:/sbin; {mount}", "sh", str(rootfs),
            found["chroot"], f"--userspec={user}", str(rootfs), *command]


def can_run(folder):
    """Whether this machine lets its user change roots and mount."""
    for name in ("proc", "dev"):
        (folder / "probe" / name).mkdir(parents=True)
    command = ["unshare", "--mount", "sh", "-c", MOUNT, "sh", folder / "probe", "true"]
    if os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0:
        return True
    print("SKIPPED: this machine lets its user neither change the root folder nor mount /proc, so no image is run")
    return False


class Layout:
    """A folder of images."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def blob(self, descriptor):
        path = self.folder / "blobs" / descriptor["digest"].replace(":", "/")
        data = path.read_bytes()
        assert len(data) == descriptor["size"], path
        assert "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"], path
        return data

    def image(self, tag):
        index = json.loads((self.folder / "index.json").read_text())
        (entry,) = [it for it in index["manifests"] if it["annotations"]["org.opencontainers.image.ref.name"] == tag]
        manifest = json.loads(self.blob(entry))
        return entry["digest"], manifest, json.loads(self.blob(manifest["config"]))

    def unpack(self, tag, target):
        """Unpacks the layers; modes, times and owners must not depend on this machine."""
        _, manifest, config = self.image(tag)
        assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"])
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
            path = self.folder / "blobs" / layer["digest"].replace(":", "/")
            mode = "r:gz" if layer["mediaType"].endswith("gzip") else "r:"
            with tarfile.open(path, mode) as archive:
                members = archive.getmembers()
                names = [member.name for member in members]
                assert len(names) == len(set(names)) and names, layer
                assert all((it.mtime, it.uname, it.gname) == (0, "", "") for it in members)
                assert all(it.isfile() or it.isdir() for it in members)
                archive.extractall(target, numeric_owner=True, filter="fully_trusted")
            if mode == "r:":
                assert layer["digest"] == diff_id
        return config


class Program:
    def __init__(self, path, folder):
        self.path = str(pathlib.Path(path).resolve())
        self.environment = {**os.environ, "TF_PERSIST_STORE": str(folder / "store"), "XDG_CACHE_HOME": str(folder / "cache"),
                            "DOCKER_CONFIG": str(folder)}
        self.environment.pop("SOURCE_DATE_EPOCH", None)

    def run(self, *words, **variables):
        return subprocess.run([self.path, *map(str, words)], env=self.environment | variables, capture_output=True, text=True)

    def __call__(self, *words, **variables):
        done = self.run(*words, **variables)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *words, code=1):
        done = self.run(*words)
        assert done.returncode == code and "panicked" not in done.stderr, f"{words}: {done.returncode} {done.stdout}{done.stderr}"
        return done.stderr

    def image(self, *words, **variables):
        """Writes an image; gives its report and the seconds that took."""
        begin = time.monotonic()
        report = json.loads(self("image", *words, "--format", "json", **variables))
        return report, time.monotonic() - begin


def get(port, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return json.load(answer)


def wait_for(port, process, log):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=SECONDS):
                return
        time.sleep(0.1)
    raise AssertionError(f"the server in the image is not ready: {log.read_text()[-3000:]}")


def check_answers(port):
    """The answers that TensorFlow gave, and metadata."""
    recorded = np.load(DIGITS / "io.npz")
    for case in ("c0", "c1", "c2"):
        answer = get(port, "/v1/models/digits:predict", {"instances": recorded[f"{case}.in.image"].tolist()})
        np.testing.assert_allclose(np.array(answer["predictions"]), recorded[f"{case}.out.probabilities"], rtol=1e-5, atol=1e-6)
    status = get(port, "/v1/models/digits")["model_version_status"]
    assert [it["state"] for it in status] == ["AVAILABLE"], status


@contextlib.contextmanager
def container(rootfs, config, arguments, folder, variables=(), read_only=False):
    """Runs what an image starts in a chroot, as its user and with nothing but its environment."""
    run = config["config"]
    environment = dict(variable.split("=", 1) for variable in run["Env"]) | dict(variables)
    log = folder / "container.log"
    with log.open("wb") as output:
        command = in_root(rootfs, run["User"], [*run["Entrypoint"], *arguments], read_only)
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield process, log
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0, log.read_text()[-3000:]
    finally:
        process.kill()
        process.wait()


def with_ports(arguments, rest, *more):
    return [*(it if not it.startswith("--rest_api_port") else f"--rest_api_port={rest}" for it in arguments), "--port=0", *more]


def check_contents(rootfs, config):
    """What a container of the image has and is told."""
    run = config["config"]
    assert run["User"] == f"{USER}:{USER}" and run["StopSignal"] == "SIGTERM"
    assert set(run["ExposedPorts"]) == {"8500/tcp", "8501/tcp"}
    assert run["Healthcheck"]["Test"][:3] == ["CMD", run["Entrypoint"][0], "ready"]
    for name in (run["Entrypoint"][0], "/tf-persist/lib/libtensorflow_cc.so.2"):
        found = (rootfs / name.lstrip("/")).stat()
        assert (found.st_uid, found.st_mode & 0o777) == (0, 0o755), name
    home = (rootfs / "tf-persist/home").stat()
    assert (home.st_uid, home.st_gid, home.st_mode & 0o777) == (USER, USER, 0o700)
    assert (rootfs / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert f":{USER}:{USER}:" in (rootfs / "etc/passwd").read_text()
    writable = [path for path in rootfs.rglob("*") if path.lstat().st_mode & 0o022 and path.name != "tmp"]
    assert not writable, writable


def check_digits(program, folder, runs):
    """One model: the same image twice, quickly; it answers as its user in a chroot, and as SageMaker starts it."""
    program("store", "init")
    program("store", "publish", DIGITS / "model", "digits", "--label", "production")
    layout = Layout(folder / "images")
    first, seconds = program.image("digits@production", f"oci:{layout.folder}:digits")
    again, quick = program.image("digits@1", f"oci:{layout.folder}:digits")
    print(f"the image of digits: {first['bytes'] / 1e6:.0f} MB in {first['layers']} layers, {seconds:.1f} s; again {quick:.1f} s")
    assert first["digest"] == again["digest"] and again["written"] == 0 and again["moved_from"] is None
    assert quick < BUILD_SECONDS, f"{quick} s"
    elsewhere, _ = program.image("digits@1", f"oci:{folder / 'elsewhere'}")
    assert elsewhere["digest"] == first["digest"], "two folders have different images of one model"
    assert not [path for path in layout.folder.iterdir() if path.name.startswith(".")], "something half-written is there"
    shutil.rmtree(folder / "elsewhere")
    digest, _, config = layout.image("digits")
    identity = json.loads(program("store", "show", "digits@1", "--format", "json"))["manifest_sha256"]
    labels = config["config"]["Labels"]
    assert digest == first["digest"]
    assert labels["org.opencontainers.image.revision"] == identity and labels["org.opencontainers.image.version"] == "1"
    dated, _ = program.image("digits@1", f"oci:{layout.folder}:dated", SOURCE_DATE_EPOCH="86400")
    assert layout.image("dated")[2]["created"] == "1970-01-02T00:00:00Z" and dated["written"] == 0
    if not runs:
        return layout
    rootfs = folder / "rootfs"
    layout.unpack("digits", rootfs)
    check_contents(rootfs, config)
    run, port = config["config"], free_port()
    with container(rootfs, config, with_ports(run["Cmd"], port), folder) as (process, log):
        wait_for(port, process, log)
        check_answers(port)
        assert f"{USER}" in pathlib.Path(f"/proc/{process.pid}/status").read_text().split("Uid:")[1].splitlines()[0]
        environment = dict(variable.split("=", 1) for variable in run["Env"])
        health = run["Healthcheck"]["Test"][1:-1]
        for where, code in ((port, 0), (free_port(), 1)):
            command = in_root(rootfs, run["User"], [*health, f"http://127.0.0.1:{where}"])
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == code, done
    print("digits answers in a chroot, as the user of its image")
    port = free_port()
    with container(rootfs, config, ["serve"], folder, {"SAGEMAKER_BIND_TO_PORT": str(port)}) as (process, log):
        wait_for(port, process, log)
        get(port, "/invocations", {"instances": np.load(DIGITS / "io.npz")["c0.in.image"].tolist()})
    print("digits answers as SageMaker starts it")
    shutil.rmtree(rootfs)
    return layout


def check_sharing(program, layout):
    """Another model has the same layers but for its own; two models make one image, too."""
    report, _ = program.image(HALF / "model", f"oci:{layout.folder}:half", "--name", "half_plus_two")
    assert report["written"] == 1, report
    digits, half = (layout.image(tag)[1]["layers"] for tag in ("digits", "half"))
    assert digits[:-1] == half[:-1] and digits[-1] != half[-1]
    program("store", "publish", HALF / "model", "half_plus_two")
    report, _ = program.image("digits@1", "half_plus_two@latest", f"oci:{layout.folder}:both", "--env", "TF_PERSIST_OPTIMIZE=off")
    assert report["models"] == ["digits@1", "half_plus_two@1"] and report["written"] == 1, report
    _, manifest, config = layout.image("both")
    assert manifest["layers"][:-1] == [*digits, half[-1]], "the layers of the models are those of their own images"
    assert "TF_PERSIST_MODEL_CONFIG_FILE=/models/models.config" in config["config"]["Env"]
    assert "TF_PERSIST_OPTIMIZE=off" in config["config"]["Env"]


def check_without_models(program, layout):
    """A server for models from elsewhere."""
    report, _ = program.image(f"oci:{layout.folder}:server")
    _, manifest, config = layout.image("server")
    assert report["models"] == [] and manifest["layers"] == layout.image("digits")[1]["layers"][:-1]
    assert not any("MODEL" in variable for variable in config["config"]["Env"]) and "digits" not in json.dumps(config)


def check_both(layout, folder):
    rootfs = folder / "both"
    config = layout.unpack("both", rootfs)
    port = free_port()
    arguments = with_ports(config["config"]["Cmd"], port, "--monitoring_config_file=/tf-persist/etc/monitoring.config")
    with container(rootfs, config, arguments, folder, read_only=True) as (process, log):
        wait_for(port, process, log)
        check_answers(port)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/monitoring/prometheus/metrics", timeout=SECONDS) as answer:
            assert b"tf_persist_requests_under_way" in answer.read()
        assert get(port, "/v1/models/half_plus_two:predict", {"instances": [1.0, 5.0]}) == {"predictions": [2.5, 4.5]}
    print("two models answer in one image, whose folders cannot be written to but for /tmp")
    shutil.rmtree(rootfs)


def check_base(program, layout, folder, runs):
    """A base with the C library, as another tool would have made it: compressed, with a config of its own."""
    base = Layout(folder / "base")
    (base.folder / "blobs/sha256").mkdir(parents=True)

    def add(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        (base.folder / "blobs/sha256" / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    system = layout.image("digits")[1]["layers"][0]
    compressed = subprocess.run(["gzip", "-n"], input=layout.blob(system), capture_output=True, check=True).stdout
    layer = add(compressed, "application/vnd.docker.image.rootfs.diff.tar.gzip")
    machine = {"architecture": layout.image("digits")[2]["architecture"], "os": "linux"}
    config = add(json.dumps({**machine, "rootfs": {"type": "layers", "diff_ids": [system["digest"]]}, "author": "somebody",
                             "config": {"Env": ["PATH=/usr/bin", "LANG=C.UTF-8", "HOME=/root"], "Labels": {"a": "b"}, "User": "root",
                                        "Entrypoint": ["/bin/sh"], "ExposedPorts": {"80/tcp": {}}, "OnBuild": ["RUN x"]}}).encode(),
                 "application/vnd.docker.container.image.v1+json")
    manifest = add(json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode(), "application/vnd.docker.distribution.manifest.v2+json")
    other = {**manifest, "digest": "sha256:" + "0" * 64, "platform": {"architecture": "s390x", "os": "linux"}}
    index = add(json.dumps({"schemaVersion": 2, "manifests": [other, {**manifest, "platform": machine}]}).encode(), "application/vnd.oci.image.index.v1+json")
    index["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (base.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [index]}))
    (base.folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    program.image("digits@1", f"oci:{layout.folder}:based", "--base", f"oci:{base.folder}")
    _, manifest, config = layout.image("based")
    assert manifest["layers"][0]["digest"] == layer["digest"] and manifest["layers"][0]["mediaType"].startswith("application/vnd.oci")
    assert manifest["layers"][1:] == layout.image("digits")[1]["layers"][1:]
    run = config["config"]
    assert run["User"] == f"{USER}:{USER}" and "80/tcp" in run["ExposedPorts"] and "8501/tcp" in run["ExposedPorts"] and "OnBuild" not in run
    assert "PATH=/usr/bin:/tf-persist/bin" in run["Env"] and "LANG=C.UTF-8" in run["Env"] and "HOME=/tf-persist/home" in run["Env"], run["Env"]
    assert run["Labels"]["a"] == "b" and config["author"] == "somebody" and len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
    if runs:
        rootfs = folder / "based"
        layout.unpack("based", rootfs)
        port = free_port()
        with container(rootfs, config, with_ports(run["Cmd"], port), folder) as (process, log):
            wait_for(port, process, log)
            check_answers(port)
        shutil.rmtree(rootfs)
        print("digits answers on a base")


def check_refusals(program, layout, folder):
    """What is refused leaves everything as it was."""
    index = (layout.folder / "index.json").read_bytes()
    taken = folder / "taken"
    taken.mkdir()
    (taken / "letter.txt").write_text("dear")
    for words, wrong, code in (
            (("digits@1", f"oci:{taken}"), "not an OCI image layout, and has `letter.txt`", 1),
            (("digits@9", f"oci:{layout.folder}:x"), "has no version 9", 1),
            (("digits@1", "digits@production", f"oci:{layout.folder}:x"), "two of the models are `digits@1`", 2),
            (("digits@1", f"oci:{layout.folder}:x", "--name", "other"), "--name is for", 2),
            (("digits@1", "somewhere"), "begins neither with", 2),
            (("digits@1", f"oci:{layout.folder}:x", "--platform", "linux/s390x"), "is made by a tf-persist for it", 1),
            (("digits@1", f"oci:{layout.folder}:x", "--base", f"oci:{layout.folder}:nobody"), "it has no image `nobody`", 1),
            (("digits@1", f"oci:{layout.folder}:x", "--env", "A-B=1"), "not an environment variable", 2),
            ((ROOT / "models/digits/io.npz", f"oci:{layout.folder}:x"), "is a file", 1)):
        error = program.fails("image", *words, code=code)
        assert wrong in error, error
    assert [path.name for path in taken.iterdir()] == ["letter.txt"]
    # A version whose files were changed.
    file = folder / "store/digits/1/variables/variables.index"
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    error = program.fails("image", "digits@1", f"oci:{layout.folder}:x")
    assert "not those that were published" in error or "is not as it was published" in error, error
    data[10] ^= 1
    file.write_bytes(data)
    assert (layout.folder / "index.json").read_bytes() == index
    # A blob with other contents than its name says is written again.
    big = max(layout.image("digits")[1]["layers"], key=lambda layer: layer["size"])
    small = layout.image("digits")[1]["layers"][-1]
    path = layout.folder / "blobs" / small["digest"].replace(":", "/")
    path.write_bytes(bytes(small["size"]))
    report, _ = program.image("digits@1", f"oci:{layout.folder}:digits")
    assert report["written"] == 1 and layout.blob(small) and big["size"] > small["size"]


def check_registry(program, layout, folder):
    """The same image in a registry, which gets what it lacks."""
    if not shutil.which("docker-registry"):
        print("SKIPPED: docker-registry is not installed")
        return
    with registry(folder) as host:
        address = f"oci://{host}/team/digits:1"
        pushed, _ = program.image("digits@1", address)
        assert pushed["digest"] == layout.image("digits")[0] and pushed["written"] == pushed["layers"], pushed
        again, seconds = program.image("digits@1", address)
        assert again["written"] == 0 and again["moved_from"] is None, again
        other, _ = program.image("half_plus_two@1", address)
        assert other["moved_from"] == pushed["digest"] and other["written"] == 1, other
        program.image("digits@1", f"oci://{host}/team/based:1", "--base", f"oci:{folder / 'base'}")
        program.image("digits@1", f"oci:{folder / 'back'}", "--base", f"oci://{host}/team/based:1")
        assert len(Layout(folder / "back").image("latest")[1]["layers"]) == 2 * pushed["layers"] - 1
        shutil.rmtree(folder / "back")
        print(f"docker-registry has the same image; again {seconds:.1f} s, nothing sent")
        if not shutil.which("skopeo"):
            print("SKIPPED: skopeo is not installed")
            return
        told = subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{host}/team/digits:1"], capture_output=True, text=True, check=True)
        told = json.loads(told.stdout)
        assert (told["Digest"], told["Os"]) == (other["digest"], "linux") and len(told["Layers"]) == other["layers"], told
        assert told["Labels"]["org.opencontainers.image.title"] == "half_plus_two"
        print("skopeo inspects it")


def check_umoci(layout, folder):
    """umoci unpacks what this script unpacks; crun starts it."""
    if not shutil.which("umoci"):
        print("SKIPPED: umoci is not installed")
        return
    bundle = folder / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{layout.folder}:digits", bundle], check=True, capture_output=True)
    mine = folder / "mine"
    layout.unpack("digits", mine)
    state = lambda path: (path.stat().st_mode, path.stat().st_uid, path.stat().st_size if path.is_file() else 0)
    listed = lambda root: {str(path.relative_to(root)): state(path) for path in root.rglob("*")}
    assert listed(bundle / "rootfs") == listed(mine)
    shutil.rmtree(mine)
    print("umoci unpacks it")
    if not shutil.which("crun"):
        print("SKIPPED: crun is not installed")
        return
    spec = json.loads((bundle / "config.json").read_text())
    port = free_port()
    spec["process"]["terminal"] = False
    spec["process"]["args"] = with_ports(spec["process"]["args"], port)
    spec["root"]["readonly"] = True
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    spec["linux"]["namespaces"] = [it for it in spec["linux"]["namespaces"] if it["type"] != "network"]
    (bundle / "config.json").write_text(json.dumps(spec))
    log, name = folder / "crun.log", f"tf-persist-{os.getpid()}"
    state = ["--root", folder / "crun"]
    with log.open("wb") as output:
        process = subprocess.Popen(["crun", "--cgroup-manager=disabled", *state, "run", name], cwd=bundle, stdout=output, stderr=output)
    try:
        wait_for(port, process, log)
        check_answers(port)
        subprocess.run(["crun", *state, "kill", name, "TERM"], check=True)
        assert process.wait(SECONDS) == 0, log.read_text()
        print("crun runs it, with a root folder that cannot be written to")
    except AssertionError:
        # A sandbox may forbid namespaces or mounts, which is no fault of the image.
        if "tf_persist" in log.read_text() or "libtensorflow" in log.read_text():
            raise
        print(f"SKIPPED: crun starts no container here: {log.read_text().strip()[-200:]}")
    finally:
        process.kill()
        process.wait()
        subprocess.run(["crun", *state, "delete", "--force", name], capture_output=True)
        shutil.rmtree(bundle, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tf-persist", required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tf-persist-image-") as name:
        folder = pathlib.Path(name)
        # The user of the image has to get there.
        folder.chmod(0o755)
        program = Program(args.tf_persist, folder)
        runs = can_run(folder)
        layout = check_digits(program, folder, runs)
        check_sharing(program, layout)
        check_without_models(program, layout)
        if runs:
            check_both(layout, folder)
        check_base(program, layout, folder, runs)
        check_refusals(program, layout, folder)
        check_registry(program, layout, folder)
        if runs:
            check_umoci(layout, folder)
    print("images are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Times tf-persist's commands against other programs for the same task, as whole processes; run by `scripts/bench process`.

Each comparison runs its two sides in turn, A B A B …, after one round that does not count, and prints the median of each
side, the median of the ratios pair by pair, and the largest resident memory of our side.
"""

import argparse
import functools
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
OURS = str(TARGET / "release/tf-persist")
CHECKPOINT = str(TARGET / "release/examples/checkpoint")
SAVED_MODEL_CLI = str(ROOT / ".venv/bin/saved_model_cli")
C_PROGRAM = str(ROOT / "target/bench/run_half_plus_two")
DIGITS = str(ROOT / "models/digits/model")
SMALLEST = str(ROOT / "models/half_plus_two/model")
VARIABLES, VARIABLE_MB = 200, 5
CONSTANT_BYTES = 500 * 1000 * 1000

Side = Sequence[str] | Callable[[], object]


def timed(side: Side) -> tuple[float, int]:
    """Seconds, and the peak resident memory in bytes of a command (0 for a function)."""
    started = time.perf_counter()
    if callable(side):
        side()
        return time.perf_counter() - started, 0
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv")}
    process = subprocess.Popen(side, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(side)} failed")
    return seconds, usage.ru_maxrss * 1024


def compare(
    what: str, ours: Side, other_name: str, other: Side, runs: int, between: Callable[[], object] = lambda: None
) -> None:
    """Prints one line: our median, the other's, the median ratio other/ours, and our peak memory.

    `between` is called after each side and does not count.
    """

    def one(side: Side) -> tuple[float, int]:
        result = timed(side)
        between()
        return result

    one(ours), one(other)
    pairs = [(one(ours), one(other)) for _ in range(runs)]
    our_seconds = statistics.median(a[0] for a, _ in pairs)
    other_seconds = statistics.median(b[0] for _, b in pairs)
    ratio = statistics.median(b[0] / a[0] for a, b in pairs)
    memory = max(a[1] for a, _ in pairs) / 1e6
    print(
        f"{what}: {our_seconds * 1e3:.1f} ms; {other_name}: {other_seconds * 1e3:.1f} ms; "
        f"ratio {ratio:.3g}; our peak memory {memory:.1f} MB",
        flush=True,
    )


def write_constants(folder: Path) -> None:
    """A SavedModel whose bytes are constants: ten nodes of 50 MB each."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
    meta_graph = saved.meta_graphs.add()
    meta_graph.meta_info_def.tags.append("serve")
    part = CONSTANT_BYTES // 10
    for index in range(10):
        node = meta_graph.graph_def.node.add(name=f"constant_{index}", op="Const")
        node.attr["dtype"].type = types_pb2.DT_FLOAT
        node.attr["value"].tensor.dtype = types_pb2.DT_FLOAT
        node.attr["value"].tensor.tensor_shape.dim.add(size=part // 4)
        node.attr["value"].tensor.tensor_content = os.urandom(part)
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())


def load_checkpoint(prefix: str) -> Callable[[], object]:
    """Reads every tensor in Python, each dropped before the next; TensorFlow is imported already when it is called."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    def read() -> None:
        reader = tf.train.load_checkpoint(prefix)
        for key in reader.get_variable_to_shape_map():
            reader.get_tensor(key)

    return read


def checkpoints(runs: int) -> None:
    """Reading, copying and restoring a checkpoint of 1 GB in 200 variables, which is in the page cache."""
    about = f"{VARIABLES} variables of {VARIABLE_MB} MB"
    places = [("on disk, to the disk", TARGET)]
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).free > 4 * VARIABLES * VARIABLE_MB * 1_000_000:
        places.insert(0, ("in memory", shared))
    for place, parent in places:
        with TemporaryDirectory(dir=parent) as work:
            folder, copy = Path(work) / "from", Path(work) / "to"
            prefix, target = str(folder / "variables"), str(copy / "variables")
            subprocess.run([CHECKPOINT, "make", prefix, str(VARIABLES), str(VARIABLE_MB)], check=True)
            if parent == TARGET:
                files = [str(file) for file in folder.iterdir()]
                read, keep = [CHECKPOINT, "read", prefix], [CHECKPOINT, "keep", prefix]
                compare(f"read {about}, one after the other", read, "cat to /dev/null", ["cat", *files], 3 * runs)
                compare(f"read {about}, all kept", keep, "cat to /dev/null", ["cat", *files], 3 * runs)
            remove = functools.partial(shutil.rmtree, copy, ignore_errors=True)
            copy_it = ["cp", "-r", str(folder), str(copy)]
            durable = ["sh", "-c", 'cp -r "$0" "$1" && sync "$1"/*', str(folder), str(copy)]
            name, other = ("cp -r", copy_it) if parent == shared else ("cp -r, sync", durable)
            compare(f"copy {about}, {place}", [CHECKPOINT, "copy", prefix, target], name, other, runs, remove)
            restore = [CHECKPOINT, "restore", prefix, prefix, target]
            compare(f"restore {about}, {place}", restore, name, other, runs, remove)
            if parent == TARGET:
                # Last: the memory of a process with TensorFlow in it counts as that of the commands it starts.
                compare(f"read {about}", read, "tf.train.load_checkpoint, imported", load_checkpoint(prefix), runs)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-constants", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--checkpoints", action="store_true", help="only what is done with checkpoints")
    parser.add_argument("--runs", type=int, default=7, help="counted pairs of each comparison (default 7)")
    arguments = parser.parse_args()
    if arguments.write_constants:
        write_constants(arguments.write_constants)
        return 0
    runs = arguments.runs
    if arguments.checkpoints:
        checkpoints(runs)
        return 0
    compare(
        "inspect digits",
        [OURS, "inspect", DIGITS],
        "saved_model_cli show --all",
        [SAVED_MODEL_CLI, "show", "--dir", DIGITS, "--all"],
        runs,
    )
    run = [OURS, "run", SMALLEST, "--input", "x=[1,2,3]"]
    cli_run = [SAVED_MODEL_CLI, "run", "--dir", SMALLEST, "--tag_set", "serve", "--signature_def", "serving_default"]
    compare("run half_plus_two", run, "saved_model_cli run", [*cli_run, "--input_exprs", "x=[1.0,2.0,3.0]"], runs)
    compare("run half_plus_two", run, "C program", [C_PROGRAM, SMALLEST], 3 * runs)
    with TemporaryDirectory() as work:
        folder = Path(work) / "constants"
        # In a process of its own: the memory of this one would count as that of the commands it starts.
        subprocess.run([sys.executable, __file__, "--write-constants", str(folder)], check=True, stderr=subprocess.DEVNULL)
        size = (folder / "saved_model.pb").stat().st_size / 1e6
        inspect = [OURS, "inspect", str(folder)]
        compare(f"inspect {size:.0f} MB of constants", inspect, "reading the file in Python", (folder / "saved_model.pb").read_bytes, runs)
    checkpoints(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Makes the small real models of models/: SavedModels with recorded requests and answers.

Each model is built in a Python process of its own, on one thread and with fixed seeds, so that it does not depend on
other models; then it is run here, in TensorFlow's default session, and its answers are written beside it.

    python -m models.make_models                          all models, to models/
    python -m models.make_models --only digits --out DIR  one of them, elsewhere
    python -m models.make_models --list                   lists the models
"""

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from models import (  # noqa: F401 (they register models)
    element_types,
    keras_models,
    modules,
    trainable,
    v1_graphs,
    v1_lore,
)
from models.registry import MAKERS, SEED
from tf_persist_keras.recorded.cases import Built
from tf_persist_keras.recorded.record import record

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "models"


def build(name: str, folder: Path) -> Built:
    """Builds one model, as reproducibly as TensorFlow can. Runs in a fresh process."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    return MAKERS[name].build(folder)


def make(names: list[str], out: Path) -> None:
    """Builds and records the models; each appears in `out` whole, replacing what was there."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".make-models-", dir=out) as scratch,
        ProcessPoolExecutor(
            max_workers=min(len(names), os.cpu_count() or 1),
            mp_context=multiprocessing.get_context("spawn"),
            max_tasks_per_child=1,
        ) as pool,
    ):
        pending = {name: pool.submit(build, name, Path(scratch) / name / "model") for name in names}
        for name, future in pending.items():
            built = future.result()
            folder = Path(scratch) / name
            _remove_empty_folders(folder)
            record(name, MAKERS[name].description, built, folder)
            shutil.rmtree(out / name, ignore_errors=True)
            folder.rename(out / name)
            print(f"{name:16} {len(built.cases):3} cases {_size(out / name) / 1024:8.1f} KiB", flush=True)


def _remove_empty_folders(folder: Path) -> None:
    """Removes the empty `variables` and `assets` folders that builders leave, because git would not keep them."""
    for path in list(folder.rglob("*")):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="default: the project's models/")
    parser.add_argument("--only", nargs="+", choices=sorted(MAKERS), metavar="NAME", help="make only these models")
    parser.add_argument("--list", action="store_true", help="print the models and exit")
    arguments = parser.parse_args()
    if arguments.list:
        for maker in MAKERS.values():
            print(f"{maker.name:16} {maker.description}")
        return 0
    start = time.monotonic()
    make(arguments.only or list(MAKERS), arguments.out.resolve())
    print(f"made in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

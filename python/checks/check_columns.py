"""Parquet and Arrow files of pyarrow, pandas and polars in `tf-persist run`, and what these read of ours.

    PYTHONPATH=python PACKAGES/bin/python -m checks.check_columns --tf-persist target/debug/tf-persist

PACKAGES is an environment with `pip install pyarrow==26.0.1 pandas==3.1.1 polars==2.1.0`.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = {"TF_PERSIST_LIBTENSORFLOW": str(ROOT / ".venv"), **os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
ROWS = 1000
CODECS = ("none", "snappy", "gzip", "brotli", "lz4", "zstd")


def must(holds, what):
    if not holds:
        sys.exit(f"check_columns: {what}")


class Program:
    """tf-persist, in a folder."""

    def __init__(self, binary, folder):
        self.binary, self.folder = binary, folder

    def run(self, model, source, target, *options):
        """Its output as a path; batches of 64."""
        target = self.folder / target
        command = [self.binary, "run", ROOT / "models" / model / "model", "--inputs", source, "--output", target, *options]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=ENVIRONMENT)
        must(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}")
        return target

    def refuses(self, model, source, text):
        """It fails with 1 and says this."""
        command = [self.binary, "run", ROOT / "models" / model / "model", "--inputs", source, "--output", self.folder / "refused.npz"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=ENVIRONMENT)
        must(done.returncode == 1 and text in done.stderr, f"{source.name} should be refused with `{text}`: {done.stderr}")


def images(program, folder):
    """Nested lists of every kind, compression and version give the answers of an .npz file, as columns of every format."""
    rows = np.random.default_rng(0).random((ROWS, 8, 8, 1), dtype=np.float32)
    np.savez(folder / "in.npz", image=rows)
    expected = np.load(program.run("digits", folder / "in.npz", "whole.npz"))["probabilities"]
    flat = pa.array(rows.reshape(-1))
    fixed, lists, large = flat, flat, flat
    for depth, size in ((3, 1), (2, 8), (1, 8)):
        fixed = pa.FixedSizeListArray.from_arrays(fixed, size)
        offsets = np.arange(0, len(lists) + 1, size)
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), lists)
        large = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), large)
        must(len(fixed) == len(lists) == len(large), f"depth {depth}")
    sources = []
    for kind, column in (("fixed", fixed), ("list", lists), ("large", large)):
        table = pa.table({"id": pa.array(range(ROWS)), "image": column})
        for codec in CODECS:
            for version in ("1.0", "2.0"):
                path = folder / f"{kind}-{codec}-{version}.parquet"
                pq.write_table(table, path, compression=codec, data_page_version=version, row_group_size=300, data_page_size=4096)
                sources.append(path)
        for codec in (None, "lz4"):
            path = folder / f"{kind}-{codec}.arrow"
            pa.feather.write_feather(table, path, compression=codec or "uncompressed", chunksize=170)
            sources.append(path)
        frame = pl.from_arrow(table)
        frame.write_parquet(folder / f"{kind}-polars.parquet")
        frame.write_ipc(folder / f"{kind}-polars.arrow")
        sources += [folder / f"{kind}-polars.parquet", folder / f"{kind}-polars.arrow"]
    frame = pd.DataFrame({"image": list(rows.reshape(ROWS, -1).tolist())})
    must(len(frame) == ROWS, "pandas")
    for source in sources:
        answers = np.load(program.run("digits", source, "parts.npz", "--batch-size", "64"))["probabilities"]
        must(np.allclose(answers, expected, atol=1e-6), f"{source.name} gives other answers")
    print(f"{len(sources)} files of images: pyarrow {pa.__version__}, polars {pl.__version__}")
    for ending in ("parquet", "arrow"):
        for options in ((), ("--batch-size", "64")):
            target = program.run("digits", folder / "in.npz", f"out.{ending}", *options)
            table = pq.read_table(target) if ending == "parquet" else pa.feather.read_table(target)
            must(table.schema.field("probabilities").type.list_size == 10, f"{table.schema}")
            answers = np.stack(table["probabilities"].to_numpy())
            must(np.allclose(answers, expected, atol=1e-6), f"pyarrow reads other answers of {target.name}")
            frame = pl.read_parquet(target) if ending == "parquet" else pl.read_ipc(target)
            must(np.allclose(frame["probabilities"].to_numpy(), expected, atol=1e-6), f"polars reads other answers of {target.name}")
            frame = pd.read_parquet(target) if ending == "parquet" else pd.read_feather(target)
            must(np.allclose(np.stack(frame["probabilities"]), expected, atol=1e-6), f"pandas reads other answers of {target.name}")
    print("our files of images: pyarrow, polars, pandas")


def strings(program, folder):
    """Strings of every type, also as categories."""
    text = ["a good film", "un mauvais film", "good", ""] * 25
    expected = np.load(program.run("text", save(folder / "text.npz", text=np.array(text)), "whole.npz"))
    types = (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int32(), pa.string()))
    for index, kind in enumerate(types):
        column = pa.array(text).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(text).cast(kind)
        table = pa.table({"text": column})
        for ending in ("parquet", "arrow"):
            path = folder / f"text-{index}.{ending}"
            if ending == "parquet":
                pq.write_table(table, path)
            else:
                with pa.ipc.new_file(path, table.schema) as writer:
                    writer.write_table(table)
            answers = np.load(program.run("text", path, "parts.npz", "--batch-size", "64"))
            must((answers["label"] == expected["label"]).all(), f"{kind} in {path.name} gives other answers")
    frame = pd.DataFrame({"text": text})
    frame.to_parquet(folder / "pandas.parquet")
    frame.astype("category").to_feather(folder / "pandas.feather")
    pl.DataFrame({"text": text}).write_parquet(folder / "polars.parquet")
    pl.DataFrame({"text": text}).write_ipc(folder / "polars.arrow")
    for name in ("pandas.parquet", "pandas.feather", "polars.parquet", "polars.arrow"):
        for ending in ("parquet", "arrow"):
            target = program.run("text", folder / name, f"out.{ending}", "--batch-size", "64")
            frame = pd.read_parquet(target) if ending == "parquet" else pd.read_feather(target)
            must(list(frame["label"]) == [label.decode() for label in expected["label"]], f"labels of {name} in {target.name}")
    print(f"strings: pyarrow, pandas {pd.__version__}, polars")


def refusals(program, folder):
    """What no tensor holds is refused by name."""
    cases = {
        "null": (pa.table({"x": pa.array([1.0, None], pa.float32())}), "row 1"),
        "date": (pa.table({"x": pa.array([0, 1], pa.date32())}), "column `x`"),
        "double": (pa.table({"x": pa.array([0.0, 1.0])}), "float64"),
        "ragged": (pa.table({"x": pa.array([[0.0], [1.0, 2.0]], pa.list_(pa.float32()))}), "row 1"),
    }
    for name, (table, text) in cases.items():
        pq.write_table(table, folder / f"{name}.parquet")
        pa.feather.write_feather(table, folder / f"{name}.arrow")
        for ending in ("parquet", "arrow"):
            program.refuses("half_plus_two", folder / f"{name}.{ending}", text)
    pa.feather.write_feather(pa.table({"x": pa.array(np.ones(9, "f4"))}), folder / "zstd.arrow", compression="zstd")
    program.refuses("half_plus_two", folder / "zstd.arrow", "zstd")
    print(f"{len(cases)} tables are refused")


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tf-persist", type=pathlib.Path, required=True, metavar="FILE")
    binary = arguments.parse_args().tf_persist.resolve()
    with tempfile.TemporaryDirectory(prefix="check-columns-") as name:
        folder = pathlib.Path(name)
        program = Program(binary, folder)
        images(program, folder)
        strings(program, folder)
        refusals(program, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compares the figures of `tf-persist monitor` with numpy, scipy and scikit-learn, and lets it watch drifting streams of digits.

    python -m checks.check_monitor --tf-persist target/debug/tf-persist [--streams 200]

The first part writes a request log with numbers, missing values, texts and answers, and compares every figure. The second part asks the
model `models/digits` for real digits that it was not trained on: as they are, rotated and noisy. Of each seed it makes a reference of one
half of the digits and a log of the other: drift must be noticed within this log, of fewer than 500 requests, and unchanged digits must
raise an alarm in fewer than 1% of the logs. Exit code 1 if anything is not as it should be.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy import ndimage, stats
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import log_loss, roc_auc_score

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "models" / "digits"
TOLERANCE = 1e-3
FALSE_ALARM = 0.005  # of a report, so that 200 of them have less than 1% by far


class Failed(Exception):
    """Something is not as it should be."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tf-persist", type=Path, required=True, help="the program")
    parser.add_argument("--streams", type=int, default=200, help="the streams of each kind (default: 200)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            _figures(arguments.tf_persist, Path(folder))
            _digits(arguments.tf_persist, Path(folder), arguments.streams)
        except Failed as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    return 0


def _run(tf_persist: Path, *words: object) -> str:
    done = subprocess.run([tf_persist, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, words))}: {done.stderr}{done.stdout}")
    return done.stdout


def _line(index: int, inputs: dict, outputs: dict) -> str:
    record = {
        "time": f"2026-11-29T{index // 3600 % 24:02}:{index // 60 % 60:02}:{index % 60:02}.000000Z",
        "id": f"request {index}",
        "model": "m",
        "version": 1,
        "api": "predict",
        "signature_name": "serving_default",
        "inputs": inputs,
        "outputs": outputs,
        "latency_ms": 0.25 + index % 100 / 100,
        "status": "OK",
    }
    return json.dumps(record)


# The first part.


def _figures(tf_persist: Path, folder: Path) -> None:
    reference, current = _rows(1, 20_000, 0.0), _rows(2, 15_000, 0.15)
    for name, rows in (("reference", reference), ("current", current)):
        (folder / f"{name}.jsonl").write_text("\n".join(_row(index, rows) for index in range(len(rows["normal"]))) + "\n")
    labels = np.random.default_rng(3).integers(0, 3, len(current["normal"]))
    with open(folder / "labels.csv", "w", encoding="utf-8") as file:
        file.write("id,label\n")
        file.writelines(f"request {index},{label}\n" for index, label in enumerate(labels))
    _run(tf_persist, "monitor", "reference", folder / "reference.jsonl", "--output", folder / "reference.json")
    flags = ("--reference", folder / "reference.json", "--labels", folder / "labels.csv", "--format", "json")
    report = json.loads(_run(tf_persist, "monitor", folder / "current.jsonl", *flags))
    found = {feature["name"]: feature for feature in report["features"]}
    for name in ("normal", "zeros", "heavy", "offset", "gaps", "whole"):
        _compare(name, found[name], _numbers(reference[name], current[name]))
    for name in ("kind", "level"):
        _compare(name, found[name], _categories(reference[name], current[name]))
    scores = current["scores"]
    quality = {
        "accuracy": np.mean(scores.argmax(1) == labels),
        "log_loss": log_loss(labels, scores),
        "auc": roc_auc_score(labels, scores, multi_class="ovr"),
        "calibration_error": _calibration_error(scores, labels),
    }
    _compare("quality", report["quality"], quality)
    latency = 0.25 + np.arange(len(labels)) % 100 / 100
    quantiles = np.quantile(latency, [0.5, 0.9, 0.99], method="inverted_cdf")
    for key, value in zip(("p50", "p90", "p99"), quantiles, strict=True):
        if abs(report["traffic"]["latency_ms"][key] - value) > 0.02:
            raise Failed(f"the latency {key} is {report['traffic']['latency_ms'][key]} instead of {value}")
    print("figures: as numpy, scipy and scikit-learn have them, to 1e-3")


def _rows(seed: int, count: int, moved: float) -> dict:
    random = np.random.default_rng(seed)
    scores = random.dirichlet((0.3, 0.4, 0.5), count).astype(np.float32).astype(float)
    scores /= scores.sum(1, keepdims=True)
    return {
        "normal": random.normal(moved, 1 + moved, count),
        "zeros": np.maximum(random.normal(moved, 1, count), 0),
        "heavy": random.standard_cauchy(count) + moved,
        "offset": 1e9 + random.normal(moved, 1, count),
        "gaps": np.where(random.random(count) < 0.05 + moved / 10, np.nan, random.exponential(1 + moved, count)),
        "whole": random.poisson(30 + 10 * moved, count),
        "kind": random.choice(["a", "b", "ü <x>", "d"], count, p=[0.5, 0.2 + moved, 0.2 - moved, 0.1]),
        "level": random.integers(0, 5, count),
        "scores": scores,
    }


def _row(index: int, rows: dict) -> str:
    inputs = {name: [values[index].item()] for name, values in rows.items() if name != "scores"}
    return _line(index, inputs, {"scores": [rows["scores"][index].tolist()]})


def _numbers(reference: np.ndarray, current: np.ndarray) -> dict:
    missing = [np.isnan(values.astype(float)) for values in (reference, current)]
    before, now = reference[~missing[0]], current[~missing[1]]
    ends = np.unique(np.quantile(before, np.arange(1, 10) / 10, method="inverted_cdf"))
    counts = [np.bincount(np.searchsorted(ends, values), minlength=len(ends) + 1) for values in (before, now)]
    test = stats.ks_2samp(before, now, method="asymp")
    return {
        "psi": _psi(*counts),
        "jensen_shannon": jensenshannon(*counts, base=2),
        "ks": test.statistic,
        "ks_p_value": test.pvalue,
        "mean": now.mean(),
        "deviation": now.std(),
        "min": now.min(),
        "max": now.max(),
        "missing": missing[1].mean(),
        "out_of_range": np.mean((now < before.min()) | (now > before.max())),
    }


def _categories(reference: np.ndarray, current: np.ndarray) -> dict:
    values = np.unique(np.concatenate([reference, current]))
    counts = [np.array([np.sum(rows == value) for value in values]) for rows in (reference, current)]
    test = stats.chi2_contingency(counts, correction=False)
    return {
        "psi": _psi(*counts),
        "jensen_shannon": jensenshannon(*counts, base=2),
        "chi_squared": test.statistic,
        "chi_squared_p_value": test.pvalue,
        "distinct": len(np.unique(current)),
    }


def _psi(before: np.ndarray, now: np.ndarray) -> float:
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, now))
    return float(np.sum((q - p) * np.log(q / p)))


def _calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    confidence, right = scores.max(1), scores.argmax(1) == labels
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(confidence[bins == index].sum() - right[bins == index].sum()) for index in range(15)]
    return float(np.sum(gaps) / len(labels))


def _compare(what: str, found: dict, expected: dict) -> None:
    for key, value in expected.items():
        if not np.isclose(found[key], value, rtol=TOLERANCE, atol=TOLERANCE):
            raise Failed(f"{what}: {key} is {found[key]} instead of {value}")


# The second part.


def _digits(tf_persist: Path, folder: Path, streams: int) -> None:
    images = np.load(DIGITS / "held_out.npz")["image"]
    random = np.random.default_rng(17)
    kinds = {
        "unchanged": images,
        "rotated": np.stack([ndimage.rotate(image, 25, reshape=False, order=1) for image in images]),
        "noisy": np.clip(images + random.normal(0, 0.2 * images.max(), images.shape), 0, images.max()),
    }
    lines = {}
    for name, changed in kinds.items():
        changed = changed.astype(np.float32)
        np.savez(folder / "images.npz", image=changed)
        _run(tf_persist, "run", DIGITS / "model", "--inputs", folder / "images.npz", "--output", folder / "answers.npz")
        answers = np.load(folder / "answers.npz")["probabilities"]
        pairs = enumerate(zip(changed.tolist(), answers.tolist(), strict=True))
        lines[name] = [_line(index, {"image": [image]}, {"probabilities": [answer]}) for index, (image, answer) in pairs]
    with ThreadPoolExecutor(2) as pool:
        seeds = list(pool.map(lambda seed: _stream(tf_persist, folder / str(seed), seed, lines), range(streams)))
    alarms = {name: sum(seed[name] for seed in seeds) for name in kinds}
    half = len(images) - len(images) // 2
    print(f"digits: of {streams} streams of {half} requests each, alarms in {json.dumps(alarms)}")
    if alarms["unchanged"] >= max(1, 0.01 * streams):
        raise Failed(f"{alarms['unchanged']} of {streams} unchanged streams raised an alarm")
    for name in ("rotated", "noisy"):
        if alarms[name] != streams:
            raise Failed(f"{streams - alarms[name]} of {streams} {name} streams were not noticed")


def _stream(tf_persist: Path, folder: Path, seed: int, lines: dict) -> dict:
    """Whether each kind of stream raised an alarm. Digits of the reference are not in the streams."""
    folder.mkdir()
    order = np.random.default_rng(seed).permutation(len(lines["unchanged"]))
    before, now = np.split(order, [len(order) // 2])
    (folder / "before.jsonl").write_text("\n".join(lines["unchanged"][index] for index in before) + "\n")
    _run(tf_persist, "monitor", "reference", folder / "before.jsonl", "--output", folder / "reference.json")
    alarms = {}
    for name, of_kind in lines.items():
        (folder / "now.jsonl").write_text("\n".join(of_kind[index] for index in now) + "\n")
        flags = ("--reference", folder / "reference.json", "--false-alarm", FALSE_ALARM, "--format", "json")
        report = json.loads(_run(tf_persist, "monitor", folder / "now.jsonl", *flags))
        alarms[name] = report["drift"]["alarm"]
    for file in folder.iterdir():
        file.unlink()
    return alarms


if __name__ == "__main__":
    sys.exit(main())

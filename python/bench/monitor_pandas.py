"""The figures of `tf-persist monitor` by pandas and scipy: a script as one writes it, which reads a log in blocks.

    python monitor_pandas.py LOG.jsonl REFERENCE.npz KIND.npy REPORT.json
"""

import json
import sys
from itertools import islice

import numpy as np
import pandas as pd
from scipy import stats
from scipy.spatial.distance import jensenshannon

BLOCK = 100_000
CATEGORIES = ("level", "kind")


def read(path: str) -> pd.DataFrame:
    frames = []
    with open(path, encoding="utf-8") as file:
        while lines := list(islice(file, BLOCK)):
            records = [json.loads(line) for line in lines]
            columns = {
                name: [record[side][name][0] for record in records] for side in ("inputs", "outputs") for name in records[0][side]
            }
            columns["latency_ms"] = [record["latency_ms"] for record in records]
            columns["status"] = pd.Categorical([record["status"] for record in records])
            frame = pd.DataFrame(columns)
            frame["kind"] = frame["kind"].astype("category")
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def psi(before: np.ndarray, now: np.ndarray) -> float:
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, now))
    return float(np.sum((q - p) * np.log(q / p)))


def number(before: pd.Series, now: pd.Series) -> dict:
    missing = now.isna().mean()
    before, now = before.dropna().to_numpy(), now.dropna().to_numpy()
    ends = np.unique(np.quantile(before, np.arange(1, 10) / 10, method="inverted_cdf"))
    counts = [np.bincount(np.searchsorted(ends, values), minlength=len(ends) + 1) for values in (before, now)]
    test = stats.ks_2samp(before, now, method="asymp")
    np.quantile(now, [0.01, 0.25, 0.5, 0.75, 0.99])
    pd.unique(now)
    return {
        "psi": psi(*counts),
        "jensen_shannon": float(jensenshannon(*counts, base=2)),
        "ks": float(test.statistic),
        "ks_p_value": float(test.pvalue),
        "missing": float(missing),
        "out_of_range": float(np.mean((now < before.min()) | (now > before.max()))),
        "mean": float(now.mean()),
        "deviation": float(now.std()),
        "min": float(now.min()),
        "max": float(now.max()),
    }


def category(before: pd.Series, now: pd.Series) -> dict:
    counts = pd.DataFrame({"before": before.value_counts(), "now": now.astype(before.dtype).value_counts()}).fillna(0)
    before, now = counts["before"].to_numpy(), counts["now"].to_numpy()
    test = stats.chi2_contingency([before, now], correction=False)
    return {
        "psi": psi(before, now),
        "jensen_shannon": float(jensenshannon(before, now, base=2)),
        "chi_squared": float(test.statistic),
        "chi_squared_p_value": float(test.pvalue),
        "distinct": len(now),
    }


def main() -> None:
    log, arrays, kind, target = sys.argv[1:]
    before = pd.DataFrame({**np.load(arrays), "kind": np.load(kind)})
    now = read(log)
    report = {
        name: (category if name in CATEGORIES else number)(before[name], now[name]) for name in before.columns
    }
    now["latency_ms"].quantile([0.5, 0.9, 0.99])
    now["status"].value_counts()
    with open(target, "w", encoding="utf-8") as file:
        json.dump(report, file)


if __name__ == "__main__":
    main()

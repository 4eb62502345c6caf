"""Compares fresh answers with recorded ones."""

import numpy as np

from .cases import Arrays, Tolerance
from .entries import dtype_name


class Mismatch(Exception):
    """An answer that differs from the recorded one; the text names the output and the difference."""


def largest_difference(fresh: Arrays, recorded: Arrays, tolerance: Tolerance) -> float:
    """The largest absolute difference of all outputs; raises `Mismatch` for one outside the tolerance."""
    if fresh.keys() != recorded.keys():
        raise Mismatch(f"outputs are {sorted(fresh)}, recorded were {sorted(recorded)}")
    return max((_difference(key, fresh[key], recorded[key], tolerance) for key in recorded), default=0.0)


def _difference(key: str, fresh: np.ndarray, recorded: np.ndarray, tolerance: Tolerance) -> float:
    kinds = [f"{dtype_name(array)} {list(array.shape)}" for array in (fresh, recorded)]
    if kinds[0] != kinds[1]:
        raise Mismatch(f"`{key}` is {kinds[0]}, recorded was {kinds[1]}")
    if dtype_name(fresh) in ("string", "bool") or np.issubdtype(fresh.dtype, np.integer):
        unequal = int(np.count_nonzero(fresh != recorded))
        if unequal:
            raise Mismatch(f"`{key}`: {unequal} of {fresh.size} values differ")
        return 0.0
    wide = np.complex128 if np.iscomplexobj(fresh) else np.float64
    fresh, recorded = fresh.astype(wide), recorded.astype(wide)
    same = (fresh == recorded) | (np.isnan(fresh) & np.isnan(recorded))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(fresh - recorded))
        outside = ~same & ~(difference <= tolerance.atol + tolerance.rtol * np.abs(recorded))
    largest = float(difference.max(initial=0.0))
    if outside.any():
        raise Mismatch(f"`{key}`: {int(outside.sum())} of {fresh.size} values differ by up to {largest:.3g}")
    return largest

"""What both kinds of comparisons share: the name of the learned optimizer, streams of random numbers, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from ..protocols import Array

# Streams of random numbers: learning rates are tuned on other functions than those of the comparison.
TUNING, COMPARISON = 11, 12
LEARNED = "learned"  # the learned optimizer's name in results
LBFGS = "l-bfgs"     # that of SciPy's L-BFGS
Z95 = 1.96  # the 97.5 % quantile of the normal distribution


def interval(values: Array) -> tuple[Any, Any]:
    """Mean over the last axis, and half the width of its 95 % interval by the normal approximation.

    The half width of a single value is nan.
    """
    count = values.shape[-1]
    with np.errstate(invalid="ignore", over="ignore"):
        spread = values.std(axis=-1, ddof=1) if count > 1 else np.full(values.shape[:-1], np.nan)
        return values.mean(axis=-1), Z95 * spread / np.sqrt(count)


def half_width(half: float) -> str:
    """The half width of an interval for a table; "-" if it is not finite, as for a single function."""
    return f"{half:.1g}" if np.isfinite(half) else "-"


def with_interval(mean: float, half: float, digits: int = 3) -> str:
    """A signed mean with its interval, for a sentence; without the interval if that is not finite."""
    return f"{mean:+.{digits}g}" + (f" +- {half:.1g}" if np.isfinite(half) else "")


def align(rows: list[list[str]]) -> list[str]:
    """The rows of a table, lists of strings, as lines with aligned columns. The first column is aligned on the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def json_numbers(values: ArrayLike) -> list[float | None]:
    """Numbers for JSON, a list: those that are not finite become None."""
    return [float(v) if np.isfinite(v) else None for v in np.atleast_1d(values)]

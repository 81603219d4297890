"""What a network sees of a value. Networks are trained on functions of mean 0 and variance 1; yours may have others.

    Y1  w(y) = low + q log(1 + (y - low) / q)   above low, the smallest of the first n values; y itself below
    Y2  y~   = mean_n + std_n (w(y) - m) / s,   clipped to -5..5

m and s are the mean and the standard deviation of w of the first n values.

q is infinite, and w(y) = y, where the skewness of the values is at most `SKEWNESS`. Otherwise q is the largest of
`FACTORS` times the range of the values for which the skewness of w is. A function that spans orders of magnitude is
unlike any draw of a Gaussian process, but its logarithm may be like one.

The values that a good optimizer finds are lower than those of the function at large, and closer together. Hence
(mean_n, std_n), the moments that the first n values had in training where a card knows them, else (0, 1).

A failed evaluation counts as the worst value told. So does a penalty: a value that stands apart from all others, as if
somebody had returned 1e8 where a point is not feasible (`penalty_limit`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array, Card

LARGEST = 5.0     # of y~
HUGE = 1e300      # the largest difference of values, so that none is infinite
SKEWNESS = 1.25   # on draws like those of training, most searches stay below it, up to four dimensions
FACTORS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
ENOUGH = 8        # values needed for a skewness
APART = 1000.0    # times the range of the other values lie penalties above the smallest
TOGETHER = 10.0   # the largest of them is at most so many times as far above it as the smallest of them


class Scale(NamedTuple):
    """The scale of one function, floats; or of B functions, arrays (B,)."""

    first: Any      # the first value: all others are relative to it, so that a large shift costs no digits
    m: Any          # relative to ``first``
    s: Any
    mean: Any
    std: Any
    low: Any = math.inf  # relative to ``first``; infinite where w(y) = y
    q: Any = 1.0


def given_scale(scaling: Any) -> Scale | None:
    """Scale of ``scaling``, a pair of mean and std; None for "running". Raises ValueError for anything else."""
    if isinstance(scaling, str) and scaling == "running":
        return None
    try:
        mean, std = map(float, scaling)
    except (TypeError, ValueError, OverflowError):
        mean = std = np.nan
    if not (np.isfinite(mean) and 0 < std < np.inf):
        raise ValueError(f"scaling: expected 'running' or a finite mean and a std > 0, got {scaling!r}")
    return Scale(mean, 0.0, std, 0.0, 1.0)


def rescaled_after(count: int) -> bool:
    """Whether a running scale is computed anew after this many values: 1, 2, 4, 8, .."""
    return count & (count - 1) == 0


def running_scale(values: Array, moments: list[list[float]] | None = None) -> Scale:
    """Scale of the values told so far, (B, n), nan for the failed ones. Without any, that of a function that is 0."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    first = values[np.arange(len(values)), known.argmax(axis=1)]
    first = np.where(count > 0, first, 0)
    with np.errstate(over="ignore"):
        r = np.where(known, np.clip(values - first[:, None], -HUGE, HUGE), 0)  # the first is 0, too
    peak = np.abs(r).max(axis=1)
    peak = np.where(peak > 0, peak, 1)                               # so that no square over- or underflows
    r /= peak[:, None]
    count = np.maximum(count, 1)
    low, q = np.full(len(r), np.inf), np.ones(len(r))
    m, s, skewness = _statistics(r, known, count)
    for factor in FACTORS:
        skewed = (skewness > SKEWNESS) & (count >= ENOUGH)
        if not skewed.any():
            break
        low[skewed], q[skewed] = r[skewed].min(axis=1), factor * np.ptp(r[skewed], axis=1)
        m, s, skewness = _statistics(_logarithm(r, low[:, None], q[:, None]), known, count)  # Y1
    mean, std = (0.0, 1.0) if not moments else moments[min(values.shape[1].bit_length(), len(moments)) - 1]
    return Scale(first, peak * m, peak * s, mean, std, np.where(peak * q > 0, peak * low, np.inf), peak * q)


def penalty_limit(values: Array) -> Array:
    """The limits (B,) above which values are penalties, by the values told so far (B, n), nan for the failed ones.

    Penalties lie together and far above all others. They are at most half of the values, or the largest is there twice.
    """
    y = np.sort(np.where(np.isfinite(values), values, np.nan), axis=1)  # nan comes last
    rows, n = np.arange(len(y)), np.isfinite(y).sum(axis=1)
    last = np.maximum(n - 1, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        r = np.minimum(y - y[:, :1], HUGE)
        top = r[rows, last]
        gap = (r[:, 1:] > APART * r[:, :-1]) & (TOGETHER * r[:, 1:] >= top[:, None]) & (r[:, :-1] > 0)
    if not gap.any():
        return np.where(n >= 4, _above(y[:, 0], APART * top), np.inf)
    below = gap.argmax(axis=1)  # the number of the largest value that is no penalty
    twice = y[rows, last] == y[rows, np.maximum(last - 1, 0)]
    found = gap.any(axis=1) & (below >= 2) & ((2 * (below + 1) >= n) | twice)
    others = _above(y[:, 0], np.sqrt(APART) * r[rows, below])
    return np.where(found, others, np.where(n >= 4, _above(y[:, 0], APART * top), np.inf))


def _above(least: Array, distance: Array) -> Array:
    """least + distance; infinity where nothing is apart."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(distance > 0, least + distance, np.inf)


def without_penalties(values: Array, limit: Array) -> Array:
    """The values (B, n), nan above the limits (B,)."""
    return np.where(values > limit[:, None], np.nan, values)


def _statistics(r: Array, known: Array, count: Array) -> tuple[Array, Array, Array]:
    """Mean, standard deviation and skewness of the known values in each row."""
    m = np.where(known, r, 0).sum(axis=1) / count
    d = np.where(known, r - m[:, None], 0)
    s = np.sqrt((d**2).sum(axis=1) / count)
    return m, s, (d**3).sum(axis=1) / count / np.maximum(s**3, 1e-300)


def _logarithm(y: Array, low: Array, q: Array) -> Array:
    """Y1."""
    with np.errstate(invalid="ignore"):  # infinities below low, which np.where leaves out
        return np.where(y > low, low + q * np.log1p(np.maximum(y - low, 0) / q), y)


def scaled(value: float, scale: Scale) -> float:
    """Y1 and Y2 of one value, in Python's floats."""
    first, m, s, mean, std, low, q = scale
    if not s > 0:
        return float(mean)
    y = value - first
    if y > low:
        y = low + q * math.log1p((y - low) / q)                      # Y1
    y = mean + std * ((y - m) / s)                                   # Y2
    return LARGEST if y > LARGEST else -LARGEST if y < -LARGEST else float(y)


def standardised(values: Array, scale: Scale) -> Array:
    """Y1 and Y2 of values (B,), one for each function, or (n,) of one function; not clipped."""
    first, m, s, mean, std, low, q = scale
    flat = ~(np.asarray(s) > 0)
    with np.errstate(over="ignore"):
        y = _logarithm(values - first, low, q)                       # Y1
        y = mean + std * ((y - m) / np.where(flat, 1, s))            # Y2
    return np.where(flat, mean, y)


def scaled_rows(values: Array, scale: Scale) -> Array:
    """Y1 and Y2 of values (B,), one for each function."""
    rows: Array = np.clip(standardised(values, scale), -LARGEST, LARGEST)
    return rows


def moments_of(card: Card | None) -> list[list[float]] | None:
    """The card's "moments", a list of pairs [mean_n, std_n] for n = 1, 2, 4, ..; None when it has none."""
    moments = (card or {}).get("moments")
    if not isinstance(moments, list) or not moments:
        return None
    try:
        moments = [[float(mean), float(std)] for mean, std in moments]
    except (TypeError, ValueError, OverflowError):
        return None
    return moments if np.isfinite(moments).all() else None

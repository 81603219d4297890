"""What a network sees of a value: networks are trained on functions of mean 0 and variance 1.

    Y1  w(y) = low + q log(1 + (y - low) / q)   above low, the smallest of the first n values; y itself below
    Y2  y~   = mean_n + deviation_n (w(y) - m) / s,   clipped to -5..5

m and s are mean and standard deviation of w of the first n values. q is the largest of `FACTORS` times their range for
which their skewness is at most `SKEWNESS`, and infinite, w(y) = y, where that of y is: a function that spans orders of
magnitude is nothing like a draw of a Gaussian process, its logarithm may be. A good optimizer's values are lower than
those of a function at large and closer together: (mean_n, deviation_n) are the moments that the first n values had in
training, where a card knows them, else (0, 1). A failed evaluation is as bad as the worst value told.
"""

import math
from typing import NamedTuple

import numpy as np

LARGEST = 5.0     # of y~
HUGE = 1e300      # of differences of values, so that none is infinite
SKEWNESS = 1.25   # most searches of what networks are trained on stay below, up to four dimensions
FACTORS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
ENOUGH = 8        # values to take a skewness of


class Scale(NamedTuple):
    """One function's, floats; or B functions', arrays (B,)."""

    first: float      # the first value: all others are relative to it, so that a large shift costs no digits
    m: float          # relative to ``first``
    s: float
    mean: float
    std: float
    low: float = math.inf  # relative to ``first``; infinite where w(y) = y
    q: float = 1.0


def given_scale(scaling):
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


def rescaled_after(count):
    """Whether a running scale is taken anew after so many values: 1, 2, 4, 8, .."""
    return count & (count - 1) == 0


def running_scale(values, moments=None):
    """Scale of the values told so far, (B, n), nan for the failed ones; without any, of a function that is 0."""
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


def _statistics(r, known, count):
    """Mean, standard deviation and skewness of the known ones in each row."""
    m = np.where(known, r, 0).sum(axis=1) / count
    d = np.where(known, r - m[:, None], 0)
    s = np.sqrt((d**2).sum(axis=1) / count)
    return m, s, (d**3).sum(axis=1) / count / np.maximum(s**3, 1e-300)


def _logarithm(y, low, q):
    """Y1."""
    with np.errstate(invalid="ignore"):  # infinities below low, where nothing is taken from them
        return np.where(y > low, low + q * np.log1p(np.maximum(y - low, 0) / q), y)


def scaled(value, scale):
    """Y1 and Y2 of one value, in Python's floats."""
    first, m, s, mean, std, low, q = scale
    if not s > 0:
        return mean
    y = value - first
    if y > low:
        y = low + q * math.log1p((y - low) / q)                      # Y1
    y = mean + std * ((y - m) / s)                             # Y2
    return LARGEST if y > LARGEST else -LARGEST if y < -LARGEST else y


def scaled_rows(values, scale):
    """Y1 and Y2 of values (B,), one for each function."""
    first, m, s, mean, std, low, q = scale
    flat = ~(np.asarray(s) > 0)
    with np.errstate(over="ignore"):
        y = _logarithm(values - first, low, q)                       # Y1
        y = mean + std * ((y - m) / np.where(flat, 1, s))      # Y2
    return np.clip(np.where(flat, mean, y), -LARGEST, LARGEST)


def moments_of(card):
    """The card's "moments", a list of pairs [mean_n, deviation_n] for n = 1, 2, 4, ..; None when it has none."""
    moments = (card or {}).get("moments")
    if not isinstance(moments, list) or not moments:
        return None
    try:
        moments = [[float(mean), float(std)] for mean, std in moments]
    except (TypeError, ValueError, OverflowError):
        return None
    return moments if np.isfinite(moments).all() else None

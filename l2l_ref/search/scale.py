"""What a network sees of a value: networks are trained on functions of mean 0 and variance 1.

    Y1  y~ = mean_n + deviation_n (y - m) / s,   clipped to -5..5

m and s are mean and standard deviation of the first n values. A good optimizer's values are lower than those of a
function at large and closer together: (mean_n, deviation_n) are the moments that the first n values had in training,
where a card knows them, else (0, 1). A failed evaluation is as bad as the worst value told.
"""

from typing import NamedTuple

import numpy as np

LARGEST = 5.0     # of y~
HUGE = 1e300      # of differences of values, so that none is infinite


class Scale(NamedTuple):
    """One function's, floats; or B functions', arrays (B,)."""

    first: float      # the first value: all others are relative to it, so that a large shift costs no digits
    m: float          # relative to ``first``
    s: float
    mean: float
    deviation: float


def given_scale(scaling):
    """Scale of ``scaling``, a pair of mean and deviation; None for "running". Raises ValueError for anything else."""
    if isinstance(scaling, str) and scaling == "running":
        return None
    try:
        mean, deviation = map(float, scaling)
    except (TypeError, ValueError, OverflowError):
        mean = deviation = np.nan
    if not (np.isfinite(mean) and 0 < deviation < np.inf):
        raise ValueError(f"scaling: expected 'running' or a finite mean and a deviation > 0, got {scaling!r}")
    return Scale(mean, 0.0, deviation, 0.0, 1.0)


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
        r = np.where(known, np.clip(values - first[:, None], -HUGE, HUGE), 0)
    peak = np.abs(r).max(axis=1)
    peak = np.where(peak > 0, peak, 1)                               # so that no square over- or underflows
    r /= peak[:, None]
    count = np.maximum(count, 1)
    m = r.sum(axis=1) / count
    s = np.sqrt((np.where(known, r - m[:, None], 0) ** 2).sum(axis=1) / count)
    mean, deviation = (0.0, 1.0) if not moments else moments[min(values.shape[1].bit_length(), len(moments)) - 1]
    return Scale(first, peak * m, peak * s, mean, deviation)


def scaled(value, scale):
    """Y1 of one value, in Python's floats."""
    first, m, s, mean, deviation = scale
    if not s > 0:
        return mean
    y = mean + deviation * ((value - first - m) / s)                 # Y1
    return LARGEST if y > LARGEST else -LARGEST if y < -LARGEST else y


def scaled_rows(values, scale):
    """Y1 of values (B,), one for each function."""
    first, m, s, mean, deviation = scale
    flat = ~(np.asarray(s) > 0)
    with np.errstate(over="ignore"):
        y = mean + deviation * ((values - first - m) / np.where(flat, 1, s))  # Y1
    return np.clip(np.where(flat, mean, y), -LARGEST, LARGEST)


def moments_of(card):
    """The card's "moments", a list of pairs [mean_n, deviation_n] for n = 1, 2, 4, ..; None when it has none."""
    moments = (card or {}).get("moments")
    if not isinstance(moments, list) or not moments:
        return None
    try:
        moments = [[float(mean), float(deviation)] for mean, deviation in moments]
    except (TypeError, ValueError, OverflowError):
        return None
    return moments if np.isfinite(moments).all() else None

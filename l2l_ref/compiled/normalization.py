"""Batch normalisation, compiled: NumPy's passes over memory cost more there than the arithmetic.

Original: ops/normalization.py. It is the definition, with the equations A11 to A13; a difference is a bug in this file.
Only real numbers, float32 or float64.

x is read once for both statistics: with d = x - c for any c, m = c + mean(d) and v = mean(d^2) - mean(d)^2. The
difference loses no digits that count when c is near m, and c is the mean of a sample of the rows. The rows are cut into
parts with sums of their own, which are added in float64 and in their order, so the result does not depend on the number
of threads.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_floating
from ..ops.normalization import EPSILON
from .arguments import fit, precision, require_cache
from .jit import kernel_without_refcounts
from .threads import run_rows

PART = 512     # rows that a thread works on at a time
SAMPLE = 1024  # rows in the sample
WORK = 8       # one number takes about as long as this many multiplications of a matrix product


class BatchNormCache(NamedTuple):
    x: np.ndarray            # (..., C)
    m: np.ndarray            # (C,)
    r: np.ndarray            # (C,)
    gain: np.ndarray | None  # (C,)


def batch_norm(x, offset, gain=None, epsilon=EPSILON, threads=None):
    """A11 to A13. x (..., C), offset (C,), gain (C,) or None -> y (..., C), cache."""
    require_floating("x", np.asarray(x))
    given = [("offset", offset)] if gain is None else [("offset", offset), ("gain", gain)]
    dtype = precision(x, *(array for _, array in given))
    (x,) = fit(dtype, ("x", x, np.shape(x)))
    if x.ndim < 2 or not x.size:
        raise ValueError(f"x: expected shape (K, ..., C) with at least one number, got {x.shape}")
    C = x.shape[-1]
    offset, *gains = fit(dtype, *((name, array, (C,)) for name, array in given))
    gain = gains[0] if gains else None
    if not epsilon > 0:
        raise ValueError(f"epsilon: expected a number > 0, got {epsilon!r}")
    rows, K = x.reshape(-1, C), x.size // C
    near = rows[:: max(1, K // SAMPLE)].mean(axis=0)
    first, second = _sums(rows, rows, near, threads) / K
    m, v = near + first, np.maximum(second - first * first, 0)       # A11
    m, r = m.astype(x.dtype), (1 / np.sqrt(v + epsilon)).astype(x.dtype)  # A12
    scale = r if gain is None else r * gain
    y = np.empty_like(x)
    run_rows(_scale_part, K, PART, WORK * C, threads, rows, m, scale, offset, y.reshape(-1, C))
    return y, BatchNormCache(x, m, r, gain)


def batch_norm_backward(d_y, cache, threads=None):
    """d_y (..., C) -> d_x (..., C), d_offset (C,), d_gain (C,) or None."""
    require_cache(cache, BatchNormCache)
    x, m, r, gain = cache
    (d_y,) = fit(x.dtype, ("d_y", d_y, x.shape))
    rows, d_rows = x.reshape(-1, x.shape[-1]), d_y.reshape(-1, x.shape[-1])
    K, C = rows.shape
    d_offset, d_n = _sums(d_rows, rows, m, threads)                  # A13
    d_gain = d_n * r                                                 # A13
    scale = r if gain is None else r * gain                          # A13, A12
    shift, slope = (d_offset / K).astype(x.dtype), (d_gain * r / K).astype(x.dtype)
    d_x = np.empty_like(x)
    run_rows(_scale_backward_part, K, PART, WORK * C, threads, d_rows, rows, m, scale, shift, slope, d_x.reshape(K, C))
    return d_x, d_offset.astype(x.dtype), None if gain is None else d_gain.astype(x.dtype)


def _sums(a, b, m, threads):
    """The sums over the rows of a and of a (b - m), or of a - m and (a - m)^2 where b is a; float64, (2, C)."""
    K, C = a.shape
    sums = np.zeros((-(-K // PART), 2, C), a.dtype)
    run_rows(_square_part if b is a else _product_part, K, PART, WORK * C, threads, a, b, m, sums)
    return sums.sum(axis=0, dtype=np.float64)


# ------------------------------------------------------------------------------------------- the kernels


@kernel_without_refcounts
def _square_part(first_part, parts, x, _, m, sums):
    K, C = x.shape
    for part in range(first_part * PART, K, parts * PART):
        total, squares = sums[part // PART, 0], sums[part // PART, 1]
        for k in range(part, min(part + PART, K)):
            row = x[k]
            for c in range(C):
                d = row[c] - m[c]
                total[c] += d
                squares[c] += d * d


@kernel_without_refcounts
def _product_part(first_part, parts, d_y, x, m, sums):
    K, C = x.shape
    for part in range(first_part * PART, K, parts * PART):
        total, products = sums[part // PART, 0], sums[part // PART, 1]
        for k in range(part, min(part + PART, K)):
            d, row = d_y[k], x[k]
            for c in range(C):
                total[c] += d[c]
                products[c] += d[c] * (row[c] - m[c])


@kernel_without_refcounts
def _scale_part(first_part, parts, x, m, scale, offset, y):
    K, C = x.shape
    for part in range(first_part * PART, K, parts * PART):
        for k in range(part, min(part + PART, K)):
            row, out = x[k], y[k]
            for c in range(C):
                out[c] = scale[c] * (row[c] - m[c]) + offset[c]      # A12, A13


@kernel_without_refcounts
def _scale_backward_part(first_part, parts, d_y, x, m, scale, shift, slope, d_x):
    K, C = x.shape
    for part in range(first_part * PART, K, parts * PART):
        for k in range(part, min(part + PART, K)):
            d, row, out = d_y[k], x[k], d_x[k]
            for c in range(C):
                out[c] = scale[c] * (d[c] - shift[c] - slope[c] * (row[c] - m[c]))  # A12, A11

"""Compiled twins of ``gp_append`` and ``gp_sample`` in ops/gp.py, with their backward passes.

That file is the definition, with the equations S1 to S4, and below it K1 to K4 and H1 to H3; a difference is a bug in
this one. Real numbers only, float32 or float64.

In memory the functions lie next to each other, as `gp_start` makes them: kernels see arrays whose last axis is B, so
that all arithmetic is along it. Every function is independent of the others, so a thread takes some of them, and what
is summed over functions is summed afterwards, in their order.
"""

import math
from typing import NamedTuple

import numpy as np

from .jit import exp, kernel
from .threads import run

FAMILIES = ("squared_exponential", "matern32", "matern52")
JITTER = {"float32": 2e-5, "float64": 1e-10}
WORTH_A_THREAD = 100_000  # multiplications; below, handing work to a thread takes about as long
WIDTH = 64  # functions of one part: a row of them is some cache lines, which stay in the first-level cache


# ------------------------------------------------------------- what the four names of the original do


class Draw(NamedTuple):
    f: np.ndarray          # (B,)
    mean: np.ndarray       # (B,)
    deviation: np.ndarray  # (B,)


class Law(NamedTuple):
    """The covariance, as the kernels read it."""

    family: int
    over_scale: np.ndarray    # (d,), 1 / s
    numbers: np.ndarray       # v and v (1 + jitter), and the constants of K2 to K4 in the precision of the rest
    scalar: bool              # whether there is one length scale for all dimensions


class GPCache(NamedTuple):
    x: np.ndarray  # (B, T, d)
    z: np.ndarray  # (B, T)
    L: np.ndarray  # (B, T, T)
    t: int         # the number of the appended row; for a sample, T
    law: Law


def gp_append(state, x, z, length_scale, variance, covariance="squared_exponential", jitter=None, in_place=False,
              threads=None):
    """One more query: (Draw, state'), cache."""
    t = state.t
    B, T, d = state.x.shape
    for name, array, shape in (("state.z", state.z, (B, T)), ("state.L", state.L, (B, T, T)), ("x", x, (B, d)),
                               ("z", z, (B,))):
        _require(name, array, shape)
    if not 0 <= t < T:
        raise ValueError(f"state: expected fewer than its {T} queries to be done, got t={t}")
    law = _law(x, d, length_scale, variance, covariance, jitter)
    new = state._replace(t=t + 1)
    if in_place:
        if {array.dtype for array in state[:3]} != {x.dtype}:
            raise ValueError(f"state: expected arrays of {x.dtype} to write into, got {state.L.dtype}")
        for array in state[:3]:
            _require_order("state", array)
    else:
        new = new._replace(x=_copy(state.x, x), z=_copy(state.z, x), L=_copy(state.L, x))
    new.x[:, t], new.z[:, t] = x, z
    mean = np.empty(B, x.dtype)
    left = np.empty_like(mean)
    _run(_append_part, B, t * t, threads, *map(_inside, new[:3]), t, *law[:3], mean, left)
    _raise_if_failed(left, np.full(B, t))
    deviation = new.L[:, t, t].copy()
    draw = Draw(mean + deviation * new.z[:, t], mean, deviation)     # S4
    return (draw, new), GPCache(new.x, new.z, new.L, t, law)


def gp_append_backward(d_out, cache, in_place=False, threads=None):
    """(d_draw, d_state') -> d_state, d_x (B, d), d_z (B,), d_length_scale () or (d,), d_variance ()."""
    d_draw, d_state = d_out
    X, Z, L, t, law = cache
    if not in_place:
        d_state = d_state._replace(x=_copy(d_state.x, X), z=_copy(d_state.z, X), L=_copy(d_state.L, X))
    d_X, d_Z, d_L = d_state[:3]
    for array in d_state[:3]:
        _require_order("d_state", array)
    B, d = len(X), X.shape[2]
    d_draw = np.array(d_draw, X.dtype)
    d_scale, d_variance = np.zeros((d, B), X.dtype), np.zeros(B, X.dtype)
    _run(_append_backward_part, B, 2 * t * t, threads, *map(_inside, (X, Z, L)), t, *law[:3], d_draw,
         *map(_inside, d_state[:3]), d_scale, d_variance)
    d_x, d_z = d_X[:, t].copy(), d_Z[:, t].copy()
    for d_array in (d_X[:, t], d_Z[:, t], d_L[:, t, : t + 1]):
        d_array[:] = 0
    return d_state._replace(t=None), d_x, d_z, *_hyper(d_scale, d_variance, law)


def gp_sample(x, z, length_scale, variance, covariance="squared_exponential", jitter=None, threads=None):
    """A whole trajectory: x (B, T, d), z (B, T) -> f (B, T), cache."""
    if np.ndim(x) != 3:
        raise ValueError(f"x: expected shape (B, T, d), got {np.shape(x)}")
    B, T, d = x.shape
    _require("z", z, (B, T))
    law = _law(x, d, length_scale, variance, covariance, jitter)
    x, z, L = _copy(x, x), _copy(z, x), _zeros(B, T, T, dtype=x.dtype)
    f = _zeros(B, T, dtype=x.dtype)
    left, failed = np.ones(B, x.dtype), np.zeros(B, np.int64)
    _run(_sample_part, B, T**3 // 3, threads, *map(_inside, (x, z, L)), *law[:3], _inside(f), left, failed)
    _raise_if_failed(left, failed)
    return np.ascontiguousarray(f), GPCache(x, z, L, T, law)


def gp_sample_backward(d_f, cache, threads=None):
    """d_f (B, T) -> d_x (B, T, d), d_z (B, T), d_length_scale () or (d,), d_variance ()."""
    x, z, L, T, law = cache
    B, T, d = x.shape
    d_x, d_z, d_L = np.zeros_like(x), np.zeros_like(z), np.zeros_like(L)
    d_scale, d_variance = np.zeros((d, B), x.dtype), np.zeros(B, x.dtype)
    _run(_sample_backward_part, B, T**3, threads, *map(_inside, (x, z, L)), *law[:3], _inside(_copy(d_f, x)),
         *map(_inside, (d_x, d_z, d_L)), d_scale, d_variance)
    return np.ascontiguousarray(d_x), np.ascontiguousarray(d_z), *_hyper(d_scale, d_variance, law)


def _require(name, array, shape):
    if np.shape(array) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {np.shape(array)}")


def _zeros(B, *shape, dtype):
    """Zeros (B, ...) of which the functions lie next to each other."""
    return np.zeros((*shape, B), dtype).transpose(len(shape), *range(len(shape)))


def _copy(array, like):
    new = _zeros(*array.shape, dtype=like.dtype)
    new[:] = array
    return new


def _inside(array):
    """The same array as the kernels see it, (..., B)."""
    return array.transpose(*range(1, array.ndim), 0)


def _require_order(name, array):
    if not _inside(array).flags.c_contiguous:
        raise ValueError(f"{name}: expected arrays in the order of gp_start, got strides {array.strides}")


def _law(x, d, length_scale, variance, covariance, jitter):
    dtype = x.dtype
    if dtype.name not in JITTER:
        raise ValueError(f"x: expected float32 or float64, got {dtype}")
    if covariance not in FAMILIES:
        raise ValueError(f"covariance: expected one of {', '.join(FAMILIES)}, got {covariance!r}")
    jitter = JITTER[dtype.name] if jitter is None else jitter
    if not 0 <= jitter < np.inf:
        raise ValueError(f"jitter: expected a finite number >= 0, got {jitter!r}")
    length_scale, variance = np.asarray(length_scale), np.asarray(variance)
    for name, value, shapes in (("length_scale", length_scale, ((), (d,))), ("variance", variance, ((),))):
        if not (np.isfinite(value) & (value > 0)).all():
            raise ValueError(f"{name}: expected finite numbers > 0, got {value}")
        if value.shape not in shapes:
            raise ValueError(f"{name}: expected shape {' or '.join(map(str, shapes))}, got {value.shape}")
    over_scale = np.empty(d, dtype)
    over_scale[:] = 1 / length_scale
    numbers = np.array([variance, variance * (1 + jitter), 1, 1 / 2, 3, 3 / 2, 5, 1 / 3, 5 / 6], dtype)
    return Law(FAMILIES.index(covariance), over_scale, numbers, length_scale.ndim == 0)


def _run(part, B, work, threads, *arguments):
    """Parts of `WIDTH` functions; ``work`` is the number of multiplications of each function."""
    run(part, -(-B // WIDTH), 1 if B * work < WORTH_A_THREAD else threads, B, *arguments)


def _raise_if_failed(left, rows):
    failed = np.flatnonzero(~(left > 0))
    if failed.size:
        b = failed[0]
        raise ValueError(f"c: row {rows[b]} of matrix {b} leaves {left[b]:.3g} of its diagonal entry, expected > 0; it "
                         "repeats earlier rows or is not finite, and may need more jitter")


def _hyper(d_scale, d_variance, law):
    d_length_scale = d_scale.sum(axis=1)
    return d_length_scale.sum() if law.scalar else d_length_scale, d_variance.sum()


# ------------------------------------------------------------------------------------------- the kernels


@kernel
def _correlation(family, r2, numbers):
    """K2, K3 or K4: k / v, and its derivative in r2. (A Python number beside a float32 would make it a float64.)"""
    one = numbers[2]
    if family == 0:
        e = exp(-r2 * numbers[3])                                    # K2
        return e, -e * numbers[3]
    if family == 1:
        q = math.sqrt(numbers[4] * r2)
        e = exp(-q)                                                  # K3
        return (one + q) * e, -numbers[5] * e
    q = math.sqrt(numbers[6] * r2)
    e = exp(-q)                                                      # K4
    return (one + q + q * q * numbers[7]) * e, -numbers[8] * (one + q) * e


@kernel
def _squared_distances(X, t, s, over_scale, lo, hi, r2):
    """K1 between queries t and s of functions lo..hi, into r2."""
    for b in range(lo, hi):
        r2[b - lo] = 0
    for j in range(len(over_scale)):
        for b in range(lo, hi):
            u = (X[t, j, b] - X[s, j, b]) * over_scale[j]
            r2[b - lo] += u * u                                      # K1


@kernel
def _rows(X, Z, L, t, family, over_scale, numbers, lo, hi, r2, mean, left):
    """Row t of L (T, T, B) for functions lo..hi, from the rows before it; mean_t and what is left of the variance."""
    row = L[t]
    for b in range(lo, hi):
        mean[b], left[b] = 0, numbers[1]
    for s in range(t):
        _squared_distances(X, t, s, over_scale, lo, hi, r2)
        for b in range(lo, hi):
            correlation, _ = _correlation(family, r2[b - lo], numbers)
            row[s, b] = numbers[0] * correlation                     # S1
    for i in range(t):
        for j in range(i):
            for b in range(lo, hi):
                row[i, b] -= L[i, j, b] * row[j, b]                  # H1
        for b in range(lo, hi):
            row[i, b] /= L[i, i, b]                                  # H1
            left[b] -= row[i, b] * row[i, b]                         # H3
            mean[b] += row[i, b] * Z[i, b]                           # S3
    for b in range(lo, hi):
        row[t, b] = math.sqrt(left[b]) if left[b] > 0 else math.nan  # H3


@kernel
def _rows_backward(X, Z, L, t, family, over_scale, numbers, lo, hi, d_draw, d_X, d_Z, d_L, d_scale, d_variance, r2, d_c,
                   d_k):
    """Add to d_X (T, d, B), d_Z (T, B), d_L (T, T, B), d_scale (d, B) and d_variance (B,) for functions lo..hi.

    ``d_draw`` (3, B) is d_f, d_mean and d_deviation; r2, d_c and d_k are room to work in.
    """
    row = L[t]
    for b in range(lo, hi):
        d_f = d_draw[0, b]
        d_draw[1, b] += d_f                                          # S4
        d_delta = d_draw[2, b] + d_f * Z[t, b] + d_L[t, t, b]        # S4
        d_c[b - lo] = d_delta / (row[t, b] + row[t, b])              # H3
        d_Z[t, b] += d_f * row[t, b]                                 # S4
        d_variance[b] += d_c[b - lo] * (numbers[1] / numbers[0])     # S1
    for s in range(t):
        for b in range(lo, hi):
            d_Z[s, b] += d_draw[1, b] * row[s, b]                    # S3
            twice = d_c[b - lo] + d_c[b - lo]
            d_k[s, b - lo] = d_L[t, s, b] + d_draw[1, b] * Z[s, b] - twice * row[s, b]  # S3, H3
    for i in range(t - 1, -1, -1):
        for b in range(lo, hi):
            d_k[i, b - lo] /= L[i, i, b]                             # H1
            d_L[i, i, b] -= d_k[i, b - lo] * row[i, b]               # H1
        for j in range(i):
            for b in range(lo, hi):
                d_k[j, b - lo] -= d_k[i, b - lo] * L[i, j, b]        # H1
                d_L[i, j, b] -= d_k[i, b - lo] * row[j, b]           # H1
    for s in range(t):
        _squared_distances(X, t, s, over_scale, lo, hi, r2)
        for b in range(lo, hi):
            correlation, slope = _correlation(family, r2[b - lo], numbers)
            d_variance[b] += d_k[s, b - lo] * correlation            # S1
            r2[b - lo] = (d_k[s, b - lo] + d_k[s, b - lo]) * numbers[0] * slope  # K2 to K4
        for j in range(len(over_scale)):
            for b in range(lo, hi):
                u = (X[t, j, b] - X[s, j, b]) * over_scale[j]
                d_difference = r2[b - lo] * u * over_scale[j]        # K1
                d_X[t, j, b] += d_difference                         # K1
                d_X[s, j, b] -= d_difference                         # K1
                d_scale[j, b] -= d_difference * u                    # K1


@kernel
def _append_part(first, stride, B, X, Z, L, t, family, over_scale, numbers, mean, left):
    r2 = np.empty(WIDTH, X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        _rows(X, Z, L, t, family, over_scale, numbers, lo, min(lo + WIDTH, B), r2, mean, left)


@kernel
def _append_backward_part(first, stride, B, X, Z, L, t, family, over_scale, numbers, d_draw, d_X, d_Z, d_L, d_scale,
                          d_variance):
    r2, d_c, d_k = np.empty(WIDTH, X.dtype), np.empty(WIDTH, X.dtype), np.empty((t, WIDTH), X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        _rows_backward(X, Z, L, t, family, over_scale, numbers, lo, min(lo + WIDTH, B), d_draw, d_X, d_Z, d_L, d_scale,
                       d_variance, r2, d_c, d_k)


@kernel
def _sample_part(first, stride, B, X, Z, L, family, over_scale, numbers, f, left, failed):
    T = len(X)
    r2, mean, remains = np.empty(WIDTH, X.dtype), np.empty(B, X.dtype), np.empty(B, X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        hi = min(lo + WIDTH, B)
        for t in range(T):
            _rows(X, Z, L, t, family, over_scale, numbers, lo, hi, r2, mean, remains)
            for b in range(lo, hi):
                f[t, b] = mean[b] + L[t, t, b] * Z[t, b]             # S4
                if left[b] > 0 and not remains[b] > 0:  # the first row that fails is the one to name
                    left[b], failed[b] = remains[b], t


@kernel
def _sample_backward_part(first, stride, B, X, Z, L, family, over_scale, numbers, d_f, d_X, d_Z, d_L, d_scale,
                          d_variance):
    T = len(X)
    r2, d_c, d_k = np.empty(WIDTH, X.dtype), np.empty(WIDTH, X.dtype), np.empty((T, WIDTH), X.dtype)
    d_draw = np.zeros((3, B), X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        hi = min(lo + WIDTH, B)
        for t in range(T - 1, -1, -1):
            for b in range(lo, hi):
                d_draw[0, b], d_draw[1, b], d_draw[2, b] = d_f[t, b], 0, 0
            _rows_backward(X, Z, L, t, family, over_scale, numbers, lo, hi, d_draw, d_X, d_Z, d_L, d_scale, d_variance,
                           r2, d_c, d_k)

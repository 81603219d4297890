"""Compiled twins of ``gp_append`` and ``gp_sample`` in ops/gp.py, with their backward passes.

That file is the definition, with the equations S1 to S4, and below it K1 to K4 and H1 to H3; a difference is a bug in
this one. Real numbers only, float32 or float64.

Every function is independent of the others, so a thread takes whole functions, and what is summed over functions is
summed afterwards, in their order.
"""

import math
from typing import NamedTuple

import numpy as np

from .jit import dot, kernel
from .threads import run

FAMILIES = ("squared_exponential", "matern32", "matern52")
JITTER = {"float32": 2e-5, "float64": 1e-10}
WORTH_A_THREAD = 100_000  # multiplications; below, handing work to a thread takes about as long


# ------------------------------------------------------------- what the four names of the original do


class Draw(NamedTuple):
    f: np.ndarray          # (B,)
    mean: np.ndarray       # (B,)
    deviation: np.ndarray  # (B,)


class Law(NamedTuple):
    """The covariance, as the kernels read it."""

    family: int
    over_scale: np.ndarray    # (d,), 1 / s
    numbers: np.ndarray       # v and v (1 + jitter)
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
    else:
        new = new._replace(x=_copy(state.x, x), z=_copy(state.z, x), L=_copy(state.L, x))
    new.x[:, t], new.z[:, t] = x, z
    mean = np.empty_like(new.z[:, 0])
    left = np.empty_like(mean)
    _run(_append_part, B, t * t, threads, new.x, new.z, new.L, t, *law[:3], mean, left)
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
    d_draw = np.stack(d_draw, axis=1)
    d_scale, d_variance = np.zeros_like(X[:, 0]), np.zeros_like(Z[:, 0])
    _run(_append_backward_part, len(X), 2 * t * t, threads, X, Z, L, t, *law[:3], d_draw, d_X, d_Z, d_L, d_scale,
         d_variance)
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
    x, z = np.ascontiguousarray(x), np.ascontiguousarray(z, x.dtype)
    L = np.zeros_like(x, shape=(B, T, T))
    f = np.empty_like(x, shape=(B, T))
    left, failed = np.ones_like(x, shape=B), np.zeros(B, np.int64)
    _run(_sample_part, B, T**3 // 3, threads, x, z, L, *law[:3], f, left, failed)
    _raise_if_failed(left, failed)
    return f, GPCache(x, z, L, T, law)


def gp_sample_backward(d_f, cache, threads=None):
    """d_f (B, T) -> d_x (B, T, d), d_z (B, T), d_length_scale () or (d,), d_variance ()."""
    x, z, L, T, law = cache
    d_x, d_z = np.zeros_like(x), np.zeros_like(z)
    d_scale, d_variance = np.zeros_like(x, shape=(len(x), x.shape[2])), np.zeros_like(x, shape=len(x))
    _run(_sample_backward_part, len(x), T**3, threads, x, z, L, *law[:3], np.ascontiguousarray(d_f), d_x, d_z, d_scale,
         d_variance)
    return d_x, d_z, *_hyper(d_scale, d_variance, law)


def _require(name, array, shape):
    if np.shape(array) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {np.shape(array)}")


def _copy(array, like):
    return np.array(array, like.dtype, order="C")


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
    numbers = np.array([variance, variance * (1 + jitter)], dtype)
    return Law(FAMILIES.index(covariance), over_scale, numbers, length_scale.ndim == 0)


def _run(part, B, work, threads, *arguments):
    """One part a function; ``work`` is the number of multiplications of each."""
    run(part, B, 1 if B * work < WORTH_A_THREAD else threads, B, *arguments)


def _raise_if_failed(left, rows):
    failed = np.flatnonzero(~(left > 0))
    if failed.size:
        b = failed[0]
        raise ValueError(f"c: row {rows[b]} of matrix {b} leaves {left[b]:.3g} of its diagonal entry, expected > 0; it "
                         "repeats earlier rows or is not finite, and may need more jitter")


def _hyper(d_scale, d_variance, law):
    d_length_scale = d_scale.sum(axis=0)
    return d_length_scale.sum() if law.scalar else d_length_scale, d_variance.sum()


# ------------------------------------------------------------------------------------------- the kernels


@kernel
def _correlation(family, r2):
    """K2, K3 or K4: k / v, and its derivative in r2."""
    if family == 0:
        e = math.exp(-r2 / 2)                                        # K2
        return e, -e / 2
    if family == 1:
        q = math.sqrt(3 * r2)
        e = math.exp(-q)                                             # K3
        return (1 + q) * e, -3 * e / 2
    q = math.sqrt(5 * r2)
    e = math.exp(-q)                                                 # K4
    return (1 + q + q * q / 3) * e, -5 * (1 + q) * e / 6


@kernel
def _squared_distance(x, y, over_scale):
    r2 = x.dtype.type(0)
    for j in range(len(x)):
        u = (x[j] - y[j]) * over_scale[j]
        r2 += u * u                                                  # K1
    return r2


@kernel
def _row(X, Z, L, t, family, over_scale, numbers):
    """Row t of L (T, T) from rows before it; returns mean_t and what is left of the variance."""
    row = L[t]
    for s in range(t):
        correlation, _ = _correlation(family, _squared_distance(X[t], X[s], over_scale))
        row[s] = numbers[0] * correlation                            # S1
    for i in range(t):
        row[i] = (row[i] - dot(L[i], row, i)) / L[i, i]              # H1
    left = numbers[1] - dot(row, row, t)                             # H3
    row[t] = math.sqrt(left) if left > 0 else math.nan               # H3
    return dot(row, Z, t), left                                      # S3


@kernel
def _row_backward(X, Z, L, t, family, over_scale, numbers, d_f, d_mean, d_deviation, d_X, d_Z, d_L, d_scale, d_k):
    """Add to d_X (T, d), d_Z (T,), d_L (T, T) and d_scale (d,) of one function; returns d_variance. Fills d_k."""
    row = L[t]
    delta = row[t]
    d_mean = d_mean + d_f                                            # S4
    d_delta = d_deviation + d_f * Z[t] + d_L[t, t]                   # S4
    d_c = d_delta / (delta + delta)                                  # H3
    twice = d_c + d_c
    d_Z[t] += d_f * delta                                            # S4
    for s in range(t):
        d_Z[s] += d_mean * row[s]                                    # S3
        d_k[s] = d_L[t, s] + d_mean * Z[s] - twice * row[s]          # S3, H3
    for i in range(t - 1, -1, -1):
        L_i, d_L_i = L[i], d_L[i]
        d_k_i = d_k[i] / L_i[i]                                      # H1
        d_k[i] = d_k_i
        for j in range(i):
            d_k[j] -= d_k_i * L_i[j]                                 # H1
        for j in range(i + 1):
            d_L_i[j] -= d_k_i * row[j]                               # H1
    d_variance = d_c * (numbers[1] / numbers[0])                     # S1
    for s in range(t):
        correlation, slope = _correlation(family, _squared_distance(X[t], X[s], over_scale))
        d_variance += d_k[s] * correlation                           # S1
        d_r2 = d_k[s] * numbers[0] * slope                           # K2 to K4
        for j in range(len(over_scale)):
            u = (X[t, j] - X[s, j]) * over_scale[j]
            d_difference = 2 * d_r2 * u * over_scale[j]              # K1
            d_X[t, j] += d_difference                                # K1
            d_X[s, j] -= d_difference                                # K1
            d_scale[j] -= d_difference * u                           # K1
    return d_variance


@kernel
def _append_part(first, stride, B, X, Z, L, t, family, over_scale, numbers, mean, left):
    for b in range(first, B, stride):
        mean[b], left[b] = _row(X[b], Z[b], L[b], t, family, over_scale, numbers)


@kernel
def _append_backward_part(first, stride, B, X, Z, L, t, family, over_scale, numbers, d_draw, d_X, d_Z, d_L, d_scale,
                          d_variance):
    d_k = np.empty(t, X.dtype)
    for b in range(first, B, stride):
        d_variance[b] = _row_backward(X[b], Z[b], L[b], t, family, over_scale, numbers, d_draw[b, 0], d_draw[b, 1],
                                      d_draw[b, 2], d_X[b], d_Z[b], d_L[b], d_scale[b], d_k)


@kernel
def _sample_part(first, stride, B, x, z, L, family, over_scale, numbers, f, left, failed):
    T = x.shape[1]
    for b in range(first, B, stride):
        for t in range(T):
            mean, left[b] = _row(x[b], z[b], L[b], t, family, over_scale, numbers)
            if not left[b] > 0:
                failed[b] = t
                break
            f[b, t] = mean + L[b, t, t] * z[b, t]                    # S4


@kernel
def _sample_backward_part(first, stride, B, x, z, L, family, over_scale, numbers, d_f, d_x, d_z, d_scale, d_variance):
    T = x.shape[1]
    d_L, d_k = np.empty((T, T), x.dtype), np.empty(T, x.dtype)
    none = x.dtype.type(0)
    for b in range(first, B, stride):
        d_L[:] = none
        for t in range(T - 1, -1, -1):
            d_variance[b] += _row_backward(x[b], z[b], L[b], t, family, over_scale, numbers, d_f[b, t], none, none,
                                           d_x[b], d_z[b], d_L, d_scale[b], d_k)

"""Draws from a Gaussian process, compiled: ``gp_append`` and ``gp_sample``, with their backward passes.

Original: ops/gp.py. It is the definition, with the equations S1 to S4 and, through ops/covariance.py and
ops/cholesky.py, K1 to K4 and H1 to H3; a difference is a bug in this file. Only real numbers, float32 or float64.

The kernels see arrays whose last axis is B, the functions, so that all inner loops run along it; `gp_initial_state`
lays the arrays out in memory accordingly. The functions are independent of each other, so each thread takes several of
them. Sums over functions are taken afterwards, in the order of the functions.
"""

import math
from operator import index
from typing import NamedTuple

import numpy as np

from ..ops.covariance import COVARIANCES
from ..ops.gp import JITTER
from .arguments import fit, precision, require, require_cache, shape_of
from .jit import exp, kernel, kernel_without_refcounts
from .threads import run_rows

NAMES = tuple(COVARIANCES)  # a kernel gets the number of a name, see `_correlations`
WIDTH = 64  # functions in one part: a row of them is a few cache lines, which stay in the first-level cache


# ------------------------------------------------------------------- the four functions of the original


class Draw(NamedTuple):
    f: np.ndarray          # (B,)
    mean: np.ndarray       # (B,)
    std: np.ndarray        # (B,)


class Hyperparameters(NamedTuple):
    """The covariance in the form that the kernels read."""

    kind: int               # index into `NAMES`
    over_scale: np.ndarray  # (d,), 1 / s
    numbers: np.ndarray     # v, v (1 + jitter), and the constants of K2 to K4 in the precision of the other arrays
    scalar: bool            # whether one length scale serves all dimensions


class GPCache(NamedTuple):
    x: np.ndarray  # (B, T, d)
    z: np.ndarray  # (B, T)
    L: np.ndarray  # (B, T, T)
    t: int         # the index of the appended row; for a sample, T
    hyperparameters: Hyperparameters


def gp_append(state, x, z, length_scale, variance, covariance="squared_exponential", jitter=None, in_place=False,
              threads=None):
    """One more query of each function -> (Draw, state'), cache."""
    t, (B, T, d) = index(state.t), shape_of("state.x", state.x, 3)
    x, z = fit(precision(x), ("x", x, (B, d)), ("z", z, (B,)))
    require(x.dtype, *_operands("state", state, B, T, d))
    if not 0 <= t < T:
        raise ValueError(f"state: expected fewer than {T} queries to be done, got t={t}")
    hyperparameters = _hyperparameters(x, d, length_scale, variance, covariance, jitter)
    new = state._replace(t=t + 1)
    if in_place:
        for array in state[:3]:
            _require_order("state", array, x.dtype)
    else:
        new = new._replace(x=_copy(state.x, x), z=_copy(state.z, x), L=_copy(state.L, x))
    new.x[:, t], new.z[:, t] = x, z
    mean = np.empty(B, x.dtype)
    residual = np.empty_like(mean)
    run_rows(_append_part, B, WIDTH, t * t, threads, B, *map(_functions_last, new[:3]), t, *hyperparameters[:3],
             mean, residual)
    _raise_if_failed(residual, np.full(B, t))
    std = new.L[:, t, t].copy()
    draw = Draw(mean + std * new.z[:, t], mean, std)                 # S4
    return (draw, new), GPCache(new.x, new.z, new.L, t, hyperparameters)


def gp_append_backward(d_out, cache, in_place=False, threads=None):
    """(d_draw, d_state') -> d_state, d_x (B, d), d_z (B,), d_length_scale () or (d,), d_variance ()."""
    require_cache(cache, GPCache)
    (d_f, d_mean, d_std), d_state = d_out
    X, Z, L, t, hyperparameters = cache
    B, T, d = X.shape
    if not t < T:
        raise ValueError("cache: expected that of gp_append, got that of gp_sample")
    d_draw = np.array(fit(X.dtype, ("d_f", d_f, (B,)), ("d_mean", d_mean, (B,)), ("d_std", d_std, (B,))))
    require(X.dtype, *_operands("d_state", d_state, B, T, d))
    if not in_place:
        d_state = d_state._replace(x=_copy(d_state.x, X), z=_copy(d_state.z, X), L=_copy(d_state.L, X))
    d_X, d_Z, d_L = d_state[:3]
    for array in d_state[:3]:
        _require_order("d_state", array, X.dtype)
    d_scale, d_variance = np.zeros((d, B), X.dtype), np.zeros(B, X.dtype)
    run_rows(_append_backward_part, B, WIDTH, 2 * t * t, threads, B, *map(_functions_last, (X, Z, L)), t,
             *hyperparameters[:3], d_draw, *map(_functions_last, d_state[:3]), d_scale, d_variance)
    d_x, d_z = d_X[:, t].copy(), d_Z[:, t].copy()
    for d_array in (d_X[:, t], d_Z[:, t], d_L[:, t, : t + 1]):
        d_array[:] = 0
    return d_state._replace(t=None), d_x, d_z, *_hyper_gradients(d_scale, d_variance, hyperparameters)


def gp_sample(x, z, length_scale, variance, covariance="squared_exponential", jitter=None, threads=None):
    """The values along whole trajectories: x (B, T, d), z (B, T) -> f (B, T), cache."""
    B, T, d = shape_of("x", x, 3)
    x, z = fit(precision(x), ("x", x, (B, T, d)), ("z", z, (B, T)))
    hyperparameters = _hyperparameters(x, d, length_scale, variance, covariance, jitter)
    x, z, L = _copy(x, x), _copy(z, x), _zeros(B, T, T, dtype=x.dtype)
    f = _zeros(B, T, dtype=x.dtype)
    residual, failed = np.ones(B, x.dtype), np.zeros(B, np.int64)
    run_rows(_sample_part, B, WIDTH, T**3 // 3, threads, B, *map(_functions_last, (x, z, L)), *hyperparameters[:3],
             _functions_last(f), residual, failed)
    _raise_if_failed(residual, failed)
    return np.ascontiguousarray(f), GPCache(x, z, L, T, hyperparameters)


def gp_sample_backward(d_f, cache, threads=None):
    """d_f (B, T) -> d_x (B, T, d), d_z (B, T), d_length_scale () or (d,), d_variance ()."""
    require_cache(cache, GPCache)
    x, z, L, t, hyperparameters = cache
    B, T, d = x.shape
    if t != T:
        raise ValueError("cache: expected that of gp_sample, got that of gp_append")
    d_f, = fit(x.dtype, ("d_f", d_f, (B, T)))
    d_x, d_z, d_L = np.zeros_like(x), np.zeros_like(z), np.zeros_like(L)
    d_scale, d_variance = np.zeros((d, B), x.dtype), np.zeros(B, x.dtype)
    run_rows(_sample_backward_part, B, WIDTH, T**3, threads, B, *map(_functions_last, (x, z, L)), *hyperparameters[:3],
             _functions_last(_copy(d_f, x)), *map(_functions_last, (d_x, d_z, d_L)), d_scale, d_variance)
    return np.ascontiguousarray(d_x), np.ascontiguousarray(d_z), *_hyper_gradients(d_scale, d_variance, hyperparameters)


def _operands(name, state, B, T, d):
    """The arrays of a GPState with the shapes that they must have, for `fit`."""
    return [(f"{name}.{field}", array, shape)
            for field, array, shape in zip("xzL", state, ((B, T, d), (B, T), (B, T, T)))]


def _zeros(B, *shape, dtype):
    """Zeros (B, ...) whose first axis is the contiguous one, so that functions are adjacent in memory."""
    return np.zeros((*shape, B), dtype).transpose(len(shape), *range(len(shape)))


def _copy(array, like):
    """A copy in the layout of `_zeros` and the precision of ``like``."""
    new = _zeros(*array.shape, dtype=like.dtype)
    new[:] = array
    return new


def _functions_last(array):
    """A view (..., B) of an array (B, ...): the kernels' view."""
    return array.transpose(*range(1, array.ndim), 0)


def _require_order(name, array, dtype):
    """Raise ValueError unless a kernel can write into the array."""
    if array.dtype != dtype or not array.flags.writeable:
        raise ValueError(f"{name}: expected arrays of {dtype} to write into, "
                         f"got {'' if array.flags.writeable else 'read-only ones of '}{array.dtype}")
    if not _functions_last(array).flags.c_contiguous:
        raise ValueError(f"{name}: expected arrays in the order of gp_initial_state, got strides {array.strides}")


def _hyperparameters(x, d, length_scale, variance, covariance, jitter):
    dtype = x.dtype
    if dtype.name not in JITTER:
        raise ValueError(f"x: expected float32 or float64, got {dtype}")
    if covariance not in NAMES:
        raise ValueError(f"covariance: expected one of {', '.join(NAMES)}, got {covariance!r}")
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
    return Hyperparameters(NAMES.index(covariance), over_scale, numbers, length_scale.ndim == 0)


def _raise_if_failed(residual, rows):
    failed = np.flatnonzero(~(residual > 0))
    if failed.size:
        b = failed[0]
        raise ValueError(f"c: row {rows[b]} of matrix {b} leaves {residual[b]:.3g} of its diagonal entry, expected "
                         "> 0; the row repeats earlier ones or is not finite, and may need more jitter")


def _hyper_gradients(d_scale, d_variance, hyperparameters):
    d_length_scale = d_scale.sum(axis=1)
    return d_length_scale.sum() if hyperparameters.scalar else d_length_scale, d_variance.sum()


# ------------------------------------------------------------------------------------------- the kernels


# The loops below run over slices and are written out in each place, so that LLVM vectorises them. In a loop over b in
# lo..hi LLVM cannot tell that no index is negative, and in a helper function it does not know the strides.


@kernel_without_refcounts
def _correlations(kind, r2, numbers, n, k, slope):
    """K2, K3 or K4 for n numbers r2: write k / v into k, and its derivative with respect to r2 into slope.

    The constants come in ``numbers`` because a Python number would turn a float32 into a float64.
    """
    one, half, three, three_halves, five, third, five_sixths = numbers[2:]
    if kind == 0:
        for m in range(n):
            k[m] = exp(-r2[m] * half)                                # K2
            slope[m] = -k[m] * half
    elif kind == 1:
        for m in range(n):
            q = math.sqrt(three * r2[m])
            e = exp(-q)
            k[m] = (one + q) * e                                     # K3
            slope[m] = -three_halves * e
    else:
        for m in range(n):
            q = math.sqrt(five * r2[m])
            e = exp(-q)
            k[m] = (one + q + q * q * third) * e                     # K4
            slope[m] = -five_sixths * (one + q) * e


@kernel_without_refcounts
def _squared_distances(X, t, s, over_scale, lo, hi, r2):
    """K1 between the queries t and s of functions lo..hi, written into r2."""
    r2[:] = 0
    for j in range(len(over_scale)):
        x_t, x_s, over = X[t, j, lo:hi], X[s, j, lo:hi], over_scale[j]
        for m in range(len(x_t)):
            u = (x_t[m] - x_s[m]) * over
            r2[m] += u * u                                           # K1


@kernel_without_refcounts
def _rows(X, Z, L, t, kind, over_scale, numbers, lo, hi, workspace, mean, residual):
    """Write row t of L (T, T, B) for functions lo..hi, computed from the rows before it.

    Also write mean (hi - lo,), which is mean_t, and residual (hi - lo,), which is c - l_t . l_t. The workspace is
    (3, WIDTH).
    """
    n, r2, correlation, slope = hi - lo, workspace[0], workspace[1], workspace[2]
    mean[:], residual[:] = 0, numbers[1]
    for s in range(t):
        _squared_distances(X, t, s, over_scale, lo, hi, r2)
        _correlations(kind, r2, numbers, n, correlation, slope)
        row = L[t, s, lo:hi]
        for m in range(n):
            row[m] = numbers[0] * correlation[m]                     # S1
    for i in range(t):
        row, pivot, z = L[t, i, lo:hi], L[i, i, lo:hi], Z[i, lo:hi]
        for j in range(i):
            earlier, row_j = L[i, j, lo:hi], L[t, j, lo:hi]
            for m in range(n):
                row[m] -= earlier[m] * row_j[m]                      # H1
        for m in range(n):
            row[m] /= pivot[m]                                       # H1
        for m in range(n):
            residual[m] -= row[m] * row[m]                           # H3
        for m in range(n):
            mean[m] += row[m] * z[m]                                 # S3
    row = L[t, t, lo:hi]
    for m in range(n):
        row[m] = math.sqrt(residual[m]) if residual[m] > 0 else math.nan  # H3


@kernel_without_refcounts
def _rows_backward(X, Z, L, t, kind, over_scale, numbers, lo, hi, d_draw, d_X, d_Z, d_L, d_scale, d_variance, workspace,
                   d_k):
    """Add to d_X (T, d, B), d_Z (T, B), d_L (T, T, B), d_scale (d, B) and d_variance (B,) for functions lo..hi.

    ``d_draw`` (3, B) holds d_f, d_mean and d_std. The workspaces are (4, WIDTH) and, for d_k, (T, WIDTH).
    """
    n, r2, correlation, slope, d_c = hi - lo, workspace[0], workspace[1], workspace[2], workspace[3]
    d_f, d_mean, d_std, d_v = d_draw[0, lo:hi], d_draw[1, lo:hi], d_draw[2, lo:hi], d_variance[lo:hi]
    delta, z, d_z, d_row = L[t, t, lo:hi], Z[t, lo:hi], d_Z[t, lo:hi], d_L[t, t, lo:hi]
    for m in range(n):
        d_mean[m] += d_f[m]                                          # S4
        d_delta = d_std[m] + d_f[m] * z[m] + d_row[m]                # S4
        d_c[m] = d_delta / (delta[m] + delta[m])                     # H3
        d_z[m] += d_f[m] * delta[m]                                  # S4
        d_v[m] += d_c[m] * (numbers[1] / numbers[0])                 # S1
    for s in range(t):
        row, d_row, z, d_z, d_k_s = L[t, s, lo:hi], d_L[t, s, lo:hi], Z[s, lo:hi], d_Z[s, lo:hi], d_k[s]
        for m in range(n):
            d_z[m] += d_mean[m] * row[m]                             # S3
        for m in range(n):
            d_k_s[m] = d_row[m] + d_mean[m] * z[m] - (d_c[m] + d_c[m]) * row[m]  # S3, H3
    for i in range(t - 1, -1, -1):
        d_k_i, pivot = d_k[i], L[i, i, lo:hi]
        for m in range(n):
            d_k_i[m] /= pivot[m]                                     # H1
        for j in range(i):
            earlier, d_k_j = L[i, j, lo:hi], d_k[j]
            for m in range(n):
                d_k_j[m] -= d_k_i[m] * earlier[m]                    # H1
    for i in range(t):
        d_k_i = d_k[i]
        for j in range(i + 1):
            row, d_earlier = L[t, j, lo:hi], d_L[i, j, lo:hi]
            for m in range(n):
                d_earlier[m] -= d_k_i[m] * row[m]                    # H1
    for s in range(t):
        d_k_s = d_k[s]
        _squared_distances(X, t, s, over_scale, lo, hi, r2)
        _correlations(kind, r2, numbers, n, correlation, slope)
        for m in range(n):
            d_v[m] += d_k_s[m] * correlation[m]                      # S1
        for m in range(n):
            slope[m] *= (d_k_s[m] + d_k_s[m]) * numbers[0]           # K2 to K4
        for j in range(len(over_scale)):
            x_t, x_s, over, d_scale_j = X[t, j, lo:hi], X[s, j, lo:hi], over_scale[j], d_scale[j, lo:hi]
            d_x_t, d_x_s = d_X[t, j, lo:hi], d_X[s, j, lo:hi]
            for m in range(n):
                u = (x_t[m] - x_s[m]) * over
                d_difference = slope[m] * u * over                   # K1
                d_x_t[m] += d_difference                             # K1
                d_x_s[m] -= d_difference                             # K1
                d_scale_j[m] -= d_difference * u                     # K1


@kernel
def _append_part(first, stride, B, X, Z, L, t, kind, over_scale, numbers, mean, residual):
    workspace = np.empty((3, WIDTH), X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        hi = min(lo + WIDTH, B)
        _rows(X, Z, L, t, kind, over_scale, numbers, lo, hi, workspace, mean[lo:hi], residual[lo:hi])


@kernel
def _append_backward_part(first, stride, B, X, Z, L, t, kind, over_scale, numbers, d_draw, d_X, d_Z, d_L, d_scale,
                          d_variance):
    workspace, d_k = np.empty((4, WIDTH), X.dtype), np.empty((t, WIDTH), X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        _rows_backward(X, Z, L, t, kind, over_scale, numbers, lo, min(lo + WIDTH, B), d_draw, d_X, d_Z, d_L, d_scale,
                       d_variance, workspace, d_k)


@kernel
def _sample_part(first, stride, B, X, Z, L, kind, over_scale, numbers, f, residual, failed):
    T = len(X)
    workspace, mean, remains = np.empty((3, WIDTH), X.dtype), np.empty(WIDTH, X.dtype), np.empty(WIDTH, X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        n = min(WIDTH, B - lo)
        for t in range(T):
            _rows(X, Z, L, t, kind, over_scale, numbers, lo, lo + n, workspace, mean[:n], remains[:n])
            for m in range(n):
                b = lo + m
                f[t, b] = mean[m] + L[t, t, b] * Z[t, b]             # S4
                if residual[b] > 0 and not remains[m] > 0:  # the error message names the first row that fails
                    residual[b], failed[b] = remains[m], t


@kernel
def _sample_backward_part(first, stride, B, X, Z, L, kind, over_scale, numbers, d_f, d_X, d_Z, d_L, d_scale,
                          d_variance):
    T = len(X)
    workspace, d_k = np.empty((4, WIDTH), X.dtype), np.empty((T, WIDTH), X.dtype)
    d_draw = np.zeros((3, B), X.dtype)
    for lo in range(first * WIDTH, B, stride * WIDTH):
        hi = min(lo + WIDTH, B)
        for t in range(T - 1, -1, -1):
            d_draw[0, lo:hi], d_draw[1:, lo:hi] = d_f[t, lo:hi], 0
            _rows_backward(X, Z, L, t, kind, over_scale, numbers, lo, hi, d_draw, d_X, d_Z, d_L, d_scale, d_variance,
                           workspace, d_k)

"""The surrogate of a function, compiled: ``evidence``, ``surrogate``, ``log_improvement``, its backward pass and
``climb``.

Original: ops/surrogate.py. It is the definition, with the equations V4 to V11 and, through its imports, K4, I1 to I3
and N1 to N4; a difference is a bug in this file. float64 only.

Points are kept once as rows (n, d) and once as columns (d, n): a row of correlations is computed along the columns.
"""

import math
from typing import NamedTuple

import numpy as np

from ..ops.normal import GAP, MILLS, ROOT_2PI
from ..ops.surrogate import ALPHA, BETA, FIRST_STEP, KAPPA, LEAST, LONGER, SHORTER, TINY
from .arguments import fit, require_cache, shape_of
from .jit import dot, exp, kernel, kernel_without_refcounts

MILLS_SERIES, GAP_SERIES = np.array(MILLS), np.array(GAP)
FARTHEST = 40.0  # z, where the density is 0


class Factors(NamedTuple):
    L: np.ndarray         # (B, n, n)
    a: np.ndarray         # (B, n)
    mean: np.ndarray      # (B,)
    variance: np.ndarray  # (B,)


class Surrogate(NamedTuple):
    u: np.ndarray           # (B, n, d)
    over_scale: np.ndarray  # (B, d)
    trend: np.ndarray       # (B,)
    A: np.ndarray           # (B, n, n)
    a: np.ndarray           # (B, n)
    mean: np.ndarray        # (B,)
    variance: np.ndarray    # (B,)
    best: np.ndarray        # (B,)
    weight: np.ndarray      # (B,)


class LogImprovementCache(NamedTuple):
    s: Surrogate
    v: np.ndarray        # (B, m, d)
    w: np.ndarray        # (B, m, n)
    d_mu: np.ndarray     # (B, m), of the sum in V11
    d_rest: np.ndarray   # (B, m), likewise
    total: np.ndarray    # (m,)


def evidence(x, y, hyperparameters, counted=None):
    """x (n, d), y (k,), B sets of hyperparameters -> log p (B,), Factors."""
    n, d = shape_of("x", x, 2)
    k, = shape_of("y", y, 1)
    B, = shape_of("noise", hyperparameters[1], 1)
    counted = k if counted is None else counted
    if not 0 <= counted <= k <= n:
        raise ValueError(f"counted: expected a number up to that of the values, {k} of {n} points, got {counted}")
    x, y, over_scale, noise, trend = fit(
        np.dtype(np.float64), ("x", x, (n, d)), ("y", y, (k,)), ("over_scale", hyperparameters[0], (B, d)),
        ("noise", hyperparameters[1], (B,)), ("trend", hyperparameters[2], (B,)))
    L, a, numbers = np.zeros((B, n, n)), np.zeros((B, n)), np.empty((4, B))
    _evidence(x, y, over_scale, noise, trend, counted, L, a, numbers)
    mean, squares, ones, log_det = numbers
    shape, rate = ALPHA + counted / 2, BETA + squares / 2
    return -shape * np.log(rate) - log_det - np.log(ones) / 2, Factors(L, a, mean, rate / shape)  # V8, V9


def surrogate(x, y, hyperparameters, factors, weight):
    """The Surrogate of these factors."""
    B, n, _ = shape_of("L", factors[0], 3)
    d, (k,) = shape_of("x", x, 2)[1], shape_of("y", y, 1)
    if k > n:
        raise ValueError(f"y: expected a value for each of {n} points at most, got {k}")
    x, y, over_scale, L, a, *numbers = fit(
        np.dtype(np.float64), ("x", x, (n, d)), ("y", y, (k,)), ("over_scale", hyperparameters[0], (B, d)),
        ("L", factors[0], (B, n, n)), ("a", factors[1], (B, n)), ("noise", hyperparameters[1], (B,)),
        ("trend", hyperparameters[2], (B,)), ("mean", factors[2], (B,)), ("variance", factors[3], (B,)),
        ("weight", weight, (B,)))
    noise, trend, mean, variance, weight = numbers
    A = np.zeros_like(L)
    _invert(L, A)
    values = mean[:, None] + (L @ a[:, :, None])[:, :, 0]
    values[:, : len(y)] = y
    best = (values - noise[:, None] * (a[:, None] @ A)[:, 0]).min(axis=1)
    return Surrogate((x - 0.5) * over_scale[:, None], over_scale, trend, A, a, mean, variance, best, weight)


def log_improvement(q, s):
    """q (m, d) -> log EI (m,), cache."""
    q, columns, over_scale, A, a, *numbers = _fitted(q, s)
    (B, n), m = a.shape, len(q)
    v = (q - 0.5) * over_scale[:, None]                              # V4
    w, d_mu, d_rest, total = np.empty((B, m, n)), np.empty((B, m)), np.empty((B, m)), np.full(m, TINY)
    _log_improvement(columns, v, A, a, *numbers, MILLS_SERIES, GAP_SERIES, w, d_mu, d_rest, total)
    return np.log(total), LogImprovementCache(s, v, w, d_mu, d_rest, total)


def log_improvement_backward(d_log, cache):
    """d_log (m,) -> d_q (m, d)."""
    require_cache(cache, LogImprovementCache)
    s, v, w, d_mu, d_rest, total = cache
    B, m, d = v.shape
    d_log, A, a, trend, u = fit(np.dtype(np.float64), ("d_log", d_log, (m,)), ("s.A", s.A, s.A.shape),
                                ("s.a", s.a, s.a.shape), ("s.trend", s.trend, (B,)), ("s.u", s.u, s.u.shape))
    d_v = np.zeros_like(v)
    _log_improvement_backward(np.ascontiguousarray(u.swapaxes(1, 2)), v, A, a, trend, w, d_mu, d_rest, d_log / total,
                              d_v)
    return (d_v * s.over_scale[:, None]).sum(axis=0)                 # V4


def climb(q, s, length, steps):
    """q (m, d), length (d,) -> the points (m, d) that are reached."""
    q, columns, over_scale, A, a, *numbers = _fitted(q, s)
    length, = fit(np.dtype(np.float64), ("length", length, (q.shape[1],)))
    reached = q.copy()
    _climb(reached, length, steps, columns, over_scale, A, a, *numbers, MILLS_SERIES, GAP_SERIES)
    return reached


def _fitted(q, s):
    """q (m, d) and what the kernels need of s, with u as columns (B, d, n)."""
    B, n, d = shape_of("s.u", s.u, 3)
    m, dtype = shape_of("q", q, 2)[0], np.dtype(np.float64)
    q, u, over_scale, A = fit(dtype, ("q", q, (m, d)), ("s.u", s.u, (B, n, d)), ("s.over_scale", s.over_scale, (B, d)),
                              ("s.A", s.A, (B, n, n)))
    numbers = fit(dtype, ("s.a", s.a, (B, n)), *((f"s.{name}", getattr(s, name), (B,)) for name in
                                                 ("trend", "mean", "variance", "best", "weight")))
    return q, np.ascontiguousarray(u.swapaxes(1, 2)), over_scale, A, *numbers


# ------------------------------------------------------------------------------------------- the kernels


@kernel_without_refcounts
def _correlations(columns, v, n, trend, r2, inner, c):
    """V5: of v (d,) with the first n of the columns (d, N), into c; |u - v|^2 into r2 and 1 + u . v into inner."""
    for i in range(n):
        r2[i], inner[i] = 0.0, 1.0
    for j in range(len(v)):
        u_j, v_j = columns[j], v[j]
        for i in range(n):
            difference = u_j[i] - v_j
            r2[i] += difference * difference
            inner[i] += u_j[i] * v_j
    for i in range(n):
        q = math.sqrt(5.0 * r2[i])
        c[i] = (1.0 + q + q * q / 3.0) * exp(-q) + trend * inner[i] * inner[i]


@kernel
def _evidence(x, y, over_scale, noise, trend, counted, L, a, numbers):
    """V4 to V8: L and a, and mean, S, e . e + kappa and log det L in ``numbers`` (4, B)."""
    B, n, _ = L.shape
    d, k = x.shape[1], len(y)
    u, columns, r2, inner = np.empty((n, d)), np.empty((d, n)), np.empty(n), np.empty(n)
    Ay, A1 = np.empty(n), np.empty(n)
    for b in range(B):
        factor, log_det, ones, product, positive = L[b], 0.0, KAPPA, 0.0, True
        for i in range(n):
            for j in range(d):
                u[i, j] = columns[j, i] = (x[i, j] - 0.5) * over_scale[b, j]  # V4
        for i in range(n):
            row = factor[i]
            _correlations(columns, u[i], i + 1, trend[b], r2, inner, row)
            for j in range(i):
                earlier = factor[j]
                row[j] = (row[j] - dot(row, earlier, j)) / earlier[j]  # V6
            rest = row[i] + noise[b] - dot(row, row, i)
            if not rest > 0.0:
                positive = False
                break
            row[i] = math.sqrt(rest)
            A1[i] = (1.0 - dot(row, A1, i)) / row[i]
            if i < k:
                Ay[i] = (y[i] - dot(row, Ay, i)) / row[i]
            if i < counted:
                log_det += math.log(row[i])
                ones += A1[i] * A1[i]
                product += A1[i] * Ay[i]
        if not positive:
            numbers[0, b], numbers[1, b], numbers[2, b], numbers[3, b] = 0.0, 1.0, 1.0, math.inf
            continue
        mean = product / ones                                        # V7
        squares = KAPPA * mean * mean                                # V8
        for i in range(k):
            a[b, i] = Ay[i] - mean * A1[i]                           # V8
            if i < counted:
                squares += a[b, i] * a[b, i]
        numbers[0, b], numbers[1, b], numbers[2, b], numbers[3, b] = mean, squares, ones, log_det


@kernel
def _invert(L, A):
    """The inverses of lower triangles (B, n, n), into A, which is 0."""
    B, n, _ = L.shape
    for b in range(B):
        for i in range(n):
            row = A[b, i]
            for j in range(i):
                l, earlier = L[b, i, j], A[b, j]
                for k in range(j + 1):
                    row[k] -= l * earlier[k]
            over = 1.0 / L[b, i, i]
            for k in range(i):
                row[k] *= over
            row[i] = over


@kernel_without_refcounts
def _series(coefficients, x):
    """A Chebyshev series in t = (x - 5) / (x + 5), by Clenshaw's recurrence."""
    t, last, before = 1.0 - 10.0 / (x + 5.0), 0.0, 0.0
    for k in range(len(coefficients) - 1, 0, -1):
        last, before = coefficients[k] + 2.0 * t * last - before, last
    return coefficients[0] + t * last - before


@kernel
def _log_improvement(columns, v, A, a, trend, mean, variance, best, weight, mills, gap, w, d_mu, d_rest, total):
    """V5, V10, V11 and the derivatives of the sum in V11 with respect to mu and to the residual c - w . w."""
    B, m, d = v.shape
    n = a.shape[1]
    r2, inner, c = np.empty(n), np.empty(n), np.empty(n)
    for b in range(B):
        for j in range(m):
            w_j, own = w[b, j], 1.0
            _correlations(columns[b], v[b, j], n, trend[b], r2, inner, c)
            for i in range(n):
                w_j[i] = dot(A[b, i], c, i + 1)                      # V10
            for k in range(d):
                own += v[b, j, k] * v[b, j, k]
            rest = 1.0 + trend[b] * own * own - dot(w_j, w_j, n)     # V10
            certain = not rest > LEAST
            sigma = math.sqrt(variance[b] * (LEAST if certain else rest))  # V10
            gain = best[b] - (mean[b] + dot(a[b], w_j, n))           # I1
            z = min(max(gain / sigma, -FARTHEST), FARTHEST)          # I1
            distance = abs(z)
            phi = exp(-z * z / 2.0) / ROOT_2PI if distance < 37.0 else math.exp(-z * z / 2.0) / ROOT_2PI  # N1
            G = _series(gap, distance) / (1.0 + distance) / (1.0 + distance)  # N3
            tail = phi * _series(mills, distance) / (1.0 + distance)  # N2, N4
            total[j] += weight[b] * (max(gain, 0.0) + sigma * phi * G)  # I2, V11
            d_mu[b, j] = -weight[b] * (1.0 - tail if gain >= 0.0 else tail)  # I3
            d_rest[b, j] = 0.0 if certain else weight[b] * phi * variance[b] / (2.0 * sigma)  # I3, V10


@kernel
def _log_improvement_backward(columns, v, A, a, trend, w, d_mu, d_rest, d_total, d_v):
    B, m, d = v.shape
    n = a.shape[1]
    r2, inner, c, d_c = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for b in range(B):
        for j in range(m):
            w_j, own, through_mean, through_rest = w[b, j], 1.0, d_mu[b, j] * d_total[j], d_rest[b, j] * d_total[j]
            _correlations(columns[b], v[b, j], n, trend[b], r2, inner, c)
            for i in range(n):
                d_c[i] = 0.0
            for i in range(n):
                d_w, row = through_mean * a[b, i] - 2.0 * through_rest * w_j[i], A[b, i]  # V10
                for k in range(i + 1):
                    d_c[k] += d_w * row[k]                           # V10
            for k in range(d):
                own += v[b, j, k] * v[b, j, k]
            for i in range(n):
                q = math.sqrt(5.0 * r2[i])
                c[i] = 5.0 / 3.0 * (1.0 + q) * exp(-q) * d_c[i]      # K4
                inner[i] *= 2.0 * trend[b] * d_c[i]                  # V5
            for k in range(d):
                u_k, v_k, total = columns[b, k], v[b, j, k], 4.0 * trend[b] * own * through_rest * v[b, j, k]  # V5
                for i in range(n):
                    total += c[i] * (u_k[i] - v_k) + inner[i] * u_k[i]
                d_v[b, j, k] = total


@kernel
def _climb(q, length, steps, columns, over_scale, A, a, trend, mean, variance, best, weight, mills, gap):
    """The steps of each row of q (m, d) in turn, in place."""
    m, d = q.shape
    B, n = a.shape
    v, d_v, tried, slope = np.empty((B, 1, d)), np.empty((B, 1, d)), np.empty(d), np.empty(d)
    w, d_mu, d_rest, total = np.empty((B, 1, n)), np.empty((B, 1)), np.empty((B, 1)), np.empty(1)
    for i in range(m):
        size, log, norm = FIRST_STEP, -np.inf, 0.0
        tried[:] = q[i]
        for _ in range(steps + 1):
            for b in range(B):
                for k in range(d):
                    v[b, 0, k] = (tried[k] - 0.5) * over_scale[b, k]  # V4
            total[0] = TINY
            _log_improvement(columns, v, A, a, trend, mean, variance, best, weight, mills, gap, w, d_mu, d_rest, total)
            tried_log = math.log(total[0])
            if tried_log > log:
                size *= LONGER if log > -np.inf else 1.0  # the first is q itself
                log, norm = tried_log, 0.0
                _log_improvement_backward(columns, v, A, a, trend, w, d_mu, d_rest, 1.0 / total, d_v)
                for k in range(d):
                    slope[k], q[i, k] = 0.0, tried[k]
                    for b in range(B):
                        slope[k] += d_v[b, 0, k] * over_scale[b, k]  # V4
                    norm += (length[k] * slope[k]) ** 2
                norm = math.sqrt(norm) + TINY
            else:
                size *= SHORTER
            for k in range(d):
                tried[k] = min(max(q[i, k] + size * length[k] * length[k] * slope[k] / norm, 0.0), 1.0)

"""A Gaussian process as the surrogate of a function: how well it explains the values, and where it expects improvement.

Dims: B processes, one for each set of hyperparameters; n points x with values y, m queries q, d dimensions.

    V4  u = (x - 1/2) / s                                            length scales s, one per dimension
    V5  c(u, u') = k(|u - u'|^2) + tau (1 + u . u')^2                k is K4 with variance 1, a trend of weight tau
    V6  C = c(u, u) + eta I = L L^T,   A = L^-1                      noise eta
    V7  mean = e . A y / (e . e + kappa),   e = A 1
    V8  a = A (y - mean),   S = a . a + kappa mean^2,   v = (beta + S / 2) / (alpha + n / 2)
    V9  log p(y) = -(alpha + n / 2) log(beta + S / 2) - log det L - log(e . e + kappa) / 2
    V10  w = A c(u, q),   mu = mean + a . w,   sigma^2 = v max(c(q, q) - w . w, LEAST)
    V11  log EI(q) = log (sum_b weight_b EI_b(mu, sigma, best_b) + TINY)

All covariances are v c. With the prior 1 / kappa for the variance of the mean and the inverse gamma prior (alpha, beta)
for v, both relative to values of order 1, neither of them has to be searched for: V7 and V8 are their estimates, and V9
is integrated over both, up to a constant. The trend is a prior over all quadratic functions; tau = 0 leaves it out.

The last rows of x may be points without a value. They are treated as if the surrogate's own prediction had been
observed there: it is certain of the value, and its a is 0. Rows before them may have values that are made up, as for
failed evaluations, and do not count in V7 to V9.

Source: Rasmussen & Williams 2006, equation (5.8) for the evidence, section 2.7 for the trend; Ginsbourger, Le Riche &
Carraro 2010, "Kriging is well-suited to parallelize optimization", for points without a value. The priors are ours.
Twin: compiled/surrogate.py.
"""

from typing import Any, NamedTuple

import numpy as np

from .covariance import matern52_of_r2, matern52_of_r2_backward
from .improvement import expected_improvement, expected_improvement_backward

KAPPA, ALPHA, BETA = 0.01, 1.0, 1.0
LEAST = 1e-12  # of a variance, relative to v: what rounding leaves of it where it is 0
TINY = 1e-300  # keeps the logarithm finite where EI underflows
BORDER = 1e100  # on the diagonal of rows whose own factor is of no interest
FIRST_STEP, LONGER, SHORTER = 0.1, 1.5, 0.3  # of `climb`: its length, and times so much after a success or a failure
BLOCK = 32      # rows of a triangular matrix that LAPACK inverts in one call


class Hyperparameters(NamedTuple):
    over_scale: np.ndarray  # (B, d), 1 / s
    noise: np.ndarray       # (B,), eta
    trend: np.ndarray       # (B,), tau


class Factors(NamedTuple):
    """What `evidence` leaves for `surrogate`."""

    L: np.ndarray         # (B, n, n), lower
    a: np.ndarray         # (B, n)
    mean: np.ndarray      # (B,)
    variance: np.ndarray  # (B,), v


class Surrogate(NamedTuple):
    """B processes with their data, ready to predict."""

    u: np.ndarray           # (B, n, d)
    over_scale: np.ndarray  # (B, d)
    trend: np.ndarray       # (B,)
    A: np.ndarray           # (B, n, n), lower
    a: np.ndarray           # (B, n)
    mean: np.ndarray        # (B,)
    variance: np.ndarray    # (B,)
    best: np.ndarray        # (B,), the value that a query is to improve on
    weight: np.ndarray      # (B,)


def evidence(
    x: np.ndarray, y: np.ndarray, hyperparameters: Hyperparameters, counted: int | None = None,
) -> tuple[np.ndarray, Factors]:
    """V4 to V9. x (n, d), y (k,) with k <= n -> log p (B,), Factors.

    The first ``counted`` rows, by default k, count in V7 to V9. Where C is not positive definite in this precision,
    log p is -inf, and the factors have no meaning.
    """
    n, k = len(x), len(y)
    counted = k if counted is None else counted
    B = len(hyperparameters.noise)
    over_scale, noise, trend = hyperparameters
    C, diagonal = np.zeros((B, n + 2, n + 2)), np.arange(n)  # two more rows: A y and A 1
    u = (x - 0.5) * over_scale[:, None]                              # V4
    C[:, :n, :n] = _correlation(u, u, trend[:, None, None])[0]       # V5
    C[:, diagonal, diagonal] += noise[:, None]                       # V6
    C[:, n, :k], C[:, n + 1, :n] = y, 1
    C[:, n, n] = C[:, n + 1, n + 1] = BORDER
    factors, positive = _cholesky(C)
    L, Ay, A1 = np.tril(factors[:, :n, :n]), factors[:, n, :k], factors[:, n + 1, :k]  # V6
    ones = (A1[:, :counted] ** 2).sum(axis=1) + KAPPA
    mean = (A1[:, :counted] * Ay[:, :counted]).sum(axis=1) / ones    # V7
    a = np.zeros((B, n))
    a[:, :k] = Ay - mean[:, None] * A1                               # V8
    squares = (a[:, :counted] ** 2).sum(axis=1) + KAPPA * mean * mean  # V8
    log_det = np.log(np.diagonal(factors, axis1=1, axis2=2)[:, :counted]).sum(axis=1)
    shape, rate = ALPHA + counted / 2, BETA + squares / 2
    log_p = -shape * np.log(rate) - log_det - np.log(ones) / 2       # V9
    return np.where(positive, log_p, -np.inf), Factors(L, a, mean, rate / shape)  # V8


def _cholesky(C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cholesky factors of C (B, n, n), and whether each is positive definite (B,); else the factor is that of 1."""
    try:
        return np.linalg.cholesky(C), np.ones(len(C), bool)
    except np.linalg.LinAlgError:
        if len(C) == 1:
            return np.eye(C.shape[1])[None], np.zeros(1, bool)
    parts = [_cholesky(one[None]) for one in C]
    return np.concatenate([factor for factor, _ in parts]), np.concatenate([positive for _, positive in parts])


def surrogate(
    x: np.ndarray, y: np.ndarray, hyperparameters: Hyperparameters, factors: Factors, weight: np.ndarray,
) -> Surrogate:
    """The Surrogate of these factors, which `evidence` has made of the same x, y and hyperparameters; weight (B,).

    A query is to improve on the smallest mean at a point of x. Without noise that is the smallest value, or prediction
    for a point without one.
    """
    over_scale, noise, trend = hyperparameters
    L, a, mean, variance = factors
    A = inverse_lower(L)                                             # V6
    values = mean[:, None] + (L @ a[:, :, None])[:, :, 0]  # y, and what is predicted where there is none
    values[:, : len(y)] = y
    best = (values - noise[:, None] * _transposed_product(A, a)).min(axis=1)
    return Surrogate((x - 0.5) * over_scale[:, None], over_scale, trend, A, a, mean, variance, best, weight)


def inverse_lower(L: np.ndarray) -> np.ndarray:
    """L (B, n, n), lower -> its inverse (B, n, n), from the inverses of two triangles of half the size."""
    n = L.shape[1]
    if n <= BLOCK:
        return np.tril(np.linalg.inv(np.tril(L)))
    half = n // 2
    A = np.zeros_like(L)
    A[:, :half, :half] = inverse_lower(L[:, :half, :half])
    A[:, half:, half:] = inverse_lower(L[:, half:, half:])
    A[:, half:, :half] = -(A[:, half:, half:] @ (L[:, half:, :half] @ A[:, :half, :half]))
    return A


class LogImprovementCache(NamedTuple):
    s: Surrogate
    v: np.ndarray          # (B, m, d), the queries in length scales
    inner: np.ndarray      # (B, n, m), 1 + u . v
    correlation: Any       # the cache of K4
    own: np.ndarray        # (B, m), 1 + v . v
    w: np.ndarray          # (B, n, m)
    sigma: np.ndarray      # (B, m)
    certain: np.ndarray    # (B, m), whether LEAST bounds the variance
    improvement: Any       # the cache of I1 to I3
    total: np.ndarray      # (m,), the sum in V11


def log_improvement(q: np.ndarray, s: Surrogate) -> tuple[np.ndarray, LogImprovementCache]:
    """V10, V11. q (m, d) -> log EI (m,), cache."""
    v = (q - 0.5) * s.over_scale[:, None]                            # V4
    c, (inner, correlation) = _correlation(s.u, v, s.trend[:, None, None])  # V5
    w = s.A @ c                                                      # V10
    own = 1 + (v * v).sum(axis=2)
    rest = 1 + s.trend[:, None] * own * own - (w * w).sum(axis=1)    # V10
    certain = ~(rest > LEAST)
    sigma = np.sqrt(s.variance[:, None] * np.where(certain, LEAST, rest))  # V10
    mu = s.mean[:, None] + (s.a[:, None] @ w)[:, 0]                  # V10
    best = np.repeat(s.best[:, None], len(q), axis=1)
    EI, improvement = expected_improvement(mu, sigma, best)
    total = s.weight @ EI + TINY                                     # V11
    cache = LogImprovementCache(s, v, inner, correlation, own, w, sigma, certain, improvement, total)
    return np.log(total).astype(np.result_type(q, np.float32)), cache


def log_improvement_backward(d_log: np.ndarray, cache: LogImprovementCache) -> np.ndarray:
    """d_log (m,) -> d_q (m, d). The surrogate is held fixed."""
    s, v, inner, correlation, own, w, sigma, certain, improvement, total = cache
    d_EI = s.weight[:, None] * (d_log / total)                       # V11
    d_mu, d_sigma, _ = expected_improvement_backward(d_EI, improvement)
    d_rest = np.where(certain, 0, d_sigma * s.variance[:, None] / (2 * sigma))  # V10
    d_w = d_mu[:, None] * s.a[:, :, None] - 2 * d_rest[:, None] * w  # V10
    d_c = s.A.swapaxes(1, 2) @ d_w                                   # V10
    d_r2, _ = matern52_of_r2_backward(d_c, correlation)              # V5
    d_inner = 2 * s.trend[:, None, None] * inner * d_c - 2 * d_r2    # V5
    d_own = 2 * s.trend[:, None] * own * d_rest + d_r2.sum(axis=1)   # V5
    d_v = d_inner.swapaxes(1, 2) @ s.u + 2 * d_own[..., None] * v    # V5
    return (d_v * s.over_scale[:, None]).sum(axis=0).astype(d_log.dtype)  # V4


def climb(q: np.ndarray, s: Surrogate, length: np.ndarray, steps: int) -> np.ndarray:
    """The points (m, d) of the cube that steps along the gradient of V11 reach from q (m, d).

    The gradient is that in the coordinates q / ``length`` (d,). A step has a length, which grows when the step succeeds
    and shrinks when it does not. Where ``length`` is 0, a coordinate stays as it is.
    """
    square, size = length * length, np.full((len(q), 1), FIRST_STEP)
    log, cache = log_improvement(q, s)
    slope = log_improvement_backward(np.ones(len(q)), cache)
    for _ in range(steps):
        norm = np.sqrt((square * slope * slope).sum(axis=1, keepdims=True)) + TINY
        tried = np.clip(q + size * square * slope / norm, 0, 1)
        tried_log, cache = log_improvement(tried, s)
        tried_slope = log_improvement_backward(np.ones(len(q)), cache)
        better = (tried_log > log)[:, None]
        q, log = np.where(better, tried, q), np.maximum(log, tried_log)
        slope, size = np.where(better, tried_slope, slope), size * np.where(better, LONGER, SHORTER)
    return q


def mean_curvature(s: Surrogate) -> np.ndarray:
    """The second derivatives (d, d) of the first process's mean at the middle of the cube."""
    u, over_scale, alpha = s.u[0], s.over_scale[0], _transposed_product(s.A[:1], s.a[:1])[0]
    q = np.sqrt(5 * (u * u).sum(axis=1))
    decay = alpha * np.exp(-q)
    H = (u.T * (25 / 3 * decay + 2 * s.trend[0] * alpha)) @ u        # V5, twice
    H[np.diag_indices(len(H))] -= 5 / 3 * ((1 + q) * decay).sum()
    return H * over_scale * over_scale[:, None]                      # V4


def _correlation(u: np.ndarray, v: np.ndarray, trend: Any) -> tuple[np.ndarray, tuple[np.ndarray, Any]]:
    """V5. u (..., n, d), v (..., m, d) -> c (..., n, m), (1 + u . v, cache of K4).

    |u - v|^2 is |u|^2 + |v|^2 - 2 u . v, one product of matrices; rounding may leave it below 0.
    """
    inner = u @ v.swapaxes(-1, -2)
    r2 = (u * u).sum(axis=-1)[..., :, None] + (v * v).sum(axis=-1)[..., None, :] - 2 * inner
    c, cache = matern52_of_r2(np.maximum(r2, 0, out=r2), r2.dtype.type(1))
    inner += 1
    return c + trend * inner * inner, (inner, cache)


def _transposed_product(A: np.ndarray, a: np.ndarray) -> np.ndarray:
    """A^T a of each of A (B, n, n), a (B, n) -> (B, n)."""
    return (a[:, None] @ A)[:, 0]

"""Functions drawn from a Gaussian process, whose values are sampled one query after the other; and the GP posterior.

Dims: B functions at once, each with mean 0, queried at points of d dimensions. T queries are planned, t are done.

A draw is a differentiable function of its queries: all randomness comes from the standard normal numbers z and
epsilon, which are inputs.

    S1  k_t = k(x_t, x_s) for s < t,   c = v (1 + jitter)            covariance k, variance v
    S2  (l_t, delta_t) = row t of the Cholesky factor of K + v jitter I, from k_t and c
    S3  mean_t = l_t . z_<t                                          the prediction from the earlier values
    S4  f_t = mean_t + delta_t z_t                                   the value
    S5  y_t = f_t + noise epsilon_t                                  the observation

mean_t and delta_t are the mean and the standard deviation of f_t given f_<t. If there is no noise, expected improvement
can use them directly. The posterior at query points q given noisy data y at points x needs a linear system of its own:

    V1  K = k(x, x) + (v jitter + noise^2) I,   k = k(x, q)          (n, n) and (n, m)
    V2  mean = k^T a,   a = K^-1 y                                   (m,)
    V3  std^2 = v (1 + jitter) - diag(k^T W),   W = K^-1 k           (m,)

The jitter is part of the model: an independent variance of v jitter at each query. Without it, querying a point twice
makes K singular. With it, the two values at such a point differ by a normal number of variance 2 v jitter, to first
order.

Source: Chen et al. 2017 and section 4.2.2 of the review for S1 to S4 and their cost; equation (7) of the review for S5;
Rasmussen & Williams 2006, equations (2.23) and (2.24), for V2 and V3.
Twin: compiled/gp.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..checks import positive, require_floating, require_shape
from .cholesky import CholeskyRowCache, cholesky_row, cholesky_row_backward
from .covariance import covariance_pair

# With this jitter the covariance matrix of 100 points, of which many coincide, stays positive definite after rounding.
JITTER = {"float32": 2e-5, "float64": 1e-10}


class GPState(NamedTuple):
    """B functions whose values at t queries have been drawn. Entries of later rows have no meaning."""

    x: np.ndarray  # (B, T, d), the points
    z: np.ndarray  # (B, T), the normal numbers
    L: np.ndarray  # (B, T, T), the Cholesky factor, lower
    t: int


class Draw(NamedTuple):
    """The values at one query, or gradients with respect to these."""

    f: np.ndarray     # (B,)
    mean: np.ndarray  # (B,), mean of f given the earlier values
    std: np.ndarray   # (B,), standard deviation of f given the earlier values


def gp_initial_state(B: int, T: int, d: int, dtype: DTypeLike = np.float64) -> GPState:
    """The GPState of B functions before the first of T queries. It is all zeros, so it also starts a backward pass.

    The axis of the functions is contiguous in memory. NumPy works with any layout, and the compiled twin needs this
    one.
    """
    x, z, L = (np.moveaxis(np.zeros((*shape, B), dtype), -1, 0) for shape in ((T, d), (T,), (T, T)))
    return GPState(x, z, L, t=0)


class Given(NamedTuple):
    """What is fixed of B functions before the first query: several values of the draw g, and its scale and shift.

    With z = 0 the functions are the mean of a process given these values, without any randomness.
    """

    known: GPState     # t queries of t + T are done
    scale: np.ndarray  # (B,)
    shift: np.ndarray  # (B,)


class GPAppendCache(NamedTuple):
    t: int
    z: np.ndarray          # (B,)
    z_before: np.ndarray   # (B, t)
    row: CholeskyRowCache
    covariance: Any        # the cache of the covariance
    covariance_backward: Callable[..., Any]
    jitter: float


def gp_append(
    state: GPState, x: np.ndarray, z: np.ndarray, length_scale: ArrayLike, variance: ArrayLike,
    covariance: str = "squared_exponential", jitter: float | None = None, in_place: bool = False,
) -> tuple[tuple[Draw, GPState], GPAppendCache]:
    """S1 to S4: query each function at one more point.

    Parameters
    ----------
    state : GPState
        The state after t < T queries.
    x : ndarray (B, d)
        The new points.
    z : ndarray (B,)
        Standard normal numbers.
    length_scale : number, or ndarray (d,)
    variance : number
    covariance : {"squared_exponential", "matern32", "matern52"}
    jitter : float >= 0, optional
        Relative to the variance. By default the entry of `JITTER` for the precision of x.
    in_place : bool
        Write row t into the arrays of ``state`` instead of into copies. The rows before t stay as they are, so all
        states and caches of one sequence of queries share one set of arrays.

    Returns
    -------
    (Draw, GPState), GPAppendCache

    Raises
    ------
    ValueError
        A shape does not fit; the state is full; the length scale, variance or jitter is out of range; the covariance
        is unknown; or no variance is left at the new point (see `cholesky_row`).
    """
    X, Z, L, t = state
    require_shape("state.x", X, B=None, T=None, d=None)
    B, T, d = X.shape
    require_shape("state.z", Z, B=B, T=T)
    require_shape("state.L", L, B=B, T=T, S=T)
    require_shape("x", x, B=B, d=d)
    require_shape("z", z, B=B)
    require_floating("z", z)
    if not 0 <= t < T:
        raise ValueError(f"state: expected fewer than {T} queries to be done, got t={t}")
    forward, backward = covariance_pair(covariance)
    jitter = checked_jitter(jitter, x)

    k, k_cache = forward(x[:, None], X[:, :t], length_scale, variance)  # S1
    c = np.repeat(positive("variance", variance, x), B) * (1 + jitter)  # S1
    row, row_cache = cholesky_row(L[:, :t, :t], k[:, 0], c)          # S2
    mean = np.einsum("bs,bs->b", row[:, :t], Z[:, :t])               # S3
    f = mean + row[:, t] * z                                         # S4

    new = GPState(
        _with(X, np.s_[:, t], x, in_place), _with(Z, np.s_[:, t], z, in_place),
        _with(L, np.s_[:, t, : t + 1], row, in_place), t + 1,
    )
    cache = GPAppendCache(t, z, Z[:, :t], row_cache, k_cache, backward, jitter)
    return (Draw(f, mean, row[:, t]), new), cache


def gp_append_backward(
    d_out: tuple[Draw, GPState], cache: GPAppendCache, in_place: bool = False
) -> tuple[GPState, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(d_draw, d_state') -> d_state, d_x (B, d), d_z (B,), d_length_scale () or (d,), d_variance ().

    With ``in_place`` the arrays of d_state' are overwritten by those of d_state.
    """
    (d_f, d_mean, d_std), d_state = d_out
    t, z, z_before, row_cache, k_cache, covariance_backward, jitter = cache
    d_X, d_Z, d_L = (array if in_place else array.copy("K") for array in d_state[:3])

    d_mean = d_mean + d_f                                            # S4
    d_std = d_std + d_f * z + d_L[:, t, t]                           # S4, joins what came in
    d_l = d_L[:, t, :t] + d_mean[:, None] * z_before                 # S3, joins what came in
    d_row = np.concatenate([d_l, d_std[:, None]], axis=1)
    d_L_before, d_k, d_c = cholesky_row_backward(d_row, row_cache)   # S2
    d_x, d_x_before, d_length_scale, d_variance = covariance_backward(d_k[:, None], k_cache)  # S1
    d_x = d_x[:, 0] + d_X[:, t]                                      # S1, joins what came in
    d_variance = d_variance + d_c.sum() * d_c.dtype.type(1 + jitter)  # S1
    d_z = d_f * row_cache.delta + d_Z[:, t]                          # S4, joins what came in

    d_X[:, :t] += d_x_before                                         # S1
    d_Z[:, :t] += d_mean[:, None] * row_cache.l                      # S3
    d_L[:, :t, :t] += d_L_before                                     # S2
    d_X[:, t] = d_Z[:, t] = d_L[:, t, : t + 1] = 0  # row t of the old state was overwritten
    return GPState(d_X, d_Z, d_L, None), d_x, d_z, d_length_scale, d_variance


class GPSampleCache(NamedTuple):
    steps: tuple[GPAppendCache, ...]  # T of them, whose arrays are parts of one state
    d: int


def gp_sample(
    x: np.ndarray, z: np.ndarray, length_scale: ArrayLike, variance: ArrayLike,
    covariance: str = "squared_exponential", jitter: float | None = None,
) -> tuple[np.ndarray, GPSampleCache]:
    """S1 to S4 for whole trajectories. x (B, T, d), z (B, T), other arguments as in `gp_append` -> f (B, T), cache.

    f = L z is a draw from the joint normal distribution of the values at x[:, 0], x[:, 1], ... The forward and the
    backward pass cost O(T^3) operations per function. Raises ValueError as `gp_append` does.
    """
    require_shape("x", x, B=None, T=None, d=None)
    B, T, d = x.shape
    require_shape("z", z, B=B, T=T)
    require_floating("x", x)
    length_scale, variance = positive("length_scale", length_scale, x), positive("variance", variance, x)
    state = gp_initial_state(B, T, d, np.result_type(x, z, length_scale, variance))
    f, steps = np.empty_like(state.z), []
    for t in range(T):
        (draw, state), cache = gp_append(
            state, x[:, t], z[:, t], length_scale, variance, covariance, jitter, in_place=True
        )
        f[:, t] = draw.f
        steps.append(cache)
    return f, GPSampleCache(tuple(steps), d)


def gp_sample_backward(
    d_f: np.ndarray, cache: GPSampleCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """d_f (B, T) -> d_x (B, T, d), d_z (B, T), d_length_scale () or (d,), d_variance (). The last query comes first."""
    B, T = d_f.shape
    d_state = gp_initial_state(B, T, cache.d, d_f.dtype)
    d_x, d_z = np.empty_like(d_state.x), np.empty_like(d_f)
    d_length_scale = d_variance = d_f.dtype.type(0)
    none = np.zeros(B, d_f.dtype)  # d_mean, d_std
    for t in reversed(range(T)):
        d_out = Draw(d_f[:, t], none, none), d_state
        d_state, d_x[:, t], d_z[:, t], *d_hyper = gp_append_backward(d_out, cache.steps[t], in_place=True)
        d_length_scale, d_variance = d_length_scale + d_hyper[0], d_variance + d_hyper[1]
    return d_x, d_z, d_length_scale, d_variance


class ObserveCache(NamedTuple):
    epsilon: np.ndarray  # (...)
    noise: np.ndarray    # ()


def observe(f: np.ndarray, epsilon: np.ndarray, noise: ArrayLike) -> tuple[np.ndarray, ObserveCache]:
    """S5. f (...), standard normal numbers epsilon (...), noise () >= 0 -> y (...), cache.

    The network sees y. A loss may use f, which is known during training. Raises ValueError on shapes that differ, and
    unless the noise is one finite number >= 0.
    """
    require_shape("epsilon", epsilon, **{f"axis{i}": length for i, length in enumerate(np.shape(f))})
    noise = checked_noise(noise, f)
    return f + noise * epsilon, ObserveCache(epsilon, noise)         # S5


def observe_backward(d_y: np.ndarray, cache: ObserveCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_y (...) -> d_f (...), d_epsilon (...), d_noise ()."""
    epsilon, noise = cache
    return d_y.copy(), d_y * noise, (d_y * epsilon).sum()            # S5


class Posterior(NamedTuple):
    """The distribution of the noise-free values at m queries."""

    mean: np.ndarray  # (B, m)
    std: np.ndarray   # (B, m), standard deviation


class GPPosteriorCache(NamedTuple):
    a: np.ndarray      # (B, n), K^-1 y
    W: np.ndarray      # (B, n, m), K^-1 k
    k: np.ndarray      # (B, n, m)
    std: np.ndarray    # (B, m)
    noise: np.ndarray  # ()
    jitter: float
    data_covariance: Any   # the cache of k(x, x)
    query_covariance: Any  # the cache of k(x, q)
    covariance_backward: Callable[..., Any]


def gp_posterior(
    x: np.ndarray, y: np.ndarray, queries: np.ndarray, length_scale: ArrayLike, variance: ArrayLike, noise: ArrayLike,
    covariance: str = "squared_exponential", jitter: float | None = None,
) -> tuple[Posterior, GPPosteriorCache]:
    """V1 to V3: the posterior at m queries given n noisy observations.

    Parameters
    ----------
    x : ndarray (B, n, d)
    y : ndarray (B, n)
    queries : ndarray (B, m, d)
    length_scale, variance, covariance, jitter
        As in `gp_append`.
    noise : number >= 0
        Standard deviation of the noise in y.

    Returns
    -------
    Posterior, GPPosteriorCache

    Raises
    ------
    ValueError
        A shape does not fit; a number is out of range; the covariance is unknown; or K is not positive definite in
        this precision.
    """
    require_shape("x", x, B=None, n=None, d=None)
    B, n, d = x.shape
    require_shape("y", y, B=B, n=n)
    require_shape("queries", queries, B=B, m=None, d=d)
    forward, backward = covariance_pair(covariance)
    jitter, noise, v = checked_jitter(jitter, x), checked_noise(noise, x), positive("variance", variance, x)

    K, K_cache = forward(x, x, length_scale, variance)               # V1
    k, k_cache = forward(x, queries, length_scale, variance)         # V1
    K = K + (v * jitter + noise**2) * np.eye(n, dtype=x.real.dtype)  # V1
    try:
        solved = np.linalg.solve(K, np.concatenate([y[:, :, None], k], axis=2))
    except np.linalg.LinAlgError:
        raise ValueError("jitter: the covariance of the data is singular; increase the jitter or the noise") from None
    a, W = solved[:, :, 0], solved[:, :, 1:]
    mean = (k * a[:, :, None]).sum(axis=1)                           # V2
    residual = v * (1 + jitter) - (k * W).sum(axis=1)                # V3
    if not (residual.real > 0).all():
        raise ValueError(f"jitter: expected posterior variances > 0, got {residual.real.min():.3g}; "
                         "the points are too dense for this precision without more jitter or noise")
    std = np.sqrt(residual)                                          # V3
    return Posterior(mean, std), GPPosteriorCache(a, W, k, std, noise, jitter, K_cache, k_cache, backward)


def gp_posterior_backward(
    d_posterior: Posterior, cache: GPPosteriorCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """-> d_x (B, n, d), d_y (B, n), d_queries (B, m, d), d_length_scale () or (d,), d_variance (), d_noise ()."""
    d_mean, d_std = d_posterior
    a, W, k, std, noise, jitter, K_cache, k_cache, covariance_backward = cache
    d_residual = d_std / (2 * std)                                   # V3
    d_k = d_mean[:, None] * a[:, :, None] - 2 * d_residual[:, None] * W  # V2, V3
    # No einsum here: for m = 0 it sometimes returns nan, because it multiplies 0 by uninitialised memory.
    d_y = (W * d_mean[:, None]).sum(axis=2)                          # V2
    d_K = (W * d_residual[:, None]) @ W.swapaxes(1, 2)               # V3
    d_K = d_K - d_y[:, :, None] * a[:, None]                         # V2
    d_diagonal = np.einsum("bii->", d_K)                             # V1
    d_noise = (noise + noise) * d_diagonal                           # V1

    d_x, d_queries, d_length_scale, d_variance = covariance_backward(d_k, k_cache)  # V1
    d_rows, d_columns, d_length_scale_K, d_variance_K = covariance_backward(d_K, K_cache)  # V1
    d_x = d_x + d_rows + d_columns                                   # V1
    d_length_scale = d_length_scale + d_length_scale_K               # V1
    number = d_residual.dtype.type  # a Python float would make a single number float64 before NumPy 2
    d_variance = d_variance + d_variance_K + d_diagonal * number(jitter)  # V1
    d_variance = d_variance + d_residual.sum() * number(1 + jitter)  # V3
    return d_x, d_y, d_queries, d_length_scale, d_variance, d_noise


def checked_jitter(jitter: float | None, like: np.ndarray) -> float:
    """``jitter``, by default that for the precision of ``like``. Raises ValueError unless it is finite and >= 0."""
    if jitter is None:
        return JITTER[like.real.dtype.name]
    if not 0 <= jitter < np.inf:
        raise ValueError(f"jitter: expected a finite number >= 0, got {jitter!r}")
    return float(jitter)


def checked_noise(noise: ArrayLike, like: np.ndarray) -> np.ndarray:
    """``noise`` in the precision of ``like``. Raises ValueError unless it is one finite number >= 0."""
    noise = np.asarray(noise)
    if noise.ndim or not (np.isfinite(noise) and noise.real >= 0):
        raise ValueError(f"noise: expected one finite number >= 0, got {noise}")
    return noise if noise.dtype.kind == "c" else noise.astype(like.dtype)


def _with(array: np.ndarray, index: Any, values: np.ndarray, in_place: bool) -> np.ndarray:
    """``array`` with ``values`` written at ``index``; a copy of it unless ``in_place``."""
    dtype = np.result_type(array, values)
    if not in_place:
        array = array.astype(dtype)
    elif array.dtype != dtype:
        raise ValueError(f"state: expected arrays of {dtype} to write into, got {array.dtype}")
    array[index] = values
    return array

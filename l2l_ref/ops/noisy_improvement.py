"""Expected improvement given what was observed: noisy values, and only those that had come in.

Dims: B functions, T queries of d dimensions. Query t is made when the results of the queries in ``fed[: t + 1]`` are
known; -1 stands for none.

    B7  mean_t, std_t = the posterior of f(x_t) given the known x_s and y_s        V1 to V3 of ops/gp.py
    B8  b_t = min of the known y_s
    B9  L = -sum_t EI(mean_t, std_t, b_t)                          over the queries before which something is known

This is equation (9) of the review as it stands. B3 of meta_losses.py conditions on the values without noise, and on
those of queries that are still being evaluated; without noise and with one worker the two are the same.

Source: Chen et al. 2017; review, equation (9).
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..checks import require_shape
from .gp import Posterior, gp_posterior, gp_posterior_backward
from .improvement import expected_improvement, expected_improvement_backward
from .meta_losses import incumbent, incumbent_backward


class NoisyImprovementLossCache(NamedTuple):
    steps: tuple[tuple[int, np.ndarray, Any, Any, Any], ...]  # t, the known queries, and the caches of B7, B8 and B9
    like: np.ndarray                                          # x (B, T, d)
    length_scale: np.ndarray
    grad_through_incumbent: bool


def noisy_improvement_loss(
    x: np.ndarray, y: np.ndarray, fed: ArrayLike, length_scale: ArrayLike, variance: ArrayLike = 1.0,
    noise: ArrayLike = 0.0, covariance: str = "squared_exponential", jitter: float | None = None,
    grad_through_incumbent: bool = True,
) -> tuple[np.ndarray, NoisyImprovementLossCache]:
    """B7 to B9.

    Parameters
    ----------
    x : ndarray (B, T, d)
    y : ndarray (B, T)
    fed : (T,) integers
        For each query, the one whose result came in before it, or -1.
    length_scale, variance, noise, covariance, jitter
        As in `gp_posterior`.
    grad_through_incumbent : bool
        Whether the gradient flows through b_t.

    Returns
    -------
    L (B,), cache

    Raises
    ------
    ValueError
        For shapes that do not fit, and where `gp_posterior` raises it.
    """
    require_shape("x", x, B=None, T=None, d=None)
    B, T, _ = x.shape
    require_shape("y", y, B=B, T=T)
    fed = np.asarray(fed)
    require_shape("fed", fed, T=T)
    L, steps = np.zeros(B, np.result_type(x, y)), []
    for t in range(T):
        known = fed[: t + 1][fed[: t + 1] >= 0]
        if not len(known):
            continue
        posterior, p_cache = gp_posterior(x[:, known], y[:, known], x[:, t : t + 1], length_scale, variance, noise,
                                          covariance, jitter)        # B7
        b, b_cache = incumbent(np.concatenate([y[:, known], y[:, :1]], axis=1))  # B8, of all but the last
        improvement, i_cache = expected_improvement(posterior.mean[:, 0], posterior.std[:, 0], b[:, -1])
        L = L - improvement                                          # B9
        steps.append((t, known, p_cache, b_cache, i_cache))
    return L, NoisyImprovementLossCache(tuple(steps), x, np.asarray(length_scale), grad_through_incumbent)


def noisy_improvement_loss_backward(
    d_L: np.ndarray, cache: NoisyImprovementLossCache
) -> tuple[np.ndarray, np.ndarray, None, np.ndarray, np.ndarray, np.ndarray]:
    """d_L (B,) -> d_x (B, T, d), d_y (B, T), None for fed, d_length_scale, d_variance (), d_noise ()."""
    steps, like, length_scale, grad_through_incumbent = cache
    d_x, d_y, number = np.zeros_like(like), np.zeros(like.shape[:2], d_L.dtype), d_L.dtype.type
    d_length_scale, d_variance, d_noise = np.zeros_like(length_scale, d_L.dtype), number(0), number(0)
    for t, known, p_cache, b_cache, i_cache in steps:
        d_mean, d_std, d_best = expected_improvement_backward(-d_L, i_cache)  # B9
        if grad_through_incumbent:
            d_b = np.zeros((len(d_L), len(known)), d_L.dtype)
            d_b[:, -1] = d_best                                      # B8
            d_y[:, known] += incumbent_backward(d_b, b_cache)[:, :-1]  # B8
        d_known, d_values, d_query, *d_hyper = gp_posterior_backward(
            Posterior(d_mean[:, None], d_std[:, None]), p_cache)     # B7
        d_length_scale, d_variance, d_noise = (
            a + b for a, b in zip((d_length_scale, d_variance, d_noise), d_hyper))  # B7
        d_x[:, known] += d_known                                     # B7
        d_y[:, known] += d_values                                    # B7
        d_x[:, t] += d_query[:, 0]                                   # B7
    return d_x, d_y, None, d_length_scale, d_variance, d_noise

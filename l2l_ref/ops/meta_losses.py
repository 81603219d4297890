"""Losses on which a black-box optimizer is trained: one number per function, from the values along its trajectory.

Everything here **minimises**. Dims: B functions, T queries.

    B1  L = sum_t f_t                                                summed loss
    B2  b_t = min over s < t of f_s,          t = 2..T               the incumbent, the best value before query t
    B3  L = -sum_t EI(mean_t, std_t, b_t),    t = 2..T               expected improvement
    B4  L = sum_t min(f_t - b_t, 0),          t = 2..T               observed improvement
    B5  L = f_T                                                      final value
    B6  L = min_t f_t                                                best value

Source: Chen et al. 2017; review, equations (8), (9) and (10) for B1, B3 and B4. Chen et al. argue against B5, because
its signal is too sparse in time. B6 is the measure by which optimizers are compared. Equation (9) of the review
conditions on y_1:T-1, where it must mean the values before t. At the first query there is no incumbent, and B3 and B4
have no term; this is our choice.

Neither Chen et al. nor the review say whether the gradient flows through b_t. ``grad_through_incumbent=True`` gives the
derivative of L as it is written, and ``False`` stops the gradient at b_t. With True, B4 telescopes to
L = min_t f_t - f_1, so it also rewards a bad first value.

Among equal values the first one is the minimum, and a value equal to its incumbent is no improvement.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_floating, require_shape
from .improvement import ExpectedImprovementCache, expected_improvement, expected_improvement_backward


def _require_values(name: str, values: np.ndarray) -> None:
    require_shape(name, values, B=None, T=None)
    require_floating(name, values)
    if values.shape[1] < 1:
        raise ValueError(f"{name}: expected at least T=1 value, got shape {values.shape}")


class SumLossCache(NamedTuple):
    steps: int  # T


def sum_loss(f: np.ndarray) -> tuple[np.ndarray, SumLossCache]:
    """B1. f (B, T) -> L (B,), cache. Like all functions below it raises ValueError on other shapes and for T = 0."""
    _require_values("f", f)
    return f.sum(axis=1), SumLossCache(f.shape[1])                   # B1


def sum_loss_backward(d_L: np.ndarray, cache: SumLossCache) -> np.ndarray:
    """d_L (B,) -> d_f (B, T)."""
    return np.repeat(d_L[:, None], cache.steps, axis=1)              # B1


class IncumbentCache(NamedTuple):
    first: np.ndarray  # (B, T - 1) integer, the query that gave b_t, counted from 0
    steps: int         # T


def incumbent(y: np.ndarray) -> tuple[np.ndarray, IncumbentCache]:
    """B2. y (B, T) -> b (B, T - 1), cache."""
    _require_values("y", y)
    T = y.shape[1]
    lowest = np.minimum.accumulate(y.real, axis=1)
    falls = np.zeros(y.shape, bool)
    falls[:, 1:] = y.real[:, 1:] < lowest[:, :-1]
    first = np.maximum.accumulate(np.where(falls, np.arange(T), 0), axis=1)[:, :-1]
    return np.take_along_axis(y, first, axis=1), IncumbentCache(first, T)  # B2


def incumbent_backward(d_b: np.ndarray, cache: IncumbentCache) -> np.ndarray:
    """d_b (B, T - 1) -> d_y (B, T)."""
    first, T = cache
    d_y = np.zeros((len(d_b), T), d_b.dtype)
    np.add.at(d_y, (np.arange(len(d_b))[:, None], first), d_b)       # B2
    return d_y


class ExpectedImprovementLossCache(NamedTuple):
    improvement: ExpectedImprovementCache
    incumbent: IncumbentCache
    grad_through_incumbent: bool


def expected_improvement_loss(
    mean: np.ndarray, std: np.ndarray, y: np.ndarray, grad_through_incumbent: bool = True
) -> tuple[np.ndarray, ExpectedImprovementLossCache]:
    """B2, B3. mean, std, y (B, T) -> L (B,), cache.

    mean and std are those of f_t given the earlier values, as `gp_append` returns them. Their first columns are not
    used. y are the values from which the incumbent is taken; training takes it from f. Raises ValueError also if std
    is not >= 0.
    """
    _require_values("y", y)
    B, T = y.shape
    require_shape("mean", mean, B=B, T=T)
    require_shape("std", std, B=B, T=T)
    b, b_cache = incumbent(y)                                        # B2
    improvement, cache = expected_improvement(mean[:, 1:], std[:, 1:], b)
    return -improvement.sum(axis=1), ExpectedImprovementLossCache(cache, b_cache, grad_through_incumbent)  # B3


def expected_improvement_loss_backward(
    d_L: np.ndarray, cache: ExpectedImprovementLossCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_L (B,) -> d_mean (B, T), d_std (B, T), d_y (B, T)."""
    d_mean, d_std, d_b = expected_improvement_backward(-d_L[:, None], cache.improvement)  # B3
    d_y = incumbent_backward(d_b if cache.grad_through_incumbent else np.zeros_like(d_b), cache.incumbent)  # B2
    zero = np.zeros_like(d_y[:, :1])
    return np.concatenate([zero, d_mean], axis=1), np.concatenate([zero, d_std], axis=1), d_y


class ObservedImprovementLossCache(NamedTuple):
    improves: np.ndarray  # (B, T - 1) bool, f_t < b_t
    incumbent: IncumbentCache
    grad_through_incumbent: bool


def observed_improvement_loss(
    f: np.ndarray, grad_through_incumbent: bool = True
) -> tuple[np.ndarray, ObservedImprovementLossCache]:
    """B2, B4. f (B, T) -> L (B,), cache."""
    b, b_cache = incumbent(f)                                        # B2
    change = f[:, 1:] - b
    improves = ~(change.real >= 0)  # true for nan, so that nan shows in the loss
    terms = np.where(improves, change, np.zeros_like(change))        # B4
    return terms.sum(axis=1), ObservedImprovementLossCache(improves, b_cache, grad_through_incumbent)  # B4


def observed_improvement_loss_backward(d_L: np.ndarray, cache: ObservedImprovementLossCache) -> np.ndarray:
    """d_L (B,) -> d_f (B, T)."""
    improves, b_cache, grad_through_incumbent = cache
    d_change = d_L[:, None] * improves                               # B4
    d_f = incumbent_backward(-d_change if grad_through_incumbent else np.zeros_like(d_change), b_cache)  # B2
    d_f[:, 1:] += d_change                                           # B4
    return d_f


class FinalLossCache(NamedTuple):
    steps: int  # T


def final_loss(f: np.ndarray) -> tuple[np.ndarray, FinalLossCache]:
    """B5. f (B, T) -> L (B,), cache."""
    _require_values("f", f)
    return f[:, -1].copy(), FinalLossCache(f.shape[1])               # B5


def final_loss_backward(d_L: np.ndarray, cache: FinalLossCache) -> np.ndarray:
    """d_L (B,) -> d_f (B, T)."""
    d_f = np.zeros((len(d_L), cache.steps), d_L.dtype)
    d_f[:, -1] = d_L                                                 # B5
    return d_f


class BestLossCache(NamedTuple):
    best: np.ndarray  # (B,) integer, the query with the smallest value
    steps: int        # T


def best_loss(f: np.ndarray) -> tuple[np.ndarray, BestLossCache]:
    """B6. f (B, T) -> L (B,), cache."""
    _require_values("f", f)
    best = np.argmin(f.real, axis=1)
    return f[np.arange(len(f)), best], BestLossCache(best, f.shape[1])  # B6


def best_loss_backward(d_L: np.ndarray, cache: BestLossCache) -> np.ndarray:
    """d_L (B,) -> d_f (B, T)."""
    d_f = np.zeros((len(d_L), cache.steps), d_L.dtype)
    d_f[np.arange(len(d_L)), cache.best] = d_L                       # B6
    return d_f

"""Gradient preprocessing: Appendix A of Andrychowicz et al. 2016.

The coordinates of a gradient differ by orders of magnitude. Each is turned into two numbers of order 1:

    P1  (log|g| / p,  sign g)     where |g| >= exp(-p)
    P2  (-1,          exp(p) g)   elsewhere

The two branches meet: at |g| = exp(-p) both give (-1, sign g). At that point the derivative is taken from P1.
"""

from typing import NamedTuple

import numpy as np


class LogAndSignCache(NamedTuple):
    g: np.ndarray      # (...)
    large: np.ndarray  # (...) bool, |g| >= exp(-p)
    p: float


def log_and_sign(g: np.ndarray, p: float = 10.0) -> tuple[np.ndarray, LogAndSignCache]:
    """P1, P2. g (...) -> features (..., 2), cache. Raises ValueError unless the constant p > 0."""
    if not p > 0:
        raise ValueError(f"p: expected a number > 0, got {p!r}")
    sign = np.sign(g.real)
    size = sign * g                                 # |g|, in a form that also works for complex g
    large = size.real >= np.exp(-p)
    log = np.log(np.where(large, size, np.ones_like(size)))
    first = np.where(large, log / p, -np.ones_like(g))               # P1, P2
    second = np.where(large, sign, np.exp(p) * g)                    # P1, P2
    return np.stack([first, second], axis=-1).astype(g.dtype, copy=False), LogAndSignCache(g, large, p)


def log_and_sign_backward(d_features: np.ndarray, cache: LogAndSignCache) -> np.ndarray:
    """d_features (..., 2) -> d_g (...)."""
    g, large, p = cache
    d_first, d_second = d_features[..., 0], d_features[..., 1]
    d_large = d_first / (p * np.where(large, g, np.ones_like(g)))    # P1
    return np.where(large, d_large, d_second * np.exp(p)).astype(g.dtype, copy=False)  # P1, P2

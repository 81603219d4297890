"""The affine layer.

Dims: N rows, D inputs, M outputs.

    A5  y = x W + b      x (N, D), W (D, M), b (M,)  ->  y (N, M)
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_shape


class LinearCache(NamedTuple):
    x: np.ndarray  # (N, D)
    W: np.ndarray  # (D, M)


def linear(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, LinearCache]:
    """A5. x (N, D), W (D, M), b (M,) -> y (N, M), cache. Raises ValueError on other shapes."""
    require_shape("x", x, N=None, D=None)
    require_shape("W", W, D=x.shape[1], M=None)
    require_shape("b", b, M=W.shape[1])
    return x @ W + b, LinearCache(x, W)                              # A5


def linear_backward(d_y: np.ndarray, cache: LinearCache) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_y (N, M) -> d_x (N, D), d_W (D, M), d_b (M,)."""
    x, W = cache
    return d_y @ W.T, x.T @ d_y, d_y.sum(axis=0)                     # A5

"""Batch normalisation, with the statistics of the batch itself.

Dims: C channels, the last axis; K numbers per channel, in all other axes together.

    A11  m_c = mean_k x_kc          v_c = mean_k (x_kc - m_c)^2
    A12  n_kc = r_c (x_kc - m_c)    r_c = 1 / sqrt(v_c + epsilon)
    A13  y_kc = g_c n_kc + o_c                                          without a gain, g_c = 1

The mean and the variance are functions of x, so gradients flow through them. There are no running averages: an
optimizee is never used for prediction.

Source: Ioffe & Szegedy 2015, algorithm 1.
Twin: compiled/normalization.py.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_floating, require_shape

EPSILON = 1e-3  # as in the release of Andrychowicz et al. 2016


class BatchNormCache(NamedTuple):
    n: np.ndarray            # (..., C)
    r: np.ndarray            # (C,)
    gain: np.ndarray | None  # (C,)


def batch_norm(
    x: np.ndarray, offset: np.ndarray, gain: np.ndarray | None = None, epsilon: float = EPSILON
) -> tuple[np.ndarray, BatchNormCache]:
    """A11 to A13. x (..., C), offset (C,), gain (C,) or None -> y (..., C), cache.

    Raises ValueError on other shapes, for a batch without numbers, and unless epsilon > 0.
    """
    require_floating("x", x)
    if x.ndim < 2 or not x.size:
        raise ValueError(f"x: expected shape (K, ..., C) with at least one number, got {x.shape}")
    require_shape("offset", offset, C=x.shape[-1])
    if gain is not None:
        require_shape("gain", gain, C=x.shape[-1])
    if not epsilon > 0:
        raise ValueError(f"epsilon: expected a number > 0, got {epsilon!r}")
    rows = tuple(range(x.ndim - 1))
    centred = x - x.mean(axis=rows)                                  # A11
    r = 1 / np.sqrt((centred * centred).mean(axis=rows) + epsilon)   # A11, A12
    n = r * centred                                                  # A12
    return (n if gain is None else gain * n) + offset, BatchNormCache(n, r, gain)  # A13


def batch_norm_backward(
    d_y: np.ndarray, cache: BatchNormCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """d_y (..., C) -> d_x (..., C), d_offset (C,), d_gain (C,) or None."""
    n, r, gain = cache
    rows = tuple(range(n.ndim - 1))
    d_offset, d_gain = d_y.sum(axis=rows), (d_y * n).sum(axis=rows)  # A13
    K = n.size // n.shape[-1]
    d_n_rest = d_y - (d_offset + n * d_gain) / K                     # A12, A11
    if gain is None:
        return r * d_n_rest, d_offset, None                          # A12
    return r * gain * d_n_rest, d_offset, d_gain                     # A13, A12

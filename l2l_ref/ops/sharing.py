"""How coordinates share information: units that show their mean, and a memory that all of them write and read.

Dims: B functions, d coordinates each; H units; W write heads; K pairs of vectors in a window.

    C7  o_ij = mean over i of h_ij for the first units j, o_ij = h_ij for the others    h (B, d, H)  ->  o (B, d, H)

The memory of a function is a d x d matrix M. Each coordinate has one entry of every vector, r, a_w and b_w:

    C8  i = M r                                       M (B, d, d), r (B, d)  ->  i (B, d)
    C9  M' = M + sum over w of a_w b_w^T              a, b (B, d, W)  ->  M' (B, d, d)

A window holds the last K pairs (a_w, b_w) as the columns of left and right. It is read as the identity plus the sum of
their outer products, which are never computed: reading costs O(d K).

    C10  i = r + sum over k of left_k (right_k . r)   left, right (B, d, K), r (B, d)  ->  i (B, d)
    C11  left' = the last K columns of (left, a), right' = the last K columns of (right, b)

Source: Andrychowicz et al. 2016, the appendix on sharing information between coordinates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..checks import require_shape


def global_average(h: np.ndarray, cells: int) -> tuple[np.ndarray, int]:
    """C7. h (B, d, H), the number of averaged units -> o (B, d, H), cache. Raises ValueError on other shapes."""
    require_shape("h", h, B=None, d=None, H=None)
    o = h.copy()
    o[:, :, :cells] = h[:, :, :cells].mean(axis=1, keepdims=True)    # C7
    return o, cells


def global_average_backward(d_o: np.ndarray, cells: int) -> np.ndarray:
    """d_o (B, d, H) -> d_h (B, d, H). Each h_ij is the d-th part of d outputs, so this is C7 once more."""
    d_h = d_o.copy()
    d_h[:, :, :cells] = d_o[:, :, :cells].mean(axis=1, keepdims=True)  # C7
    return d_h


class MatrixCache(NamedTuple):
    M: np.ndarray  # (B, d, d), before the step
    r: np.ndarray  # (B, d)
    a: np.ndarray  # (B, d, W)
    b: np.ndarray  # (B, d, W)


def matrix_memory(
    M: np.ndarray, r: np.ndarray, a: np.ndarray, b: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], MatrixCache]:
    """C8 and C9: read, then write. M (B, d, d), r (B, d), a and b (B, d, W) -> (i (B, d), M'), cache.

    Raises ValueError on other shapes.
    """
    B, d, _ = _sizes(r, a, b)
    require_shape("M", M, B=B, d=d, e=d)
    i = (M @ r[:, :, None])[:, :, 0]                                 # C8
    return (i, M + a @ b.swapaxes(1, 2)), MatrixCache(M, r, a, b)    # C9


def matrix_memory_backward(
    d_out: tuple[np.ndarray, np.ndarray], cache: MatrixCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """d_out = (d_i (B, d), d_M' (B, d, d)) -> d_M, d_r, d_a, d_b."""
    d_i, d_M_new = d_out
    M, r, a, b = cache
    d_r = (d_i[:, None, :] @ M)[:, 0, :]                             # C8
    d_M = d_M_new + d_i[:, :, None] * r[:, None, :]                  # C9, C8
    return d_M, d_r, d_M_new @ b, d_M_new.swapaxes(1, 2) @ a         # C9


class Window(NamedTuple):
    """The last K pairs of vectors, the oldest first."""

    left: np.ndarray   # (B, d, K)
    right: np.ndarray  # (B, d, K)


class WindowCache(NamedTuple):
    left: np.ndarray     # (B, d, K), before the step
    right: np.ndarray    # (B, d, K), before the step
    r: np.ndarray        # (B, d)
    along: np.ndarray    # (B, K), right_k . r
    heads: int           # W


def window_memory(
    window: Window, r: np.ndarray, a: np.ndarray, b: np.ndarray
) -> tuple[tuple[np.ndarray, Window], WindowCache]:
    """C10 and C11: read, then write. window, r (B, d), a and b (B, d, W) -> (i (B, d), window'), cache.

    Raises ValueError on other shapes, and for W > K.
    """
    left, right = window
    B, d, W = _sizes(r, a, b)
    require_shape("left", left, B=B, d=d, K=None)
    K = left.shape[2]
    require_shape("right", right, B=B, d=d, K=K)
    if W > K:
        raise ValueError(f"window: expected at least the {W} pairs of a step, got {K}")
    along = (r[:, None, :] @ right)[:, 0, :]                         # C10
    i = r + (left @ along[:, :, None])[:, :, 0]                      # C10
    left_new = np.concatenate([left[:, :, W:], a], axis=2)           # C11
    right_new = np.concatenate([right[:, :, W:], b], axis=2)         # C11
    return (i, Window(left_new, right_new)), WindowCache(left, right, r, along, W)


def window_memory_backward(
    d_out: tuple[np.ndarray, Window], cache: WindowCache
) -> tuple[Window, np.ndarray, np.ndarray, np.ndarray]:
    """d_out = (d_i (B, d), d_window') -> d_window, d_r, d_a, d_b."""
    d_i, (d_left_new, d_right_new) = d_out
    left, right, r, along, W = cache
    kept = left.shape[2] - W  # the pairs that are in both windows
    d_along = (d_i[:, None, :] @ left)[:, 0, :]                      # C10
    d_left = d_i[:, :, None] * along[:, None, :]                     # C10
    d_right = r[:, :, None] * d_along[:, None, :]                    # C10
    d_r = d_i + (right @ d_along[:, :, None])[:, :, 0]               # C10
    d_left[:, :, W:] += d_left_new[:, :, :kept]                      # C11
    d_right[:, :, W:] += d_right_new[:, :, :kept]                    # C11
    return Window(d_left, d_right), d_r, d_left_new[:, :, kept:], d_right_new[:, :, kept:]  # C11


def _sizes(r: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[int, int, int]:
    """B, d and W."""
    require_shape("r", r, B=None, d=None)
    B, d = r.shape
    require_shape("a", a, B=B, d=d, W=None)
    W = a.shape[2]
    require_shape("b", b, B=B, d=d, W=W)
    return B, d, W

"""A Cholesky factor that grows by one row at a time.

Dims: B matrices at once. Each has t rows; row number t is appended.

    H1  L x = b                                              L (B, t, t) lower, b (B, t)  ->  x (B, t)
    H2  l = L^-1 k                                           k (B, t), the new row, left of the diagonal
    H3  delta = sqrt(c - l . l)                              c (B,), the new diagonal entry

The factor of [[L L^T, k], [k^T, c]] is [[L, 0], [l^T, delta]]. A row costs O(t^2) operations, so T rows cost O(T^3).
Only the lower triangle of L is read; the gradient with respect to L is 0 above the diagonal.

Source: the bordered form of the Cholesky factorisation, Golub & Van Loan 2013, section 4.2.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_shape


class SolveLowerCache(NamedTuple):
    L: np.ndarray  # (B, t, t)
    x: np.ndarray  # (B, t)


def solve_lower(L: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, SolveLowerCache]:
    """H1, by forward substitution. L (B, t, t), b (B, t) -> x (B, t), cache. Raises ValueError on other shapes."""
    require_shape("b", b, B=None, t=None)
    B, t = b.shape
    require_shape("L", L, B=B, t=t, s=t)
    x = np.empty_like(b, dtype=np.result_type(L, b))
    for i in range(t):
        x[:, i] = (b[:, i] - np.einsum("bj,bj->b", L[:, i, :i], x[:, :i])) / L[:, i, i]  # H1
    return x, SolveLowerCache(L, x)


def solve_lower_backward(d_x: np.ndarray, cache: SolveLowerCache) -> tuple[np.ndarray, np.ndarray]:
    """d_x (B, t) -> d_L (B, t, t), d_b (B, t). It solves L^T d_b = d_x by back substitution."""
    L, x = cache
    d_b, d_L = d_x.copy(), np.zeros_like(L)
    for i in reversed(range(x.shape[1])):
        d_b[:, i] /= L[:, i, i]                                      # H1
        d = d_b[:, i : i + 1]
        d_b[:, :i] -= d * L[:, i, :i]                                # H1
        d_L[:, i, : i + 1] = -d * x[:, : i + 1]                      # H1
    return d_L, d_b


class CholeskyRowCache(NamedTuple):
    l: np.ndarray      # (B, t)
    delta: np.ndarray  # (B,)
    solve: SolveLowerCache


def cholesky_row(L: np.ndarray, k: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, CholeskyRowCache]:
    """H2, H3. L (B, t, t), k (B, t), c (B,) -> row (B, t + 1) = [l, delta], cache.

    Raises ValueError on other shapes, and unless c - l . l > 0, since otherwise the matrix is not positive definite in
    this precision. No jitter is added here; add it to the diagonal when you build the matrix.
    """
    require_shape("k", k, B=None, t=None)
    require_shape("c", c, B=len(k))
    l, solve_cache = solve_lower(L, k)                               # H2
    residual = c - np.einsum("bj,bj->b", l, l)                       # H3
    if not (residual.real > 0).all():
        b = np.flatnonzero(~(residual.real > 0))[0]
        raise ValueError(
            f"c: row {k.shape[1]} of matrix {b} leaves {residual[b]:.3g} of its diagonal entry {c[b]:.3g}, expected "
            "> 0; the row repeats earlier ones or is not finite, and may need more jitter"
        )
    delta = np.sqrt(residual)                                        # H3
    return np.concatenate([l, delta[:, None]], axis=1), CholeskyRowCache(l, delta, solve_cache)


def cholesky_row_backward(
    d_row: np.ndarray, cache: CholeskyRowCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_row (B, t + 1) -> d_L (B, t, t), d_k (B, t), d_c (B,)."""
    l, delta, solve_cache = cache
    d_l, d_delta = d_row[:, :-1], d_row[:, -1]
    d_c = d_delta / (2 * delta)                                      # H3
    d_l = d_l - 2 * d_c[:, None] * l                                 # H3
    d_L, d_k = solve_lower_backward(d_l, solve_cache)                # H2
    return d_L, d_k, d_c

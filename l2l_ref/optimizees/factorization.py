"""The factorization of a matrix: a function that is not convex, whose minima are all equally good.

Dims: B functions at once, matrices of p rows and q columns, factors of k columns.

    Q4  R = U V^T - M                  U (B, p, k), V (B, q, k), M (B, p, q)
        f = sum of R^2 / (p q)         (B,)

theta (B, p k + q k) holds U and V one after the other, each of them row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..checks import require_shape, whole_number
from ..seeds import generators
from .starts import checked_scale

if TYPE_CHECKING:
    from ..protocols import Array, Seed


class FactorizationCache(NamedTuple):
    U: np.ndarray  # (B, p, k)
    V: np.ndarray  # (B, q, k)
    R: np.ndarray  # (B, p, q)


def factorization(U: Array, V: Array, M: Array) -> tuple[Array, FactorizationCache]:
    """Q4. U (B, p, k), V (B, q, k), M (B, p, q) -> f (B,), cache. Raises ValueError on other shapes."""
    require_shape("M", M, B=None, p=None, q=None)
    B, p, q = M.shape
    require_shape("U", U, B=B, p=p, k=None)
    require_shape("V", V, B=B, q=q, k=U.shape[2])
    R = U @ np.swapaxes(V, 1, 2) - M                                 # Q4
    return (R * R).sum(axis=(1, 2)) / (p * q), FactorizationCache(U, V, R)  # Q4


def factorization_backward(d_f: Array, cache: FactorizationCache) -> tuple[Array, Array, Array]:
    """d_f (B,) -> d_U (B, p, k), d_V (B, q, k), d_M (B, p, q)."""
    U, V, R = cache
    _, p, q = R.shape
    d_R = 2 * d_f[:, None, None] * R / (p * q)                       # Q4
    return d_R @ V, np.swapaxes(d_R, 1, 2) @ U, -d_R                 # Q4


class Factorization:
    """The distribution of matrices of a rank that is known, with noise.

    M is the product of two factors of standard normal entries, divided by the root of the rank, so that its entries
    have the variance 1; normal noise is added.

    Parameters
    ----------
    rows, columns, rank : int
    noise : float
        The standard deviation of the noise.
    theta0_scale : float
        theta0 is normal with this standard deviation.

    Raises
    ------
    ValueError
        For arguments out of range.
    """

    chance = None

    def __init__(self, rows: int = 12, columns: int = 8, rank: int = 3, noise: float = 0.1,
                 theta0_scale: float = 0.1) -> None:
        self.rows, self.columns = whole_number("rows", rows), whole_number("columns", columns)
        self.rank, self.theta0_scale = whole_number("rank", rank), checked_scale(theta0_scale)
        if not 0 <= noise < np.inf:
            raise ValueError(f"noise: expected a finite number >= 0, got {noise!r}")
        self.noise = float(noise)
        self.shapes = {"U": (self.rows, self.rank), "V": (self.columns, self.rank)}

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        return {"problem": "factorization", "rows": self.rows, "columns": self.columns, "rank": self.rank,
                "noise": self.noise, "theta0_scale": self.theta0_scale}

    def sample(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> FactorizationTask:
        """Draw a task of ``functions`` functions. ``seed`` is an int or a SeedSequence."""
        return FactorizationTask(self, functions, seed, dtype)


class FactorizationTask:
    """B matrices and their starting points."""

    def __init__(self, problem: Factorization, functions: int, seed: Seed, dtype: DTypeLike) -> None:
        p, q, k = problem.rows, problem.columns, problem.rank
        self.problem, self.shapes, matrices, starts = problem, problem.shapes, [], []
        for rng in generators(seed, range(functions)):
            product = rng.standard_normal((p, k)) @ rng.standard_normal((k, q)) / np.sqrt(k)
            matrices.append(product + problem.noise * rng.standard_normal((p, q)))
            starts.append(problem.theta0_scale * rng.standard_normal((p + q) * k))
        self.M, self.theta0 = np.array(matrices, dtype), np.array(starts, dtype)

    def loss_and_gradient(self, theta: Array) -> tuple[Array, Array]:
        """theta (B, n) -> losses (B,), gradients (B, n)."""
        p, k = self.problem.rows, self.problem.rank
        U, V = (part.reshape(len(theta), -1, k) for part in (theta[:, : p * k], theta[:, p * k :]))
        losses, cache = factorization(U, V, self.M)
        d_U, d_V, _ = factorization_backward(np.ones_like(losses), cache)
        return losses, np.concatenate([d_U.reshape(len(theta), -1), d_V.reshape(len(theta), -1)], axis=1)

"""Rosenbrock's function (Rosenbrock 1960): a curved valley, in which the way to the minimum is long and nearly flat.

Dims: B functions at once, of d parameters each.

    Q3  u_i = theta_i+1 - theta_i^2,   v_i = 1 - theta_i        i = 1..d-1
        f(theta) = sum_i (a u_i^2 + v_i^2)                      theta (B, d), a (B,)  ->  f (B,)

The minimum is 0, at theta = (1, ..., 1). Rosenbrock has d = 2 and a = 100.
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


class RosenbrockCache(NamedTuple):
    theta: np.ndarray  # (B, d)
    a: np.ndarray      # (B,)
    u: np.ndarray      # (B, d - 1)
    v: np.ndarray      # (B, d - 1)


def rosenbrock(theta: Array, a: Array) -> tuple[Array, RosenbrockCache]:
    """Q3. theta (B, d), a (B,) -> f (B,), cache. d is at least 2. Raises ValueError on other shapes."""
    require_shape("theta", theta, B=None, d=None)
    require_shape("a", a, B=len(theta))
    u, v = theta[:, 1:] - theta[:, :-1] ** 2, 1 - theta[:, :-1]      # Q3
    return (a[:, None] * u * u + v * v).sum(axis=1), RosenbrockCache(theta, a, u, v)  # Q3


def rosenbrock_backward(d_f: Array, cache: RosenbrockCache) -> tuple[Array, Array]:
    """d_f (B,) -> d_theta (B, d), d_a (B,)."""
    theta, a, u, v = cache
    d_u, d_v = 2 * (d_f * a)[:, None] * u, 2 * d_f[:, None] * v      # Q3
    d_theta = np.zeros_like(theta)
    d_theta[:, 1:] += d_u                                            # Q3
    d_theta[:, :-1] -= 2 * theta[:, :-1] * d_u + d_v                 # Q3
    return d_theta, d_f * (u * u).sum(axis=1)


class Rosenbrock:
    """The distribution of Rosenbrock's functions: random starting points, and valleys of random steepness.

    Parameters
    ----------
    dim : int
        d, the number of parameters, at least 2.
    steepness : tuple of float
        The smallest and the largest a; it is log-uniform between them. (100, 100) is Rosenbrock's own.
    theta0_scale : float
        theta0 is normal with this standard deviation.

    Raises
    ------
    ValueError
        For arguments out of range.
    """

    chance = None

    def __init__(self, dim: int = 2, steepness: tuple[float, float] = (1.0, 100.0), theta0_scale: float = 1.0) -> None:
        self.dim, self.theta0_scale = whole_number("dim", dim, 2), checked_scale(theta0_scale)
        low, high = map(float, steepness)
        if not 0 < low <= high < np.inf:
            raise ValueError(f"steepness: expected two finite numbers > 0 in ascending order, got {steepness!r}")
        self.steepness = low, high
        self.shapes = {"theta": (self.dim,)}

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        return {"problem": "rosenbrock", "dim": self.dim, "steepness": list(self.steepness),
                "theta0_scale": self.theta0_scale}

    def sample(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> RosenbrockTask:
        """Draw a task of ``functions`` functions. ``seed`` is an int or a SeedSequence."""
        return RosenbrockTask(self, functions, seed, dtype)


class RosenbrockTask:
    """B functions and their starting points."""

    def __init__(self, problem: Rosenbrock, functions: int, seed: Seed, dtype: DTypeLike) -> None:
        rngs, logs = generators(seed, range(functions)), np.log(problem.steepness)
        self.shapes = problem.shapes
        self.a = np.exp([rng.uniform(*logs) for rng in rngs]).astype(dtype)
        self.theta0 = np.stack([problem.theta0_scale * rng.standard_normal(problem.dim) for rng in rngs]).astype(dtype)

    def loss_and_gradient(self, theta: Array) -> tuple[Array, Array]:
        """theta (B, d) -> losses (B,), gradients (B, d)."""
        losses, cache = rosenbrock(theta, self.a)
        return losses, rosenbrock_backward(np.ones_like(losses), cache)[0]

"""Random quadratics: Andrychowicz et al. 2016, section 3.1.

Dims: B functions at once, of d parameters each.

    Q1  f(theta) = ||W theta - y||^2      theta (B, d), W (B, d, d), y (B, d)  ->  f (B,)
    Q2  grad f(theta) = 2 W^T (W theta - y)                          (B, d)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..checks import choice, require_shape, whole_number
from ..seeds import generators
from .starts import checked_scale

if TYPE_CHECKING:
    from ..protocols import Array, Seed

DISTRIBUTIONS = ("uniform", "normal")


class QuadraticCache(NamedTuple):
    """The cache of Q1, and of Q2."""

    theta: np.ndarray     # (B, d)
    W: np.ndarray         # (B, d, d)
    residual: np.ndarray  # (B, d), W theta - y


def quadratic(theta: Array, W: Array, y: Array) -> tuple[Array, QuadraticCache]:
    """Q1. theta (B, d), W (B, d, d), y (B, d) -> f (B,), cache. Raises ValueError on other shapes."""
    residual = _residual(theta, W, y)                                # Q1
    return (residual * residual).sum(axis=1), QuadraticCache(theta, W, residual)  # Q1


def quadratic_backward(d_f: Array, cache: QuadraticCache) -> tuple[Array, Array, Array]:
    """d_f (B,) -> d_theta (B, d), d_W (B, d, d), d_y (B, d)."""
    theta, W, residual = cache
    d_residual = 2 * d_f[:, None] * residual                         # Q1
    d_theta = (d_residual[:, None, :] @ W)[:, 0, :]                  # Q1
    return d_theta, d_residual[:, :, None] * theta[:, None, :], -d_residual


def quadratic_gradient(theta: Array, W: Array, y: Array) -> tuple[Array, QuadraticCache]:
    """Q2. theta (B, d), W (B, d, d), y (B, d) -> grad f (B, d), cache. Raises ValueError on other shapes."""
    residual = _residual(theta, W, y)                                # Q2
    return 2 * _times(np.swapaxes(W, 1, 2), residual), QuadraticCache(theta, W, residual)  # Q2


def quadratic_gradient_backward(d_gradient: Array, cache: QuadraticCache) -> tuple[Array, Array, Array]:
    """d_gradient (B, d) -> d_theta (B, d), d_W (B, d, d), d_y (B, d). Here d_theta is the Hessian times d_gradient."""
    theta, W, residual = cache
    d_residual = 2 * _times(W, d_gradient)                           # Q2
    d_W = 2 * residual[:, :, None] * d_gradient[:, None, :] + d_residual[:, :, None] * theta[:, None, :]  # Q2
    return _times(np.swapaxes(W, 1, 2), d_residual), d_W, -d_residual  # Q2


def _residual(theta: Array, W: Array, y: Array) -> Array:
    require_shape("theta", theta, B=None, d=None)
    B, d = theta.shape
    require_shape("W", W, B=B, d=d, e=d)
    require_shape("y", y, B=B, d=d)
    return _times(W, theta) - y


def _times(W: Array, v: Array) -> Array:
    """W (B, d, d) times v (B, d)."""
    return (W @ v[:, :, None])[:, :, 0]


class Quadratic:
    """The distribution of random quadratics.

    Parameters
    ----------
    dim : int
        d, the number of parameters; 10 in Andrychowicz et al. 2016.
    distribution : {"uniform", "normal"}
        The distribution of the entries of W and y. **The default is uniform** on [0, 1). Andrychowicz et al. say that
        they are normal, but their released code, and by its curves their Figure 4, use uniform ones. The two differ in
        every number: E f(0) is d/3 for uniform entries and d for normal ones.
    theta0_scale : float
        theta0 is normal with this standard deviation; 0.01 as in the released code.
    condition : float or None
        The condition number of the matrix of second derivatives, 2 W^T W, at least 1. The singular values of W are then
        replaced by d numbers from 1 down to ``condition ** -0.5``, evenly spaced on a logarithmic scale. None leaves W
        as it is drawn; its condition number then has no mean.

    Raises
    ------
    ValueError
        For arguments out of range.
    """

    chance = None

    def __init__(self, dim: int = 10, distribution: str = "uniform", theta0_scale: float = 0.01,
                 condition: float | None = None) -> None:
        choice("distribution", distribution, DISTRIBUTIONS)
        self.dim, self.distribution = whole_number("dim", dim), distribution
        self.theta0_scale = checked_scale(theta0_scale)
        if condition is not None and not 1 <= condition < np.inf:
            raise ValueError(f"condition: expected None or a finite number >= 1, got {condition!r}")
        self.condition = None if condition is None else float(condition)
        self.shapes = {"theta": (self.dim,)}

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        condition = {} if self.condition is None else {"condition": self.condition}
        return {"problem": "quadratic", "dim": self.dim, "dist": self.distribution, "theta0_scale": self.theta0_scale,
                **condition}

    def sample(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> QuadraticTask:
        """Draw a task of ``functions`` functions. ``seed`` is an int or a SeedSequence."""
        return QuadraticTask(self, functions, seed, dtype)


class QuadraticTask:
    """B quadratics and their starting points."""

    def __init__(self, problem: Quadratic, functions: int, seed: Seed, dtype: DTypeLike) -> None:
        d = problem.dim
        W, y, theta0 = np.empty((functions, d, d)), np.empty((functions, d)), np.empty((functions, d))
        for b, rng in enumerate(generators(seed, range(functions))):
            draw = rng.random if problem.distribution == "uniform" else rng.standard_normal
            W[b], y[b] = draw((d, d)), draw(d)
            theta0[b] = problem.theta0_scale * rng.standard_normal(d)
        if problem.condition is not None:
            left, _, right = np.linalg.svd(W)
            W = left * np.geomspace(1, problem.condition**-0.5, d) @ right
        self.shapes = problem.shapes
        self.W, self.y, self.theta0 = W.astype(dtype), y.astype(dtype), theta0.astype(dtype)

    def loss_and_gradient(self, theta: Array) -> tuple[Array, Array]:
        """theta (B, d) -> losses (B,), gradients (B, d)."""
        return self.second_order(theta)[:2]

    def second_order(self, theta: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """`loss_and_gradient`, and a function v (B, d) -> (B, d): the Hessians at theta times v."""
        losses, cache = quadratic(theta, self.W, self.y)
        gradient, _, _ = quadratic_backward(np.ones_like(losses), cache)
        return losses, gradient, lambda v: quadratic_gradient_backward(v, cache)[0]

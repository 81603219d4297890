"""The four standard functions of global optimization in Chen et al. 2017, in their usual units and signs.

Branin and Goldstein-Price: Dixon & Szego 1978, "The global optimization problem: an introduction". Hartmann-3 and
Hartmann-6: Hartman 1973, in the form of the same book. Two versions of Hartmann-3 are in use. The entry P[3, 0] is
0.0381 here, as in most collections of test functions; in others it is 0.03815.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from ..protocols import Array


@dataclass(frozen=True, eq=False)
class BlackBox:
    """A function to minimise within a box.

    Attributes
    ----------
    name : str
    bounds : ndarray (d, 2)
        The lowest and the highest value of each input.
    formula : callable
        Points (..., d) -> values (...).
    source : str
        The literature that the function is from.
    minimum : float or None
        The smallest value within the box, or None if it is not known.
    minimizers : ndarray (k, d) or None
        The known points with that value. k may be 0.
    """

    name: str
    bounds: np.ndarray
    formula: Callable[[Array], Array]
    source: str
    minimum: float | None = None
    minimizers: np.ndarray | None = None

    @property
    def dim(self) -> int:
        """d, the number of inputs."""
        return len(self.bounds)

    def __call__(self, x: ArrayLike) -> Array:
        """x (..., d) in the units of ``bounds``, inside or outside them -> values (...), float64.

        Raises ValueError unless the last axis of x has length d.
        """
        x = np.asarray(x, np.float64)
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(f"x: expected shape (..., d={self.dim}), got {x.shape}")
        return self.formula(x)

    def to_unit(self, x: Array) -> Array:
        """Map points from the units of ``bounds`` to the unit cube."""
        low, high = self.bounds.T
        return (x - low) / (high - low)

    def from_unit(self, u: Array) -> Array:
        """Map points from the unit cube to the units of ``bounds``."""
        low, high = self.bounds.T
        return low + u * (high - low)


def _branin(x: Array) -> Array:
    a, b = x[..., 0], x[..., 1]
    valley = b - 5.1 / (4 * np.pi**2) * a**2 + 5 / np.pi * a - 6
    return valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(a) + 10


def _goldstein_price(x: Array) -> Array:
    a, b = x[..., 0], x[..., 1]
    first = 1 + (a + b + 1) ** 2 * (19 - 14 * a + 3 * a**2 - 14 * b + 6 * a * b + 3 * b**2)
    second = 30 + (2 * a - 3 * b) ** 2 * (18 - 32 * a + 12 * a**2 + 48 * b - 36 * a * b + 27 * b**2)
    return first * second


WEIGHTS = np.array([1.0, 1.2, 3.0, 3.2])  # of Hartman's functions


def _hartmann(A: ArrayLike, P: ArrayLike) -> Callable[[Array], Array]:
    """The formula with the constants A and 10^4 P."""
    return partial(_hartmann_formula, A=np.array(A), P=1e-4 * np.array(P))


def _hartmann_formula(x: Array, A: Array, P: Array) -> Array:
    return -(WEIGHTS * np.exp(-(A * (x[..., None, :] - P) ** 2).sum(axis=-1))).sum(axis=-1)


BENCHMARKS = {
    box.name: box
    for box in (
        BlackBox(
            "branin", np.array([[-5.0, 10.0], [0.0, 15.0]]), _branin, "Dixon & Szego 1978",
            0.397887, np.array([[-np.pi, 12.275], [np.pi, 2.275], [9.42478, 2.475]]),
        ),
        BlackBox(
            "goldstein-price", np.array([[-2.0, 2.0], [-2.0, 2.0]]), _goldstein_price, "Dixon & Szego 1978",
            3.0, np.array([[0.0, -1.0]]),
        ),
        BlackBox(
            "hartmann-3", np.array([[0.0, 1.0]] * 3),
            _hartmann(
                [[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]],
                [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]],
            ),
            "Hartman 1973; Dixon & Szego 1978", -3.86278, np.array([[0.114614, 0.555649, 0.852547]]),
        ),
        BlackBox(
            "hartmann-6", np.array([[0.0, 1.0]] * 6),
            _hartmann(
                [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
                 [17, 8, 0.05, 10, 0.1, 14]],
                [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
                 [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]],
            ),
            "Hartman 1973; Dixon & Szego 1978", -3.32237,
            np.array([[0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573]]),
        ),
    )
}

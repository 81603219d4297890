"""Sample paths of a Gaussian process: random functions that are decided everywhere before the first query.

The squared exponential covariance is a product over dimensions. In each dimension it is nearly a sum of a few products.
With nodes g_1 .. g_n in [0, 1], and the largest eigenvalues w_a and eigenvectors V_a of their covariance matrix,

    F6  phi_a(s) = sum_b k(s, g_b) V_ba / sqrt(w_a)                  so that sum_a phi_a(s) phi_a(s') ~ k(s, s')
    F7  f(x) = sum_a1 .. sum_ad z_a1..ad phi_a1(x_1) .. phi_ad(x_d)

where z are independent standard normal numbers (F6 is Nystroem's method). As many a are used as are needed to miss at
most a millionth of the variance in a dimension. For the usual length scale these are 11 in one dimension, and 7 for
each of six.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..checks import require_shape, whole_number
from ..extras import require
from .gp_functions import normal_numbers, usual_length_scale

if TYPE_CHECKING:
    from ..protocols import Array, Seed

MISSED, NODES = 1e-6, 65
SMALLEST = 0.05       # the smallest length scale for which NODES nodes miss no more than that
MOST_NUMBERS = 2**19  # per function, enough for seven dimensions
GRID = 5e4            # points per function from which the search for its minimum starts


class GPPaths:
    """B sample paths on the unit cube of a Gaussian process with mean 0, variance 1 and squared exponential covariance.

    Function number k of a seed is the same in every batch.

    Parameters
    ----------
    functions : int
        B.
    dim : int
        d.
    seed : int or SeedSequence
    length_scale : float, optional
        By default `usual_length_scale`.
    first : int
        The number of the first function. With it a large batch can be evaluated in pieces.

    Raises
    ------
    ValueError
        For numbers out of range, and when a function needs more than `MOST_NUMBERS` numbers. With the usual length
        scale this is the case in more than seven dimensions.
    """

    name = "gp"

    def __init__(self, functions: int, dim: int, seed: Seed, length_scale: float | None = None, first: int = 0) -> None:
        for name, value, least in (("functions", functions, 0), ("dim", dim, 1), ("first", first, 0)):
            whole_number(name, value, least)
        self.dim, self.bounds = dim, np.array([[0.0, 1.0]] * dim)
        self._length_scale = usual_length_scale(dim) if length_scale is None else length_scale
        if not self._length_scale >= SMALLEST:
            raise ValueError(f"length_scale: expected a number >= {SMALLEST}, got {length_scale!r}")
        self._nodes = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, NODES))
        self._root = self._root_of_covariance()
        r = self._root.shape[1]
        if r**dim > MOST_NUMBERS:
            raise ValueError(f"dim: expected fewer dimensions or a larger length scale, got {dim} and "
                             f"{self._length_scale:g}, which take {r}^{dim} numbers per function")
        numbers = normal_numbers(seed, range(first, first + functions), r**dim, 0)
        self._z = numbers.reshape(functions, *(r,) * dim)

    def __call__(self, x: ArrayLike) -> Array:
        """Evaluate each function at its own point: x (B, d) -> (B,).

        Raises ValueError for another shape.
        """
        x = np.asarray(x, np.float64)
        require_shape("x", x, B=len(self._z), d=self.dim)
        f = self._z
        for phi in self._features(x.T):
            f = np.einsum("ba...,ba->b...", f, phi)                  # F7
        return f

    def minima(self) -> Array:
        """The smallest value of each function, (B,), by L-BFGS-B from the three lowest local minima on a grid.

        The grid is finer than the usual length scale. With a much smaller length scale the lowest local minimum may be
        missed. Needs SciPy.
        """
        require("scipy", "the search for the minima of sample paths")
        from scipy.ndimage import minimum_filter
        from scipy.optimize import minimize

        line = np.linspace(0, 1, min(NODES, int(GRID ** (1 / self.dim))))
        phi, least = self._features(line), []
        for z in self._z:
            f = z
            for _ in range(self.dim):
                f = np.tensordot(f, phi, (0, 1))                     # F7, the first dimension becomes the last
            lowest = np.argwhere(f == minimum_filter(f, size=3, mode="nearest"))
            lowest = lowest[np.argsort(f[tuple(lowest.T)])[:3]]
            least.append(min(minimize(self._with_gradient, line[k], (z,), "L-BFGS-B", True, bounds=self.bounds).fun
                             for k in lowest))
        return np.array(least)

    def _with_gradient(self, x: Array, z: Array) -> tuple[float, Array]:
        """F7 of one function: x (d,) -> f, d_x (d,)."""
        k = self._covariance(x)
        slopes = k * (self._nodes - x[:, None]) / self._length_scale**2 @ self._root
        d_x: list[Array] = []
        f = z
        for phi, slope in zip(k @ self._root, slopes):
            d_x = [np.tensordot(phi, d, 1) for d in d_x] + [np.tensordot(slope, f, 1)]
            f = np.tensordot(phi, f, 1)
        return float(f), np.array(d_x)

    def _features(self, s: Array) -> Array:
        """F6: s (...) -> phi (..., r)."""
        return self._covariance(s) @ self._root                      # F6

    def _covariance(self, s: Array) -> Array:
        """k(s, g), (..., n): K2 of ops/covariance.py in one dimension."""
        return np.exp(-0.5 * ((s[..., None] - self._nodes) / self._length_scale) ** 2)

    def _root_of_covariance(self) -> Array:
        """V / sqrt(w), (n, r), for as few of the largest eigenvalues as miss at most `MISSED` anywhere."""
        w, V = np.linalg.eigh(self._covariance(self._nodes))
        root = (V / np.sqrt(np.maximum(w, 1e-12)))[:, ::-1]
        phi = self._covariance(np.linspace(0, 1, 1001)) @ root
        enough = ((phi**2).cumsum(axis=1) >= 1 - MISSED).all(axis=0)
        return root[:, : enough.argmax() + 1]

"""Black-box optimizers that do not use the values: uniform random search and Sobol points.

A `Search` minimises B functions on the unit cube of d dimensions at once, one query of each after the other:

    x = search.ask()      # (B, d), the points to evaluate
    search.tell(x, y)     # y (B,), the values there

Each function has its own history and its own random generator, and its results do not depend on the batch.

The points are those of Sobol 1967 with the scrambling of Owen 1995, both from SciPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..checks import require_shape, whole_number
from ..extras import require
from ..seeds import generators

if TYPE_CHECKING:
    from ..protocols import Array, Seed

STREAM = 2  # of the random numbers of a function; black boxes use the streams 0 and 1 of the same seed


class Search:
    """What all searches share: the checks and the history. A subclass defines ``name`` and ``_suggest``.

    Parameters
    ----------
    functions : int
        B.
    dim : int
        d.
    seed : int or SeedSequence
    first : int
        The number of the first function. Function number k of a seed gets the same random numbers in every batch.

    Attributes
    ----------
    x : ndarray (B, n, d)
        The points told so far.
    y : ndarray (B, n)
        Their values.

    Raises
    ------
    ValueError
        For numbers out of range.
    """

    def __init__(self, functions: int, dim: int, seed: Seed = 0, first: int = 0) -> None:
        for name, value, least in (("functions", functions, 0), ("dim", dim, 1), ("first", first, 0)):
            whole_number(name, value, least)
        self.x, self.y = np.empty((functions, 0, dim)), np.empty((functions, 0))
        self._rngs = generators(seed, range(first, first + functions), STREAM)

    @property
    def functions(self) -> int:
        """B."""
        return self.x.shape[0]

    @property
    def dim(self) -> int:
        """d."""
        return self.x.shape[2]

    def ask(self) -> Array:
        """The point at which to evaluate each function next: (B, d), float64, in [0, 1]."""
        return np.array([self._suggest(b) for b in range(self.functions)]).reshape(self.functions, self.dim)

    def tell(self, x: ArrayLike, y: ArrayLike) -> None:
        """Add the values y (B,) at the points x (B, d), which may be other points than those of the last `ask`.

        Raises ValueError for other shapes, for points outside the cube, and for values that are not finite.
        """
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        require_shape("x", x, B=self.functions, d=self.dim)
        require_shape("y", y, B=self.functions)
        if not ((x >= 0) & (x <= 1)).all():
            raise ValueError(f"x: expected numbers in [0, 1], got {x[~((x >= 0) & (x <= 1))][0]}")
        if not np.isfinite(y).all():
            raise ValueError(f"y: expected finite numbers, got {y[~np.isfinite(y)][0]}")
        self.x = np.concatenate([self.x, x[:, None]], axis=1)
        self.y = np.concatenate([self.y, y[:, None]], axis=1)

    def _suggest(self, b: int) -> Array:
        """The next point (d,) of function b of the batch."""
        raise NotImplementedError


class RandomSearch(Search):
    """Points that are drawn uniformly from the cube."""

    name = "random"

    def _suggest(self, b: int) -> Array:
        return self._rngs[b].random(self.dim)


class Sobol(Search):
    """The points of a scrambled Sobol sequence, which is another one for each function. Needs SciPy."""

    name = "sobol"

    def __init__(self, functions: int, dim: int, seed: Seed = 0, first: int = 0) -> None:
        require("scipy", "a Sobol sequence")
        from scipy.stats import qmc

        super().__init__(functions, dim, seed, first)
        self._sequences = [qmc.Sobol(dim, scramble=True, seed=rng) for rng in self._rngs]

    def _suggest(self, b: int) -> Array:
        return self._sequences[b].random(1)[0]

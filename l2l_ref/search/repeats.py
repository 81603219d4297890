"""No point twice, and no query that teaches nothing: such a query is replaced before it is evaluated.

A query is useless if it repeats a point that was asked for or told, or lies near one of the worse half. Instead of one
near a worse point, the search takes the farthest of some random points from all that it knows; instead of a repetition
of a good point, the nearest one that is new. Where every point of the box is known, a query stays as it is.
"""

from __future__ import annotations

from bisect import insort
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backends
from ..learned.stepping import SAME, rows_at

if TYPE_CHECKING:
    from ..protocols import Array, Backend
    from .box import Box

RADIUS, LARGEST_RADIUS = 0.02, 0.06  # the first for each dimension; measured: docs/lab-notes/minimize.md
CANDIDATES = 64  # points of which the farthest is taken
GOLDEN = (5**0.5 - 1) / 2
MOST_POINTS = 1024  # of a box of which all points are candidates
MOST_ROWS = 1024    # from which the distances of candidates are measured


def radius(d: int) -> float:
    """How near to a point of the worse half a query of d dimensions is useless."""
    return min(RADIUS * d, LARGEST_RADIUS)


class Rows:
    """An array that grows: rows are added to a buffer, which is twice as long when it is full.

    Attributes
    ----------
    buffer : (more than count, columns) array
        Its first ``count`` rows are the array. The others are to be written.
    """

    def __init__(self, columns: int) -> None:
        self.buffer, self.count = np.zeros((64, columns)), 0

    def __len__(self) -> int:
        return self.count

    @property
    def array(self) -> Array:
        return self.buffer[: self.count]

    def append(self, row: Array) -> None:
        self.buffer[self.count] = row
        self.keep()

    def keep(self) -> int:
        """Add the row that was written behind the last one. Returns its number."""
        if self.count + 1 == len(self.buffer):  # first, so that an interrupt leaves room for the next row
            self.buffer = np.concatenate([self.buffer, np.zeros_like(self.buffer)])
        self.count += 1
        return self.count - 1


class Places:
    """Where a search has been, in the unit cube, and what is known of it."""

    def __init__(self, dim: int, backend: Backend = "auto") -> None:
        self._is_useless = backends.choose("stepping", backend).is_useless
        self._rows = Rows(dim + 1)
        self._values: list[float] = []  # the finite ones, sorted

    @property
    def rows(self) -> Array:
        """The points, each followed by its value, or by infinity where there is none (n, dim + 1)."""
        return self._rows.array

    @property
    def median(self) -> float:
        """What the values of the worse half are above."""
        return self._values[len(self._values) // 2] if self._values else np.inf

    def add(self, u: Array, value: float = np.inf) -> int:
        """A point (at least dim,) and its value. Returns its number."""
        self.is_useless(u, 0.0)  # which writes it
        return self.keep(value)

    def keep(self, value: float = np.inf) -> int:
        """As `add`, of the query that `is_useless` has seen last."""
        number = self._rows.keep()
        if value < np.inf:
            self.set(number, value)
        return number

    def set(self, number: int, value: float) -> None:
        """The value of a point, infinity if the evaluation failed."""
        self._rows.buffer[number, -1] = value
        if value < np.inf:
            insort(self._values, value)

    def is_useless(self, u: Array, near: float) -> bool:
        """Whether a query repeats a point, or lies nearer than ``near`` to one of the worse half."""
        useless: bool = self._is_useless(self._rows.buffer, self._rows.count, u, near, self.median)
        return useless

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_is_useless": self._is_useless.__module__.split(".")[1] == "compiled"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        module = backends.choose("stepping", "numba" if state["_is_useless"] else "numpy")
        self.__dict__.update(state, _is_useless=module.is_useless)


def replacement(rows: Array, median: float, u: Array, box: Box, seed: tuple[int, int], number: int,
                backend: Backend = "auto") -> Array | None:
    """A point (dim,) to evaluate instead of the query u, or None if none was found that is new.

    Parameters
    ----------
    rows, median
        Those of `Places`.
    u : (at least dim,) array
    seed, number : (int, int), int
        Of the search, and of this query in it: they decide the random points.
    """
    d = box.dim
    u = u[:d]
    points = _candidates(u, box, seed, number)
    if (rows_at(rows, u)[:, d] <= median).any():
        apart = np.abs(points - u)
        apart[:, box.categorical] = apart[:, box.categorical] > SAME  # which have no order
        far = -apart.sum(axis=1)
    else:  # some of many rows show as well where there is room
        far = backends.choose("stepping", backend).distances(rows[:: 1 + len(rows) // MOST_ROWS], points)
    return next((point for point in points[np.argsort(-far, kind="stable")] if not len(rows_at(rows, point))), None)


def _candidates(u: Array, box: Box, seed: tuple[int, int], number: int) -> Array:
    """All points of a small box; of others, random points, and u with another value in one dimension."""
    d = box.dim
    if box.any_integer and np.prod(box.levels) <= MOST_POINTS:
        return np.random.default_rng([*seed, number]).permutation(box.unit(box.grid()))
    points: Array = (_table(seed, d) + number * GOLDEN) % 1
    changed, k = np.repeat(u[None], 4 * d, axis=0), np.arange(4 * d)
    changed[k, k % d] = points[CANDIDATES + k, k % d]
    points[CANDIDATES:] = changed
    return box.unit(box.point(points)) if box.any_integer else points


@lru_cache(1024)
def _table(seed: tuple[int, int], d: int) -> Array:
    """The random points of a search. Each query moves them all: drawing others would take longer than all the rest."""
    return np.random.default_rng(seed).random((CANDIDATES + 4 * d, d))

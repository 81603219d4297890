"""No point twice, and no query that teaches nothing: such a query is replaced before it is evaluated.

A query is useless if it repeats a point that was asked for or told, or lies near one of the worse half. Instead of one
near a worse point, the search takes the farthest of some random points from all that it knows; instead of a repetition
of a good point, the nearest one that is new. Where every point of the box is known, a query stays as it is.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backends
from ..learned.stepping import SAME

if TYPE_CHECKING:
    from ..protocols import Array, Backend
    from .box import Box

RADIUS = 0.02    # for each dimension; measured: docs/lab-notes/minimize.md
CANDIDATES = 64  # points of which the farthest is taken
MOST_POINTS = 1024  # of a box of which all points are candidates


class Places:
    """Where a search has been, in the unit cube, and what is known of it."""

    def __init__(self, dim: int, backend: Backend = "auto") -> None:
        self._is_useless = backends.choose("stepping", backend).is_useless
        self._rows = np.empty((64, dim + 1))
        self.count = 0
        self._values: list[float] = []  # the finite ones, sorted

    @property
    def rows(self) -> Array:
        """The points, each followed by its value, or by infinity where there is none (count, dim + 1)."""
        return self._rows[: self.count]

    @property
    def median(self) -> float:
        """What the values of the worse half are above."""
        return self._values[len(self._values) // 2] if self._values else np.inf

    def add(self, u: Array, value: float = np.inf) -> int:
        """A point (at least dim,) and its value. Returns its number."""
        if self.count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        row = self._rows[self.count]
        row[:-1] = u[: len(row) - 1]
        self.count += 1
        self.set(self.count - 1, value)
        return self.count - 1

    def set(self, number: int, value: float) -> None:
        """The value of a point, infinity if the evaluation failed."""
        self._rows[number, -1] = value
        if value < np.inf:
            insort(self._values, value)

    def is_useless(self, u: Array, near: float) -> bool:
        """Whether a query repeats a point, or lies nearer than ``near`` to one of the worse half."""
        return bool(self._is_useless(self._rows, self.count, u, near, self.median))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_is_useless": self._is_useless.__module__.split(".")[1] == "compiled"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        module = backends.choose("stepping", "numba" if state["_is_useless"] else "numpy")
        self.__dict__.update(state, _is_useless=module.is_useless)


def replacement(rows: Array, median: float, u: Array, box: Box, seed: list[int]) -> Array | None:
    """A point (dim,) to evaluate instead of the query u, or None if none was found that is new.

    ``rows`` and ``median`` are those of `Places`; ``seed`` decides the random points.
    """
    rng, d = np.random.default_rng(seed), box.dim
    u = u[:d]
    points = _candidates(u, box, rng)
    points = box.unit(box.point(points))
    known, values = rows[:, :d], rows[:, d]
    far = np.array([np.abs(known - point).max(axis=1).min() for point in points])
    new = far > SAME
    if not new.any():
        return None
    points, far = points[new], far[new]
    same = np.abs(known - u).max(axis=1) < SAME
    if (same & (values <= median)).any():
        apart = np.abs(points - u)
        apart[:, box.categorical] = apart[:, box.categorical] > SAME  # which have no order
        far = -apart.sum(axis=1)
    chosen: Array = points[far.argmax()]
    return chosen


def _candidates(u: Array, box: Box, rng: np.random.Generator) -> Array:
    """All points of a small box in random order; of others, random points, and u with another value in one dimension.
    """
    d = box.dim
    if np.prod(box.levels) <= MOST_POINTS:
        return rng.permutation(box.unit(box.grid()))
    points = np.repeat(u[None], 4 * d, axis=0)
    points[np.arange(4 * d), np.arange(4 * d) % d] = rng.random(4 * d)
    return np.concatenate([rng.random((CANDIDATES, d)), points])

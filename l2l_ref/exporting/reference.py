"""What a self-test feeds to an exported optimizer, and what the package makes of it: on NumPy, in float64.

The inputs are the same numbers in all languages, exactly.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..search.restarts import RestartSchedule, restart_period
from ..search.scale import moments_of, penalty_limit, rescaled_after, running_scale, scaled, without_penalties

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..learned.proposer import Proposer
    from ..protocols import Array

STEPS, COORDINATES = 100, 3
LARGEST_SEED = 2147483647


def gradients(coordinates: int = COORDINATES) -> Array:
    """The gradients of a self-test, (STEPS, coordinates).

    They come from the generator of Park and Miller 1988, and are between -1 and 1 times a power of two.
    """
    seed, rows = 1, np.empty((STEPS, coordinates))
    for t in range(STEPS):
        for k in range(coordinates):
            seed = seed * 16807 % LARGEST_SEED
            rows[t, k] = (seed / 2.0**30 - 1) / 2.0 ** (3 * (t % 8))
    return rows


def value_at(t: int, x: Array) -> float:
    """What the search of a self-test is told of its query number t: a failure, a penalty, or a value of a function."""
    if t % 16 == 10:
        return math.nan
    distance = 0.0
    for v in x.tolist():
        distance += (v - 0.25) * (v - 0.25)
    return 1e6 if t % 32 == 20 else distance * distance


class NetworkSearch:
    """A search on the unit cube that the network makes alone, one evaluation at a time.

    It is the search of `l2l_ref.BlackBoxOptimizer` with ``finish=None``, but in float64, with orientations from the
    generator of Park and Miller 1988, which is easily written in any language, and without replacements of queries.
    """

    def __init__(self, proposer: Proposer, d: int, seed: int = 0, run: float | None = None) -> None:
        self._proposer, self._d = proposer.of(d), d
        self._random = 1 + seed % (LARGEST_SEED - 1)
        for _ in range(3 + seed % 7):  # so that seeds that are close draw different numbers
            self._draw(1)
        self._points: list[Array] = []
        self._values: list[float] = []
        self._limit, self._worst = math.inf, math.nan
        self._query: Array | None = None
        run = restart_period(proposer.card) if run is None else run
        self._schedule = RestartSchedule(run, self._orient, self._start, self._step)

    def ask(self) -> Array:
        """The next point, (d,); the same again until the next tell."""
        if self._query is None:
            self._query = self._schedule.query()
        return self._query[: self._d]

    def tell(self, value: float) -> None:
        """The value of this point; nan or infinity if its evaluation failed."""
        assert self._query is not None
        self._points.append(self._query)
        self._values.append(value if math.isfinite(value) else math.nan)
        self._query = None
        values, rescaled = np.array(self._values)[None], rescaled_after(len(self._values))
        if rescaled:
            self._limit = float(penalty_limit(values)[0])
            scale = running_scale(without_penalties(values, np.array([self._limit])), moments_of(self._proposer.card))
            self._scale = type(scale)(*(float(np.squeeze(a)) for a in scale))
        self._worst = float(np.fmax.reduce(without_penalties(values, np.array([self._limit])), axis=1)[0])
        self._schedule.tell(len(self._values) - 1, None, rescaled)

    def _draw(self, n: int) -> int:
        self._random = self._random * 16807 % LARGEST_SEED
        return self._random * n // LARGEST_SEED

    def _orient(self) -> None:
        D = self._proposer._bound()
        self._flip = np.array([self._draw(2) for _ in range(D)], float)
        self._order = np.arange(D)
        for k in range(D - 1, 0, -1):
            j = self._draw(k + 1)
            self._order[[k, j]] = self._order[[j, k]]

    def _start(self) -> None:
        self._state = self._proposer.initial_state(dtype=np.float64)

    def _step(self, n: int | None) -> Array:
        row = np.zeros((1, len(self._order) + 2))                    # X1
        if n is not None:
            y = self._values[n] if self._values[n] <= self._limit else self._worst
            x = np.where(self._flip > 0, 1 - self._points[n], self._points[n])
            row[0, :-2], row[0, -1] = x[self._order], 1              # X1
            row[0, -2] = 0 if math.isnan(y) else scaled(y, self._scale)  # X1
        v, self._state = self._proposer.step(row, self._state)
        u = np.empty(len(self._order))
        u[self._order] = v[0]
        return np.where(self._flip > 0, 1 - u, u)


def queries(proposer: Proposer, d: int, tell: Callable[[int, Array], float] = value_at) -> Array:
    """The queries of a search in a self-test, (STEPS, d)."""
    search, rows = NetworkSearch(proposer, d, seed=7), []
    for t in range(STEPS):
        rows.append(search.ask())
        search.tell(tell(t, rows[-1]))
    return np.stack(rows)

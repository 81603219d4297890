"""The searches of B functions in step, each as `BlackBoxOptimizer` would do it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..learned.stepping import SAME
from .box import Box, Symmetries
from .repeats import radius, replacement
from .restarts import RestartSchedule, restart_period
from .scale import Scale, moments_of, penalty_limit, rescaled_after, running_scale, scaled_rows, without_penalties

if TYPE_CHECKING:
    from ..learned.proposer import Proposer
    from ..protocols import Array


def symmetries(seed: int, function: int = 0) -> np.random.Generator:
    """The random numbers that decide the orientations in which a function is seen."""
    return np.random.default_rng([seed, function])


class BatchSearch:
    """Ask and tell of B functions at once, on the unit cube of the network.

    Parameters
    ----------
    proposer : Proposer
        For functions of D dimensions.
    functions, evaluations : int
        The number of functions B, and of evaluations of each, T.
    seed : int
        With a function's number, decides how the network is oriented in it.
    given : Scale, optional
        The scale of the values (`given_scale`); by default a running one.
    first : int
        The number of the first function, so that large batches can be searched in pieces.
    box : Box, optional
        What is searched; by default the unit cube.
    restarts : bool
        Whether the network starts afresh from time to time.
    """

    u: Array     # (T, B, D), the points told so far
    y: Array     # (T, B), their values
    told: int    # how many of T
    best: Array  # (B,), which of them is the best

    def __init__(self, proposer: Proposer, functions: int, evaluations: int, seed: int, given: Scale | None = None,
                 first: int = 0, box: Box | None = None, restarts: bool = True) -> None:
        B, T = functions, evaluations
        if box is not None:
            proposer = proposer.of(box.dim)
        self._box = Box([(0, 1)] * proposer.dim) if box is None else box
        self._seed, self._first = seed, first
        self._proposer, self._scale, self._running = proposer, given, given is None
        self._moments = moments_of(proposer.card)
        self._rows, self._rngs = np.arange(B), [symmetries(seed, first + b) for b in range(B)]
        self.u, self.y, self.told = np.empty((T, B, proposer.dim)), np.empty((T, B)), 0
        self.best = np.zeros(B, int)
        self._worst: Array = np.full(B, np.nan)
        self._limit: Array = np.full(B, np.inf)  # larger values are penalties
        run = restart_period(proposer.card) if restarts else np.inf
        self._schedule = RestartSchedule(run, self._orient, self._start, self._step)

    def ask(self) -> Array:
        """The next query of each function, (B, D): the points that are to be evaluated."""
        u: Array = self._schedule.query()
        n, d = self.told, self._box.dim
        if self._box.any_integer:
            u[:, :d] = self._box.unit(self._box.point(u[:, :d]))
        if n:
            y = np.where(np.isnan(self.y[:n]), np.inf, self.y[:n])
            count = np.isfinite(y).sum(axis=0)
            median = np.sort(y, axis=0)[count // 2 % n, self._rows]
            median[count == 0] = np.inf
            far = np.abs(self.u[:n, :, :d] - u[:, :d]).max(axis=2)
            useless = ((far <= SAME) | (far <= radius(d)) & (y > median)).any(axis=0)
            for b in np.flatnonzero(useless):
                rows = np.column_stack([self.u[:n, b, :d], y[:, b]])
                new = replacement(rows, median[b], u[b], self._box, (self._seed, self._first + int(b)), n)
                if new is not None:
                    u[b, :d] = new
        return u

    def tell(self, u: Array, y: Array) -> None:
        """Values y (B,) at u (B, D), nan for evaluations that failed. They are tell number 0, 1, 2, .."""
        n = self.told
        self.u[n], self.y[n], self.told = u, y, n + 1
        before = self.y[self.best, self._rows]
        self.best = np.where((y < before) | np.isnan(before), n, self.best)
        self._worst = np.fmax(self._worst, np.where(y <= self._limit, y, np.nan))
        rescaled = self._running and rescaled_after(n + 1)
        if rescaled:
            values = self.y[: n + 1].T
            self._limit = penalty_limit(values)
            values = without_penalties(values, self._limit)
            self._scale = running_scale(values, self._moments)
            self._worst = np.fmax.reduce(values, axis=1)
        self._schedule.tell(np.full(len(self._rows), n), self.best, rescaled)

    def _orient(self) -> None:
        self._symmetry = Symmetries(self._rngs, self._proposer.dim)

    def _start(self) -> None:
        self._state = self._proposer.initial_state(len(self._rows))

    def _step(self, n: Any) -> Array:
        v, self._state = self._proposer.step(self._row_of(n), self._state)
        return self._symmetry.from_network(v)

    def _row_of(self, n: Any) -> Array:
        """What the network is fed: tell number n of each function, n (B,), or nothing."""
        row = np.zeros((len(self._rows), self._proposer.dim + 2), np.float32)
        if n is not None:
            y = self.y[n, self._rows]
            y = np.where(y <= self._limit, y, self._worst)  # nan is not
            row[:, :-2] = self._symmetry.to_network(self.u[n, self._rows])  # X1
            row[:, -2] = 0 if self._scale is None else np.nan_to_num(scaled_rows(y, self._scale), nan=0.0)  # X1
            row[:, -1] = 1                                           # X1
        return row

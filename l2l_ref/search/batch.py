"""The searches of B functions in step, each as `BlackBoxOptimizer` would do it alone."""

import numpy as np

from .box import Symmetries
from .restarts import RestartSchedule, restart_period
from .scale import moments_of, rescaled_after, running_scale, scaled_rows


def symmetries(seed, function=0):
    """The random numbers that the symmetries of a function are drawn from."""
    return np.random.default_rng([seed, function])


class BatchSearch:
    """Ask and tell of B functions at once, on the unit cube of the network.

    Parameters
    ----------
    proposer : Proposer
        Of D dimensions.
    functions, evaluations : int
        B, and T: how often each is evaluated.
    seed : int
        Orients the network in each function, by its number.
    given : Scale, optional
        Of the values (`given_scale`); by default a running one.
    first : int
        The number of the first function, so that large batches can be worked on in pieces.
    """

    def __init__(self, proposer, functions, evaluations, seed, given=None, first=0):
        B, T = functions, evaluations
        self._proposer, self._scale, self._running = proposer, given, given is None
        self._moments = moments_of(proposer.card)
        self._rows, self._rngs = np.arange(B), [symmetries(seed, first + b) for b in range(B)]
        self.u, self.y, self.told = np.empty((T, B, proposer.dim)), np.empty((T, B)), 0
        self.best, self._worst = np.zeros(B, int), np.full(B, np.nan)  # a number of a tell, a value
        self._schedule = RestartSchedule(restart_period(proposer.card), self._orient, self._start, self._step)

    def ask(self):
        """The next query of each function, (B, D)."""
        return self._schedule.query()

    def tell(self, u, y):
        """Values y (B,) at u (B, D), nan for evaluations that failed. They are tell number 0, 1, 2, .."""
        n = self.told
        self.u[n], self.y[n], self.told = u, y, n + 1
        before = self.y[self.best, self._rows]
        self.best = np.where((y < before) | np.isnan(before), n, self.best)
        self._worst = np.fmax(self._worst, y)
        rescaled = self._running and rescaled_after(n + 1)
        if rescaled:
            self._scale = running_scale(self.y[: n + 1].T, self._moments)
        self._schedule.tell(np.full(len(self._rows), n), self.best, rescaled)

    def _orient(self):
        self._symmetry = Symmetries(self._rngs, self._proposer.dim)

    def _start(self):
        self._state = self._proposer.initial_state(len(self._rows))

    def _step(self, n):
        v, self._state = self._proposer.step(self._row_of(n), self._state)
        return self._symmetry.from_network(v)

    def _row_of(self, n):
        """What the network is fed of tell number n of each function, n (B,), or of nothing."""
        row = np.zeros((len(self._rows), self._proposer.dim + 2), np.float32)
        if n is not None:
            y = self.y[n, self._rows]
            y = np.where(np.isnan(y), self._worst, y)
            row[:, :-2] = self._symmetry.to_network(self.u[n, self._rows])  # X1
            row[:, -2] = 0 if self._scale is None else np.nan_to_num(scaled_rows(y, self._scale), nan=0.0)  # X1
            row[:, -1] = 1                                           # X1
        return row

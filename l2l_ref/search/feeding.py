"""What a network is fed before a query: of one function, or of B functions that are searched in step."""

from collections import deque


class Feeding:
    """Every query is one step of the network, fed with a result that waits, or with nothing.

    Where several results wait, there is a step for each but the last before it. When the scale of the values is
    another, all is fed again. After ``horizon`` steps the network starts afresh, and is fed the best result, then the
    last of those that wait, at most half as many as the horizon.

    Parameters
    ----------
    proposer : Proposer
    functions : int
        B.
    row : callable
        n or None -> the input (B, D + 2) of a step, for result n, which is whatever `tell` got, or for nothing.
    horizon : number
        Of steps.
    orient : callable, optional
        Called at each start but those of feeding again: there another orientation may be taken.
    """

    def __init__(self, proposer, functions, row, horizon=float("inf"), orient=lambda: None):
        self._proposer, self._functions, self._row = proposer, functions, row
        self._horizon, self._orient = horizon, orient
        self._waiting, self._best = deque(), None
        self._start_afresh()

    def tell(self, n, best, rescaled):
        """Result n waits. ``best`` is the best so far, or None; ``rescaled``: the scale has just become another."""
        self._waiting.append(n)
        self._best = best
        self._stale = self._stale or rescaled  # fed again when the next query needs it

    def query(self):
        """The next x (B, D) of the network, in its cube and its precision."""
        if len(self._fed) + max(len(self._waiting), 1) > self._horizon:
            self._start_afresh()
        elif self._stale:
            fed, self._fed, self._state = self._fed, [], self._proposer.start(self._functions)
            for n in fed:
                self._step(n)
        self._stale = False
        x = self._step(self._waiting.popleft() if self._waiting else None)
        while self._waiting:
            x = self._step(self._waiting.popleft())
        return x

    def _start_afresh(self):
        self._orient()
        self._state, self._fed, self._stale = self._proposer.start(self._functions), [], False
        if self._best is not None:
            waiting = list(self._waiting)
            self._waiting = deque([self._best, *waiting[max(len(waiting) - self._horizon // 2, 0):]])

    def _step(self, n):
        x, self._state = self._proposer.propose(self._row(n), self._state)
        self._fed.append(n)
        return x

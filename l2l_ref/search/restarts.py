"""What a network is fed before a query: of one function, or of B functions that are searched in step."""

from collections import deque

HORIZON = 100  # queries that a network is taken to be trained for when its card does not say
RUN = 33  # queries after which shipped networks have found what they will find: docs/lab-notes/minimize.md


class RestartSchedule:
    """Every query is one step of the network, fed with a result that waits, or with nothing.

    Where several results wait, there is a step for each but the last before it. When the scale of the values is
    another, all is fed again. After a run of steps (`restart_period`) the network starts afresh, in another orientation: the
    next run knows nothing of those before, and the one result that waits is not fed. Where more wait, points that were
    known or told late, the next run is fed the best result, then the last of them, at most half a run.

    Parameters
    ----------
    run : int
        Steps of a run.
    orient : callable
        Takes another orientation.
    start : callable
        Puts the network before its first step.
    step : callable
        n or None -> the next query, after a step that was fed result n, which is whatever `tell` got, or nothing.
    """

    def __init__(self, run, orient, start, step):
        self._run, self._orient, self._start, self._step = run, orient, start, step
        self._waiting, self._best = deque(), None
        self._start_afresh()

    def tell(self, n, best, rescaled):
        """Result n waits. ``best`` is the best so far, or None; ``rescaled``: the scale has just become another."""
        self._waiting.append(n)
        self._best = best
        self._stale = self._stale or rescaled  # fed again when the next query needs it

    def query(self):
        """The next query, whatever ``step`` makes of it."""
        if len(self._fed) + (len(self._waiting) or 1) > self._run:
            known = list(self._waiting) if len(self._waiting) > 1 else []
            self._waiting = deque([self._best, *known[len(known) - self._run // 2:]] if known else ())
            self._start_afresh()
        elif self._stale:
            self._start()
            for n in self._fed:
                self._step(n)
        self._stale = True  # until it is done: a step may be interrupted
        while True:
            n = self._waiting[0] if self._waiting else None
            query = self._step(n)
            self._fed.append(n)
            if self._waiting:
                self._waiting.popleft()
            if not self._waiting:
                self._stale = False
                return query

    def _start_afresh(self):
        self._orient()
        self._start()
        self._fed, self._stale = [], False


def restart_period(card):
    """The queries of one run: as many as the network was trained for, at most `RUN`."""
    recipe = (card or {}).get("recipe")
    steps = recipe.get("steps") if isinstance(recipe, dict) else None
    return min(steps if type(steps) is int and steps >= 1 else HORIZON, RUN)

"""When the network starts afresh, and what it is fed before a query: of one function, or of B functions in step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..protocols import Card

HORIZON = 100  # the queries that a network is taken to be trained for when its card does not say
RUN = 33  # the queries after which shipped networks find little more: docs/lab-notes/minimize.md


class RestartSchedule:
    """What to feed before each query.

    Each query is one network step, fed the oldest result not yet seen, or zeros if there is none. When several results
    wait, the network first takes a step for each but the last. When the value scaling changes, everything is fed again.

    After a run of steps (`restart_period`) the network starts afresh, in another orientation. The next run knows
    nothing of the runs before, and a single result that waits is not fed. When more wait, because points were known
    beforehand or told late, the next run is fed the best result and then the last ones, half a run of them at most.

    Parameters
    ----------
    run : int
        The number of steps in a run.
    orient : callable
        Takes another orientation.
    start : callable
        Puts the network before its first step.
    step : callable
        n or None -> the next query, after a step that was fed result n, or nothing. n is whatever `tell` was given.
    """

    def __init__(self, run: int, orient: Callable[[], None], start: Callable[[], None],
                 step: Callable[[Any], Any]) -> None:
        self._run, self._orient, self._start, self._step = run, orient, start, step
        self._waiting: deque[Any] = deque()
        self._best: Any = None
        self._stale = False  # whether the network has to be fed again
        self._start_afresh()

    def tell(self, n: Any, best: Any, rescaled: bool) -> None:
        """Result n waits. ``best`` is the best result so far, or None; ``rescaled``: the scale has just changed."""
        self._waiting.append(n)
        self._best = best
        self._stale = self._stale or rescaled  # fed again when the next query needs it

    def query(self) -> Any:
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

    def _start_afresh(self) -> None:
        self._orient()
        self._start()
        self._fed: list[Any] = []
        self._stale = False


def restart_period(card: Card | None) -> int:
    """The number of steps in a run: as many as the network was trained for, but at most `RUN`."""
    recipe = (card or {}).get("recipe")
    steps = recipe.get("steps") if isinstance(recipe, dict) else None
    return min(steps if type(steps) is int and steps >= 1 else HORIZON, RUN)

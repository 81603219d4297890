"""When the network starts afresh, and what it is fed before a query: of one function, or of B functions in step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..protocols import Card

HORIZON = 100  # the queries that a network is taken to be trained for when its card does not say
RUN = 33  # the queries after which shipped networks find little more: docs/lab-notes/minimize.md


class RestartSchedule:
    """What to feed before each query.

    Each query is one network step, fed the oldest result not yet seen, or zeros if there is none. When several results
    wait, the network first takes a step for each but the last. When the value scaling changes, everything is fed again.

    While queries are pending, the network is fed all results, and then the pending queries, each with a guess of its
    value: otherwise it would propose the same again. Guesses are not kept; for the next query everything is fed again.

    After a run of steps (`restart_period`) the network starts afresh, in another orientation. The next run knows
    nothing of the runs before, and results that wait are not fed. If they are of points that were known beforehand, and
    more than one, the next run is fed the best result and then the last of them, half a run of them at most.

    Parameters
    ----------
    run : number
        The number of steps in a run; infinity for a search without restarts.
    orient : callable
        Takes another orientation.
    start : callable
        Puts the network before its first step.
    step : callable
        n or None -> the next query, after a step that was fed result n, or nothing. n is whatever `tell` was given, or
        one of the pending queries.
    """

    def __init__(self, run: float, orient: Callable[[], None], start: Callable[[], None],
                 step: Callable[[Any], Any]) -> None:
        self._run, self._orient, self._start, self._step = run, orient, start, step
        self._waiting: deque[Any] = deque()
        self._known: list[Any] = []  # those of them that nobody asked for
        self._best: Any = None
        self._stale = False  # whether the network has to be fed again
        self.runs = 0        # how many were begun
        self._start_afresh()

    def tell(self, n: Any, best: Any, rescaled: bool, asked: bool = True) -> None:
        """Result n waits. ``best`` is the best result so far, or None; ``rescaled``: the scale has just changed.

        ``asked`` is False for a point that was known beforehand.
        """
        self._waiting.append(n)
        if not asked:
            self._known.append(n)
        self._best = best
        self._stale = self._stale or rescaled  # fed again when the next query needs it

    def query(self, pending: Sequence[Any] = ()) -> Any:
        """The next query, whatever ``step`` makes of it, while those of this run that are ``pending`` have no result.
        """
        if len(self._fed) + (len(self._waiting) + len(pending) or 1) > self._run:
            known = self._known if len(self._known) > 1 else []
            self._waiting = deque([self._best, *known[len(known) - int(self._run // 2):]] if known else ())
            self._start_afresh()
            pending = ()
        elif self._stale or pending:
            self._start()
            for n in self._fed:
                self._step(n)
        self._stale = True  # until it is done: a step may be interrupted
        query = None
        while self._waiting or query is None and not pending:
            n = self._waiting[0] if self._waiting else None
            query = self._step(n)
            self._fed.append(n)
            if self._waiting:
                self._waiting.popleft()
        if self._known:
            self._known = []
        for guess in pending:
            query = self._step(guess)
        self._stale = bool(pending)
        return query

    def _start_afresh(self) -> None:
        self._orient()
        self._start()
        self._fed: list[Any] = []
        self._stale = False
        self.runs += 1


def restart_period(card: Card | None) -> int:
    """The number of steps in a run: as many as the network was trained for, but at most `RUN`."""
    recipe = (card or {}).get("recipe")
    steps = recipe.get("steps") if isinstance(recipe, dict) else None
    return min(steps if type(steps) is int and steps >= 1 else HORIZON, RUN)

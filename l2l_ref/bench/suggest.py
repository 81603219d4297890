"""Speed of a suggestion, an ask and its tell, as a function of the number of past evaluations.

The workload is the same for all: a search of one function on the unit cube, whose values are told as soon as they are
asked for. Our optimizers are `BlackBoxOptimizer` with a given scale of values and without a finish. The baselines are
our expected improvement and those third-party optimizers that are installed, with their default settings. The searches
take turns, so that other processes on the machine affect all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import backends
from ..baselines.bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from ..baselines.peers import Peer, installed
from ..black_boxes.gp_functions import usual_length_scale
from ..extras import installed as package_installed
from ..search import BlackBoxOptimizer

if TYPE_CHECKING:
    from ..protocols import Array, AskTell, Backend
    from .timing import Report

# (dim, evaluations, seed) -> a search, how to get the point from an ask, and the value for a tell
Start: TypeAlias = "Callable[[int, int, int], tuple[Any, Callable[[Any], Array], Callable[[float], Any]]]"

MODELS = ("lstm-oi", "dnc-oi")
WINDOW = 8  # suggestions that are timed after each number of past evaluations
ROUNDS_OF_BASELINES = 2  # few, because they are slow


def value(x: Array) -> float:
    """The function that is searched: x (d,) -> float."""
    return float(((x - 0.3) ** 2).sum())


def _learned(model: str, backend: Backend) -> Start:
    """A function that starts a search. It also returns how to get the point from an ask, and the value for a tell."""

    def start(dim: int, evaluations: int, seed: int) -> tuple[Any, Callable[[Any], Array], Callable[[float], Any]]:
        search = BlackBoxOptimizer([(0, 1)] * dim, model, seed, scaling=(0.0, 1.0), backend=backend, finish=None)
        return search, lambda trial: trial.x, float

    return start


def _batched(make: Callable[[int, int, np.random.SeedSequence], AskTell[Array, Array]]) -> Start:
    """As `_learned`, for a baseline, which asks and tells for a batch; here it has one function."""

    def start(dim: int, evaluations: int, seed: int) -> tuple[Any, Callable[[Any], Array], Callable[[float], Any]]:
        search = make(dim, evaluations, np.random.SeedSequence(seed))
        return search, lambda x: x[0], lambda y: np.array([y])

    return start


BASELINES = {
    "ei": lambda dim, evaluations, seed: ExpectedImprovement(1, dim, seed, length_scale=usual_length_scale(dim)),
    "integrated-ei": lambda dim, evaluations, seed: IntegratedExpectedImprovement(1, dim, seed),
}


def suggest(
    dim: int = 6, past: Sequence[int] = (1, 10, 100), rounds: int = 20, seed: int = 0, baselines: bool = True,
    report: Report | None = None,
) -> dict[str, Any]:
    """Time suggestions. Returns the dict that ``bench suggest --json`` prints.

    Parameters
    ----------
    dim : int
    past : tuple of int
        The numbers of past evaluations after which suggestions are timed.
    rounds : int
        The number of searches of each learned optimizer. Baselines have at most `ROUNDS_OF_BASELINES`.
    seed : int
    baselines : bool
        Whether to time the baselines.
    report : callable, optional
        Called with a line of text about the progress.
    """
    working: tuple[Backend, ...] = ("numba", "numpy") if backends.available("numba") else ("numpy",)
    runs: dict[tuple[str, str | None], tuple[Start, int]] = {
        (model, backend): (_learned(model, backend), rounds) for model in MODELS for backend in working
    }
    if baselines:
        few = min(rounds, ROUNDS_OF_BASELINES)
        if package_installed("scipy"):
            runs |= {(name, None): (_batched(make), few) for name, make in BASELINES.items()}
        try:
            runs |= {(name, None): (_batched(partial(Peer, name, 1)), few)
                     for name in installed()}
        except ImportError:
            pass
    last = max(past) + WINDOW
    times: dict[tuple[str, str | None], dict[int, list[float]]] = {key: {n: [] for n in past} for key in runs}
    for k in range(rounds):
        for key, (start, count) in runs.items():
            if k >= count:
                continue
            search, to_point, to_value = start(dim, last, seed + k)
            for done in range(last):
                started = time.perf_counter()
                asked = search.ask()
                taken = time.perf_counter() - started
                y = to_value(value(to_point(asked)))  # the time of the function does not count
                started = time.perf_counter()
                search.tell(asked, y)
                taken += time.perf_counter() - started
                for n in past:
                    if n <= done < n + WINDOW and (k or count == 1):  # the first search includes compiling
                        times[key][n].append(taken)
        if report:
            report(f"round {k + 1}/{rounds}")
    rows = [
        {"work": f"suggest, {dim} dimensions", "model": model, "implementation": backend, "past": n,
         "median_s": statistics.median(seconds), "min_s": min(seconds),
         "us_per_suggestion": 1e6 * statistics.median(seconds)}
        for (model, backend), by_past in times.items() for n, seconds in by_past.items()
    ]
    return {"rows": rows}

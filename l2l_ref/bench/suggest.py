"""Speed of a suggestion: an ask and its tell, against the number of past evaluations.

The work, the same for all: one function on the unit cube, its values told as soon as they are asked for. Ours are
`BlackBoxOptimizer` with a given scale of values; the baselines our own EI and those of peers.py that are installed, at
their own settings. Searches are run side by side, so that what else the machine does hits all alike.
"""

import statistics
import time

import numpy as np

from .. import backends
from ..baselines.bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from ..baselines.peers import Peer, installed
from ..black_boxes.gp_functions import usual_length_scale
from ..extras import installed as package_installed
from ..search import BlackBoxOptimizer

OURS = ("lstm-oi", "dnc-oi")
WINDOW = 8  # suggestions that are timed, from each number of past evaluations on
ROUNDS_OF_BASELINES = 2  # they are slow


def value(x):
    return float(((x - 0.3) ** 2).sum())


def _ours(model, backend):
    """A search, and its point and value from and to numbers."""

    def start(dim, evaluations, seed):
        search = BlackBoxOptimizer([(0, 1)] * dim, model, seed, scaling=(0.0, 1.0), backend=backend)
        return search, lambda trial: trial.x, float

    return start


def _batched(make):
    """A baseline with ask and tell of a batch, here of one function."""

    def start(dim, evaluations, seed):
        search = make(dim, evaluations, np.random.SeedSequence(seed))
        return search, lambda x: x[0], lambda y: np.array([y])

    return start


BASELINES = {
    "ei": lambda dim, evaluations, seed: ExpectedImprovement(1, dim, seed, length_scale=usual_length_scale(dim)),
    "integrated-ei": lambda dim, evaluations, seed: IntegratedExpectedImprovement(1, dim, seed),
}


def suggest(dim=6, past=(1, 10, 100), rounds=20, seed=0, baselines=True, report=None):
    """Time suggestions. Returns the dict that ``bench suggest --json`` prints.

    Parameters
    ----------
    dim : int
    past : tuple of int
        After how many evaluations.
    rounds : int
        Searches of ours; the baselines get `ROUNDS_OF_BASELINES`.
    baselines : bool
        Whether they run at all.
    """
    works = ("numba", "numpy") if backends.available("numba") else ("numpy",)
    runs = {(model, backend): (_ours(model, backend), rounds) for model in OURS for backend in works}
    if baselines:
        few = min(rounds, ROUNDS_OF_BASELINES)
        if package_installed("scipy"):
            runs |= {(name, None): (_batched(make), few) for name, make in BASELINES.items()}
        try:
            runs |= {(name, None): (_batched(lambda d, T, s, name=name: Peer(name, 1, d, T, s)), few)
                     for name in installed()}
        except ImportError:
            pass
    last = max(past) + WINDOW
    times = {key: {count: [] for count in past} for key in runs}
    for k in range(rounds):
        for key, (start, count) in runs.items():
            if k >= count:
                continue
            search, point, told = start(dim, last, seed + k)
            for done in range(last):
                started = time.perf_counter()
                asked = search.ask()
                taken = time.perf_counter() - started
                y = told(value(point(asked)))  # the function is not what is timed
                started = time.perf_counter()
                search.tell(asked, y)
                taken += time.perf_counter() - started
                for n in past:
                    if n <= done < n + WINDOW and (k or count == 1):  # the first search compiles
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

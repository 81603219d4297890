"""The 24 noiseless functions of the BBOB suite: how far above the minimum each optimizer is after each evaluation.

Every optimizer searches the unit cube, which stands for the box [-5, 5]^d of the suite, and has the same functions. The
measure is log10 of the regret, the best value so far minus the minimum. It ends at `PRECISION`, the last target of the
suite: to find a minimum more exactly than that gains nothing.

Source: Hansen, Finck, Ros & Auger 2009, "Real-parameter black-box optimization benchmarking 2009: noiseless functions
definitions"; the program is that of the package ioh.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..baselines.peers import BBOB_PEERS
from ..baselines.random_search import RandomSearch
from ..checks import whole_number
from ..extras import require
from ..search import BlackBoxOptimizer, minimize
from ..search.optimizer import resolve_model
from ..seeds import child
from .black_box import InFlight, SearchResult, paired_difference, require_workers_or_batch
from .statistics import COMPARISON, LEARNED, align, half_width, interval, json_numbers, with_interval

if TYPE_CHECKING:
    from ..protocols import Array

FUNCTIONS = 24
DIMENSIONS = (2, 3, 4, 5, 6, 10)
INSTANCES = (1, 2, 3, 4, 5)
PRECISION = 1e-8
SHOWN = (20, 50, 100, 200, 500, 1000)  # numbers of evaluations that have a column
NETWORK = "network"  # the name of the learned opening when it goes on alone

Function = Callable[["Array"], float]
Search = Callable[[Function, int, int, int], object]  # function, d, evaluations, seed


class BBOBFunction:
    """One function of the suite, on the unit cube. Needs ioh.

    Parameters
    ----------
    number : int
        1 to 24.
    instance : int
        Which of its translations and rotations.
    dim : int

    Attributes
    ----------
    minimum : float
    """

    def __init__(self, number: int, instance: int, dim: int) -> None:
        require("ioh", "compare bbob")
        import ioh

        self._problem = ioh.get_problem(number, instance, dim, ioh.ProblemClass.BBOB)
        bounds = self._problem.bounds
        self._low, self._width = bounds.lb.copy(), bounds.ub - bounds.lb
        self.minimum = float(self._problem.optimum.y)

    def __call__(self, u: Array) -> float:
        return float(self._problem(self._low + np.clip(u, 0, 1) * self._width))


class BBOBProblem(NamedTuple):
    """The functions 1 to ``functions`` in ``dim`` dimensions, each in these instances."""

    dim: int
    functions: int = FUNCTIONS
    instances: tuple[int, ...] = INSTANCES

    @property
    def title(self) -> str:
        """As text."""
        return f"BBOB, {self.dim} dimensions"

    @property
    def config(self) -> dict[str, Any]:
        """In JSON's types."""
        return {"problem": "bbob", "dim": self.dim, "functions": list(range(1, self.functions + 1)),
                "instances": list(self.instances)}

    def sample(self) -> list[BBOBFunction]:
        """All of them: the instances of function 1, then those of function 2, and so on."""
        return [BBOBFunction(number, instance, self.dim)
                for number in range(1, self.functions + 1) for instance in self.instances]


class Enough(Exception):
    """All evaluations have been made."""


class Recorder:
    """A function that keeps its values, and raises `Enough` when it is called once more than it may be.

    Attributes
    ----------
    values : list of float
    seconds : float
        The time spent in the function.
    """

    def __init__(self, function: Function, evaluations: int) -> None:
        self._function, self._evaluations = function, evaluations
        self.values: list[float] = []
        self.seconds = 0.0

    def __call__(self, u: Array) -> float:
        if len(self.values) == self._evaluations:
            raise Enough
        started = time.perf_counter()
        value = self._function(u)
        self.seconds += time.perf_counter() - started
        self.values.append(value)
        return value


def log_regret(values: Sequence[float], minimum: float) -> Array:
    """log10 of the best value so far minus the minimum, (T,), not below that of `PRECISION`."""
    return np.log10(np.maximum(np.minimum.accumulate(np.asarray(values)) - minimum, PRECISION))


def learned(model: str, function: Function, dim: int, evaluations: int, seed: int,
            finish: Literal["auto"] | None = "auto", workers: int = 1, batch: int = 1) -> None:
    """A learned opening, Sobol points where no network has so many dimensions, and then the finish.

    By `minimize`, or with several evaluations at once by `InFlight`.
    """
    if workers == batch == 1:
        result = minimize(function, [(0, 1)] * dim, evaluations, model, seed, finish=finish, on_error="raise")
        if result.status == 130:  # interrupted, which ends the comparison, too
            raise KeyboardInterrupt
        return
    search = InFlight([BlackBoxOptimizer([(0, 1)] * dim, model, seed, finish=finish)], [np.random.default_rng(seed)],
                      workers, batch)
    for _ in range(evaluations):
        x = search.ask()
        search.tell(x, np.array([function(x[0])]))


def random_search(function: Function, dim: int, evaluations: int, seed: int) -> None:
    """Uniform points."""
    search = RandomSearch(1, dim, seed)
    for _ in range(evaluations):
        function(search.ask()[0])


def measure(search: Search, problem: BBOBProblem, evaluations: int, seed: int) -> SearchResult:
    """The SearchResult of one optimizer, in which the values are log10 regrets. The points are left out."""
    best, seconds = [], 0.0
    for k, function in enumerate(problem.sample()):
        recorder = Recorder(function, evaluations)
        started = time.perf_counter()
        try:
            search(recorder, problem.dim, evaluations, int(child(seed, COMPARISON, k).generate_state(1)[0] >> 1))
        except Enough:
            pass
        seconds += time.perf_counter() - started - recorder.seconds
        best.append(log_regret(recorder.values, function.minimum))
    return SearchResult(np.array(best), np.empty((len(best), 0)), seconds / evaluations / len(best))


def compare_bbob(
    problem: BBOBProblem, models: dict[str, str], evaluations: int = 100, seed: int = 0, *, peers: Iterable[str] = (),
    workers: int = 1, batch: int = 1, report: Callable[[str], object] | None = None,
) -> dict[str, SearchResult]:
    """Compare learned optimizers with third-party ones on the BBOB functions of one dimension.

    Parameters
    ----------
    problem : BBOBProblem
    models : dict of str: str
        The models of the learned openings, by the names of the optimizers in the result.
    evaluations : int
        Of each function, by each optimizer.
    seed : int
        Decides what is random in the optimizers. The functions are the same for every seed.
    peers : sequence of str
        Keys of ``baselines.peers.BBOB_PEERS``. They have one evaluation at a time.
    workers, batch : int
        As for `compare_black_box`.
    report : callable, optional
        Called with a line of text about the progress.

    Returns
    -------
    dict of str: SearchResult
        The learned optimizers first, then the network of the first of them alone, if there is one for so many
        dimensions, "random" and the peers. Each has searched the same functions.

    Raises
    ------
    ValueError
        For numbers out of range.
    ImportError
        When ioh is missing.
    """
    require("ioh", "compare bbob")
    whole_number("evaluations", evaluations)
    require_workers_or_batch(workers, batch)
    at_once = {"workers": workers, "batch": batch}
    searches: dict[str, Search] = {name: partial(learned, model, **at_once) for name, model in models.items()}
    if resolve_model(models[LEARNED], problem.dim)[1] is not None:
        searches[NETWORK] = partial(learned, models[LEARNED], finish=None, **at_once)
    searches["random"] = random_search
    for name in peers:
        _, adapter = BBOB_PEERS[name]
        searches[name] = adapter
    results = {}
    for name, search in searches.items():
        results[name] = result = measure(search, problem, evaluations, seed)
        if report:
            report(f"{problem.title}: {name}, {len(result.best)} functions, log10 regret {result.mean[-1]:.2f}, "
                   f"{result.seconds_per_suggestion * 1e3:.3g} ms per suggestion")
    return results


def shown_evaluations(evaluations: int) -> list[int]:
    """The numbers of evaluations for which a table has a column."""
    return sorted({*(t for t in SHOWN if t < evaluations), evaluations})


def table(results: dict[str, SearchResult]) -> list[str]:
    """The comparison as lines of text: mean log10 regrets, and the differences in pairs."""
    shown = shown_evaluations(results[LEARNED].best.shape[1])
    rows = [["optimizer", *(cell for t in shown for cell in (f"lg({t})", "+-95%")), "ms/suggestion"]]
    for name, result in sorted(results.items(), key=lambda item: item[1].mean[-1]):
        half = result.half_width
        rows.append([name, *(cell for t in shown for cell in (f"{result.mean[t - 1]:.2f}", half_width(half[t - 1]))),
                     f"{1e3 * result.seconds_per_suggestion:.3g}"])
    lines = [*align(rows), ""]
    for other in results:
        if other != LEARNED:
            mean, half, _ = paired_difference(results, other)
            lines.append(f"learned - {other}, 95 %: "
                         + ", ".join(f"{with_interval(mean[t - 1], half[t - 1], 2)} at {t}" for t in shown))
    return lines


def to_json(results: dict[str, SearchResult], problem: BBOBProblem) -> dict[str, Any]:
    """The comparison as a dict of JSON's types. The values are log10 regrets."""
    optimizers, pairs = {}, {}
    for name, result in results.items():
        mean, half = result.mean, result.half_width
        optimizers[name] = {
            "final_loss_mean": float(mean[-1]),
            "final_loss_ci95": json_numbers([mean[-1] - half[-1], mean[-1] + half[-1]]),
            "final_losses": json_numbers(result.best[:, -1]),
            "curve_mean": json_numbers(mean),
            "curve_ci95": json_numbers(half),
            "seconds_per_suggestion": result.seconds_per_suggestion,
            "functions": len(result.best),
        }
        if name != LEARNED:
            mean, half = interval((results[LEARNED].best - result.best).T)
            pairs[name] = {"optimizer": name, "mean": float(mean[-1]), "functions": len(result.best),
                           "ci95": json_numbers([mean[-1] - half[-1], mean[-1] + half[-1]]),
                           "curve_mean": json_numbers(mean), "curve_ci95": json_numbers(half)}
    functions, evaluations = results[LEARNED].best.shape
    return {"problem": problem.config, "measure": "log10 regret", "precision": PRECISION, "steps": evaluations,
            "evaluations": evaluations, "functions": functions, "optimizers": optimizers, "learned_minus": pairs}

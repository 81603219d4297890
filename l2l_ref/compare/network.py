"""Six hyperparameters of a network, tuned by one worker and by several whose speed is random.

A worker asks for hyperparameters, trains, tells the loss, and asks again at once: nobody waits for another worker. The
losses are those of real trainings, but the time is simulated, so that it does not depend on the machine. Each training
takes a random time, uniform in [1 - SPREAD, 1 + SPREAD], whatever its hyperparameters; the unit is the mean time of a
training. The time of the optimizer itself is measured, and not added.

Run k of every method has the same starting points and minibatches, and its t-th training takes the same time. So the
time of T evaluations depends on the number of workers, and not on the method.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..baselines.bayesian import IntegratedExpectedImprovement
from ..baselines.peers import optuna_study
from ..baselines.random_search import RandomSearch
from ..black_boxes.network import IMAGES, NetworkTraining
from ..checks import whole_number
from ..extras import require
from ..search.box import Box
from ..search.optimizer import BlackBoxOptimizer, resolve_model
from ..seeds import child
from .bbob import NETWORK
from .black_box import comparison_seed, shown_evaluations
from .statistics import LEARNED, align, half_width, interval, json_numbers

if TYPE_CHECKING:
    from ..protocols import Array, AskTell, Path

EVALUATIONS, RUNS, WORKERS = 50, 3, 5
SPREAD = 0.5
EI, TPE = "integrated-ei", "optuna-tpe"
TRAINING, SEARCH, DURATIONS = 0, 3, 4  # streams of random numbers of a run; `Search` has the stream 2


class Query(NamedTuple):
    """What a search asks for."""

    x: dict[str, Any]  # the hyperparameters
    asked: Any         # what the search knows it by


class SpaceSearch(Protocol):
    """A search of a space of named parameters: a `BlackBoxOptimizer`, or a baseline that has become one."""

    def ask(self) -> Any:
        """A `Query` or a `Trial`."""

    def tell(self, asked: Any, value: float, /) -> None:
        """The value of what was asked."""


class CubeSearch:
    """A search of the unit cube as one of a space. Whole numbers are rounded, and told as the points they stand for."""

    def __init__(self, search: AskTell[Array, Array], space: Mapping[str, Any]) -> None:
        self._search, self._box = search, Box(space)

    def ask(self) -> Query:
        x = self._box.point(self._search.ask()[0])
        return Query(self._box.to_user(x), self._box.unit(x))

    def tell(self, query: Query, value: float) -> None:
        self._search.tell(query.asked[None], np.array([value]))


class OptunaTPE:
    """Optuna's TPE with its default settings, on its own kinds of parameters. Needs Optuna."""

    def __init__(self, space: Mapping[str, Mapping[str, Any]], seed: int) -> None:
        self._space, self._study = space, optuna_study("TPESampler", seed=seed)

    def ask(self) -> Query:
        trial = self._study.ask()
        for name, given in self._space.items():
            settings = dict(given)
            getattr(trial, f"suggest_{settings.pop('type')}")(name, **settings)
        return Query(trial.params, trial)

    def tell(self, query: Query, value: float) -> None:
        self._study.tell(query.asked, value)


class Run(NamedTuple):
    """T evaluations of a search, in the order in which they ended."""

    values: list[float]
    times: list[float]  # when each of them ended
    x: dict[str, Any]   # the hyperparameters with the best value
    seconds: float      # that the search took, without the trainings


def simulate(
    search: SpaceSearch, function: Callable[[dict[str, Any]], float], evaluations: int, workers: int,
    rng: np.random.Generator,
) -> Run:
    """Evaluate T times with several workers, each of which has a random speed at each evaluation.

    Parameters
    ----------
    search : SpaceSearch
    function : callable
        A dict of hyperparameters -> the value.
    evaluations, workers : int
    rng : numpy.random.Generator
        Draws how long each evaluation takes.
    """
    running: list[tuple[float, int, Any, float]] = []  # a heap: when it ends, its number, what was asked, its value
    values, times, points = list[float](), list[float](), list[dict[str, Any]]()
    now, asked, seconds = 0.0, 0, 0.0
    while len(values) < evaluations:
        started = time.perf_counter()
        while len(running) < workers and asked < evaluations:
            query = search.ask()
            seconds += time.perf_counter() - started
            ends = now + rng.uniform(1 - SPREAD, 1 + SPREAD)
            heapq.heappush(running, (ends, asked, query, function(query.x)))
            started = time.perf_counter()
            asked += 1
        now, _, query, value = heapq.heappop(running)
        search.tell(query, value)
        seconds += time.perf_counter() - started
        values.append(value)
        times.append(now)
        points.append(query.x)
    return Run(values, times, points[int(np.argmin(values))], seconds)


class TuningResult(NamedTuple):
    """The results of one method with one number of workers, in R runs of T evaluations."""

    best: np.ndarray        # (R, T), the best value after each evaluation
    times: np.ndarray       # (R, T), when each evaluation ended
    x: list[dict[str, Any]]  # R of them, the hyperparameters with the best value
    seconds_per_suggestion: float  # of the optimizer alone

    def best_at(self, t: Array) -> Array:
        """The best value of each run at the times t (G,), (R, G); infinity before its first evaluation has ended."""
        rows = [np.append(np.inf, best)[np.searchsorted(times, t, side="right")]
                for best, times in zip(self.best, self.times)]
        return np.array(rows)


class NetworkProblem(NamedTuple):
    """The trainings of a network, one for each run."""

    dataset: str = "digits"
    data_dir: Path | None = None
    images: int = IMAGES

    @property
    def title(self) -> str:
        """As text."""
        return f"Six hyperparameters of a network on {'MNIST' if self.dataset == 'mnist' else 'the digits'}"

    @property
    def config(self) -> dict[str, Any]:
        """In JSON's types."""
        return {"problem": "network", "dataset": self.dataset, "images": self.images,
                "space": {name: dict(given) for name, given in NetworkTraining.space.items()}}

    def sample(self, run: int, seed: int) -> NetworkTraining:
        """The training of this run of a comparison."""
        return NetworkTraining(child(comparison_seed(seed), run, TRAINING), self.dataset, self.data_dir, self.images)


def compare_network(
    problem: NetworkProblem, models: dict[str, str], evaluations: int = EVALUATIONS, runs: int = RUNS, seed: int = 0, *,
    workers: int = WORKERS, tpe: bool = False, report: Callable[[str], object] | None = None,
) -> dict[str, dict[int, TuningResult]]:
    """Tune the hyperparameters of a network with learned optimizers and with baselines.

    Parameters
    ----------
    problem : NetworkProblem
    models : dict of str: str
        The models of the learned openings, by the names of the optimizers in the result.
    evaluations, runs : int
    seed : int
    workers : int
        Every method but expected improvement, which has no guess of the values of pending points, also runs with this
        many workers. 1: only with one.
    tpe : bool
        Whether Optuna's TPE takes part.
    report : callable, optional
        Called with a line of text about the progress.

    Returns
    -------
    dict of str: dict of int: TuningResult
        For each method its results by the number of workers: the learned optimizers first, then the network of the
        first of them alone, if there is one for six dimensions, "random", "integrated-ei" and "optuna-tpe".

    Raises
    ------
    ValueError
        For numbers out of range, and for models that are no black-box optimizers of six dimensions.
    ImportError
        When SciPy is missing, or Optuna for TPE.
    FileNotFoundError
        When the files of MNIST are missing.
    """
    require("scipy", "compare network")
    if tpe:
        require("optuna", "TPE")
    for name, value in (("evaluations", evaluations), ("runs", runs), ("workers", workers)):
        whole_number(name, value)
    trainings = [problem.sample(run, seed) for run in range(runs)]
    results = dict[str, dict[int, TuningResult]]()
    for name, make in _searches(models, comparison_seed(seed), tpe).items():
        results[name] = {}
        for count in sorted({1, 1 if name == EI else workers}):
            done = [simulate(make(run), training, evaluations, count,
                             np.random.default_rng(child(comparison_seed(seed), run, DURATIONS)))
                    for run, training in enumerate(trainings)]
            results[name][count] = result = TuningResult(
                np.array([np.minimum.accumulate(run.values) for run in done]), np.array([run.times for run in done]),
                [run.x for run in done], sum(run.seconds for run in done) / runs / evaluations)
            if report:
                report(f"{name}, {in_words(count)}: best value {result.best[:, -1].mean():.4g} at time "
                       f"{result.times[:, -1].mean():.3g}")
    return results


def _searches(models: dict[str, str], seed: np.random.SeedSequence, tpe: bool) -> dict[str, Callable[[int], Any]]:
    """What makes the search of each method, given the number of a run."""
    space = NetworkTraining.space
    resolved = {name: resolve_model(model, len(space))[1] for name, model in models.items()}

    def seed_of(run: int) -> int:
        return int(child(seed, run, SEARCH).generate_state(1)[0] >> 1)

    def learned(model: str, run: int, **settings: Any) -> BlackBoxOptimizer:
        return BlackBoxOptimizer(space, model, seed_of(run), **settings)

    searches: dict[str, Callable[[int], Any]] = {name: partial(learned, model) for name, model in models.items()}
    if resolved[LEARNED] is not None:
        searches[NETWORK] = partial(learned, models[LEARNED], finish=None)
    searches["random"] = lambda run: CubeSearch(RandomSearch(1, len(space), seed, run), space)
    searches[EI] = lambda run: CubeSearch(IntegratedExpectedImprovement(1, len(space), seed, run), space)
    if tpe:
        searches[TPE] = lambda run: OptunaTPE(space, seed_of(run))
    return searches


def in_words(workers: int) -> str:
    """A number of workers."""
    return f"{workers} worker{'s' * (workers > 1)}"


def speed_up(results: dict[str, dict[int, TuningResult]]) -> Array | None:
    """How many times as fast several workers end as one does, (R,): it is the same for all methods; or None."""
    one, *several = (results[LEARNED][count].times[:, -1] for count in sorted(results[LEARNED]))
    return one / several[0] if several else None


def table(results: dict[str, dict[int, TuningResult]]) -> list[str]:
    """The comparison as lines of text. The last columns are for the time after which several workers have ended."""
    alone, together = (results[LEARNED][count] for count in (min(results[LEARNED]), max(results[LEARNED])))
    shown = shown_evaluations(alone.best.shape[1])
    until = together.times[:, -1].max()
    rows = [["optimizer", "workers", *(f"best({t})" for t in shown), "+-95%", "time", f"at {until:.3g}",
             "ms/suggestion"]]
    flat = [(name, count, result) for name, by_workers in results.items() for count, result in by_workers.items()]
    for name, count, result in sorted(flat, key=lambda entry: (entry[1], entry[2].best[:, -1].mean())):
        mean, half = interval(result.best.T)
        rows.append([name, str(count), *(f"{mean[t - 1]:.4g}" for t in shown), half_width(half[-1]),
                     f"{result.times[:, -1].mean():.3g}", f"{result.best_at(np.array([until])).mean():.4g}",
                     f"{1e3 * result.seconds_per_suggestion:.3g}"])
    lines = align(rows)
    factor = speed_up(results)
    if factor is not None:
        count = max(results[LEARNED])
        lines += ["", f"{count} workers end {factor.mean():.2f} times as fast as one, {factor.min():.2f} at least"]
    return lines


def to_json(results: dict[str, dict[int, TuningResult]], problem: NetworkProblem) -> dict[str, Any]:
    """The comparison as a dict of JSON's types. "optimizers" have one worker, those of "parallel" have several."""
    runs, evaluations = results[LEARNED][1].best.shape
    workers = max(results[LEARNED])
    factor = speed_up(results)
    return {
        "problem": problem.config, "steps": evaluations, "evaluations": evaluations, "functions": runs,
        "workers": workers, "spread": SPREAD,
        "optimizers": {name: _entry(by_workers[1]) for name, by_workers in results.items()},
        "parallel": {name: _entry(by_workers[workers]) for name, by_workers in results.items()
                     if workers > 1 and workers in by_workers},
        "speed_up": None if factor is None else {"mean": float(factor.mean()), "runs": json_numbers(factor)},
    }


def _entry(result: TuningResult) -> dict[str, Any]:
    mean, half = interval(result.best.T)
    return {
        "final_loss_mean": float(mean[-1]),
        "final_loss_ci95": json_numbers([mean[-1] - half[-1], mean[-1] + half[-1]]),
        "final_losses": json_numbers(result.best[:, -1]),
        "curve_mean": json_numbers(mean),
        "curve_ci95": json_numbers(half),
        "times_mean": json_numbers(result.times.mean(axis=0)),
        "hyperparameters": result.x,
        "seconds_per_suggestion": result.seconds_per_suggestion,
        "functions": len(result.best),
    }

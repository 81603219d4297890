"""Comparisons of black-box optimizers by the best value found so far, after each evaluation.

Every optimizer searches the unit cube by ask and tell, for a batch of B functions at once. For a given seed, function k
is the same for every optimizer, except for draws of a Gaussian process in more than six dimensions (see `GPProblem`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ..baselines.bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from ..baselines.peers import Peer
from ..baselines.random_search import RandomSearch, Sobol
from ..black_boxes import GPFunctions, GPPaths, Transform, draw_transform
from ..black_boxes.gp_functions import normal_numbers, usual_length_scale
from ..checks import choice, whole_number
from ..extras import require
from ..search.batch import BatchSearch
from ..search.optimizer import BlackBoxOptimizer, Trial
from ..search.scale import given_scale
from ..seeds import child
from .statistics import COMPARISON, LEARNED, align, half_width, interval, json_numbers, with_interval

if TYPE_CHECKING:
    from ..black_boxes import BlackBox
    from ..learned.proposer import Proposer
    from ..protocols import Array, AskTell, Rng, Seed

PIECE = 250  # functions that are searched at once
MOST_DIMENSIONS = 6  # for sample paths; there a piece takes a quarter of a gigabyte
EXPECTED_IMPROVEMENT = ("ei", "integrated-ei")

Make: TypeAlias = "Callable[[int, int], AskTell[Array, Array]]"  # (functions, first) -> the search of these functions


class SearchResult(NamedTuple):
    """The results of one optimizer on F functions."""

    best: np.ndarray               # (F, T), the best value after each evaluation
    x: np.ndarray                  # (F, d), the point with the best value, in the unit cube
    seconds_per_suggestion: float  # of the optimizer alone, per function

    @property
    def mean(self) -> Array:
        """The mean best value after each evaluation, (T,)."""
        return self.best.mean(axis=0)

    @property
    def half_width(self) -> Array:
        """Half the width of the 95 % interval of the mean, (T,)."""
        return interval(self.best.T)[1]


def pieces_of(functions: int) -> list[tuple[int, int]]:
    """The pieces in which this many functions are searched: (number of functions, number of the first one) of each."""
    return [(min(PIECE, functions - first), first) for first in range(0, functions, PIECE)]


class NoisyPaths:
    """Sample paths whose values come with noise. Evaluation t of a function has the same noise for every optimizer.

    Parameters
    ----------
    paths : GPPaths
        B functions.
    epsilon : ndarray (B, T)
        The noise of each evaluation.

    Attributes
    ----------
    paths
    values : ndarray (B, t)
        The values so far, without noise.
    """

    def __init__(self, paths: GPPaths, epsilon: Array) -> None:
        self.paths, self._epsilon = paths, epsilon
        self.values = np.empty((len(epsilon), 0))

    def __call__(self, x: Array) -> Array:
        """Evaluate each function at its own point: x (B, d) -> y (B,), with noise."""
        f = self.paths(x)
        y: Array = f + self._epsilon[:, self.values.shape[1]]
        self.values = np.concatenate([self.values, f[:, None]], axis=1)
        return y


class GPProblem:
    """Draws of the Gaussian process that the shipped weights were trained on.

    In up to six dimensions they are sample paths, which are the same functions for every optimizer. In more dimensions
    a value is decided when it is asked for. The optimizers then share the distribution and the random numbers, but not
    the functions.

    Parameters
    ----------
    dim : int
    noise : float
        Standard deviation of the noise in the values that the optimizers are told. They are judged by the values
        without noise.

    Raises
    ------
    ValueError
        For noise that is negative or not finite.
    """

    name, baselines = "gp", ("ei", "integrated-ei")

    def __init__(self, dim: int, noise: float = 0.0) -> None:
        if not 0 <= noise < np.inf:
            raise ValueError(f"noise: expected a finite number >= 0, got {noise!r}")
        self.dim, self.noise = dim, noise
        self._length_scale = usual_length_scale(dim)
        self.config = {"problem": "gp", "dim": dim, "length_scale": self._length_scale, "variance": 1.0, "noise": noise,
                       "covariance": "squared_exponential"}
        self.title = f"Gaussian process, {dim} dimension{'s' * (dim > 1)}" + (f", noise {noise:g}" if noise else "")

    def sample(self, functions: int, evaluations: int, seed: Seed, first: int = 0) -> Callable[[Array], Array]:
        """The functions with the numbers ``first`` and up: a callable, x (B, d) in the unit cube -> y (B,)."""
        if self.dim > MOST_DIMENSIONS:
            return GPFunctions(functions, self.dim, evaluations, seed, self._length_scale, noise=self.noise,
                               first=first, backend="auto")
        paths = self.paths(functions, seed, first)
        if not self.noise:
            return paths
        numbers = normal_numbers(seed, range(first, first + functions), evaluations, 1)  # the stream of GPFunctions
        return NoisyPaths(paths, self.noise * numbers)

    def paths(self, functions: int, seed: Seed, first: int = 0) -> GPPaths:
        """The functions themselves, in up to six dimensions: as `sample`, without noise."""
        return GPPaths(functions, self.dim, seed, self._length_scale, first)

    def minima(self, functions: int, seed: int) -> Array | None:
        """The minimum of each function of a comparison, (F,), or None if they are not sample paths."""
        if self.dim > MOST_DIMENSIONS:
            return None
        return np.concatenate([
            self.paths(count, comparison_seed(seed), first).minima()
            for count, first in pieces_of(functions)
        ])

    scaling: Any = (0, 1)

    def learned(self, proposer: Proposer, functions: int, evaluations: int, seed: int, first: int = 0,
                restarts: bool = True) -> BatchSearch:
        """The search of a learned optimizer. The values have mean 0 and variance 1, and are fed to it unscaled."""
        return BatchSearch(proposer, functions, evaluations, seed, given_scale((0, 1)), first, restarts=restarts)

    def baseline_search(self, name: str, functions: int, seed: Seed, first: int) -> AskTell[Array, Array]:
        """The search of a baseline: "ei" knows the true hyperparameters, "integrated-ei" does not."""
        if name == "integrated-ei":
            return IntegratedExpectedImprovement(functions, self.dim, seed, first)
        return ExpectedImprovement(functions, self.dim, seed, first, length_scale=self._length_scale, noise=self.noise)


class InFlight:
    """The searches of B functions, with several evaluations of each at once.

    Parameters
    ----------
    searches : list of BlackBoxOptimizer
    rngs : list of numpy.random.Generator
        One for each search: it draws which evaluation ends next.
    workers : int
        How many evaluations of each function are under way. They end in random order, one at a time.
    batch : int
        How many points of each function are asked for at once, and told together. One of ``workers`` and ``batch`` is
        1.
    """

    def __init__(self, searches: list[BlackBoxOptimizer], rngs: list[np.random.Generator], workers: int,
                 batch: int) -> None:
        self._searches, self._rngs = searches, rngs
        self._workers, self._batch = workers, batch
        self._asked: list[list[Trial]] = [[] for _ in searches]
        self._evaluated: list[list[tuple[Trial, float]]] = [[] for _ in searches]  # not told yet

    def ask(self) -> Array:
        """The next query of each function, (B, d)."""
        for search, rng, asked, evaluated in zip(self._searches, self._rngs, self._asked, self._evaluated):
            if len(evaluated) == max(self._workers, self._batch):
                while evaluated:
                    search.tell(*evaluated.pop(rng.integers(len(evaluated)) if self._workers > 1 else 0))
                    if self._workers > 1:
                        break
            if not asked:
                asked.extend(search.ask(self._batch))
        return np.array([asked[0].x for asked in self._asked])

    def tell(self, x: Array, y: Array) -> None:
        """The values y (B,) of what was asked."""
        for asked, evaluated, value in zip(self._asked, self._evaluated, y):
            evaluated.append((asked.pop(0), float(value)))


def require_workers_or_batch(workers: int, batch: int) -> None:
    """Raise ValueError unless these are whole numbers of 1 or more, and one of them is 1."""
    whole_number("workers", workers)
    whole_number("batch", batch)
    if workers > 1 and batch > 1:
        raise ValueError(f"workers, batch: expected one of them to be 1, got {workers} and {batch}")


def draw_symmetry(d: int, seed: Rng) -> Transform:
    """Draw a Transform that only permutes and flips dimensions, for functions defined on the unit cube alone."""
    drawn = draw_transform(d, seed)
    return Transform(drawn.permutation, drawn.flip, 1.0, np.zeros(d))


class Instances:
    """Random instances of one BlackBox.

    Parameters
    ----------
    box : BlackBox
    draw : callable
        (d, seed) -> the Transform of an instance: `draw_transform` or `draw_symmetry`.
    """

    baselines, scaling = ("integrated-ei",), "running"

    def __init__(self, box: BlackBox, draw: Callable[[int, Rng], Transform] = draw_transform) -> None:
        self.box, self._draw = box, draw
        self.name, self.dim = box.name, box.dim
        exact = draw is draw_symmetry
        self.config = {"problem": box.name, "dim": box.dim,
                       "instances": "permuted, flipped" if exact else "translated, scaled, permuted, flipped"}
        self.title = f"{box.name}, {box.dim} dimensions"

    def transforms(self, functions: int, seed: Seed, first: int = 0) -> list[Transform]:
        """The Transforms of the instances with the numbers ``first`` and up."""
        return [self._draw(self.dim, child(seed, k, 0)) for k in range(first, first + functions)]

    def sample(self, functions: int, evaluations: int, seed: Seed, first: int = 0) -> Callable[[Array], Array]:
        """As `GPProblem.sample`."""
        transforms = self.transforms(functions, seed, first)
        return lambda x: self.box(self.placed(x, transforms))

    def minima(self, functions: int, seed: int) -> Array | None:
        """As `GPProblem.minima`: the minimum of the box, with the digits of the literature, or None if it is not known.

        A translation can push the minimizer out of the box; the minimum of that instance is then slightly higher. This
        is the case for 3 of 100 instances of Hartmann-3, by at most 0.0003.
        """
        return None if self.box.minimum is None else np.full(functions, self.box.minimum)

    def placed(self, x: Array, transforms: Sequence[Transform]) -> Array:
        """Points x (B, d) of the unit cube, one for each instance, in the units of the box."""
        return self.box.from_unit(np.array([transform(u) for transform, u in zip(transforms, x)]))

    def learned(self, proposer: Proposer, functions: int, evaluations: int, seed: int, first: int = 0,
                restarts: bool = True) -> BatchSearch:
        """The search of a learned optimizer, which scales the values as it goes: they may be on any scale."""
        return BatchSearch(proposer, functions, evaluations, seed, first=first, restarts=restarts)

    def baseline_search(self, name: str, functions: int, seed: Seed, first: int) -> IntegratedExpectedImprovement:
        """The search of the one baseline, "integrated-ei", which integrates over its hyperparameters."""
        return IntegratedExpectedImprovement(functions, self.dim, seed, first)


def run_search(
    search: AskTell[Array, Array], function: Callable[[Array], Array], evaluations: int,
) -> tuple[Array, Array, float]:
    """Ask, evaluate and tell, T times.

    Parameters
    ----------
    search : AskTell
        A search of B functions at once.
    function : callable
        x (B, d) -> y (B,), each function at its own point. If it has ``values`` (B, t), the values without noise, the
        search is judged by these.
    evaluations : int
        T.

    Returns
    -------
    best : ndarray (B, T)
        The best value of each function after each evaluation.
    x : ndarray (B, d)
        The point with the best value of each function.
    seconds : float
        The time spent in the optimizer.
    """
    whole_number("evaluations", evaluations)
    points, values, seconds = [], [], 0.0
    for _ in range(evaluations):
        started = time.perf_counter()
        x = search.ask()
        seconds += time.perf_counter() - started
        y = function(x)
        started = time.perf_counter()
        search.tell(x, y)
        seconds += time.perf_counter() - started
        points.append(np.array(x))
        values.append(np.array(y, np.float64))
    judged = np.asarray(getattr(function, "values", np.array(values).T), np.float64)
    where = judged.argmin(axis=1)
    return np.minimum.accumulate(judged, axis=1), np.array(points)[where, np.arange(len(where))], seconds


def measure(
    make: Make, problem: GPProblem | Instances, evaluations: int, functions: int, seed: Seed,
) -> SearchResult:
    """The SearchResult on the functions with the numbers 0 to ``functions - 1``.

    ``make(functions, first)`` makes the optimizer for each piece of them.
    """
    best, x, seconds = zip(*(
        run_search(make(count, first), problem.sample(count, evaluations, seed, first), evaluations)
        for count, first in pieces_of(functions)
    ))
    return SearchResult(np.concatenate(best), np.concatenate(x), sum(seconds) / evaluations / functions)


def comparison_seed(seed: int) -> np.random.SeedSequence:
    """The SeedSequence of the functions of a comparison. No model is trained on them."""
    return child(seed, COMPARISON)


def searches(
    problem: GPProblem | Instances, models: dict[str, Proposer], evaluations: int = 100, seed: int = 0, *,
    baselines: Iterable[str] | None = None, peers: Iterable[str] = (), workers: int | Sequence[int] = 1,
    batch: int = 1, restarts: bool = True,
) -> dict[str, Make]:
    """The searches of a comparison, by their names. Parameters and errors are those of `compare_black_box`."""
    whole_number("evaluations", evaluations)
    several = [workers] if isinstance(workers, int) else list(dict.fromkeys(workers))
    for count in several:
        require_workers_or_batch(count, batch)
    models = {name: model.of(problem.dim) for name, model in models.items()}
    for name, model in models.items():
        if model.dim != problem.dim:
            raise ValueError(f"models: expected {problem.dim} dimensions, which {problem.name} has, "
                             f"got {name!r} of {model.dim}")
    d, drawn_with = problem.dim, comparison_seed(seed)
    made: dict[str, Make] = {}
    for name, model in models.items():
        for k, count in enumerate(several):
            made[with_workers(name, count) if k else name] = partial(
                _learned, problem, model, evaluations, seed, count, batch, restarts)
    made["random"] = lambda functions, first: RandomSearch(functions, d, drawn_with, first)
    made["sobol"] = lambda functions, first: Sobol(functions, d, drawn_with, first)
    for name in problem.baselines[:1] if baselines is None else baselines:
        made[choice("baselines", name, problem.baselines)] = partial(_baseline, problem, name, drawn_with)
    for name in peers:
        made[name] = partial(_peer, name, d, evaluations, drawn_with)
    return made


def compare_black_box(
    problem: GPProblem | Instances, models: dict[str, Proposer], evaluations: int = 100, functions: int = 100,
    baseline_functions: int = 0, seed: int = 0, *, baselines: Iterable[str] | None = None, peers: Iterable[str] = (),
    workers: int | Sequence[int] = 1, batch: int = 1, restarts: bool = True,
    report: Callable[[str], object] | None = None,
) -> dict[str, SearchResult]:
    """Compare learned black-box optimizers with baselines and third-party optimizers.

    Parameters
    ----------
    problem : GPProblem or Instances
    models : dict of str: Proposer
        The learned optimizers, by their names in the result.
    evaluations, functions : int
    baseline_functions : int
        The baselines, expected improvement, are slow. They search only the first functions, this many of them; 0 leaves
        them out.
    seed : int
    baselines : sequence of str, optional
        Some of ``problem.baselines``; by default the first of them.
    peers : sequence of str
        Keys of ``baselines.peers.PEERS``. They search the same functions as the baselines.
    workers, batch : int
        How many evaluations of a function the learned optimizers have under way, or ask for at once (`InFlight`). The
        others search one at a time. Of several numbers of ``workers``, the result has each network once with each. For
        all but the first of them, the name of the network in the result says how many (`with_workers`).
    restarts : bool
        Whether the networks start afresh from time to time; else each makes one run of all evaluations.
    report : callable, optional
        Called with a line of text about the progress.

    Returns
    -------
    dict of str: SearchResult
        The learned optimizers first, then "random", "sobol", the baselines and the peers.

    Raises
    ------
    ValueError
        For numbers out of range, for models of another dimension, and for a baseline that the problem does not have.
    ImportError
        When SciPy is missing.
    """
    require("scipy", "a comparison of black-box optimizers")  # its parts that need it come last
    for name, value, least in (("evaluations", evaluations, 1), ("functions", functions, 1),
                               ("baseline_functions", baseline_functions, 0)):
        whole_number(name, value, least)
    made = searches(problem, models, evaluations, seed, baselines=baselines, peers=peers, workers=workers, batch=batch,
                    restarts=restarts)
    slow = list(made)[list(made).index("sobol") + 1 :]
    results = {}
    for name, make in made.items():
        count = min(baseline_functions, functions) if name in slow else functions
        if not count:
            continue
        results[name] = result = measure(make, problem, evaluations, count, comparison_seed(seed))
        if report:
            report(f"{problem.name}: {name}, {count} functions, best value {result.mean[-1]:.4g}, "
                   f"{result.seconds_per_suggestion * 1e6:.3g} us per suggestion")
    return results


def with_workers(name: str, workers: int) -> str:
    """The name in a comparison of a learned optimizer with so many evaluations under way."""
    return f"{name}, {workers} worker{'s' * (workers > 1)}"


def _learned(
    problem: GPProblem | Instances, model: Proposer, evaluations: int, seed: int, workers: int, batch: int,
    restarts: bool, functions: int, first: int,
) -> BatchSearch | InFlight:
    if max(workers, batch) > 1:
        seeds = [child(seed, first + b) for b in range(functions)]
        searches = [BlackBoxOptimizer([(0, 1)] * model.dim, model, int(of_search.generate_state(1)[0]),
                                      scaling=problem.scaling, finish=None, restarts=restarts) for of_search in seeds]
        return InFlight(searches, [np.random.default_rng(of_search) for of_search in seeds], workers, batch)
    return problem.learned(model, functions, evaluations, seed, first, restarts)


def _baseline(
    problem: GPProblem | Instances, name: str, seed: np.random.SeedSequence, functions: int, first: int,
) -> AskTell[Array, Array]:
    return problem.baseline_search(name, functions, seed, first)


def _peer(
    name: str, dim: int, evaluations: int, seed: np.random.SeedSequence, functions: int, first: int
) -> Peer:
    return Peer(name, functions, dim, evaluations, seed, first)


def paired_difference(results: dict[str, SearchResult], other: str) -> tuple[Array, Array, int]:
    """The best value of the learned optimizer minus that of another one, on the functions that both have searched.

    Returns the means (T,), the half widths of their 95 % intervals (T,), and the number of functions.
    """
    other_best = results[other].best
    learned_best = results[LEARNED].best[: len(other_best)]
    return *interval((learned_best - other_best).T), len(other_best)


def paired_with(results: dict[str, SearchResult]) -> list[str]:
    """The names of those with which the learned optimizer is compared in pairs: no random search, no Sobol points."""
    others = {LEARNED, "random", "sobol"}
    return [name for name in results if name not in others] if LEARNED in results else []


def shown_evaluations(evaluations: int) -> list[int]:
    """The numbers of evaluations for which a table has a column."""
    return sorted({max(1, evaluations // 10), max(1, evaluations // 5), max(1, evaluations // 2), evaluations})


def regret(result: SearchResult, minima: Array) -> Array:
    """Simple regret (F, T): the best values minus the minima of the functions. The optimizer had the first of them."""
    return result.best - minima[: len(result.best), None]


def table(results: dict[str, SearchResult], minima: Array | None = None) -> list[str]:
    """The comparison as lines of text. If the ``minima`` (F,) of the functions are known, it has the mean regret."""
    shown = shown_evaluations(next(iter(results.values())).best.shape[1])
    rows = [["optimizer", "functions", *(f"best({t})" for t in shown), "+-95%", "median",
             *([f"regret({shown[-1]})", "+-95%"] if minima is not None else []), "us/suggestion"]]

    def judged(result: SearchResult) -> tuple[Any, Any]:
        """Mean and half width of the regret, or of the best value, after the last evaluation."""
        return interval((result.best if minima is None else regret(result, minima))[:, -1])

    for name, result in sorted(results.items(), key=lambda item: judged(item[1])[0]):
        rows.append([name, str(len(result.best)), *(f"{result.mean[t - 1]:.4g}" for t in shown),
                     half_width(result.half_width[-1]), f"{np.median(result.best[:, -1]):.4g}"])
        if minima is not None:
            mean, half = judged(result)
            rows[-1] += [f"{mean:.3g}", half_width(half)]
        rows[-1].append(f"{1e6 * result.seconds_per_suggestion:.3g}")
    lines = align(rows)
    for other in paired_with(results):
        mean, half, count = paired_difference(results, other)
        lines += ["", f"learned - {other} on {count} of the functions, 95 %: "
                  + ", ".join(f"{with_interval(mean[t - 1], half[t - 1])} at {t}" for t in shown)]
    return lines


def to_json(
    results: dict[str, SearchResult], problem: GPProblem | Instances, minima: Array | None = None,
) -> dict[str, Any]:
    """The comparison as a dict of JSON's types. The interval for one function is None, as is what is not known."""
    optimizers = {}
    for name, result in results.items():
        mean, half = result.mean, result.half_width
        # over the functions of this optimizer, which may be fewer than those of "minimum"
        above, above_half = (None, None) if minima is None else map(json_numbers, interval(regret(result, minima).T))
        optimizers[name] = {
            "final_loss_mean": float(mean[-1]),
            "final_loss_ci95": json_numbers([mean[-1] - half[-1], mean[-1] + half[-1]]),
            "final_loss_median": float(np.median(result.best[:, -1])),
            "curve_mean": json_numbers(mean),
            "curve_ci95": json_numbers(half),
            "regret_mean": above,
            "regret_ci95": above_half,
            "seconds_per_suggestion": result.seconds_per_suggestion,
            "functions": len(result.best),
        }
    paired = {}
    for other in paired_with(results):
        mean, half, count = paired_difference(results, other)
        paired[other] = {"optimizer": other, "functions": count, "mean": float(mean[-1]),
                         "ci95": json_numbers([mean[-1] - half[-1], mean[-1] + half[-1]])}
    ei = next((paired[name] for name in EXPECTED_IMPROVEMENT if name in paired), None)
    functions, evaluations = np.max([result.best.shape for result in results.values()], axis=0).tolist()
    minimum = None if minima is None else float(minima.mean())
    return {"problem": problem.config, "minimum": minimum, "steps": evaluations, "evaluations": evaluations,
            "functions": functions, "optimizers": optimizers, "learned_minus": paired, "learned_minus_ei": ei}

"""Black-box optimizers against each other: the best value found so far, after each evaluation.

All of them search the unit cube by ask and tell, for a batch of B functions at once. Function number k of a seed is the
same for everybody, but for draws of a Gaussian process in many dimensions (`GPProblem`).
"""

import time
from typing import NamedTuple

import numpy as np

from ..baselines.bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from ..baselines.peers import PEERS, Peer
from ..baselines.random_search import RandomSearch, Sobol
from ..black_boxes import GPFunctions, GPPaths, Transform, draw_transform
from ..black_boxes.gp_functions import usual_length_scale
from ..checks import whole_number
from ..extras import require
from ..search.batch import BatchSearch
from ..search.scale import given_scale
from ..seeds import child
from .statistics import COMPARISON, LEARNED, interval

PIECE = 250  # functions at once
MOST_DIMENSIONS = 6  # of sample paths: a piece takes a quarter of a gigabyte there
EXPECTED_IMPROVEMENT = ("ei", "integrated-ei")


class SearchResult(NamedTuple):
    """What one optimizer result on F functions."""

    best: np.ndarray             # (F, T), the best value after each evaluation
    x: np.ndarray                # (F, d), where it was, in the unit cube
    seconds_per_suggestion: float  # of the optimizer alone, a function

    @property
    def mean(self):
        return self.best.mean(axis=0)

    @property
    def half_width(self):
        """Of the 95 % interval of the mean, by the normal approximation."""
        return interval(self.best.T)[1]


def pieces_of(functions):
    """The pieces that so many functions are worked on in: (how many, the number of the first) of each."""
    return [(min(PIECE, functions - first), first) for first in range(0, functions, PIECE)]


class GPProblem:
    """Draws of the Gaussian process that shipped weights are trained on, without noise.

    Up to six dimensions they are sample paths, the same for everybody. In more they are decided where they are asked
    for, and optimizers share a distribution and random numbers, not values.
    """

    name, baseline = "gp", "ei"

    def __init__(self, dim):
        self.dim = dim
        self._length_scale = usual_length_scale(dim)
        self.config = {"problem": "gp", "dim": dim, "length_scale": self._length_scale, "variance": 1.0, "noise": 0.0,
                       "covariance": "squared_exponential"}
        self.title = f"Gaussian process, {dim} dimension{'s' * (dim > 1)}"

    def sample(self, functions, evaluations, seed, first=0):
        """Functions number ``first`` and up: a callable, x (B, d) in the unit cube -> y (B,)."""
        if self.dim <= MOST_DIMENSIONS:
            return GPPaths(functions, self.dim, seed, self._length_scale, first)
        return GPFunctions(functions, self.dim, evaluations, seed, self._length_scale, first=first, backend="auto")

    def minima(self, functions, seed):
        """The minimum of each of so many functions of a comparison, (F,); None where they are not sample paths."""
        if self.dim > MOST_DIMENSIONS:
            return None
        return np.concatenate([
            self.sample(count, 1, comparison_seed(seed), first).minima() for count, first in pieces_of(functions)
        ])

    def learned(self, proposer, functions, evaluations, seed, first=0):
        """The values have mean 0 and variance 1, and are fed as they are."""
        return BatchSearch(proposer, functions, evaluations, seed, given_scale((0, 1)), first)

    def baseline_search(self, functions, seed, first):
        """The hand-designed baseline: it knows the true hyper-parameters."""
        return ExpectedImprovement(functions, self.dim, seed, first, length_scale=self._length_scale)


def symmetry(d, seed):
    """A Transform that only permutes and flips dimensions, for functions that exist nowhere but on the unit cube."""
    drawn = draw_transform(d, seed)
    return Transform(drawn.permutation, drawn.flip, 1.0, np.zeros(d))


class Instances:
    """Random instances of one BlackBox.

    Parameters
    ----------
    box : BlackBox
    draw : callable
        (d, seed) -> the Transform of an instance: `draw_transform` or `symmetry`.
    """

    baseline = "integrated-ei"

    def __init__(self, box, draw=draw_transform):
        self.box, self._draw = box, draw
        self.name, self.dim = box.name, box.dim
        exact = draw is symmetry
        self.config = {"problem": box.name, "dim": box.dim,
                       "instances": "permuted, flipped" if exact else "translated, scaled, permuted, flipped"}
        self.title = f"{box.name}, {box.dim} dimensions"

    def transforms(self, functions, seed, first=0):
        """Those of instances number ``first`` and up."""
        return [self._draw(self.dim, child(seed, k, 0))
                for k in range(first, first + functions)]

    def sample(self, functions, evaluations, seed, first=0):
        """As `GPProblem.sample`."""
        transforms = self.transforms(functions, seed, first)
        return lambda x: self.box(self.placed(x, transforms))

    def minima(self, functions, seed):
        """As `GPProblem.minima`: that of the box, if it is known, to the digits of the literature.

        A translation can move it out of an instance, which then has a slightly larger one (3 of 100 of Hartmann-3, by
        0.0003 at most).
        """
        return None if self.box.minimum is None else np.full(functions, self.box.minimum)

    def placed(self, x, transforms):
        """Points x (B, d) of the unit cube, one for each instance, in the units of the box."""
        return self.box.from_unit(np.array([transform(u) for transform, u in zip(transforms, x)]))

    def learned(self, proposer, functions, evaluations, seed, first=0):
        """The values may be on any scale."""
        return BatchSearch(proposer, functions, evaluations, seed, first=first)

    def baseline_search(self, functions, seed, first):
        """The hand-designed baseline: it integrates its hyper-parameters out."""
        return IntegratedExpectedImprovement(functions, self.dim, seed, first)


def search_for(search, function, evaluations):
    """Ask, evaluate and tell, T times.

    Parameters
    ----------
    search : object with ``ask`` and ``tell``
        Of B functions.
    function : callable
        x (B, d) -> y (B,), each function at its own point. Where it has ``values`` (B, t), those are the values
        without noise, and they are what is judged.
    evaluations : int
        T.

    Returns
    -------
    best : ndarray (B, T)
    x : ndarray (B, d)
        Where each function's best value was found.
    seconds : float
        Spent in the optimizer.
    """
    whole_number("evaluations", evaluations)
    asked, told, seconds = [], [], 0.0
    for _ in range(evaluations):
        started = time.perf_counter()
        x = search.ask()
        seconds += time.perf_counter() - started
        y = function(x)
        started = time.perf_counter()
        search.tell(x, y)
        seconds += time.perf_counter() - started
        asked.append(np.array(x))
        told.append(np.array(y, np.float64))
    values = np.asarray(getattr(function, "values", np.array(told).T), np.float64)
    where = values.argmin(axis=1)
    return np.minimum.accumulate(values, axis=1), np.array(asked)[where, np.arange(len(where))], seconds


def best_values(search, function, evaluations):
    """The best values (B, T) of `search_for`."""
    return search_for(search, function, evaluations)[0]


def measure(make, problem, evaluations, functions, seed):
    """Search functions number 0 and up in pieces; ``make(functions, first)`` is the optimizer of a piece -> SearchResult."""
    best, x, seconds = zip(*(
        search_for(make(count, first), problem.sample(count, evaluations, seed, first), evaluations)
        for count, first in pieces_of(functions)
    ))
    return SearchResult(np.concatenate(best), np.concatenate(x), sum(seconds) / evaluations / functions)


def comparison_seed(seed):
    """The SeedSequence of the functions of a comparison; nothing is trained on them."""
    return child(seed, COMPARISON)


def compare_black_box(problem, models, evaluations=100, functions=100, baseline_functions=0, seed=0, *, peers=(),
                   report=None):
    """Run the comparison.

    Parameters
    ----------
    problem : GPProblem or Instances
    models : dict of str: Proposer
        The learned optimizers, by the names that they get in the result.
    evaluations, functions : int
    baseline_functions : int
        The baseline, expected improvement, is slow: it gets the first so many of the functions. 0: it is left out.
    seed : int
    peers : names of `peers.PEERS`
        They get as many functions as the baseline.
    report : callable, optional
        Called with a line of text as things get done.

    Returns
    -------
    dict of str: SearchResult
        The learned ones first, then "random", "sobol", the problem's baseline and the peers.

    Raises
    ------
    ValueError
        For numbers out of range, and models of another dimension.
    ImportError
        SciPy is missing.
    """
    require("scipy", "a comparison of black-box optimizers")  # which come last: Sobol points, expected improvement
    for name, value, least in (("evaluations", evaluations, 1), ("functions", functions, 1),
                               ("baseline_functions", baseline_functions, 0)):
        whole_number(name, value, least)
    for name, model in models.items():
        if model.dim != problem.dim:
            raise ValueError(f"models: expected {problem.dim} dimensions, which {problem.name} has, "
                             f"got {name!r} of {model.dim}")
    d, number, seed = problem.dim, seed, comparison_seed(seed)
    runs = {name: (functions, lambda count, first, model=model:
                   problem.learned(model, count, evaluations, number, first)) for name, model in models.items()}
    runs["random"] = functions, lambda count, first: RandomSearch(count, d, seed, first)
    runs["sobol"] = functions, lambda count, first: Sobol(count, d, seed, first)
    if baseline_functions:
        few = min(baseline_functions, functions)
        runs[problem.baseline] = few, lambda count, first: problem.baseline_search(count, seed, first)
        runs |= {name: (few, lambda count, first, name=name: Peer(name, count, d, evaluations, seed, first))
                 for name in peers}
    results = {}
    for name, (count, make) in runs.items():
        results[name] = result = measure(make, problem, evaluations, count, seed)
        if report:
            report(f"{problem.name}: {name}, {count} functions, best value {result.mean[-1]:.4g}, "
                   f"{result.seconds_per_suggestion * 1e6:.3g} us a suggestion")
    return results


def difference(results, other):
    """Learned less another on the functions that both have, the first: means (T,), half widths (T,), how many."""
    theirs = results[other].best
    ours = results[LEARNED].best[: len(theirs)]
    return *interval((ours - theirs).T), len(theirs)


def baselines(results):
    """Whom the learned optimizer is set against one by one: expected improvement, and other learned ones."""
    others = {LEARNED, "random", "sobol", *PEERS}
    return [name for name in results if name not in others] if LEARNED in results else []


def marks(evaluations):
    """The numbers of evaluations that a table shows."""
    return sorted({max(1, evaluations // 10), max(1, evaluations // 5), max(1, evaluations // 2), evaluations})


def regret(result, minima):
    """How far the best values are above the minima (F,) of the functions, of which an optimizer had the first."""
    return result.best - minima[: len(result.best), None]


def table(results, minima=None):
    """The comparison as lines of text. Where the ``minima`` (F,) of the functions are known, with the mean regret."""
    shown = marks(next(iter(results.values())).best.shape[1])
    rows = [["optimizer", "functions", *(f"best({t})" for t in shown), "+-95%", "median",
             *([f"regret({shown[-1]})", "+-95%"] if minima is not None else []), "us/suggestion"]]

    def judged(result):
        """Of the last evaluation: mean and half width of the regret, or of the best value."""
        return interval((result.best if minima is None else regret(result, minima))[:, -1])

    for name, result in sorted(results.items(), key=lambda item: judged(item[1])[0]):
        rows.append([name, str(len(result.best)), *(f"{result.mean[t - 1]:.4g}" for t in shown),
                     f"{result.half_width[-1]:.1g}", f"{np.median(result.best[:, -1]):.4g}"])
        if minima is not None:
            mean, half = judged(result)
            rows[-1] += [f"{mean:.3g}", f"{half:.1g}"]
        rows[-1].append(f"{1e6 * result.seconds_per_suggestion:.3g}")
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths)))
             for row in rows]
    for baseline in baselines(results):
        mean, half, count = difference(results, baseline)
        lines += ["", f"learned - {baseline} on {count} of the functions, 95 %: "
                  + ", ".join(f"{mean[t - 1]:+.3g} +- {half[t - 1]:.1g} at {t}" for t in shown)]
    return lines


def to_json(results, problem, minima=None):
    """The comparison as a JSON-able dict; an interval of one function is None, and what is not known too."""

    def numbers(values):
        return [float(v) if np.isfinite(v) else None for v in np.atleast_1d(values)]

    optimizers = {}
    for name, result in results.items():
        mean, half = result.mean, result.half_width
        # of its functions, which may be fewer than those of "minimum"
        above, above_half = (None, None) if minima is None else map(numbers, interval(regret(result, minima).T))
        optimizers[name] = {
            "final_loss_mean": float(mean[-1]),
            "final_loss_ci95": numbers([mean[-1] - half[-1], mean[-1] + half[-1]]),
            "final_loss_median": float(np.median(result.best[:, -1])),
            "curve_mean": numbers(mean),
            "curve_ci95": numbers(half),
            "regret_mean": above,
            "regret_ci95": above_half,
            "seconds_per_suggestion": result.seconds_per_suggestion,
            "functions": len(result.best),
        }
    paired = {}
    for baseline in baselines(results):
        mean, half, count = difference(results, baseline)
        paired[baseline] = {"optimizer": baseline, "functions": count, "mean": float(mean[-1]),
                         "ci95": numbers([mean[-1] - half[-1], mean[-1] + half[-1]])}
    ei = next((paired[name] for name in EXPECTED_IMPROVEMENT if name in paired), None)
    functions, evaluations = np.max([result.best.shape for result in results.values()], axis=0).tolist()
    minimum = None if minima is None else float(minima.mean())
    return {"problem": problem.config, "minimum": minimum, "steps": evaluations, "evaluations": evaluations,
            "functions": functions, "optimizers": optimizers, "learned_minus": paired, "learned_minus_ei": ei}

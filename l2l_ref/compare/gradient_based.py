"""A learned gradient-based optimizer against tuned baselines, on the same functions from the same starting points.

All optimizers are measured by f(theta_t) for t = 0..T. (The figures of Andrychowicz et al. 2016 show the loss of the
learned optimizer after each update and that of the baselines before it, which shifts its curve by one step to the
left.)
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..baselines.gradient import OPTIMIZERS
from ..checks import choice, whole_number
from ..extras import installed
from ..optimizees.rollout import begin, rollout
from ..protocols import updated
from ..seeds import child
from . import published
from .statistics import COMPARISON, LBFGS, LEARNED, TUNING, align, half_width, interval, json_numbers, with_interval
from .tuning import tune

if TYPE_CHECKING:
    from ..protocols import Array, Optimizer, Problem, Seed

BASELINES = (*OPTIMIZERS, LBFGS)

COORDINATES_AT_ONCE = 200_000  # bounds the memory for the state of the learned optimizer


class Curves(NamedTuple):
    """The results of one optimizer on F functions."""

    losses: np.ndarray  # (T + 1, F), float64
    learning_rate: float | None
    at_edge: bool            # whether the learning rate lies at the edge of its grid
    seconds_per_step: float  # of the optimizer alone, per function

    @property
    def mean(self) -> Array:
        """The mean loss after 0..T steps, (T + 1,)."""
        return self.losses.mean(axis=1)

    @property
    def half_width(self) -> Array:
        """Half the width of the 95 % interval of the mean, (T + 1,)."""
        return interval(self.losses)[1]

    @property
    def sums(self) -> Array:
        """The sum over the steps 1..T for each function, (F,)."""
        return self.losses[1:].sum(axis=0)


class _Timed:
    """An optimizer that adds up the time of its updates."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer, self.seconds = optimizer, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)

    def update(self, gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        started = time.perf_counter()
        result = updated(self._optimizer, gradient, state, params)
        self.seconds += time.perf_counter() - started
        return result


def measure(optimizer: Optimizer, problem: Problem, steps: int, functions: int, seed: Seed) -> tuple[Array, float]:
    """The losses (steps + 1, functions), and the seconds that the optimizer needs for one step of one function."""
    timed, curves = _Timed(optimizer), list[Any]()
    for task in comparison_tasks(problem, functions, seed):
        if not curves:
            zeros = np.zeros_like(task.theta0)
            optimizer.update(zeros, begin(optimizer, zeros, problem, steps))  # compiles before the clock starts
        curves.append(rollout(timed, task, steps))
    return np.concatenate(curves, axis=1).astype(np.float64), timed.seconds / steps / functions


def comparison_tasks(problem: Problem, functions: int, seed: Seed) -> Iterator[Any]:
    """The tasks of a comparison, one after the other, with ``functions`` functions in all."""
    at_once = max(1, COORDINATES_AT_ONCE // problem.sample(1, seed).theta0.shape[1])
    for first in range(0, functions, at_once):
        yield problem.sample(min(at_once, functions - first), child(seed, COMPARISON, first))


def lbfgs(task: Any, b: int, steps: int) -> tuple[Array, Array, float]:
    """SciPy's L-BFGS on one function of a task that has ``function(b, theta)``, for ``steps`` gradients.

    Returns
    -------
    losses : ndarray, shape (steps + 1,)
        The lowest loss so far, at the start and after each further gradient. A line search may need several gradients,
        and its trials are no iterates.
    theta : ndarray, shape (n,)
        Where the loss is the lowest.
    seconds : float
        The time without that of the function.
    """
    from scipy.optimize import minimize

    best, losses, seconds = np.asarray(task.theta0[b]), list[float](), 0.0

    def evaluate(theta: Array) -> tuple[float, Array]:
        nonlocal best, seconds
        started = time.perf_counter()
        point = theta.astype(best.dtype)
        f, gradient = task.function(b, point)
        if not losses or f < losses[-1]:
            best = point
        losses.append(min([*losses[-1:], float(f)]))
        seconds += time.perf_counter() - started
        if len(losses) > steps:
            raise _EnoughGradients
        return float(f), gradient.astype(np.float64)

    started = time.perf_counter()
    with contextlib.suppress(_EnoughGradients):
        minimize(evaluate, best.astype(np.float64), jac=True, method="L-BFGS-B",
                 options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 0, "gtol": 0})
    losses += losses[-1:] * (steps + 1 - len(losses))
    return np.array(losses), best, time.perf_counter() - started - seconds


class _EnoughGradients(Exception):
    """Ends L-BFGS, which itself looks at the number of evaluations only between line searches."""


def measure_lbfgs(problem: Problem, steps: int, functions: int, seed: Seed) -> tuple[Array, float]:
    """`measure` for SciPy's L-BFGS."""
    runs = [lbfgs(task, b, steps) for task in comparison_tasks(problem, functions, seed)
            for b in range(len(task.theta0))]
    losses, _, seconds = zip(*runs)
    return np.stack(losses, axis=1), sum(seconds) / steps / functions


def compare(
    model: Optimizer, problem: Problem, steps: int = 100, functions: int = 100, seed: int = 0, *,
    tuning_functions: int = 10, optimizers: Sequence[str] = BASELINES, cache: bool = True,
    report: Callable[[str], object] | None = None,
) -> dict[str, Curves]:
    """Compare a learned optimizer with tuned baselines.

    Parameters
    ----------
    model : Optimizer
        A CoordinatewiseLSTM, or any optimizer with ``init`` and ``update``.
    problem : Problem
        One of `l2l_ref.optimizees`. If it has ``on(split)``, learning rates are tuned on "train" and the comparison is
        on "test".
    steps, functions : int
    seed : int
    tuning_functions : int
        The number of functions on which each learning rate is tried.
    optimizers : sequence of str
        The baselines, some of `BASELINES`. Only these are tuned.
    cache : bool
        Use learning rates that were tuned earlier under the same conditions.
    report : callable, optional
        Called with a line of text about the progress.

    Returns
    -------
    dict of str: Curves
        "learned" is the first. "l-bfgs", SciPy's, is the last, and has no learning rate. It is left out unless the
        functions of a task can be evaluated one by one, as those without minibatches, and SciPy is installed.

    Raises
    ------
    ValueError
        For numbers out of range and unknown baselines.
    """
    for name, value in (("steps", steps), ("functions", functions), ("tuning_functions", tuning_functions)):
        whole_number(name, value)
    for name in optimizers:
        choice("optimizers", name, BASELINES)
    tune_on, test_on = (problem.on("train"), problem.on("test")) if hasattr(problem, "on") else (problem, problem)
    report = report or (lambda line: None)
    losses, seconds = measure(model, test_on, steps, functions, seed)
    results = {LEARNED: Curves(losses, None, False, seconds)}
    for name in OPTIMIZERS:
        if name not in optimizers:
            continue
        tuned = tune(name, tune_on, steps, tuning_functions, child(seed, TUNING), cache)
        losses, seconds = measure(OPTIMIZERS[name](tuned.learning_rate), test_on, steps, functions, seed)
        results[name] = Curves(losses, tuned.learning_rate, tuned.at_edge, seconds)
        report(f"{name}: learning rate {tuned.learning_rate:g}")
        if tuned.at_edge:
            report(f"warning: {name}'s best learning rate, {tuned.learning_rate:g}, lies at the edge of its grid")
    if LBFGS in optimizers and hasattr(problem.sample(1, seed), "function") and installed("scipy"):
        losses, seconds = measure_lbfgs(test_on, steps, functions, seed)
        results[LBFGS] = Curves(losses, None, False, seconds)
    return results


def paired(results: dict[str, Curves], step: int) -> dict[str, tuple[Any, Any]]:
    """The loss of the learned optimizer minus that of each baseline at a step, on the same functions.

    Returns a dict of (mean, half width of its 95 % interval).
    """
    learned = results[LEARNED].losses[step]
    with np.errstate(invalid="ignore", over="ignore"):
        return {name: interval(learned - r.losses[step]) for name, r in results.items() if name != LEARNED}


@np.errstate(invalid="ignore")  # inf - inf, when an optimizer has diverged
def to_json(results: dict[str, Curves], problem: Any, model: Any, steps: int) -> dict[str, Any]:
    """The comparison as a dict of JSON's types. A number that is not finite becomes None."""
    published_losses = published.final_losses(problem.config, steps)
    optimizers = {}
    for name, r in results.items():
        mean, half = r.mean, r.half_width
        sum_mean, sum_half = interval(r.sums)
        optimizers[name] = {
            "final_loss_mean": json_numbers(mean[-1])[0],
            "final_loss_ci95": json_numbers([mean[-1] - half[-1], mean[-1] + half[-1]]),
            "final_loss_median": json_numbers(np.median(r.losses[-1]))[0],
            "sum_mean": json_numbers(sum_mean)[0],
            "sum_ci95": json_numbers([sum_mean - sum_half, sum_mean + sum_half]),
            "curve_mean": json_numbers(mean),
            "curve_ci95": json_numbers(half),
            "curve_median": json_numbers(np.median(r.losses, axis=1)),
            "curve_quartiles": [json_numbers(np.quantile(r.losses, q, axis=1)) for q in (0.25, 0.75)],
            "learning_rate": r.learning_rate,
            "learning_rate_at_edge": r.at_edge,
            "seconds_per_step": r.seconds_per_step,
            "paper_final_loss": published_losses.get(name),
        }
    differences = {
        name: {"mean": json_numbers(mean)[0], "ci95": json_numbers([mean - half, mean + half])}
        for name, (mean, half) in paired(results, steps).items()
    }
    return {
        "problem": problem.config,
        "model": getattr(model, "card", None) or getattr(model, "config", None),
        "steps": steps,
        "functions": results[LEARNED].losses.shape[1],
        "optimizers": optimizers,
        "learned_minus_baseline": differences,
    }


def table(results: dict[str, Curves], problem: Any, steps: int) -> list[str]:
    """The comparison as lines of text."""
    published_losses = published.final_losses(problem.config, steps)
    marks = sorted({max(1, steps // 5), max(1, steps // 2)} - {steps})
    rows = [["optimizer", "rate", *(f"f({t})" for t in marks), f"f({steps})", "+-95%", "median", "sum", "us/step",
             *(["published"] if published_losses else [])]]
    for name, r in sorted(results.items(), key=lambda item: _rank(item[1])):
        rows.append([
            name, "" if r.learning_rate is None else f"{r.learning_rate:g}{'!' if r.at_edge else ''}",
            *(f"{r.mean[t]:.4g}" for t in marks), f"{r.mean[-1]:.4g}", half_width(r.half_width[-1]),
            f"{np.median(r.losses[-1]):.4g}", f"{interval(r.sums)[0]:.4g}", f"{1e6 * r.seconds_per_step:.3g}",
            *([f"{published_losses[name]:g}" if name in published_losses else ""] if published_losses else []),
        ])
    lines = align(rows)
    baselines = {name: r for name, r in results.items() if name != LEARNED}
    if baselines:
        best = min(baselines, key=lambda name: _rank(baselines[name]))
        tuned = min(baselines, key=lambda name: (name == LBFGS, _rank(baselines[name])))  # L-BFGS is not first-order
        lines.append("")
        for name in dict.fromkeys((tuned, best)):
            difference = with_interval(*paired(results, steps)[name], 4)
            lines.append(f"learned - {name} at step {steps}, paired: {difference} (95 %)")
    if published_losses:
        lines.append("published: read off the figures of Andrychowicz et al. 2016, see l2l_ref/compare/published.py")
    if LBFGS in results:
        lines.append(f"{LBFGS}: SciPy's, the lowest loss after so many gradients")
    if any(r.at_edge for r in results.values()):
        lines.append("! the best learning rate lies at the edge of its grid")
    return lines


def _rank(curves: Curves) -> float:
    final = curves.mean[-1]
    return final if np.isfinite(final) else np.inf

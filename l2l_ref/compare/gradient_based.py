"""A learned optimizer against tuned hand-designed ones, on the same functions from the same starting points.

Everybody is measured as f(theta_t) for t = 0..T. (The paper's figures show the learned optimizer's loss after each
update and everybody else's before it, which moves its curve one step to the left.)
"""

import time
from typing import NamedTuple

import numpy as np

from ..baselines.gradient import OPTIMIZERS
from ..optimizees.rollout import rollout
from ..seeds import child
from . import published
from .statistics import COMPARISON, LEARNED, TUNING, interval
from .tuning import tune

COORDINATES_AT_ONCE = 200_000  # bounds the memory that the learned optimizer's state takes
class Curves(NamedTuple):
    """How one optimizer did on F functions."""

    losses: np.ndarray  # (T + 1, F), float64
    learning_rate: float | None
    at_edge: bool
    seconds_per_step: float  # of the optimizer alone, a function

    @property
    def mean(self):
        return self.losses.mean(axis=1)

    @property
    def half_width(self):
        """Of the 95 % interval of the mean, by the normal approximation."""
        return interval(self.losses)[1]

    @property
    def sums(self):
        """Sum over the steps 1..T, a function."""
        return self.losses[1:].sum(axis=0)


class _Timed:
    """An optimizer that counts the seconds its updates take."""

    def __init__(self, optimizer):
        self.init, self._update, self.seconds = optimizer.init, optimizer.update, 0.0

    def update(self, gradient, state):
        started = time.perf_counter()
        result = self._update(gradient, state)
        self.seconds += time.perf_counter() - started
        return result


def measure(optimizer, problem, steps, functions, seed):
    """Losses (steps + 1, functions), and the seconds that the optimizer takes for a step of one function."""
    like = problem.sample(1, seed).theta0
    at_once = max(1, COORDINATES_AT_ONCE // like.shape[1])
    zeros = np.zeros_like(like, shape=(min(at_once, functions), like.shape[1]))
    optimizer.update(zeros, optimizer.init(zeros))  # whatever compiles, compiles before the clock runs
    timed, curves = _Timed(optimizer), []
    for first in range(0, functions, at_once):
        part = child(seed, COMPARISON, first)
        task = problem.sample(min(at_once, functions - first), part)
        curves.append(rollout(timed, task, steps))
    return np.concatenate(curves, axis=1).astype(np.float64), timed.seconds / steps / functions


def compare(model, problem, steps=100, functions=100, seed=0, *, tuning_functions=10, optimizers=tuple(OPTIMIZERS),
            cache=True, report=None):
    """Run the comparison.

    Parameters
    ----------
    model : CoordinatewiseLSTM, or any optimizer with ``init`` and ``update``
    problem : a problem of ``optimizees``
        Where it has ``on(split)``, learning rates are tuned on "train" and everybody is compared on "test".
    steps, functions : int
    seed : int
    tuning_functions : int
        How many functions each learning rate is tried on.
    optimizers : names of ``baselines.gradient.OPTIMIZERS``
    cache : bool
        Use learning rates tuned earlier under the same conditions.
    report : callable, optional
        Called with a line of text as things get done.

    Returns
    -------
    dict of str: Curves
        "learned" first.
    """
    for name, value in (("steps", steps), ("functions", functions), ("tuning_functions", tuning_functions)):
        if value < 1:
            raise ValueError(f"{name}: expected a number >= 1, got {value}")
    tune_on, test_on = (problem.on("train"), problem.on("test")) if hasattr(problem, "on") else (problem, problem)
    report = report or (lambda line: None)
    losses, seconds = measure(model, test_on, steps, functions, seed)
    results = {LEARNED: Curves(losses, None, False, seconds)}
    for name in optimizers:
        tuned = tune(name, tune_on, steps, tuning_functions, child(seed, TUNING), cache)
        losses, seconds = measure(OPTIMIZERS[name](tuned.learning_rate), test_on, steps, functions, seed)
        results[name] = Curves(losses, tuned.learning_rate, tuned.at_edge, seconds)
        report(f"{name}: learning rate {tuned.learning_rate:g}")
        if tuned.at_edge:
            report(f"warning: {name}'s best learning rate, {tuned.learning_rate:g}, lies at the edge of its grid")
    return results


def paired(results, step):
    """The learned optimizer's mean loss at a step less each baseline's, on the same functions: (mean, half width)."""
    ours = results[LEARNED].losses[step]
    with np.errstate(invalid="ignore", over="ignore"):
        return {name: interval(ours - r.losses[step]) for name, r in results.items() if name != LEARNED}


@np.errstate(invalid="ignore")  # inf - inf, where an optimizer has diverged
def to_json(results, problem, model, steps):
    """The comparison as a JSON-able dict; a loss that is not finite becomes None."""

    def numbers(values):
        return [float(v) if np.isfinite(v) else None for v in np.atleast_1d(values)]

    published_losses = published.final_losses(problem.config, steps)
    optimizers = {}
    for name, r in results.items():
        mean, half = r.mean, r.half_width
        sum_mean, sum_half = interval(r.sums)
        optimizers[name] = {
            "final_loss_mean": numbers(mean[-1])[0],
            "final_loss_ci95": numbers([mean[-1] - half[-1], mean[-1] + half[-1]]),
            "final_loss_median": numbers(np.median(r.losses[-1]))[0],
            "sum_mean": numbers(sum_mean)[0],
            "sum_ci95": numbers([sum_mean - sum_half, sum_mean + sum_half]),
            "curve_mean": numbers(mean),
            "curve_ci95": numbers(half),
            "curve_median": numbers(np.median(r.losses, axis=1)),
            "curve_quartiles": [numbers(np.quantile(r.losses, q, axis=1)) for q in (0.25, 0.75)],
            "learning_rate": r.learning_rate,
            "learning_rate_at_edge": r.at_edge,
            "seconds_per_step": r.seconds_per_step,
            "paper_final_loss": published_losses.get(name),
        }
    differences = {
        name: {"mean": numbers(mean)[0], "ci95": numbers([mean - half, mean + half])}
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


def table(results, problem, steps):
    """The comparison as lines of text."""
    published_losses = published.final_losses(problem.config, steps)
    marks = sorted({max(1, steps // 5), max(1, steps // 2)} - {steps})
    header = ["optimizer", "rate", *(f"f({t})" for t in marks), f"f({steps})", "+-95%", "median", "sum", "us/step"]
    rows = []
    for name, r in sorted(results.items(), key=lambda item: _rank(item[1])):
        rows.append([
            name, "" if r.learning_rate is None else f"{r.learning_rate:g}{'!' if r.at_edge else ''}",
            *(f"{r.mean[t]:.4g}" for t in marks), f"{r.mean[-1]:.4g}", f"{r.half_width[-1]:.1g}",
            f"{np.median(r.losses[-1]):.4g}", f"{interval(r.sums)[0]:.4g}", f"{1e6 * r.seconds_per_step:.3g}",
            *([f"{published_losses[name]:g}" if name in published_losses else ""] if published_losses else []),
        ])
    if published_losses:
        header.append("paper")
    widths = [max(len(row[k]) for row in [header, *rows]) for k in range(len(header))]
    lines = ["  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths)))
             for row in [header, *rows]]
    baselines = {name: r for name, r in results.items() if name != LEARNED}
    if baselines:
        best = min(baselines, key=lambda name: _rank(baselines[name]))
        mean, half = paired(results, steps)[best]
        lines += ["", f"learned - {best} at step {steps}, paired: {mean:+.4g} +- {half:.1g} (95 %)"]
    if any(r.at_edge for r in results.values()):
        lines.append("! the best learning rate lies at the edge of its grid")
    return lines


def _rank(curves):
    final = curves.mean[-1]
    return final if np.isfinite(final) else np.inf

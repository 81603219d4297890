"""How an optimizer does on networks that it has not seen: the suite of optimizees/zoo.py, untuned against tuned.

The learned optimizer is used as it is on all problems. Each tuned baseline has the best of `RATES` for each problem and
each horizon, found on other functions. Adam with the rate 0.001 on all problems is what somebody has who does not tune.

A run of T steps is judged by its mean loss over the last tenth of them, as in meta-training. Where losses of different
problems are put together, they are taken relative to tuned Adam on the same function:

    Q10  ratio = clip(f / f_0) / clip(f_Adam / f_0)         f_0 the loss at the start, clip to `LOWEST` .. `HIGHEST`

The clipping keeps a run that has diverged, or that has found a minimum of 0, from deciding a geometric mean alone. A
geometric mean is over the problems of a group for each function number, and its interval is over these numbers, that is
over independent repetitions of the whole suite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..baselines.gradient import OPTIMIZERS
from ..checks import choice, whole_number, whole_numbers
from ..executors import as_answered
from ..optimizees import zoo
from ..optimizees.rollout import rollout
from ..seeds import child
from .statistics import COMPARISON, LEARNED, TUNING, align, interval, json_numbers
from .tuning import judged, tune_horizons

if TYPE_CHECKING:
    from ..protocols import Array, Executor, HasExecutor, Optimizer, Path, Problem

HORIZONS = (100, 200, 1000, 2000)
# Seven learning rates for each baseline, half a decade apart: from 0.001 to 1 for those that divide by the size of the
# gradient, from 0.000316 for momentum and NAG, since on Rosenbrock's function momentum diverges with 0.001.
RATES = {name: tuple(float(f"{10 ** ((k + first) / 2):.3g}") for k in range(7))
         for name, first in {"adam": -6, "rmsprop": -6, "adagrad": -6, "rprop": -6, "momentum": -7, "nag": -7,
                             "sgd": -5}.items()}
BASELINES = ("adam", "momentum")
UNTUNED, UNTUNED_RATE = "adam 0.001", 1e-3
FUNCTIONS, TUNING_FUNCTIONS = 5, 2
LOWEST, HIGHEST = 1e-6, 1e3
SHORT = ("quadratic", "softmax regression", "sigmoid 20", "regression, tanh 16", "clusters", "factorization")
CURVE_POINTS = 60  # of the curves that are kept


class Row(NamedTuple):
    """What one optimizer does on one problem; H horizons, F functions."""

    finals: np.ndarray                # (H, F), Q10 before the ratio: the judged loss, infinity where it diverged
    curve: np.ndarray                 # (T + 1,), mean over the functions of the losses of the longest run
    rates: tuple[float | None, ...]   # the learning rate for each horizon
    at_edge: bool                     # whether one of them lies at the edge of the grid

    @property
    def above_start(self) -> Array:
        """Whether the mean loss ends above its start, for each horizon, (H,)."""
        above: Array = ~(self.finals.mean(axis=1) <= self.curve[0])
        return above


class ProblemResult(NamedTuple):
    start: np.ndarray  # (F,), the losses at the start
    rows: dict[str, Row]


class ZooResult(NamedTuple):
    horizons: tuple[int, ...]
    problems: dict[str, ProblemResult]
    skipped: dict[str, str]  # the problems that were left out, and why

    @property
    def optimizers(self) -> list[str]:
        """The learned optimizer first, then tuned Adam, the reference."""
        return list(next(iter(self.problems.values())).rows)

    def ratios(self, name: str, optimizer: str) -> Array:
        """Q10 for each horizon and function, (H, F)."""
        start, rows = self.problems[name]
        own, adam = (np.clip(rows[one].finals / start, LOWEST, HIGHEST) for one in (optimizer, BASELINES[0]))
        return own / adam

    def groups(self) -> dict[str, list[str]]:
        """The problems of each group that has some."""
        parts = {"training": zoo.TRAINING, "held out": zoo.HELD_OUT, "networks": zoo.NETWORKS,
                 "networks held out": [name for name in zoo.NETWORKS if name in zoo.HELD_OUT], "all": self.problems}
        groups = {part: [name for name in self.problems if name in names] for part, names in parts.items()}
        return {part: names for part, names in groups.items() if names}

    def geometric_means(self, optimizer: str, names: Sequence[str]) -> tuple[Array, Array, Array]:
        """The geometric mean of Q10 over these problems for each horizon, and its 95 % interval, each (H,)."""
        logs = np.mean([np.log(self.ratios(name, optimizer)) for name in names], axis=0)
        mean, half = interval(logs)
        return np.exp(mean), np.exp(mean - half), np.exp(mean + half)

    def steps_to_adam(self, name: str, optimizer: str) -> int | None:
        """The first number of steps after which the mean loss is judged no worse than tuned Adam's last; else None."""
        rows = self.problems[name].rows
        goal = rows[BASELINES[0]].finals[-1].mean()
        reached = np.flatnonzero(running_judge(rows[optimizer].curve) <= goal)
        return int(reached[0]) if len(reached) else None


def running_judge(curve: Array) -> Array:
    """`judged` for every horizon: the mean over the last tenth of the steps so far, (T + 1,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([curve[t + 1 - max(1, t // 10) : t + 1].mean() for t in range(len(curve))])


def compare_zoo(
    model: Optimizer, names: Sequence[str] = (*zoo.TRAINING, *zoo.HELD_OUT), horizons: Sequence[int] = HORIZONS,
    functions: int = FUNCTIONS, seed: int = 0, *, tuning_functions: int = TUNING_FUNCTIONS,
    baselines: Sequence[str] = BASELINES, data_dir: Path | None = None, cache: bool = True,
    executor: Executor | HasExecutor | None = None, report: Callable[[str], object] | None = None,
) -> ZooResult:
    """Compare an optimizer, untuned, with tuned baselines on each problem of the suite.

    Parameters
    ----------
    model : Optimizer
        With ``init`` and ``update``. For an executor it must be possible to pickle it.
    names : sequence of str
        The problems; by default all 24.
    horizons : sequence of int
        Numbers of steps, in ascending order.
    functions, tuning_functions : int
        Functions of each problem for the comparison, and for each learning rate of a baseline.
    seed : int
    baselines : sequence of str
        Tuned baselines, keys of ``baselines.gradient.OPTIMIZERS``. "adam", the reference, is always among them.
    data_dir : path, optional
        The folder with MNIST and CIFAR-10. The problems whose data are not there are left out, and listed in
        ``skipped``.
    cache : bool
        Use learning rates that were tuned earlier under the same conditions.
    executor : Executor or HasExecutor, optional
        Where the problems are measured, as in `meta_train`; by default here, one after the other. No result depends on
        it.
    report : callable, optional
        Called with a line of text after each problem.

    Returns
    -------
    ZooResult

    Raises
    ------
    ValueError
        For numbers out of range, unknown names, and when no problem is left.
    """
    for what, value in (("functions", functions), ("tuning_functions", tuning_functions)):
        whole_number(what, value)
    horizons = whole_numbers("horizons", horizons)
    if not horizons or list(horizons) != sorted(set(horizons)):
        raise ValueError(f"horizons: expected whole numbers in ascending order, got {horizons}")
    order = [*zoo.TRAINING, *zoo.HELD_OUT]
    chosen = sorted({choice("names", name, order) for name in names}, key=order.index)
    tuned = tuple(dict.fromkeys((BASELINES[0], *(choice("baselines", name, OPTIMIZERS) for name in baselines))))
    jobs, skipped = {}, {}
    for name in chosen:
        try:
            zoo.problem(name, data_dir)
        except FileNotFoundError as error:
            skipped[name] = str(error)
        else:
            jobs[name] = (model, name, order.index(name), horizons, functions, seed, tuning_functions, tuned, data_dir,
                          cache)
    if not jobs:
        raise ValueError(f"names: expected at least one problem whose data are there; {next(iter(skipped.values()))}")
    results = {}
    for name, result in as_answered(measure_problem, jobs, executor):
        results[name] = result
        if report:
            report(f"{name}: " + ", ".join(f"{one} {row.finals[-1].mean():.4g}" for one, row in result.rows.items()))
    return ZooResult(horizons, {name: results[name] for name in jobs}, skipped)


def measure_problem(
    model: Any, name: str, number: int, horizons: Sequence[int], functions: int, seed: int, tuning_functions: int,
    tuned: Sequence[str], data_dir: Path | None, cache: bool,
) -> ProblemResult:
    """One problem: the model, tuned baselines and untuned Adam, on the same functions."""
    problem = zoo.problem(name, data_dir)
    tune_on, test_on = (problem.on("train"), problem.on("test")) if hasattr(problem, "on") else (problem, problem)
    at, longest = child(seed, COMPARISON, number), max(horizons)
    rows = {}
    with np.errstate(over="ignore", invalid="ignore"):
        if getattr(model, "wants_steps", False):
            curves = [_curve(model, test_on, T, functions, at) for T in horizons]
        else:
            curves = [_curve(model, test_on, longest, functions, at)] * len(horizons)
        rows[LEARNED] = _row(curves, horizons, (None,) * len(horizons))
        for optimizer in tuned:
            best = tune_horizons(optimizer, tune_on, horizons, RATES[optimizer], tuning_functions,
                                 child(seed, TUNING, number), cache)
            rates = [one.learning_rate for one in best]
            runs = {}
            for rate in dict.fromkeys(rates):
                steps = max(T for T, of_T in zip(horizons, rates) if of_T == rate)
                runs[rate] = _curve(OPTIMIZERS[optimizer](rate), test_on, steps, functions, at)
            rows[optimizer] = _row([runs[rate] for rate in rates], horizons, tuple(rates),
                                   any(one.at_edge for one in best))
        untuned = _curve(OPTIMIZERS["adam"](UNTUNED_RATE), test_on, longest, functions, at)
        rows[UNTUNED] = _row([untuned] * len(horizons), horizons, (UNTUNED_RATE,) * len(horizons))
    return ProblemResult(untuned[0], rows)


def _curve(optimizer: Any, problem: Problem, steps: int, functions: int, seed: Any) -> Array:
    return rollout(optimizer, problem.sample(functions, seed), steps).astype(np.float64)


def _row(curves: list[Array], horizons: Sequence[int], rates: tuple[float | None, ...], at_edge: bool = False) -> Row:
    finals = np.stack([judged(curve, T) for curve, T in zip(curves, horizons)])
    return Row(np.where(np.isfinite(finals), finals, np.inf), curves[-1].mean(axis=1), rates, at_edge)


def table(result: ZooResult) -> list[str]:
    """The comparison as lines of text: one row a problem, then geometric means, then what ends above its start."""
    T, others = result.horizons, [name for name in result.optimizers if name != BASELINES[0]]
    rows = [["problem", "start", f"adam {T[-1]}", "rate", *(f"learned {h}" for h in T),
             *(f"{name} {T[-1]}" for name in others[1:]), "steps", "max", "min"]]
    for name, (start, of) in result.problems.items():
        adam, learned = of[BASELINES[0]], of[LEARNED]
        steps = result.steps_to_adam(name, LEARNED)
        highest, lowest = (extreme(learned.curve) / start.mean() for extreme in (np.max, np.min))
        rows.append([
            ("* " if name in zoo.HELD_OUT else "  ") + name, f"{start.mean():.3g}", f"{adam.finals[-1].mean():.3g}",
            f"{adam.rates[-1]:g}{'!' if adam.at_edge else ''}",
            *(_ratio(result, name, LEARNED, k) for k in range(len(T))),
            *(_ratio(result, name, other, -1) for other in others[1:]), "-" if steps is None else str(steps),
            f"{highest:.3g}", f"{lowest:.2g}",
        ])
    lines = [*align(rows), "", "geometric means of the ratios to tuned adam, with 95 % intervals over the functions"]
    means = [["optimizer", "problems", "number", *(f"{h} steps" for h in T)]]
    for optimizer in others:
        for group, names in result.groups().items():
            cells = (f"{m:.3g} ({a:.3g}..{b:.3g})" if np.isfinite(a) else f"{m:.3g}"
                     for m, a, b in zip(*result.geometric_means(optimizer, names)))
            means.append([optimizer, group, str(len(names)), *cells])
    lines += [*align(means), ""]
    lines.append("learned N: final loss over that of tuned adam at N steps, geometric mean over the functions, ^ where "
                 "the loss ends above its start")
    lines.append("steps: until the learned optimizer is judged no worse than tuned adam after "
                 f"{T[-1]}; max, min: of its mean loss, over the start")
    lines.append("* held out from train zoo" + "; ! best rate at the edge of the grid")
    for optimizer in result.optimizers:
        above = [name for name, one in result.problems.items() if one.rows[optimizer].above_start.any()]
        lines.append(f"{optimizer} ends above its start on {len(above)} of {len(result.problems)}"
                     + (": " + ", ".join(above) if above else ""))
    lines += [f"left out: {name}: {reason}" for name, reason in result.skipped.items()]
    return lines


def _ratio(result: ZooResult, name: str, optimizer: str, k: int) -> str:
    mean = np.exp(np.log(result.ratios(name, optimizer)[k]).mean())
    return f"{mean:.3g}" + "^" * bool(result.problems[name].rows[optimizer].above_start[k])


def to_json(result: ZooResult, model: Any, functions: int, seed: int) -> dict[str, Any]:
    """The comparison as a dict of JSON's types. A number that is not finite becomes None."""
    def number(value: Any) -> float | None:
        return json_numbers(value)[0]

    T = result.horizons
    at = np.unique(np.round(np.geomspace(1, T[-1] + 1, CURVE_POINTS)).astype(int)) - 1
    problems: dict[str, Any] = {}
    for name, (start, rows) in result.problems.items():
        optimizers = {}
        for optimizer, row in rows.items():
            mean, half = interval(row.finals)
            optimizers[optimizer] = {
                "final_loss_mean": json_numbers(mean), "final_loss_ci95": [json_numbers(mean - half),
                                                                           json_numbers(mean + half)],
                "ratio_to_adam": json_numbers(np.exp(np.log(result.ratios(name, optimizer)).mean(axis=1))),
                "steps_to_adam": result.steps_to_adam(name, optimizer), "above_start": row.above_start.tolist(),
                "curve_max": number(row.curve.max()), "curve_min": number(row.curve.min()),
                "curve_steps": at.tolist(), "curve_mean": json_numbers(running_judge(row.curve)[at]),
                "learning_rate": list(row.rates), "learning_rate_at_edge": row.at_edge,
            }
        problems[name] = {"held_out": name in zoo.HELD_OUT, "network": name in zoo.NETWORKS,
                          "start_mean": number(start.mean()), "optimizers": optimizers}
    means: dict[str, Any] = {}
    for optimizer in result.optimizers:
        for group, names in result.groups().items():
            mean, low, high = result.geometric_means(optimizer, names)
            means.setdefault(optimizer, {})[group] = {
                "problems": len(names), "mean": json_numbers(mean),
                "ci95": [json_numbers(low), json_numbers(high)],
            }
    return {"problem": "zoo", "model": getattr(model, "card", None) or getattr(model, "config", None),
            "horizons": list(T), "functions": functions, "seed": seed, "problems": problems,
            "geometric_means": means, "skipped": result.skipped}

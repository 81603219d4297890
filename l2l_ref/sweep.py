"""Sweeps: one function on many settings, on any executor, with the results in one file that a sweep goes on from.

A *setting* is a dict of a value for each axis of the sweep. Settings are all combinations of the values (`grid`), or
are drawn at random (`draws`). What a run is called, its *key*, says everything that its result depends on. So a file
may hold the results of several sweeps, and one that is continued with more values runs only what is new.

With ``halve_at``, all runs are first carried to an epoch. Only the better half of them goes on to the next one, which
is successive halving, Jamieson and Talwalkar 2016. All runs are waited for before a half is chosen, so which ones go on
does not depend on the workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import files
from .executors import as_answered
from .seeds import generators

if TYPE_CHECKING:
    from . import protocols


class Range(NamedTuple):
    """An axis from which numbers are drawn whose logarithm is uniform."""

    low: float
    high: float


Axes = Mapping[str, "Sequence[Any] | Range"]


def grid(axes: Axes) -> list[dict[str, Any]]:
    """All combinations of the values of the axes; the last axis changes fastest. Raises ValueError for a Range."""
    for name, values in axes.items():
        if isinstance(values, Range):
            raise ValueError(f"{name}: expected values, got a range, from which settings can only be drawn")
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


def draws(axes: Axes, count: int, seed: protocols.Seed) -> list[dict[str, Any]]:
    """Settings drawn at random: numbers of a Range, with three digits, and values of the other axes, all as likely.

    Setting k depends on the seed and k alone, so more draws begin with those of fewer.
    """
    def draw(values: Sequence[Any] | Range, rng: np.random.Generator) -> Any:
        if isinstance(values, Range):
            return float(f"{np.exp(rng.uniform(*np.log(values))):.3g}")
        return values[int(rng.integers(len(values)))]

    return [{name: draw(values, rng) for name, values in axes.items()} for rng in generators(seed, range(count))]


def sweep(
    run: Callable[[Any], Any], jobs: Mapping[str, Any], path: protocols.Path, *,
    executor: protocols.Executor | protocols.HasExecutor | None = None,
    report: Callable[[str, dict[str, Any]], object] | None = None, halve_at: Sequence[int] = (),
) -> dict[str, dict[str, Any]]:
    """Run ``run(job)`` for each job whose result is not in the file yet.

    Parameters
    ----------
    run : callable
        ``run(job)``, or ``run(job, until)`` with ``halve_at``. It gives a result of JSON's types. For an executor of
        other processes, it can be pickled, and so can the jobs.
    jobs : dict of str
        The jobs by their keys.
    path : path
        The file of the results, written after each run.
    executor : Executor or HasExecutor, optional
        Anything with ``submit`` whose futures are those of ``concurrent.futures``, or dask's ``Client``. Without one,
        the jobs are run here, one after the other. In which order they end changes no result.
    report : callable, optional
        Called as report(key, outcome) after each run.
    halve_at : sequence of int, optional
        Numbers of epochs, ascending. ``run(job, until)`` then goes on with a run until so many epochs, and gives the
        list of its validations, a number for each epoch. With ``until=None``, or if it ends before, it gives its
        result, a dict in which this list is called "validations". At each of these epochs the better half goes on, by
        the smallest validation so far, of which nan are left out; of equal ones, the first in the order of the jobs.

    Returns
    -------
    dict of str
        The outcomes of all jobs by their keys, in the order of the jobs: ``{"result": ...}``, or ``{"error": message}``
        for a run that raised an exception. Those are tried again by the next sweep. ``{"validations": [...]}`` for a
        run that does not go on.

    Raises
    ------
    ValueError
        When the file holds something else, or another sweep is writing it.
    OSError
        When an executor has broken; the results that came in are in the file. One with ``renew`` is renewed.
    """
    with files.only_writer(path):
        outcomes, going_on = _read(path), dict(jobs)
        for until in (*halve_at, None):
            left = {key: (run, (job, until) if halve_at else (job,)) for key, job in going_on.items()
                    if not _is_done(outcomes.get(key, {}), until)}
            for key, outcome in as_answered(attempt, left, executor):
                outcomes[key] = outcome
                files.write_json(path, {"sweep": outcomes})
                if report:
                    report(key, outcome)
            if until is not None:
                going_on = _better_half(going_on, outcomes, until)
    return {key: outcomes[key] for key in jobs}


def validations_of(outcome: Mapping[str, Any]) -> list[float]:
    """The validations of a run that goes on, or has ended; an empty list where there are none."""
    result = outcome.get("result")
    values: list[float] = (result if isinstance(result, dict) else outcome).get("validations", [])
    return values


def _is_done(outcome: Mapping[str, Any], until: int | None) -> bool:
    return "result" in outcome or until is not None and len(validations_of(outcome)) >= until


def _better_half(jobs: dict[str, Any], outcomes: dict[str, dict[str, Any]], until: int) -> dict[str, Any]:
    """The better half of the jobs that did not fail; one more if their number is odd."""
    best = {key: min((v for v in validations_of(outcomes[key])[:until] if not np.isnan(v)), default=np.inf)
            for key in jobs if "error" not in outcomes[key]}
    kept = sorted(best, key=best.__getitem__)[: (len(best) + 1) // 2]
    return {key: job for key, job in jobs.items() if key in kept}


def attempt(run: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The outcome of one job."""
    try:
        value = run(*arguments)
    except Exception as error:  # one setting that does not work is no reason to lose the others
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    return {"validations": value} if len(arguments) == 2 and isinstance(value, list) else {"result": value}


def _read(path: protocols.Path) -> dict[str, dict[str, Any]]:
    if not Path(path).exists():
        return {}
    outcomes = files.read_json(path).get("sweep")
    if not isinstance(outcomes, dict) or not all(isinstance(outcome, dict) for outcome in outcomes.values()):
        raise ValueError(f"{path}: it does not hold the results of a sweep")
    return outcomes

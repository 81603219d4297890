"""Sweeps: one function on many settings, on any executor, with the results in one file that a sweep goes on from.

A *setting* is a dict of a value for each axis of the sweep. Settings are all combinations of the values (`grid`), or
are drawn at random (`draws`). What a run is called, its *key*, says everything that its result depends on. So a file
may hold the results of several sweeps, and one that is continued with more values runs only what is new.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import files
from .executors import submit_of
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
    report: Callable[[str, dict[str, Any]], object] | None = None,
) -> dict[str, dict[str, Any]]:
    """Run ``run(job)`` for each job whose result is not in the file yet.

    Parameters
    ----------
    run : callable
        It gives a result of JSON's types. For an executor of other processes, it can be pickled, and so can the jobs.
    jobs : dict of str
        The jobs by their keys.
    path : path
        The file of the results, written after each run.
    executor : Executor or HasExecutor, optional
        Anything with ``submit`` whose futures are those of ``concurrent.futures``, or dask's ``Client``. Without one,
        the jobs are run here, one after the other. In which order they end changes no result.
    report : callable, optional
        Called as report(key, outcome) after each run.

    Returns
    -------
    dict of str
        The outcomes of all jobs by their keys, in the order of the jobs: ``{"result": ...}``, or ``{"error": message}``
        for a run that raised an exception. Those are tried again by the next sweep.

    Raises
    ------
    ValueError
        When the file holds something else, or another sweep is writing it.
    """
    with files.only_writer(path):
        outcomes = _read(path)
        left = {key: job for key, job in jobs.items() if "result" not in outcomes.get(key, ())}
        for key, outcome in _outcomes(run, left, executor):
            outcomes[key] = outcome
            files.write_json(path, {"sweep": outcomes})
            if report:
                report(key, outcome)
    return {key: outcomes[key] for key in jobs}


def attempt(run: Callable[[Any], Any], job: Any) -> dict[str, Any]:
    """The outcome of one job."""
    try:
        return {"result": run(job)}
    except Exception as error:  # one setting that does not work is no reason to lose the others
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())}


def _outcomes(run: Any, jobs: dict[str, Any], executor: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if executor is None:
        yield from ((key, attempt(run, job)) for key, job in jobs.items())
        return
    keys = {submit_of(executor)(attempt, run, job): key for key, job in jobs.items()}
    try:
        for future in as_completed(keys):
            yield keys[future], future.result()
    finally:
        for future in keys:
            future.cancel()


def _read(path: protocols.Path) -> dict[str, dict[str, Any]]:
    if not Path(path).exists():
        return {}
    outcomes = files.read_json(path).get("sweep")
    if not isinstance(outcomes, dict) or not all(isinstance(outcome, dict) for outcome in outcomes.values()):
        raise ValueError(f"{path}: it does not hold the results of a sweep")
    return outcomes

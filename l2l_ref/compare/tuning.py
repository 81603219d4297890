"""Learning rates for the gradient-based baselines, tuned on functions of their own.

As in Andrychowicz et al. 2016, each optimizer is tuned on each problem for the best mean loss at the last step. Only
the learning rate is tuned, on a grid of five values per decade; other constants keep their defaults. A best rate at the
edge of the grid is reported, because a better one may lie beyond.

A problem may have a grid of its own, its attribute ``learning_rates``: the fields of a `Grid`. Where functions are
expensive, its ``stride`` saves work: every so many of its rates are tried, and then those beside the best of them. This
finds the best of all where the final loss has one valley over the rates.

Because an optimizer with a constant learning rate does not know how long it will run, one run of the longest horizon
shows what a rate gives on every shorter one: `tune_horizons`.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import files
from ..baselines.gradient import OPTIMIZERS
from ..optimizees.rollout import rollout

if TYPE_CHECKING:
    from ..protocols import Array, Problem, Seed

LARGEST = 2**16  # bytes of a file in the cache
GRID = tuple(float(f"{10 ** (k / 5):.3g}") for k in range(-20, 6))  # 1e-4 .. 10


class Grid(NamedTuple):
    """Learning rates to try, in ascending order."""

    rates: tuple[float, ...] = GRID
    stride: int = 1


class Tuned(NamedTuple):
    """The result of tuning one optimizer."""

    learning_rate: float
    final_losses: list[float]  # one for each rate: infinity where the optimizer diverged, nan where it was not tried
    at_edge: bool              # whether the learning rate lies at the edge of the grid


def tune(name: str, problem: Problem, steps: int, functions: int, seed: Seed, cache: bool = True) -> Tuned:
    """Find the best learning rate of one optimizer on a problem.

    Parameters
    ----------
    name : str
        A key of ``baselines.gradient.OPTIMIZERS``.
    problem : Problem
        The distribution to tune on. Its functions are drawn with ``seed``.
    steps, functions : int
    seed : int or SeedSequence
    cache : bool
        Use the result of an earlier call, from a file whose name depends on everything that the result depends on, and
        write this file if it is missing.

    Returns
    -------
    Tuned
    """
    grid = _grid(problem)
    file = _cache_file(name, problem, functions, seed, steps=steps, grid=grid) if cache else None
    losses = _read(file, len(grid.rates))
    if losses is None:
        def final_loss(rate: float) -> float:
            curve = rollout(OPTIMIZERS[name](rate), problem.sample(functions, seed), steps)
            return float(curve[-1].mean(dtype=np.float64))

        losses = _search(final_loss, grid)
        _write(file, losses)
    best = int(np.nanargmin(losses))
    return Tuned(grid.rates[best], losses, best in (0, len(grid.rates) - 1))


def tune_horizons(name: str, problem: Problem, horizons: Sequence[int], rates: Sequence[float], functions: int,
                  seed: Seed, cache: bool = True) -> list[Tuned]:
    """The best of these learning rates for each horizon, from one run of the longest for each rate.

    A run is judged by `judged`. The other arguments are those of `tune`.
    """
    file = _cache_file(name, problem, functions, seed, horizons=list(horizons), rates=list(rates)) if cache else None
    losses = _read(file, len(rates) * len(horizons))
    if losses is None:
        with np.errstate(over="ignore", invalid="ignore"):
            curves = [rollout(OPTIMIZERS[name](rate), problem.sample(functions, seed), max(horizons)) for rate in rates]
            finals = [float(judged(curve, horizon).mean()) for horizon in horizons for curve in curves]
        losses = [final if np.isfinite(final) else np.inf for final in finals]
        _write(file, losses)
    tuned = []
    for part in np.split(np.array(losses), len(horizons)):
        best = int(np.argmin(part))
        tuned.append(Tuned(rates[best], part.tolist(), best in (0, len(rates) - 1)))
    return tuned


def judged(curve: Array, horizon: int) -> Array:
    """The loss of a run of ``horizon`` steps: the mean over the last tenth, as in meta-training.

    curve (T + 1, F), T >= horizon -> (F,) float64.
    """
    last: Array = curve[: horizon + 1][-max(1, horizon // 10) :].mean(axis=0, dtype=np.float64)
    return last


def _grid(problem: Any) -> Grid:
    return Grid(*getattr(problem, "learning_rates", ()))


def _search(final_loss: Callable[[float], float], grid: Grid) -> list[float]:
    """The final loss for each rate: infinity for one that is not finite, nan for a rate that was left out."""
    losses = [np.nan] * len(grid.rates)

    def try_all(numbers: Iterable[int]) -> None:
        for k in numbers:
            if np.isnan(losses[k]):
                final = final_loss(grid.rates[k])
                losses[k] = final if np.isfinite(final) else np.inf

    try_all(range(0, len(losses), grid.stride))
    best = int(np.nanargmin(losses))
    try_all(range(max(0, best - grid.stride + 1), min(len(losses), best + grid.stride)))
    return losses


def _cache_file(name: str, problem: Any, functions: int, seed: Seed, **settings: Any) -> Path | None:
    optimizer = OPTIMIZERS[name](1.0)
    data = getattr(problem, "data", None)
    key = {
        "sources": _sources(), "optimizer": name, "constants": asdict(optimizer), "problem": problem.config,
        "data": None if data is None else [zlib.crc32(array) for array in data if isinstance(array, np.ndarray)],
        "functions": functions, "seed": repr(seed), **settings,
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    folder = files.cache_folder()
    return None if folder is None else Path(folder, f"tuning-{digest}.json")


@lru_cache(maxsize=None)
def _sources() -> str:
    """A hash of the code that a result depends on."""
    package, total = Path(__file__).parent.parent, hashlib.sha256()
    for folder in ("baselines", "ops", "optimizees", "datasets"):
        for path in sorted((package / folder).glob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()


def _read(file: Path | None, count: int) -> list[float] | None:
    """The cached losses, or None if there are none or the file cannot be read."""
    try:
        losses = None if file is None else json.loads(files.read_bytes(file, LARGEST).decode())
    except (OSError, ValueError, RecursionError):
        return None
    valid = isinstance(losses, list) and len(losses) == count and all(
        type(loss) is float and loss != -np.inf for loss in losses
    ) and not np.isnan(losses).all()
    return losses if valid else None


def _write(file: Path | None, losses: list[float]) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(file, json.dumps(losses))
    except (OSError, ValueError):  # without a cache tuning takes longer, but it has the same result
        pass

"""The choice between the NumPy originals and their compiled twins. Only this file knows both.

Modules are named in `PARTS` and imported when they are chosen, so a user of the originals never loads numba.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, NamedTuple

from .checks import choice

BACKENDS = ("auto", "numpy", "numba")


class Part(NamedTuple):
    """A file of hot functions, and its twin of the same name."""

    original: str
    twin: str
    threshold: float  # the amount of work from which "auto" takes the twin; measured, see docs/lab-notes/performance.md
    unit: str         # the unit in which the work is counted


PARTS = {
    # For fewer coordinates a step takes about as long in NumPy, and nothing needs to be compiled.
    "coordinatewise": Part("learned.coordinatewise", "compiled.coordinatewise", 256, "coordinates"),
    # For fewer coordinates the twin saves less than half of a step, which NumPy makes in 0.2 ms.
    "moments_mlp": Part("learned.moments_mlp", "compiled.moments_mlp", 256, "coordinates"),
    # For fewer rows a cell takes about as long in NumPy, forward and backward.
    "lstm": Part("ops.lstm", "compiled.lstm", 16, "rows"),
    "heads": Part("ops.heads", "compiled.heads", 16, "rows"),
    # For fewer rows of Cholesky factors, compiling would take longer than it saves.
    "gp": Part("ops.gp", "compiled.gp", 100, "functions x queries"),
    # With less work a network takes a few milliseconds in NumPy, and nothing needs to be compiled.
    "convolution": Part("ops.convolution", "compiled.convolution", 1_000_000, "multiplications"),
    "activations": Part("ops.activations", "compiled.activations", 10_000, "numbers"),
    "normalization": Part("ops.normalization", "compiled.normalization", 10_000, "numbers"),
    # For few rows these twins save 10 microseconds per step, half of the time, but loading them takes as long as tens
    # of thousands of steps. So "auto" never takes them.
    "propose": Part("learned.propose", "compiled.propose", float("inf"), "rows"),
    # The twins take a fifth of the time of a query. Loading them takes as long as a hundred queries on NumPy, about as
    # many as a search makes.
    "surrogate": Part("ops.surrogate", "compiled.surrogate", 10, "points"),
    "stepping": Part("learned.stepping", "compiled.stepping", float("inf"), "searches"),
}


def choose(part: str, backend: str, work: float = 0) -> ModuleType:
    """Return the module whose functions to call: the original or its twin.

    A cache must go to the backward pass of the same module.

    Parameters
    ----------
    part : str
        A key of `PARTS`.
    backend : {"auto", "numpy", "numba"}
        "auto" takes numba if it works here and the work is large enough to profit.
    work : number
        The amount of work, in the unit of the part.

    Raises
    ------
    ValueError
        The backend is unknown.
    ImportError
        The backend is "numba", which does not work here. The message says why.
    """
    choice("backend", backend, BACKENDS)
    original, twin, threshold, _ = PARTS[part]
    if backend == "numba" or backend == "auto" and work >= threshold:
        module = _twin(twin)
        if not isinstance(module, str):
            return module
        if backend == "numba":
            raise ImportError(f"backend: 'numba' does not work here: {module}. Use 'numpy' or 'auto'")
    return importlib.import_module(f".{original}", __package__)


def functions(part: str, backend: str, work: float, names: Sequence[str],
              threads: int | None = None) -> list[Callable[..., Any]]:
    """The functions ``names`` of the module that `choose` returns. Those of a twin run on ``threads`` threads."""
    module = choose(part, backend, work)
    chosen = [getattr(module, name) for name in names]
    if threads is None or name_of(module) == "numpy":
        return chosen
    return [partial(function, threads=threads) for function in chosen]


def identity(backend: str) -> str:
    """The backend as a checkpoint names it: runs with one name compute the same bits on one machine.

    That is "numpy" wherever NumPy does all the work, and otherwise what was asked for: "auto" is not "numba", because
    it leaves small workloads to NumPy. Raises what `choose` raises.
    """
    return "numpy" if name_of(choose("coordinatewise", backend, float("inf"))) == "numpy" else backend


def available(backend: str) -> bool:
    """Whether this backend works here."""
    return backend != "numba" or not isinstance(_twin("compiled.coordinatewise"), str)


def name_of(module: ModuleType) -> str:
    """The backend, "numpy" or "numba", of a module that `choose` returned."""
    return "numba" if f"{__package__}.compiled." in module.__name__ else "numpy"


@lru_cache(maxsize=None)
def _twin(name: str) -> ModuleType | str:
    """The compiled twin of this name, or the reason why it cannot be used."""
    missing = [package for package in ("numba", "scipy") if importlib.util.find_spec(package) is None]
    if missing:
        return f"{' and '.join(missing)} cannot be found, pip install 'l2l-ref[fast]' brings what is missing"
    try:
        return importlib.import_module(f".{name}", __package__)
    except ImportError as error:  # numba refuses versions of NumPy that it does not know, jit.py a disabled JIT
        return str(error)

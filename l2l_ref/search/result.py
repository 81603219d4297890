"""The results of `minimize` and `minimize_many`: dicts with attributes, as SciPy's, which print on one screen."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array

WIDTH = 100  # of what is printed of a field


class _Fields(dict[str, Any]):
    """A dict whose entries are attributes, too."""

    success: bool
    status: int
    message: str
    nfev: int
    nit: int

    if not TYPE_CHECKING:  # type checkers know the fields, and find those that do not exist

        def __getattr__(self, name):
            try:
                return self[name]
            except KeyError:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

        __setattr__, __delattr__ = dict.__setitem__, dict.__delitem__

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:>{width}}: {_short(value)}" for name, value in self.items())

    def __reduce__(self) -> tuple[Any, ...]:
        return make, (_kind(type(self)), dict(self))


class Result(_Fields):
    """What `minimize` found.

    It prints in a few lines. All of it is there: ``result.log``, ``result["log"]``.

    Attributes
    ----------
    x : (d,) array or dict
        The best point; where every evaluation failed, an array of nan, or None. Of a noisy function, the point that is
        recommended, which need not have the best value.
    fun : float
        Its value; of a noisy function, an estimate without the noise.
    nfev, nit : int
        The number of evaluations.
    success : bool
        Whether ``status`` is 0.
    status : int
        0; 1: every evaluation failed; 2: the executor broke; 3: the time was over; 4: the function has a mistake;
        99: the callback ended the run; 130: it was interrupted.
    message : str
        The same in words.
    proposed : dict
        Whose the evaluated points were, of what a `BlackBoxOptimizer` says: {"network": 6, "finish": 44}.
    log : list
        All asks and tells: the log of a `BlackBoxOptimizer`.
    failures : list of (x, message)
        The evaluations that failed.
    traceback : str
        Of the mistake, if the status is 4.
    """

    x: Any
    fun: float
    proposed: dict[str, int]
    log: list[list[Any]]
    failures: list[tuple[Any, str]]
    traceback: str


class ManyResult(_Fields):
    """What `minimize_many` found, for B functions.

    Attributes
    ----------
    x : (B, d) array
        The best point of each function; nan where every evaluation failed.
    fun : (B,) array
        Their values.
    history : (B, T) array
        The values of all evaluations, in their order.
    nfev, nit : int
        The number of evaluations in all, B T, and that of each function, T.
    success : bool
        Whether each function has a value.
    status : int
        0; 1: there is a function of which every evaluation failed.
    message : str
        The same in words.
    """

    x: Array
    fun: Array
    history: Array


Kind = TypeVar("Kind", bound=_Fields)


def make(kind: type[Kind], fields: dict[str, Any]) -> Kind:
    """A Result or ManyResult; where ``scipy.optimize`` is loaded it is one of SciPy's OptimizeResult, too.

    SciPy is not imported for that, because code that compares with its class has loaded it already.
    """
    theirs = getattr(sys.modules.get("scipy.optimize"), "OptimizeResult", None)
    return (kind if theirs is None else _both(kind, theirs))(fields)


@lru_cache
def _both(kind: type[Kind], theirs: type) -> type[Kind]:
    return type(kind.__name__, (kind, theirs), {"__module__": kind.__module__, "__doc__": kind.__doc__})


def _kind(type_: type) -> type:
    """Result or ManyResult, by which pickles name the class."""
    return next(kind for kind in type_.__mro__ if kind in (Result, ManyResult))


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return (np.array2string(value, threshold=6, edgeitems=2, max_line_width=sys.maxsize) if value.ndim == 1
                else f"array of shape {value.shape}")
    if isinstance(value, list):
        text = f"{len(value)} entries, the last: {reprlib.repr(value[-1])}" if value else "none"
    else:
        text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else f"{text[:WIDTH - 4]} ..."

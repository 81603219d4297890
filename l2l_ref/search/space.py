"""What a parameter may be: a number on a linear or logarithmic scale, a whole number, or one of several choices."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..checks import short, whole_number


@dataclass(frozen=True)
class Float:
    """A number from low to high. With low == high it is fixed.

    Parameters
    ----------
    low, high : float
    log : bool
        Whether it is searched on a logarithmic scale.
    step : float, optional
        If given, only low, low + step, low + 2 step, ... are searched.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Int:
    """A whole number from low to high, both included. With low == high it is fixed.

    Parameters
    ----------
    low, high : int
    log : bool
        Whether it is searched on a logarithmic scale.
    step : int
        Only low, low + step, low + 2 step, ... are searched.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1


@dataclass(frozen=True)
class Categorical:
    """One of several choices, which have no order.

    Parameters
    ----------
    choices : sequence
        Values that JSON can write: strings, numbers, booleans, None, and tuples of these. A list becomes a tuple.
    """

    choices: tuple[Any, ...]

    def __init__(self, choices: Iterable[Any]) -> None:
        if isinstance(choices, (str, bytes)) or not isinstance(choices, Iterable):
            raise ValueError(f"choices: expected several of them, got {short(choices)}")
        object.__setattr__(self, "choices", tuple(_tuple(choice) for choice in choices))
        keys = [as_json(choice) for choice in self.choices]
        if not keys or len(set(keys)) < len(keys):
            raise ValueError(f"choices: expected at least one and no two equal ones, got {short(self.choices)}")


Parameter = Float | Int | Categorical
KINDS: dict[str, Any] = {"float": Float, "int": Int, "categorical": Categorical}


def as_json(choice: Any) -> str:
    """The JSON text of a choice, by which choices are told apart. Raises ValueError when it has none."""
    try:
        return json.dumps(choice, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("choices: expected strings, finite numbers, booleans, None or tuples of them, "
                         f"got {short(choice)}") from None


def space_of(space: Mapping[str, Any]) -> dict[str, Parameter]:
    """The parameters by name. What JSON makes of a space is taken, too. Raises ValueError for anything else."""
    parameters: dict[str, Parameter] = {}
    for name, given in space.items():
        if not isinstance(name, str):
            raise ValueError(f"space: expected strings as names, got {short(name)}")
        if isinstance(given, dict):
            fields = dict(given)
            kind = KINDS.get(str(fields.pop("type", None)))
            try:
                given = kind(**fields) if kind else None
            except (TypeError, ValueError) as error:
                raise ValueError(f"space: {name}: {str(error).rpartition('__init__() ')[2]}") from None
        if not isinstance(given, Parameter):
            raise ValueError(f"space: expected a Float, Int or Categorical for {name!r}, or a dict with \"type\" "
                             f"{' or '.join(KINDS)}, got {short(space[name])}")
        parameters[name] = given
    return parameters


def space_as_json(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """A space in JSON's types."""
    names = {kind: name for name, kind in KINDS.items()}
    return {name: {"type": names[type(given)], **json.loads(json.dumps(asdict(given)))}
            for name, given in parameters.items()}


def levels_of(name: str, low: float, high: float, step: float) -> int:
    """The number of values low, low + step, .. up to high. Raises ValueError for a step that is not > 0."""
    if not (math.isfinite(step) and step > 0):
        raise ValueError(f"{name}: expected a step > 0, got {step!r}")
    return math.floor((high - low) / step * (1 + 1e-12) + 1e-9) + 1


def whole_bounds(name: str, given: Int) -> None:
    """Raise ValueError unless the bounds and the step of an Int are whole numbers."""
    for part in ("low", "high"):
        whole_number(f"{name}: {part}", getattr(given, part), least=-(2**53), most=2**53)
    whole_number(f"{name}: step", given.step)


def _tuple(choice: Any) -> Any:
    choice = tuple(choice) if isinstance(choice, (list, tuple)) else choice
    for part in choice if isinstance(choice, tuple) else (choice,):
        if not isinstance(part, (str, int, float, bool, type(None))):
            raise ValueError(f"choices: expected strings, numbers, booleans, None or tuples of them, got {short(part)}")
    return choice

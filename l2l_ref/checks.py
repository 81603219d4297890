"""Checks of arguments, shared by the whole package: each says which argument, what was expected and what came."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    from .protocols import Array

LONGEST = 300  # characters of an object in a message
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # what models and compiled functions compute in


@overload
def whole_number(name: str, value: Any, least: int = ..., most: int | None = ...) -> int: ...


@overload
def whole_number(name: str, value: Any, least: int = 1, most: int | None = None, *, optional: bool) -> int | None: ...


def whole_number(name: str, value: Any, least: int = 1, most: int | None = None, optional: bool = False) -> int | None:
    """``value`` as an int.

    Any integer type will do: ``3``, ``np.int64(3)``. A bool and a float are refused, even ``3.0``, because they are
    usually a slip.

    Raises ValueError unless ``least <= value``, and ``value <= most`` where ``most`` is given. With ``optional``, None
    passes too.
    """
    if optional and value is None:
        return None
    try:
        number = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least or most is not None and number > most:
        wanted = f"a whole number >= {least}" if most is None else f"a whole number in {least}..{most}"
        raise ValueError(f"{name}: expected {'None or ' * optional}{wanted}, got {reprlib.repr(value)}")
    return number


def whole_numbers(name: str, values: Any, least: int = 1, most: int | None = None, count: int | None = None,
                  most_count: int | None = None) -> tuple[int, ...]:
    """A tuple, list or 1-d array of whole numbers, as a tuple of int; ``count`` of them, or at most ``most_count``.

    Raises ValueError for anything else.
    """
    wanted = "" if count is None else f"{count} "
    wanted = wanted if most_count is None else f"at most {most_count} "
    limits = f">= {least}" if most is None else f"in {least}..{most}"
    message = f"{name}: expected {wanted}whole numbers {limits}, got {reprlib.repr(values)}"
    is_row = isinstance(values, (tuple, list)) or isinstance(values, np.ndarray) and values.ndim == 1
    if not is_row or count not in (None, len(values)) or most_count is not None and len(values) > most_count:
        raise ValueError(message)
    try:
        return tuple(whole_number(name, value, least, most) for value in values)
    except ValueError:
        raise ValueError(message) from None


def choice(name: str, value: Any, known: Collection[str]) -> Any:
    """``value`` if it is one of the strings ``known``. Otherwise raises a ValueError that lists them."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {reprlib.repr(value)}")
    return value


def flag(name: str, value: Any) -> bool:
    """``value`` as a bool. Raises ValueError unless it is one."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}: expected True or False, got {reprlib.repr(value)}")
    return bool(value)


def require_optimizer(name: str, value: Any) -> None:
    """Raise TypeError unless ``value`` is an object with ``init`` and ``update``."""
    if isinstance(value, type):
        raise TypeError(f"{name}: expected an object with init and update, got the class {value.__name__}; call it")
    if not (callable(getattr(value, "init", None)) and callable(getattr(value, "update", None))):
        raise TypeError(f"{name}: expected an object with init and update, got {type(value).__name__}")


def require_shape(name: str, array: Any, **dims: int | None) -> None:
    """Raise ValueError unless ``array`` has the shape that the keywords spell out.

    ``require_shape("h", h, N=3, H=None)`` accepts any array of shape (3, anything).
    """
    expected = tuple(dims.values())
    shape = getattr(array, "shape", None)
    if shape is None:
        raise ValueError(f"{name}: expected an array, got {type(array).__name__}")
    if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected)):
        wanted = ", ".join(d if e is None else f"{d}={e}" for d, e in dims.items())
        raise ValueError(f"{name}: expected shape ({wanted}), got {shape}")


def require_floating(name: str, array: Array) -> None:
    """Raise ValueError unless ``array`` holds floating numbers, real or complex."""
    if array.dtype.kind not in "fc":
        raise ValueError(f"{name}: expected floating numbers, got {array.dtype}")


def positive(name: str, value: Any, like: Array, single: bool = False) -> Array:
    """``value`` as an array in the precision of ``like``; complex numbers stay complex.

    Raises ValueError unless all entries are finite numbers > 0. With ``single``, there must be one number.
    """
    value = np.asarray(value)
    if value.dtype.kind not in "iufc" or not (np.isfinite(value) & (value.real > 0)).all():
        raise ValueError(f"{name}: expected finite numbers > 0, got {value}")
    if single and value.ndim:
        raise ValueError(f"{name}: expected one number, got an array of shape {value.shape}")
    numbers: Array = value if value.dtype.kind == "c" else value.astype(like.dtype)
    return numbers


def short(value: Any) -> str:
    """What to call any object in a message: its repr, if that can be made, cut to some hundred characters."""
    try:
        text = reprlib.repr(value)
    except Exception:  # that of the user's __repr__, and that of an int of thousands of digits
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def told_values(values: Any, count: int) -> Array:
    """The values (count,) of as many functions, nan for evaluations that failed, or that are no number.

    Raises ValueError for another shape.
    """
    y = values.astype(object).filled(math.nan) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    if y.shape != (count,):
        raise ValueError(f"fun: expected values of shape ({count},), got {y.shape}")
    if y.dtype.kind not in "fiub":
        y = np.array([_value_or_nan(value) for value in y], np.float64)
    return np.where(np.isfinite(y), y, np.nan).astype(np.float64)


def _value_or_nan(value: Any) -> float:
    try:
        return told_value(value)
    except ValueError:
        return math.nan


def told_value(value: Any) -> float:
    """A value that an optimizer was told, as a float; nan for an evaluation that failed.

    Raises ValueError for what is neither a number nor None.
    """
    if type(value) is float:  # as most are
        return value if math.isfinite(value) else math.nan
    if value is None:
        return math.nan
    if isinstance(value, np.ma.MaskedArray) and value.size == 1 and np.ma.getmaskarray(value).all():
        return math.nan
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    # float() would read a text, and drop an imaginary part
    given: Any = None if isinstance(value, (str, bytes, bytearray, memoryview, np.complexfloating)) else value
    try:
        number = float(given)
    except OverflowError:  # an int of hundreds of digits
        return math.nan
    except Exception:  # that of the user's __float__
        raise ValueError(f"value: expected a number or None, got {short(value)}") from None
    return number if math.isfinite(number) else math.nan


def is_feasible(constraints: Any) -> bool:
    """Whether all constraints are >= 0, or true. Raises ValueError when they are no numbers."""
    try:
        numbers = np.asarray(constraints)
        if numbers.dtype.kind not in "fiub":
            numbers = np.array([told_value(number) for number in numbers.ravel()])
    except (TypeError, ValueError):
        raise ValueError(f"constraints: expected numbers, got {short(constraints)}") from None
    if numbers.dtype.kind == "b":
        return bool(numbers.all())
    return bool((numbers >= 0).all())

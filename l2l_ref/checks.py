"""Checks of arguments, shared by the whole package: each says which argument, what was expected and what came."""

import math
import operator
import reprlib

import numpy as np


def whole_number(name, value, least=1, most=None, optional=False):
    """``value`` as an int.

    Any integer type will do: ``3``, ``np.int64(3)``. A bool and a float are refused, ``3.0`` too, since they are
    usually a slip.

    Raises ValueError unless ``least <= value``, and ``value <= most`` where ``most`` is given; ``optional`` lets None
    pass.
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


def whole_numbers(name, values, least=1, most=None, count=None, most_count=None):
    """A tuple, list or 1-d array of whole numbers, as a tuple of int; ``count`` of them, or at most ``most_count``."""
    wanted = "" if count is None else f"{count} "
    wanted = wanted if most_count is None else f"at most {most_count} "
    limits = f">= {least}" if most is None else f"in {least}..{most}"
    message = f"{name}: expected {wanted}whole numbers {limits}, got {reprlib.repr(values)}"
    is_row = isinstance(values, (tuple, list)) or isinstance(values, np.ndarray) and values.ndim == 1
    if not is_row or count not in (None, len(values)) or (
        most_count is not None and len(values) > most_count
    ):
        raise ValueError(message)
    try:
        return tuple(whole_number(name, value, least, most) for value in values)
    except ValueError:
        raise ValueError(message) from None


def choice(name, value, known):
    """``value`` when it is one of the strings ``known``; ValueError that lists them otherwise."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {reprlib.repr(value)}")
    return value


def require_shape(name, array, **dims):
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


def require_floating(name, array):
    """Raise ValueError unless ``array`` holds floating numbers, real or complex."""
    if array.dtype.kind not in "fc":
        raise ValueError(f"{name}: expected floating numbers, got {array.dtype}")


def positive(name, value, like, single=False):
    """``value`` as an array in the precision of ``like``; complex numbers stay complex.

    Raises ValueError unless all of it are numbers that are finite and > 0, and one number if ``single``.
    """
    value = np.asarray(value)
    if value.dtype.kind not in "iufc" or not (np.isfinite(value) & (value.real > 0)).all():
        raise ValueError(f"{name}: expected finite numbers > 0, got {value}")
    if single and value.ndim:
        raise ValueError(f"{name}: expected one number, got an array of shape {value.shape}")
    return value if value.dtype.kind == "c" else value.astype(like.dtype)


def told_value(value):
    """A value that an optimizer was told, as a float; nan for an evaluation that failed."""
    if type(value) is float:  # as most are
        return value if math.isfinite(value) else math.nan
    if value is None:
        return math.nan
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    try:
        value = float(value if not isinstance(value, (str, bytes)) else None)
    except (TypeError, ValueError):
        raise ValueError(f"value: expected a number or None, got {value!r}") from None
    except OverflowError:  # an int of hundreds of digits
        return math.nan
    return value if math.isfinite(value) else math.nan

"""Checks of arguments that every floor of the package shares."""

import math

import numpy as np


def number(value):
    """A value that was told, as a float; nan for one that failed."""
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

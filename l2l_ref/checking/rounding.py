"""The rounding error inside of somebody's code, measured: the code runs with every operation rounded up, then down.

    G6  error of a computed number  <  about |number rounded up, or down - number as it is|

A difference of values of f sees the function that f computes, and not the one that it means. If a matrix that f solves
with has the condition number 1e12, then f is off by a factor of 1 + 1e-4 everywhere, in the same way: its slopes agree
with each other to the last digit, and with nothing else. Only other roundings show this. The processor can be told to
round every result up, or every result down, and G6 is what then changes (J. Vignes, "A stochastic arithmetic for
reliable scientific computing", 1993). It costs two calls, and is used before anything is called wrong.
"""

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

Mode = Literal["up", "down"]

# The C header fenv.h has these numbers: the two bits of the control register that choose the rounding.
_MODES: dict[str, dict[Mode, int]] = {
    "x86_64": {"down": 0x400, "up": 0x800},
    "aarch64": {"down": 0x800000, "up": 0x400000},
    "arm64": {"down": 0x800000, "up": 0x400000},
}


@contextmanager
def rounded(mode: Mode) -> Iterator[bool]:
    """Round every floating operation of this thread ``mode``, where that can be done: the value says whether it is."""
    control = _control()
    if control is None:
        yield False
        return
    before = control.fegetround()
    try:
        yield control.fesetround(_MODES[platform.machine()][mode]) == 0
    finally:
        control.fesetround(before)


def both_ways(function: Callable[[], Any]) -> tuple[Any, Any] | None:
    """What ``function()`` returns rounded up and rounded down; None where the rounding cannot be chosen."""
    if _control() is None:
        return None
    with rounded("up"):
        up = function()
    with rounded("down"):
        return up, function()


@cache
def _control() -> Any:
    """The C library with fegetround and fesetround, or None."""
    if platform.machine() not in _MODES:
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.fesetround(library.fegetround()) == 0 else None
    except (AttributeError, OSError, TypeError):  # another system
        return None

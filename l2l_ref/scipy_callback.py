"""SciPy's two forms of callback."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any


def call_back(callback: Callable[..., Any], intermediate_result: Any) -> None:
    """Call ``callback(intermediate_result=...)``, or ``callback(x)``.

    SciPy tells the two forms apart by the name of the argument, and so does this.
    """
    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        callback(intermediate_result=intermediate_result)
    else:
        callback(intermediate_result.x)

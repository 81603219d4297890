"""What a data set is to the rest of the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Images(NamedTuple):
    """Images and their labels, or the rows of a table; those of the named data sets are read-only.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, D)
        One image per row, its pixels line by line, the colours of a pixel side by side. Of a table: numbers of any
        dtype, one row of features per sample.
    labels : ndarray of uint8, shape (N,)
        Of a regression: the targets, floating-point numbers (N, C).
    scale : float
        The largest value a pixel can have; ``images / scale`` lies in [0, 1]. 1 for a table.
    classes : int
        Labels are 0 .. classes - 1. Of a regression: C, the number of targets.
    shape : tuple of int
        Rows, columns and colours of an image; their product is D.
    """

    images: np.ndarray
    labels: np.ndarray
    scale: float
    classes: int
    shape: tuple[int, int, int]


class Loaded(Images):
    """Images that `load` has found. They are pickled by name: who unpickles them loads them where it runs."""

    again: tuple[Callable[..., Images], tuple[Any, ...]] | None = None

    @classmethod
    def of(cls, found: Images, load: Callable[..., Images], *arguments: Any) -> Loaded:
        """The images that ``load(*arguments)`` gives."""
        made = cls(*found)
        made.again = load, arguments
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return self.again or (Images, tuple(self))  # those of _replace have other content

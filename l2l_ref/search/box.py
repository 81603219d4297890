"""The box that a user searches, and the unit cube that the network sees of it.

    lo, hi = low, high           hi = high + 1 for integers, so that each has an interval of the same length
    x(u) = lo + u (hi - lo)      on a log scale, the same of the logarithms; then floor for integers; then into the box
    u(x) = (x - lo) / (hi - lo)  its inverse; an integer is in the middle of its interval

There are also the symmetries of the cube. They leave the distribution of the functions that networks are trained on as
it is, so the network may see the cube in any orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array

LARGEST_INTEGER = 2.0**53  # the integers up to here are float64 numbers


class Box:
    """Bounds (d, 2); ``integers`` and ``log`` say which dimensions are whole numbers and which have a log scale.

    Raises ValueError for bounds that are none.
    """

    bounds: Array  # (d, 2)
    low: Array     # (d,)
    high: Array
    integers: Array  # (d,), of bool
    log: Array
    dim: int         # d
    any_integer: bool

    def __init__(self, bounds: Any, integers: Any = None, log: Any = None) -> None:
        if hasattr(bounds, "lb"):  # SciPy's Bounds
            bounds = np.column_stack(np.broadcast_arrays(bounds.lb, bounds.ub))
        try:
            self.bounds = np.array(bounds, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"bounds: expected pairs of numbers, got {bounds!r}") from None
        if self.bounds.ndim != 2 or self.bounds.shape[1] != 2 or not len(self.bounds):
            raise ValueError(f"bounds: expected shape (d, 2), got {self.bounds.shape}")
        self.low, self.high = low, high = np.ascontiguousarray(self.bounds.T)
        self.dim = len(low)
        self.integers, self.log = _mask("integers", integers, self.dim), _mask("log", log, self.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            widths = high - low
        for k in range(self.dim):
            pair = f"({low[k]:g}, {high[k]:g}) in dimension {k}"
            if not (np.isfinite(widths[k]) and widths[k] > 0):
                raise ValueError(f"bounds: expected low < high, finite and a finite distance apart, got {pair}")
            if self.log[k] and not low[k] > 0:
                raise ValueError(f"bounds: expected low > 0 on a log scale, got {pair}")
            if self.integers[k] and not (low[k] % 1 == high[k] % 1 == 0 and max(-low[k], high[k]) < LARGEST_INTEGER):
                raise ValueError(f"bounds: expected whole numbers below 2**53 for integers, got {pair}")
        self._lo, hi = low.copy(), np.where(self.integers, high + 1, high)
        self._lo[self.log], hi[self.log] = np.log(low[self.log]), np.log(hi[self.log])
        self._width = hi - self._lo
        self._half = np.where(self.integers, 0.5, 0.0)
        self.any_integer, self._any_log = bool(self.integers.any()), bool(self.log.any())
        if not (self._width > 0).all():
            raise ValueError("bounds: expected logarithms that differ")

    @property
    def table(self) -> Array:
        """Everything that `point` depends on, (6, d): lo, width, low, high; log and integers as 0 or 1."""
        return np.stack([self._lo, self._width, self.low, self.high, self.log, self.integers])

    def point(self, u: Array) -> Array:
        """u (d,) or (B, d) of the unit cube -> x in the box."""
        x = self._lo + u * self._width
        if self._any_log:
            x = np.where(self.log, np.exp(np.where(self.log, x, 0)), x)
        if self.any_integer:
            x = np.where(self.integers, np.floor(x), x)
        return np.minimum(np.maximum(x, self.low), self.high)

    def unit(self, x: Array) -> Array:
        """x in the box -> u (d,) of the unit cube."""
        if self.any_integer:
            x = x + self._half
        if self._any_log:
            x = np.where(self.log, np.log(np.where(self.log, x, 1)), x)
        return np.minimum(np.maximum((x - self._lo) / self._width, 0), 1)

    def checked(self, x: Any) -> Array:
        """x as a float64 array (d,). Raises ValueError when it is none, or outside of the box."""
        try:
            x = np.array(x, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"x: expected {self.dim} numbers, got {x!r}") from None
        if x.shape != (self.dim,):
            raise ValueError(f"x: expected shape ({self.dim},), got {x.shape}")
        if not ((x >= self.low) & (x <= self.high)).all():
            raise ValueError(f"x: expected a point within the bounds, got {x.tolist()}")
        if (x[self.integers] % 1 != 0).any():
            raise ValueError(f"x: expected whole numbers where integers says so, got {x.tolist()}")
        return x


class Symmetry:
    """A permutation of the coordinates of the cube, and flips: x -> (offset + sign x)[order]."""

    def __init__(self, rng: np.random.Generator, dim: int) -> None:
        flip = rng.integers(2, size=dim)
        self._sign, self._offset = 1.0 - 2.0 * flip, flip.astype(np.float64)
        self._order = rng.permutation(dim)
        self._inverse = np.argsort(self._order)

    @property
    def table(self) -> Array:
        """Sign, offset and order, (3, D)."""
        return np.stack([self._sign, self._offset, self._order])

    def to_network(self, u: Array) -> Array:
        """u (D,) of the user's cube -> the network's."""
        return (self._offset + self._sign * u).take(self._order)

    def from_network(self, v: Array) -> Array:
        """v (D,) of the network's cube -> the user's, in float64."""
        return self._offset + self._sign * v.take(self._inverse)


class Symmetries:
    """A Symmetry for each of B functions, drawn by their own ``rngs``; (B, D) in, (B, D) out."""

    def __init__(self, rngs: Sequence[np.random.Generator], dim: int) -> None:
        parts = [Symmetry(rng, dim) for rng in rngs]
        self._sign, self._offset, self._order, self._inverse = (
            np.stack([getattr(part, name) for part in parts]) for name in ("_sign", "_offset", "_order", "_inverse")
        )

    def to_network(self, u: Array) -> Array:
        """u (B, D) of the user's cubes -> the network's."""
        return np.take_along_axis(self._offset + self._sign * u, self._order, axis=1)

    def from_network(self, v: Array) -> Array:
        """v (B, D) of the network's cubes -> the user's, in float64."""
        return self._offset + self._sign * np.take_along_axis(v, self._inverse, axis=1)


def _mask(name: str, mask: Any, dim: int) -> Array:
    if mask is None:
        return np.zeros(dim, bool)
    mask = np.asarray(mask)
    if mask.shape != (dim,) or mask.dtype != bool:
        raise ValueError(f"{name}: expected None or {dim} booleans, got {mask.tolist()!r}")
    return mask.copy()

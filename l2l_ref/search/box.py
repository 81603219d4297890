"""The box that a user searches, and the unit cube that the network sees of it.

    lo, hi = low, high           hi = high + 1 for integers, so that each has an interval of the same length
    x(u) = lo + u (hi - lo)      on a log scale, the same of the logarithms; then floor for integers; then into the box
    u(x) = (x - lo) / (hi - lo)  its inverse; an integer is in the middle of its interval

Of a parameter with steps, the number of steps above low is such an integer; of a categorical one, the number of the
choice. A fixed parameter has no coordinate in the cube.

There are also the symmetries of the cube. They leave the distribution of the functions that networks are trained on as
it is, so the network may see the cube in any orientation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import short
from .space import Categorical, Int, as_json, levels_of, space_as_json, space_of, whole_bounds

if TYPE_CHECKING:
    from ..protocols import Array

LARGEST_INTEGER = 2.0**53  # the integers up to here are float64 numbers
ROUNDING = 16 * np.finfo(np.float64).eps  # of an edge of the box that the user has computed in another way


class Box:
    """What is searched: bounds (d, 2), or a dict of `Float`, `Int` and `Categorical` by name.

    Of bounds, ``integers`` and ``log`` say which dimensions are whole numbers and which have a log scale.

    A point is known in three forms: u (dim,) in the unit cube; x (d,), all of it as numbers, of which a choice is its
    number; and what the user sees, which is x for bounds, and a dict for a space.

    Raises ValueError for bounds that are none.
    """

    names: tuple[str, ...] | None  # of the parameters, where they have some
    bounds: Array  # (d, 2)
    low: Array     # (d,)
    high: Array
    integers: Array  # (d,), of bool; choices are integers, too
    log: Array
    free: Array    # the numbers of the parameters that are not fixed
    dim: int       # how many there are
    any_integer: bool
    categorical: Array  # (dim,), of bool: which coordinates have no order
    levels: Array       # (dim,), how many values each of them takes: infinity for a continuous one

    def __init__(self, bounds: Any, integers: Any = None, log: Any = None) -> None:
        self.names = None
        self._choices: list[tuple[Any, ...] | None] = []
        if isinstance(bounds, Mapping):
            self._from_space(bounds, integers, log)
        else:
            self._from_bounds(bounds, integers, log)
        low, high = self.low, self.high
        where = [repr(name) for name in self.names] if self.names else [f"dimension {k}" for k in range(len(low))]
        kind = "space" if self.names else "bounds"
        with np.errstate(over="ignore", invalid="ignore"):
            widths = high - low
        for k in range(len(low)):
            pair = f"({low[k]:g}, {high[k]:g}) in {where[k]}"
            if not (np.isfinite(widths[k]) and widths[k] >= 0):
                raise ValueError(f"{kind}: expected low < high, finite and a finite distance apart, or low == high, "
                                 f"got {pair}")
            if self.log[k] and not low[k] > 0:
                raise ValueError(f"{kind}: expected low > 0 on a log scale, got {pair}")
            if self.integers[k] and not (low[k] % 1 == high[k] % 1 == 0 and max(-low[k], high[k]) < LARGEST_INTEGER):
                raise ValueError(f"{kind}: expected whole numbers below 2**53 for integers, got {pair}")
            if self._step[k]:
                if self.log[k]:
                    raise ValueError(f"{kind}: expected no step on a log scale, got {self._step[k]:g} in {where[k]}")
                high[k] = low[k] + self._step[k] * (levels_of(kind, low[k], high[k], self._step[k]) - 1)
        self.free = np.flatnonzero(high > low)
        self.dim = len(self.free)
        if not self.dim:
            raise ValueError(f"{kind}: expected a parameter with low < high, got fixed ones alone")
        self._set_up()

    def _from_bounds(self, bounds: Any, integers: Any, log: Any) -> None:
        if hasattr(bounds, "lb"):  # SciPy's Bounds
            bounds = np.column_stack(np.broadcast_arrays(bounds.lb, bounds.ub))
        try:
            self.bounds = np.array(bounds, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"bounds: expected pairs of numbers, got {bounds!r}") from None
        if self.bounds.ndim != 2 or self.bounds.shape[1] != 2 or not len(self.bounds):
            raise ValueError(f"bounds: expected shape (d, 2), got {self.bounds.shape}")
        self.low, self.high = np.ascontiguousarray(self.bounds.T)
        self.integers, self.log = _mask("integers", integers, len(self.low)), _mask("log", log, len(self.low))
        self._step = np.zeros(len(self.low))

    def _from_space(self, space: Any, integers: Any, log: Any) -> None:
        if integers is not None or log is not None:
            raise ValueError("integers, log: expected None, because the parameters of a space say so themselves")
        self._space = space_of(space)
        rows: list[tuple[float, ...]] = []
        for name, given in self._space.items():
            choices = given.choices if isinstance(given, Categorical) else None
            self._choices.append(choices)
            if isinstance(given, Categorical):
                rows.append((0, len(given.choices) - 1, True, False, 0))
                continue
            if isinstance(given, Int):
                whole_bounds(name, given)
            step = given.step or 0 if not isinstance(given, Int) else given.step if given.step > 1 else 0
            if given.step is not None and given.step != given.step or given.step is not None and given.step <= 0:
                raise ValueError(f"space: {name}: expected a step > 0, got {given.step!r}")
            rows.append((given.low, given.high, isinstance(given, Int), given.log, step))
        if not rows:
            raise ValueError("space: expected at least one parameter, got none")
        try:
            table = np.array(rows, np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"space: expected numbers as low, high and step, got {short(space)}") from None
        self.names = tuple(self._space)
        self.low, self.high, self._step = table[:, 0].copy(), table[:, 1].copy(), table[:, 4].copy()
        self.bounds = table[:, :2]
        self.integers, self.log = table[:, 2] > 0, table[:, 3] > 0

    def _set_up(self) -> None:
        """What maps u to x and back, of the parameters that are free."""
        free, step = self.free, self._step[self.free]
        low, high = self.low[free], self.high[free]
        self._z_low = np.where(step > 0, 0, low)
        self._z_high = np.where(step > 0, np.rint((high - low) / np.where(step > 0, step, 1)), high)
        self._z_integers, self._z_log = self.integers[free] | (step > 0), self.log[free]
        self._lo, hi = self._z_low.copy(), np.where(self._z_integers, self._z_high + 1, self._z_high)
        self._lo[self._z_log], hi[self._z_log] = np.log(self._lo[self._z_log]), np.log(hi[self._z_log])
        self._width = hi - self._lo
        self._half = np.where(self._z_integers, 0.5, 0.0)
        self.any_integer, self._any_log = bool(self._z_integers.any()), bool(self._z_log.any())
        self._plain = self.dim == len(self.low) and not step.any()  # whether x is what `table` makes of u
        self._all_integers = self.names is None and bool(self.integers.all())
        self.levels = np.where(self._z_integers, self._z_high - self._z_low + 1, np.inf)
        self.categorical = np.array([bool(self._choices) and self._choices[k] is not None for k in free])
        if not (self._width > 0).all():
            raise ValueError("bounds: expected logarithms that differ")

    @property
    def table(self) -> Array:
        """Everything that `point` depends on before `whole`, (6, dim): lo, width, low, high; log and integers, 0 or 1.
        """
        return np.stack([self._lo, self._width, self._z_low, self._z_high, self._z_log, self._z_integers])

    def point(self, u: Array) -> Array:
        """u (dim,) or (B, dim) of the unit cube -> x in the box."""
        z = self._lo + u * self._width
        if self._any_log:
            z = np.where(self._z_log, np.exp(np.where(self._z_log, z, 0)), z)
        if self.any_integer:
            z = np.where(self._z_integers, np.floor(z), z)
        return self.whole(np.minimum(np.maximum(z, self._z_low), self._z_high))

    def whole(self, z: Array) -> Array:
        """The free parameters z (..., dim), in steps above low where there are steps -> x (..., d)."""
        if self._plain:
            return z
        step = self._step[self.free]
        x = np.empty((*z.shape[:-1], len(self.low)))
        x[...] = self.low
        x[..., self.free] = np.where(step > 0, np.minimum(self.low[self.free] + step * z, self.high[self.free]), z)
        return x

    def grid(self) -> Array:
        """All points x (n, d) of a box in which no coordinate is continuous."""
        axes = [first + np.arange(n) for first, n in zip(self._z_low, self.levels)]
        return self.whole(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dim))

    def unit(self, x: Array) -> Array:
        """x in the box -> u (dim,) of the unit cube."""
        if not self._plain:
            x, step = x[..., self.free], self._step[self.free]
            x = np.where(step > 0, np.rint((x - self.low[self.free]) / np.where(step > 0, step, 1)), x)
        if self.any_integer:
            x = x + self._half
        if self._any_log:
            x = np.where(self._z_log, np.log(np.where(self._z_log, x, 1)), x)
        return np.minimum(np.maximum((x - self._lo) / self._width, 0), 1)

    # ------------------------------------------------------------------------------------- what the user sees of it

    def to_user(self, x: Array) -> Any:
        """x -> what a function gets: for bounds an array, of whole numbers where all are; for a space a dict."""
        if self.names is not None:
            return {name: self._value(k, number) for k, (name, number) in enumerate(zip(self.names, x.tolist()))}
        if self._all_integers and np.isfinite(x).all():
            return x.astype(np.int64)
        return x

    def to_json(self, x: Array) -> Any:
        """x -> what stands in a log: a list of numbers, or a dict."""
        return x.tolist() if self.names is None else {name: list(value) if isinstance(value, tuple) else value
                                                      for name, value in self.to_user(x).items()}

    def _value(self, k: int, number: float) -> Any:
        choices = self._choices[k]
        if choices is not None:
            return choices[int(number)]
        return int(number) if self.integers[k] else number

    def checked(self, given: Any) -> Array:
        """What a user or a log has of a point -> x (d,), float64. It may lie outside of an edge by a rounding.

        Raises ValueError when it is no point, or outside of the box.
        """
        d = len(self.low)
        try:
            numbers = np.asarray(given if self.names is None else self._numbers(given))
            if isinstance(given, (bytes, bytearray)) or np.ma.is_masked(given) or numbers.dtype.kind not in "fiubO":
                raise TypeError
            x = np.array(numbers, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            text = str(error) if str(error).startswith("x: ") else f"x: expected {d} numbers, got {short(given)}"
            raise ValueError(text) from None
        if x.shape != (d,):
            raise ValueError(f"x: expected shape ({d},), got {x.shape}")
        if ((x >= self.low) & (x <= self.high)).all() and not (self.any_integer or self._step.any()):
            return x
        near = np.minimum(np.maximum(x, self.low), self.high)
        near = np.where(self.integers, np.rint(near), near)
        near = np.where(self._step > 0, self.low + self._step * np.rint(
            (near - self.low) / np.where(self._step > 0, self._step, 1)), near)
        wrong = ~(np.abs(x - near) <= ROUNDING * np.maximum(np.abs(self.low), np.abs(self.high)))
        if not wrong.any():
            return near
        if not (wrong & (x > self.low) & (x < self.high)).any() or not np.isfinite(x).all():
            raise ValueError(f"x: expected a point within the bounds, got {x.tolist()}")
        what = "a whole number of steps above low" if (wrong & (self._step > 0)).any() else "whole numbers"
        raise ValueError(f"x: expected {what} where the box says so, got {x.tolist()}")

    def _numbers(self, given: Any) -> list[float]:
        """The numbers of a dict with a value for each name."""
        names = self.names or ()
        if not isinstance(given, Mapping) or set(given) != set(names):
            raise ValueError(f"x: expected a dict with {', '.join(map(repr, names))}, got {short(given)}")
        numbers = []
        for k, name in enumerate(names):
            value, choices = given[name], self._choices[k]
            if choices is not None:
                keys = [as_json(choice) for choice in choices]
                try:
                    value = keys.index(as_json(value))
                except ValueError:
                    raise ValueError(f"x: expected one of {short(choices)} as {name!r}, got {short(value)}") from None
            elif isinstance(value, (str, bytes, bytearray)):
                raise ValueError(f"x: expected a number as {name!r}, got {short(value)}")
            numbers.append(value)
        return numbers

    def as_json(self) -> dict[str, Any]:
        """What makes the same box again, in JSON's types: the part of a state."""
        if self.names is not None:
            return {"space": space_as_json(self._space)}
        return {"bounds": self.bounds.tolist(), "integers": self.integers.tolist(), "log": self.log.tolist()}


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

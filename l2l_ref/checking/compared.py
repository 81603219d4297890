"""What is known of a wrong gradient, for the hypotheses of `diagnosis` and `places`."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .entries import Checked

ENOUGH = 2    # a likely guess must explain at least this many entries,
LIKELY = 6    # and this many digits
CLEAR = 10.0  # a number above this many bounds is certainly not 0

Outputs = Sequence[tuple[str, tuple[int, ...]]]  # (path, shape) of each output


class Compared:
    """The claimed gradient C of one array, the numeric gradient G, their bound B, and what they may depend on.

    Parameters
    ----------
    path : str
    checked : Checked
    outputs : sequence of (path, shape)
        In the order of ``checked.terms``.
    values : array, optional
        The values of the input array itself.
    outputs_values, cotangent : (M,) arrays, optional
        The value of each output number, and its cotangent.
    others : sequence of (path, array)
        The values of the other inputs.
    rows : int
        How many leading axes of C and G belong to the output: 0 for a gradient, more for a Jacobian.
    """

    def __init__(
        self, path: str, checked: Checked, outputs: Outputs, *, values: Any = None, outputs_values: Any = None,
        cotangent: Any = None, others: Sequence[tuple[str, Any]] = (), rows: int = 0,
    ) -> None:
        self.path = path
        self.C, self.G = checked.gradient.astype(float), checked.numeric
        self.known = np.isfinite(self.G)
        self.B = np.where(self.known, checked.limit, 0.0)
        self.terms = checked.terms  # (M, ...)
        self.outputs = outputs if len(self.terms) else ()
        self.values = _real(values)
        self.outputs_values = _real(outputs_values)
        self.cotangent = _real(cotangent)
        self.others = [(name, real) for name, value in others if (real := _real(value)) is not None]
        self.rows = rows
        count = math.prod(self.G.shape[:rows]) if rows else len(self.terms)
        if self.outputs_values is not None and self.outputs_values.size != count:
            self.outputs_values = None  # the parts of G that come through each output number are not known

    @property
    def noun(self) -> str:
        return "Jacobian" if self.rows else "gradient"

    @property
    def this(self) -> str:
        return f"the {self.noun} of {self.path}"

    @property
    def scale(self) -> float:
        """By what a number that was added to a derivative is multiplied in C; 0 if that is not one number."""
        if self.cotangent is None or self.rows:
            return 1.0
        return float(self.cotangent[0]) if self.cotangent.size == 1 else 0.0

    def fits(self, value: np.ndarray, bound: Any = 0.0) -> bool:
        """Whether C agrees with another gradient, within B and the bound of that gradient, wherever G is known."""
        return self.C.shape == value.shape and bool((np.abs(self.C - value) <= self.B + bound)[self.known].all())

    def nonzero(self, value: np.ndarray) -> bool:
        return bool((np.abs(value) > CLEAR * self.B)[self.known].any())

    @property
    def sources(self) -> list[tuple[str, str, np.ndarray]]:
        """(kind, name, values) of what a factor of G may depend on."""
        found = [] if self.values is None else [("input", self.path, self.values)]
        found += [] if self.outputs_values is None else [("output", "out", self.outputs_values)]
        found += [("other", name, value) for name, value in self.others]
        return [item for item in found if item[0] == "output" or broadcasts(item[2].shape, self.G.shape)]

    def times(self, kind: str, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """G times a factor, and the bound of that. If the kind is "output", each output number has its own factor."""
        if kind != "output":
            return self.G * factor, self.B * np.abs(factor)
        bound = self.B * np.abs(factor).max()
        if self.rows:
            return self.G * factor.reshape(self.G.shape[: self.rows] + (1,) * (self.G.ndim - self.rows)), bound
        return np.tensordot(factor, self.terms, 1), bound

    def is_symmetric(self, M: np.ndarray) -> bool:
        """Whether M, which has the shape of C, is a symmetric matrix within the bounds."""
        if M.ndim != 2 or M.shape[0] != M.shape[1] or not self.known.all():
            return False
        return bool((np.abs(M - M.T) <= self.B + self.B.T).all())

    @property
    def informative(self) -> np.ndarray:
        """The entries whose slope is well above its bound."""
        return np.asarray(self.known & (np.abs(self.G) > CLEAR * self.B))

    @property
    def bad(self) -> np.ndarray:
        """The entries that are wrong."""
        return np.asarray(self.known & ~(np.abs(self.C - self.G) <= self.B))

    @property
    def right(self) -> np.ndarray:
        """The entries that are right, and would show a mistake of the size of the others', absolute or relative."""
        right, bad = self.informative & ~self.bad, self.bad
        if not bad.any():
            return np.asarray(right)
        off, size = np.abs(self.C - self.G), np.abs(self.G)
        with np.errstate(divide="ignore", invalid="ignore"):
            typical = np.minimum(np.median(off[bad]), np.median(off[bad] / size[bad]) * size)
        return np.asarray(right & (self.B < typical))


def _real(values: Any) -> np.ndarray | None:
    """An array of floats; None without values or if they are complex."""
    return None if values is None or np.iscomplexobj(values) else np.asarray(values, float)


def multiple_of(
    wrong: Compared, value: np.ndarray, bound: np.ndarray | None = None, where: Any = True
) -> float | None:
    """The number k with C = k * value, at the entries ``where``; None if there is no such number."""
    where = where & wrong.known
    C, value, B, bound = wrong.C[where], value[where], wrong.B[where], (wrong.B if bound is None else bound)[where]
    sure = np.abs(value) > CLEAR * bound
    if not sure.any():
        return None
    weight = np.where(sure, np.abs(value) / np.where(B > 0.0, B, np.abs(value).max()), 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        k = float((weight * np.where(sure, C / value, 0.0)).sum() / weight.sum())
    off = np.abs(C - k * value) > 2.0 * np.maximum(B, abs(k) * bound)
    return None if off.any() or not math.isfinite(k) else k


def accuracy_of(wrong: Compared, k: float, value: np.ndarray, where: Any = True) -> float:
    """How well the number k of `multiple_of` is known, relative to itself."""
    where = where & wrong.informative
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.min((1.0 + abs(k)) * wrong.B[where] / np.abs(k * value[where]), initial=1.0))


def broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether NumPy repeats an array of a shape to fill another one."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))

"""Guesses at the mistake in a wrong gradient: hypotheses, each of which must explain every entry that was checked.

Let C be the claim of f_backward, G the gradient from values of f, and B the bound of each entry. A hypothesis computes
a gradient from G. It is kept if C agrees with that gradient within B everywhere, and it is called likely if so many
entries agree that this cannot be chance. If no hypothesis fits, there is no guess.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .entries import Checked
from .report import Guess

ENOUGH = 2  # a likely hypothesis must explain at least this many informative entries
NICE = 1e-6  # how close a factor must be to a number like 2 or 1/8 to be called so

Outputs = Sequence[tuple[str, tuple[int, ...]]]  # (path, shape) of each output


class Compared:
    """The claimed gradient C of one array, the numeric gradient G, and their bound B."""

    def __init__(self, path: str, checked: Checked, outputs: Outputs) -> None:
        self.path = path
        self.C, self.G = checked.gradient.astype(float), checked.numeric
        self.known = np.isfinite(self.G)
        self.B = np.where(self.known, checked.limit, 0.0)
        self.terms = checked.terms  # (M, ...)
        self.outputs = outputs      # in the order of the terms

    def fits(self, G: np.ndarray, bound: Any = 0.0) -> bool:
        """Whether C agrees with another G, within B and the bound of that G, wherever both are known."""
        return self.C.shape == G.shape and bool((np.abs(self.C - G) <= self.B + bound)[self.known].all())

    @property
    def informative(self) -> np.ndarray:
        """The entries whose slope is well above its bound."""
        return np.asarray(self.known & (np.abs(self.G) > 10.0 * self.B))

    @property
    def bad(self) -> np.ndarray:
        """The entries that are wrong."""
        return np.asarray(self.known & ~(np.abs(self.C - self.G) <= self.B))


def diagnose(wrongs: Sequence[Compared], rights: Sequence[Compared] = ()) -> tuple[Guess, ...]:
    """At most one Guess for each wrong array.

    Parameters
    ----------
    wrongs, rights : sequences of Compared
        The arrays whose gradient is wrong, and the others, from which a term may have come.
    """
    guesses = []
    for wrong in wrongs:
        others = [other for other in (*wrongs, *rights) if other is not wrong]
        fitting = list(_whole(wrong, others)) or list(itertools.islice(
            itertools.chain(_parts(wrong, others), _places(wrong)), 1))
        if fitting:
            guess, *rest = fitting
            if any(other.pattern != guess.pattern for other in rest):
                guess = guess._replace(text=f"{guess.text}; or {rest[0].text}", likely=False)
            guesses.append(guess)
    return tuple(guesses)


def _whole(wrong: Compared, others: Sequence[Compared]) -> Iterator[Guess]:
    """Hypotheses about the whole array."""
    path, C, G, shape = wrong.path, wrong.C, wrong.G, wrong.C.shape
    agree = int(wrong.informative.sum())
    likely = agree >= ENOUGH
    if wrong.fits(0.0 * G):
        yield Guess(path, "zero", f"the gradient of {path} is all zero", likely)
        return
    if wrong.fits(-G):
        yield Guess(path, "sign", f"the sign of the gradient of {path} is flipped", likely)
    for other in others:
        distinct = other.G.shape == shape and _distinct(wrong, other.G) and _nonzero(wrong, other.G)
        if distinct and wrong.fits(other.G, other.B):
            both = other.C.shape == shape and other.fits(G, wrong.B)
            text = f"the gradients of {path} and {other.path} are swapped" if both else (
                f"this is the gradient of {other.path}, not of {path}")
            yield Guess(path, "swap", text, likely)
    for axes in itertools.permutations(range(C.ndim)):
        if axes != tuple(range(C.ndim)) and C.transpose(axes).shape == shape and _distinct(wrong, G.transpose(axes)):
            if wrong.fits(G.transpose(axes), wrong.B.transpose(axes)):
                name = "transposed" if C.ndim == 2 else f"transposed, axes {axes}"
                yield Guess(path, "transpose", f"the gradient of {path} is {name}", likely)
    factor = _factor(wrong, wrong.known)
    if factor is not None and abs(factor + 1.0) > NICE:
        name, known, hint = _name_of(factor, shape, wrong.outputs)
        text = f"the gradient of {path} is {name} times the right one{hint}"
        yield Guess(path, "factor", text, likely and (known or agree > 4))


def _parts(wrong: Compared, others: Sequence[Compared]) -> Iterator[Guess]:
    """Hypotheses that a term is missing or superfluous."""
    path, C, G = wrong.path, wrong.C, wrong.G
    likely = int(wrong.informative.sum()) >= ENOUGH
    outputs = wrong.outputs if len(wrong.terms) else ()
    for name, rows, axis, k, length in _slices(outputs):
        part = wrong.terms[rows].sum(axis=0)
        if _distinct(wrong, part) and _nonzero(wrong, part) and wrong.fits(part):
            yield Guess(path, "broadcast", f"a sum over axis {axis} of {name} is missing in the gradient of {path}: "
                        f"it is that of {_ordinal(k, length)} alone", likely)
    for name, rows_of_output in _whole_outputs(outputs):
        part = G - wrong.terms[rows_of_output].sum(axis=0)
        if len(wrong.outputs) > 1 and _distinct(wrong, part) and wrong.fits(part):
            text = f"the part of the gradient of {path} that comes through {name} is missing"
            yield Guess(path, "term", text, likely)
    for other in others:
        for sign, mistake in ((1.0, "contains that of {} once too often"), (-1.0, "lacks that of {} as a term")):
            if other.G.shape == C.shape and _nonzero(wrong, other.G) and wrong.fits(G + sign * other.G, other.B):
                yield Guess(path, "term", f"the gradient of {path} {mistake.format(other.path)}", likely)
    for axis in range(C.ndim):
        for shift in (1, -1):
            moved = np.roll(G, shift, axis)
            if C.shape[axis] > 2 and _distinct(wrong, moved) and wrong.fits(moved, np.roll(wrong.B, shift, axis)):
                yield Guess(path, "shift", f"the gradient of {path} is shifted by one along axis {axis}", likely)
        if _distinct(wrong, np.flip(G, axis)) and wrong.fits(np.flip(G, axis), np.flip(wrong.B, axis)):
            yield Guess(path, "shift", f"the gradient of {path} is reversed along axis {axis}", likely)


def _places(wrong: Compared) -> Iterator[Guess]:
    """Where the wrong entries are, if they form a pattern, and what they have in common."""
    path, C, shape, bad = wrong.path, wrong.C, wrong.C.shape, wrong.bad
    if not bad.any() or bad[wrong.known].all() and bad.sum() < C.size:
        return
    look = _common_feature(wrong)
    if C.ndim == 2 and shape[0] > 1 and shape[1] > 1:
        row, column = np.indices(shape)
        for mask, name in ((row == column, "the diagonal"), (row != column, "everything but the diagonal"),
                           (row > column, "the part below the diagonal"),
                           (row < column, "the part above the diagonal")):
            if (bad == (mask & wrong.known & (bad | wrong.informative)))[wrong.known].all() and mask.sum() > 1:
                yield Guess(path, "place", f"only {name} of the gradient of {path} is wrong{look}")
    for axis in range(C.ndim):
        blocks = _blocks(wrong, axis)
        if blocks:
            yield Guess(path, "block", f"the gradient of {path} is the right one times the factors {blocks} along axis "
                        f"{axis}")
    for axis in range(C.ndim):
        rows = [k for k in range(shape[axis]) if bad.take(k, axis).any()]
        if shape[axis] > 1 and len(rows) < shape[axis] and (rows == list(range(rows[0], rows[-1] + 1))):
            if int(bad.sum()) < 2:
                continue  # a single entry is no pattern
            place = _ordinal(rows[0], shape[axis]) if len(rows) == 1 else f"{rows[0]} to {rows[-1]}"
            yield Guess(path, "place", f"only {place} of axis {axis} of the gradient of {path} is wrong{look}")


def of_shape(path: str, gradient: Any, checked: Checked) -> Guess | None:
    """A Guess for a gradient of the wrong shape, given the check of the right shape; None if nothing fits."""
    C, G = np.asarray(gradient, float), checked.numeric
    bound = np.where(np.isfinite(checked.limit), checked.limit, 0.0)
    enough = int((np.abs(G) > 10 * bound).sum()) >= ENOUGH

    def fits(value: np.ndarray) -> bool:
        return value.shape == G.shape and bool((np.abs(value - G) <= (1 + C.size / max(1, G.size)) * bound).all())

    for axes in itertools.permutations(range(C.ndim)):
        if axes != tuple(range(C.ndim)) and fits(C.transpose(axes)):
            return Guess(path, "transpose", f"the gradient of {path} is transposed", enough)
    for count in range(1, C.ndim + 1):
        for axes in itertools.combinations(range(C.ndim), count):
            summed = C.sum(axis=axes)
            for value in (summed, summed.reshape(G.shape) if summed.size == G.size else summed):
                if fits(value):
                    which = f"axis {axes[0]}" if count == 1 else f"axes {axes}"
                    return Guess(path, "broadcast", f"a sum over {which} is missing: the gradient of {path} was not "
                                 f"summed over what {path} was broadcast along", enough or C.size > 1)
    if C.size == G.size and fits(C.reshape(G.shape)):
        return Guess(path, "shape", f"the gradient of {path} has the right entries but the wrong shape", enough)
    return None


def _distinct(wrong: Compared, value: np.ndarray) -> bool:
    """Whether a hypothesis differs from the right gradient."""
    return value.shape == wrong.G.shape and bool((np.abs(value - wrong.G) > 4.0 * wrong.B)[wrong.known].any())


def _nonzero(wrong: Compared, value: np.ndarray) -> bool:
    return bool((np.abs(value) > 10.0 * wrong.B)[wrong.known].any())


def _factor(wrong: Compared, where: np.ndarray) -> float | None:
    """The number k with C = k G at ``where``; None if there is no such number, or if it is 1."""
    C, G, B = wrong.C[where], wrong.G[where], wrong.B[where]
    sure = np.abs(G) > 10.0 * B
    if not sure.any():
        return None
    weight = np.where(sure, (np.abs(G) / np.where(B > 0.0, B, np.abs(G).max())), 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        k = float((weight * np.where(sure, C / G, 0.0)).sum() / weight.sum())
    off = np.abs(C - k * G) > 2.0 * max(1.0, abs(k)) * B
    return None if off.any() or abs(k - 1.0) < NICE else k


def _name_of(k: float, shape: tuple[int, ...], outputs: Outputs) -> tuple[str, bool, str]:
    """A factor as text, whether it is a typical one, and a hint where it may come from."""
    lengths = {n: f"axis {a} of {name}" for name, out in (("the array", shape), *outputs) for a, n in enumerate(out)}
    for n in sorted({2, 3, 4, *lengths} - {0, 1}):
        for value, name in ((n, f"{n}"), (1 / n, f"1/{n}"), (-n, f"-{n}"), (-1 / n, f"-1/{n}")):
            if abs(k - value) <= NICE * abs(value):
                hint = f" ({lengths[n]} has length {n}: a mean for a sum, or the reverse?)" if n in lengths else ""
                return name, True, hint
    return f"{k:.6g}", False, ""


def _common_feature(wrong: Compared) -> str:
    """What the wrong entries have in common, as the end of a sentence."""
    bad = wrong.bad
    if not wrong.C[bad].any():
        return ": it is zero there"
    factor = _factor(wrong, bad)
    if factor is None or bad.sum() < ENOUGH:
        return ""
    return ": the sign is flipped there" if abs(factor + 1.0) < NICE else f": {factor:.6g} times the right one there"


def _blocks(wrong: Compared, axis: int) -> str:
    """The factors of the slices along an axis, if every slice is right up to a factor and they differ; else ""."""
    length = wrong.C.shape[axis]
    if not 1 < length <= 8 or wrong.C.size < ENOUGH * length or not wrong.known.all():
        return ""
    factors: list[float | None] = []
    for k in range(length):
        where = np.zeros(wrong.C.shape, bool)
        where[(slice(None),) * axis + (k,)] = True
        if not wrong.bad[where].any():
            factors.append(1.0)
        elif not wrong.C[where].any():
            factors.append(0.0)
        else:
            factors.append(_factor(wrong, where))
    if any(f is None for f in factors) or len(set(factors)) < 3:
        return ""
    return "[" + ", ".join(f"{f:.4g}" for f in factors) + "]"


def _whole_outputs(outputs: Outputs) -> Iterator[tuple[str, slice]]:
    """(path, rows of the terms) of each output."""
    start = 0
    for name, shape in outputs:
        size = int(np.prod(shape))
        yield name, slice(start, start + size)
        start += size


def _slices(outputs: Outputs) -> Iterator[tuple[str, np.ndarray, int, int, int]]:
    """(path, rows of the terms, axis, k, length) for the first and the last slice along each axis of each output."""
    for (name, shape), (_, rows) in zip(outputs, _whole_outputs(outputs)):
        numbers = np.arange(rows.start, rows.stop).reshape(shape)
        for axis, length in enumerate(shape):
            if length > 1:
                for k in (0, length - 1):
                    yield name, numbers.take(k, axis).ravel(), axis, k, length


def _ordinal(k: int, length: int) -> str:
    return "the first index" if k == 0 else "the last index" if k == length - 1 else f"index {k}"

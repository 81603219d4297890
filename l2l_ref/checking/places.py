"""Where the wrong entries of a gradient are, if no hypothesis of `diagnosis` explains them."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .compared import ENOUGH, LIKELY, Compared, accuracy_of, broadcasts, multiple_of
from .factors import name_of, shown
from .report import Guess


def places(wrong: Compared) -> Iterator[Guess]:
    """Where the wrong entries are, if they form a pattern, and what they have in common."""
    C, G, shape, bad, known = wrong.C, wrong.G, wrong.C.shape, wrong.bad, wrong.known
    if not bad.any() or bad[known].all() and bad.sum() < C.size:
        return
    look = _common_feature(wrong)
    dense = bad | wrong.right  # entries that would be wrong if they were in the wrong part

    def fills(part: Any) -> bool:
        """Whether the wrong entries are this part of the array, and others are right."""
        return bool((bad == (part & dense))[known].all() and (dense & ~bad).any())

    def is_all(part: Any) -> bool:
        return fills(part) and int(bad.sum()) >= ENOUGH  # a single entry is no pattern

    box = np.argwhere(bad)
    triangles = []
    if C.ndim == 2 and shape[0] > 1 and shape[1] > 1:
        row, column = np.indices(shape)
        triangles = [("only the part below the diagonal", row > column),
                     ("only the part above the diagonal", row < column)]
    if wrong.rows and wrong.is_symmetric(G) and not wrong.is_symmetric(C):
        parts = [(f"only {_slices_of(box)}", _box(box, shape)), *triangles]
        part = next((f"; {name} is wrong{look}" for name, mask in parts if fills(mask)), "")
        yield Guess("", "symmetric", f"{{this}} is not symmetric, and the right one is{part}")
    if wrong.rows and wrong.is_symmetric(G):
        above = np.argwhere(np.triu(bad, 1))
        block = _box(above, shape)
        if is_all(block | block.T):
            text = f"only the block {_slices_of(above)} of {{this}} and its transpose are wrong{look}"
            yield Guess("", "block", text)
    yield from _by_value(wrong, is_all, look)
    if triangles:
        diagonal = row == column
        for name, mask in (("only the diagonal", diagonal), ("everything but the diagonal", ~diagonal), *triangles):
            if mask.sum() > 1 and is_all(mask):
                yield Guess("", "place", f"{name} of {{this}} is wrong{look}")
    for axis in range(C.ndim):
        blocks = _blocks(wrong, axis)
        if blocks:
            yield Guess("", "block", f"{{this}} is the right one times the factors {blocks} along axis {axis}")
    if is_all(_box(box, shape)):
        limited = [axis for axis in range(C.ndim) if np.ptp(box[:, axis]) + 1 < shape[axis]]
        if len(limited) == 1:
            text = _slice_text(wrong, limited[0], *(int(end(box[:, limited[0]])) for end in (np.min, np.max)))
            yield Guess("", "place", f"{text}{look}")
        else:
            yield Guess("", "block", f"only the block {_slices_of(box)} of {{this}} is wrong{look}")
    yield from _by_size(wrong, look)
    if look and int(bad.sum()) > ENOUGH and wrong.right.any():
        yield Guess("", "where", f"{int(bad.sum())} of the {int(known.sum())} entries of {{this}} are wrong{look}")


def _by_value(wrong: Compared, is_all: Callable[[np.ndarray], bool], look: str) -> Iterator[Guess]:
    """Wrong entries that are told by the sign of their input, or by a right gradient of 0."""
    right = int(wrong.right.sum())
    if right < ENOUGH or int(wrong.bad.sum()) < ENOUGH:
        return
    x = wrong.values
    sure = int((wrong.bad | wrong.right).sum()) >= LIKELY + 1  # the chance of such a set is 1 in 2^7
    if x is not None and broadcasts(x.shape, wrong.C.shape):
        sign = np.broadcast_to(np.sign(x), wrong.C.shape)
        for name, which in (("negative", -1.0), ("positive", 1.0)):
            if is_all(sign == which):
                text = f"only the entries of {{this}} where {wrong.path} is {name} are wrong{look}"
                yield Guess("", "where", text, sure)
    if np.array_equal(wrong.bad, wrong.known & (np.abs(wrong.G) <= wrong.B)):
        yield Guess("", "where", "only the entries of {this} that should be 0 are wrong (a mask left out?)")


def _by_size(wrong: Compared, look: str) -> Iterator[Guess]:
    """Wrong entries that are told by a threshold of their input, as those beyond a bend of a loss are."""
    x, bad, right = wrong.values, wrong.bad, wrong.right
    if x is None or x.shape != bad.shape or bad.sum() < ENOUGH or right.sum() < ENOUGH:
        return
    sure = math.comb(int(bad.sum() + right.sum()), int(bad.sum())) > 10**3
    for name, size in ((wrong.path, x), (f"|{wrong.path}|", np.abs(x))):
        low, high = size[bad].min(), size[bad].max()
        limit = f"at least {low:.3g}" if low > size[right].max() else f"at most {high:.3g}"
        if low > size[right].max() or high < size[right].min():
            yield Guess("", "where", f"only the entries of {{this}} where {name} is {limit} are wrong{look}", sure)


def _common_feature(wrong: Compared) -> str:
    """What the wrong entries have in common, as the end of a sentence."""
    bad = wrong.bad
    if not wrong.C[bad].any():
        return ": it is zero there"
    k = multiple_of(wrong, wrong.G, where=bad)
    if k is None or bad.sum() < ENOUGH:
        return ""
    accuracy = accuracy_of(wrong, k, wrong.G, bad)
    name = name_of(k, wrong, accuracy)[0] or shown(k, accuracy)
    return "" if not name else ": the sign is flipped there" if name == "-1" else f": {name} times the right one there"


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
            factors.append(multiple_of(wrong, wrong.G, where=where))
    if any(f is None for f in factors) or len(set(factors)) < 3:
        return ""
    return "[" + ", ".join(f"{f:.4g}" for f in factors) + "]"


def _box(indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask of the smallest block that holds some indices (n, ndim)."""
    mask = np.zeros(shape, bool)
    if len(indices):
        mask[tuple(slice(low, high + 1) for low, high in zip(indices.min(0), indices.max(0)))] = True
    return mask


def _slices_of(indices: np.ndarray) -> str:
    """The smallest block that holds some indices, as in "[0:2, 3]"."""
    limits = zip(indices.min(0), indices.max(0))
    return "[" + ", ".join(f"{low}" if low == high else f"{low}:{high + 1}" for low, high in limits) + "]"


def _slice_text(wrong: Compared, axis: int, start: int, stop: int) -> str:
    """That the slices from start to stop, inclusive, along an axis are wrong."""
    length = wrong.C.shape[axis]
    if wrong.rows and wrong.C.ndim == 2:
        name = ("row", "column")[axis]
        return f"only {name} {start} of {{this}} is wrong" if start == stop else (
            f"only {name}s {start} to {stop} of {{this}} are wrong")
    along = f"axis {axis}" if not wrong.rows else (
        f"output axis {axis}" if axis < wrong.rows else f"input axis {axis - wrong.rows}")
    if start == stop:
        return f"only {_ordinal(start, length)} of {along} of {{this}} is wrong"
    if stop - start == length - 2:
        return f"everything but {_ordinal(0 if start else length - 1, length)} of {along} of {{this}} is wrong"
    return f"only indices {start} to {stop} of {along} of {{this}} are wrong"


def _ordinal(k: int, length: int) -> str:
    return "the first index" if k == 0 else "the last index" if k == length - 1 else f"index {k}"

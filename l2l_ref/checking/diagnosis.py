"""Guesses at the mistake in a wrong gradient: hypotheses, each of which must explain every entry that was checked.

Let C be the claim of f_backward, G the gradient from values of f, and B the bound of each entry. A hypothesis computes
from G the gradient that a mistake would give. It is kept if C agrees with that gradient within the bounds everywhere.

How many decimal digits of C does it explain? An entry that the mistake changes by a thousand times its bound counts
three, because a number drawn at random would agree with it once in a thousand times. A guess with few digits is not
printed, and one that rests on a single entry is only called possible ("perhaps"). A number that was itself fitted to C
uses up one entry.

The hypotheses stand in the order in which they are tried: the simple ones about the whole array (`_whole`), a factor
that depends on the entry (`_ratios`), parts of the sum over the outputs (`_parts`), the right numbers in the wrong
places (`_moved`), a factor without a name (`_factor`), numbers that were added (`_added`). If none fits, `places` says
where the wrong entries are. If that shows no pattern either, there is no guess.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .compared import CLEAR, ENOUGH, LIKELY, Compared, Outputs, accuracy_of, broadcasts, multiple_of
from .entries import Checked
from .factors import FROM_OUTPUT, FUNCTIONS, MULTIPLES, NICE, WHY, name_of, shown
from .places import places
from .report import Guess

POSSIBLE = 4  # with fewer digits than these a hypothesis is not printed


class Hypothesis(NamedTuple):
    """A mistake, and the gradient that it gives."""

    pattern: str
    text: str          # "{this}" stands for "the gradient of x"
    value: np.ndarray
    bound: Any = 0.0   # how far off value may be, on account of the bound of G
    fitted: int = 0    # how many numbers in it were fitted to C

    def digits(self, wrong: Compared) -> np.ndarray:
        """The digits of C that this explains, beyond what the right gradient would: one number for each clear entry."""
        bound = wrong.B + self.bound
        change = np.abs(self.value - wrong.G)
        clear = wrong.known & (change > CLEAR * bound)
        with np.errstate(divide="ignore"):
            digits = np.minimum(np.log10(change[clear] / np.broadcast_to(bound, change.shape)[clear]), 12.0)
        return np.sort(digits)[: max(0, digits.size - self.fitted)]


def diagnose(wrongs: Sequence[Compared], rights: Sequence[Compared] = ()) -> tuple[Guess, ...]:
    """At most one Guess for each wrong array; arrays with the same mistake share one.

    Parameters
    ----------
    wrongs, rights : sequences of Compared
        The arrays whose gradient is wrong, and the others, from which a term may have come.
    """
    found: dict[Guess, list[Compared]] = {}  # by a guess without its path
    for wrong in wrongs:
        guess = _guess(wrong, [other for other in (*wrongs, *rights) if other is not wrong])
        if guess is not None:
            found.setdefault(guess, []).append(wrong)
    guesses = []
    for guess, arrays in found.items():
        this = arrays[0].this
        if len(arrays) > 1:
            *first, last = (wrong.path for wrong in arrays)
            this = this.removesuffix(arrays[0].path) + f"each of {', '.join(first)} and {last}"
        guesses.append(guess._replace(
            path=", ".join(wrong.path for wrong in arrays), text=guess.text.replace("{this}", this)))
    return tuple(guesses)


def _guess(wrong: Compared, others: Sequence[Compared]) -> Guess | None:
    """The first hypothesis that fits, as a Guess whose path is left out and whose text has "{this}" for it."""
    with np.errstate(all="ignore"):  # logarithms of negative numbers and the like fit nothing
        for stage in (_whole, _ratios, _parts, _moved, _factor, _added):
            fitting = [guess for guess in (_tried(h, wrong) for h in stage(wrong, others)) if guess is not None]
            if fitting:
                guess = fitting[0]
                if stage is _whole and any(other.pattern != guess.pattern for other in fitting):
                    second = next(other for other in fitting if other.pattern != guess.pattern)
                    return guess._replace(text=f"{guess.text}; or {second.text}", likely=False)
                return guess
        return next(places(wrong), None)


def _tried(hypothesis: Hypothesis, wrong: Compared) -> Guess | None:
    if not wrong.fits(hypothesis.value, hypothesis.bound):
        return None
    digits = hypothesis.digits(wrong)
    if digits.sum() < POSSIBLE:
        return None
    likely = digits.size >= ENOUGH and digits.sum() >= LIKELY
    return Guess("", hypothesis.pattern, hypothesis.text, bool(likely))


# --- hypotheses about the whole array

def _whole(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """Zero, a sign, another input's gradient, a transpose, a factor with a name."""
    G, B = wrong.G, wrong.B
    yield Hypothesis("zero", "{this} is all zero", 0.0 * G)
    if wrong.fits(0.0 * G):
        return  # a number times nothing
    yield Hypothesis("sign", "the sign of {this} is flipped", -G)
    for other in others:
        if other.G.shape == G.shape and wrong.nonzero(other.G):
            if other.C.shape == G.shape and other.fits(G, B):
                first, second = sorted((wrong.path, other.path))  # so that it is said once
                yield Hypothesis("swap", f"the {wrong.noun}s of {first} and {second} are swapped", other.G, other.B)
            else:
                yield Hypothesis("swap", f"{{this}} is that of {other.path} instead", other.G, other.B)
    for axes in itertools.permutations(range(G.ndim)):
        if axes != tuple(range(G.ndim)) and G.transpose(axes).shape == G.shape:
            name = "transposed" if G.ndim == 2 else f"transposed, axes {axes}"
            yield Hypothesis("transpose", f"{{this}} is {name}", G.transpose(axes), B.transpose(axes))
    k = multiple_of(wrong, G)
    if k is not None and abs(k + 1.0) > NICE:
        name, hint = name_of(k, wrong)
        if name:
            yield Hypothesis("factor", f"{{this}} is {name} times the right one{hint}", k * G, abs(k) * B)


def _factor(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """A factor that has no name."""
    k = multiple_of(wrong, wrong.G)
    if k is None:
        return
    accuracy = accuracy_of(wrong, k, wrong.G)
    name = name_of(k, wrong, accuracy)[0] or shown(k, accuracy)
    if name:
        yield Hypothesis("factor", f"{{this}} is {name} times the right one", k * wrong.G, abs(k) * wrong.B, 1)


def _ratios(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """The right gradient times, or divided by, a function of the input, the output or another input."""
    sources = wrong.sources
    for (name, function), (kind, path, t) in itertools.product(FUNCTIONS.items(), sources):
        for way, factor in (("times", function(t)), ("divided", 1.0 / function(t))):
            value, bound = wrong.times(kind, factor)
            k = multiple_of(wrong, value, bound) if np.isfinite(value[wrong.known]).all() else None
            k = next((m for m in MULTIPLES if k is not None and abs(k - m) <= NICE), None)
            if k is None:
                continue
            shown = MULTIPLES[k if way == "times" else 1.0 / k] + name.format(t=path)
            text = f"{shown} times the right one" if way == "times" else f"the right one divided by {shown}"
            text += ", where out is the output" if kind == "output" else ""
            why = WHY.get((kind, name, way)) if abs(k) == 1.0 else None
            yield Hypothesis("ratio", f"{{this}} is {text}" + (f" ({why})" if why else ""), k * value, abs(k) * bound)
    by_kind = {kind: t for kind, _, t in sources}
    for name in FROM_OUTPUT if {"input", "output"} <= {*by_kind} else ():
        factor = FUNCTIONS[name](by_kind["input"])
        value, bound = wrong.times("output", 1.0 / FUNCTIONS[name](by_kind["output"]))
        text = f"has the factor {name.format(t=wrong.path)} where {name.format(t='out')} is due, out being the output"
        yield Hypothesis("ratio", f"{{this}} {text}", factor * value, np.abs(factor) * bound)


# --- parts of the sum over the outputs

def _parts(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """Terms of the sum over the output numbers, or of the sum over the uses of an input, that are missing or twice."""
    G, B, terms = wrong.G, wrong.B, wrong.terms
    for name, rows, axes, which in _corners(wrong.outputs):
        part = terms[rows].sum(axis=0)
        if wrong.nonzero(part):
            along = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
            yield Hypothesis("broadcast", f"a sum over {along} of {name} is missing in {{this}}: it is that of the "
                             f"{which} {'index' if len(axes) == 1 else 'indices'} alone ('=' where '+=' is due?)", part)
    parts = [(name, terms[rows].sum(axis=0)) for name, rows in _whole_outputs(wrong.outputs)]
    for name, part in parts if len(parts) > 1 else ():
        for times, what in ((1.0, "is missing"), (2.0, "has the wrong sign"), (-1.0, "is there twice")):
            yield Hypothesis("term", f"the part of {{this}} that comes through {name} {what}", G - times * part, B)
    for name, part in parts if len(parts) > 2 else ():
        yield Hypothesis("term", f"only the part of {{this}} that comes through {name} is there", part)
    for name, rows, axes, which in _corners(wrong.outputs):
        part = terms[rows].sum(axis=0)
        rest = wrong.nonzero(np.minimum(np.abs(part), np.abs(G - part)))  # otherwise a part of the array is merely 0
        if len(axes) == 1 and rest:
            yield Hypothesis("term", f"the part of {{this}} that comes through the {which} index of axis {axes[0]} of "
                             f"{name} is missing", G - part, B)
    if len(terms) > 1:
        there = np.abs(terms) > B
        for which, j in (("last", len(terms) - 1 - there[::-1].argmax(0)), ("first", there.argmax(0))):
            alone = np.take_along_axis(terms, j[None], 0)[0]
            yield Hypothesis("overwrite", f"each entry of {{this}} has only the {which} of the contributions of the "
                             "outputs ('=' where '+=' is due?)", alone, B)
    if len(wrong.outputs) == 1 and wrong.outputs[0][1] == G.shape and G.size > 1:
        own = np.diagonal(terms.reshape(len(terms), -1)).reshape(G.shape)
        yield Hypothesis("diagonal", "each entry of {this} has only the contribution of its own output (the diagonal "
                         "of the Jacobian alone)", own)
    for other in others:
        if other.G.shape == G.shape and wrong.nonzero(other.G):
            yield Hypothesis("term", f"{{this}} contains {other.this} once too often", G + other.G, other.B)
            yield Hypothesis("term", f"{{this}} lacks {other.this} as a term", G - other.G, other.B)
    yield from _by_cotangent(wrong)


def _by_cotangent(wrong: Compared) -> Iterator[Hypothesis]:
    """Mistakes in how the cotangent enters: it is left out as a term, or meets a transposed Jacobian."""
    w, G, B = wrong.cotangent, wrong.G, wrong.B
    if w is None or len(wrong.outputs) != 1 or len(w) != len(wrong.terms) or w.size < 2 or not w.all():
        return
    name, shape = wrong.outputs[0]
    jacobian = wrong.terms.reshape(len(w), -1) / w[:, None]
    if shape == G.shape:
        d_out = w.reshape(shape)
        yield Hypothesis("term", "{this} lacks d_out itself as a term (a residual connection left out?)", G - d_out)
        yield Hypothesis("term", "{this} contains d_out itself once too often", G + d_out)
        bound = np.abs(w).max() / np.abs(w) * B.max() * math.sqrt(len(w))
        yield Hypothesis("transpose", "{this} is the Jacobian times d_out, where the transpose of the Jacobian is due "
                         "(a matrix that is not transposed?)", (jacobian @ w).reshape(shape), bound.reshape(shape))
    for a, b in itertools.combinations(range(len(shape)), 2):
        if shape[a] == shape[b]:
            moved = w.reshape(shape).swapaxes(a, b).ravel()
            bound = B * np.abs(moved / w).max()
            yield Hypothesis("transpose", f"{{this}} is the one for a transposed d_out (a sum over axis {b} of {name} "
                             f"where axis {a} is due, or the reverse?)", (moved @ jacobian).reshape(G.shape), bound)


# --- the right numbers in the wrong places

def _moved(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """Shifts, reversals, and both triangles of a matrix mixed."""
    G, B = wrong.G, wrong.B
    for axis in range(G.ndim):
        for shift in (1, -1) if G.shape[axis] > 2 else ():
            yield Hypothesis("shift", f"{{this}} is shifted by one along axis {axis}",
                             np.roll(G, shift, axis), np.roll(B, shift, axis))
        yield Hypothesis("shift", f"{{this}} is reversed along axis {axis}", np.flip(G, axis), np.flip(B, axis))
    if G.ndim == 2 and G.shape[0] == G.shape[1] > 1:
        diagonal = G * np.eye(len(G))
        upper, lower = np.triu(np.abs(G) > B, 1).any(), np.tril(np.abs(G) > B, -1).any()
        hint = ": f reads one triangle" if upper != lower else ""
        for name, value in (("(G + G.T) / 2", (G + G.T) / 2), ("G + G.T", G + G.T),
                            ("G + G.T without a second diagonal", G + G.T - diagonal),
                            ("G with everything but the diagonal doubled", 2 * G - diagonal),
                            ("G with everything but the diagonal halved", (G + diagonal) / 2)):
            yield Hypothesis("symmetric", f"{{this}} is {name}, where G is the right one{hint}", value, B + B.T)


# --- something added

def _added(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """A constant, or a multiple of something, that was added or left out: one for all entries or one for each slice."""
    G, B, x, y = wrong.G, wrong.B, wrong.values, wrong.outputs_values
    off = np.where(wrong.known, wrong.C - G, 0.0)
    # What is added, its name, and why it may be: with one factor, and with one for each slice.
    added = [("", np.ones(G.shape), "", "a mean taken as a constant?")]
    if x is not None and broadcasts(x.shape, G.shape):
        x = np.broadcast_to(x, G.shape)
        added.append((wrong.path, x, "a penalty?", "a norm taken as a constant?"))
        added.append((f"sign({wrong.path})", np.sign(x), "a penalty?", ""))
    if y is not None and len(wrong.outputs) == 1 and wrong.outputs[0][1] == G.shape:
        added.append(("the output", y.reshape(G.shape), "", "a sum or a norm taken as a constant?"))
    added += [(name, value, "", "") for name, value in wrong.others if value.shape == G.shape]
    for name, unit, why_one, why_each in added:
        for axis in (None, *range(G.ndim)) if wrong.known.all() else (None,):
            squares = np.where(wrong.known, unit**2, 0.0).sum(axis, keepdims=True)
            k = (off * unit).sum(axis, keepdims=True) / squares
            bound = (B * np.abs(unit)).sum(axis, keepdims=True) / squares * np.abs(unit)
            if k.size == 1 and wrong.scale:  # f is one number, so that k is a number of the code
                number, why = float(k.ravel()[0]) / wrong.scale, why_one
                amount = f"{abs(number):.6g} * {name}".removeprefix("1 * ") if name else f"{abs(number):.6g}"
                text = f"contains {amount} too much" if number > 0.0 else f"lacks {amount}"
                text += "" if name else " in every entry"
            else:
                along, why = "all axes" if axis is None else f"axis {axis}", why_each
                text = f"is off by a {f'multiple of {name}' if name else 'number'} that is constant along {along}"
            hint = f" ({why})" if why else ""
            yield Hypothesis("added", f"{{this}} {text}{hint}", G + k * unit, bound, k.size)


# --- a gradient of the wrong shape

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
    if C.size == G.size and fits(C.reshape(G.shape)):
        return Guess(path, "shape", f"the gradient of {path} has the right entries but the wrong shape", enough)
    for count in range(1, C.ndim + 1):
        for axes in itertools.combinations(range(C.ndim), count):
            summed = C.sum(axis=axes)
            for value in (summed, summed.reshape(G.shape) if summed.size == G.size else summed):
                if fits(value):
                    which = f"axis {axes[0]}" if count == 1 else f"axes {axes}"
                    return Guess(path, "broadcast", f"a sum over {which} is missing: the gradient of {path} was not "
                                 f"summed over what {path} was broadcast along", enough or C.size > 1)
    return None


# --- slices of the outputs

def _whole_outputs(outputs: Outputs) -> Iterator[tuple[str, slice]]:
    """(path, rows of the terms) of each output."""
    start = 0
    for name, shape in outputs:
        size = int(np.prod(shape))
        yield name, slice(start, start + size)
        start += size


def _corners(outputs: Outputs) -> Iterator[tuple[str, np.ndarray, tuple[int, ...], str]]:
    """(path, rows of the terms, axes, "first" or "last") where the indices along some axes of an output are that."""
    for (name, shape), (_, rows) in zip(outputs, _whole_outputs(outputs)):
        numbers = np.arange(rows.start, rows.stop).reshape(shape)
        long = [axis for axis, length in enumerate(shape) if length > 1]
        for count in range(1, len(long) + 1):
            for axes in itertools.combinations(long, count):
                for which, end in (("first", slice(0, 1)), ("last", slice(-1, None))):
                    corner = tuple(end if axis in axes else slice(None) for axis in range(len(shape)))
                    yield name, numbers[corner].ravel(), axes, which

"""Guesses at the mistake in a wrong gradient: hypotheses, each of which must explain every entry that was checked.

Let C be the claim of f_backward, G the gradient from values of f, and B the bound of each entry. A hypothesis computes
from G the gradient that a mistake would give. It is kept if C agrees with that gradient within the bounds everywhere.

How many decimal digits of C does it explain? An entry that the mistake changes by a thousand times its bound counts
three, because a number drawn at random would agree with it once in a thousand times. A guess with few digits is not
printed, and one that rests on a single entry is only called possible ("perhaps"). A number that was itself fitted to C
uses up one entry.

The hypotheses stand in the order in which they are tried: the simple ones about the whole array (`_whole`), a factor
that depends on the entry (`_ratios`), parts of the sum over the outputs (`_parts`), the right numbers in the wrong
places (`_moved`), a factor without a name (`_factor`), numbers that were added (`_added`). If none fits, `_places` says
where the wrong entries are. If that shows no pattern either, there is no guess.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .entries import Checked
from .report import Guess

ENOUGH = 2    # a likely hypothesis must explain at least this many entries,
LIKELY = 6    # and this many digits
POSSIBLE = 4  # with fewer digits it is not printed
NICE = 1e-6   # how close a factor must be to a number like 2 or 1/8 to be called so
CLEAR = 10.0  # a number above this many bounds is certainly not 0

Outputs = Sequence[tuple[str, tuple[int, ...]]]  # (path, shape) of each output
Function = Callable[[np.ndarray], np.ndarray]

# A wrong gradient is often the right one times, or divided by, one of these: of the input, the output, another input.
FUNCTIONS: dict[str, Function] = {
    "{t}": lambda t: t,
    "{t}**2": np.square,
    "{t} * (1 - {t})": lambda t: t * (1.0 - t),
    "(1 - {t}**2)": lambda t: 1.0 - t**2,
    "(1 - {t})": lambda t: 1.0 - t,
    "sqrt({t})": np.sqrt,
    "exp({t})": np.exp,
    "log({t})": np.log,
    "sign({t})": np.sign,
}
MULTIPLES = {1.0: "", -1.0: "-", 2.0: "2 * ", -2.0: "-2 * ", 0.5: "1/2 * ", -0.5: "-1/2 * "}  # of these functions
WHY = {  # where such a factor may come from
    ("input", "{t}", "times"): "the derivative by the logarithm of this input, or a power too high?",
    ("input", "{t}", "divided"): "a power too low?",
    ("output", "{t}", "divided"): "the derivative of exp left out, or that of the logarithm of f?",
    ("output", "{t} * (1 - {t})", "divided"): "the derivative of a sigmoid left out?",
    ("output", "{t} * (1 - {t})", "times"): "the derivative of a sigmoid taken twice?",
    ("output", "(1 - {t}**2)", "divided"): "the derivative of tanh left out?",
    ("output", "(1 - {t}**2)", "times"): "the derivative of tanh taken twice?",
}
FROM_OUTPUT = ("{t} * (1 - {t})", "(1 - {t}**2)")  # derivatives that are computed from the output, not from the input

CONSTANTS = {
    "pi": math.pi, "2 pi": 2 * math.pi, "4 pi": 4 * math.pi, "pi/2": math.pi / 2, "sqrt(pi)": math.sqrt(math.pi),
    "sqrt(2 pi)": math.sqrt(2 * math.pi), "180/pi": 180 / math.pi, "sqrt(2)": math.sqrt(2.0),
    "sqrt(3)": math.sqrt(3.0), "ln 10": math.log(10.0), "ln 2": math.log(2.0), "e": math.e,
}
INVERSES = {"180/pi": "pi/180", "pi/2": "2/pi", "2 pi": "1/(2 pi)", "4 pi": "1/(4 pi)"}
LARGEST = 10  # the numerators and denominators of simple fractions


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
        self.values = None if values is None else np.asarray(values, float)
        self.outputs_values = None if outputs_values is None else np.asarray(outputs_values, float)
        self.cotangent = None if cotangent is None else np.asarray(cotangent, float)
        self.others = [(name, np.asarray(value, float)) for name, value in others]
        self.rows = rows
        count = math.prod(self.G.shape[:rows]) if rows else len(self.terms)
        if self.outputs_values is not None and self.outputs_values.size != count:
            self.outputs_values = None  # the parts of G that come through each output number are not known

    @property
    def this(self) -> str:
        return f"the {'Jacobian' if self.rows else 'gradient'} of {self.path}"

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
        return [item for item in found if item[0] == "output" or _broadcasts(item[2].shape, self.G.shape)]

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
        return next(_places(wrong), None)


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
                yield Hypothesis("swap", f"the gradients of {first} and {second} are swapped", other.G, other.B)
            else:
                yield Hypothesis("swap", f"{{this}} is that of {other.path} instead", other.G, other.B)
    for axes in itertools.permutations(range(G.ndim)):
        if axes != tuple(range(G.ndim)) and G.transpose(axes).shape == G.shape:
            name = "transposed" if G.ndim == 2 else f"transposed, axes {axes}"
            yield Hypothesis("transpose", f"{{this}} is {name}", G.transpose(axes), B.transpose(axes))
    k = _multiple_of(wrong, G)
    if k is not None and abs(k + 1.0) > NICE:
        name, hint = _name_of(k, wrong)
        if name:
            yield Hypothesis("factor", f"{{this}} is {name} times the right one{hint}", k * G, abs(k) * B)


def _factor(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """A factor that has no name."""
    k = _multiple_of(wrong, wrong.G)
    if k is not None:
        yield Hypothesis("factor", f"{{this}} is {k:.6g} times the right one", k * wrong.G, abs(k) * wrong.B, 1)


def _ratios(wrong: Compared, others: Sequence[Compared]) -> Iterator[Hypothesis]:
    """The right gradient times, or divided by, a function of the input, the output or another input."""
    sources = wrong.sources
    for (name, function), (kind, path, t) in itertools.product(FUNCTIONS.items(), sources):
        for way, factor in (("times", function(t)), ("divided", 1.0 / function(t))):
            value, bound = wrong.times(kind, factor)
            k = _multiple_of(wrong, value, bound) if np.isfinite(value[wrong.known]).all() else None
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
    for name, rows, axis, k, length in _slices(wrong.outputs):
        part = terms[rows].sum(axis=0)
        if wrong.nonzero(part):
            yield Hypothesis("broadcast", f"a sum over axis {axis} of {name} is missing in {{this}}: it is that of "
                             f"{_ordinal(k, length)} alone ('=' where '+=' is due?)", part)
    parts = [(name, terms[rows].sum(axis=0)) for name, rows in _whole_outputs(wrong.outputs)]
    for name, part in parts if len(parts) > 1 else ():
        for times, what in ((1.0, "is missing"), (2.0, "has the wrong sign"), (-1.0, "is there twice")):
            yield Hypothesis("term", f"the part of {{this}} that comes through {name} {what}", G - times * part, B)
    for name, part in parts if len(parts) > 2 else ():
        yield Hypothesis("term", f"only the part of {{this}} that comes through {name} is there", part)
    for name, rows, axis, k, length in _slices(wrong.outputs):
        part = terms[rows].sum(axis=0)
        if wrong.nonzero(np.minimum(np.abs(part), np.abs(G - part))):  # otherwise a part of the array is merely 0
            yield Hypothesis("term", f"the part of {{this}} that comes through {_ordinal(k, length)} of axis {axis} of "
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
        yield Hypothesis("transpose", "{this} is the Jacobian times d_out, where the transpose of the Jacobian is due",
                         (jacobian @ w).reshape(shape), bound.reshape(shape))
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
    """A constant, or a multiple of the input or the output, that was added or left out."""
    G, B, x, y = wrong.G, wrong.B, wrong.values, wrong.outputs_values
    off = np.where(wrong.known, wrong.C - G, 0.0)
    added = [("", np.ones(G.shape), "a mean taken as a constant?")]
    if x is not None and _broadcasts(x.shape, G.shape):
        added += [(wrong.path, x + 0.0 * off, "a norm taken as a constant?"),
                  (f"sign({wrong.path})", np.sign(x) + 0.0 * off, "")]
    if y is not None and len(wrong.outputs) == 1 and wrong.outputs[0][1] == G.shape:
        added.append(("the output", y.reshape(G.shape), "a sum or a norm taken as a constant?"))
    for name, unit, why in added:
        for axis in (None, *range(G.ndim)) if wrong.known.all() else (None,):
            squares = np.where(wrong.known, unit**2, 0.0).sum(axis, keepdims=True)
            k = (off * unit).sum(axis, keepdims=True) / squares
            bound = (B * np.abs(unit)).sum(axis, keepdims=True) / squares * np.abs(unit)
            if k.size == 1 and wrong.scale:  # a derivative of one number, so k has a meaning
                number = float(k.ravel()[0]) / wrong.scale
                amount = f"{abs(number):.6g}" + (f" * {name}" if name else "")
                text = f"contains {amount} too much" if number > 0.0 else f"lacks {amount}"
                text += " (a penalty?)" if name else " in every entry"
            else:
                text = f"is off by a {f'multiple of {name}' if name else 'number'} that is constant along " + (
                    "all axes" if axis is None else f"axis {axis}") + (f" ({why})" if why else "")
            yield Hypothesis("added", f"{{this}} {text}", G + k * unit, bound, k.size)


# --- where the wrong entries are

def _places(wrong: Compared) -> Iterator[Guess]:
    """Where the wrong entries are, if they form a pattern, and what they have in common."""
    C, G, shape, bad, known = wrong.C, wrong.G, wrong.C.shape, wrong.bad, wrong.known
    if not bad.any() or bad[known].all() and bad.sum() < C.size:
        return
    look = _common_feature(wrong)
    dense = bad | wrong.informative  # entries that would be wrong if they were in the wrong part

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
    if not C[bad].any() and int(bad.sum()) >= ENOUGH and (wrong.informative & ~bad).any():
        yield Guess("", "where", f"{int(bad.sum())} entries of {{this}} are 0 where the right one is not")


def _by_value(wrong: Compared, is_all: Callable[[np.ndarray], bool], look: str) -> Iterator[Guess]:
    """Wrong entries that are told by the sign of their input, or by a right gradient of 0."""
    right = int((wrong.known & ~wrong.bad & wrong.informative).sum())
    if right < ENOUGH or int(wrong.bad.sum()) < ENOUGH:
        return
    x = wrong.values
    sure = int((wrong.bad | wrong.informative).sum()) >= LIKELY + 1  # the chance of such a set is 1 in 2^7
    if x is not None and _broadcasts(x.shape, wrong.C.shape):
        sign = np.broadcast_to(np.sign(x), wrong.C.shape)
        for name, which in (("negative", -1.0), ("positive", 1.0)):
            if is_all(sign == which):
                text = f"only the entries of {{this}} where {wrong.path} is {name} are wrong{look}"
                yield Guess("", "where", text, sure)
    if np.array_equal(wrong.bad, wrong.known & (np.abs(wrong.G) <= wrong.B)):
        yield Guess("", "where", "only the entries of {this} that should be 0 are wrong (a mask left out?)")


def _common_feature(wrong: Compared) -> str:
    """What the wrong entries have in common, as the end of a sentence."""
    bad = wrong.bad
    if not wrong.C[bad].any():
        return ": it is zero there"
    k = _multiple_of(wrong, wrong.G, where=bad)
    if k is None or bad.sum() < ENOUGH:
        return ""
    return ": the sign is flipped there" if abs(k + 1.0) < NICE else (
        f": {_name_of(k, wrong)[0] or format(k, '.6g')} times the right one there")


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
            factors.append(_multiple_of(wrong, wrong.G, where=where))
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


# --- numbers and their names

def _multiple_of(
    wrong: Compared, value: np.ndarray, bound: Any = None, target: Any = None, where: Any = True,
) -> float | None:
    """The number k with C = k * value, or target = k * value; None if there is no such number."""
    target = wrong.C if target is None else target
    where = where & wrong.known
    value, target, B = value[where], target[where], wrong.B[where]
    bound = B if bound is None else np.broadcast_to(bound, wrong.B.shape)[where]
    sure = np.abs(value) > CLEAR * bound
    if not sure.any():
        return None
    value_of_one = np.abs(value).max()
    weight = np.where(sure, np.abs(value) / np.where(B > 0.0, B, value_of_one), 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        k = float((weight * np.where(sure, target / value, 0.0)).sum() / weight.sum())
    off = np.abs(target - k * value) > 2.0 * np.maximum(B, abs(k) * bound)
    return None if off.any() or not math.isfinite(k) else k


def _name_of(k: float, wrong: Compared) -> tuple[str, str]:
    """A factor by its name, or "", and a hint where it may come from."""
    lengths: dict[int, str] = {}
    arrays = (*wrong.outputs, (wrong.path, wrong.C.shape), *((name, value.shape) for name, value in wrong.others))
    for name, shape in arrays:
        for axis, n in enumerate(shape):
            lengths.setdefault(n, f"axis {axis} of {name} has length {n}")
        if len(shape) > 1:
            lengths.setdefault(math.prod(shape), f"{name} has {math.prod(shape)} entries")
    named = {f"{p}/{q}" if q > 1 else f"{p}": p / q for p in range(1, LARGEST + 1) for q in range(1, LARGEST + 1)
             if math.gcd(p, q) == 1}
    hints: dict[str, str] = {}
    for n, length in lengths.items():
        for p, q, hint in ((n, 1, "a mean for a sum, or the reverse?"), (1, n, "a mean for a sum, or the reverse?"),
                           (n - 1, n, "n for n - 1?"), (n, n - 1, "n - 1 for n?")):
            if n > 1 and p != q and min(p, q) > 0 and (n > 2 or 1 in (p, q)):
                name = f"{p}/{q}" if q > 1 else f"{p}"
                named.setdefault(name, p / q)
                hints.setdefault(name, f" ({length}: {hint})")
    for name, value in CONSTANTS.items():
        named[name] = value
        named[INVERSES.get(name, f"1/{name}")] = 1.0 / value
    for name, value in named.items():
        if abs(abs(k) - value) <= NICE * value:
            return ("-" if k < 0.0 else "") + name, hints.get(name, "")
    return "", ""


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether NumPy repeats an array of a shape to fill another one."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


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

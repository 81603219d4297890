"""Checks of single entries, each with a step and a bound of its own."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .differences import Line, Slope, central_slope, complex_slope, scale_of, v_curve
from .directions import SHRUNK
from .pair import ENDED, Arrays, Pair, typical_size
from .report import FAIL, INCONCLUSIVE, PASS, Curve, Entry, severity
from .ties import Around
from .verdict import CLAIM_EPS, KINK, NEGLIGIBLE, ONLY_LOW, UNSTEADY, Claim, narrow, verdict_on

COARSE = 1e-3  # the relative bound of a complex step that tells nothing
AGREE = 1e-6  # how closely a right claim that lost few digits agrees with the complex step
MANY = 10**6  # terms are not kept if there are more numbers than this
SATURATED = 32.0  # inputs up to this size may saturate a function, or nearly so
CONFIRMED = 4  # after this many wrong entries of an array, the others are examined with one step only
LOOKS = 4  # after so many vain looks around an entry, no others are taken
ONLY_HIGH = "computed on the same values in float64, since rounding hides it otherwise"

Limit = Callable[[Slope, Claim], Any]  # how far a claim may be from a slope


class Row(NamedTuple):
    """What one entry of an input is differentiated for: a weighted sum of the outputs, or a single output."""

    index: tuple[int, ...]  # of the output in its array; () for a weighted sum
    weights: np.ndarray     # (M,)
    claims: Sequence[Claim]  # the most exact one first
    single: bool = False    # whether this is a row of a Jacobian


class Checked(NamedTuple):
    """The check of one array. The arrays have its shape, with nan where an entry was not checked.

    For a Jacobian their shape is that of the output, then that of the array.
    """

    k: int
    entry: Entry
    gradient: np.ndarray  # the claim in the highest precision or, if only the other one is wrong, that one
    numeric: np.ndarray
    limit: np.ndarray     # absolute
    terms: np.ndarray     # (M, ...), w_j d out_j / d entry for each output; (0, ...) if these are too many to keep
    end: BaseException | None = None  # what ended it on the way, one of `ENDED`
    tied: tuple[tuple[int, ...], ...] = ()  # entries that are right as one of several slopes around, see `Around`

    @property
    def relative_error(self) -> float:
        """The largest error of an entry that is wrong, relative to the entry itself."""
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.abs(self.gradient - self.numeric)
            wrong = error > self.limit
            return float(np.max(error[wrong] / np.abs(self.numeric[wrong]), initial=0.0))


def check_array(
    exact: Pair, k: int, rows: Sequence[Row], arbiter: "Arbiter | None" = None,
    indices: Iterable[tuple[int, ...]] | None = None, quick: bool = False, out: str = "", all_zero: bool = False,
    around: Around | None = None,
) -> Checked:
    """Compare one array with differences, entry by entry or at the given ``indices``.

    With an ``arbiter`` the complex step is used as well. ``quick`` takes the first step that gives a rough slope,
    whatever the claim is. ``out`` is the name of the output whose Jacobian the ``rows`` are. ``around`` tells whether
    an entry ties with others, so that its own slopes do not bound its claim.
    """
    path, _, leaf = exact.named[k]
    values = np.asarray(leaf)
    out_shape = tuple(int(n) + 1 for n in rows[-1].index) if out else ()
    shape = out_shape + values.shape
    # One gradient for each precision, the highest one first and that of the inputs last.
    gradients = [np.array([row.claims[n].gradient for row in rows]).reshape(shape) if out else claim.gradient
                 for n, claim in enumerate(rows[0].claims)]
    gradient, numeric, limits = gradients[0], np.full(shape, np.nan), [np.full(shape, np.nan) for _ in gradients]
    count = len(rows[0].weights)
    by_output = not out and count * values.size <= MANY
    terms = np.full((count if by_output else 0, *shape), np.nan)
    size = typical_size(values) if values.size else 1.0
    top = float(np.abs(gradient).max(initial=0.0))
    checked: list[Entry] = []
    precisions: list[int] = []  # of the checked
    kinks: list[tuple[int, ...]] = []
    tied: set[tuple[int, ...]] = set()
    looks = 0 if quick else LOOKS
    naturals: list[float] = []
    end: BaseException | None = None
    for column in np.ndindex(values.shape) if indices is None else indices:
        # If the array is known to be wrong, the other entries need no confirmation.
        known = quick or sum(e.verdict == FAIL for e in checked) >= CONFIRMED
        lines = Lines(exact, k, column)
        try:
            slopes = [_slope(lines, row, arbiter, size, known) for row in rows]
        except ENDED as early:
            end = early
            break
        for row, (slope, limit, claims) in zip(rows, slopes):
            index = row.index + column
            if slope.by_output is not None:
                numeric[index] = slope.value
                if by_output:
                    terms[(slice(None), *index)] = row.weights * slope.by_output
            naturals.append(slope.natural)
            for n, claim in enumerate(claims):
                analytic, value, bound = float(claim.gradient[column]), slope.value, float(limit(slope, claim))
                limits[n][index] = bound
                ordinary = top * narrow(exact.out_eps, claim.eps, abs(analytic) <= NEGLIGIBLE * top)
                verdict, note = verdict_on(analytic, slope, bound, float(4.0 * claim.spread[column]), ordinary,
                                           all_zero)
                if around is not None and looks and (verdict == FAIL or note == UNSTEADY):
                    own = bound - slope.bound - float(4.0 * claim.spread[column])  # any change of inputs breaks a tie
                    kink = slope.sides is not None
                    if around.allows((k, column), row.weights, analytic, own, kink, bool(kinks)):
                        verdict = KINK
                        tied.add(column)
                    else:  # one that fails makes the array wrong, whatever the others are
                        looks = 0 if verdict == FAIL else looks - 1
                if verdict == KINK:
                    if claim is claims[0]:
                        kinks.append(index)
                    continue
                unseen = verdict == PASS and 0.1 * max(abs(analytic), abs(value)) < bound
                error = abs(analytic - value)
                if verdict == FAIL and slope.sides is not None:  # which hold the bounds of both sides
                    error, bound = max(slope.sides[0] - analytic, analytic - slope.sides[1]), 0.0
                precisions.append(n)
                checked.append(Entry(path, 1, index, analytic, value, error, bound, verdict, bound, note=note, out=out,
                                     rows=len(out_shape), unseen=int(unseen)))
    if not checked:  # no entry was checked, or every entry lies on a kink
        entry = Entry(path, len(kinks), (), 0.0, 0.0, 0.0, 0.0, PASS, kinks=tuple(kinks), size=gradient.size, out=out)
        return Checked(k, entry, gradient, numeric, limits[0], terms, end, tuple(sorted(tied)))
    largest = max(np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0), np.abs(gradient).max(initial=0.0))
    bounds = [e.bound for e in checked if np.isfinite(e.bound)]
    # If the whole gradient is close to 0, errors are relative to a slope of ordinary size.
    sizes = [largest if largest > 10.0 * max(bounds, default=0.0) else 0.0, max(naturals), largest, 1.0]
    scale = next(float(s) for s in sizes if s > 0.0 and np.isfinite(s))
    wrong, undecided = ({e.index for e in checked if e.verdict == v} for v in (FAIL, INCONCLUSIVE))
    verdict = FAIL if wrong else INCONCLUSIVE if undecided else PASS
    which = {n for n, e in zip(precisions, checked) if e.verdict == verdict}
    # What is shown are the numbers in the precision of the inputs, if they have this verdict.
    shown = max(which)
    worst = max((e for n, e in zip(precisions, checked) if n == shown and e.verdict == verdict), key=severity)
    if len(gradients) > 1 and len(which) == 1 and verdict == FAIL:
        worst = worst._replace(note="; ".join(filter(None, [ONLY_HIGH if shown == 0 else ONLY_LOW, worst.note])))
    seen = [e for e in checked if not e.unseen] or checked
    entry = worst._replace(
        count=len({e.index for e in checked} | set(kinks)), error=worst.error / scale, bound=worst.bound / scale,
        widest=max((e.bound for e in seen if e.bound < np.inf or not bounds), default=0.0) / scale,
        wrong=len(wrong), undecided=len(undecided), kinks=tuple(kinks), size=gradient.size,
        unseen=len({e.index for e in checked if e.unseen}),
    )
    number = shown if verdict == FAIL and len(which) == 1 else 0
    return Checked(k, entry, gradients[number], numeric, limits[number], terms, end, tuple(sorted(tied)))


class Lines:
    """The outputs as functions of one entry of leaf k, real and complex; each value is computed once.

    So the rows of a Jacobian share the calls of f.
    """

    def __init__(self, exact: Pair, k: int, index: tuple[int, ...]) -> None:
        self.exact, self.k, self.index = exact, k, index
        self.dtype = np.asarray(exact.leaves[k]).dtype
        self.x = float(np.asarray(exact.leaves[k])[index])
        self.real, self.complex = (Remembered(exact.line(k, index, dtype)) for dtype in (self.dtype, np.complex128))


class Remembered:
    """A line of which each value is computed once; ``fresh`` computes it anew, as another rounding needs it."""

    def __init__(self, fresh: Line) -> None:
        self.fresh = fresh
        self._values: dict[Any, np.ndarray] = {}

    def __call__(self, t: Any) -> np.ndarray:
        if t not in self._values:
            self._values[t] = self.fresh(t)
        return self._values[t]


def _slope(
    lines: Lines, row: Row, arbiter: "Arbiter | None", size: float, quick: bool
) -> tuple[Slope, Limit, list[Claim]]:
    """The slope along one entry, a function (slope, claim) -> limit, and the claims with their spread."""
    exact, weights, index, x = lines.exact, row.weights, lines.index, lines.x
    claims = [claim.widened() for claim in row.claims] if quick else list(row.claims)

    def limit(slope: Slope, claim: Claim) -> Any:
        terms, spread = slope.terms, claim.spread[index]
        if claim.low:
            # In low precision a claim may be computed from numbers that nearly cancel, such as 1 - tanh^2. Other
            # roundings show this error, if not in float32, where tanh may be 1, then in float64. Without these it is
            # taken as that of a function whose outputs are off by eps.
            lost = np.nan if claim.lost is None else claim.lost[index]
            if np.isnan(lost) or claim.eps == claims[0].eps:
                terms = terms + slope.reach / max(abs(x) / SATURATED, 1.0)
            spread = spread + np.nan_to_num(lost) + claim.smallest * max(1.0, slope.natural, np.abs(weights).sum())
        return slope.bound + CLAIM_EPS * claim.eps * terms + 4.0 * spread + claim.forgiven

    def confirms(slope: Slope, times: float = 1.0) -> bool:
        return all(abs(c.gradient[index] - slope.value) <= times * limit(slope, c) for c in claims)

    expected = None if quick else confirms
    scale = scale_of(x, size)
    by_complex = None
    if arbiter is not None:
        by_complex = complex_slope(lines.complex, x, weights, exact.out_eps, scale, expected)
        if not quick and not confirms(by_complex):
            claims = [claim.widened() for claim in claims]
        # If the slope is close to 0, central differences must say what size of slope to compare it with.
        clear = 0.0 < limit(by_complex, claims[0]) <= 0.1 * abs(by_complex.value)
        if clear and (quick or confirms(by_complex)):
            return by_complex, limit, claims
    slope = central_slope(lines.real, x, weights, exact.out_eps, exact.noise, expected, lines.dtype, scale)
    if not quick and not confirms(slope):
        claims = [claim.widened() for claim in claims]
    if by_complex is not None and by_complex.bound < slope.bound and slope.sides is None:
        slope = slope._replace(moved=0.0)  # what is lost in the last digits of f, the complex step has seen
        by_complex = by_complex._replace(natural=max(by_complex.natural, slope.natural))
        # Where both agree, the complex step is the sharper one; but a lost imaginary part gives 0, too.
        agree = abs(by_complex.value - slope.value) <= slope.bound
        if agree and by_complex.value != 0.0:
            if confirms(by_complex) or not confirms(slope):
                return by_complex, limit, claims
        claimed = float(claims[0].gradient[index])
        if agree and abs(claimed - by_complex.value) > limit(by_complex, claims[0]):
            if arbiter is not None and arbiter(lines, row, claimed, by_complex):
                return by_complex, limit, claims
    return slope, limit, claims


class Arbiter:
    """Decides where the complex step contradicts a claim and central differences are too coarse to tell.

    Either the claim is wrong, or it has lost its digits, as 1 - tanh^2 does for large inputs, or f is not analytic in
    this one entry. The same entry is therefore examined again with all inputs shrunk. A right formula agrees with the
    complex step at some of these inputs, and a wrong one at none of them.
    """

    def __init__(self, exact: Pair, cotangent: Arrays) -> None:
        self.exact, self.cotangent = exact, cotangent

    @cached_property
    def shrunk(self) -> list[tuple[Pair, Arrays]]:
        """Pairs with smaller inputs, and their claims."""
        pairs = [self.exact.shrunk(factor) for factor in SHRUNK]
        return [(pair, pair.claims(self.cotangent)) for pair in pairs]

    @cached_property
    def matrices(self) -> list[tuple[Pair, Arrays]]:
        """The same with Jacobians."""
        return [(pair, pair.matrices()) for pair, _ in self.shrunk]

    def __call__(self, lines: Lines, row: Row, claim: float, slope: Slope) -> bool:
        """Whether to believe the complex step."""
        if slope.value == 0.0 or abs(claim - slope.value) <= AGREE * abs(slope.value):
            return False  # a lost imaginary part gives a slope of 0, too
        k, index = lines.k, lines.index
        compared = 0
        for pair, claims in self.matrices if row.single else self.shrunk:
            x, line = float(np.asarray(pair.leaves[k])[index]), pair.line(k, index, np.complex128)
            there = complex_slope(line, x, row.weights, self.exact.out_eps, confirms=lambda slope, times=1.0: False)
            value, gradient = there.value, claims[k]
            if gradient is None or not there.bound <= COARSE * abs(value) or value == 0.0:
                continue  # nothing can be told here
            if abs(gradient[row.index + index] - value) <= AGREE * abs(value) + there.bound:
                return False
            compared += 1
        return compared > 1


def curve_of(exact: Pair, weights: np.ndarray, entry: Entry, k: int) -> Curve:
    """`v_curve` of one entry."""
    line = exact.line(k, entry.index, np.asarray(exact.leaves[k]).dtype)
    return v_curve(line, float(np.asarray(exact.leaves[k])[entry.index]), weights, entry.analytic)

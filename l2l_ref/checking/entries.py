"""Checks of single entries, each with a step and a bound of its own."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .differences import Slope, central_slope, complex_slope, scale_of, v_curve
from .pair import Arrays, Pair
from .report import FAIL, INCONCLUSIVE, PASS, Curve, Entry, severity
from .verdict import CLAIM_EPS, KINK, Claim, verdict_on

AGREE = 1e-6  # how closely a right claim that lost few digits agrees with the complex step
MANY = 10**6  # terms are not kept if there are more numbers than this
CONFIRMED = 4  # after this many wrong entries of an array, the others are examined with one step only
SHRUNK = (0.5, 2.0**-3, 2.0**-6, 2.0**-10)

Limit = Callable[[Slope, Claim], Any]  # how far a claim may be from a slope


class Checked(NamedTuple):
    """The check of one array. The arrays have its shape, with nan where an entry was not checked."""

    k: int
    entry: Entry
    gradient: np.ndarray  # the claim in the highest precision
    numeric: np.ndarray
    limit: np.ndarray     # absolute
    terms: np.ndarray     # (M, ...), w_j d out_j / d entry for each output; (0, ...) if these are too many to keep


def check_array(
    exact: Pair, k: int, weights: np.ndarray, claims: Sequence[Claim], arbiter: "Arbiter | None" = None,
    indices: Iterable[tuple[int, ...]] | None = None, quick: bool = False,
) -> Checked:
    """Compare one array with differences, entry by entry or at the given ``indices``.

    ``claims`` come with the most exact one first. With an ``arbiter`` the complex step is used as well. ``quick`` takes
    the first step that gives a rough slope, whatever the claim is.
    """
    path, _, leaf = exact.named[k]
    values = np.asarray(leaf)
    shape = values.shape
    numeric, limits = np.full(shape, np.nan), np.full(shape, np.nan)
    by_output = len(weights) * values.size <= MANY
    terms = np.full((len(weights) if by_output else 0, *shape), np.nan)
    if values.size == 0:
        return Checked(k, Entry(path, 0, (), 0.0, 0.0, 0.0, 0.0, PASS), claims[0].gradient, numeric, limits, terms)
    size = float(np.sqrt(np.mean(np.square(values)))) or 1.0
    ordinary = 1e-6 * float(np.abs(claims[0].gradient).max())
    checked: list[Entry] = []
    kinks: list[tuple[int, ...]] = []
    naturals: list[float] = []
    for index in np.ndindex(shape) if indices is None else indices:
        # If the array is known to be wrong, the other entries need no confirmation.
        known = sum(e.verdict == FAIL for e in checked) >= CONFIRMED
        slope, limit = _slope(exact, k, index, weights, claims, arbiter, size, quick or known)
        if slope.by_output is not None:
            numeric[index] = slope.value
            if by_output:
                terms[(slice(None), *index)] = weights * slope.by_output
        limits[index] = limit(slope, claims[0])
        naturals.append(slope.natural)
        for claim in claims:
            analytic, value, bound = float(claim.gradient[index]), float(slope.value), float(limit(slope, claim))
            verdict, note = verdict_on(analytic, slope, bound, float(4.0 * claim.spread[index]), ordinary)
            if verdict == KINK:
                if claim is claims[0]:
                    kinks.append(index)
                continue
            error = abs(analytic - value)
            checked.append(Entry(path, 1, index, analytic, value, error, bound, verdict, bound, note=note))
    gradient = claims[0].gradient
    if not checked:  # every entry lies on a kink
        entry = Entry(path, len(kinks), (), 0.0, 0.0, 0.0, 0.0, PASS, kinks=tuple(kinks),
                      size=values.size)
        return Checked(k, entry, gradient, numeric, limits, terms)
    largest = max(np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0), np.abs(gradient).max(initial=0.0))
    bounds = [e.bound for e in checked if np.isfinite(e.bound)]
    # If the whole gradient is close to 0, errors are relative to a slope of ordinary size.
    sizes = [largest if largest > 10.0 * max(bounds, default=0.0) else 0.0, max(naturals), largest, 1.0]
    scale = next(float(s) for s in sizes if s > 0.0 and np.isfinite(s))
    worst = max(checked, key=severity)
    wrong, undecided = ({e.index for e in checked if e.verdict == v} for v in (FAIL, INCONCLUSIVE))
    entry = worst._replace(
        count=len({e.index for e in checked} | set(kinks)), error=worst.error / scale, bound=worst.bound / scale,
        widest=max(e.bound for e in checked) / scale, wrong=len(wrong), undecided=len(undecided), kinks=tuple(kinks),
        size=values.size,
    )
    return Checked(k, entry, gradient, numeric, limits, terms)


def _slope(
    exact: Pair, k: int, index: tuple[int, ...], weights: np.ndarray, claims: Sequence[Claim],
    arbiter: "Arbiter | None", size: float, quick: bool,
) -> tuple[Slope, Limit]:
    """The slope along one entry, and a function (slope, claim) -> limit."""
    values = np.asarray(exact.leaves[k])

    def limit(slope: Slope, claim: Claim) -> Any:
        terms = slope.terms
        if claim.eps > np.finfo(float).eps:
            # In low precision a claim may be computed from numbers that nearly cancel, such as 1 - tanh^2. Its error is
            # then that of a function whose outputs, or intermediate numbers of size 1, change by eps when the inputs
            # change by their own size; and another input may multiply this error. The formula is checked in float64.
            terms = terms + (slope.reach + np.abs(weights).sum()) * max(1.0 / size, 1.0, exact.largest)
        return slope.bound + CLAIM_EPS * claim.eps * terms + 4.0 * claim.spread[index] + claim.forgiven

    def confirms(slope: Slope, times: float = 1.0) -> bool:
        return all(abs(c.gradient[index] - slope.value) <= times * limit(slope, c) for c in claims)

    x = float(values[index])
    scale = scale_of(x, size)
    by_complex = None
    if arbiter is not None:
        by_complex = complex_slope(exact.line(k, index, np.complex128), x, weights, exact.out_eps, scale, confirms)
        # If the slope is close to 0, central differences must say what size of slope to compare it with.
        clear = limit(by_complex, claims[0]) <= 0.1 * abs(by_complex.value)
        plain = all(
            abs(c.gradient[index] - by_complex.value) <= limit(by_complex, c) - 4.0 * c.spread[index] for c in claims
        )
        if clear and plain:
            return by_complex, limit
    line = exact.line(k, index, values.dtype)
    slope = central_slope(
        line, x, weights, exact.out_eps, exact.noise, None if quick else confirms, values.dtype, scale
    )
    if arbiter is not None and by_complex is not None and by_complex.bound < slope.bound and slope.sides is None:
        if abs(claims[0].gradient[index] - by_complex.value) > limit(by_complex, claims[0]):
            if arbiter(k, index, float(claims[0].gradient[index]), by_complex):
                return by_complex, limit
    return slope, limit


class Arbiter:
    """Decides where the complex step contradicts a claim and central differences are too coarse to tell.

    Either the claim is wrong, or it has lost its digits, as 1 - tanh^2 does for large inputs, or f is not analytic in
    this one entry. The same entry is therefore examined again with all inputs shrunk. A right formula agrees with the
    complex step at some of these inputs, and a wrong one at none of them.
    """

    def __init__(self, exact: Pair, cotangent: Arrays, weights: np.ndarray) -> None:
        self.exact, self.cotangent, self.weights = exact, cotangent, weights
        self.shrunk: list[tuple[Pair, Arrays]] | None = None  # pairs and their claims

    def __call__(self, k: int, index: tuple[int, ...], claim: float, slope: Slope) -> bool:
        """Whether to believe the complex step."""
        if slope.value == 0.0 or abs(claim - slope.value) <= AGREE * abs(slope.value):
            return False  # a lost imaginary part gives a slope of 0, too
        if self.shrunk is None:
            pairs = [self.exact.shrunk(factor) for factor in SHRUNK]
            self.shrunk = [(pair, pair.claims(self.cotangent)) for pair in pairs]
        compared = 0
        for pair, claims in self.shrunk:
            x, line = float(np.asarray(pair.leaves[k])[index]), pair.line(k, index, np.complex128)
            value = complex_slope(line, x, self.weights, self.exact.out_eps).value
            gradient = claims[k]
            if gradient is None or not np.isfinite(value) or value == 0.0:
                continue
            if abs(gradient[index] - value) <= AGREE * abs(value):
                return False
            compared += 1
        return compared > 1


def curve_of(exact: Pair, weights: np.ndarray, entry: Entry, k: int) -> Curve:
    """`v_curve` of one entry."""
    line = exact.line(k, entry.index, np.asarray(exact.leaves[k]).dtype)
    return v_curve(line, float(np.asarray(exact.leaves[k])[entry.index]), weights, entry.analytic)

"""Single entries: each with a step and a bound of its own."""

from typing import NamedTuple

import numpy as np

from .differences import central_slope, complex_slope, v_curve
from .report import FAIL, INCONCLUSIVE, PASS, Entry, badness
from .verdict import CLAIM_EPS, KINK, verdict_on

AGREE = 1e-6  # how close a right claim comes to the complex step where few of its digits are lost
MANY = 10**6  # numbers, from which on terms are not kept
PROVED = 4  # wrong entries of an array, before the others are looked at with one step
SHRUNK = (0.5, 2.0**-3, 2.0**-6, 2.0**-10)


class Checked(NamedTuple):
    """One array, entry by entry; arrays of the array's shape, nan where an entry was not checked."""

    k: int
    entry: Entry
    gradient: np.ndarray   # the claim in the highest precision
    numeric: np.ndarray
    limit: np.ndarray      # absolute
    terms: np.ndarray      # (M, ...) w_j d out_j / d entry, for each output; (0, ...) where these are too many


def check_array(exact, k, weights, claims, arbiter=None, indices=None, quick=False):
    """Compare one array entry by entry, or at the ``indices`` given.

    ``claims`` are Claims, the most exact first; with an ``arbiter``, the complex step is used as well.
    ``quick`` takes the first step that gives some digits of the slope, whatever the claim is.
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
    checked, kinks, naturals = [], [], []
    for index in np.ndindex(shape) if indices is None else indices:
        # An array that is known to be wrong need not be proved to be so in each entry.
        known = sum(e.verdict == FAIL for e in checked) >= PROVED
        slope, limit = _slope(exact, k, index, weights, claims, arbiter, size, quick or known)
        if slope.by_output is not None:
            numeric[index] = slope.value
            if by_output:
                terms[(slice(None), *index)] = weights * slope.by_output
        limits[index] = limit(slope, claims[0])
        naturals.append(slope.natural)
        for claim in claims:
            analytic, value, bound = float(claim.gradient[index]), float(slope.value), float(limit(slope, claim))
            verdict, note = verdict_on(analytic, slope, bound, 4.0 * claim.spread[index], ordinary)
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
    # Where the whole gradient is next to nothing it is a slope of ordinary size that an error compares with.
    sizes = [largest if largest > 10.0 * max(bounds, default=0.0) else 0.0, max(naturals), largest, 1.0]
    scale = next(float(s) for s in sizes if s > 0.0 and np.isfinite(s))
    worst = max(checked, key=badness)
    wrong, undecided = ({e.index for e in checked if e.verdict == v} for v in (FAIL, INCONCLUSIVE))
    entry = worst._replace(
        count=len({e.index for e in checked} | set(kinks)), error=worst.error / scale, bound=worst.bound / scale,
        widest=max(e.bound for e in checked) / scale, wrong=len(wrong), undecided=len(undecided), kinks=tuple(kinks),
        size=values.size,
    )
    return Checked(k, entry, gradient, numeric, limits, terms)


def _slope(exact, k, index, weights, claims, arbiter, size, quick):
    """The slope along one entry, and a function (slope, claim) -> limit."""
    values = np.asarray(exact.leaves[k])

    def limit(slope, claim):
        terms = slope.terms
        if claim.eps > np.finfo(float).eps:
            # In low precision a claim may pass through numbers that nearly cancel, such as 1 - tanh^2: then it
            # is as far off as if the outputs, or numbers of size 1 behind them, changed by eps in response to a change
            # of the inputs by their size, and another input may multiply that. The formula is proved in float64.
            terms = terms + (slope.reach + np.abs(weights).sum()) * max(1.0 / size, 1.0, exact.largest)
        return slope.bound + CLAIM_EPS * claim.eps * terms + 4.0 * claim.spread[index] + claim.forgiven

    def confirms(slope, times=1.0):
        return all(abs(c.gradient[index] - slope.value) <= times * limit(slope, c) for c in claims)

    x = values[index]
    by_complex = None
    if arbiter is not None:
        by_complex = complex_slope(exact.line(k, index, np.complex128), x, weights, exact.out_eps)
        # Where the slope is next to nothing, what that is beside must come from central differences.
        clear = limit(by_complex, claims[0]) <= 0.1 * abs(by_complex.value)
        plain = all(
            abs(c.gradient[index] - by_complex.value) <= limit(by_complex, c) - 4.0 * c.spread[index] for c in claims
        )
        if clear and plain:
            return by_complex, limit
    line = exact.line(k, index, values.dtype)
    slope = central_slope(line, x, weights, exact.out_eps, exact.noise, None if quick else confirms, values.dtype)
    if by_complex is not None and by_complex.bound < slope.bound and slope.sides is None:
        if abs(claims[0].gradient[index] - by_complex.value) > limit(by_complex, claims[0]):
            if arbiter(k, index, float(claims[0].gradient[index]), by_complex):
                return by_complex, limit
    return slope, limit


class Arbiter:
    """Who is right where the complex step contradicts a claim and central differences are too coarse to tell.

    Either the claim is wrong, or it has lost its digits on the way, as 1 - tanh^2 does for large inputs, or f is not
    analytic in this one entry. The same entry is looked at again with all inputs shrunk: a formula that is right
    agrees with the complex step somewhere there, one that is wrong nowhere.
    """

    def __init__(self, exact, cotangent, weights):
        self.exact, self.cotangent, self.weights, self.elsewhere = exact, cotangent, weights, None

    def __call__(self, k, index, claim, slope):
        """Whether to believe the complex step."""
        if slope.value == 0.0 or abs(claim - slope.value) <= AGREE * abs(slope.value):
            return False  # 0 is also what a dropped imaginary part looks like
        if self.elsewhere is None:
            pairs = [self.exact.shrunk(factor) for factor in SHRUNK]
            self.elsewhere = [(pair, pair.claims(self.cotangent)) for pair in pairs]
        compared = 0
        for pair, claims in self.elsewhere:
            x, line = np.asarray(pair.leaves[k])[index], pair.line(k, index, np.complex128)
            there = complex_slope(line, x, self.weights, self.exact.out_eps)
            if claims[k] is None or not np.isfinite(there.value) or there.value == 0.0:
                continue
            if abs(claims[k][index] - there.value) <= AGREE * abs(there.value):
                return False
            compared += 1
        return compared > 1


def curve_of(exact, weights, entry, k):
    """The V curve of one entry."""
    line = exact.line(k, entry.index, np.asarray(exact.leaves[k]).dtype)
    return v_curve(line, float(np.asarray(exact.leaves[k])[entry.index]), weights, entry.analytic)

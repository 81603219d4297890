"""Numbers against numbers: what f_backward claims for an entry or a direction, and what values of f say.

A claim is within its limit when it differs from the slope by no more than

    bound of the slope (differences.py)
    + CLAIM_EPS eps |terms|  + 4 |change of the claim when all inputs change in their last place|

A claim that is not, is wrong. One that is, but by a bound nearly as wide as the slope itself, is undecided; where
the slope is next to nothing, beside a slope of the size that the outputs have, it need not be that narrow.
"""

import warnings
from typing import NamedTuple

import numpy as np

from . import trees
from .differences import central_slope, complex_slope, taylor_rate, v_curve
from .report import FAIL, INCONCLUSIVE, PASS, Direction, Entry, badness

# An entry's rounding, in eps of its dtype, relative to the sizes that enter it.
CLAIM_EPS = 8.0
DIRECTIONS = 3
AGREE = 1e-6  # how close a right claim comes to the complex step where few of its digits are lost
KINK = "kink"
MANY = 10**6  # numbers, from which on terms are not kept
PROVED = 4  # wrong entries of an array, before the others are looked at with one step
SHRUNK = (0.5, 2.0**-3, 2.0**-6, 2.0**-10)


class Claim(NamedTuple):
    """What f_backward says of one array, in one precision."""

    gradient: np.ndarray
    eps: float
    spread: np.ndarray  # change of the gradient when all inputs change by eps
    forgiven: float = 0.0  # an error that the user allows


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
    found, kinks, naturals = [], [], []
    for index in np.ndindex(shape) if indices is None else indices:
        # An array that is known to be wrong need not be proved to be so in each entry.
        known = sum(e.verdict == FAIL for e in found) >= PROVED
        slope, limit = _slope(exact, k, index, weights, claims, arbiter, size, quick or known)
        if slope.by_output is not None:
            numeric[index] = slope.value
            if by_output:
                terms[(slice(None), *index)] = weights * slope.by_output
        limits[index] = limit(slope, claims[0])
        naturals.append(slope.natural)
        for claim in claims:
            verdict, note = _verdict(float(claim.gradient[index]), slope, limit(slope, claim), 4.0 * claim.spread[index],
                                     ordinary)
            if verdict == KINK:
                kinks += [index] * (claim is claims[0])
                continue
            analytic, value, bound = float(claim.gradient[index]), float(slope.value), float(limit(slope, claim))
            found.append(Entry(path, 1, index, analytic, value, abs(analytic - value), bound, verdict, bound, note=note))
    gradient = claims[0].gradient
    if not found:  # every entry lies on a kink
        entry = Entry(path, len(kinks), (), 0.0, 0.0, 0.0, 0.0, PASS, kinks=tuple(kinks),
                      size=values.size)
        return Checked(k, entry, gradient, numeric, limits, terms)
    largest = max(np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0), np.abs(gradient).max(initial=0.0))
    bounds = [e.bound for e in found if np.isfinite(e.bound)]
    # Where the whole gradient is next to nothing it is a slope of ordinary size that an error compares with.
    sizes = [largest if largest > 10.0 * min(bounds, default=0.0) else 0.0, max(naturals), largest, 1.0]
    scale = next(float(s) for s in sizes if s > 0.0 and np.isfinite(s))
    worst = max(found, key=badness)
    wrong, undecided = ({e.index for e in found if e.verdict == v} for v in (FAIL, INCONCLUSIVE))
    entry = worst._replace(
        count=len({e.index for e in found} | set(kinks)), error=worst.error / scale, bound=worst.bound / scale,
        widest=max(e.bound for e in found) / scale, wrong=len(wrong), undecided=len(undecided), kinks=tuple(kinks), size=values.size,
    )
    return Checked(k, entry, gradient, numeric, limits, terms)


def _slope(exact, k, index, weights, claims, arbiter, size, quick):
    """The slope along one entry, and a function (slope, claim) -> limit."""
    values = np.asarray(exact.leaves[k])

    def limit(slope, claim):
        terms = slope.terms
        if claim.eps > np.finfo(float).eps:
            # In low precision a claim may pass through numbers that nearly cancel, such as 1 - tanh^2: then it
            # is as far off as if the outputs changed by eps in response to a change of the inputs by
            # their size, and another input may multiply that. The formula itself is proved in float64.
            terms = terms + slope.reach * max(1.0 / size, 1.0, exact.largest)
        return slope.bound + CLAIM_EPS * claim.eps * terms + 4.0 * claim.spread[index] + claim.forgiven

    def confirms(slope):
        return all(abs(c.gradient[index] - slope.value) <= limit(slope, c) for c in claims)

    x = values[index]
    by_complex = None
    if arbiter is not None:
        by_complex = complex_slope(exact.line(k, index, np.complex128), x, weights, exact.out_eps)
        # Where the slope is next to nothing, what that is beside must come from central differences.
        clear = limit(by_complex, claims[0]) <= 0.1 * abs(by_complex.value)
        plain = all(abs(c.gradient[index] - by_complex.value) <= limit(by_complex, c) - 4.0 * c.spread[index] for c in claims)
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


def _verdict(analytic, slope, limit, spread, ordinary=0.0):
    """The verdict on a single number, or KINK, and why.

    The bound of the slope must be narrow for anything to be decided, and so must the ``spread`` of the claim where the
    error is not explained without it. What is below ``ordinary`` is narrow.
    """
    error = abs(analytic - slope.value)
    width = slope.bound + (spread if error > limit - spread else 0.0)
    if slope.sides is not None:
        low, high = slope.sides
        if low <= analytic <= high:
            return KINK, ""
        return FAIL, f"it is a kink, and f_backward is not between the one-sided slopes {low:.6g} and {high:.6g}"
    if not np.isfinite(slope.bound):
        where = "on one side of here" if slope.one_sided else "around here"
        return INCONCLUSIVE, f"the edge of the domain: f is not finite {where}"
    if not error <= limit:  # in this form nan is not within
        return FAIL, ""
    if error == 0.0 or width <= max(0.1 * abs(slope.value), 0.1 * abs(analytic), 1e-3 * slope.natural, ordinary):
        return PASS, ""
    if width > 2.0 * slope.bound:
        return INCONCLUSIVE, "f_backward changes too much when its inputs change in their last place"
    if slope.jump or slope.rounding < 0.5 * slope.bound:
        return INCONCLUSIVE, "f is not smooth here: no step gives a difference that settles"
    return INCONCLUSIVE, "below the noise: the slope is lost in the rounding of f"


def draw(pair, leaves, rng, relative):
    """A random direction, by leaf: normal numbers times the size of each entry, or of its array."""
    directions = [None] * len(pair.leaves)
    for k in leaves:
        values = np.asarray(pair.leaves[k], np.float64)
        size = np.abs(values)
        typical = float(np.sqrt(np.mean(np.square(values)))) if values.size else 1.0
        typical = typical if typical > 0.0 else 1.0
        lengths = np.where(size > 0.0, size, typical) if relative else np.full(values.shape, typical)
        directions[k] = lengths * rng.standard_normal(values.shape)
    return directions


def along(directions, claims):
    """What the gradients claim along a direction: the slope, its length, its rounding, its change in the last place."""
    moved = [k for k, d in enumerate(directions) if d is not None]
    parts = [claims[k].gradient * directions[k] for k in moved]
    slope = float(sum(part.sum() for part in parts))
    with np.errstate(over="ignore"):
        length = float(np.sqrt(sum(np.square(part).sum() for part in parts)))
    rounding = sum(
        CLAIM_EPS * claims[k].eps * np.abs(part).sum() + claims[k].forgiven * np.abs(directions[k]).sum()
        for k, part in zip(moved, parts)
    )
    spread = sum(4.0 * (claims[k].spread * np.abs(directions[k])).sum() for k in moved)
    return slope, length, float(rounding), float(spread)


def check_direction(exact, directions, weights, claimed, complex_too=False, what="f_backward", quick=False):
    """Compare the slope along a direction through all inputs at once; ``claimed`` is what `along` returns.

    ``quick`` takes the first step that gives some digits of the slope, whatever the claim is.
    """
    analytic, length, rounding, spread = claimed

    def limit(slope):
        return slope.bound + CLAIM_EPS * exact.out_eps * slope.terms + rounding + spread

    def confirms(slope):
        return abs(analytic - slope.value) <= limit(slope)

    slope = None
    if complex_too:
        slope = complex_slope(_line_at_zero(exact, directions), 0.0, weights, exact.out_eps)
    if slope is None or not confirms(slope):
        slope = central_slope(exact.direction_line(directions), 0.0, weights, exact.out_eps, 0.0,
                              None if quick else confirms)
    verdict, note = _verdict(analytic, slope, limit(slope), spread)
    error = abs(analytic - slope.value)
    if verdict == KINK:
        verdict, note = INCONCLUSIVE, "a kink, f_backward is between the one-sided slopes"
    scale = next((s for s in (length, abs(slope.value), slope.natural) if s > 0.0 and np.isfinite(s)), 1.0)
    return Direction(what, analytic, float(slope.value), float(error / scale), float(limit(slope) / scale), verdict, note)


def _line_at_zero(exact, directions):
    """The line of a direction for complex t, also where t is 0 or f refuses: then the error of f comes through."""
    return lambda t: exact.outputs(exact.moved(directions, t))


def not_analytic(exact, leaves, weights, rng):
    """Why the complex step cannot be used, by one random direction; None when it can."""
    directions = draw(exact, leaves, rng, relative=False)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cast to real warns, and is found out below
            step = complex_slope(_line_at_zero(exact, directions), 0.0, weights, exact.out_eps)
    except Exception as error:  # whatever f says to complex numbers
        return f"f refuses complex inputs ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    central = central_slope(exact.direction_line(directions), 0.0, weights, exact.out_eps, 0.0,
                            lambda s: abs(s.value - step.value) <= s.bound + step.bound)
    if central.sides is not None or central.bound > 1e-3 * max(abs(central.value), central.terms, central.natural):
        return "central differences along one random direction are too coarse to confirm it"
    if abs(step.value - central.value) <= central.bound + step.bound:
        return None
    return (
        f"f is not analytic here: along one random direction it gives {step.value:.10g}, "
        f"central differences {central.value:.10g}"
    )


def bisect(exact, leaves, weights, claims, rng):
    """From a wrong direction down to one entry that is wrong: (leaf, index). Some log2 of the entries' number."""
    spans = [(k, 0, _size(exact, k)) for k in leaves if _size(exact, k)]
    while len(spans) > 1 or spans[0][2] - spans[0][1] > 1:
        halves = _halves(spans)
        full = draw(exact, leaves, rng, relative=bool(rng.integers(2)))
        spans = max(halves, key=lambda half: _excess_within(exact, _masked(full, half), weights, claims))
    k, start, _ = spans[0]
    return k, tuple(int(i) for i in np.unravel_index(start, np.shape(exact.leaves[k])))


def _excess_within(exact, directions, weights, claims):
    return check_direction(exact, directions, weights, along(directions, claims), quick=True).excess


def _size(exact, k):
    return int(np.size(exact.leaves[k]))


def _halves(spans):
    """Two lists of spans (leaf, start, stop) with about half of the entries each."""
    total = sum(stop - start for _, start, stop in spans)
    first, second, left = [], [], total // 2
    for k, start, stop in spans:
        cut = min(stop, start + left)
        left -= cut - start
        first += [(k, start, cut)] * (cut > start)
        second += [(k, cut, stop)] * (stop > cut)
    return first, second


def _masked(directions, spans):
    """The direction where it lies in the spans, 0 elsewhere."""
    masked = [None] * len(directions)
    for k, start, stop in spans:
        flat = np.zeros(directions[k].size)
        flat[start:stop] = np.ravel(directions[k])[start:stop]
        masked[k] = flat.reshape(directions[k].shape)
    return masked


def rate_along(exact, directions, weights, claims):
    """`taylor_rate` along a direction."""
    return taylor_rate(exact.direction_line(directions), weights, along(directions, claims)[0], exact.out_eps)


def curve_along(exact, directions, weights, claims):
    """The V curve along a direction."""
    return v_curve(exact.direction_line(directions), 0.0, weights, along(directions, claims)[0])


def curve_of(exact, weights, entry, k):
    """The V curve of one entry."""
    line = exact.line(k, entry.index, np.asarray(exact.leaves[k]).dtype)
    return v_curve(line, float(np.asarray(exact.leaves[k])[entry.index]), weights, entry.analytic)

"""Random directions through all inputs at once: a few calls of f, however many inputs there are."""

import warnings

import numpy as np

from . import trees
from .differences import central_slope, complex_slope, taylor_rate, v_curve
from .report import ADJOINT, FAIL, INCONCLUSIVE, PASS, Direction, Report
from .verdict import CLAIM_EPS, verdict_on

DIRECTIONS = 3
JVP_EPS = 1e4  # rounding of a derivative along a direction, whose inside is not looked at, in eps of its terms


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

    def confirms(slope, times=1.0):
        return abs(analytic - slope.value) <= times * limit(slope)

    slope = complex_slope(_line_at_zero(exact, directions), 0.0, weights, exact.out_eps) if complex_too else None
    # Where the slope is next to nothing, what that is beside must come from central differences.
    if slope is None or not (confirms(slope) and limit(slope) <= 0.1 * abs(slope.value)):
        slope = central_slope(exact.direction_line(directions), 0.0, weights, exact.out_eps, 0.0,
                              None if quick else confirms)
    verdict, note = verdict_on(analytic, slope, limit(slope), spread)
    error = abs(analytic - slope.value)
    if slope.sides is not None:  # several may meet here, and a claim need not lie between the slopes of their sum
        verdict, note = INCONCLUSIVE, "it lies on a kink"
    sizes = (length if length > 10.0 * limit(slope) else 0.0, slope.natural, length, abs(slope.value))
    scale = next((s for s in sizes if s > 0.0 and np.isfinite(s)), 1.0)
    error, bound = float(error / scale), float(limit(slope) / scale)
    return Direction(what, analytic, float(slope.value), error, bound, verdict, note)


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
                            lambda s, times=1.0: abs(s.value - step.value) <= times * (s.bound + step.bound))
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


class JVP:
    """A derivative along directions, ``jvp(d_inputs, *inputs) -> d_out``."""

    def __init__(self, pair, jvp, rng):
        self.pair, self.jvp, self.rng, self.leaves = pair, jvp, rng, pair.tested

    def directions(self, weights, claims=None):
        """Against differences and, where there are claims of a backward function, against these."""
        checked = []
        for number in range(DIRECTIONS):
            directions = draw(self.pair, self.leaves, self.rng, relative=number % 2 == 1)
            d_out = weights * self._call(directions)
            slope, terms = float(d_out.sum()), float(np.abs(d_out).sum())
            rounding = JVP_EPS * self.pair.out_eps * terms
            checked.append(check_direction(self.pair, directions, weights, (slope, terms, rounding, 0.0), what="jvp"))
            if claims is not None:
                back, length, *back_rounding = along(directions, claims)
                error, bound, scale = abs(back - slope), rounding + sum(back_rounding), max(length, terms) or 1.0
                checked.append(Direction(ADJOINT, back, slope, error / scale, bound / scale,
                                       PASS if error <= bound else FAIL))
        return checked

    def _call(self, directions):
        nested = [None if d is None else trees.like(d, v) for d, v in zip(directions, self.pair.leaves)]
        d_inputs = tuple(trees.rebuild(self.pair.inputs, iter(nested)))
        d_out = self.jvp(d_inputs, *self.pair.arguments())
        flat = np.concatenate([np.zeros(0), *(np.ravel(v) for _, v in trees.leaves(d_out) if trees.is_floating(v))])
        if flat.shape != self.pair.here.shape:
            raise TypeError(f"jvp: expected {self.pair.here.size} numbers, as many as f has outputs, got {flat.size}")
        return flat

    def report(self, seed):
        directions = self.directions(self.rng.standard_normal(self.pair.here.shape))
        verdicts = [d.verdict for d in directions]
        verdict = FAIL if FAIL in verdicts else INCONCLUSIVE if INCONCLUSIVE in verdicts else PASS
        return Report(verdict, directions=tuple(directions), seed=seed, evaluations=self.pair.evaluations)

"""Random directions through all inputs at once: a few calls of f, whatever the number of inputs."""

from __future__ import annotations  # so that no annotation loads numpy.random

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from . import trees
from .differences import DIRECTED, Line, Slope, both_ways, central_slope, complex_slope, taylor_rate, v_curve
from .foreign import ADJOINT_EPS
from .pair import Arrays, Pair, typical_size
from .report import ADJOINT, FAIL, INCONCLUSIVE, PASS, SYMMETRY, Curve, Direction, Report
from .verdict import CLAIM_EPS, KINK, ONLY_LOW, Claim, verdict_on

DIRECTIONS = 3
SIGMAS = 6.0
COARSE_DIRECTION = "central differences along one random direction are too coarse to confirm it"
SHRUNK = (0.5, 2.0**-3, 2.0**-6, 2.0**-10)  # factors of the inputs at which the same code may be less difficult

Claims = Mapping[int, Claim]  # by the number of the leaf
Spans = list[tuple[int, int, int]]  # (leaf, start, stop): entries of leaves that are flattened


def random_direction(pair: Pair, leaves: Sequence[int], rng: np.random.Generator, relative: bool) -> Arrays:
    """A random direction, one array for each leaf: normal numbers times the size of each entry, or of its array."""
    directions: Arrays = [None] * len(pair.leaves)
    for k in leaves:
        values = np.asarray(pair.leaves[k], np.float64)
        size = np.abs(values)
        typical = typical_size(values)
        lengths = np.where(size > 0.0, size, typical) if relative else np.full(values.shape, typical)
        directions[k] = lengths * rng.standard_normal(values.shape)
    return directions


class Claimed(NamedTuple):
    """The slope along a direction according to f_backward."""

    slope: float
    length: float    # the norm of its terms
    rounding: float
    spread: float
    low: "Low | None" = None


class Low(NamedTuple):
    """What claims in low precision may be off by, beyond that, along a random direction."""

    eps: float
    unknown: bool    # whether the error of their arithmetic is not known
    smallest: float  # the part of claims so small that they may be 0


def claimed_slope(directions: Arrays, claims: Claims, widened: bool = False) -> Claimed:
    """The slope along a direction according to the gradients; ``widened`` with the error of their own arithmetic."""
    moved, claims, parts = _parts(directions, claims, widened)
    rounding = sum(
        CLAIM_EPS * claims[k].eps * np.abs(part).sum() + claims[k].forgiven * np.abs(directions[k]).sum()
        for k, part in zip(moved, parts)
    )
    spread = sum(4.0 * (claims[k].spread * np.abs(directions[k])).sum() for k in moved)
    return Claimed(float(sum(part.sum() for part in parts)), _norm(parts), float(rounding), float(spread))


def claimed_in_low_precision(directions: Arrays, claims: Claims, widened: bool = False) -> Claimed:
    """The same for claims of float32 code along a random direction, whose errors are many, and larger.

    The signs of the direction know nothing of the errors e of the claims. So the sum of e * direction exceeds `SIGMAS`
    times its norm once in 10^7 times (W. Hoeffding, "Probability inequalities for sums of bounded random variables",
    1963), however the errors depend on each other.
    """
    moved, claims, parts = _parts(directions, claims, widened)
    forgiven = sum(claims[k].forgiven * np.abs(directions[k]).sum() for k in moved)
    rounding = [CLAIM_EPS * claims[k].eps * part for k, part in zip(moved, parts)]
    spread = [4.0 * (claims[k].spread + claims[k].known_lost) * directions[k] for k in moved]
    smallest = [claims[k].smallest * directions[k] for k in moved]
    return Claimed(
        float(sum(part.sum(dtype=np.float64) for part in parts)), _norm(parts),
        SIGMAS * _norm(rounding) + float(forgiven), SIGMAS * _norm(spread),
        Low(max(claims[k].eps for k in moved), not all(claims[k].measured for k in moved), SIGMAS * _norm(smallest)),
    )


def _as_it_is(claimed: Claimed, widened: bool) -> Claimed:
    return claimed


def _parts(directions: Arrays, claims: Claims, widened: bool) -> tuple[list[int], dict[int, Claim], list[np.ndarray]]:
    """The leaves that are moved, their claims, and the terms of the slope."""
    moved = [k for k, d in enumerate(directions) if d is not None]
    of = {k: claims[k].widened() if widened else claims[k] for k in moved}
    return moved, of, [of[k].gradient * directions[k] for k in moved]


def _norm(parts: Sequence[np.ndarray]) -> float:
    with np.errstate(over="ignore"):
        return float(np.sqrt(sum(np.square(part).sum() for part in parts)))


def check_direction(
    exact: Pair, directions: Arrays, weights: np.ndarray, claimed: Sequence[Callable[[bool], Claimed]],
    complex_too: bool = False, what: str = "f_backward", quick: bool = False, kink: bool = False,
) -> Direction:
    """Compare the slope along a direction with ``claimed(False)``, the result of `claimed_slope`.

    There is one function ``claimed`` for each precision in which there are claims, that of float64 first. Before a
    claim is called wrong, ``claimed(True)`` says the same with the error of f_backward's own arithmetic. ``quick``
    takes the first step that gives a rough slope, whatever the claim is. Where the line has a kink nothing is decided,
    unless ``kink`` is set: then the claim must lie between the one-sided slopes.
    """

    def limit(slope: Slope, of: Claimed) -> float:
        low = 0.0
        if of.low is not None:
            terms = slope.terms if slope.by_output is None else SIGMAS * _norm([weights * slope.by_output])
            low = CLAIM_EPS * of.low.eps * (min(terms, slope.terms) + slope.reach * of.low.unknown)
            low += of.low.smallest * max(1.0, slope.natural, float(np.abs(weights).sum()))
        return slope.bound + CLAIM_EPS * exact.out_eps * slope.terms + of.rounding + of.spread + low

    def confirms(slope: Slope, times: float = 1.0) -> bool:
        return all(abs(claim.slope - slope.value) <= times * limit(slope, claim) for claim in claims)

    claims = [of(False) for of in claimed]
    slope = complex_slope(_line_at_zero(exact, directions), 0.0, weights, exact.out_eps) if complex_too else None
    # If the slope is close to 0, central differences must say what size of slope to compare it with.
    if slope is None or not (confirms(slope) and limit(slope, claims[0]) <= 0.1 * abs(slope.value)):
        slope = central_slope(exact.direction_line(directions), 0.0, weights, exact.out_eps, 0.0,
                              None if quick else confirms)
    if not quick and not confirms(slope):
        claims = [of(True) for of in claimed]
    first, *low = (_compared(what, slope, claim, limit(slope, claim), kink) for claim in claims)
    for other in low:
        if other.verdict == FAIL and first.verdict != FAIL:
            return other._replace(note="; ".join(filter(None, [ONLY_LOW, other.note])))
        if other.verdict == first.verdict:
            return other  # what is shown are the numbers in the precision of the inputs, if they have this verdict
        if first.ok:
            return first._replace(note=f"in float64, as the float32 one is known to {other.bound:.1g} alone")
    return first


def _compared(what: str, slope: Slope, claim: Claimed, limit: float, kink: bool) -> Direction:
    verdict, note = verdict_on(claim.slope, slope, limit, claim.spread)
    error = abs(claim.slope - slope.value)
    if verdict == KINK:
        verdict, note = PASS, ""
    # If several kinks coincide, a right claim need not lie between the slopes of their sum.
    if slope.sides is not None and not kink:
        verdict, note = INCONCLUSIVE, "it lies on a kink"
    sizes = (claim.length if claim.length > 10.0 * limit else 0.0, slope.natural, claim.length, abs(slope.value))
    scale = next((s for s in sizes if s > 0.0 and np.isfinite(s)), 1.0)
    return Direction(what, claim.slope, float(slope.value), float(error / scale), float(limit / scale), verdict, note)


def _line_at_zero(exact: Pair, directions: Arrays) -> Line:
    """The line along a direction for complex t. If f refuses these inputs, its exception is raised."""
    return lambda t: exact.outputs(exact.moved(directions, t))


def why_not_analytic(exact: Pair, leaves: Sequence[int], weights: np.ndarray, rng: np.random.Generator) -> str | None:
    """The reason why the complex step cannot be used, from one random direction; None if it can be used.

    Near the edge of its domain f may allow for moves alone that are relative to each entry. Where f is saturated no
    difference can tell, but the same code with smaller inputs can.
    """
    for factor, relative in ((1.0, False), (1.0, True), *((factor, False) for factor in SHRUNK)):
        pair = exact if factor == 1.0 else exact.shrunk(factor)
        if pair is not exact and not np.isfinite(pair.base_outputs).all():
            continue
        reason = _why_not_analytic_at(pair, random_direction(pair, leaves, rng, relative), weights)
        if reason != COARSE_DIRECTION:
            return reason
    return COARSE_DIRECTION


def _why_not_analytic_at(exact: Pair, directions: Arrays, weights: np.ndarray) -> str | None:
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a cast to real numbers warns, and is detected below
            step = complex_slope(_line_at_zero(exact, directions), 0.0, weights, exact.out_eps)
    except Exception as error:  # f may refuse complex numbers with any exception
        return f"f refuses complex inputs ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    central = central_slope(exact.direction_line(directions), 0.0, weights, exact.out_eps, 0.0,
                            lambda s, times=1.0: bool(abs(s.value - step.value) <= times * (s.bound + step.bound)))
    agree = abs(step.value - central.value) <= central.bound + step.bound  # False for nan
    narrow = central.bound <= 1e-3 * max(abs(central.value), central.terms, central.natural)
    if central.sides is not None or not narrow and (agree or not np.isfinite(central.bound)):
        return COARSE_DIRECTION
    if agree:
        return None
    return (
        f"f is not analytic here: along one random direction it gives {step.value:.10g}, "
        f"central differences {central.value:.10g}"
    )


def bisect(
    exact: Pair, leaves: Sequence[int], weights: np.ndarray, claimed: Callable[..., Claimed], rng: np.random.Generator
) -> tuple[int, tuple[int, ...]]:
    """Bisect a wrong direction down to one wrong entry, (leaf, index), in about log2(number of entries) rounds."""
    spans = [(k, 0, _size(exact, k)) for k in leaves if _size(exact, k)]
    while len(spans) > 1 or spans[0][2] - spans[0][1] > 1:
        halves = _halves(spans)
        full = random_direction(exact, leaves, rng, relative=bool(rng.integers(2)))
        spans = max(halves, key=lambda half: _excess_within(exact, _masked(full, half), weights, claimed))
    k, start, _ = spans[0]
    return k, tuple(int(i) for i in np.unravel_index(start, np.shape(exact.leaves[k])))


def _excess_within(exact: Pair, directions: Arrays, weights: np.ndarray, claimed: Callable[..., Claimed]) -> float:
    return check_direction(exact, directions, weights, [partial(claimed, directions)], quick=True).excess


def _size(exact: Pair, k: int) -> int:
    return int(np.size(exact.leaves[k]))


def _halves(spans: Spans) -> tuple[Spans, Spans]:
    """Two lists of spans with about half of the entries each."""
    first: Spans = []
    second: Spans = []
    remaining = sum(stop - start for _, start, stop in spans) // 2
    for k, start, stop in spans:
        cut = min(stop, start + remaining)
        remaining -= cut - start
        first += [(k, start, cut)] * (cut > start)
        second += [(k, cut, stop)] * (stop > cut)
    return first, second


def _masked(directions: Arrays, spans: Spans) -> Arrays:
    """The direction inside of the spans, 0 elsewhere."""
    masked: Arrays = [None] * len(directions)
    for k, start, stop in spans:
        whole = np.asarray(directions[k])
        flat = np.zeros(whole.size)
        flat[start:stop] = np.ravel(whole)[start:stop]
        masked[k] = flat.reshape(whole.shape)
    return masked


def rate_along(exact: Pair, directions: Arrays, weights: np.ndarray, claims: Claims) -> float | None:
    """`taylor_rate` along a direction."""
    claim = claimed_slope(directions, claims).slope
    return taylor_rate(exact.direction_line(directions), weights, claim, exact.out_eps)


def curve_along(exact: Pair, directions: Arrays, weights: np.ndarray, claims: Claims) -> Curve:
    """`v_curve` along a direction."""
    return v_curve(exact.direction_line(directions), 0.0, weights, claimed_slope(directions, claims).slope)


def check_symmetry(exact: Pair, rng: np.random.Generator) -> list[Direction]:
    """Compare <u, H v> with <v, H u> for random u and v, where f_backward is the product with the Hessian H.

    They are equal because a Hessian is symmetric. That needs no step, and costs two calls of f_backward.
    """
    if [np.shape(leaf) for _, leaf in exact.output_leaves] != [np.shape(exact.leaves[k]) for k in exact.tested]:
        return []  # the product is with a part of the Hessian
    u, v = ([d for d in random_direction(exact, exact.tested, rng, relative=True) if d is not None] for _ in range(2))

    def products() -> tuple[float, float, float]:
        Hu, Hv = ([claims[k] for k in exact.tested] for claims in (exact.claims(u), exact.claims(v)))
        terms = [(np.sum(a * Hb), np.sum(b * Ha), np.sum(np.abs(a * Hb) + np.abs(b * Ha)))
                 for a, b, Ha, Hb in zip(u, v, Hu, Hv)]
        uHv, vHu, size = np.sum(terms, axis=0)
        return float(uHv), float(vHu), float(size)

    uHv, vHu, size = products()
    error, bound = abs(uHv - vHu), ADJOINT_EPS * exact.out_eps * size
    if error > bound:
        inside = [abs(one - other) for way in both_ways(products) or () for one, other in zip(way, (uHv, vHu))]
        bound += DIRECTED * sum(inside)
    return [Direction(SYMMETRY, uHv, vHu, error / (size or 1.0), bound / (size or 1.0),
                      PASS if error <= bound else FAIL)]


class JVP:
    """Checks of a derivative along directions, ``jvp(d_inputs, *inputs) -> d_out``."""

    def __init__(self, pair: Pair, jvp: Callable[..., Any], rng: np.random.Generator) -> None:
        self.pair, self.jvp, self.rng, self.leaves = pair, jvp, rng, pair.tested

    def directions(self, weights: np.ndarray, claims: Claims | None = None) -> list[Direction]:
        """Compare jvp with differences and, if there are ``claims`` of a backward function, with these."""
        checked = []
        for number in range(DIRECTIONS):
            directions = random_direction(self.pair, self.leaves, self.rng, relative=number % 2 == 1)
            d_out = weights * self._call(directions)
            slope, terms = float(d_out.sum()), float(np.abs(d_out).sum())
            rounding = ADJOINT_EPS * self.pair.out_eps * terms
            of_jvp = Claimed(slope, terms, rounding, 0.0)
            checked.append(check_direction(self.pair, directions, weights, [partial(_as_it_is, of_jvp)], what="jvp"))
            if claims is not None:
                back = claimed_slope(directions, claims)
                error, bound = abs(back.slope - slope), rounding + back.rounding + back.spread
                scale = max(back.length, terms) or 1.0
                checked.append(Direction(ADJOINT, back.slope, slope, error / scale, bound / scale,
                                       PASS if error <= bound else FAIL))
        return checked

    def _call(self, directions: Arrays) -> np.ndarray:
        nested = [None if d is None else trees.like(d, v) for d, v in zip(directions, self.pair.leaves)]
        d_inputs = tuple(trees.rebuild(self.pair.inputs, iter(nested)))
        d_out = self.jvp(d_inputs, *self.pair.arguments())
        flat = np.concatenate([np.zeros(0), *(np.ravel(v) for _, v in trees.leaves(d_out) if trees.is_floating(v))])
        outputs = self.pair.base_outputs
        if flat.shape != outputs.shape:
            raise TypeError(f"jvp: expected {outputs.size} numbers, as many as f has outputs, got {flat.size}")
        return flat

    def report(self) -> Report:
        """The Report if there is no backward function."""
        directions = self.directions(self.rng.standard_normal(self.pair.base_outputs.shape))
        verdicts = [d.verdict for d in directions]
        verdict = FAIL if FAIL in verdicts else INCONCLUSIVE if INCONCLUSIVE in verdicts else PASS
        return Report(verdict, directions=tuple(directions), evaluations=self.pair.meter.calls)

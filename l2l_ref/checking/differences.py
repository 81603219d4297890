"""The derivative along a line, computed from values of the function alone, with a bound on its error.

The function is given as a *line*, t -> outputs (M,): the vector of all outputs if the one entry under test has the
value t, or if all inputs are moved by t along a direction. We want the slope of w . line(t) at t = x, for weights w.

    D1  D(h)  = (line(x + h) - line(x - h)) / 2h              central difference
    D2  R(h)  = (4 D(h) - D(2h)) / 3                          Richardson: the h^2 term cancels
    D3  bound = 2 |w| . |R(h) - R(2h)|                        truncation
              + 1.5 / h  |w| . noise                          rounding
    D4  C(h)  = Im line(x + i h) / h                          complex step, where line takes complex numbers

D3, truncation: the error of R falls as h^4, so that of R(h) is 1/15 of R(h) - R(2h). Taking twice the whole difference
leaves a factor of 30 for functions on which this expansion is not yet accurate.
D3, rounding: if each output is off by at most noise, then 4/3 D(h) is off by at most 4/3 noise / h and 1/3 D(2h) by at
most 1/6 noise / h. At first, noise is `ULPS` units in the last place of the output. Before anything is called wrong,
the noise is measured as well, see `measured_noise`.

A difference sees the function that f computes, and not the one that it means. If a matrix that f solves with has the
condition number 1e12, then f is off by a factor of 1 + 1e-4 everywhere, in the same way: its slopes agree with each
other to the last digit, and with nothing else. Only other roundings show this. The processor can be told to round every
result up, or every result down, and then

    G6  error of a computed number  <  about |number rounded up, or down - number as it is|

(J. Vignes, "A stochastic arithmetic for reliable scientific computation", 1993). It costs two calls, and is used before
anything is called wrong.

No step suits every function, so a ladder of steps is tried and the step with the smallest bound is taken. If no step is
good enough, all bounds are large.
"""

import ctypes
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import takewhile
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

# The most that elementary functions and short sums lose, in units in the last place. Longer sums are measured.
ULPS = 4
# Steps relative to the first one, which balances h^4 against eps / h, as powers of two: smaller ones for functions that
# change on a scale far below that of x, and a larger one for noisy functions. The first and the second often suffice.
SECOND_RUNG = -24
OTHER_RUNGS = (-6, -12, -18, -30, 4)
ROUNDING = 1.5  # the factor 1.5 of D3
DIRECTED = 4.0  # the error of f's own arithmetic, in units of the difference between its two roundings
HIGH_STAIR = 1e6  # relative to the rounding of the outputs: a change so large is no stair of rounding
STAIR = 1.5  # the noise of a staircase, in units of the smallest change that was seen
STAIRS_BELOW = 1e-10  # only outputs of a finer precision may go up in stairs of float32
FLOAT32_STAIRS = 16.0  # how high these may be, in units in the last place of the outputs, some digits of which are lost
LOOK = 1e-3  # times the scale: how far from a place stairs of float32 are looked for
ELSEWHERE = (-0.5, 0.5, -0.75, 0.75)  # times the scale, from x: where saturation may not hide them
INTERVALS = (0, -1, 1, -2)  # from x + k h to x + (k + 1) h: a staircase has a jump in all of them
CLOSER = 0.1  # smaller steps that come so much closer to the expected value let it count as possible
CERTAIN = 10.0  # an error of this many limits is one, whatever f is like
TINY = 2.0**-12  # an input below this may have a scale of its own
COMPLEX_STEP = 2.0**-100  # relative to the scale of x
SMALLEST = 2.0**-1000     # complex step; below it, numbers lose their digits
ROUGH = 1e-4     # the relative accuracy of a slope on which no decision depends
ACCURATE = 0.45  # a slope within eps^ACCURATE of itself is accurate: another step would better it by little

Line = Callable[[Any], np.ndarray]  # t -> outputs (M,)
Confirms = Callable[..., bool]  # slope, times=1 -> whether the expected value is within so many limits of the slope


class Slope(NamedTuple):
    """An estimated derivative. ``bound`` is inf if no estimate could be made."""

    value: float
    bound: float
    rounding: float = 0.0    # the part of the bound that is due to rounding
    terms: float = 0.0       # the sum of |w_j d out_j / dx|, the terms of which the value is the sum
    natural: float = 0.0     # a slope of ordinary size: the change of w . |out| over a whole scale
    moved: float = 0.0       # the same, but the largest that was seen, rounding included
    digit: float = 0.0       # eps w . |out| over a whole scale: a slope that shows in the last digit of the outputs
    reach: float = 0.0       # the sum of |w_j out_j| over the outputs that depend on the entry, the largest near x
    sides: tuple[float, float] | None = None  # the lowest and the highest one-sided slope if x is a kink
    one_sided: bool = False  # f is defined on one side of x only
    jump: bool = False       # f seems to jump at x
    by_output: np.ndarray | None = None  # (M,) the slope of each output
    step: float = 0.0        # the step h that was taken

    def rougher(self, error: float) -> "Slope":
        """This slope with so much more rounding in its bound."""
        return self._replace(bound=self.bound + error, rounding=self.rounding + error)

    def widened(self, others: Iterable[float] | None) -> "Slope":
        """This slope with the error of f's own arithmetic in its bound, from its value with other roundings (G6)."""
        inside = DIRECTED * max((abs(other - self.value) for other in others or ()), default=0.0)
        return self.rougher(inside)


def first_step(scale: float, eps: float) -> float:
    """The step that balances h^4 against eps / h for a function that changes on the given scale.

    It is a power of two, so that x + h is usually exact.
    """
    return float(2.0 ** np.round(np.log2(eps**0.2 / 4.0)) * scale)


def scale_of(x: float, others: float = 1.0) -> float:
    """On what scale f may change at x: a power of two.

    It is that of |x| where this is large, as for 1e6, or tiny, as for the mass of an electron in kg. Otherwise it is 1.
    Where x is 0, ``others``, the typical size of the numbers beside it, may be tiny instead.
    """
    size = abs(x) or min(others, 1.0)
    if not 0.0 < size < TINY:
        size = max(size, 1.0)
    return float(2.0 ** max(np.floor(np.log2(size)), -1000.0))


def central_slope(
    line: Line, x: float, w: np.ndarray, eps: float, noise: float, confirms: Confirms | None = None,
    dtype: DTypeLike = np.float64, scale: float | None = None,
) -> Slope:
    """The slope of w . line(t) at t = x by central differences.

    Parameters
    ----------
    line : callable
        t -> outputs (M,); they are not finite where the function is not defined.
    x : float
    w : array (M,)
    eps : float
        The machine precision of the outputs.
    noise : float
        The noise to assume, before anything is called wrong, of an output that does not change within reach of the
        steps but changes further away. Such an output may be a staircase.
    confirms : callable, optional
        Slope, times=1 -> whether the expected value lies within so many limits of the slope. An accurate first
        estimate that confirms the expected value is final. Any other estimate is refined on the whole ladder, with the
        noise of the function measured. Without ``confirms`` a rough first estimate is enough.
    dtype : dtype
        The precision to which t is rounded before it is passed to ``line``. The steps are computed after this rounding.
    scale : float, optional
        The scale on which f may change at x, by default `scale_of` x.
    """
    scale = scale_of(x) if scale is None else scale
    out = line(x)
    wide = max(scale, 1.0)  # a tiny x may be so by chance, and f may change on the scale of 1
    away = [x + scale, x - scale] + [0.0] * (abs(x) > 1.0) + [x + wide, x - wide] * (scale < wide)
    far = np.array([line(t) for t in away])
    # An output that is the same bit for bit even a whole scale away either does not depend on x, or changes by less
    # than a unit in its last place. It contributes eps |out| / scale to the rounding error.
    idle = (far == out).all(axis=0)
    w_abs = np.abs(w)
    natural = float(w_abs @ _change(out, far[:3] if scale == wide else far[:2], eps) / scale)
    with np.errstate(invalid="ignore", over="ignore"):
        moved = float(w_abs @ np.nan_to_num(np.abs(far - out), posinf=0.0).max(axis=0) / scale)
        largest = np.fmax(np.abs(out), np.abs(np.where(np.isfinite(far), far, 0.0)).max(axis=0))
    reach = w_abs @ np.where(idle, 0.0, largest)
    whole = {"natural": natural, "moved": moved, "reach": float(reach), "digit": float(eps * w_abs @ largest / wide)}

    def rounding(of: np.ndarray, h: float, idle: np.ndarray) -> float:
        # If no output changes at all, f may be a staircase.
        still = np.maximum(eps * np.abs(out), noise if idle.all() else 0.0)
        return float(ROUNDING / h * (w_abs @ np.where(idle, 0.0, of)) + w_abs @ np.where(idle, still, 0.0) / wide)

    digits = float(ULPS * eps * w_abs @ largest)
    first = _Rung(line, x, first_step(scale, eps), dtype)
    slope = first.slope(w, out, rounding(ULPS * eps * first.size, first.h, idle), digits)
    slope = slope._replace(**whole)
    accuracy = ROUGH if confirms is None else eps**ACCURATE
    accurate = slope.bound <= accuracy * (slope.terms + natural)
    if accurate and (confirms is None or slope.sides is None and confirms(slope)):
        return slope
    if idle.all() and first.level(out).all() and confirms is not None and confirms(slope):
        return slope  # f is level here, as far as one can see
    rungs = [first]
    if scale < wide:
        rungs.append(_Rung(line, x, first_step(wide, eps), dtype))
        far_slope = rungs[1].slope(w, out, rounding(ULPS * eps * rungs[1].size, rungs[1].h, idle), digits)
        far_slope = far_slope._replace(**whole)
        accurate = far_slope.bound <= accuracy * (far_slope.terms + natural)
        agree = far_slope.sides is None and abs(far_slope.value - slope.value) <= far_slope.bound + slope.bound
        if accurate and agree and (confirms is None or confirms(far_slope)):
            return far_slope
    tables: dict[float, np.ndarray] = {}  # by the step
    measured: dict[float, np.ndarray] = {}
    beside: dict[float, np.ndarray] = {}

    def look_beside(looked: Iterable[_Rung]) -> None:
        """Measure the noise near x, as far apart as the steps of these rungs suggest."""
        for rung in looked:
            table = tables[rung.h] = _nearby_outputs(line, x, rung.h, out, dtype)
            measured[rung.h], beside[rung.h] = measured_noise(table), _noise_beside(table)

    def climb(powers: Iterable[int]) -> None:
        """Add the rungs of these powers of two, and measure the noise on them."""
        smallest = 4.0 * np.spacing(np.asarray(abs(x), dtype))
        added = [_Rung(line, x, h, dtype) for power in powers if (h := first.h * 2.0**power) >= smallest]
        rungs[:] = sorted(rungs + added, key=lambda rung: rung.h)
        look_beside(added or rungs)

    def estimate(stairs: Any = True, height: float = 0.0) -> list[Slope]:
        # stairs: whether each output may be a staircase; height: that of a stair of all outputs together
        # Noise does not depend on the step, but its estimates vary by chance, and those from wide steps see the bends
        # of f as well. No estimate below the median of those from steps up to its own counts, so that the best bound
        # does not merely belong to the smallest estimate. Nor is the noise below the smallest change that was seen,
        # because f may be a staircase.
        stair = np.min([_least_change(f, out) for f in (*tables.values(), *(rung.values for rung in rungs))], axis=0)
        floor = np.where(np.isinf(stair), noise, np.where(stairs, STAIR * stair, 0.0))
        slopes = []
        for rung in rungs:
            near = [h for h in tables if h <= rung.h] or [min(tables)]
            typical = _median(measured[h] for h in near)
            sigma = np.fmax(measured.get(rung.h, typical), typical)
            of = np.maximum(ULPS * np.maximum(eps * rung.size, sigma), floor)
            calm = max(digits, height, float(ULPS * w_abs @ _median(beside[h] for h in near)))
            error = rounding(of, rung.h, idle & rung.level(out)) + ROUNDING * height / rung.h
            slope = rung.slope(w, out, error, calm)._replace(**whole)
            if slope.sides is not None and scale < rung.h:  # a tiny x may lie on either side of this kink
                slope = slope._replace(bound=slope.bound + slope.sides[1] - slope.sides[0], sides=None)
            slopes.append(slope)
        return slopes

    # Two steps that lie far apart, and agree with each other but not with the expected value, settle it.
    climb([SECOND_RUNG])
    slopes = estimate()
    best = _trusted(slopes)
    settled = confirms is not None and len(slopes) > 1 and all(
        slope.sides is None and not slope.jump and not confirms(slope, CERTAIN)
        and abs(slope.value - best.value) <= slope.bound + best.bound for slope in slopes
    )
    if not settled:
        look_beside([first])
        tiny = -round(np.log2(scale)) if scale < wide else 0
        climb((*OTHER_RUNGS, *((tiny - 12, tiny - 24) if tiny else ())))
        slopes = estimate()
        best = _trusted(slopes)
    # f may round to float32 inside, and add terms that it does not round. Small steps then stay on one stair, and see
    # the slope of these terms alone.
    highest = FLOAT32_STAIRS * float(np.finfo(np.float32).eps) * float(w_abs @ largest)
    jumps, look = partial(_jumps, line, w, noise=digits, highest=highest), LOOK * wide

    def stairs_at(place: float) -> float:
        # The height of a jump that is nearer than ``look`` to this place, or 0. The fifth differences of a function
        # that is smooth there vanish but for rounding, whose coefficients add up to 2^5.
        values = [w @ line(t) for t in place + np.linspace(0.0, look, 8)]
        if not np.abs(np.diff(values, 5)).max() > 32.0 * CERTAIN * digits:
            return 0.0
        on_a_stair = 1e-6 * look
        slope = float(w @ (line(place) - line(place - on_a_stair))) / on_a_stair
        return next(jumps(place, look, slope=slope))

    wider = [slope for slope in slopes if slope.step > best.step and (
        slope.jump or slope.bound < abs(slope.value - best.value) - best.bound)]
    if wider and eps < STAIRS_BELOW:
        found = ((slope.step, list(takewhile(bool, jumps(x, slope.step, slope=best.value)))) for slope in wider)
        step, height = next(((h, max(all_)) for h, all_ in found if len(all_) == len(INTERVALS)), (np.inf, 0.0))
        across = [slope for slope in estimate(height=height)
                  if slope.step >= step and abs(slope.value - best.value) > slope.bound]
        if across:
            return min(across, key=lambda slope: slope.bound)
    if confirms is None:
        return best
    # f may be level here, with a kink further away that small steps do not reach. The stairs of rounding are lower.
    steps = np.min([_least_change(rung.values, out) for rung in rungs], axis=0)
    low = steps <= HIGH_STAIR * eps * np.fmax(np.abs(out), np.abs(far[:2]).max(axis=0))
    if not low.all():
        level = _trusted(estimate(low))
        if confirms(level) and level.bound < best.bound:
            return level
    if confirms(best):
        return best
    kinks = [slope for slope in slopes if slope.sides is not None and not _beside(slope, slopes)]
    if kinks:  # a kink that is small compared with the curvature only shows for small steps
        return min(kinks, key=lambda slope: slope.bound)
    closer = [slope for slope in slopes if slope.step < best.step and confirms(
        best._replace(value=slope.value, bound=CLOSER * abs(slope.value - best.value)))]
    if len(closer) > 1:  # f changes on a scale that only the smallest steps see, where rounding drowns it
        return min(closer, key=lambda slope: slope.bound)
    if not np.isfinite(best.bound):
        return best
    # A step that is wider than a tiny x sees nothing of what f does on the scale of x: at least a few digits of f.
    unseen = best._replace(bound=best.bound + 64.0 * eps * (w_abs @ np.abs(out)) / scale)
    if (best.step > scale or scale < wide and idle.all()) and confirms(unseen):
        return unseen
    rung = next(rung for rung in rungs if rung.h == best.step)
    best = best.widened(both_ways(lambda: rung.extrapolated(getattr(line, "fresh", line), w)))
    if confirms(best):
        return best
    single = ROUNDING * STAIR / FLOAT32_STAIRS * highest  # a stair may be wider than the steps
    if eps < STAIRS_BELOW and confirms(best.rougher(single / first.h)):
        height = stairs_at(x)
        # What f rounds may be level at x, as tanh is at large inputs. Then it has stairs elsewhere, most of all nearer
        # to 0. Those at x may be higher than those that are found, so the highest are assumed.
        if not height and confirms(best.rougher(single / look)) and any(
                map(stairs_at, [*(x + part * wide for part in ELSEWHERE), x / 4.0, x / 8.0])):
            height = single / ROUNDING
        if height:
            return _trusted(estimate(height=height))
    if not confirms(best, CERTAIN):
        return best
    # f may be level here, with a kink further away, instead of a staircase. Then small steps are right.
    level = _trusted(estimate(False))
    return level if confirms(level) else best


def _jumps(
    line: Line, w: np.ndarray, x: float, h: float, *, slope: float, noise: float, highest: float
) -> Iterator[float]:
    """The heights of jumps of w . line near x, beside a smooth part that has this ``slope``.

    One is looked for in each of the `INTERVALS` of the width h, by halving the interval: the change over a jump stays
    what it is, where that of a smooth function is halved, too. The height is 0 where there is no jump, or one above
    ``highest``.
    """
    def rest(t: float) -> float:
        return float(w @ line(t)) - slope * (t - x)

    for k in INTERVALS:
        a, b = x + k * h, x + (k + 1) * h
        at_a, at_b, before = rest(a), rest(b), np.inf
        while b - a > 64.0 * np.spacing(max(abs(a), abs(b))) and abs(at_b - at_a) > CERTAIN * noise:
            middle = a + (b - a) / 2.0
            at_middle = rest(middle)
            before = abs(at_b - at_a)
            if abs(at_middle - at_a) >= abs(at_b - at_middle):
                b, at_b = middle, at_middle
            else:
                a, at_a = middle, at_middle
        height = abs(at_b - at_a)
        yield height if max(0.9 * before, CERTAIN * noise) < height <= highest else 0.0


def _trusted(slopes: Sequence[Slope]) -> Slope:
    """The slope with the smallest bound that no estimate from a smaller step contradicts.

    ``slopes`` are ordered by rising step. A step that is far wider than a feature of f at x does not see the feature,
    and nevertheless has a small bound.
    """
    kept = list(slopes)
    while True:
        best = min(kept, key=lambda slope: slope.bound)
        smaller = kept[: next(i for i, slope in enumerate(kept) if slope is best)]
        if not any(abs(s.value - best.value) > s.bound + best.bound for s in smaller):
            return best
        kept = smaller


def _beside(kink: Slope, slopes: Sequence[Slope]) -> bool:
    """Whether x lies beside this kink, not on it: a smaller step sees one slope, and would see the two sides."""
    assert kink.sides is not None
    gap = kink.sides[1] - kink.sides[0]
    return any(s.step < kink.step and s.sides is None and s.bound < CLOSER * gap for s in slopes)


class _Rung:
    """The values of f at x - 4h, ..., x + 4h."""

    def __init__(self, line: Line, x: float, h: float, dtype: DTypeLike) -> None:
        self.h, self.x = h, x
        self.up, self.down = (
            np.array(x + sign * h * np.array([1.0, 2.0, 4.0]), dtype).astype(float) for sign in (1.0, -1.0)
        )
        self.f_up, self.f_down = np.array([line(t) for t in self.up]), np.array([line(t) for t in self.down])

    @property
    def values(self) -> np.ndarray:
        return np.concatenate([self.f_up, self.f_down])

    @property
    def size(self) -> np.ndarray:
        """The largest absolute value of each output (M,)."""
        return np.asarray(np.abs(self.values).max(axis=0))

    def level(self, out: np.ndarray) -> np.ndarray:
        """Which outputs (M,) are the same at all of these points."""
        return np.asarray((self.values == out).all(axis=0))

    def slope(self, w: np.ndarray, out: np.ndarray, rounding: float, noise: float) -> Slope:
        """The estimate from the steps h, 2h and 4h, given that rounding makes an error of at most ``rounding``.

        ``noise`` is that of w . out beside x.
        """
        x, up, down, f_up, f_down = self.x, self.up, self.down, self.f_up, self.f_down
        defined = np.isfinite(f_up).all(), np.isfinite(f_down).all()
        if not all(defined):
            return Slope(np.nan, np.inf, np.inf, one_sided=any(defined))
        D = (f_up - f_down) / (up - down)[:, None]                                              # D1
        R, R_wide = (4.0 * D[0] - D[1]) / 3.0, (4.0 * D[1] - D[2]) / 3.0                        # D2
        w_abs = np.abs(w)
        bound = 2.0 * w_abs @ np.abs(R - R_wide) + rounding                                     # D3
        sides = _kink((f_up - out) / (up - x)[:, None], (out - f_down) / (x - down)[:, None], w, rounding)
        across = w_abs @ np.abs(f_up - f_down).T  # at a jump it is the same for every step
        jump = bool(across[0] > 0.75 * across[2] > 0.0)
        # Values on both sides, extrapolated to x, miss f(x) by O(h^4) where f is smooth. If they miss it by the same
        # for every step, f turns at x on a scale below h, as beside a pole: any slope is possible.
        middle = (f_up - out) / 2.0 + (f_down - out) / 2.0
        missed = (4.0 * middle[:2] - middle[1:]) / 3.0
        spike, apart = w_abs @ np.abs(missed[0]), w_abs @ np.abs(missed[0] - missed[1])
        if spike > CERTAIN * apart and spike > CERTAIN * noise:
            jump, sides, bound = True, None, bound + spike / float(np.spacing(max(abs(x), self.h)))
        return Slope(w @ R, bound, rounding, w_abs @ np.abs(R), sides=sides, by_output=R, jump=jump, step=self.h)

    def extrapolated(self, line: Line, w: np.ndarray) -> float:
        """D2 once more, from new values of the line."""
        ends = [np.array([line(t) for t in points[:2]]) @ w for points in (self.up, self.down)]
        D = (ends[0] - ends[1]) / (self.up - self.down)[:2]                                     # D1
        return float((4.0 * D[0] - D[1]) / 3.0)                                                 # D2


def _change(out: np.ndarray, far: np.ndarray, eps: float) -> np.ndarray:
    """The change of each output (M,) on the way to the points ``far`` (., M): the middle one, or the smaller of two.

    It is 0 where no change stands out of the rounding of f. The middle one is robust if f explodes on one side, or is
    constant or not finite on the other.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs(far - out)
        seen = np.isfinite(sizes) & (sizes > 64.0 * eps * np.abs(out))
    sizes, count = np.sort(np.where(seen, sizes, np.inf), axis=0), seen.sum(axis=0)
    middle = np.take_along_axis(sizes, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    return np.where(count > 0, middle, 0.0)


def _median(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """The median (M,) of the finite numbers among the arrays (M,); 0 where none is finite."""
    table = np.sort(np.array(list(arrays)), axis=0)
    count = np.isfinite(table).sum(axis=0)
    middle = np.take_along_axis(table, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    return np.where(count > 0, middle, 0.0)


def _least_change(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The smallest amount, other than 0, by which each output (M,) differs from ``out``."""
    with np.errstate(invalid="ignore", over="ignore"):
        changes = np.abs(values - out)
    return np.asarray(np.where((changes > 0.0) & np.isfinite(changes), changes, np.inf).min(axis=0))


def _kink(right: np.ndarray, left: np.ndarray, w: np.ndarray, rounding: float) -> tuple[float, float] | None:
    """The range of one-sided slopes if x is a kink, else None.

    ``right`` and ``left`` (3, M) are the one-sided difference quotients for h, 2h and 4h. After extrapolation the two
    sides differ by an amount that falls as h^2 where f is smooth, is constant at a kink, and grows as 1 / h at a jump.
    """
    right, left = 2.0 * right[:2] - right[1:], 2.0 * left[:2] - left[1:]
    w_abs = np.abs(w)
    gap = np.abs(right - left) @ w_abs
    if not (gap[0] > 8.0 * rounding and 0.75 * gap[1] < gap[0] < 1.5 * gap[1]):
        return None
    slack = 8.0 * rounding + 2.0 * w_abs @ (np.abs(right[0] - right[1]) + np.abs(left[0] - left[1]))
    if slack > 0.5 * gap[0]:  # the one-sided slopes themselves are not accurate enough
        return None
    ends = np.sort([w * left[0], w * right[0]], axis=0)  # for each output, since several kinks may coincide at x
    return float(ends[0].sum() - slack), float(ends[1].sum() + slack)


def _nearby_outputs(line: Line, x: float, h: float, out: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """The outputs (7, M) at points so close together that a smooth function is a straight line on them."""
    d = max(h / 4096.0, 4.0 * np.spacing(np.asarray(abs(x), dtype)))
    points = np.array(x + d * np.arange(-3, 4), dtype).astype(float)
    return np.array([out if k == 3 else line(t) for k, t in enumerate(points)])


def measured_noise(table: np.ndarray) -> np.ndarray:
    """The standard deviation (M,) of the rounding noise of each output, from its values (7, M) near x.

    Third and higher differences of these values contain only noise. The n-th difference multiplies its variance by
    (2n over n) (R. W. Hamming, "Introduction to Applied Numerical Analysis", 1971; Moré and Wild 2011).
    """
    sigma = np.zeros(table.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        for order, factor in ((3, 20.0), (4, 70.0), (5, 252.0), (6, 924.0)):
            sigma = np.maximum(sigma, np.sqrt(np.mean(np.diff(table, order, axis=0) ** 2, axis=0) / factor))
    return np.where(np.isfinite(sigma), sigma, np.inf)


def _noise_beside(table: np.ndarray) -> np.ndarray:
    """The noise (M,) of each output on the two sides of x, from its values (7, M) there, without that at x itself."""
    with np.errstate(invalid="ignore", over="ignore"):
        bends = np.abs([np.diff(side, 2, axis=0)[0] for side in (table[:3], table[4:])]).max(axis=0)
    return np.asarray(np.where(np.isfinite(bends), bends, np.inf))


def complex_slope(
    line: Line, x: float, w: np.ndarray, eps: float, scale: float | None = None, confirms: Confirms | None = None
) -> Slope:
    """The slope of w . line(t) at t = x by a complex step. Nothing is subtracted, so nothing cancels.

    Its error is h^2 / 6 line''', or 4/3 |w . (C(h) - C(h/2))|. The step is so small beside the ``scale`` of x that this
    vanishes in rounding, unless the slope itself vanishes, as that of x^3 at 0. So it is computed before the expected
    value is contradicted, see ``confirms`` of `central_slope`, together with the error of f's own arithmetic.

    Raises TypeError if the outputs are not complex. A function that loses the imaginary part gives a wrong slope
    silently, so compare the result with `central_slope` once before you trust it.
    """
    scale = scale_of(x) if scale is None else scale
    h = max(COMPLEX_STEP * scale, SMALLEST)
    out = line(x + 1j * h)
    if not np.iscomplexobj(out):
        raise TypeError("expected complex outputs for complex inputs, got real ones")
    d_out = out.imag / h                                                                        # D4
    w_abs = np.abs(w)
    terms = float(w_abs @ np.abs(d_out))
    bound = 8.0 * eps * terms
    reach = float(w_abs @ np.abs(out.real))
    slope = Slope(float(w @ d_out), bound, bound, terms, reach / scale, reach=reach, by_output=d_out, step=h)
    if confirms is None or confirms(slope):
        return slope
    truncation = 2.0 * w_abs @ np.abs(d_out - line(x + 0.5j * h).imag / (0.5 * h))              # D4
    slope = slope._replace(bound=bound + float(truncation))
    # Where terms nearly cancel, the next numbers, and steps that are no power of two, show it best.
    near = [w @ line(x + k * np.spacing(x) + 1j * h * c).imag / (h * c)
            for k, c in ((0.0, 1.1), (0.0, 1.7), (-3.0, 1.3), (2.0, 0.7))]
    fresh = getattr(line, "fresh", line)
    return slope.widened([*near, *(both_ways(lambda: w @ fresh(x + 1j * h).imag / h) or ())])


def taylor_rate(line: Line, w: np.ndarray, claim: float, eps: float) -> float | None:
    """The order in t at which |w . line(t) - w . line(0) - t claim| falls: 2 if ``claim`` is the slope, else 1.

    This needs no step: t is halved repeatedly, and the order is read off where the remainder exceeds rounding. The
    result is None if it never does, or if f is not defined there.
    """
    out = line(0.0)
    steps = 2.0 ** -np.arange(6.0, 14.0)
    with np.errstate(all="ignore"):
        rest = np.array([abs(w @ (line(t) - out) - t * claim) for t in steps])
        clear = np.isfinite(rest) & (rest > 64.0 * eps * (np.abs(w) @ np.abs(out) + np.abs(claim) * steps))
        rates = np.log2(rest[:-1] / rest[1:])[clear[:-1] & clear[1:]]
    # The smallest steps are the most informative, because there the terms of higher order have vanished.
    return float(np.median(rates[-3:])) if len(rates) else None


def v_curve(
    line: Line, x: float, w: np.ndarray, claim: float, exponents: Iterable[int] = range(-2, -49, -1)
) -> tuple[np.ndarray, np.ndarray]:
    """|central difference - claim| for a range of steps. It falls with truncation, then rises with rounding.

    Returns
    -------
    steps, errors : arrays
        The errors are relative to max(1, |claim|). Steps at which f is not defined are left out.
    """
    steps = 2.0 ** np.array(exponents, float) * scale_of(x)
    steps = steps[steps >= np.spacing(abs(x))]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        slopes = np.array([w @ (line(x + h) - line(x - h)) / ((x + h) - (x - h)) for h in steps])
    errors = np.abs(slopes - claim) / max(1.0, abs(claim))
    kept = np.isfinite(errors)
    return steps[kept], errors[kept]


# --- other roundings, G6

Mode = Literal["up", "down"]

# The C header fenv.h has these numbers: the two bits of the control register that choose the rounding.
_MODES: dict[str, dict[Mode, int]] = {
    "x86_64": {"down": 0x400, "up": 0x800},
    "aarch64": {"down": 0x800000, "up": 0x400000},
    "arm64": {"down": 0x800000, "up": 0x400000},
}


@contextmanager
def rounded(mode: Mode) -> Iterator[bool]:
    """Round every floating operation of this thread ``mode``, where that can be done: the value says whether it is."""
    control = _control()
    if control is None:
        yield False
        return
    before = control.fegetround()
    try:
        yield control.fesetround(_MODES[platform.machine()][mode]) == 0
    finally:
        control.fesetround(before)


def both_ways(function: Callable[[], Any]) -> tuple[Any, Any] | None:
    """What ``function()`` returns rounded up and rounded down; None where the rounding cannot be chosen."""
    if _control() is None:
        return None
    with rounded("up"):
        up = function()
    with rounded("down"):
        return up, function()


@cache
def _control() -> Any:
    """The C library with fegetround and fesetround, or None."""
    if platform.machine() not in _MODES:
        return None
    try:
        library = ctypes.CDLL(None)
        return library if library.fesetround(library.fegetround()) == 0 else None
    except (AttributeError, OSError, TypeError):  # another system
        return None

"""The derivative along one line from values of the function alone, with a bound on its error.

The function is seen as a *line*: t -> outputs (M,), the vector of all outputs when the one
entry under test has the value t, or when all inputs have moved by t along a direction. Wanted is
the slope of w . line(t) at t = x, for weights w.

    D1  D(h)  = (line(x + h) - line(x - h)) / 2h              central difference
    D2  R(h)  = (4 D(h) - D(2h)) / 3                          Richardson: the h^2 term cancels
    D3  bound = 2 |w| . |R(h) - R(2h)|                        truncation
              + 1.5 / h  |w| . noise                          rounding

D3, truncation: the error of R falls as h^4, so that of R(h) is a 15th of R(h) - R(2h); taking the
whole difference twice leaves a factor of 30 for functions that are not yet in that regime.
D3, rounding: when each output is off by at most noise, 4/3 D(h) is off by 4/3 noise / h and
1/3 D(2h) by 1/6 noise / h. As noise serve `ULPS` units in the last place of the output; before
anything is called wrong the noise is measured as well, see `measured_noise`.

No step suits every function, so a ladder of steps is tried and the one with the smallest bound
is taken; the bound says so itself when no step is any good.
"""

from typing import NamedTuple

import numpy as np

# What elementary functions and short sums lose at most; longer ones are measured.
ULPS = 4
# Steps relative to the first one, which balances h^4 against eps / h: then ever smaller ones for
# functions that change on a scale far below max(1, |x|), and a larger one for noisy functions.
RUNGS = (0, -6, -12, -18, -24, -30, 4)
ROUNDING = 1.5  # of D3
STAIR = 1.5  # times the least change ever seen, the noise of a staircase
CLEARLY = 10.0  # times the limit, an error is one whatever f is like
TINY = 2.0**-12  # inputs below this may have a scale of their own
COMPLEX_STEP = 1e-30
QUICK = 1e-4  # of a slope, is accurate enough where nothing is to be decided


class Slope(NamedTuple):
    """An estimated derivative. ``bound`` is inf where no estimate could be made."""

    value: float
    bound: float
    rounding: float = 0.0  # the part of the bound that is rounding
    terms: float = 0.0     # sum of |w_j d out_j / dx|: what the value is a sum of
    natural: float = 0.0   # a slope of ordinary size: what w . |out| is, or changes by, over a whole scale
    reach: float = 0.0     # sum of |w_j out_j| over the outputs that depend on the entry, the largest near x
    sides: tuple = None    # (lowest, highest) one-sided slope when x is a kink
    one_sided: bool = False  # f is defined on one side of x only
    jump: bool = False       # f seems to jump at x
    by_output: np.ndarray = None  # (M,) the slope of each output


def first_step(x, eps):
    """The step that balances h^4 against eps / h for a function that changes on the scale of max(1, |x|).

    A power of two, so that x + h is mostly exact.
    """
    return 2.0 ** np.round(np.log2(eps**0.2 / 4.0)) * scale_of(x)


def scale_of(x):
    return 2.0 ** np.floor(np.log2(max(abs(x), 1.0)))


def central_slope(line, x, w, eps, noise, confirms=None, dtype=np.float64):
    """Slope of w . line(t) at t = x by central differences.

    Parameters
    ----------
    line : callable
        t -> outputs (M,); not finite where the function is not defined.
    x : float
    w : array (M,)
    eps : float
        Machine precision of the outputs.
    noise : float
        The noise of an output that does not change at all within reach of the steps, although it changes
        further away, to reckon with before anything is called wrong: it may be a staircase.
    confirms : callable, optional
        Slope, times=1 -> whether what was expected lies within so many times the limit. An accurate first
        estimate that confirms what was expected is final; any other is refined on the whole ladder, with the
        noise of the function measured. Without it a first estimate of some digits will do.
    dtype : dtype
        What t is rounded to before ``line`` sees it: the steps are then taken as they really are.
    """
    out, scale = line(x), scale_of(x)
    far = np.array([line(x + scale), line(x - scale)])
    # An output that is the same bit for bit even a whole scale away either does not depend on x or
    # does so by less than a unit in its last place: its part of the rounding is eps |out| / scale.
    idle = (far == out).all(axis=0)
    w_abs = np.abs(w)
    natural = w_abs @ _usual(out, far, eps) / scale
    if 0.0 < abs(x) < TINY:  # the scale may be that of x itself
        near = np.array([line(2.0 * x), line(0.0)])
        natural = min(natural, w_abs @ _usual(out, near, eps) / abs(x))
    with np.errstate(invalid="ignore"):
        largest = np.fmax(np.abs(out), np.abs(np.where(np.isfinite(far), far, 0.0)).max(axis=0))
    reach = w_abs @ np.where(idle, 0.0, largest)

    def rounding(of, h, idle):
        # Where nothing at all moves, f may be a staircase.
        still = np.maximum(eps * np.abs(out), noise if idle.all() else 0.0)
        return ROUNDING / h * (w_abs @ np.where(idle, 0.0, of)) + w_abs @ np.where(idle, still, 0.0) / scale

    first = _Rung(line, x, first_step(x, eps), dtype)
    slope = first.slope(w, out, rounding(ULPS * eps * first.size, first.h, idle))
    slope = slope._replace(natural=natural, reach=reach)
    accuracy = QUICK if confirms is None else eps**0.6
    accurate = slope.bound <= accuracy * (slope.terms + natural)
    if accurate and (confirms is None or slope.sides is None and confirms(slope)):
        return slope

    powers = list(RUNGS)
    if 0.0 < abs(x) < TINY:
        powers += [round(np.log2(abs(x))) + power for power in (0, -6)]
    steps = sorted(first.h * 2.0**power for power in powers)
    rungs = [_Rung(line, x, h, dtype) for h in steps if h >= 4.0 * np.spacing(np.asarray(abs(x), dtype))]
    if not rungs:
        return slope
    tables = [_close_by(line, x, rung.h, out, dtype) for rung in rungs]
    # Noise does not depend on the step, its estimates do, by luck: the best bound must not be that of the luckiest.
    # Nor is it less than the least change that was ever seen: f may be a staircase, and stand still in between.
    measured = [measured_noise(table) for table in tables]
    typical = _median(measured)
    stair = np.min([_least_change(f, out) for f in (*tables, *(rung.values for rung in rungs))], axis=0)
    floor = np.where(np.isfinite(stair), STAIR * stair, noise)

    def estimate(floor):
        slopes = []
        for rung, sigma in zip(rungs, measured):
            of = np.maximum(ULPS * np.maximum(eps * rung.size, np.fmax(sigma, typical)), floor)
            slope = rung.slope(w, out, rounding(of, rung.h, idle & rung.level(out)))
            slopes.append(slope._replace(natural=natural, reach=reach))
        return slopes

    slopes = estimate(floor)
    best = _trusted(slopes)
    if confirms is None or confirms(best):
        return best
    kinks = [slope for slope in slopes if slope.sides is not None]
    if kinks:  # a kink that is small beside the curvature shows for small steps alone
        return min(kinks, key=lambda slope: slope.bound)
    if not confirms(best, CLEARLY):
        return best
    # f may not be a staircase but level here, with a kink further off: then small steps are right.
    level = _trusted(estimate(noise * (stair == np.inf)))
    return level if confirms(level) else best


def _trusted(slopes):
    """The slope with the smallest bound that no estimate from a smaller step contradicts; ``slopes`` by rising step.

    A step that is far wider than what happens at x sees nothing of it, and says so with confidence.
    """
    kept = list(slopes)
    while True:
        best = min(kept, key=lambda slope: slope.bound)
        smaller = kept[: next(i for i, slope in enumerate(kept) if slope is best)]
        if not any(abs(s.value - best.value) > s.bound + best.bound for s in smaller):
            return best
        kept = smaller


class _Rung:
    """The values of f at x - 4h, ..., x + 4h."""

    def __init__(self, line, x, h, dtype):
        self.h, self.x = h, x
        self.up, self.down = (
            np.array(x + sign * h * np.array([1.0, 2.0, 4.0]), dtype).astype(float) for sign in (1.0, -1.0)
        )
        self.f_up, self.f_down = np.array([line(t) for t in self.up]), np.array([line(t) for t in self.down])

    @property
    def values(self):
        return np.concatenate([self.f_up, self.f_down])

    @property
    def size(self):
        """The largest size of each output (M,)."""
        return np.abs(self.values).max(axis=0)

    def level(self, out):
        """Which outputs (M,) are the same at all of these points."""
        return (self.values == out).all(axis=0)

    def slope(self, w, out, rounding):
        """The estimate with the steps h, 2h and 4h, when rounding makes an error of up to ``rounding``."""
        x, up, down, f_up, f_down = self.x, self.up, self.down, self.f_up, self.f_down
        defined = np.isfinite(f_up).all(), np.isfinite(f_down).all()
        if not all(defined):
            return Slope(np.nan, np.inf, np.inf, one_sided=any(defined))
        D = (f_up - f_down) / (up - down)[:, None]                                              # D1
        R, R_wide = (4.0 * D[0] - D[1]) / 3.0, (4.0 * D[1] - D[2]) / 3.0                        # D2
        w_abs = np.abs(w)
        bound = 2.0 * w_abs @ np.abs(R - R_wide) + rounding                                     # D3
        sides = _kink((f_up - out) / (up - x)[:, None], (out - f_down) / (x - down)[:, None], w, rounding)
        across = w_abs @ np.abs(f_up - f_down).T  # the same however short the way is: a jump
        jump = bool(across[0] > 0.75 * across[2] > 0.0)
        return Slope(w @ R, bound, rounding, w_abs @ np.abs(R), sides=sides, by_output=R, jump=jump)


def _usual(out, far, eps):
    """How much each output (M,) is, or changes on the way to ``far`` (2, M), in the middle of these three.

    f may explode on one side, stand still on the other, or be an offset and little more. What changes by next to
    nothing of itself stands still.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs([out, *(far - out)])
        sizes[~np.isfinite(sizes) | (sizes <= eps**0.75 * np.abs(out))] = np.inf
    sizes, count = np.sort(sizes, axis=0), np.isfinite(sizes).sum(axis=0)
    middle = np.take_along_axis(sizes, np.minimum(count // 2, 2)[None], axis=0)[0]
    return np.where(count > 0, middle, 0.0)


def _median(arrays):
    """The median (M,) of those that are finite; 0 where none is."""
    arrays = np.sort(np.array(arrays), axis=0)
    count = np.isfinite(arrays).sum(axis=0)
    middle = np.take_along_axis(arrays, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    return np.where(count > 0, middle, 0.0)


def _least_change(values, out):
    """The smallest amount, other than 0, by which each output (M,) differs from ``out``."""
    with np.errstate(invalid="ignore", over="ignore"):
        changes = np.abs(values - out)
    return np.where((changes > 0.0) & np.isfinite(changes), changes, np.inf).min(axis=0)


def _kink(right, left, w, rounding):
    """The range of one-sided slopes when x is a kink, else None.

    ``right`` and ``left`` (3, M) are the one-sided difference quotients for h, 2h and 4h. Extrapolated, the two sides
    differ by an amount that falls as h^2 where f is smooth, is fixed at a kink, and grows as 1 / h at a jump.
    """
    right, left = 2.0 * right[:2] - right[1:], 2.0 * left[:2] - left[1:]
    w_abs = np.abs(w)
    gap = np.abs(right - left) @ w_abs
    if not (gap[0] > 8.0 * rounding and 0.75 * gap[1] < gap[0] < 1.5 * gap[1]):
        return None
    slack = 8.0 * rounding + 2.0 * w_abs @ (np.abs(right[0] - right[1]) + np.abs(left[0] - left[1]))
    if slack > 0.5 * gap[0]:  # the sides themselves are not settled
        return None
    ends = np.sort([w * left[0], w * right[0]], axis=0)  # by output: several kinks may meet in x
    return ends[0].sum() - slack, ends[1].sum() + slack


def _close_by(line, x, h, out, dtype):
    """The outputs (7, M) at points so close together that a smooth function is a line there."""
    d = max(h / 512.0, 4.0 * np.spacing(np.asarray(abs(x), dtype)))
    points = np.array(x + d * np.arange(-3, 4), dtype).astype(float)
    return np.array([out if k == 3 else line(t) for k, t in enumerate(points)])


def measured_noise(table):
    """Standard deviation (M,) of the rounding noise of each output, from its values (7, M) close by x.

    There third and higher differences show nothing but noise; the n-th difference multiplies its variance by
    (2n over n) (R. W. Hamming, "Introduction to Applied Numerical Analysis", 1971; Moré and Wild 2011).
    """
    sigma = np.zeros(table.shape[1])
    with np.errstate(invalid="ignore", over="ignore"):
        for order, factor in ((3, 20.0), (4, 70.0), (5, 252.0), (6, 924.0)):
            sigma = np.maximum(sigma, np.sqrt(np.mean(np.diff(table, order, axis=0) ** 2, axis=0) / factor))
    return np.where(np.isfinite(sigma), sigma, np.inf)


def complex_slope(line, x, w, eps):
    """Slope of w . line(t) at t = x by a complex step: nothing is subtracted, so nothing cancels.

    Raises TypeError when the outputs are not complex. A function that drops the imaginary part on
    its way gives a wrong slope without a word: compare once with `central_slope` before believing it.
    """
    out = line(x + 1j * COMPLEX_STEP)
    if not np.iscomplexobj(out):
        raise TypeError("expected complex outputs for complex inputs, got real ones")
    d_out = out.imag / COMPLEX_STEP
    w_abs = np.abs(w)
    terms = w_abs @ np.abs(d_out)
    bound = 8.0 * eps * terms
    reach = w_abs @ np.abs(out.real)
    return Slope(w @ d_out, bound, bound, terms, reach / scale_of(x), reach, by_output=d_out)


def taylor_rate(line, w, claim, eps):
    """The order at which |w . line(t) - w . line(0) - t claim| falls with t: 2 when ``claim`` is the slope, else 1.

    Needs no step: t is halved again and again, and the order read off where the remainder stands
    clear of rounding. None where it never does, or where f is not defined.
    """
    out = line(0.0)
    steps = 2.0 ** -np.arange(6.0, 14.0)
    with np.errstate(all="ignore"):
        rest = np.array([abs(w @ (line(t) - out) - t * claim) for t in steps])
        clear = np.isfinite(rest) & (rest > 64.0 * eps * (np.abs(w) @ np.abs(out) + np.abs(claim) * steps))
        rates = np.log2(rest[:-1] / rest[1:])[clear[:-1] & clear[1:]]
    # The smallest steps tell most: there the terms of higher order are gone.
    return float(np.median(rates[-3:])) if len(rates) else None


def v_curve(line, x, w, claim, exponents=range(-2, -49, -1)):
    """|central difference - claim| against the step: falls with truncation, then rises with rounding.

    Returns
    -------
    steps, errors : arrays
        ``errors`` relative to max(1, |claim|); only where f is defined.
    """
    steps = 2.0 ** np.array(exponents, float) * scale_of(x)
    steps = steps[steps >= np.spacing(abs(x))]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        slopes = np.array([w @ (line(x + h) - line(x - h)) / ((x + h) - (x - h)) for h in steps])
    errors = np.abs(slopes - claim) / max(1.0, abs(claim))
    kept = np.isfinite(errors)
    return steps[kept], errors[kept]

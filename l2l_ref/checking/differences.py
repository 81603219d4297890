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
        Slope -> bool. An accurate first estimate that confirms what was expected is final; any other
        is refined on the whole ladder, with the noise of the function measured. Without it a first
        estimate of some digits will do.
    dtype : dtype
        What t is rounded to before ``line`` sees it: the steps are then taken as they really are.
    """
    scale = scale_of(x)
    out, far_up, far_down = line(x), line(x + scale), line(x - scale)
    # An output that is the same bit for bit even a whole scale away either does not depend on x or
    # does so by less than a unit in its last place: its part of the rounding is eps |out| / scale.
    idle = (far_up == out) & (far_down == out)
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs([out, far_up - out, far_down - out])
    # The middle one: f may explode on one side, stand still on the other, or be an offset and little more.
    sizes[~np.isfinite(sizes) | (sizes == 0.0)] = np.inf
    sizes, count = np.sort(sizes, axis=0), np.isfinite(sizes).sum(axis=0)
    usual = np.take_along_axis(sizes, np.maximum(count // 2, 0)[None], axis=0)[0]
    natural = np.abs(w) @ np.where(count > 0, usual, 0.0) / scale
    far = np.fmax(np.abs(far_up), np.abs(far_down))
    reach = np.abs(w) @ np.where(idle, 0.0, np.fmax(np.abs(out), np.where(np.isfinite(far), far, 0.0)))

    # Where nothing at all moves, f may be a staircase.
    still = np.maximum(eps * np.abs(out), noise if idle.all() else 0.0) / scale

    def rung(h, noise_of):
        return _rung(line, x, h, w, noise_of, out, idle, still, dtype)._replace(natural=natural, reach=reach)

    first = first_step(x, eps)
    slope = rung(first, lambda f, h: ULPS * eps * np.abs(f).max(axis=0))
    accuracy = QUICK if confirms is None else eps**0.6
    if slope.bound <= accuracy * (slope.terms + natural) and (confirms is None or confirms(slope)):
        return slope

    powers = list(RUNGS)
    if 0.0 < abs(x) < 2.0**-12:  # the scale may be that of x itself
        powers += [round(np.log2(abs(x))) + power for power in (0, -6)]
    steps = [first * 2.0**power for power in powers]
    steps = [h for h in steps if h >= 4.0 * np.spacing(np.asarray(abs(x), dtype))]
    close = [measured_noise(line, x, h, out, dtype) for h in steps]
    # Noise does not depend on the step, its estimates do, by luck: the best bound must not be that of the luckiest.
    # Nor is it less than the least change that was ever seen: f may be a staircase, and stand still in between.
    typical = np.median([sigma for sigma, _ in close], axis=0) if steps else 0.0
    stair = np.min([least for _, least in close], axis=0) if steps else np.inf

    def measured(f, sigma):
        sizes, rises = np.abs(f).max(axis=0), np.abs(f - out)
        least = np.minimum(stair, np.where(rises > 0.0, rises, np.inf).min(axis=0))
        seen = np.maximum(ULPS * np.maximum(eps * sizes, np.maximum(sigma, typical)), 1.5 * least)
        return np.where(np.isfinite(least), seen, np.maximum(ULPS * eps * sizes, noise))

    slopes = [rung(h, lambda f, h: measured(f, sigma)) for h, (sigma, _) in zip(steps, close)]
    return min(slopes, key=lambda slope: slope.bound)


def _rung(line, x, h, w, noise_of, out, idle, still, dtype):
    """One estimate with the steps h, 2h and 4h.

    ``noise_of`` maps the outputs (6, M) at these steps and h to their noise (M,); ``still`` (M,) is the slope that
    idle outputs may hide.
    """
    up, down = (np.array(x + sign * h * np.array([1.0, 2.0, 4.0]), dtype).astype(float) for sign in (1.0, -1.0))
    f_up, f_down = np.array([line(t) for t in up]), np.array([line(t) for t in down])
    defined = np.isfinite(f_up).all(), np.isfinite(f_down).all()
    if not all(defined):
        return Slope(np.nan, np.inf, np.inf, one_sided=any(defined))
    D = (f_up - f_down) / (up - down)[:, None]                                              # D1
    R, R_wide = (4.0 * D[0] - D[1]) / 3.0, (4.0 * D[1] - D[2]) / 3.0                        # D2
    noise = noise_of(np.concatenate([f_up, f_down]), h)
    w_abs, moved = np.abs(w), ~idle
    rounding = 1.5 / h * (w_abs[moved] @ noise[moved]) + w_abs[idle] @ still[idle]
    bound = 2.0 * w_abs @ np.abs(R - R_wide) + rounding                                     # D3
    sides = _kink((f_up - out) / (up - x)[:, None], (out - f_down) / (x - down)[:, None], w, rounding)
    across = w_abs @ np.abs(f_up - f_down).T  # the same however short the way is: a jump
    jump = bool(across[0] > 0.75 * across[2] > 0.0)
    return Slope(w @ R, bound, rounding, w_abs @ np.abs(R), sides=sides, by_output=R, jump=jump)


def _kink(right, left, w, rounding):
    """The range of one-sided slopes when x is a kink, else None.

    ``right`` and ``left`` (3, M) are the one-sided difference quotients for h, 2h and 4h. They differ
    by h f'' where f is smooth, by a fixed amount at a kink, and by jump / h at a jump.
    """
    gap = np.abs(right - left) @ np.abs(w)
    if not (gap[0] > 8.0 * rounding and 0.75 * gap[2] < gap[0] < 1.5 * gap[2]):
        return None
    ends = np.sort([w * left[0], w * right[0]], axis=0)  # by output: several kinks may meet in x
    return ends[0].sum() - 8.0 * rounding, ends[1].sum() + 8.0 * rounding


def measured_noise(line, x, h, out, dtype=np.float64):
    """Standard deviation (M,) of the rounding noise of each output near x, and its least change there (M,).

    Over seven points so close together that a smooth function is a line there, third and higher
    differences show nothing but noise; the n-th difference multiplies its variance by (2n over n)
    (R. W. Hamming, "Introduction to Applied Numerical Analysis", 1971; Moré and Wild 2011).
    """
    d = max(h / 512.0, 4.0 * np.spacing(np.asarray(abs(x), dtype)))
    points = np.array(x + d * np.arange(-3, 4), dtype).astype(float)
    table = np.array([out if k == 3 else line(t) for k, t in enumerate(points)])
    sigma = np.zeros(len(out))
    with np.errstate(invalid="ignore", over="ignore"):
        for order, factor in ((3, 20.0), (4, 70.0), (5, 252.0), (6, 924.0)):
            sigma = np.maximum(sigma, np.sqrt(np.mean(np.diff(table, order, axis=0) ** 2, axis=0) / factor))
        changes = np.abs(table - out)
    least = np.where(changes > 0.0, changes, np.inf).min(axis=0)
    return np.where(np.isfinite(sigma), sigma, np.inf), least


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

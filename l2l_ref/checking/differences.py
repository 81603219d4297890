"""The derivative along one entry from values of the function alone, with a bound on its error.

The function is seen as a *line*: t -> outputs (M,), the vector of all outputs when the one
entry under test has the value t. Wanted is the slope of w . line(t) at t = x, for weights w.

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


class Slope(NamedTuple):
    """An estimated derivative. ``bound`` is inf where no estimate could be made."""

    value: float
    bound: float
    terms: float  # sum of |w_j d out_j / dx|: what the value is a sum of
    reach: float = 0.0  # sum of |w_j out_j| over the outputs that depend on the entry, the largest near x
    natural: float = 0.0  # a slope of ordinary size: sum of |w_j out_j| over max(1, |x|), anywhere near x
    sides: tuple = None  # (lowest, highest) one-sided slope when x is a kink


def central_slope(line, x, w, eps, noise, confirms):
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
        The least noise of an output to reckon with before anything is called wrong.
    confirms : callable
        Slope -> bool. An accurate first estimate that confirms what was expected is final; any other
        is refined on the whole ladder, with the noise of the function measured.
    """
    scale = 2.0 ** np.floor(np.log2(max(abs(x), 1.0)))
    out, far_up, far_down = line(x), line(x + scale), line(x - scale)
    # An output that is the same bit for bit even a whole scale away either does not depend on x or
    # does so by less than a unit in its last place: its part of the rounding is eps |out| / scale.
    idle = (far_up == out) & (far_down == out)
    largest = np.fmax(np.abs(out), np.fmax(np.abs(far_up), np.abs(far_down)))
    largest = np.abs(w) * np.where(np.isfinite(largest), largest, np.abs(out))
    natural, reach = largest.sum() / scale, largest[~idle].sum()
    first = 2.0 ** np.round(np.log2(eps**0.2 / 4.0)) * scale  # a power of two: x + h is then mostly exact

    def rung(h, noise_of):
        estimate = _rung(line, x, h, w, noise_of, out, idle, eps / scale)
        return estimate._replace(natural=natural, reach=reach)

    slope = rung(first, lambda f, h: ULPS * eps * f)
    if slope.bound <= eps**0.6 * (slope.terms + natural) and confirms(slope):
        return slope

    def measured(f, h):
        return np.maximum(ULPS * np.maximum(eps * f, measured_noise(line, x, h, out)), noise)

    steps = [first * 2.0**power for power in RUNGS]
    slopes = [rung(h, measured) for h in steps if h >= 4.0 * np.spacing(abs(x))]
    return min(slopes, key=lambda slope: slope.bound)


def _rung(line, x, h, w, noise_of, out, idle, idle_rounding):
    """One estimate with the steps h, 2h and 4h; ``noise_of`` maps the outputs' sizes (M,) and h to noise (M,)."""
    up, down = x + h * np.array([1.0, 2.0, 4.0]), x - h * np.array([1.0, 2.0, 4.0])
    f_up, f_down = np.array([line(t) for t in up]), np.array([line(t) for t in down])
    if not (np.isfinite(f_up).all() and np.isfinite(f_down).all()):
        return Slope(np.nan, np.inf, 0.0)
    D = (f_up - f_down) / (up - down)[:, None]                                              # D1
    R, R_wide = (4.0 * D[0] - D[1]) / 3.0, (4.0 * D[1] - D[2]) / 3.0                        # D2
    noise = noise_of(np.maximum(np.abs(f_up).max(axis=0), np.abs(f_down).max(axis=0)), h)
    w_abs, moved = np.abs(w), ~idle
    rounding = 1.5 / h * (w_abs[moved] @ noise[moved]) + idle_rounding * (w_abs[idle] @ np.abs(out[idle]))
    bound = 2.0 * w_abs @ np.abs(R - R_wide) + rounding                                     # D3
    sides = _kink((f_up - out) / (up - x)[:, None], (out - f_down) / (x - down)[:, None], w, rounding)
    return Slope(w @ R, bound, w_abs @ np.abs(R), sides=sides)


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


def measured_noise(line, x, h, out):
    """Standard deviation (M,) of the rounding noise of each output near x.

    Over seven points so close together that a smooth function is a line there, third and higher
    differences show nothing but noise; the n-th difference multiplies its variance by (2n over n)
    (R. W. Hamming, "Introduction to Applied Numerical Analysis", 1971; Moré and Wild 2011).
    """
    d = max(h / 512.0, 4.0 * np.spacing(abs(x)))
    table = np.array([out if k == 0 else line(x + k * d) for k in range(-3, 4)])
    sigma = np.zeros(len(out))
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
        raise TypeError("f: expected complex outputs for complex inputs, got real ones")
    d_out = out.imag / COMPLEX_STEP
    w_abs = np.abs(w)
    terms, reach = w_abs @ np.abs(d_out), w_abs @ np.abs(out.real)
    return Slope(w @ d_out, 8.0 * eps * terms, terms, reach, reach / max(1.0, abs(x)))

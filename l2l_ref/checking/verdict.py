"""The verdict on one number: what f_backward claims against what values of f say.

A claim is within its limit when it differs from the slope by no more than

    bound of the slope (differences.py)
    + CLAIM_EPS eps |terms|  + 4 |change of the claim when all inputs change in their last place|

A claim that is not, is wrong. One that is, but by a bound nearly as wide as the slope itself, is undecided; where
the slope is next to nothing, beside a slope of the size that the outputs have, it need not be that narrow.
"""

from typing import NamedTuple

import numpy as np

from .report import FAIL, INCONCLUSIVE, PASS

# The rounding of a claim, in eps of its dtype, relative to the terms that it is a sum of.
CLAIM_EPS = 8.0
KINK = "kink"


class Claim(NamedTuple):
    """What f_backward says of one array, in one precision."""

    gradient: np.ndarray
    eps: float
    spread: np.ndarray  # change of the gradient when all inputs change by eps
    forgiven: float = 0.0  # an error that the user allows


def verdict_on(analytic, slope, limit, spread, ordinary=0.0):
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
        # Rounding alone may look like a kink, one that is next to nothing.
        nothing = error <= limit <= max(1e-3 * slope.natural, ordinary)
        if error > limit - spread and not nothing:
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

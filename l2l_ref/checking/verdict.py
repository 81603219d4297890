"""The verdict on one number: the claim of f_backward against the slope that values of f give.

A claim is within its limit if it differs from the slope by no more than

    bound of the slope (differences.py)
    + CLAIM_EPS eps |terms|  + 4 |change of the claim when all inputs change in their last place|
    + 4 |change of the claim when every operation is rounded up, or down|     in float32 and other low precision

A claim beyond its limit is wrong. A claim within a limit that is nearly as wide as the slope itself is undecided. If
the slope is close to 0, the limit only has to be narrow compared with a slope of ordinary size.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from .differences import Slope
from .report import FAIL, INCONCLUSIVE, PASS

# The rounding error of a claim, in eps of its dtype, relative to the terms of which the claim is the sum.
CLAIM_EPS = 8.0
NEGLIGIBLE = 1e-3  # relative to the largest entry of the gradient
SMALLEST = 16.0  # in units of the smallest number with all its digits
KINK: Final = "kink"
ONLY_LOW = "on the same values in float64 it is right"
UNSTEADY = "f_backward changes too much when its inputs change in their last place"
NOT_SMOOTH = "f is not smooth here: no step gives a difference that settles"


class Claim(NamedTuple):
    """The gradient of one array as f_backward returned it, in one precision."""

    gradient: np.ndarray
    eps: float
    spread: np.ndarray     # the change of the gradient when all inputs change by eps
    forgiven: float = 0.0  # an error that the user allows
    inside: Callable[[], np.ndarray] | None = None  # the error of f_backward's own arithmetic (G6)
    lost: np.ndarray | None = None  # the same, found in advance, of a claim in low precision; nan where it is unknown

    @property
    def low(self) -> bool:
        """Whether it was computed in a lower precision than that of the differences."""
        return self.eps > float(np.finfo(np.float64).eps)

    @property
    def measured(self) -> bool:
        """Whether the error of its arithmetic is known, if it was computed in low precision."""
        return self.lost is not None and not bool(np.isnan(self.lost).any())

    @property
    def known_lost(self) -> np.ndarray | float:
        """The error of its arithmetic, 0 where that is unknown or small."""
        return 0.0 if self.lost is None or not self.low else np.nan_to_num(self.lost)

    @property
    def smallest(self) -> float:
        """A claim below this may be 0 in low precision."""
        return SMALLEST * float(max(np.finfo(self.gradient.dtype).tiny, np.finfo(np.float32).tiny))

    def at(self, row: tuple[int, ...]) -> "Claim":
        """One row of the claim of a Jacobian."""
        inside = None if self.inside is None else lambda: np.broadcast_to(self.inside(), self.gradient.shape)[row]
        lost = None if self.lost is None else self.lost[row]
        return self._replace(gradient=self.gradient[row], spread=self.spread[row], inside=inside, lost=lost)

    def combined(self, weights: np.ndarray) -> "Claim":
        """The claim of weights^T J, for ``weights`` of the shape of the output, from that of a Jacobian J."""
        axes, size = weights.ndim, np.abs(weights)
        return Claim(
            np.tensordot(weights, self.gradient, axes), self.eps, np.tensordot(size, self.spread, axes),
            self.forgiven * float(size.sum()), self.inside and (lambda: np.tensordot(
                size, np.broadcast_to(self.inside(), self.gradient.shape), axes)),
            None if self.lost is None else np.tensordot(size, self.lost, axes),
        )

    def widened(self) -> "Claim":
        """This claim with the error of f_backward's own arithmetic in its spread."""
        return self if self.inside is None else self._replace(spread=np.fmax(self.spread, self.inside()), inside=None)


def narrow(out_eps: float, claim_eps: float, negligible: bool) -> float:
    """What bound counts as narrow, relative to the largest entry of the gradient: a millionth in float64.

    No difference of a function that computes in float32 is as sharp, so that one of its ``negligible`` entries, which
    are known from their claim, would leave the whole array undecided.
    """
    return max(1e-6, 64.0 * claim_eps, min(64.0 * np.sqrt(out_eps), 0.02) if negligible else 0.0)


def verdict_on(
    analytic: float, slope: Slope, limit: float, spread: float, ordinary: float = 0.0, all_zero: bool = False
) -> tuple[str, str]:
    """The verdict on a single number, or KINK, and the reason.

    Nothing is decided unless the bound of the slope is narrow. The ``spread`` of the claim must be narrow, too, if the
    error is not explained without it. A bound below ``ordinary`` counts as narrow. ``all_zero``: every claim is 0.
    """
    error = abs(analytic - slope.value)
    width = slope.bound + (spread if error > limit - spread else 0.0)
    if slope.sides is not None:
        low, high = slope.sides
        if low <= analytic <= high:
            return KINK, ""
        # Rounding alone may look like a very small kink.
        nothing = error <= limit <= max(1e-3 * slope.natural, ordinary)
        if error > limit - spread and not nothing:
            return FAIL, f"it is a kink, and f_backward is not between the one-sided slopes {low:.6g} and {high:.6g}"
    if not np.isfinite(slope.bound):
        where = "on one side of here" if slope.one_sided else "around here"
        return INCONCLUSIVE, f"the edge of the domain: f is not finite {where}"
    if not error <= limit:  # written so that nan is not within the limit
        # Beside a pole, or at a jump, no bound holds unless it is narrow.
        beside = slope.jump and slope.bound > 0.5 * abs(slope.value)
        return (INCONCLUSIVE, NOT_SMOOTH) if beside else (FAIL, "")
    # A claim so small that f would not move by a digit over a whole scale is right where the slope is no larger. But
    # where all claims are 0, and f moves by a few of its last digits, its slope is lost in them.
    lost = all_zero and 0.25 * slope.digit < slope.moved < 64.0 * slope.digit
    if max(abs(analytic), abs(slope.value)) <= slope.digit and not lost:
        return PASS, ""
    if width <= max(0.1 * abs(slope.value), 0.1 * abs(analytic), 1e-3 * slope.natural, ordinary):
        return PASS, ""
    if width > 2.0 * slope.bound:
        return INCONCLUSIVE, UNSTEADY
    if slope.jump or slope.rounding < 0.5 * slope.bound:
        return INCONCLUSIVE, NOT_SMOOTH
    return INCONCLUSIVE, "below the noise: the slope is lost in the rounding of f"

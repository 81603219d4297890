"""Families of random functions to meta-train a black-box optimizer on: their arguments, and the numbers that decide them.

A function is drawn while it is asked for (`l2l_ref.learned.black_box.trajectory`), so that what is drawn here are
standard normal numbers, and for some distributions what is given beforehand.
"""

from dataclasses import asdict, dataclass

import numpy as np

from ..checks import whole_number
from ..ops.covariance import covariance_pair
from ..ops.gp import JITTER, Given, gp_append, gp_initial_state
from .gp_functions import usual_length_scale


@dataclass(frozen=True, kw_only=True)
class GPDistribution:
    """Draws of a Gaussian process of mean 0 on the unit cube; its length scale is `usual_length_scale` unless given."""

    dim: int
    length_scale: float | None = None
    variance: float = 1.0
    noise: float = 0.0
    covariance: str = "squared_exponential"

    def __post_init__(self):
        whole_number("dim", self.dim)
        if not (self.length_scale is None or 0 < self.length_scale < np.inf):
            raise ValueError(f"length_scale: expected a finite number > 0, got {self.length_scale!r}")
        for name, least in (("variance", np.nextafter(0, 1)), ("noise", 0.0)):
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}: expected a finite number {'>' if least else '>='} 0, "
                                 f"got {getattr(self, name)!r}")
        covariance_pair(self.covariance)

    @property
    def config(self):
        return {"problem": "gp", **asdict(self)}

    @property
    def gp_arguments(self):
        """Arguments of `trajectory`."""
        scale = usual_length_scale(self.dim) if self.length_scale is None else self.length_scale
        return {"length_scale": np.float32(scale), "variance": self.variance, "noise": self.noise,
                "covariance": self.covariance}

    def sample(self, functions, steps, seed, dtype=np.float32):
        """(z, epsilon, given) of a trajectory: standard normal numbers (B, T) twice, and None."""
        rng = np.random.default_rng(seed)
        z, epsilon = rng.standard_normal((2, functions, steps), dtype)
        return z, epsilon, None


POINTS = 6  # that a function of SupportDistribution goes through
PROBES = 1000  # a dimension, at which its range is measured


@dataclass(frozen=True, kw_only=True)
class SupportDistribution:
    """Means of a Gaussian process through a few random values, scaled to the range [-1, 1].

    Six points uniform in the cube, their values uniform in [-1, 1]; squared exponential covariance, length scale
    sqrt(d) / (6 sqrt(2)), which is exp(-r^2 / l^2) with l = sqrt(d) / 3 on [-1, 1]^d. The range is measured at 1,000 d
    random points, the same for all functions of a batch. This is a setting of an earlier public reproduction.
    """

    dim: int

    def __post_init__(self):
        whole_number("dim", self.dim)

    @property
    def config(self):
        return {"problem": "support", **asdict(self)}

    @property
    def gp_arguments(self):
        return {"length_scale": np.float32(self.dim**0.5 / (6 * 2**0.5)), "variance": 1.0, "noise": 0.0,
                "covariance": "squared_exponential"}

    def sample(self, functions, steps, seed, dtype=np.float32):
        """(z, epsilon, given) of a trajectory: zeros (B, T) twice, and all that decides the functions, not yet cast."""
        rng = np.random.default_rng(seed)
        B, d, arguments = functions, self.dim, {k: v for k, v in self.gp_arguments.items() if k != "noise"}
        x = rng.random((B, POINTS, d))
        values = rng.uniform(-1, 1, (B, POINTS))
        state = gp_initial_state(B, POINTS + steps, d)
        for t in range(POINTS):
            (draw, state), _ = gp_append(state, x[:, t], np.zeros(B), jitter=JITTER["float32"], **arguments, in_place=True)
            state.z[:, t] = (values[:, t] - draw.mean) / draw.std  # the z whose draw is this value
        a = np.linalg.solve(np.swapaxes(state.L[:, :POINTS, :POINTS], 1, 2), state.z[:, :POINTS, None])  # K^-1 values
        probes = rng.random((PROBES * d, d), np.float32) / arguments["length_scale"]
        points = x.reshape(B * POINTS, d).astype(np.float32) / arguments["length_scale"]
        # Half the squared distance by a matrix product: faster than by differences, and near enough for a range.
        k = np.exp(points @ probes.T - (points**2).sum(axis=1)[:, None] / 2 - (probes**2).sum(axis=1) / 2)
        g = np.einsum("bs,bsp->bp", a[:, :, 0].astype(np.float32), k.reshape(B, POINTS, PROBES * d))
        low, high = g.min(axis=1), g.max(axis=1)
        scale = 2 / (high - low)
        shift = -scale * (high + low) / 2
        zeros = np.zeros((B, steps), dtype)
        return zeros, zeros, Given(state, scale, shift)


DISTRIBUTIONS = {"gp": GPDistribution, "support": SupportDistribution}

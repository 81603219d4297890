"""Distributions of random functions to meta-train a black-box optimizer on.

The values of a function are drawn while it is queried (learned/trajectory.py). A distribution therefore does not draw
functions. It draws the standard normal numbers that decide their values and, for some distributions, values that are
given beforehand. A distribution of your own needs

    dim                                   d, the dimension of the functions
    gp_arguments                          a dict of arguments of `trajectory`: length_scale, variance, noise, covariance
    sample(functions, steps, seed, dtype) -> z (B, T), epsilon (B, T), given (a Given of ops/gp.py, or None)

and should have a ``config`` that describes it in JSON's types.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import whole_number
from ..ops.covariance import covariance_pair
from ..ops.gp import JITTER, Given, gp_append, gp_initial_state
from .gp_functions import usual_length_scale

if TYPE_CHECKING:
    from ..protocols import Array, Seed


@dataclass(frozen=True, kw_only=True)
class GPDistribution:
    """Draws of a Gaussian process with mean 0 on the unit cube.

    Parameters
    ----------
    dim : int
        d, the dimension of the functions.
    length_scale : float, optional
        By default 0.2 sqrt(d), our choice.
    variance, noise : float
        The variance of the values, and the standard deviation of the noise of an observation.
    covariance : {"squared_exponential", "matern32", "matern52"}

    Raises
    ------
    ValueError
        For arguments out of range.
    """

    dim: int
    length_scale: float | None = None
    variance: float = 1.0
    noise: float = 0.0
    covariance: str = "squared_exponential"

    def __post_init__(self) -> None:
        whole_number("dim", self.dim)
        if not (self.length_scale is None or 0 < self.length_scale < np.inf):
            raise ValueError(f"length_scale: expected a finite number > 0, got {self.length_scale!r}")
        for name, least in (("variance", np.nextafter(0, 1)), ("noise", 0.0)):
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}: expected a finite number {'>' if least else '>='} 0, "
                                 f"got {getattr(self, name)!r}")
        covariance_pair(self.covariance)

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        return {"problem": "gp", **asdict(self)}

    @property
    def gp_arguments(self) -> dict[str, Any]:
        """The arguments of `l2l_ref.learned.trajectory.trajectory` that describe the Gaussian process."""
        scale = usual_length_scale(self.dim) if self.length_scale is None else self.length_scale
        return {"length_scale": np.float32(scale), "variance": self.variance, "noise": self.noise,
                "covariance": self.covariance}

    def sample(
        self, functions: int, steps: int, seed: Seed, dtype: Any = np.float32,
    ) -> tuple[Array, Array, None]:
        """Draw z and epsilon of a trajectory, standard normal numbers (B, T). The third result is None.

        ``seed`` is an int or a SeedSequence.
        """
        rng = np.random.default_rng(seed)
        z, epsilon = rng.standard_normal((2, functions, steps), dtype)
        return z, epsilon, None


POINTS = 6  # through which a function of SupportDistribution passes
PROBES = 1000  # points per dimension at which its range is measured


@dataclass(frozen=True, kw_only=True)
class SupportDistribution:
    """Posterior means of a Gaussian process through a few random values, scaled to the range [-1, 1].

    Each function passes through six points that are uniform in the cube, with values uniform in [-1, 1]. The covariance
    is squared exponential with length scale sqrt(d) / (6 sqrt(2)); on [-1, 1]^d this is exp(-r^2 / l^2) with l =
    sqrt(d) / 3. The range of a function is measured at 1,000 d random points, which are the same for all functions of a
    batch. This is the setting of an earlier public reproduction of Chen et al. 2017.

    Parameters
    ----------
    dim : int
        d, the dimension of the functions.
    """

    dim: int

    def __post_init__(self) -> None:
        whole_number("dim", self.dim)

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        return {"problem": "support", **asdict(self)}

    @property
    def gp_arguments(self) -> dict[str, Any]:
        """As `GPDistribution.gp_arguments`."""
        return {"length_scale": np.float32(self.dim**0.5 / (6 * 2**0.5)), "variance": 1.0, "noise": 0.0,
                "covariance": "squared_exponential"}

    def sample(
        self, functions: int, steps: int, seed: Seed, dtype: Any = np.float32,
    ) -> tuple[Array, Array, Given]:
        """Draw the functions: (z, epsilon, given) of a trajectory.

        z and epsilon are zeros (B, T), because ``given`` alone decides the functions. Its arrays are float64.
        """
        rng = np.random.default_rng(seed)
        B, d, arguments = functions, self.dim, {k: v for k, v in self.gp_arguments.items() if k != "noise"}
        x = rng.random((B, POINTS, d))
        values = rng.uniform(-1, 1, (B, POINTS))
        state = gp_initial_state(B, POINTS + steps, d)
        for t in range(POINTS):
            (draw, state), _ = gp_append(state, x[:, t], np.zeros(B), jitter=JITTER["float32"], **arguments,
                                         in_place=True)
            state.z[:, t] = (values[:, t] - draw.mean) / draw.std  # the z for which this value is drawn
        a = np.linalg.solve(np.swapaxes(state.L[:, :POINTS, :POINTS], 1, 2), state.z[:, :POINTS, None])  # K^-1 values
        probes = rng.random((PROBES * d, d), np.float32) / arguments["length_scale"]
        points = x.reshape(B * POINTS, d).astype(np.float32) / arguments["length_scale"]
        # A matrix product gives the squared distances. It is faster than differences, and exact enough for a range.
        k = np.exp(points @ probes.T - (points**2).sum(axis=1)[:, None] / 2 - (probes**2).sum(axis=1) / 2)
        g = np.einsum("bs,bsp->bp", a[:, :, 0].astype(np.float32), k.reshape(B, POINTS, PROBES * d))
        low, high = g.min(axis=1), g.max(axis=1)
        scale = 2 / (high - low)
        shift = -scale * (high + low) / 2
        zeros = np.zeros((B, steps), dtype)
        return zeros, zeros, Given(state, scale, shift)


DISTRIBUTIONS = {"gp": GPDistribution, "support": SupportDistribution}

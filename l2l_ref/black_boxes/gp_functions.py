"""A batch of functions drawn from a Gaussian process, decided one query after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import backends
from ..checks import whole_number
from ..ops.gp import gp_initial_state
from ..seeds import generators

if TYPE_CHECKING:
    from ..protocols import Array, Backend, Seed


def usual_length_scale(dim: int) -> float:
    """0.2 sqrt(d). This is our choice; Chen et al. 2017 do not give a length scale."""
    return 0.2 * float(dim) ** 0.5


class GPFunctions:
    """B random functions on the unit cube, whose values are decided only at the points that are queried.

    Function number k of a seed is the same function in every batch and for every number of evaluations, if it is
    queried at the same points in the same order.

    Parameters
    ----------
    functions : int
        B.
    dim : int
        d.
    evaluations : int
        T, the number of times that each function can be evaluated. The memory needed is B T^2 numbers.
    seed : int or SeedSequence
    length_scale : number or ndarray (d,), optional
        By default `usual_length_scale`.
    variance, noise : float
        The variance of the values, and the standard deviation of the noise that is added to each observation.
    covariance, jitter
        As in `l2l_ref.ops.gp.gp_append`.
    first : int
        The number of the first function. With it a large batch can be evaluated in pieces.
    dtype : dtype
    backend : {"numpy", "auto", "numba"}
        Of `gp_append`.

    Raises
    ------
    ValueError
        For numbers out of range.
    """

    name = "gp"

    def __init__(
        self, functions: int, dim: int, evaluations: int, seed: Seed, length_scale: ArrayLike | None = None,
        variance: float = 1.0, noise: float = 0.0, covariance: str = "squared_exponential", jitter: float | None = None,
        first: int = 0, dtype: DTypeLike = np.float64, backend: Backend = "numpy",
    ) -> None:
        for name, value, least in (("functions", functions, 0), ("dim", dim, 1), ("evaluations", evaluations, 1),
                                   ("first", first, 0)):
            whole_number(name, value, least)
        if not 0 <= noise < np.inf:
            raise ValueError(f"noise: expected a finite number >= 0, got {noise!r}")
        self.dim, self.bounds = dim, np.array([[0.0, 1.0]] * dim)
        self.noise = noise
        self._z = normal_numbers(seed, range(first, first + functions), evaluations, 0).astype(dtype)
        self._epsilon = normal_numbers(seed, range(first, first + functions), evaluations, 1) if noise else None
        self._gp_arguments = {"length_scale": usual_length_scale(dim) if length_scale is None else length_scale,
                              "variance": variance, "covariance": covariance, "jitter": jitter}
        self._append = backends.choose("gp", backend, functions * evaluations).gp_append
        self.f = np.empty((functions, evaluations), dtype)
        self._state = gp_initial_state(functions, evaluations, dim, dtype)

    @property
    def evaluated(self) -> int:
        """The number of times that each function was evaluated."""
        return self._state.t

    @property
    def values(self) -> Array:
        """The values so far without noise, (B, t)."""
        return self.f[:, : self.evaluated]

    def __call__(self, x: ArrayLike) -> Array:
        """Evaluate each function at its own point: x (B, d) -> y (B,), with noise if there is any.

        Raises ValueError for another shape, and when all evaluations are used up.
        """
        t = self.evaluated
        if t == self.f.shape[1]:
            raise ValueError(f"evaluations: expected at most {t} per function, got one more")
        x = np.asarray(x, self.f.dtype)
        (draw, self._state), _ = self._append(
            self._state, x, self._z[:, t], **self._gp_arguments, in_place=True
        )
        self.f[:, t] = draw.f
        if self._epsilon is None:
            return draw.f
        return self.f[:, t] + self.noise * self._epsilon[:, t].astype(x.dtype)


def normal_numbers(seed: Seed, numbers: Iterable[int], count: int, stream: int) -> Array:
    """Standard normal numbers (functions, count): one row for each of ``numbers``, from a generator of its own."""
    return np.array([rng.standard_normal(count) for rng in generators(seed, numbers, stream)]).reshape(-1, count)

"""A batch of functions drawn from a Gaussian process, each evaluated one query after the other."""

import numpy as np

from .. import backends
from ..checks import whole_number
from ..ops.gp import gp_initial_state
from ..seeds import generators


def usual_length_scale(dim):
    """0.2 sqrt(d), our choice: the paper gives none."""
    return 0.2 * float(dim) ** 0.5


class GPFunctions:
    """B random functions on the unit cube; what they are is decided only at the points that are asked for.

    Function number k of a seed is the same function in whatever batch and for whatever number of evaluations, as long
    as it is asked for the same points in the same order.

    Parameters
    ----------
    functions : int
        B.
    dim : int
        d.
    evaluations : int
        T, how often each can be evaluated. Memory is B T^2 numbers.
    seed : int or SeedSequence
    length_scale : number or ndarray (d,), optional
        Default `usual_length_scale`.
    variance, noise : float
        Of the values, and the standard deviation of what is added to each observation.
    covariance, jitter
        As in `l2l_ref.ops.gp.gp_append`.
    first : int
        The number of the first function, so that large batches can be worked on in pieces.
    dtype : dtype
    backend : {"numpy", "auto", "numba"}
        Of `gp_append`.
    """

    name = "gp"

    def __init__(self, functions, dim, evaluations, seed, length_scale=None, variance=1.0, noise=0.0,
                 covariance="squared_exponential", jitter=None, first=0, dtype=np.float64, backend="numpy"):
        for name, value, least in (("functions", functions, 0), ("dim", dim, 1), ("evaluations", evaluations, 1),
                                   ("first", first, 0)):
            whole_number(name, value, least)
        if not 0 <= noise < np.inf:
            raise ValueError(f"noise: expected a finite number >= 0, got {noise!r}")
        self.dim, self.bounds = dim, np.array([[0.0, 1.0]] * dim)
        self.minimum = None
        self.noise = noise
        self._z = normal_numbers(seed, range(first, first + functions), evaluations, 0).astype(dtype)
        self._epsilon = normal_numbers(seed, range(first, first + functions), evaluations, 1) if noise else None
        self._law = {"length_scale": usual_length_scale(dim) if length_scale is None else length_scale,
                     "variance": variance, "covariance": covariance, "jitter": jitter}
        self._append = backends.choose("gp", backend, functions * evaluations).gp_append
        self.f = np.empty((functions, evaluations), dtype)
        self._state = gp_initial_state(functions, evaluations, dim, dtype)

    @property
    def evaluated(self):
        """How many times each function was evaluated."""
        return self._state.t

    @property
    def values(self):
        """The values so far, without noise: (B, t)."""
        return self.f[:, : self.evaluated]

    def __call__(self, x):
        """Evaluate each function at a point of its own: x (B, d) -> y (B,), with noise if there is any.

        Raises ValueError for another shape and when all evaluations are used up.
        """
        t = self.evaluated
        if t == self.f.shape[1]:
            raise ValueError(f"evaluations: all {t} are used up")
        x = np.asarray(x, self.f.dtype)
        (draw, self._state), _ = self._append(self._state, x, self._z[:, t], **self._law, in_place=True)
        self.f[:, t] = draw.f
        return self.f[:, t] + self.noise * self._epsilon[:, t].astype(x.dtype) if self.noise else draw.f


def normal_numbers(seed, numbers, count, stream):
    """(functions, count): a row for each function, from a generator that belongs to it and to ``stream``."""
    return np.array([rng.standard_normal(count) for rng in generators(seed, numbers, stream)]).reshape(-1, count)

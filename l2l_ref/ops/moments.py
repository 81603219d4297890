"""Running means of a gradient, and directions that are made of them by dividing by the size of the gradient.

Dims: n coordinates in A arrays, each of which belongs to one of B functions; K = 7 directions.

At step t = 1, 2, ..., with a limit for the root mean square |g| of the gradient over each array:

    C28  g is replaced by g min(1, limit / |g|)                limit = 2 S_1 of the step before, where that is above 0
    C19  m_k' = beta_k m_k + (1 - beta_k) g,   v_j' = beta_vj v_j + (1 - beta_vj) g^2      k = 1, 2, 3;  j = 1, 2

A hat divides a mean by 1 - beta^t, which takes away that it began at 0:

    C20  r_j = sqrt(v_j^),  s = max(r_1, r_2);   S_j = root mean square of r_j over the array,  S = max(S_1, S_2)
    C21  o = (g, m_1^, m_2^, m_3^) / s  and  (g, m_2^, m_3^) / S, each between -10 and 10                         (n, K)

v_1 remembers some 50 steps, v_2 some 1,000. Of the two the larger divides. So where gradients grow, the directions are
of order 1 again within some steps. Where they vanish, as they do at a minimum, the directions vanish with them for some
1,000 steps, those of m_3 after some hundred.

A quotient by 0 is 0. A factor in g changes m and v, and leaves o as it is.

Sources: m / sqrt(v) is the direction of Adam (Kingma & Ba 2015); Lv et al. 2017 feed it, and g / sqrt(v), to an LSTM.
Reddi et al. 2018 divide by the largest v of all steps; two memories in place of that are ours.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..checks import require_shape

BETAS = (0.5, 0.9, 0.99)  # of m_1, m_2, m_3
BETAS_V = (0.98, 0.999)  # of v_1, v_2
LARGEST = 10.0  # of the directions
LIMIT = 2.0     # of C28, in units of S_1 at the step before


class Arrays(NamedTuple):
    """The arrays of which n coordinates consist, one after the other, and the functions that the arrays belong to."""

    size: np.ndarray    # (A,) int, above 0
    matrix: np.ndarray  # (A,) 1 for arrays of two axes and more, 0 for others
    functions: int      # B, each has A / B arrays, one after the other

    @property
    def first(self) -> np.ndarray:
        """(A,) int, where each array begins."""
        return np.cumsum(self.size) - self.size

    @property
    def of_coordinate(self) -> np.ndarray:
        """(n,) int, the number of the array that each coordinate is in."""
        return np.repeat(np.arange(len(self.size)), self.size)


def arrays_of(shapes: Sequence[tuple[int, ...]], functions: int = 1) -> Arrays:
    """The Arrays of functions that have arrays of these shapes each. Arrays without entries are left out."""
    of_one = [(size, len(shape) > 1) for shape in shapes if (size := int(np.prod(shape, dtype=int)))]
    size, matrix = np.array(functions * of_one, np.int64).reshape(-1, 2).T
    return Arrays(size, matrix, functions)


def corrections(t: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """1 / (1 - beta^t) of each m_k, (3,), and of each v_j, (2,): the factors of the hats."""
    by_m, by_v = ((1 / (1 - np.array(betas) ** t)).astype(dtype) for betas in (BETAS, BETAS_V))
    return by_m, by_v


class ClipCache(NamedTuple):
    g: np.ndarray       # (n,)
    size: np.ndarray    # (A,), |g| of each array
    factor: np.ndarray  # (A,), what it is multiplied by
    over: np.ndarray    # (A,) bool, where |g| is above the limit
    arrays: Arrays


def clip_arrays(g: np.ndarray, limit: np.ndarray, arrays: Arrays) -> tuple[np.ndarray, ClipCache]:
    """C28. g (n,), limit (A,), above 0 -> g', cache. Raises ValueError on other shapes."""
    require_shape("g", g, n=int(arrays.size.sum()))
    require_shape("limit", limit, A=len(arrays.size))
    size = np.sqrt(total(g**2, arrays) / arrays.size)
    over = ~(size.real <= limit.real)  # also where one of them is nan
    ones = np.ones(len(limit), np.result_type(limit, size))
    factor = np.divide(limit, size, out=ones, where=over).astype(np.result_type(g, limit))
    return factor[arrays.of_coordinate] * g, ClipCache(g, size, factor, over, arrays)  # C28


def clip_arrays_backward(d_clipped: np.ndarray, cache: ClipCache) -> tuple[np.ndarray, np.ndarray, None]:
    """d_g' (n,) -> d_g (n,), d_limit (A,), None: the arrays are constants."""
    g, size, factor, over, arrays = cache
    # C28: where |g| is over the limit, g' is proportional to the limit, and to g / |g|, which does not change along g
    d_limit = np.divide(total(d_clipped * g, arrays), size, out=np.zeros_like(size), where=over)
    along = np.divide(factor * d_limit, arrays.size * size, out=np.zeros_like(size), where=over)
    d_g = factor[arrays.of_coordinate] * d_clipped - along[arrays.of_coordinate] * g
    return d_g.astype(g.dtype), d_limit.astype(g.dtype), None


def running_means(g: np.ndarray, m: np.ndarray, v: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """C19. g (n,), m (3, n), v (2, n) -> (m', v'), cache. Raises ValueError on other shapes."""
    require_shape("g", g, n=None)
    require_shape("m", m, means=len(BETAS), n=len(g))
    require_shape("v", v, means=len(BETAS_V), n=len(g))
    beta, beta_v, one = (np.array(betas, g.dtype)[:, None] for betas in (BETAS, BETAS_V, (1,)))
    return (beta * m + (one - beta) * g, beta_v * v + (one - beta_v) * g**2), g  # C19


def running_means_backward(
    d_new: tuple[np.ndarray, np.ndarray], g: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_new = (d_m' (3, n), d_v' (2, n)) -> d_g (n,), d_m (3, n), d_v (2, n)."""
    d_m_new, d_v_new = d_new
    beta, beta_v = (np.array(betas, g.dtype)[:, None] for betas in (BETAS, BETAS_V))
    d_g = ((1 - beta) * d_m_new).sum(axis=0) + 2 * g * ((1 - beta_v) * d_v_new).sum(axis=0)  # C19
    return d_g, beta * d_m_new, beta_v * d_v_new


class DirectionsCache(NamedTuple):
    unclipped: np.ndarray  # (n, K), the directions before they are clipped
    by_s: np.ndarray       # (n,), 1 / s
    by_S: np.ndarray       # (n,), 1 / S of the array of each coordinate
    fast: np.ndarray       # (n,) bool, where s is r_1; where both are equal, too
    arrays: Arrays


def directions(
    g: np.ndarray, m_hat: np.ndarray, v_hat: np.ndarray, S: np.ndarray, arrays: Arrays
) -> tuple[np.ndarray, DirectionsCache]:
    """C20 and C21. g (n,), m_hat (3, n), v_hat (2, n), S (A,) -> o (n, K), cache. Raises ValueError on other shapes."""
    require_shape("S", S, A=len(arrays.size))
    require_shape("g", g, n=int(arrays.size.sum()))
    require_shape("m_hat", m_hat, means=len(BETAS), n=len(g))
    require_shape("v_hat", v_hat, means=len(BETAS_V), n=len(g))
    fast = (v_hat[0].real >= v_hat[1].real) | np.isnan(v_hat[0])
    by_s, by_S = inverse(np.sqrt(np.where(fast, *v_hat))), inverse(S)[arrays.of_coordinate]  # C20
    m_1, m_2, m_3 = m_hat
    unclipped = np.stack([g * by_s, m_1 * by_s, m_2 * by_s, m_3 * by_s, g * by_S, m_2 * by_S, m_3 * by_S], axis=1)
    outside = np.abs(unclipped.real) > LARGEST
    o = np.where(outside, np.copysign(LARGEST, unclipped.real), unclipped).astype(g.dtype, copy=False)  # C21
    return o, DirectionsCache(unclipped, by_s, by_S, fast, arrays)


def directions_backward(
    d_o: np.ndarray, cache: DirectionsCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, None]:
    """d_o (n, K) -> d_g (n,), d_m_hat (3, n), d_v_hat (2, n), d_S (A,), None: the arrays are constants."""
    unclipped, by_s, by_S, fast, arrays = cache
    d_o = np.where(np.abs(unclipped) > LARGEST, 0, d_o)              # C21
    d_s, d_S = d_o[:, :4] * by_s[:, None], d_o[:, 4:] * by_S[:, None]
    d_m_hat = np.stack([d_s[:, 1], d_s[:, 2] + d_S[:, 1], d_s[:, 3] + d_S[:, 2]])
    # C20: o is proportional to the larger v_j^ to the power of -1/2, or to 1 / S
    of_s, of_S = ((d_o * unclipped)[:, at].sum(axis=1) for at in (slice(4), slice(4, None)))
    d_larger, d_of_S = -0.5 * of_s * by_s**2, -of_S * by_S
    d_v_hat = np.stack([np.where(fast, d_larger, 0), np.where(fast, 0, d_larger)])
    return d_s[:, 0] + d_S[:, 0], d_m_hat, d_v_hat, total(d_of_S, arrays).astype(d_of_S.dtype), None


def total(values: np.ndarray, arrays: Arrays) -> np.ndarray:
    """The sums over each array, in double precision: values (..., n) -> (..., A)."""
    return np.add.reduceat(values, arrays.first, axis=-1, dtype=np.promote_types(values.dtype, np.float64))


def root_mean_square(values: np.ndarray, arrays: Arrays) -> np.ndarray:
    """The root mean squares over each array: values (..., n) -> (..., A)."""
    return np.sqrt(total(values.astype(np.float64)**2, arrays) / arrays.size).astype(values.dtype)


def inverse(values: np.ndarray) -> np.ndarray:
    """1 / values, and 0 for 0."""
    return np.divide(1, values, out=np.zeros_like(values), where=values != 0)


COSINES = 5              # rows of the running cosines
OWN, SHARED = 5, 15      # features of a coordinate itself, and features that its array has
LONGEST_SUM = 60.0       # of cosines


def next_cosines(cosines: np.ndarray, products: np.ndarray, functions: int) -> np.ndarray:
    """The running cosines (5, A) of gradients and the m_2 before them, one step later.

    Their rows are, of the array, a fast mean, a slow mean and the sum; and of all arrays of its function, a fast mean
    and the sum. ``products`` (3, A), float64, are those of g and m_2, of g and g, and of m_2 and m_2, summed over each
    array.
    """

    def cosine(products: np.ndarray) -> np.ndarray:
        return products[0] * inverse(np.sqrt(products[1]) * np.sqrt(products[2]))

    number = cosines.dtype.type
    own = cosine(products).astype(cosines.dtype)
    whole = np.repeat(cosine(products.reshape(3, functions, -1).sum(axis=2)), len(own) // functions).astype(own.dtype)
    own_sum, whole_sum = np.clip(cosines[[2, 4]] + np.stack([own, whole]), -LONGEST_SUM, LONGEST_SUM)
    fast, slow = number(0.8), number(0.97)
    return np.stack([fast * cosines[0] + (1 - fast) * own, slow * cosines[1] + (1 - slow) * own, own_sum,
                     fast * cosines[3] + (1 - fast) * whole, whole_sum])


def array_features(start: np.ndarray, cosines: np.ndarray, lengths: np.ndarray, far: np.ndarray, path: np.ndarray,
                   arrays: Arrays, t: int, steps: float) -> np.ndarray:
    """What each array looks like, (A, `SHARED`), in numbers of order 1 that a factor in f does not change.

    Parameters
    ----------
    start : (A,) array
        The root mean square of theta_0.
    cosines : (5, A) array
        See `next_cosines`.
    lengths : (4, A) array
        The root mean squares of r_1, r_2, m_2^ and m_3^; the first two are S_1 and S_2.
    far, path : (A,) arrays
        The root mean square of the way since the start, and the sum of those of the steps.
    arrays : Arrays
    t, steps : int, float
        The number of this step, from 1, and of all steps; infinity where that is not known.
    """
    A, by_S_1 = len(start), inverse(lengths[0])
    return np.stack([
        np.log(start + 1e-3) / 3 + 1, np.log(arrays.size) / 6 - 1, arrays.matrix - 0.5,
        2 * cosines[0], 3 * cosines[1], cosines[2] / 10, 2 * cosines[3], cosines[4] / 10,
        np.log(lengths[0] * inverse(lengths[1]) + 1e-2) / 2 + 0.5,
        np.log(lengths[2] * by_S_1 + 1e-3) / 2 + 1, np.log(lengths[3] * by_S_1 + 1e-3) / 2 + 1,
        np.log(far + 1e-5) / 4 + 1.2, np.log(far * inverse(path) + 1e-2) / 2 + 1,
        np.full(A, np.log(t) / 3 - 1), np.full(A, 2 * min(1.0, t / steps) - 1),
    ], axis=1).astype(start.dtype)

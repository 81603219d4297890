"""A sum of directions whose weights and whose length a small network chooses.

Dims: N rows, K directions, E features, H hidden units.

    C16  z = tanh(e W_1 + b_1)                                (N, H)
    C17  (ell, a) = z W_2 + b_2                               (N, 1 + K)
    C18  y = exp(min(ell, 80)) * sum over k of a_k o_k        (N,)

The directions o may change their sign with a gradient, and the features e may not. Then y changes its sign with the
gradient, too: it is odd, whatever the weights are, and 0 where all directions are 0. So C18 has no bias.

Twin: compiled/moments_mlp.py has the forward pass as a part of its step.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from typing import NamedTuple

import numpy as np

from ..checks import require_shape

LONGEST = 80.0  # the largest ell that counts: its exponential is finite in float32, so that 0 times it is 0


class GatedSumParams(NamedTuple):
    W_1: np.ndarray  # (E, H)
    b_1: np.ndarray  # (H,)
    W_2: np.ndarray  # (H, 1 + K)
    b_2: np.ndarray  # (1 + K,)


class GatedSumCache(NamedTuple):
    o: np.ndarray       # (N, K)
    e: np.ndarray       # (N, E)
    W_1: np.ndarray     # (E, H)
    W_2: np.ndarray     # (H, 1 + K)
    z: np.ndarray       # (N, H)
    length: np.ndarray  # (N,), exp(min(ell, 80))
    free: np.ndarray    # (N,) bool, ell < 80
    a: np.ndarray       # (N, K)


def gated_sum_init(rng: np.random.Generator, features: int, hidden: int, first: np.ndarray) -> GatedSumParams:
    """Draw GatedSumParams in float64, with which (ell, a) of every row is near ``first`` (1 + K,)."""
    W_1 = rng.normal(0, features**-0.5, (features, hidden))
    W_2 = rng.normal(0, 0.01 * hidden**-0.5, (hidden, len(first)))
    return GatedSumParams(W_1, np.zeros(hidden), W_2, np.array(first, dtype=np.float64))


def gated_sum(o: np.ndarray, e: np.ndarray, params: GatedSumParams) -> tuple[np.ndarray, GatedSumCache]:
    """C16 to C18. o (N, K), e (N, E), params -> y (N,), cache. Raises ValueError on other shapes."""
    W_1, b_1, W_2, b_2 = params
    require_shape("W_1", W_1, E=None, H=None)
    E, H = W_1.shape
    require_shape("W_2", W_2, H=H, outputs=None)
    K = W_2.shape[1] - 1
    require_shape("b_1", b_1, H=H)
    require_shape("b_2", b_2, outputs=1 + K)
    require_shape("o", o, N=None, K=K)
    require_shape("e", e, N=len(o), E=E)
    z = np.tanh(e @ W_1 + b_1)                                       # C16
    out = z @ W_2 + b_2                                              # C17
    ell, a = out[:, 0], out[:, 1:]
    free = ~(ell.real > LONGEST)  # a nan stays one
    length = np.exp(np.where(free, ell, ell.dtype.type(LONGEST)))
    return length * (a * o).sum(axis=1), GatedSumCache(o, e, W_1, W_2, z, length, free, a)  # C18


def gated_sum_backward(d_y: np.ndarray, cache: GatedSumCache) -> tuple[np.ndarray, np.ndarray, GatedSumParams]:
    """d_y (N,) -> d_o (N, K), d_e (N, E), d_params."""
    o, e, W_1, W_2, z, length, free, a = cache
    d_length = (d_y * length)[:, None]
    d_a, d_o = d_length * o, d_length * a                            # C18
    d_ell = (free * (d_a * a).sum(axis=1))[:, None]                  # C18: y is exp(ell) times what ell does not change
    d_out = np.concatenate([d_ell, d_a], axis=1)
    d_z = (d_out @ W_2.T) * (1 - z**2)                               # C17, C16
    d_params = GatedSumParams(e.T @ d_z, d_z.sum(axis=0), z.T @ d_out, d_out.sum(axis=0))
    return d_o, d_z @ W_1.T, d_params

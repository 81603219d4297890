"""A cell for functions of any number of dimensions: one LSTM for all coordinates, each with a state of its own.

Dims: B functions at once, d coordinates of each, H units, K numbers of a code.

    X8   (p, q)' = (x, y) if y was fed and is less than q, or is the first; else (p, q)
         k' = k + o - k o                                            whether anything was fed so far, 0 or 1
    X9   r_i = (x_i - o/2, p_i' - k'/2, y, q', o, log d, code_i)     what coordinate i sees, (B, d, K + 6)
    X10  (g_i, c_i') = LSTM cell (r_i, h_i, c_i)                     the same weights for all i
    X11  h' = C7 of g                                                half of the units show their mean over i

u = (x, y, o) is X1 of trajectory.py; p is the best point that was fed, and q its value. The mean is all that a
coordinate learns of the others. Without a code all of them would do the same as long as they are fed the same: the code
tells them apart, and is a constant of each coordinate. Codes are points of a lattice that fills a cube evenly.

Source: our choice. The review, section 6, asks for one network for all dimensions. Weights that coordinates share, and
averaged units, are those of Andrychowicz et al. 2016.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import require_shape
from ..ops.lstm import LSTMParams, LSTMState, lstm_cell, lstm_cell_backward, lstm_init
from ..ops.sharing import global_average, global_average_backward

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocols import Array

CODE = 4                   # K
INPUTS = CODE + 6
ROOT = 1.1673039782614187  # of x^5 = x + 1: its powers are the steps of the lattice


class SharedState(NamedTuple):
    """The state of B functions of d dimensions."""

    h: Array     # (B, d, H), the output of the cell
    c: Array     # (B, d, H)
    p: Array     # (B, d), the point of the least value that was fed
    q: Array     # (B,), this value
    k: Array     # (B,), 1 as soon as anything was fed, 0 before
    code: Array  # (B, d, K)


class SharedCache(NamedTuple):
    better: Array                 # (B,), whether X8 took what was fed
    o: Array                      # (B,)
    k: Array                      # (B,), before the step
    lstm: Any
    averaged: int                 # units that show their mean
    backward: Callable[..., Any]  # of the LSTM cell


def codes(d: int) -> Array:
    """The codes of d coordinates, (d, K): the first points of a lattice with mean 0 and variance 1."""
    return ((np.arange(1, d + 1)[:, None] / ROOT ** np.arange(1, CODE + 1)) % 1 - 0.5) * np.sqrt(12)


def shared_init(rng: np.random.Generator, inputs: int, hidden: int) -> LSTMParams:
    """Draw LSTMParams of X10, float64, as those of cells.py. The inputs are those of X9, whatever ``inputs`` is."""
    return lstm_init(rng, INPUTS, hidden, input_scale=INPUTS**-0.5)


def shared_initial_state(rows: int, params: LSTMParams, dim: int) -> SharedState:
    """The SharedState before the first step."""
    dtype, H = params.W_h.dtype, len(params.W_h)
    h: Array = np.zeros((rows, dim, H), dtype)
    q: Array = np.zeros(rows, dtype)
    return SharedState(h, h.copy(), np.zeros((rows, dim), dtype), q, q.copy(),
                       np.tile(codes(dim).astype(dtype), (rows, 1, 1)))


def shared_cell(
    u: Array, state: SharedState, params: LSTMParams, pair: Any = (lstm_cell, lstm_cell_backward)
) -> tuple[SharedState, SharedCache]:
    """X8 to X11. u (B, d + 2), state, params -> state', cache. ``pair`` is that of the LSTM cell, or its twins.

    Raises ValueError for shapes that do not fit.
    """
    h, c, p, q, k, code = state
    require_shape("code", code, B=None, d=None, K=CODE)
    B, d, _ = code.shape
    require_shape("u", u, B=B, inputs=d + 2)
    H = h.shape[2]
    x, y, o = u[:, :d], u[:, d], u[:, d + 1]
    better = (o.real > 0.5) & ((k.real < 0.5) | (y.real < q.real))   # X8
    p, q = np.where(better[:, None], x, p), np.where(better, y, q)   # X8
    k_new = k + o - k * o                                            # X8
    r = np.empty((B, d, INPUTS), np.result_type(u, h))
    r[:, :, 0], r[:, :, 1] = x - 0.5 * o[:, None], p - 0.5 * k_new[:, None]  # X9
    r[:, :, 2], r[:, :, 3], r[:, :, 4] = y[:, None], q[:, None], o[:, None]  # X9
    r[:, :, 5], r[:, :, 6:] = np.log(d), code                        # X9
    before = LSTMState(h.reshape(B * d, H), c.reshape(B * d, H))
    after, lstm_cache = pair[0](r.reshape(B * d, INPUTS), before, params)  # X10
    h, averaged = global_average(after.h.reshape(B, d, H), H // 2)   # X11
    return (SharedState(h, after.c.reshape(B, d, H), p, q, k_new, code),
            SharedCache(better, o, k, lstm_cache, averaged, pair[1]))


def shared_cell_backward(d_state: SharedState, cache: SharedCache) -> tuple[Array, SharedState, LSTMParams]:
    """d_state' -> d_u (B, d + 2), d_state, d_params."""
    better, o, k, lstm_cache, averaged, backward = cache
    d_h, d_c, d_p, d_q, d_k, d_code = d_state
    B, d, H = d_h.shape
    d_g = global_average_backward(d_h, averaged)                     # X11
    d_after = LSTMState(d_g.reshape(B * d, H), d_c.reshape(B * d, H))
    d_r, d_before, d_params = backward(d_after, lstm_cache)          # X10
    d_r = d_r.reshape(B, d, INPUTS)
    d_x, d_p = d_r[:, :, 0], d_p + d_r[:, :, 1]                      # X9
    d_y, d_q = d_r[:, :, 2].sum(axis=1), d_q + d_r[:, :, 3].sum(axis=1)  # X9
    d_o = d_r[:, :, 4].sum(axis=1) - 0.5 * d_x.sum(axis=1)           # X9
    d_k = d_k - 0.5 * d_r[:, :, 1].sum(axis=1)                       # X9
    d_x = d_x + np.where(better[:, None], d_p, 0)                    # X8
    d_y = d_y + np.where(better, d_q, 0)                             # X8
    d_p, d_q = np.where(better[:, None], 0, d_p), np.where(better, 0, d_q)  # X8
    d_o, d_k = d_o + (1 - k) * d_k, (1 - o) * d_k                    # X8
    d_u = np.concatenate([d_x, d_y[:, None], d_o[:, None]], axis=1)
    return d_u, SharedState(d_before.h.reshape(B, d, H), d_before.c.reshape(B, d, H), d_p, d_q, d_k,
                            d_code + d_r[:, :, 6:]), d_params        # X9

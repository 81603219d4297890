"""A cell for functions of any number of dimensions: one LSTM for all coordinates, each with a state of its own.

Dims: B functions at once, d coordinates of each, H units, K numbers of a code.

    V1  (x*, y*)' = (x, y) if y was fed and is less than y*, or is the first; else (x*, y*)
        k' = k + o - k o                                             whether anything was fed so far, 0 or 1
    V2  s_i = (x_i - o/2, x*_i' - k'/2, y, y*', o, log d, code_i)    what coordinate i sees, (B, d, K + 6)
    V3  (h~_i, c_i') = LSTM cell (s_i, h_i, c_i)                     the same weights for all i
    V4  h' = C7 of h~                                                half of the units show their mean over i

u = (x, y, o) is X1 of trajectory.py. The mean is all that a coordinate learns of the others. Without a code all of them
would do the same as long as they are fed the same: the code tells them apart, and is a constant of each coordinate.

The codes are points of a lattice that fills the cube of K dimensions evenly, so that any number of them differ.

Source: a project choice. The review, section 6, asks for one network for all dimensions. Weights that are shared by
coordinates, and averaged units, are those of Andrychowicz et al. 2016.
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

CODE = 4              # K
INPUTS = CODE + 6
ROOT = 1.1673039782614187  # of x^5 = x + 1: its powers are the steps of the lattice


class SharedState(NamedTuple):
    """The state of B functions of d dimensions."""

    h: Array       # (B, d, H), the output of the cell
    c: Array       # (B, d, H)
    best_x: Array  # (B, d), the point of the least value that was fed
    best_y: Array  # (B,)
    known: Array   # (B,), 1 as soon as anything was fed, 0 before
    code: Array    # (B, d, K)


class SharedCache(NamedTuple):
    better: Array            # (B,), whether V1 took what was fed
    o: Array                 # (B,)
    known: Array             # (B,), before the step
    lstm: Any
    averaged: int            # units that show their mean
    backward: Callable[..., Any]  # of the LSTM cell


def codes(d: int) -> Array:
    """The codes of d coordinates, (d, K), uniform with mean 0 and variance 1."""
    return ((np.arange(1, d + 1)[:, None] / ROOT ** np.arange(1, CODE + 1)) % 1 - 0.5) * np.sqrt(12)


def shared_init(rng: np.random.Generator, inputs: int, hidden: int) -> LSTMParams:
    """Draw LSTMParams of V3, float64: of the inputs of V2, whatever ``inputs`` is. They are as those of cells.py."""
    return lstm_init(rng, INPUTS, hidden, input_scale=INPUTS**-0.5)


def shared_initial_state(rows: int, params: LSTMParams, dim: int) -> SharedState:
    """The SharedState before the first step."""
    dtype, H = params.W_h.dtype, len(params.W_h)
    h: Array = np.zeros((rows, dim, H), dtype)
    return SharedState(h, h.copy(), np.zeros((rows, dim), dtype), np.zeros(rows, dtype), np.zeros(rows, dtype),
                       np.broadcast_to(codes(dim), (rows, dim, CODE)).astype(dtype))


def shared_cell(u: Array, state: SharedState, params: LSTMParams, pair: Any = (lstm_cell, lstm_cell_backward)
                ) -> tuple[SharedState, SharedCache]:
    """V1 to V4. u (B, d + 2), state, params -> state', cache. ``pair`` is that of the LSTM cell, or its twins.

    Raises ValueError for shapes that do not fit.
    """
    require_shape("code", state.code, B=None, d=None, K=CODE)
    B, d, _ = state.code.shape
    require_shape("u", u, B=B, inputs=d + 2)
    h, c, best_x, best_y, known, code = state
    H = h.shape[2]
    x, y, o = u[:, :d], u[:, d], u[:, d + 1]
    better = (o.real > 0.5) & ((known.real < 0.5) | (y.real < best_y.real))  # V1
    best_x, best_y = np.where(better[:, None], x, best_x), np.where(better, y, best_y)  # V1
    known_new = known + o - known * o                                # V1
    s = np.empty((B, d, INPUTS), np.result_type(u, h))
    s[:, :, 0], s[:, :, 1] = x - 0.5 * o[:, None], best_x - 0.5 * known_new[:, None]  # V2
    s[:, :, 2], s[:, :, 3], s[:, :, 4] = y[:, None], best_y[:, None], o[:, None]  # V2
    s[:, :, 5], s[:, :, 6:] = np.log(d), code                        # V2
    before = LSTMState(h.reshape(B * d, H), c.reshape(B * d, H))
    new, lstm_cache = pair[0](s.reshape(B * d, INPUTS), before, params)  # V3
    shown, averaged = global_average(new.h.reshape(B, d, H), H // 2)  # V4
    return (SharedState(shown, new.c.reshape(B, d, H), best_x, best_y, known_new, code),
            SharedCache(better, o, known, lstm_cache, averaged, pair[1]))


def shared_cell_backward(d_state: SharedState, cache: SharedCache) -> tuple[Array, SharedState, LSTMParams]:
    """d_state' -> d_u (B, d + 2), d_state, d_params."""
    better, o, known, lstm_cache, averaged, backward = cache
    d_h, d_c, d_best_x, d_best_y, d_known, d_code = d_state
    B, d, H = d_h.shape
    d_h = global_average_backward(d_h, averaged)                     # V4
    d_s, d_lstm, d_params = backward(LSTMState(d_h.reshape(B * d, H), d_c.reshape(B * d, H)), lstm_cache)  # V3
    d_s = d_s.reshape(B, d, INPUTS)
    d_x, d_code = d_s[:, :, 0], d_code + d_s[:, :, 6:]               # V2
    d_best_x = d_best_x + d_s[:, :, 1]                               # V2
    d_y, d_best_y_in, d_o = np.moveaxis(d_s[:, :, 2:5].sum(axis=1), 1, 0)  # V2
    d_best_y = d_best_y + d_best_y_in                                # V2
    d_o = d_o - 0.5 * d_x.sum(axis=1)                                # V2
    d_known = d_known - 0.5 * d_s[:, :, 1].sum(axis=1)               # V2
    d_u = np.concatenate([
        d_x + np.where(better[:, None], d_best_x, 0),                # V1
        (d_y + np.where(better, d_best_y, 0))[:, None],              # V1
        (d_o + (1 - known) * d_known)[:, None],                      # V1
    ], axis=1)
    d_best_x, d_best_y = np.where(better[:, None], 0, d_best_x), np.where(better, 0, d_best_y)  # V1
    before = SharedState(d_lstm.h.reshape(B, d, H), d_lstm.c.reshape(B, d, H), d_best_x, d_best_y,
                         (1 - o) * d_known, d_code)                  # V1
    return d_u, before, d_params

"""Compiled twin of ``Stepper`` in learned/stepping.py: a whole step of ask and tell in one kernel.

That file is the definition; a difference is a bug in this one. What is called with counts here, and what is returned
more so: the state is changed in place, and the caller's arrays are filled.
"""

import math

import numpy as np

from .jit import kernel
from .proposer import _dnc_advance, _gates, _product, _query


class Stepper:
    """Parameters, methods and results are those of the original."""

    def __init__(self, proposer, box):
        cell, W, b_v = proposer.params_as(np.float32)
        self._proposer, self._dims = proposer, (proposer.dim, box.dim)
        if proposer.cell == "lstm":
            self._kernel, weights = _lstm_step, (*cell, W, b_v)
        else:
            self._kernel, weights = _dnc_step, (*cell.controller, cell.W_xi, cell.b_xi, W, b_v)
        self._constants = (*box.table, *weights, proposer.output == "sigmoid")
        self._nothing = np.zeros(proposer.dim)

    def start(self, symmetry):
        state = self._proposer.start()
        arrays = state if self._proposer.cell == "lstm" else (state.h, state.c, *state.memory)
        self._arguments = (*symmetry.table, *arrays, *self._constants)

    def step(self, u=None, y=0.0):
        D, d = self._dims
        u_new, x = np.empty(D), np.empty(d)
        if u is None:
            self._kernel(self._nothing, 0.0, 0.0, u_new, x, *self._arguments)
        else:
            self._kernel(u, y, 1.0, u_new, x, *self._arguments)
        return u_new, x


@kernel
def _lstm_step(u, y, o, u_new, x, sign, offset, order, h, c, edges, log, integers, W_x, W_h, b, W, b_v, squashed):
    h, c, a, c_new, v = h[0], c[0], b.copy(), np.empty_like(c[0]), np.empty_like(b_v)  # L1
    _product(_seen(u, y, o, sign, offset, order, b.dtype)[0], W_x, a)  # L1
    _product(h, W_h, a)                                              # L1
    _gates(a, c, c_new, h)  # not in place, which is not vectorised
    c[:] = c_new
    _query(h, W, b_v, squashed, v)
    _meant(v, sign, offset, order, edges, log, integers, u_new, x)


@kernel
def _dnc_step(u, y, o, u_new, x, sign, offset, order, shown, c, M, usage, L, p, w, w_r, edges, log, integers, W_x,
              W_h, b, W_xi, b_xi, W, b_v, squashed):
    v, shown_new, c_new, M_new, usage_new, L_new, p_new, w_new, w_r_new = _dnc_advance(
        _seen(u, y, o, sign, offset, order, c.dtype), shown, c, M, usage, L, p, w, w_r, W_x, W_h, b, W_xi, b_xi, W, b_v,
        squashed
    )
    shown[:], c[:], M[:], usage[:], L[:], p[:], w[:], w_r[:] = (
        shown_new, c_new, M_new, usage_new, L_new, p_new, w_new, w_r_new
    )
    _meant(v[0], sign, offset, order, edges, log, integers, u_new, x)


@kernel
def _seen(u, y, o, sign, offset, order, dtype):
    """X1: the input (1, D + 2); o is 0 with nothing to feed."""
    D = len(order)
    row = np.empty((1, D + 2), dtype)
    for j in range(D):
        i = order[j]
        row[0, j] = o * (offset[i] + sign[i] * u[i])
    row[0, D], row[0, D + 1] = y, o
    return row


@kernel
def _meant(v, sign, offset, order, edges, log, integers, u, x):
    """The query in the user's cube, and its point."""
    for j in range(len(order)):
        i = order[j]
        u[i] = offset[i] + sign[i] * v[j]
    lo, width, low, high = edges[0], edges[1], edges[2], edges[3]
    for i in range(len(x)):
        point = lo[i] + u[i] * width[i]
        if log[i]:
            point = math.exp(point)
        if integers[i]:
            point = math.floor(point)
        x[i] = min(max(point, low[i]), high[i])

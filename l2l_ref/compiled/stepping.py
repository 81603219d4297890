"""Compiled twin of ``Stepper`` in learned/stepping.py: a whole step of ask and tell in one kernel.

That file is the definition; a difference is a bug in this one. What is called with counts here, and what is returned
more so: the state is changed in place, and the caller's arrays are filled.
"""

import numpy as np

from .jit import kernel, lean_kernel
from .proposer import _advance, _dnc_advance


class Stepper:
    """Parameters, methods and results are those of the original."""

    def __init__(self, proposer, box):
        self._proposer, self._box = proposer, box
        self._kernel = _lstm_step if proposer.cell == "lstm" else _dnc_step
        self._nothing, self._params = np.zeros(proposer.dim), None

    def start(self, symmetry):
        state = self._proposer.start()
        self._state = state if self._proposer.cell == "lstm" else (state.h, state.c, *state.memory)
        self._symmetry, self._params = symmetry, None

    def step(self, u=None, y=0.0):
        if self._params is not self._proposer.params:  # others were assigned
            self._collect()
        u_new, x = np.empty(len(self._nothing)), np.empty(self._box.dim)
        if u is None:
            self._kernel(self._nothing, 0.0, 0.0, u_new, x, *self._arguments)
        else:
            self._kernel(u, y, 1.0, u_new, x, *self._arguments)
        return u_new, x

    def _collect(self):
        """What the kernel gets at each step."""
        p = self._proposer
        cell, W, b_v = p.params_as(np.float32)
        weights = cell if p.cell == "lstm" else (*cell.controller, cell.W_xi, cell.b_xi)
        self._arguments = (*self._symmetry.table, *self._state, *self._box.table, *weights, W, b_v,
                           p.output == "sigmoid")
        self._params = p.params


@kernel
def _lstm_step(u, y, o, u_new, x, sign, offset, order, h, c, edges, log, integers, W_x, W_h, b, W, b_v, squashed):
    v, h_new, c_new = _advance(_seen(u, y, o, sign, offset, order, c.dtype), h, c, W_x, W_h, b, W, b_v, squashed)
    h[:], c[:] = h_new, c_new
    _meant(v[0], sign, offset, order, edges, log, integers, u_new, x)


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


@lean_kernel
def _meant(v, sign, offset, order, edges, log, integers, u, x):
    """The query in the user's cube, and its point."""
    for j in range(len(order)):
        i = order[j]
        u[i] = offset[i] + sign[i] * v[j]
    lo, width, low, high = edges[0], edges[1], edges[2], edges[3]
    for i in range(len(x)):
        point = lo[i] + u[i] * width[i]
        if log[i]:
            point = np.exp(point)
        if integers[i]:
            point = np.floor(point)
        x[i] = min(max(point, low[i]), high[i])

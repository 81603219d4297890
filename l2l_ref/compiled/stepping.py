"""A whole step of ask and tell in one kernel.

Original: learned/stepping.py. It is the definition; a difference is a bug in this file.

The overhead of the call dominates here: numba spends about 50 ns per array argument and more per returned array. So
each layer is packed into one array (bias last), the state is updated in place, and results are written into the
caller's arrays.
"""

import numpy as np

from .arguments import fit, shape_of
from .jit import kernel, kernel_without_refcounts
from .propose import _dnc_propose, _propose, _shared_propose

SAME = 1e-9  # as in the original


class Stepper:
    """See the original for parameters, methods and results."""

    def __init__(self, proposer, box):
        self._proposer, self._box = proposer, box.table
        self._no_input, self._dim, self._params = np.zeros(proposer.dim), box.dim, None
        self._whole = box.whole

    def start(self, symmetry):
        state = self._proposer.initial_state()
        self._state = (state.h, state.c, *state.memory) if self._proposer.cell == "dnc" else state
        self._symmetry = symmetry.table

    def step(self, u=None, y=0.0):
        if self._params is not self._proposer.params:  # the user has assigned new ones
            self._pack_weights()
        u_new, x = np.empty(len(self._no_input)), np.empty(self._dim)
        fed = (self._no_input, 0.0, 0.0) if u is None else (u, y, 1.0)
        KERNELS[self._proposer.cell](*fed, u_new, x, self._symmetry, *self._state, self._box, *self._weights)
        return u_new, self._whole(x)

    def __getstate__(self):
        return self.__dict__ | {"_weights": None, "_params": None}

    def _pack_weights(self):
        """Set ``_weights`` to the weights in the form that the kernel takes."""
        p = self._proposer
        cell, W, b_v = p.params_as(np.float32)
        layers = [cell.controller, (cell.W_xi, cell.b_xi)] if p.cell == "dnc" else [cell]
        self._weights = *map(np.vstack, (*layers, (W, b_v))), p.output == "sigmoid"
        self._params = p.params


@kernel
def _lstm_step(u, y, o, u_new, x, symmetry, h, c, box, weights, out, squashed):
    D, S = symmetry.shape[1] + 2, len(out) - 1
    v, h_new, c_new = _propose(_network_input(u, y, o, symmetry, c.dtype), h, c, weights[:D], weights[D:-1],
                               weights[-1], out[:S], out[S], squashed)
    h[:], c[:] = h_new, c_new
    _from_network(v[0], symmetry, box, u_new, x)


@kernel
def _shared_step(u, y, o, u_new, x, symmetry, h, c, p, q, k, code, box, weights, out, squashed):
    D, S = code.shape[2] + 6, len(out) - 1
    v, h_new, c_new, p_new, q_new, k_new = _shared_propose(
        _network_input(u, y, o, symmetry, c.dtype), h, c, p, q, k, code, weights[:D], weights[D:-1],
        weights[-1], out[:S], out[S], squashed
    )
    h[:], c[:], p[:], q[:], k[:] = h_new, c_new, p_new, q_new, k_new
    _from_network(v[0], symmetry, box, u_new, x)


@kernel
def _dnc_step(u, y, o, u_new, x, symmetry, cell_output, c, M, usage, L, p, w, w_r, box, weights, interface, out,
              squashed):
    D, H, S = len(weights) - 1 - c.shape[1], len(interface) - 1, len(out) - 1
    v, cell_output_new, c_new, M_new, usage_new, L_new, p_new, w_new, w_r_new = _dnc_propose(
        _network_input(u, y, o, symmetry, c.dtype), cell_output, c, M, usage, L, p, w, w_r, weights[:D],
        weights[D:-1], weights[-1], interface[:H], interface[H], out[:S], out[S], squashed
    )
    cell_output[:], c[:], M[:], usage[:], L[:], p[:], w[:], w_r[:] = (
        cell_output_new, c_new, M_new, usage_new, L_new, p_new, w_new, w_r_new
    )
    _from_network(v[0], symmetry, box, u_new, x)


@kernel
def _network_input(u, y, o, symmetry, dtype):
    """X1: the input (1, D + 2) of the network; o is 0 when there is nothing to feed, else 1."""
    sign, offset, order = symmetry[0], symmetry[1], symmetry[2]
    D = len(order)
    row = np.empty((1, D + 2), dtype)
    for j in range(D):
        i = int(order[j])
        row[0, j] = o * (offset[i] + sign[i] * u[i])
    row[0, D], row[0, D + 1] = y, o
    return row


@kernel_without_refcounts
def _from_network(v, symmetry, box, u, x):
    """Write the query v as u (D,) in the user's cube, and as x (d,), the point of the user's box."""
    sign, offset, order = symmetry[0], symmetry[1], symmetry[2]
    for j in range(len(order)):
        i = int(order[j])
        u[i] = offset[i] + sign[i] * v[j]
    lo, width, low, high, log, integers = box[0], box[1], box[2], box[3], box[4], box[5]
    for i in range(len(x)):
        point = lo[i] + u[i] * width[i]
        if log[i]:
            point = np.exp(point)
        if integers[i]:
            point = np.floor(point)
        x[i] = min(max(point, low[i]), high[i])


def is_useless(rows, count, u, radius, median):
    # Called at each ask: `fit` would take longer than all the rest.
    if not (type(rows) is type(u) is np.ndarray and rows.dtype == u.dtype == np.float64 and rows.flags.writeable
            and rows.ndim == 2 and u.ndim == 1 and 0 <= count < len(rows) and 1 < rows.shape[1] <= len(u) + 1):
        raise ValueError("rows, u: expected writable float64 arrays (more than count, d + 1) and (d or more,)")
    return _is_useless(rows, count, u, radius, median)


def distances(rows, points):
    """rows (N, d + 1), points (n, d) -> (n,)."""
    N, columns = shape_of("rows", rows, 2)
    n, d = shape_of("points", points, 2)
    if columns < d:
        raise ValueError(f"rows: expected {d} columns or more, got {columns}")
    rows, points = fit(np.dtype(np.float64), ("rows", rows, (N, columns)), ("points", points, (n, d)))
    return _distances(rows, points)


@kernel_without_refcounts
def _is_useless(rows, count, u, radius, median):
    d = rows.shape[1] - 1
    rows[count, d] = np.inf
    for j in range(d):
        rows[count, j] = u[j]
    for i in range(count):
        far = 0.0
        for j in range(d):
            far = max(far, abs(rows[i, j] - u[j]))
        if far <= SAME or far <= radius and rows[i, d] > median:
            return True
    return False


@kernel
def _distances(rows, points):
    far = np.empty(len(points))
    for k in range(len(points)):
        least = np.inf
        for i in range(len(rows)):
            most = 0.0
            for j in range(points.shape[1]):
                most = max(most, abs(rows[i, j] - points[k, j]))
            least = min(least, most)
        far[k] = least
    return far


KERNELS = {"lstm": _lstm_step, "dnc": _dnc_step, "shared": _shared_step}

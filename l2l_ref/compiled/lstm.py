"""The LSTM cell for batches, compiled: NumPy's passes over memory cost more there than the arithmetic.

Original: ops/lstm.py. It is the definition, with the equations L1 to L5; a difference is a bug in this file.

The rows are cut into tiles that are small enough for BLAS to start no threads of its own. A part is a few tiles, and
each thread takes several parts. Sums over rows are taken in the order of the rows, so the result does not depend on
the number of threads.
"""

from typing import NamedTuple

import numpy as np

from .arguments import fit, precision, require_cache, shape_of
from .jit import GEMM_SIZE, kernel, kernel_without_refcounts, sigmoid, tanh
from .threads import run_rows

PART = 64  # rows that a thread works on at a time


class LSTMCache(NamedTuple):
    x: np.ndarray       # (N, D)
    h: np.ndarray       # (N, H), before the step
    c: np.ndarray       # (N, H), before the step
    params: tuple
    gates: np.ndarray   # (N, 4H), i f g o
    tanh_c: np.ndarray  # (N, H), tanh(c')


def lstm_cell(x, state, params, threads=None):
    """One step. x (N, D), state (h, c) of (N, H), params -> state', cache."""
    h, c = state
    W_x, W_h, b = params
    (N, D), (H, _) = shape_of("x", x, 2), shape_of("W_h", W_h, 2)
    x, h, c, W_x, W_h, b = fit(precision(x, h, W_h), ("x", x, (N, D)), ("h", h, (N, H)), ("c", c, (N, H)),
                               ("W_x", W_x, (D, 4 * H)), ("W_h", W_h, (H, 4 * H)), ("b", b, (4 * H,)))
    params = type(params)(W_x, W_h, b)
    gates = np.empty((N, 4 * H), h.dtype)
    h_new, c_new, tanh_c = (np.empty_like(h) for _ in range(3))
    run_rows(_forward_part, N, PART, W_x.size + W_h.size, threads, x, h, c, W_x, W_h, b, gates, h_new, c_new, tanh_c)
    return type(state)(h_new, c_new), LSTMCache(x, h, c, params, gates, tanh_c)


def lstm_cell_backward(d_state_new, cache, threads=None):
    """d_state' (d_h', d_c') of (N, H) -> d_x (N, D), d_state (d_h, d_c), d_params."""
    require_cache(cache, LSTMCache)
    x, h, c, params, gates, tanh_c = cache
    W_x, W_h, b = params
    d_h_new, d_c_new = d_state_new
    d_h_new, d_c_new = fit(h.dtype, ("d_h", d_h_new, h.shape), ("d_c", d_c_new, c.shape))
    N, parts = len(h), -(-len(h) // PART)
    d_x, d_h, d_c, d_a = (np.empty_like(a) for a in (x, h, c, gates))
    d_W_x, d_W_h, d_b = (np.zeros((parts, *a.shape), a.dtype) for a in params)
    run_rows(_backward_part, N, PART, 2 * (W_x.size + W_h.size), threads, x, h, c, W_x, W_h, gates, tanh_c,
             d_h_new, d_c_new, d_a, d_x, d_h, d_c, d_W_x, d_W_h, d_b)
    return d_x, type(d_state_new)(d_h, d_c), type(params)(*(a.sum(axis=0) for a in (d_W_x, d_W_h, d_b)))


# ------------------------------------------------------------------------------------------- the kernels


@kernel
def _tile(D, H):
    """The number of rows in one matrix product."""
    return max(1, min(PART, GEMM_SIZE // (4 * H * max(D, H, PART))))


@kernel
def _outer(a, d_a, tile, out):
    """a^T d_a (D, 4H) for the rows given, ``tile`` rows of the result at a time."""
    columns = np.ascontiguousarray(a.T)
    for lo in range(0, len(columns), tile):
        hi = min(lo + tile, len(columns))
        np.dot(columns[lo:hi], d_a, out[lo:hi])


@kernel
def _forward_part(first_part, stride, x, h, c, W_x, W_h, b, gates, h_new, c_new, tanh_c):
    N, H = h.shape
    tile = _tile(x.shape[1], H)
    from_x = np.empty((PART, 4 * H), gates.dtype)
    for part in range(first_part * PART, N, stride * PART):
        end = min(part + PART, N)
        for lo in range(part, end, tile):
            hi = min(lo + tile, end)
            np.dot(h[lo:hi], W_h, gates[lo:hi])                      # L1
            np.dot(x[lo:hi], W_x, from_x[lo - part : hi - part])     # L1
        _gates(part, end, from_x, b, c, gates, c_new, tanh_c, h_new)


@kernel_without_refcounts
def _gates(start, end, from_x, b, c, gates, c_new, tanh_c, h_new):
    """L1 to L5 for the rows start..end.

    Of L1, gates (N, 4H) holds h W_h on entry, and from_x (end - start, 4H) holds x W_x.
    """
    H = c.shape[1]
    for n in range(start, end):
        a, a_x = gates[n], from_x[n - start]
        for j in range(4 * H):
            a[j] += a_x[j] + b[j]                                    # L1
        for j in range(2 * H):
            a[j] = sigmoid(a[j])                                     # L2
        for j in range(2 * H, 3 * H):
            a[j] = tanh(a[j])                                        # L3
        for j in range(3 * H, 4 * H):
            a[j] = sigmoid(a[j])                                     # L2
        i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        c_n, c_new_n, q, h_new_n = c[n], c_new[n], tanh_c[n], h_new[n]
        for j in range(H):
            c_new_n[j] = f[j] * c_n[j] + i[j] * g[j]                 # L4
        for j in range(H):
            q[j] = tanh(c_new_n[j])
            h_new_n[j] = o[j] * q[j]                                 # L5


@kernel
def _backward_part(first_part, stride, x, h, c, W_x, W_h, gates, tanh_c, d_h_new, d_c_new, d_a, d_x, d_h, d_c, d_W_x,
                   d_W_h, d_b):
    """Write d_a, d_x, d_h and d_c of the rows, and d_W_x, d_W_h and d_b of the parts, which must be zero on entry."""
    N, H = h.shape
    tile = _tile(x.shape[1], H)
    back_h, back_x = np.ascontiguousarray(W_h.T), np.ascontiguousarray(W_x.T)
    for part in range(first_part * PART, N, stride * PART):
        end, k_part = min(part + PART, N), part // PART
        _gates_backward(part, end, gates, c, tanh_c, d_h_new, d_c_new, d_a, d_c, d_b[k_part])
        for lo in range(part, end, tile):
            hi = min(lo + tile, end)
            np.dot(d_a[lo:hi], back_h, d_h[lo:hi])                   # L1
            np.dot(d_a[lo:hi], back_x, d_x[lo:hi])                   # L1
        _outer(h[part:end], d_a[part:end], tile, d_W_h[k_part])      # L1
        _outer(x[part:end], d_a[part:end], tile, d_W_x[k_part])      # L1


@kernel_without_refcounts
def _gates_backward(start, end, gates, c, tanh_c, d_h_new, d_c_new, d_a, d_c, d_b):
    """L5 to L1 backward for the rows start..end: write d_a and d_c, and add to d_b (4H,)."""
    H, one = c.shape[1], c.dtype.type(1)
    for n in range(start, end):
        i, f, g, o = gates[n, :H], gates[n, H : 2 * H], gates[n, 2 * H : 3 * H], gates[n, 3 * H :]
        d_i, d_f, d_g, d_o = d_a[n, :H], d_a[n, H : 2 * H], d_a[n, 2 * H : 3 * H], d_a[n, 3 * H :]
        c_n, q, d_h_n, d_c_n, d_before = c[n], tanh_c[n], d_h_new[n], d_c_new[n], d_c[n]
        for j in range(H):
            d_c_j = d_c_n[j] + d_h_n[j] * o[j] * (one - q[j] * q[j])  # L5
            d_i[j] = d_c_j * g[j] * i[j] * (one - i[j])              # L4, L2
            d_f[j] = d_c_j * c_n[j] * f[j] * (one - f[j])            # L4, L2
            d_g[j] = d_c_j * i[j] * (one - g[j] * g[j])              # L4, L3
            d_o[j] = d_h_n[j] * q[j] * o[j] * (one - o[j])           # L5, L2
            d_before[j] = d_c_j * f[j]                               # L4
        a = d_a[n]
        for j in range(4 * H):
            d_b[j] += a[j]                                           # L1

"""One proposal without a cache (X2 to X4), compiled: by an LSTM, by a DNC, or by an LSTM that coordinates share.

Original: learned/propose.py. It is the definition, with the equations; ops/ and learned/shared_cell.py define the
cells; a difference is a bug in this file.

One kernel serves both a single step and a batch. The steps of ask and tell, where the overhead per argument matters,
are in stepping.py.
"""

import numpy as np

from .arguments import fit, precision, shape_of
from .heads import _access_part, memory_operands
from .jit import GEMM_SIZE, kernel, kernel_without_refcounts, product, sigmoid, tanh


def propose_inference(u, state, params, output="sigmoid"):
    """One step of a proposer with an LSTM cell. u (B, d + 2), state -> x (B, d), state'."""
    (W_x, W_h, b), W, b_v = params
    h, c = state
    (B, H), (D, _), (_, d) = shape_of("state.h", h, 2), shape_of("W_x", W_x, 2), shape_of("W", W, 2)
    u, h, c, W_x, W_h, b, W, b_v = fit(
        precision(u, W), ("u", u, (B, D)), ("state.h", h, (B, H)), ("state.c", c, (B, H)), ("W_x", W_x, (D, 4 * H)),
        ("W_h", W_h, (H, 4 * H)), ("b", b, (4 * H,)), ("W", W, (H, d)), ("b_v", b_v, (d,)))
    x, h, c = _propose(u, h, c, W_x, W_h, b, W, b_v, output == "sigmoid")
    return x, type(state)(h, c)


def dnc_propose_inference(u, state, params, output="sigmoid"):
    """One step of a proposer with a DNC. u (B, d + 2), state -> x (B, d), state'."""
    (controller, W_xi, b_xi), W, b_v = params
    cell_output, c, memory = state
    W_x, W_h, b = controller
    (B, H), (inputs, _), (d,) = shape_of("state.c", c, 2), shape_of("W_x", W_x, 2), shape_of("b_v", b_v, 1)
    (_, N, word), (_, R, _) = shape_of("state.memory.M", memory.M, 3), shape_of("state.memory.w_r", memory.w_r, 3)
    S, D, interface = H + R * word, inputs - R * word, R * word + 3 * word + 5 * R + 3
    u, cell_output, c, *arrays = fit(
        precision(u, W), ("u", u, (B, D)), ("state.h", cell_output, (B, S)), ("state.c", c, (B, H)),
        *memory_operands(memory, B, N, word, R, "state.memory."), ("W_x", W_x, (inputs, 4 * H)),
        ("W_h", W_h, (H, 4 * H)), ("b", b, (4 * H,)), ("W_xi", W_xi, (H, interface)), ("b_xi", b_xi, (interface,)),
        ("W", W, (S, d)), ("b_v", b_v, (d,)))
    x, cell_output, c, *after = _dnc_propose(u, cell_output, c, *arrays, output == "sigmoid")
    return x, type(state)(cell_output, c, type(memory)(*after))


def shared_propose_inference(u, state, params, output="sigmoid"):
    """One step of a proposer with an LSTM that coordinates share. u (B, d + 2), state -> x (B, d), state'."""
    (W_x, W_h, b), W, b_v = params
    (B, d, H), (inputs, _), (_, _, K) = (shape_of("state.h", state.h, 3), shape_of("W_x", W_x, 2),
                                         shape_of("state.code", state.code, 3))
    if inputs != K + 6:
        raise ValueError(f"W_x: expected {K + 6} rows, got {inputs}")
    u, *arrays = fit(
        precision(u, W), ("u", u, (B, d + 2)), ("state.h", state.h, (B, d, H)), ("state.c", state.c, (B, d, H)),
        ("state.p", state.p, (B, d)), ("state.q", state.q, (B,)),
        ("state.k", state.k, (B,)), ("state.code", state.code, (B, d, K)), ("W_x", W_x, (inputs, 4 * H)),
        ("W_h", W_h, (H, 4 * H)), ("b", b, (4 * H,)), ("W", W, (H, 1)), ("b_v", b_v, (1,)))
    x, *after = _shared_propose(u, *arrays, output == "sigmoid")
    return x, type(state)(*after, arrays[5])


@kernel
def _propose(u, h, c, W_x, W_h, b, W, b_v, squashed):
    B, (H, d) = len(u), W.shape
    x, h_new, c_new = np.empty((B, d), u.dtype), np.empty_like(h), np.empty_like(c)
    rows = max(1, GEMM_SIZE // (4 * H * H))
    A = np.empty((min(rows, B), 4 * H), u.dtype)
    for first in range(0, B, rows):
        n = min(rows, B - first)
        if n > 1:
            np.dot(h[first : first + n], W_h, A[:n])
        for m in range(n):
            r, a = first + m, A[m]
            if n > 1:
                for j in range(4 * H):
                    a[j] += b[j]                                     # L1
            else:
                for j in range(4 * H):
                    a[j] = b[j]                                      # L1
                product(h[r], W_h, a)                                # L1
            product(u[r], W_x, a)                                    # L1
            _gates(a, c[r], c_new[r], h_new[r])
            _query(h_new[r], W, b_v, squashed, x[r])
    return x, h_new, c_new


@kernel_without_refcounts
def _gates(a, c, c_new, h_new):
    """L2 to L5 for one row."""
    H = len(c)
    i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
    for j in range(H):
        c_new[j] = sigmoid(f[j]) * c[j] + sigmoid(i[j]) * tanh(g[j])  # L2 to L4
    for j in range(H):
        h_new[j] = sigmoid(o[j]) * tanh(c_new[j])                    # L2, L5


@kernel_without_refcounts
def _query(h, W, b_v, squashed, x):
    """X3 and X4 for one row."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for j in range(len(x)):
        x[j] = b_v[j]                                                # X3
    product(h, W, x)                                                 # X3
    for j in range(len(x)):
        x[j] = sigmoid(x[j]) if squashed else min(max(x[j], zero), one)  # X4


@kernel
def _shared_propose(u, h, c, p, q, k, code, W_x, W_h, b, W, b_v, squashed):
    (B, d, H), inputs = h.shape, len(W_x)
    x, h_new, c_new = np.empty((B, d), u.dtype), np.empty_like(h), np.empty_like(c)
    p_new, q_new, k_new = np.empty_like(p), np.empty_like(q), np.empty_like(k)
    r, A = np.empty(inputs, u.dtype), np.empty((d, 4 * H), u.dtype)
    half, r[5] = u.dtype.type(0.5), np.log(d)                        # X9
    for n in range(B):
        y, o = u[n, d], u[n, d + 1]
        better = o > half and (k[n] < half or y < q[n])              # X8
        q_new[n] = y if better else q[n]                             # X8
        k_new[n] = k[n] + o - k[n] * o                               # X8
        r[2], r[3], r[4] = y, q_new[n], o                            # X9
        np.dot(h[n], W_h, A)                                         # X10
        for i in range(d):
            p_new[n, i] = u[n, i] if better else p[n, i]             # X8
            r[0], r[1] = u[n, i] - half * o, p_new[n, i] - half * k_new[n]  # X9
            r[6:] = code[n, i]                                       # X9
            a = A[i]
            for j in range(4 * H):
                a[j] += b[j]                                         # X10
            product(r, W_x, a)                                       # X10
            _gates(a, c[n, i], c_new[n, i], h_new[n, i])             # X10
        for j in range(H // 2):
            mean = u.dtype.type(0)
            for i in range(d):
                mean += h_new[n, i, j]
            for i in range(d):
                h_new[n, i, j] = mean / u.dtype.type(d)              # X11
        for i in range(d):
            _query(h_new[n, i], W, b_v, squashed, x[n, i : i + 1])
    return x, h_new, c_new, p_new, q_new, k_new


@kernel
def _dnc_propose(u, cell_output, c, M, usage, L, p, w, w_r, W_x, W_h, b, W_xi, b_xi, W, b_v, squashed):
    (B, D), (N, word), R, H = u.shape, M.shape[1:], w_r.shape[1], c.shape[1]
    x, a, xi = np.empty((B, len(b_v)), u.dtype), np.empty(4 * H, u.dtype), np.empty((B, len(b_xi)), u.dtype)
    cell_output_new, c_new = np.empty_like(cell_output), np.empty_like(c)
    for n in range(B):
        a[:] = b                                                     # L1
        product(u[n], W_x[:D], a)                                    # Z1, L1
        product(cell_output[n, H:], W_x[D:], a)                      # Z1, L1
        product(cell_output[n, :H], W_h, a)                          # L1
        _gates(a, c[n], c_new[n], cell_output_new[n, :H])            # Z2
        xi[n] = b_xi                                                 # Z3
        product(cell_output_new[n, :H], W_xi, xi[n])                 # Z3
    after = (np.empty_like(M), np.empty_like(usage), np.empty_like(L), np.empty_like(p), np.empty_like(w),
             np.empty_like(w_r))
    read, order = np.empty((B, R, word), u.dtype), np.empty((B, N), np.int64)
    _access_part(0, 1, xi, M, usage, L, p, w, w_r, *after, read, np.empty((B, 2, N), u.dtype),
                 np.empty((B, 1 + R), u.dtype), np.empty((B, 1 + R, N), u.dtype), np.empty((B, 1 + R, N), u.dtype),
                 order, np.empty((B, N), u.dtype), np.empty((B, 2, R, N), u.dtype))  # Z4
    cell_output_new[:, H:] = read.reshape(B, R * word)               # Z5
    for n in range(B):
        _query(cell_output_new[n], W, b_v, squashed, x[n])
    return x, cell_output_new, c_new, *after

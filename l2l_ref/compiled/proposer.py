"""Compiled twin of ``advance`` in learned/black_box.py: X2 to X4 for an LSTM cell, L1 to L5.

That file is the definition, with the equations; a difference is a bug in this one. One kernel serves the single step
of ask and tell, where what it is called with counts, and batches.
"""

import numpy as np

from .jit import GEMM_SIZE, kernel, sigmoid, tanh


def advance(u, state, params, output="sigmoid"):
    """One step without a cache: u (B, d + 2), state -> x (B, d), state'."""
    (W_x, W_h, b), W, b_v = params
    h, c = state
    if len(h) != len(u) or u.shape[1] != len(W_x):
        raise ValueError(f"u: expected shape ({len(h)}, {len(W_x)}), got {u.shape}")
    x, h, c = _advance(u, h, c, W_x, W_h, b, W, b_v, output == "sigmoid")
    return x, type(state)(h, c)


@kernel
def _product(z, W, a):
    """a + z W, into a: rows of W one after the other, which LLVM vectorises and no BLAS has to be called for."""
    for k in range(len(z)):
        z_k, W_k = z[k], W[k]
        for j in range(len(a)):
            a[j] += z_k * W_k[j]


@kernel
def _advance(u, h, c, W_x, W_h, b, W, b_v, squashed):
    B, (H, d) = len(u), W.shape
    x, h_new, c_new = np.empty((B, d), u.dtype), np.empty_like(h), np.empty_like(c)
    rows = max(1, GEMM_SIZE // (4 * H * H))
    A = np.empty((min(rows, B), 4 * H), u.dtype)
    zero, one = u.dtype.type(0), u.dtype.type(1)
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
                _product(h[r], W_h, a)                               # L1
            _product(u[r], W_x, a)                                   # L1
            h_r, c_r, before, x_r = h_new[r], c_new[r], c[r], x[r]
            i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
            for j in range(H):
                c_r[j] = sigmoid(f[j]) * before[j] + sigmoid(i[j]) * tanh(g[j])  # L2 to L4
            for j in range(H):
                h_r[j] = sigmoid(o[j]) * tanh(c_r[j])                # L2, L5
            for j in range(d):
                x_r[j] = b_v[j]                                      # X3
            _product(h_r, W, x_r)                                    # X3
            if squashed:
                for j in range(d):
                    x_r[j] = sigmoid(x_r[j])                         # X4
            else:
                for j in range(d):
                    x_r[j] = min(max(x_r[j], zero), one)             # X4
    return x, h_new, c_new

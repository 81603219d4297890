"""The memory access of a differentiable neural computer, compiled, with its backward pass.

Original: ops/heads.py. It is the definition, together with ops/addressing.py, with the equations J1 to J5 and W1 to
W10; a difference is a bug in this file. Only real numbers, float32 or float64.

Every row has a memory of its own, so each thread takes several rows. A part of `PART` rows goes through one equation
after the other while its memories are in cache: consecutive operations on one row depend on each other, but the
processor can work on several rows at once. What the backward pass needs is stored rather than recomputed: the memory
before and after the step, which the states hold anyway, and (6 + 4 R) N numbers per row.
"""

import math
from typing import NamedTuple

import numpy as np

from ..ops.addressing import EPSILON
from .arguments import fit, precision, require_cache, shape_of
from .jit import dots, exp, kernel_reassociating, kernel_without_refcounts, log, product, sigmoid
from .threads import run_rows

PART = 16  # rows that a thread works on at a time
PASSES = 10  # one access takes about this many times N (N + W) (1 + R) multiplications


class AccessCache(NamedTuple):
    xi: np.ndarray        # (B, S), its fields brought into their ranges
    before: tuple         # the Memory before the step
    after: tuple          # the Memory after the step
    norm_M: np.ndarray    # (B, 2, N), norms of the slots before and after the write
    norm_key: np.ndarray  # (B, 1 + R), norms of the write key and the read keys
    s: np.ndarray         # (B, 1 + R, N)
    c: np.ndarray         # (B, 1 + R, N)
    order: np.ndarray     # (B, N)
    a: np.ndarray         # (B, N)
    linked: np.ndarray    # (B, 2, R, N), W9: forward and backward
    grad_through_write: bool


def memory_access(xi, memory, grad_through_write=True, threads=None):
    """J1 to J5. xi (B, interface size), memory -> (what is read (B, R, W), memory'), cache."""
    M, u, L, p, w, w_r = memory
    (B, N, W), (_, R, _) = shape_of("M", M, 3), shape_of("w_r", w_r, 3)
    dtype = precision(xi, M)
    xi, *before = fit(dtype, ("xi", xi, (B, R * W + 3 * W + 5 * R + 3)), *memory_operands(memory, B, N, W, R))
    xi, before = xi.copy(), type(memory)(*before)
    after = type(memory)(*map(np.empty_like, before))
    read = np.empty((B, R, W), dtype)
    norm_M, norm_key, s = np.empty((B, 2, N), dtype), np.empty((B, 1 + R), dtype), np.empty((B, 1 + R, N), dtype)
    c, order, a = np.empty_like(s), np.empty((B, N), np.int64), np.empty((B, N), dtype)
    linked = np.empty((B, 2, R, N), dtype)
    cache = AccessCache(xi, before, after, norm_M, norm_key, s, c, order, a, linked, grad_through_write)
    run_rows(_access_part, B, PART, PASSES * N * (N + W) * (1 + R), threads, xi, *before, *after, read, norm_M,
             norm_key, s, c, order, a, linked)
    return (read, after), cache


def memory_access_backward(d_out, cache, threads=None):
    """(d_read (B, R, W), d_memory') -> d_xi (B, interface size), d_memory."""
    require_cache(cache, AccessCache)
    d_read, d_after = d_out
    xi, before, after, norm_M, norm_key, s, c, order, a, linked, grad_through_write = cache
    (B, N, W), R = before.M.shape, before.w_r.shape[1]
    d_read, *d_after = fit(xi.dtype, ("d_read", d_read, (B, R, W)), *memory_operands(d_after, B, N, W, R, "d_"))
    # The arrays start as d_memory' and are turned into d_memory in place.
    d_memory = type(before)(*(d.copy() for d in d_after))
    d_xi = np.zeros_like(xi)
    run_rows(_access_backward_part, B, PART, 2 * PASSES * N * (N + W) * (1 + R), threads, xi, *before, *after, norm_M,
             norm_key, s, c, order, a, linked, grad_through_write, d_read, *d_memory, d_xi,
             np.empty((5, B, N), xi.dtype))
    return d_xi, d_memory


def memory_operands(memory, B, N, W, R, prefix=""):
    """The arrays of a Memory with the shapes that they must have, for `fit`."""
    M, u, L, p, w, w_r = memory
    shapes = {"M": (M, (B, N, W)), "u": (u, (B, N)), "L": (L, (B, N, N)), "p": (p, (B, N)), "w": (w, (B, N)),
              "w_r": (w_r, (B, R, N))}
    return [(prefix + name, array, shape) for name, (array, shape) in shapes.items()]


# ------------------------------------------------------------------------------------------- the kernels


@kernel_without_refcounts
def _offsets(R, W):
    """Where the fields of xi begin, after the read keys, which begin at 0, in the order of the interfaces."""
    read_strength = R * W
    mode = read_strength + R
    write_key = mode + 3 * R
    write_strength = write_key + W
    erase = write_strength + 1
    write = erase + W
    free = write + W
    return read_strength, mode, write_key, write_strength, erase, write, free, free + R, free + R + 1


@kernel_without_refcounts
def _into_ranges(xi, R, W):
    """J1 for one row, in place."""
    read_strength, mode, write_key, write_strength, erase, write, free, _, gate = _offsets(R, W)
    zero, one = xi.dtype.type(0), xi.dtype.type(1)
    for k in range(R + 1):
        at = read_strength + k if k < R else write_strength
        xi[at] = one + max(xi[at], zero) + log(one + exp(-abs(xi[at])))  # J1: A6
    for r in range(R):
        m = xi[mode + 3 * r : mode + 3 * r + 3]
        most = max(m[0], m[1], m[2])
        for k in range(3):
            m[k] = exp(m[k] - most)                                  # J1: A4
        total = m[0] + m[1] + m[2]
        for k in range(3):
            m[k] /= total                                            # J1: A4
    for k in range(erase, write):
        xi[k] = sigmoid(xi[k])                                       # J1
    for k in range(free, gate + 1):
        xi[k] = sigmoid(xi[k])                                       # J1


@kernel_without_refcounts
def _out_of_ranges(xi, d_xi, R, W):
    """J1 backward for one row: xi holds the fields in their ranges; d_xi, their gradient, becomes that of xi."""
    read_strength, mode, write_key, write_strength, erase, write, free, _, gate = _offsets(R, W)
    one = xi.dtype.type(1)
    for k in range(R + 1):
        at = read_strength + k if k < R else write_strength
        d_xi[at] *= one - exp(one - xi[at])                          # J1: A6
    for r in range(R):
        m, d_m = xi[mode + 3 * r : mode + 3 * r + 3], d_xi[mode + 3 * r : mode + 3 * r + 3]
        mean = m[0] * d_m[0] + m[1] * d_m[1] + m[2] * d_m[2]
        for k in range(3):
            d_m[k] = m[k] * (d_m[k] - mean)                          # J1: A4
    for k in range(erase, write):
        d_xi[k] *= xi[k] * (one - xi[k])                             # J1
    for k in range(free, gate + 1):
        d_xi[k] *= xi[k] * (one - xi[k])                             # J1


@kernel_reassociating
def _norms(M, norm):
    """W1: write the norms of the slots M (N, W) into norm (N,)."""
    for i in range(len(M)):
        row, total = M[i], M.dtype.type(EPSILON)
        for j in range(len(row)):
            total += row[j] * row[j]                                 # W1
        norm[i] = total
    for i in range(len(M)):
        norm[i] = math.sqrt(norm[i])                                 # W1


@kernel_without_refcounts
def _largest(s):
    """The largest entry. Two running maxima are kept, so that a comparison need not wait for the one before."""
    a = b = s.dtype.type(-np.inf)
    for i in range(0, len(s) - 1, 2):
        a, b = max(a, s[i]), max(b, s[i + 1])
    if len(s) % 2:
        a = max(a, s[len(s) - 1])
    return max(a, b)


@kernel_reassociating
def _content(M, norm_M, key, beta, s, c):
    """W1 and W2 for one key of one row: write s and c (N,), and return the norm of the key."""
    total = M.dtype.type(EPSILON)
    for j in range(len(key)):
        total += key[j] * key[j]
    norm_key = math.sqrt(total)
    dots(M, key, s)
    for i in range(len(s)):
        s[i] /= norm_key * norm_M[i]                                 # W1
    most = beta * _largest(s)
    total = M.dtype.type(0)
    for i in range(len(s)):
        c[i] = exp(beta * s[i] - most)                               # W2
    for i in range(len(s)):
        total += c[i]
    for i in range(len(s)):
        c[i] /= total                                                # W2
    return norm_key


@kernel_reassociating
def _content_backward(M, norm_M, key, norm_key, beta, s, c, d_c, scale, d_M, d_key):
    """Add to d_M (N, W) and d_key (W,), and return d_beta. d_c and scale (N,) are overwritten."""
    zero = M.dtype.type(0)
    mean, d_beta = zero, zero
    for i in range(len(s)):
        mean += d_c[i] * c[i]
    for i in range(len(s)):
        d_c[i] = c[i] * (d_c[i] - mean)                              # W2: now d(beta s)
    for i in range(len(s)):
        d_beta += d_c[i] * s[i]                                      # W2
    for i in range(len(s)):
        d_s = d_c[i] * beta                                          # W2
        d_c[i] = d_s / (norm_key * norm_M[i])                        # W1: now d(M key)
        scale[i] = d_s * s[i] / (norm_M[i] * norm_M[i])
    for i in range(len(s)):
        d_dot, scale_i, row, d_row = d_c[i], scale[i], M[i], d_M[i]
        for j in range(len(row)):
            d_row[j] += d_dot * key[j] - scale_i * row[j]            # W1
    product(d_c, M, d_key)                                           # W1
    scale_key = d_beta * beta / (norm_key * norm_key)
    for j in range(len(key)):
        d_key[j] -= scale_key * key[j]                               # W1
    return d_beta


@kernel_without_refcounts
def _sort(u, order):
    """Write the indices that sort u stably into order, by insertion sort: N is small."""
    for k in range(len(u)):
        j = k
        while j > 0 and u[order[j - 1]] > u[k]:
            order[j] = order[j - 1]
            j -= 1
        order[j] = k


@kernel_reassociating
def _access_part(first, stride, xi, M0, u0, L0, p0, w0, w_r0, M1, u1, L1, p1, w1, w_r1, read, norm_M, norm_key, s, c,
                 order, a, linked):
    """J1 to J5 for the parts first, first + stride, ...: arrays ending in 0 are read, those ending in 1 are written."""
    B, N, W = M0.shape
    R = w_r0.shape[1]
    read_strength, mode, write_key, write_strength, erase, write, free, allocation_gate, write_gate = _offsets(R, W)
    zero, one = xi.dtype.type(0), xi.dtype.type(1)
    for part in range(first * PART, B, stride * PART):
        rows = range(part, min(part + PART, B))
        for n in rows:
            _into_ranges(xi[n], R, W)                                # J1
        # J2: where to write
        for n in rows:
            x, u_old, w_old, u = xi[n], u0[n], w0[n], u1[n]
            for i in range(N):
                u[i] = u_old[i] + w_old[i] - u_old[i] * w_old[i]     # W4
            for r in range(R):
                f, w_r = x[free + r], w_r0[n, r]
                for i in range(N):
                    u[i] *= one - f * w_r[i]                         # W3, W4
        for n in rows:
            u, order_n, a_n, before = u1[n], order[n], a[n], one
            _sort(u, order_n)
            for k in range(N):
                i = order_n[k]
                a_n[i] = (one - u[i]) * before                       # W5
                before *= u[i]                                       # W5
        for n in rows:
            _norms(M0[n], norm_M[n, 0])                              # W1
        for n in rows:
            x = xi[n]
            norm_key[n, 0] = _content(M0[n], norm_M[n, 0], x[write_key : write_key + W], x[write_strength], s[n, 0],
                                      c[n, 0])                       # W1, W2
        for n in rows:
            g_a, g_w, w, a_n, c_n = xi[n, allocation_gate], xi[n, write_gate], w1[n], a[n], c[n, 0]
            for i in range(N):
                w[i] = g_w * (g_a * a_n[i] + (one - g_a) * c_n[i])   # W6
        # J3: write
        for n in rows:
            e, v, w = xi[n, erase : erase + W], xi[n, write : write + W], w1[n]
            for i in range(N):
                old, new, w_i = M0[n, i], M1[n, i], w[i]
                for j in range(W):
                    new[j] = old[j] * (one - w_i * e[j]) + w_i * v[j]  # J3
        # J2: temporal links and precedence
        for n in rows:
            w, p_old, p, total = w1[n], p0[n], p1[n], zero
            for i in range(N):
                old, new, w_i = L0[n, i], L1[n, i], w[i]
                for j in range(N):
                    new[j] = (one - w_i - w[j]) * old[j] + w_i * p_old[j]  # W7
                new[i] = 0                                           # W7
            for i in range(N):
                total += w[i]
            for i in range(N):
                p[i] = (one - total) * p_old[i] + w[i]               # W8
        # J4 and J5: read
        for n in rows:
            _norms(M1[n], norm_M[n, 1])                              # W1
        for r in range(R):
            for n in rows:
                x = xi[n]
                norm_key[n, 1 + r] = _content(M1[n], norm_M[n, 1], x[r * W : r * W + W], x[read_strength + r],
                                              s[n, 1 + r], c[n, 1 + r])  # W1, W2
            for n in rows:
                forward, backward = linked[n, 0, r], linked[n, 1, r]
                backward[:] = 0
                dots(L1[n], w_r0[n, r], forward)                     # W9
                product(w_r0[n, r], L1[n], backward)                 # W9
            for n in rows:
                at = mode + 3 * r
                back, content, on = xi[n, at], xi[n, at + 1], xi[n, at + 2]
                w_r, forward, backward, c_r = w_r1[n, r], linked[n, 0, r], linked[n, 1, r], c[n, 1 + r]
                for i in range(N):
                    w_r[i] = back * backward[i] + content * c_r[i] + on * forward[i]  # W10
            for n in rows:
                read[n, r] = 0
                product(w_r1[n, r], M1[n], read[n, r])               # J5


@kernel_reassociating
def _access_backward_part(first, stride, xi, M0, u0, L0, p0, w0, w_r0, M1, u1, L1, p1, w1, w_r1, norm_M, norm_key, s,
                          c, order, a, linked, grad_through_write, d_read, d_M, d_u, d_L, d_p, d_w, d_w_r, d_xi,
                          workspace):
    """J5 to J1 backward for the parts first, first + stride, ....

    On entry d_M to d_w_r are gradients with respect to the memory after the step, on return with respect to the memory
    before it. The workspace is (5, B, N).
    """
    B, N, W = M0.shape
    R = w_r0.shape[1]
    read_strength, mode, write_key, write_strength, erase, write, free, allocation_gate, write_gate = _offsets(R, W)
    zero, one = xi.dtype.type(0), xi.dtype.type(1)
    d_c, d_a, d_forward, d_back, other = workspace[0], workspace[1], workspace[2], workspace[3], workspace[4]
    for part in range(first * PART, B, stride * PART):
        rows = range(part, min(part + PART, B))
        # J5 and J4: the read heads
        for r in range(R):
            at, key = mode + 3 * r, r * W
            for n in rows:
                d_out, d_new, w, d_from_out = d_read[n, r], d_w_r[n, r], w_r1[n, r], other[n]
                dots(M1[n], d_out, d_from_out)                       # J5
                for i in range(N):
                    d_new[i] += d_from_out[i]                        # J5
                for i in range(N):
                    d_row, w_i = d_M[n, i], w[i]
                    for j in range(W):
                        d_row[j] += w_i * d_out[j]                   # J5
            for n in rows:
                d_new, forward, backward, c_r = d_w_r[n, r], linked[n, 0, r], linked[n, 1, r], c[n, 1 + r]
                d_mode_back, d_mode_content, d_mode_on = zero, zero, zero
                for i in range(N):
                    d_mode_back += d_new[i] * backward[i]            # W10
                    d_mode_content += d_new[i] * c_r[i]              # W10
                    d_mode_on += d_new[i] * forward[i]               # W10
                d_xi[n, at], d_xi[n, at + 1], d_xi[n, at + 2] = d_mode_back, d_mode_content, d_mode_on
                back, content, on = xi[n, at], xi[n, at + 1], xi[n, at + 2]
                d_c_n, d_f, d_b = d_c[n], d_forward[n], d_back[n]
                for i in range(N):
                    d_c_n[i], d_f[i], d_b[i] = content * d_new[i], on * d_new[i], back * d_new[i]  # W10
            for n in rows:
                w, d_f, d_b = w_r0[n, r], d_forward[n], d_back[n]
                for i in range(N):
                    d_link, w_i, d_f_i = d_L[n, i], w[i], d_f[i]
                    for j in range(N):
                        d_link[j] += d_f_i * w[j] + w_i * d_b[j]     # W9
                dots(L1[n], d_b, d_w_r[n, r])                        # W9
                product(d_f, L1[n], d_w_r[n, r])                     # W9
            for n in rows:
                x, d_x = xi[n], d_xi[n]
                d_x[read_strength + r] = _content_backward(
                    M1[n], norm_M[n, 1], x[key : key + W], norm_key[n, 1 + r], x[read_strength + r], s[n, 1 + r],
                    c[n, 1 + r], d_c[n], other[n], d_M[n], d_x[key : key + W])  # W1, W2
        # J2: temporal links and precedence
        for n in rows:
            w, d_w_n, p_old, d_p_n, total, mean = w1[n], d_w[n], p0[n], d_p[n], zero, zero
            for i in range(N):
                total += w[i]
                mean += d_p_n[i] * p_old[i]
            for i in range(N):
                d_w_n[i] += d_p_n[i] - mean                          # W8
                d_p_n[i] *= one - total                              # W8
            for i in range(N):
                d_L[n, i, i] = 0                                     # W7
            product(w, d_L[n], d_p_n)                                # W7
            for i in range(N):
                old, d_link, w_i, total = L0[n, i], d_L[n, i], w[i], zero
                for j in range(N):
                    total += d_link[j] * (p_old[j] - old[j])         # W7
                d_w_n[i] += total                                    # W7
                for j in range(N):
                    d_w_n[j] -= d_link[j] * old[j]                   # W7
                for j in range(N):
                    d_link[j] *= one - w_i - w[j]                    # W7
        # J3: the write
        for n in rows:
            e, v, d_e = xi[n, erase : erase + W], xi[n, write : write + W], d_xi[n, erase : erase + W]
            w, d_w_n = w1[n], d_w[n]
            product(w, d_M[n], d_xi[n, write : write + W])           # J3
            for i in range(N):
                old, d_row, w_i, total = M0[n, i], d_M[n, i], w[i], zero
                for j in range(W):
                    total += d_row[j] * (v[j] - old[j] * e[j])       # J3
                d_w_n[i] += total                                    # J3
                for j in range(W):
                    d_e[j] -= d_row[j] * old[j] * w_i                # J3
                for j in range(W):
                    d_row[j] *= one - w_i * e[j]                     # J3
        # J2: where to write
        for n in rows:
            g_a, g_w, a_n, c_n, d_g_a, d_g_w = xi[n, allocation_gate], xi[n, write_gate], a[n], c[n, 0], zero, zero
            d_w_n, d_c_n, d_a_n = d_w[n], d_c[n], d_a[n]
            for i in range(N):
                d_g_w += d_w_n[i] * (g_a * a_n[i] + (one - g_a) * c_n[i])  # W6
                d_g_a += d_w_n[i] * g_w * (a_n[i] - c_n[i])          # W6
            d_xi[n, allocation_gate], d_xi[n, write_gate] = d_g_a, d_g_w
            for i in range(N):
                d_c_n[i] = d_w_n[i] * g_w * (one - g_a)              # W6
                d_a_n[i] = d_w_n[i] * g_w * g_a                      # W6
        for n in rows:
            x, d_x = xi[n], d_xi[n]
            d_x[write_strength] = _content_backward(
                M0[n], norm_M[n, 0], x[write_key : write_key + W], norm_key[n, 0], x[write_strength], s[n, 0], c[n, 0],
                d_c[n], other[n], d_M[n], d_x[write_key : write_key + W])  # W1, W2
        for n in rows:
            u, d_u_n, d_a_n, order_n, before_n, before, later = u1[n], d_u[n], d_a[n], order[n], other[n], one, zero
            for k in range(N):
                i = order_n[k]
                before_n[i] = before
                before *= u[i]
            for k in range(N - 1, -1, -1):
                i = order_n[k]
                d_u_n[i] += before_n[i] * (later - d_a_n[i])         # W5
                later = d_a_n[i] * (one - u[i]) + u[i] * later       # W5
        for n in rows:
            x, d_x, u_old, w_old, d_u_n, d_w_n = xi[n], d_xi[n], u0[n], w0[n], d_u[n], d_w[n]
            for i in range(N):
                union, psi = u_old[i] + w_old[i] - u_old[i] * w_old[i], one
                for r in range(R):
                    psi *= one - x[free + r] * w_r0[n, r, i]         # W3
                for r in range(R):
                    others = one  # the product of all factors except number r; dividing by that one fails if it is 0
                    for q in range(R):
                        if q != r:
                            others *= one - x[free + q] * w_r0[n, q, i]
                    d_keep = d_u_n[i] * union * others               # W4, W3
                    d_x[free + r] -= d_keep * w_r0[n, r, i]          # W3
                    d_w_r[n, r, i] -= d_keep * x[free + r]           # W3
                d_w_n[i] = d_u_n[i] * (one - u_old[i]) * psi if grad_through_write else zero  # W4
                d_u_n[i] *= (one - w_old[i]) * psi                   # W4
        for n in rows:
            _out_of_ranges(xi[n], d_xi[n], R, W)                     # J1

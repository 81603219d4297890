"""The optimizer on running means, compiled: ``advance`` and ``gated_update``.

Original: learned/moments_mlp.py, with the equations C16 to C24 and C28; a difference is a bug in this file.

A step goes over all coordinates three times. `advance` sums their squares for C28, then it moves their running means on
and sums what the features of arrays need. `gated_update` makes the features of the coordinates and runs the network.

Both go by blocks, which are pieces of arrays. Sums over an array are added up block by block, so a result
does not depend on the number of threads. The network runs on tiles that stay in cache. In a tile units and features
come first and coordinates last, so that elementwise loops run over contiguous coordinates.
"""

from functools import lru_cache

import numpy as np

from ..ops.gated_sum import LONGEST
from ..ops.moments import BETAS, BETAS_V, LARGEST, LIMIT, OWN, SHARED
from .arguments import fit, precision, shape_of
from .jit import exp, kernel, kernel_without_refcounts, log, tanh
from .threads import run, worth

BLOCK = 4096    # coordinates in a block
TILE = 128      # coordinates in a tile
K = 7           # directions


# -------------------------------------------------------------------- the two functions of the original


def advance(gradient, state, arrays, threads=None):
    """C28, C19, sums over arrays: gradient, state -> g (n,), m' (3, n), v' (2, n), sums (7, A), how many were held."""
    dtype = precision(gradient, state.m, state.v)
    (n,), blocks = shape_of("gradient", gradient, 1), _blocks(arrays, gradient)
    gradient, m, v = fit(dtype, ("gradient", gradient, (n,)), ("state.m", state.m, (len(BETAS), n)),
                         ("state.v", state.v, (len(BETAS_V), n)))
    (S_1,) = fit(dtype, ("state.S_1", state.S_1, (len(arrays.size),)))
    squares = np.empty((len(blocks), 1))
    run(_squares_part, len(blocks), worth(threads, 2 * n), blocks, gradient, squares)
    size, limit = np.sqrt(_per_array(squares, blocks, arrays)[0] / arrays.size), LIMIT * S_1.astype(np.float64)
    factor = np.ones_like(size)
    np.divide(limit, size, out=factor, where=(size > limit) & (limit > 0))
    g, m_new, v_new = np.empty_like(gradient), np.empty_like(m), np.empty_like(v)
    sums, held = np.empty((len(blocks), 7)), np.zeros(len(blocks), np.int64)
    run(_advance_part, len(blocks), worth(threads, 16 * n), blocks, gradient, factor.astype(dtype), g, m, v, m_new,
        v_new, np.array([*BETAS, *BETAS_V], dtype), sums, held)
    return g, m_new, v_new, _per_array(sums, blocks, arrays), sum(held.tolist())


def gated_update(gradient, m, v, x, t, S, shared, arrays, params, threads=None):
    """C20 to C24: gradient (n,), m (3, n), v (2, n), x (n,), S (A,), shared (A, SHARED) -> update, x', sums (2, A)."""
    params = _fitted(params)
    dtype, A, (n,) = params.W_1.dtype, len(arrays.size), shape_of("gradient", gradient, 1)
    blocks = _blocks(arrays, gradient)
    gradient, m, v, x, S, shared = fit(dtype, ("gradient", gradient, (n,)), ("m", m, (len(BETAS), n)),
                                       ("v", v, (len(BETAS_V), n)), ("x", x, (n,)), ("S", S, (A,)),
                                       ("shared", shared, (A, SHARED)))
    hats = (1 / (1 - np.array([*BETAS, *BETAS_V]) ** t)).astype(dtype)
    bias = shared @ params.W_1[OWN:] + params.b_1
    update, x_new, moves = np.empty_like(gradient), np.empty_like(x), np.empty((len(blocks), 2))
    run(_update_part, len(blocks), worth(threads, 4 * n * params.W_1.size), blocks, gradient, m, v, x, x_new, update, S,
        bias, params.W_1, params.W_2, params.b_2, np.array([*hats, LARGEST], dtype), moves)
    return update, x_new, _per_array(moves, blocks, arrays)


def _fitted(params):
    """The weights, of one dtype and contiguous."""
    E, H = OWN + SHARED, shape_of("params.W_1", params.W_1, 2)[1]
    shapes = {"W_1": (E, H), "b_1": (H,), "W_2": (H, 1 + K), "b_2": (1 + K,)}
    operands = [(f"params.{name}", getattr(params, name), shape) for name, shape in shapes.items()]
    return type(params)(*fit(precision(*params), *operands))


def _blocks(arrays, gradient):
    """The blocks of the arrays: see `_blocks_of`. Raises ValueError unless the arrays have the gradient's length."""
    size, n = arrays.size, len(gradient)
    if getattr(size, "dtype", None) != np.int64 or size.ndim != 1 or size.sum() != n or len(size) and size.min() < 1:
        raise ValueError(f"arrays.size: expected whole numbers >= 1 whose sum is {n}, got {size!r}")
    return _blocks_of(size.tobytes())


@lru_cache(maxsize=64)
def _blocks_of(sizes):
    """(blocks, 3) int: the number of the array, the first coordinate and the length of each block. Never written to."""
    blocks, first = [], 0
    for array, size in enumerate(np.frombuffer(sizes, np.int64).tolist()):
        blocks += [(array, first + at, min(BLOCK, size - at)) for at in range(0, size, BLOCK)]
        first += size
    return np.array(blocks, np.int64).reshape(-1, 3)


def _per_array(sums, blocks, arrays):
    """Sums of blocks (blocks, k) -> of arrays (k, A), added in the order of the blocks."""
    return np.stack([np.bincount(blocks[:, 0], column, len(arrays.size)) for column in sums.T])


# ------------------------------------------------------------------------------------------- the kernels


@kernel_without_refcounts
def _squares_part(first_part, stride, blocks, gradient, squares):
    """The sums (blocks, 1) of the squares that are finite, of the blocks first_part, first_part + stride, ...."""
    zero = gradient.dtype.type(0)
    for block in range(first_part, len(blocks), stride):
        first, end, whole = blocks[block, 1], blocks[block, 1] + blocks[block, 2], 0.0
        for i in range(first, end):
            square = gradient[i] * gradient[i]
            whole += np.float64(square) if square - square == zero else 0.0
        squares[block, 0] = whole


@kernel_without_refcounts
def _advance_part(first_part, stride, blocks, gradient, factor, g_out, m, v, m_new, v_new, constants, sums, held):
    """C28 and C19 for the blocks first_part, first_part + stride, ...; sums (blocks, 7) of g m_2, g^2 and m_2^2
    with the m_2 before g, and of v_1, v_2, m_2^2 and m_3^2 with those after it. factor (A,) is that of C28.
    """
    zero, one, nan = gradient.dtype.type(0), gradient.dtype.type(1), gradient.dtype.type(np.nan)
    beta_1, beta_2, beta_3, beta_fast, beta_slow = constants[0], constants[1], constants[2], constants[3], constants[4]
    for block in range(first_part, len(blocks), stride):
        first, count = blocks[block, 1], blocks[block, 2]
        end = first + count
        by, clipped = factor[blocks[block, 0]], g_out[first:end]
        g_all, fast, slow = gradient[first:end], v[0, first:end], v[1, first:end]
        fast_new, slow_new = v_new[0, first:end], v_new[1, first:end]
        old_1, old_2, old_3 = m[0, first:end], m[1, first:end], m[2, first:end]
        new_1, new_2, new_3 = m_new[0, first:end], m_new[1, first:end], m_new[2, first:end]
        for i in range(count):
            square = g_all[i] * g_all[i]
            g = by * g_all[i] if square - square == zero else zero   # C28; held otherwise
            new_1[i] = beta_1 * old_1[i] + (one - beta_1) * g        # C19
            new_2[i] = beta_2 * old_2[i] + (one - beta_2) * g        # C19
            new_3[i] = beta_3 * old_3[i] + (one - beta_3) * g        # C19
            fast_new[i] = beta_fast * fast[i] + (one - beta_fast) * (g * g)  # C19
            slow_new[i] = beta_slow * slow[i] + (one - beta_slow) * (g * g)  # C19
        g_m, g_g, m_m, away = 0.0, 0.0, 0.0, 0  # float64, which holds their squares
        v_1, v_2, m_2, m_3 = 0.0, 0.0, 0.0, 0.0
        for i in range(count):
            square = g_all[i] * g_all[i]
            finite = square - square == zero
            away += not finite
            clipped[i] = by * g_all[i] if finite else nan            # C28
            g = np.float64(clipped[i]) if finite else 0.0
            past, after_2, after_3 = np.float64(old_2[i]), np.float64(new_2[i]), np.float64(new_3[i])
            g_m += g * past
            g_g += g * g
            m_m += past * past
            v_1 += np.float64(fast_new[i])
            v_2 += np.float64(slow_new[i])
            m_2 += after_2 * after_2
            m_3 += after_3 * after_3
        held[block] = away
        sums[block, 0], sums[block, 1], sums[block, 2] = g_m, g_g, m_m
        sums[block, 3], sums[block, 4], sums[block, 5], sums[block, 6] = v_1, v_2, m_2, m_3


@kernel
def _update_part(first_part, stride, blocks, gradient, m, v, x, x_new, update, S, bias, W_1, W_2, b_2, constants,
                 moves):
    """C20 to C24 for the blocks first_part, first_part + stride, .... bias (A, H) is what the array adds to C16.

    moves (blocks, 2) are the sums of x'^2 and of update^2.
    """
    o, e = np.empty((K, TILE), W_1.dtype), np.empty((OWN, TILE), W_1.dtype)
    z, out = np.empty((len(W_2), TILE), W_1.dtype), np.empty((1 + K, TILE), W_1.dtype)
    _update_blocks(first_part, stride, blocks, gradient, m, v, x, x_new, update, S, bias, W_1, W_2, b_2, constants,
                   moves, o, e, z, out)


@kernel_without_refcounts
def _update_blocks(first_part, stride, blocks, gradient, m, v, x, x_new, update, S, bias, W_1, W_2, b_2, constants,
                   moves, o, e, z, out):
    """`_update_part`, given its workspace."""
    zero = W_1.dtype.type(0)
    for block in range(first_part, len(blocks), stride):
        array, first, end = blocks[block, 0], blocks[block, 1], blocks[block, 1] + blocks[block, 2]
        by_S = W_1.dtype.type(1) / S[array] if S[array] > zero else zero
        far, own = 0.0, 0.0
        for tile in range(first, end, TILE):
            count = min(TILE, end - tile)
            _features(gradient[tile : tile + count], m, v, tile, by_S, constants, o, e)
            _gated_sum(count, o, e, bias[array], W_1, W_2, b_2, z, out)
            y, g, u = out[0], gradient[tile : tile + count], update[tile : tile + count]
            x_old, x_out = x[tile : tile + count], x_new[tile : tile + count]
            for i in range(count):
                u[i] = -y[i] if g[i] == g[i] else zero               # C23
                x_out[i] = x_old[i] + u[i]                           # C24
            for i in range(count):
                far += np.float64(x_out[i]) * np.float64(x_out[i])
                own += np.float64(u[i]) * np.float64(u[i])
        moves[block, 0], moves[block, 1] = far, own


@kernel_without_refcounts
def _features(gradient, m, v, tile, by_S, constants, o, e):
    """C20 to C22 of a tile: the directions o (K, tile) and the coordinates' own features e (OWN, tile)."""
    number, zero, one = gradient.dtype.type, gradient.dtype.type(0), gradient.dtype.type(1)
    count = len(gradient)
    by_1, by_2, by_3, by_fast = constants[0], constants[1], constants[2], constants[3]
    by_slow, most = constants[4], constants[5]
    fast, slow = v[0, tile : tile + count], v[1, tile : tile + count]
    m_1, m_2, m_3 = m[0, tile : tile + count], m[1, tile : tile + count], m[2, tile : tile + count]
    o_0, o_1, o_2, o_3, o_4, o_5, o_6 = o[0], o[1], o[2], o[3], o[4], o[5], o[6]
    e_0, e_1, e_2, e_3, e_4 = e[0], e[1], e[2], e[3], e[4]
    for i in range(count):
        g = gradient[i] if gradient[i] == gradient[i] else zero
        r_1, r_2 = np.sqrt(fast[i] * by_fast), np.sqrt(slow[i] * by_slow)  # C20
        s = max(r_1, r_2)
        by_s = one / s if s > zero else zero
        o_0[i] = min(max(g * by_s, -most), most)                     # C21
        o_1[i] = min(max(m_1[i] * by_1 * by_s, -most), most)
        o_2[i] = min(max(m_2[i] * by_2 * by_s, -most), most)
        o_3[i] = min(max(m_3[i] * by_3 * by_s, -most), most)
        o_4[i] = min(max(g * by_S, -most), most)
        o_5[i] = min(max(m_2[i] * by_2 * by_S, -most), most)
        o_6[i] = min(max(m_3[i] * by_3 * by_S, -most), most)
        e_0[i] = max(s * by_S, number(1e-6))
        e_1[i] = max(r_1 / r_2 if r_2 > zero else zero, number(1e-6))
    for i in range(count):
        e_0[i] = min(max(log(e_0[i]), number(-6)), number(3)) / number(3)  # C22
        e_1[i] = min(max(log(e_1[i]), number(-6)), number(3)) / number(3)  # C22
        e_2[i] = abs(o_2[i]) - number(0.5)
        e_3[i] = abs(o_3[i]) - number(0.5)
        e_4[i] = min(max(o_0[i] * o_2[i], number(-3)), number(3)) / number(2)


@kernel_without_refcounts
def _gated_sum(count, o, e, bias, W_1, W_2, b_2, z, out):
    """C16 to C18 of a tile; out[0] holds y on return."""
    number = W_1.dtype.type
    H = len(W_2)
    e_0, e_1, e_2, e_3, e_4 = e[0], e[1], e[2], e[3], e[4]
    for j in range(H):
        z_j, b, w_0, w_1, w_2, w_3, w_4 = z[j], bias[j], W_1[0, j], W_1[1, j], W_1[2, j], W_1[3, j], W_1[4, j]
        for i in range(count):
            z_j[i] = tanh(b + w_0 * e_0[i] + w_1 * e_1[i] + w_2 * e_2[i] + w_3 * e_3[i] + w_4 * e_4[i])  # C16
    for k in range(1 + K):
        out_k = out[k]
        for i in range(count):
            out_k[i] = b_2[k]
        for j in range(H):
            z_j, w = z[j], W_2[j, k]
            for i in range(count):
                out_k[i] += w * z_j[i]                               # C17
    y, a, o_0 = out[0], out[1], o[0]
    for i in range(count):
        y[i] = exp(min(y[i], number(LONGEST)))                       # C18
    for i in range(count):
        a[i] *= o_0[i]
    for k in range(1, K):
        a_k, o_k = out[1 + k], o[k]
        for i in range(count):
            a[i] += a_k[i] * o_k[i]                                  # C18
    for i in range(count):
        y[i] *= a[i]                                                 # C18

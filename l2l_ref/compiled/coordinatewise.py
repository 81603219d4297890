"""The coordinatewise LSTM optimizer, compiled: ``step_inference`` and ``meta_gradient``.

Original: learned/coordinatewise.py. It is the definition, with the equations C1 to C5 and, through ops/lstm.py, L1 to
L5; a difference is a bug in this file.

The coordinates are independent of each other, so they are cut into tiles. A tile goes through all T steps forward and
then through all T steps backward before the next tile starts. Its gates stay in cache all the while.

Layout of a tile: units first, coordinates last, so that elementwise loops run over contiguous coordinates. These loops
index a slice rather than an array with an offset, because LLVM does not vectorise an index that might be negative.
Layer l stacks everything its gates read, so that a single matrix product gives all gates:

    Z[t] = [z ; h ; 1]   (K, tile), K = D + H + 1        M = [W_x ; W_h ; b]^T   (4H, K)
    A[t] = M Z[t]        (4H, tile); overwritten by the gates i f g o, and in the backward pass by d_a
    d_M^T = Z[t] d_a^T   (K, 4H); d_a^T is written out, since BLAS is twice as fast when neither factor is transposed

phi is one flat vector: M of each layer row by row, then W, then b. d_phi holds d_M^T row by row instead of M.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .arguments import fit, precision, shape_of
from .jit import GEMM_SIZE, dots, kernel, kernel_without_refcounts, log, sigmoid, tanh, transpose
from .threads import run, worth

TILE = 64  # coordinates in a tile; twice as many if the matrix M of every layer is small
SMALL = 4096  # numbers in a small matrix
PARTS = 16  # partial sums of d_phi: a fixed number, so that the result does not depend on the number of threads


# -------------------------------------------------------------------- the two functions of the original


class Packed(NamedTuple):
    """Weights for many steps."""

    params: NamedTuple  # Params
    phi: np.ndarray     # flat


def packed(params):
    """Params -> Packed: packing takes a tenth of a step of few coordinates."""
    if not params.layers:
        raise ValueError("params.layers: the compiled twin needs at least one LSTM layer, got none")
    (D, _), operands = shape_of("params.layers[0].W_x", params.layers[0].W_x, 2), []
    for l, layer in enumerate(params.layers):
        name = f"params.layers[{l}]"
        H = shape_of(f"{name}.W_h", layer.W_h, 2)[0]
        operands += [(f"{name}.W_x", layer.W_x, (D, 4 * H)), (f"{name}.W_h", layer.W_h, (H, 4 * H)),
                     (f"{name}.b", layer.b, (4 * H,))]
        D = H
    operands += [("params.W", params.W, (D, 1)), ("params.b", params.b, (1,))]
    *layers, W, b = fit(precision(*(array for _, array, _ in operands)), *operands)
    M = [np.concatenate([W_x, W_h, b_l[None]]).T for W_x, W_h, b_l in zip(*(layers[k::3] for k in range(3)))]
    return Packed(params, np.concatenate([part.ravel() for part in (*M, W, b)]))


def step_inference(gradient, state, params, p=None, scale=1.0, threads=None, spare=None):
    """One step without a cache: gradient (n,), state -> g (n,), state', the number of coordinates that were held.

    ``params`` are Params or Packed. state' is written into the arrays of ``spare``, a state, if they are like those
    that would be made for it.
    """
    params, phi = params if isinstance(params, Packed) else packed(params)
    sizes = _sizes(params, p)
    (n,), tile = shape_of("gradient", gradient, 1), _tile(sizes)
    parts = _parts(n, tile)
    gradient, = fit(phi.dtype, ("gradient", gradient, (n,)))
    before = _units_first(state, n, sizes, phi.dtype)
    after = tuple(a.T for layer in spare or () for a in layer)
    if not _alike(after, before):
        # One block for all arrays: the system backs a larger allocation with larger pages.
        block = np.empty_like(phi, shape=(sum(map(len, before)), n))
        after = tuple(np.split(block, np.cumsum([len(a) for a in before])[:-1]))
    update, held = np.empty_like(phi, shape=n), np.zeros(parts, np.int64)
    run(_step_part, parts, worth(threads, n * len(phi)), parts, tile, gradient, before, update, after, held, phi, sizes,
        _constants(phi.dtype, p, scale), p is not None)
    new_state = tuple([type(layer)(after[2 * l].T, after[2 * l + 1].T) for l, layer in enumerate(state)])
    return update, new_state, sum(held.tolist())


def meta_gradient(gradients, d_updates, state, params, p=None, scale=1.0, threads=None):
    """dL/dphi of one unroll: gradients (T, n), d_updates (T, n), state -> Params."""
    (_, phi), sizes = packed(params), _sizes(params, p)
    (T, n), tile = shape_of("gradients", gradients, 2), _tile(sizes)
    gradients, d_updates = fit(phi.dtype, ("gradients", gradients, (T, n)), ("d_updates", d_updates, (T, n)))
    before = _units_first(state, n, sizes, phi.dtype)
    parts = _parts(n, tile)
    d_phi = np.zeros_like(phi, shape=(max(parts, 1), len(phi)))
    run(_meta_gradient_part, parts, threads, parts, tile, gradients, d_updates, before, d_phi, phi, sizes,
        _constants(phi.dtype, p, scale), p is not None)
    total = d_phi[0]
    for part in d_phi[1:]:  # always in this order
        total += part
    return _unpack(total, params)


def _unpack(d_phi, params):
    """d_phi, flat -> Params with the shapes of ``params``."""
    layers, at = [], 0
    for layer in params.layers:
        (D, four_H), H = layer.W_x.shape, len(layer.W_h)
        d_M = d_phi[at : at + four_H * (D + H + 1)].reshape(D + H + 1, four_H)
        layers.append(layer._replace(W_x=d_M[:D].copy(), W_h=d_M[D : D + H].copy(), b=d_M[-1].copy()))
        at += d_M.size
    return params._replace(layers=tuple(layers), W=d_phi[at:-1, None].copy(), b=d_phi[-1:].copy())


def _sizes(params, p):
    """(D_1, H_1, ..., H_L). Raises ValueError unless the first layer takes what p makes of a gradient."""
    inputs = 1 if p is None else 2
    if len(params.layers[0].W_x) != inputs:
        raise ValueError(f"params: expected {inputs} inputs with p={p}, got {len(params.layers[0].W_x)}")
    return np.array([inputs, *(len(layer.W_h) for layer in params.layers)])


def _tile(sizes):
    return 2 * TILE if max(4 * H * (D + H + 1) for D, H in zip(sizes, sizes[1:])) <= SMALL else TILE


def _parts(n, tile):
    return min(PARTS, -(-n // tile))


@lru_cache(maxsize=64)
def _constants(dtype, p, scale):
    """What the kernels read; nobody writes into it."""
    p = 1.0 if p is None else p
    return np.array([scale, 1 / p, math.exp(-p), math.exp(p)], dtype)


def _alike(spare, arrays):
    """Whether the arrays of ``spare`` can be written to in the place of new ones that are like ``arrays``."""
    return len(spare) == len(arrays) and all(
        new.shape == a.shape and new.dtype == a.dtype and new.flags.carray for new, a in zip(spare, arrays)
    )


def _units_first(state, n, sizes, dtype):
    """h and c of each layer, (n, H) -> (H, n), contiguous and writable; copies nothing that is in Fortran order."""
    if len(state) != len(sizes) - 1:
        raise ValueError(f"state: expected {len(sizes) - 1} layers, got {len(state)}")
    operands = [(f"state[{l}].{name}", array, (n, H)) for l, (layer, H) in enumerate(zip(state, sizes[1:].tolist()))
                for name, array in zip("hc", layer)]
    return tuple(a.T if a.flags.writeable else a.T.copy() for a in fit(dtype, *operands, order="F"))


# ------------------------------------------------------------------------------------------- the kernels


@kernel_without_refcounts
def _take_block(buffer, at, steps, rows, tile):
    """The (steps, rows, tile) block of a flat buffer that starts at ``at``, and where the next block starts."""
    end = at + steps * rows * tile
    return buffer[at:end].reshape(steps, rows, tile), end


@kernel_without_refcounts
def _buffer_size(T, tile, sizes):
    """How many numbers the workspace of one thread holds."""
    total = 0
    for l in range(len(sizes) - 1):
        D, H = sizes[l], sizes[l + 1]
        total += (T + 1) * (D + H + 1) + T * 4 * H + (T + 1) * H + T * H  # Z, A, C, Q
        total += H + D + H                                                # d_c, d_z
    return total * tile


@kernel_without_refcounts
def _layer_blocks(buffer, at, T, D, H, tile):
    """Z (T+1, K, tile), A (T, 4H, tile), C (T+1, H, tile), Q = tanh(c') (T, H, tile) of one layer."""
    Z, at = _take_block(buffer, at, T + 1, D + H + 1, tile)
    A, at = _take_block(buffer, at, T, 4 * H, tile)
    C, at = _take_block(buffer, at, T + 1, H, tile)
    Q, at = _take_block(buffer, at, T, H, tile)
    return Z, A, C, Q, at


@kernel
def _product(a, b, out):
    """Write a b into out, in blocks of rows so small that BLAS starts no threads of its own."""
    rows = max(1, GEMM_SIZE // b.size)
    for first in range(0, len(a), rows):
        np.dot(a[first : first + rows], b, out[first : first + rows])


@kernel_without_refcounts
def _cell(A, c, c_new, q, h_new):
    """L2 to L5 for one tile. A (4H, tile) holds a on entry and i f g o on return."""
    H, tile = c.shape
    for j in range(H):
        i_j, f_j, g_j, o_j = A[j], A[H + j], A[2 * H + j], A[3 * H + j]
        c_j, c_new_j, q_j, h_new_j = c[j], c_new[j], q[j], h_new[j]
        for m in range(tile):
            i, f, g = sigmoid(i_j[m]), sigmoid(f_j[m]), tanh(g_j[m])  # L2, L3
            i_j[m], f_j[m], g_j[m] = i, f, g
            c_new_j[m] = f * c_j[m] + i * g                          # L4
        for m in range(tile):
            o, tanh_c = sigmoid(o_j[m]), tanh(c_new_j[m])            # L2, L5
            o_j[m], q_j[m] = o, tanh_c
            h_new_j[m] = o * tanh_c                                  # L5


@kernel_without_refcounts
def _cell_step(A, c, first, count, c_new, h_new, h_out):
    """L2 to L5 for one tile, without keeping anything for a backward pass.

    Reads A (4H, tile) and the columns first, first + 1, ... of c (H, n); writes the same columns of c_new and h_out
    (H, n), and h_new (H, tile), which is h_out for the layer above.
    """
    H = len(c)
    for j in range(H):
        i_j, f_j, g_j, o_j = A[j], A[H + j], A[2 * H + j], A[3 * H + j]
        c_j, c_new_j = c[j, first : first + count], c_new[j, first : first + count]
        h_new_j, h_out_j = h_new[j], h_out[j, first : first + count]
        for m in range(count):
            c_new_j[m] = sigmoid(f_j[m]) * c_j[m] + sigmoid(i_j[m]) * tanh(g_j[m])  # L2 to L4
        for m in range(count):
            h_new_j[m] = sigmoid(o_j[m]) * tanh(c_new_j[m])          # L2, L5
        for m in range(count):
            h_out_j[m] = h_new_j[m]


@kernel_without_refcounts
def _hold(gradient, first, count, before, update, after):
    """Undo the step of those columns first, first + 1, ... whose gradient is nan or infinite. How many there are.

    No column of a product or of a loop depends on another one, so the others are as they would be without these.
    """
    seen, zero, held = gradient[first : first + count], gradient.dtype.type(0), 0
    for m in range(count):
        held += seen[m] - seen[m] != zero  # nan, for both
    if held > 0:
        for m in range(first, first + count):
            if gradient[m] - gradient[m] != zero:
                update[m] = zero
                for k in range(len(before)):
                    old, new = before[k], after[k]
                    for j in range(len(old)):
                        new[j, m] = old[j, m]
    return held


@kernel_without_refcounts
def _cell_backward(d_h, d_up, d_c, A, c, q):
    """L5 to L2 backward for one tile. A holds i f g o on entry and d_a on return; d_c holds d_c' and then d_c.

    The gradient with respect to h' is the sum of d_h, from the next step, and d_up, from the layer above.
    """
    H, tile = c.shape
    for j in range(H):
        i_j, f_j, g_j, o_j = A[j], A[H + j], A[2 * H + j], A[3 * H + j]
        d_h_j, d_up_j, d_c_j, c_j, q_j = d_h[j], d_up[j], d_c[j], c[j], q[j]
        for m in range(tile):
            i, f, g, o, q_m = i_j[m], f_j[m], g_j[m], o_j[m], q_j[m]
            d_h_m = d_h_j[m] + d_up_j[m]                             # C2
            d_c_m = d_c_j[m] + d_h_m * o * (1 - q_m * q_m)           # L5
            i_j[m] = d_c_m * g * i * (1 - i)                         # L4, L2
            f_j[m] = d_c_m * c_j[m] * f * (1 - f)                    # L4, L2
            g_j[m] = d_c_m * i * (1 - g * g)                         # L4, L3
            o_j[m] = d_h_m * q_m * o * (1 - o)                       # L5, L2
            d_c_j[m] = d_c_m * f                                     # L4


@kernel_without_refcounts
def _features(gradient, first, z, constants, preprocess):
    """C1: write the features of gradient[first:first + tile] into z; past the last coordinate, those of 0."""
    tile = z.shape[1]
    zero, one = constants.dtype.type(0), constants.dtype.type(1)
    over_p, small, grow = constants[1], constants[2], constants[3]
    count = min(tile, len(gradient) - first)
    seen, z_0 = gradient[first : first + count], z[0]
    if not preprocess:
        for m in range(count):
            z_0[m] = seen[m]
        for m in range(count, tile):
            z_0[m] = zero
        return
    z_1 = z[1]
    for m in range(count):  # one loop per row of z and no branches, so that LLVM vectorises both loops
        size = abs(seen[m])
        z_0[m] = log(max(size, small)) * over_p if size >= small else -one  # P1, P2
    for m in range(count):
        g = seen[m]
        z_1[m] = (one if g > zero else -one) if abs(g) >= small else grow * g  # P1, P2
    for m in range(count, tile):
        z_0[m], z_1[m] = -one, zero                                  # P2 of 0


@kernel_without_refcounts
def _load_columns(source, first, target):
    """Fill target (H, tile) with the columns first, first + 1, ... of source (H, n), then with zeros."""
    zero = source.dtype.type(0)
    tile = target.shape[1]
    count = min(tile, source.shape[1] - first)
    for j in range(len(source)):
        source_j, target_j = source[j, first : first + count], target[j]
        for m in range(count):
            target_j[m] = source_j[m]
        for m in range(count, tile):
            target_j[m] = zero


@kernel_without_refcounts
def _load(states, first, buffer, T, tile, sizes):
    """Write the states (H, n) of a tile to where step 0 reads them, and the row of ones of every step."""
    at = 0
    for l in range(len(sizes) - 1):
        D, H = sizes[l], sizes[l + 1]
        Z, A, C, Q, at = _layer_blocks(buffer, at, T, D, H, tile)
        _load_columns(states[2 * l], first, Z[0, D : D + H])
        _load_columns(states[2 * l + 1], first, C[0])
        Z[:, D + H] = 1


@kernel_without_refcounts
def _forward(t, buffer, T, tile, phi, sizes):
    """C2 for one tile, one step and all layers. Reads Z[t] of the first; each h' goes to Z[t + 1] of its layer."""
    at, weights = 0, 0
    L = len(sizes) - 1
    for l in range(L):
        D, H = sizes[l], sizes[l + 1]
        Z, A, C, Q, at = _layer_blocks(buffer, at, T, D, H, tile)
        M = phi[weights : weights + 4 * H * (D + H + 1)].reshape(4 * H, D + H + 1)
        weights += M.size
        h_new = Z[t + 1, D : D + H]
        _product(M, Z[t], A[t])                                      # L1
        _cell(A[t], C[t], C[t + 1], Q[t], h_new)
        if l + 1 < L:
            Z_up = _layer_blocks(buffer, at, T, H, sizes[l + 2], tile)[0]
            _load_columns(h_new, 0, Z_up[t, :H])


@kernel
def _step_part(first_part, stride, parts, tile, gradient, before, update, after, held, phi, sizes, constants,
               preprocess):
    """One step for the tiles of the parts first_part, first_part + stride, ....

    held[part] counts the coordinates of a part that were held.
    """
    L, H_top, rows, most = len(sizes) - 1, sizes[-1], 0, 0
    for l in range(L):
        rows, most = rows + sizes[l] + sizes[l + 1] + 1, max(most, sizes[l + 1])
    every_z, every_A = np.ones((rows, tile), phi.dtype), np.empty((4 * most, tile), phi.dtype)
    h_top = np.empty((H_top, tile), phi.dtype)
    y = np.empty(tile, phi.dtype)
    _step_tiles(first_part, stride, parts, tile, gradient, before, update, after, held, phi, sizes, constants,
                preprocess, every_z, every_A, h_top, y)


@kernel_without_refcounts
def _step_tiles(first_part, stride, parts, tile, gradient, before, update, after, held, phi, sizes, constants,
                preprocess, every_z, every_A, h_top, y):
    """`_step_part`, given its workspace."""
    n = len(gradient)
    L, H_top = len(sizes) - 1, sizes[-1]
    W, b = phi[len(phi) - 1 - H_top : len(phi) - 1], phi[len(phi) - 1]
    tiles = (n + tile - 1) // tile
    for part in range(first_part, parts, stride):
        for index in range(tiles * part // parts, tiles * (part + 1) // parts):
            first = index * tile
            count = min(tile, n - first)
            _features(gradient, first, every_z[: sizes[0]], constants, preprocess)
            at, weights = 0, 0
            for l in range(L):
                D, H = sizes[l], sizes[l + 1]
                K = D + H + 1
                z, A = every_z[at : at + K], every_A[: 4 * H]
                M = phi[weights : weights + 4 * H * K].reshape(4 * H, K)
                at, weights = at + K, weights + M.size
                h_new = every_z[at : at + H] if l < L - 1 else h_top  # the input of the layer above
                _load_columns(before[2 * l], first, z[D : D + H])
                _product(M, z, A)                                    # L1
                _cell_step(A, before[2 * l + 1], first, count, after[2 * l + 1], h_new, after[2 * l])
            y[:] = b
            for j in range(H_top):
                h_j, W_j = h_top[j], W[j]
                for m in range(tile):
                    y[m] += W_j * h_j[m]                             # C3
            update_tile = update[first : first + count]
            for m in range(count):
                update_tile[m] = constants[0] * y[m]                 # C3
            held[part] += _hold(gradient, first, count, before, update, after)


@kernel
def _meta_gradient_part(first_part, stride, parts, tile, gradients, d_updates, before, d_phi, phi, sizes,
                        constants, preprocess):
    """Add the gradient of the tiles of the parts first_part, first_part + stride, ... to d_phi[part].

    Each tile is recomputed forward and then taken backward.
    """
    L = len(sizes) - 1
    T, H_top = len(gradients), sizes[L]
    buffer = np.empty(_buffer_size(T, tile, sizes), phi.dtype)
    d_y = np.empty(tile, phi.dtype)
    d_W = np.empty(H_top, phi.dtype)
    d_top = np.empty((H_top, tile), phi.dtype)
    d_a = np.empty(tile * 4 * sizes[1:].max(), phi.dtype)  # d_a^T of one layer at a time
    d_M = np.empty(len(phi), phi.dtype)                    # d_M^T of one layer at a time
    back = np.empty(len(phi), phi.dtype)                   # M^T (K, 4H) of every layer
    weights = 0
    for l in range(L):
        D, H = sizes[l], sizes[l + 1]
        K = D + H + 1
        M = phi[weights : weights + 4 * H * K].reshape(4 * H, K)
        transpose(M, back[weights : weights + 4 * H * K].reshape(K, 4 * H))
        weights += 4 * H * K
    _meta_gradient_tiles(first_part, stride, parts, tile, gradients, d_updates, before, d_phi, phi, sizes, constants,
                         preprocess, buffer, d_y, d_W, d_top, d_a, d_M, back)


@kernel_without_refcounts
def _meta_gradient_tiles(first_part, stride, parts, tile, gradients, d_updates, before, d_phi, phi, sizes, constants,
                         preprocess, buffer, d_y, d_W, d_top, d_a, d_M, back):
    """`_meta_gradient_part`, given its workspace."""
    T, n = gradients.shape
    L = len(sizes) - 1
    all_weights = len(phi) - 1 - sizes[L]
    W = phi[all_weights : len(phi) - 1]
    tiles = (n + tile - 1) // tile
    for part in range(first_part, parts, stride):
        total = d_phi[part]
        for index in range(tiles * part // parts, tiles * (part + 1) // parts):
            first = index * tile
            count = min(tile, n - first)
            _load(before, first, buffer, T, tile, sizes)
            features = _layer_blocks(buffer, 0, T, sizes[0], sizes[1], tile)[0]
            for t in range(T):
                _features(gradients[t], first, features[t], constants, preprocess)
                _forward(t, buffer, T, tile, phi, sizes)

            blocks_end = 0
            for l in range(L):
                _, _, _, _, blocks_end = _layer_blocks(buffer, blocks_end, T, sizes[l], sizes[l + 1], tile)
            buffer[blocks_end:] = 0                                  # d_c and d_z of every layer
            for t in range(T - 1, -1, -1):
                d_update = d_updates[t, first : first + count]
                for m in range(count):
                    d_y[m] = constants[0] * d_update[m]              # C3
                d_y[count:] = 0
                total[len(total) - 1] += d_y.sum()                   # C3, b

                blocks, carried, weights = blocks_end, len(buffer), all_weights
                for l in range(L - 1, -1, -1):
                    D, H = sizes[l], sizes[l + 1]
                    K = D + H + 1
                    blocks -= tile * ((T + 1) * K + T * 4 * H + (T + 1) * H + T * H)
                    carried -= tile * (2 * H + D)
                    weights -= 4 * H * K
                    Z, A, C, Q, _ = _layer_blocks(buffer, blocks, T, D, H, tile)
                    d_c = buffer[carried : carried + H * tile].reshape(H, tile)
                    d_z = buffer[carried + H * tile : carried + (2 * H + D) * tile].reshape(D + H, tile)
                    if l == L - 1:
                        dots(Z[t + 1, D : D + H], d_y, d_W)          # C3, W
                        for j in range(H):
                            total[all_weights + j] += d_W[j]
                            d_top_j, W_j = d_top[j], W[j]
                            for m in range(tile):
                                d_top_j[m] = W_j * d_y[m]            # C3
                        d_up = d_top
                    else:
                        above = carried + (2 * H + D + sizes[l + 2]) * tile
                        d_up = buffer[above : above + H * tile].reshape(H, tile)  # d_z of the layer above
                    _cell_backward(d_z[D:], d_up, d_c, A[t], C[t], Q[t])
                    d_a_l, d_M_l = d_a[: tile * 4 * H].reshape(tile, 4 * H), d_M[: K * 4 * H].reshape(K, 4 * H)
                    transpose(A[t], d_a_l)
                    _product(Z[t], d_a_l, d_M_l)                     # L1, the weights
                    d_phi_l = total[weights : weights + 4 * H * K]
                    for m in range(4 * H * K):
                        d_phi_l[m] += d_M[m]
                    M_back = back[weights : weights + 4 * H * K].reshape(K, 4 * H)
                    start = 0 if l else D  # the input of the first layer is data and needs no gradient
                    _product(M_back[start : D + H], A[t], d_z[start:])  # L1, z and h

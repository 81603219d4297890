"""Convolution and max pooling, compiled.

Original: ops/convolution.py. It is the definition, with the equations A7 to A10; a difference is a bug in this file.
Only real numbers, float32 or float64.

No patches are copied. In a padded image whose channels come last, a row of a window is one run of B C numbers, and the
next window begins s C numbers later: the patches A8 are a matrix whose rows overlap. `block_product` takes such
matrices, so all three products of A9 and its backward pass read the padded images themselves:

    y_ij   = sum_a,bc  X_si+a,sj+b,c  W_abc        for blocks of neighbours j and channels m
    d_x_ij = sum_a,bm  D_i+a,j+b,m    V_abm        the same for the image D of d_y, with zeros around and, for s > 1,
                                                   between its pixels; V is W, turned around
    d_W_ab = sum_i,j   X_si+a,sj+b,c  d_y_ij       for blocks of neighbours in the run b, c and channels m

A thread takes a few images at a time. Sums over images are taken in the order of the images, so the result does not
depend on the number of threads.
"""

from typing import NamedTuple

import numpy as np

from ..checks import choice, require_floating, require_shape, whole_number
from ..ops.convolution import PADDINGS
from .arguments import fit, precision, require_cache
from .jit import ROWS, WIDTH, block_product, kernel, kernel_without_refcounts
from .threads import run_rows

PART = 4  # images that a thread works on at a time


class Conv2dCache(NamedTuple):
    x: np.ndarray    # (N, P, Q, C)
    W: np.ndarray    # (A, B, C, M)
    stride: int
    border: tuple    # pixels added (above, left)
    padded: tuple    # rows and columns of the padded images


class MaxPoolCache(NamedTuple):
    first: np.ndarray  # (N, P', Q', C) integer, the number of the largest entry in its window, row by row
    place: tuple       # size, stride, above, left
    shape: tuple       # of x


def conv2d(x, W, b, stride=1, padding="same", threads=None):
    """A7 to A9. x (N, P, Q, C), W (A, B, C, M), b (M,) -> y (N, P', Q', M), cache."""
    require_shape("W", W, A=None, B=None, C=None, M=None)
    require_floating("W", W)
    A, B, C, M = W.shape
    require_shape("x", x, N=None, P=None, Q=None, C=C)
    require_shape("b", b, M=M)
    dtype = precision(x, W, b)
    x, W, b = fit(dtype, ("x", x, x.shape), ("W", W, W.shape), ("b", b, b.shape))
    (rows, columns), border, padded = _places(x.shape, (A, B), stride, padding)
    y = np.empty((len(x), rows, columns, _whole(M, dtype)), dtype)
    run_rows(_forward_part, len(x), PART, rows * columns * W.size, threads, x, _panels(W), _with_channels(b), stride,
             border, padded, (A, B), y)
    return _first_channels(y, M), Conv2dCache(x, W, stride, border, padded)


def conv2d_backward(d_y, cache, input_gradient=True, weight_gradients=True, threads=None):
    """d_y (N, P', Q', M) -> d_x (N, P, Q, C), d_W (A, B, C, M), d_b (M,).

    Without ``input_gradient``, d_x is None; without ``weight_gradients``, d_W and d_b are.
    """
    require_cache(cache, Conv2dCache)
    x, W, stride, border, padded = cache
    (N, P, Q, C), (A, B, _, M) = x.shape, W.shape
    rows, columns = _windows(padded, (A, B), stride)
    (d_y,) = fit(x.dtype, ("d_y", d_y, (N, rows, columns, M)))
    d_y, parts = _with_channels(d_y), -(-N // PART) * weight_gradients
    turned = _panels(_with_channels(W[::-1, ::-1]).swapaxes(2, 3))
    d_x = np.empty((N, P, Q, _whole(C, x.dtype)) if input_gradient else (0, P, Q, C), x.dtype)
    d_W = np.zeros((parts, *W.shape[:3], d_y.shape[3]), x.dtype)
    d_b = np.zeros((parts, d_y.shape[3]), x.dtype)
    run_rows(_backward_part, N, PART, (input_gradient + weight_gradients) * rows * columns * W.size, threads, x, turned,
             d_y, stride, border, padded, d_x, d_W, d_b)
    d_x = _first_channels(d_x, C) if input_gradient else None
    if not weight_gradients:
        return d_x, None, None
    return d_x, _first_channels(d_W.sum(axis=0), M), _first_channels(d_b.sum(axis=0), M)


def max_pool(x, size=2, stride=None, padding="same", threads=None):
    """A7, A8, A10. x (N, P, Q, C) -> y (N, P', Q', C), cache."""
    require_shape("x", x, N=None, P=None, Q=None, C=None)
    require_floating("x", x)
    whole_number("size", size)
    (x,) = fit(precision(x), ("x", x, x.shape))
    stride = size if stride is None else stride
    (rows, columns), (above, left), _ = _places(x.shape, (size, size), stride, padding)
    y = np.empty((len(x), rows, columns, x.shape[3]), x.dtype)
    first = np.empty(y.shape, np.int32)
    place = size, stride, above, left
    run_rows(_pool_part, len(x), PART, POOL_WORK * x[:1].size, threads, x, *place, y, first)
    return y, MaxPoolCache(first, place, x.shape)


def max_pool_backward(d_y, cache, threads=None):
    """d_y (N, P', Q', C) -> d_x (N, P, Q, C)."""
    require_cache(cache, MaxPoolCache)
    first, place, shape = cache
    (d_y,) = fit(precision(d_y), ("d_y", d_y, first.shape))
    d_x = np.zeros(shape, d_y.dtype)
    run_rows(_pool_backward_part, len(d_x), PART, POOL_WORK * d_x[:1].size, threads, d_y, first, *place, d_x)
    return d_x


POOL_WORK = 4  # one number takes about as long as this many multiplications of a matrix product


def _places(shape, size, stride, padding):
    """(rows, columns) of the result, (above, left), and (rows, columns) of the padded images."""
    whole_number("stride", stride)
    choice("padding", padding, PADDINGS)
    before, padded = [], []
    for length, extent in zip(shape[1:3], size):
        short = max((-(-length // stride) - 1) * stride + extent - length, 0) if padding == "same" else 0
        if length + short < extent:
            raise ValueError(f"x: expected at least {size[0]} x {size[1]} pixels, as the window has, got "
                             f"{shape[1]} x {shape[2]}")
        before.append(short // 2)
        padded.append(length + short)
    return _windows(padded, size, stride), tuple(before), tuple(padded)


def _windows(padded, size, stride):
    """How many windows lie below and beside each other: (rows, columns) of the result."""
    return tuple((length - extent) // stride + 1 for length, extent in zip(padded, size))


def _whole(channels, dtype):
    """The number of channels, rounded up to whole blocks."""
    n = WIDTH // np.dtype(dtype).itemsize
    return -(-channels // n) * n


def _with_channels(array):
    """The array with zeros added to its last axis, so that it consists of whole blocks."""
    missing = _whole(array.shape[-1], array.dtype) - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)]) if missing else array


def _first_channels(array, channels):
    return np.ascontiguousarray(array[..., :channels])


def _panels(W):
    """W (A, B, C, M) as one vector: for each block of M, its columns (A B C, numbers in a block), with zeros added."""
    n, W = WIDTH // W.itemsize, _with_channels(W)
    return W.reshape(-1, W.shape[3] // n, n).swapaxes(0, 1).ravel()


# ------------------------------------------------------------------------------------------- the kernels


@kernel_without_refcounts
def _place(image, X, X_columns, C, above, left, step):
    """Copy an image (P, Q, M) into X (rows, X_columns, C), a vector, ``step`` pixels of X from one to the next."""
    P, Q, M = image.shape
    for i in range(P):
        at = ((above + step * i) * X_columns + left) * C
        if step == 1 and M == C:
            pixels = image[i].reshape(Q * C)
            for k in range(Q * C):
                X[at + k] = pixels[k]                                # A7
        else:
            for j in range(Q):
                for c in range(M):
                    X[at + j * step * C + c] = image[i, j, c]        # A7


@kernel_without_refcounts
def _correlate(X, X_columns, C, panels, A, B, stride, start, y, y_at, rows, columns, M):
    """Write the windows of X (rows of X_columns pixels, C channels), times the panels, plus start (M,), to y.

    All arrays are vectors. An image (rows, columns, M) begins at y_at.
    """
    n, run, blocks = WIDTH // X.itemsize, B * C, -(-columns // ROWS)
    for m in range(0, M, n):
        for i in range(rows):
            for k in range(blocks):
                j, end = k * columns // blocks, (k + 1) * columns // blocks
                block_product(end - j, X, (i * X_columns + j) * stride * C, stride * C, X_columns * C, 1,
                              panels, m * A * run, run * n, n, A, run, start, m, 0,
                              y, y_at + (i * columns + j) * M + m, M)  # A9


@kernel
def _forward_part(first_part, parts, x, panels, b, stride, border, padded, size, y):
    N, _, _, C = x.shape
    _, rows, columns, M = y.shape
    X, flat = np.zeros(padded[0] * padded[1] * C, x.dtype), y.reshape(-1)
    for part in range(first_part * PART, N, parts * PART):
        for i in range(part, min(part + PART, N)):
            _place(x[i], X, padded[1], C, border[0], border[1], 1)
            _correlate(X, padded[1], C, panels, size[0], size[1], stride, b, flat, i * rows * columns * M, rows,
                       columns, M)


@kernel
def _backward_part(first_part, parts, x, turned, d_y, stride, border, padded, d_x, d_W, d_b):
    """Write d_x of the images, and add to d_W and d_b of the parts. An empty array is one that nobody asks for."""
    N, P, Q, C = x.shape
    _, rows, columns, M = d_y.shape
    _, A, B, _, _ = d_W.shape
    X, D_columns = np.zeros(padded[0] * padded[1] * C, x.dtype), Q + B - 1
    D, zeros = np.zeros((P + A - 1) * D_columns * M, x.dtype), np.zeros(d_x.shape[3], x.dtype)
    d_y_flat, d_x_flat, d_W_flat = d_y.reshape(-1), d_x.reshape(-1), d_W.reshape(-1)
    for part in range(first_part * PART, N, parts * PART):
        for i in range(part, min(part + PART, N)):
            if len(d_W):
                _place(x[i], X, padded[1], C, border[0], border[1], 1)
                _weights(X, padded[1], C, d_y_flat, i * rows * columns * M, rows, columns, M, stride, A, B, d_W_flat,
                         part // PART * A * B * C * M)
                _add_pixels(d_y[i], d_b[part // PART])
            if len(d_x):
                _place(d_y[i], D, D_columns, M, A - 1 - border[0], B - 1 - border[1], stride)
                _correlate(D, D_columns, M, turned, A, B, 1, zeros, d_x_flat, i * P * Q * d_x.shape[3], P, Q,
                           d_x.shape[3])


BAND = 2**14  # bytes of d_y at a time: as much as stays in the L1 cache while all rows of d_W are computed from it


@kernel_without_refcounts
def _weights(X, X_columns, C, d_y, d_y_at, rows, columns, M, stride, A, B, d_W, d_W_at):
    """Add the sums over the pixels of one image of d_y, which begins at d_y_at, to d_W, which begins at d_W_at.

    All arrays are vectors.
    """
    n, run = WIDTH // X.itemsize, B * C
    blocks, band = -(-run // ROWS), max(1, BAND // (WIDTH * columns))
    for m in range(0, M, n):
        for i in range(0, rows, band):
            for a in range(A):
                for number in range(blocks):
                    k, end = number * run // blocks, (number + 1) * run // blocks
                    at = d_W_at + (a * run + k) * M + m
                    block_product(end - k, X, (i * stride + a) * X_columns * C + k, 1, stride * X_columns * C,
                                  stride * C, d_y, d_y_at + i * columns * M + m, columns * M, M, min(band, rows - i),
                                  columns, d_W, at, M, d_W, at, M)   # A9


@kernel_without_refcounts
def _add_pixels(d_y, d_b):
    """Add the sum over the pixels of d_y (P', Q', M) to d_b (M,)."""
    rows, columns, M = d_y.shape
    for i in range(rows):
        for j in range(columns):
            pixel = d_y[i, j]
            for c in range(M):
                d_b[c] += pixel[c]                                   # A9


@kernel_without_refcounts
def _pool_part(first_part, parts, x, size, stride, above, left, y, first):
    N, P, Q, _ = x.shape
    _, rows, columns, _ = y.shape
    for part in range(first_part * PART, N, parts * PART):
        for n in range(part, min(part + PART, N)):
            for i in range(rows):
                for j in range(columns):
                    p, q = stride * i - above, stride * j - left
                    if size == 2 and 0 <= p < P - 1 and 0 <= q < Q - 1:
                        _largest_of_four(x[n, p, q], x[n, p, q + 1], x[n, p + 1, q], x[n, p + 1, q + 1], y[n, i, j],
                                         first[n, i, j])
                    else:
                        _largest(x[n], size, p, q, y[n, i, j], first[n, i, j])


@kernel_without_refcounts
def _largest(image, size, p, q, best, which):
    """Write the largest entries of the window at p, q, as far as it is inside of the image, and their numbers."""
    P, Q, C = image.shape
    unset = True
    for a in range(max(0, -p), min(size, P - p)):
        for b in range(max(0, -q), min(size, Q - q)):
            pixel, number = image[p + a, q + b], np.int32(a * size + b)
            for c in range(C):
                larger = unset or _larger(pixel[c], best[c])
                best[c] = pixel[c] if larger else best[c]
                which[c] = number if larger else which[c]
            unset = False


@kernel_without_refcounts
def _largest_of_four(pixel_0, pixel_1, pixel_2, pixel_3, best, which):
    """`_largest` for a whole window of 2 x 2 pixels, in one pass over the channels; it takes a sixth of the time."""
    zero, one, two, three = np.int32(0), np.int32(1), np.int32(2), np.int32(3)
    for c in range(len(best)):
        largest, number = pixel_0[c], zero
        v = pixel_1[c]
        larger = _larger(v, largest)
        largest, number = v if larger else largest, one if larger else number
        v = pixel_2[c]
        larger = _larger(v, largest)
        largest, number = v if larger else largest, two if larger else number
        v = pixel_3[c]
        larger = _larger(v, largest)
        best[c], which[c] = v if larger else largest, three if larger else number


@kernel_without_refcounts
def _larger(v, w):
    return (v > w) | (v != v) & (w == w)                             # A10, a nan is the largest


@kernel_without_refcounts
def _pool_backward_part(first_part, parts, d_y, first, size, stride, above, left, d_x):
    """Add to d_x, which must be zero on entry."""
    N, P, Q, C = d_x.shape
    _, rows, columns, _ = d_y.shape
    zero, apart = d_x.dtype.type(0), stride >= size
    for part in range(first_part * PART, N, parts * PART):
        for n in range(part, min(part + PART, N)):
            for i in range(rows):
                for j in range(columns):
                    p, q, d, which = stride * i - above, stride * j - left, d_y[n, i, j], first[n, i, j]
                    for a in range(max(0, -p), min(size, P - p)):
                        for b in range(max(0, -q), min(size, Q - q)):
                            pixel, number = d_x[n, p + a, q + b], np.int32(a * size + b)
                            if apart:
                                for c in range(C):
                                    pixel[c] = d[c] if which[c] == number else zero  # A10
                            else:
                                for c in range(C):
                                    pixel[c] += d[c] if which[c] == number else zero  # A10

"""Layers that look at images through small windows: convolution and max pooling.

Dims:     N images of P x Q pixels, C channels, kernels of A x B pixels, M channels of the result, which has P' x Q'
          pixels. s is the stride.
Layout:   channels come last, as in TensorFlow: x (N, P, Q, C), W (A, B, C, M), y (N, P', Q', M).
Padding:  "valid" adds nothing: P' = floor((P - A) / s) + 1. "same" adds as little as gives P' = ceil(P / s). Where that
          is an odd number of rows, the last one lies at the bottom; the same holds for columns, at the right.

    A7   X = x with a border of fill around it                           fill is 0, and -inf where the maximum is taken
    A8   p_nij,abc = X_n,si+a,sj+b,c                                     (N, P', Q', A, B, C), one window per pixel of y
    A9   y_nijm = sum_abc p_nij,abc W_abcm + b_m                         convolution; the kernel is not turned around
    A10  y_nijc = max_ab p_nij,abc                                       max pooling

Where two entries of a window tie, A10 takes the first one, row by row, and the gradient flows to it alone. A nan counts
as larger than any number.

Twin: compiled/convolution.py.
"""

from typing import NamedTuple

import numpy as np

from ..checks import choice, require_floating, require_shape, whole_number

PADDINGS = ("same", "valid")


class Geometry(NamedTuple):
    """Where the windows of an image lie; in each pair, rows come before columns."""

    size: tuple[int, int]                          # A, B
    stride: int                                    # s
    border: tuple[tuple[int, int], tuple[int, int]]  # pixels added (above, below), (left, right)
    shape: tuple[int, int, int, int]               # of x
    padded: tuple[int, int, int, int]              # of X


def geometry(shape: tuple[int, int, int, int], size: tuple[int, int], stride: int, padding: str) -> Geometry:
    """The Geometry of images of a shape. Raises ValueError for a window that does not fit, and for other arguments."""
    whole_number("stride", stride)
    choice("padding", padding, PADDINGS)
    border = []
    for length, extent in zip(shape[1:3], size):
        short = max((-(-length // stride) - 1) * stride + extent - length, 0) if padding == "same" else 0
        if length + short < extent:
            raise ValueError(f"x: expected at least {size[0]} x {size[1]} pixels, as the window has, got "
                             f"{shape[1]} x {shape[2]}")
        border.append((short // 2, short - short // 2))
    (N, P, Q, C), (rows, columns) = shape, border
    return Geometry(size, stride, (rows, columns), shape, (N, sum(rows) + P, sum(columns) + Q, C))


def _windows(x: np.ndarray, place: Geometry, fill: float) -> np.ndarray:
    """A7, A8. x (N, P, Q, C) -> p (N, P', Q', C, A, B), a view of the padded images."""
    X = np.pad(x, ((0, 0), *place.border, (0, 0)), constant_values=fill)  # A7
    p = np.lib.stride_tricks.sliding_window_view(X, place.size, axis=(1, 2))
    return p[:, :: place.stride, :: place.stride]                    # A8


def _without_border(d_X: np.ndarray, place: Geometry) -> np.ndarray:
    """d_X -> d_x (N, P, Q, C)."""
    _, P, Q, _ = place.shape
    (above, _), (left, _) = place.border
    return d_X[:, above : above + P, left : left + Q]                # A7


class Conv2dCache(NamedTuple):
    p: np.ndarray  # (N, P', Q', C, A, B), a view
    W: np.ndarray  # (A, B, C, M)
    place: Geometry


def conv2d(
    x: np.ndarray, W: np.ndarray, b: np.ndarray, stride: int = 1, padding: str = "same"
) -> tuple[np.ndarray, Conv2dCache]:
    """A7 to A9. x (N, P, Q, C), W (A, B, C, M), b (M,) -> y (N, P', Q', M), cache.

    Raises ValueError on other shapes, for a kernel that does not fit into the images, and for other arguments.
    """
    require_shape("W", W, A=None, B=None, C=None, M=None)
    require_floating("W", W)
    A, B, C, M = W.shape
    require_shape("x", x, N=None, P=None, Q=None, C=C)
    require_shape("b", b, M=M)
    place = geometry(x.shape, (A, B), stride, padding)
    p = _windows(x, place, 0)
    y = np.tensordot(p, W, axes=((4, 5, 3), (0, 1, 2))) + b          # A9
    return y, Conv2dCache(p, W, place)


def conv2d_backward(
    d_y: np.ndarray, cache: Conv2dCache, input_gradient: bool = True, weight_gradients: bool = True
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """d_y (N, P', Q', M) -> d_x (N, P, Q, C), d_W (A, B, C, M), d_b (M,).

    Without ``input_gradient``, d_x is None and costs nothing, as for a first layer, whose input is data. The same holds
    for d_W and d_b without ``weight_gradients``, as in a network that has been trained before.
    """
    p, W, place = cache
    d_x = _input_gradient(d_y, W, place) if input_gradient else None
    if not weight_gradients:
        return d_x, None, None
    d_W = np.tensordot(p, d_y, axes=((0, 1, 2), (0, 1, 2)))          # A9, (C, A, B, M)
    d_W, d_b = np.moveaxis(d_W, 0, 2), d_y.sum(axis=(0, 1, 2))       # A9
    return d_x, d_W, d_b


def _input_gradient(d_y: np.ndarray, W: np.ndarray, place: Geometry) -> np.ndarray:
    """d_y (N, P', Q', M) -> d_x (N, P, Q, C): each pixel's gradients from all windows that contain it."""
    d_p = np.tensordot(d_y, W, axes=((3,), (3,)))                    # A9, (N, P', Q', A, B, C)
    d_X, s, (_, rows, columns, A, B, _) = np.zeros(place.padded, d_p.dtype), place.stride, d_p.shape
    for a, b in np.ndindex(A, B):
        d_X[:, a : a + s * rows : s, b : b + s * columns : s] += d_p[:, :, :, a, b]  # A8
    return _without_border(d_X, place)


class MaxPoolCache(NamedTuple):
    first: np.ndarray  # (N, P', Q', C) integer, the number of the largest entry in its window, row by row
    place: Geometry


def max_pool(
    x: np.ndarray, size: int = 2, stride: int | None = None, padding: str = "same"
) -> tuple[np.ndarray, MaxPoolCache]:
    """A7, A8, A10. x (N, P, Q, C) -> y (N, P', Q', C), cache. Windows have ``size`` x ``size`` pixels.

    By default the stride is the size, so windows do not overlap. Raises ValueError on other shapes, for a window that
    does not fit into the images, and for other arguments.
    """
    require_shape("x", x, N=None, P=None, Q=None, C=None)
    require_floating("x", x)
    whole_number("size", size)
    place = geometry(x.shape, (size, size), size if stride is None else stride, padding)
    p = _windows(x, place, -np.inf)
    p = p.reshape(*p.shape[:4], size * size)
    first = p.real.argmax(axis=4)                                    # A10
    return np.take_along_axis(p, first[..., None], axis=4)[..., 0], MaxPoolCache(first, place)  # A10


def max_pool_backward(d_y: np.ndarray, cache: MaxPoolCache) -> np.ndarray:
    """d_y (N, P', Q', C) -> d_x (N, P, Q, C)."""
    first, place = cache
    a, b = np.divmod(first, place.size[1])
    n, i, j, c = np.ix_(*map(np.arange, first.shape))
    d_X = np.zeros(place.padded, d_y.dtype)
    np.add.at(d_X, (n, place.stride * i + a, place.stride * j + b, c), d_y)  # A10, A8
    return _without_border(d_X, place)

"""Convolution, pooling, batch normalisation and losses of images: by plain loops, and the twins by the originals."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref.compiled import activations as activations_twin
from l2l_ref.compiled import convolution as convolution_twin
from l2l_ref.compiled import normalization as normalization_twin
from l2l_ref.ops import activations, convolution, normalization
from l2l_ref.ops.image_losses import content_loss, gram, style_loss, total_variation

CONVOLUTIONS, NORMALIZATIONS = (convolution, convolution_twin), (normalization, normalization_twin)
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@st.composite
def convolutions(draw, sides=5, kernels=4, channels=2, images=2):
    """A seed, the shapes of x and W, the stride and the padding. Kernels fit, which "same" sees to."""
    N, C, M = draw(st.integers(1, images)), draw(st.integers(1, channels)), draw(st.integers(1, channels))
    padding, stride = draw(st.sampled_from(["same", "valid"])), draw(st.integers(1, 4))
    P, Q = draw(st.integers(1, sides)), draw(st.integers(1, sides))
    A, B = (draw(st.integers(1, kernels if padding == "same" else min(kernels, side))) for side in (P, Q))
    return draw(st.integers(0, 10**6)), (N, P, Q, C), (A, B, C, M), stride, padding


def windows(length, kernel, stride, padding):
    """For each place of the result, the pairs (place in the window, place in the image) that lie inside the image."""
    count = math.ceil(length / stride) if padding == "same" else (length - kernel) // stride + 1
    before = max((count - 1) * stride + kernel - length, 0) // 2 if padding == "same" else 0
    return [[(a, i * stride + a - before) for a in range(kernel) if 0 <= i * stride + a - before < length]
            for i in range(count)]


def pixels(shape, size, stride, padding):
    """(i, j, [(a, b, p, q), ...]) of each pixel of the result: the places in its window and in the image."""
    rows, columns = (windows(shape[1 + k], size[k], stride, padding) for k in range(2))
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        yield i, j, [(a, b, p, q) for a, p in row for b, q in column]


def result_shape(shape, size, stride, padding):
    return tuple(len(windows(shape[1 + k], size[k], stride, padding)) for k in range(2))


def drawn(seed, *shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


@settings(max_examples=200)
@given(convolutions())
def test_convolution_by_loops(case):
    seed, shape, kernel, stride, padding = case
    (N, _, _, C), (A, B, _, M) = shape, kernel
    rows, columns = result_shape(shape, kernel, stride, padding)
    x, W, b, d_y = drawn(seed, shape, kernel, M, (N, rows, columns, M))
    y, d_x, d_W, d_b = np.zeros_like(d_y), np.zeros(shape), np.zeros(kernel), np.zeros(M)
    for n, (i, j, window), m in itertools.product(range(N), pixels(shape, (A, B), stride, padding), range(M)):
        y[n, i, j, m] = b[m]
        d_b[m] += d_y[n, i, j, m]
        for (a, e, p, q), c in itertools.product(window, range(C)):
            y[n, i, j, m] += x[n, p, q, c] * W[a, e, c, m]
            d_x[n, p, q, c] += d_y[n, i, j, m] * W[a, e, c, m]
            d_W[a, e, c, m] += d_y[n, i, j, m] * x[n, p, q, c]
    for module in CONVOLUTIONS:
        found, cache = module.conv2d(x, W, b, stride, padding)
        np.testing.assert_allclose(found, y, **EXACT)
        for came, expected in zip(module.conv2d_backward(d_y, cache), (d_x, d_W, d_b), strict=True):
            np.testing.assert_allclose(came, expected, **EXACT)


@settings(max_examples=200)
@given(convolutions())
def test_pooling_by_loops(case):
    """Whole numbers from a few, so that most windows have ties: the first of the largest entries is taken."""
    seed, shape, kernel, stride, padding = case
    size = min(kernel[:2])
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, shape).astype(float)
    rows, columns = result_shape(shape, (size, size), stride, padding)
    y, d_x = np.zeros((shape[0], rows, columns, shape[3])), np.zeros(shape)
    d_y = rng.standard_normal(y.shape)
    for n, (i, j, window), c in itertools.product(range(shape[0]), pixels(shape, (size, size), stride, padding),
                                                  range(shape[3])):
        p, q = max([(p, q) for _, _, p, q in window], key=lambda place: x[n, *place, c])  # max takes the first
        y[n, i, j, c] = x[n, p, q, c]
        d_x[n, p, q, c] += d_y[n, i, j, c]
    for module in CONVOLUTIONS:
        found, cache = module.max_pool(x, size, stride, padding)
        np.testing.assert_array_equal(found, y)
        np.testing.assert_allclose(module.max_pool_backward(d_y, cache), d_x, **EXACT)


@pytest.mark.parametrize("module", CONVOLUTIONS)
def test_a_nan_is_the_largest_entry_of_its_window(module):
    x = np.array([[1.0, 2.0, np.nan, 4.0], [3.0, np.nan, np.nan, 5.0]])[None, :, :, None]
    y, cache = module.max_pool(x)
    assert np.isnan(y).all()
    d_x = module.max_pool_backward(np.array([7.0, 8.0])[None, None, :, None], cache)
    np.testing.assert_array_equal(d_x[0, :, :, 0], [[0, 0, 8, 0], [0, 7, 0, 0]])


@pytest.mark.parametrize("module", CONVOLUTIONS)
def test_padding_never_is_the_largest_entry(module):
    y, _ = module.max_pool(np.full((1, 3, 3, 1), -5.0), 2)
    np.testing.assert_array_equal(y, np.full((1, 2, 2, 1), -5.0))


# The compiled code works on blocks of channels and parts of images: sizes below, at and above these. Rounding errors
# grow with the numbers in a sum, of which there are at most 4 x 4 x 40 or 9 x 36.
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-13), (np.float32, 1e-4)])
@settings(max_examples=40)
@given(convolutions(sides=7, channels=40, images=9))
def test_the_compiled_convolution_is_the_original(dtype, tolerance, case):
    seed, shape, kernel, stride, padding = case
    x, W, b = drawn(seed, shape, kernel, kernel[3], dtype=dtype)
    y, cache = convolution.conv2d(x, W, b, stride, padding)
    came, twin_cache = convolution_twin.conv2d(x, W, b, stride, padding)
    d_y, = drawn(seed + 1, y.shape, dtype=dtype)
    before = [a.copy() for a in (x, W, b, d_y)]
    theirs, ours = convolution.conv2d_backward(d_y, cache), convolution_twin.conv2d_backward(d_y, twin_cache)
    for found, expected in ((came, y), *zip(ours, theirs, strict=True)):
        assert found.dtype == dtype and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))
    for a, same in zip((x, W, b, d_y), before):
        np.testing.assert_array_equal(a, same)


@pytest.mark.parametrize("module", CONVOLUTIONS)
def test_the_gradient_of_the_input_can_be_left_out(module):
    x, W, b, d_y = drawn(0, (3, 5, 4, 2), (3, 3, 2, 4), 4, (3, 5, 4, 4))
    _, cache = module.conv2d(x, W, b)
    none, *others = module.conv2d_backward(d_y, cache, input_gradient=False)
    assert none is None
    for a, expected in zip(others, module.conv2d_backward(d_y, cache)[1:], strict=True):
        np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize("module", CONVOLUTIONS)
def test_the_gradients_of_the_weights_can_be_left_out(module):
    x, W, b, d_y = drawn(0, (3, 5, 4, 2), (3, 3, 2, 4), 4, (3, 5, 4, 4))
    _, cache = module.conv2d(x, W, b)
    d_x, *none = module.conv2d_backward(d_y, cache, weight_gradients=False)
    assert none == [None, None]
    np.testing.assert_array_equal(d_x, module.conv2d_backward(d_y, cache)[0])


def of_all_twins(threads, dtype):
    """All results of the compiled functions."""
    x, W, b, d_y = drawn(0, (13, 9, 8, 3), (5, 5, 3, 20), 20, (13, 9, 8, 20), dtype=dtype)
    y, cache = convolution_twin.conv2d(x, W, b, threads=threads)
    pooled, pool_cache = convolution_twin.max_pool(y, threads=threads)
    wide, = drawn(1, (3000, 5), dtype=dtype)
    normal, norm_cache = normalization_twin.batch_norm(wide, wide[0], wide[1], threads=threads)
    positive, relu_cache = activations_twin.relu(y, threads=threads)
    return [positive, activations_twin.relu_backward(d_y, relu_cache, threads=threads),
            y, *convolution_twin.conv2d_backward(d_y, cache, threads=threads), pooled,
            convolution_twin.max_pool_backward(pooled, pool_cache, threads=threads), normal,
            *normalization_twin.batch_norm_backward(wide[::-1], norm_cache, threads=threads)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_number_of_threads_does_not_show(monkeypatch, dtype):
    monkeypatch.setattr("l2l_ref.compiled.threads.WORTH_A_THREAD", 0)  # however little the work
    for one, two, three in zip(*(of_all_twins(threads, dtype) for threads in (1, 2, 3)), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_no_images():
    for module in CONVOLUTIONS:
        x, W, b = np.zeros((0, 3, 3, 2)), np.ones((2, 2, 2, 1)), np.ones(1)
        y, cache = module.conv2d(x, W, b)
        d_x, d_W, d_b = module.conv2d_backward(y, cache)
        assert y.shape == (0, 3, 3, 1) and d_x.shape == x.shape and not d_W.any() and not d_b.any()
        pooled, cache = module.max_pool(x)
        assert pooled.shape == (0, 2, 2, 2) and module.max_pool_backward(pooled, cache).shape == x.shape


@pytest.mark.parametrize("module", CONVOLUTIONS)
@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": np.zeros((1, 4, 4, 3))}, r"x: expected shape .*C=2\), got \(1, 4, 4, 3\)"),
        ({"x": np.zeros((4, 4, 2))}, "x: expected shape"),
        ({"W": np.zeros((2, 2, 3))}, r"W: expected shape \(A, B, C, M\)"),
        ({"W": np.ones((2, 2, 2, 3), int)}, "W: expected floating numbers, got int"),
        ({"b": np.zeros(4)}, r"b: expected shape \(M=3\)"),
        ({"stride": 0}, "stride: expected a whole number >= 1, got 0"), ({"stride": 1.5}, "stride: expected a whole"),
        ({"padding": "full"}, "padding: expected one of same, valid, got 'full'"),
        ({"W": np.zeros((5, 2, 2, 3)), "padding": "valid"}, "x: expected at least 5 x 2 pixels, as the window has"),
    ],
)
def test_what_convolutions_refuse(module, change, message):
    arguments = {"x": np.zeros((1, 4, 4, 2)), "W": np.zeros((2, 2, 2, 3)), "b": np.zeros(3)} | change
    with pytest.raises(ValueError, match=message):
        module.conv2d(**arguments)


@pytest.mark.parametrize("module", CONVOLUTIONS)
@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": np.zeros((4, 4, 2))}, "x: expected shape"), ({"x": np.zeros((1, 4, 4, 2), int)}, "x: expected floating"),
        ({"size": 0}, "size: expected a whole number >= 1, got 0"), ({"stride": -1}, "stride: expected a whole number"),
        ({"size": 5, "padding": "valid"}, "x: expected at least 5 x 5 pixels, as the window has, got 4 x 4"),
    ],
)
def test_what_pooling_refuses(module, change, message):
    with pytest.raises(ValueError, match=message):
        module.max_pool(**{"x": np.zeros((1, 4, 4, 2))} | change)


# Batch normalisation


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 3), st.booleans())
def test_batch_normalisation_by_loops(seed, rows, C, with_gain):
    x, offset, gain = drawn(seed, (*rows, C), C, C)
    y = np.empty_like(x)
    for c in range(C):
        values = [x[*place, c] for place in np.ndindex(*rows)]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        for place in np.ndindex(*rows):
            y[*place, c] = (x[*place, c] - mean) / math.sqrt(variance + 1e-3)
    expected = (gain if with_gain else 1) * y + offset
    for module in NORMALIZATIONS:
        found, _ = module.batch_norm(x, offset, gain if with_gain else None)
        np.testing.assert_allclose(found, expected, **EXACT)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-4)])
@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 511, 513, 3000]), st.integers(1, 20), st.booleans(),
       st.sampled_from([0.0, 100.0]))
def test_the_compiled_normalisation_is_the_original(dtype, tolerance, seed, K, C, with_gain, mean):
    """Sums of up to 3,000 numbers; a mean of 100 deviations costs the differences two more digits."""
    x, offset, gain, d_y = drawn(seed, (K, C), C, C, (K, C), dtype=dtype)
    x = x + dtype(mean)
    results = []
    for module in NORMALIZATIONS:
        y, cache = module.batch_norm(x, offset, gain if with_gain else None)
        results.append([y, *module.batch_norm_backward(d_y, cache)])
    for expected, found in zip(*results, strict=True):
        if expected is None:
            assert found is None
            continue
        assert found.dtype == dtype and found.shape == expected.shape
        scale = max(1, np.abs(expected).max()) * (1 + mean / 10)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def test_one_pass_is_enough_even_if_the_sample_misleads():
    """Rows in blocks of which the sample sees one: K is a multiple of its step, and every step-th row is another."""
    K = 16 * normalization_twin.SAMPLE
    x = np.random.default_rng(0).standard_normal((K, 2)).astype(np.float32)
    x[::16] += np.float32(1000)
    y, _ = normalization_twin.batch_norm(x, np.zeros(2, np.float32))
    expected, _ = normalization.batch_norm(x.astype(np.float64), np.zeros(2))
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("module", NORMALIZATIONS)
@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": np.zeros((0, 2))}, "x: expected shape .* with at least one number"), ({"x": np.zeros(2)}, "x: expected"),
        ({"x": np.zeros((3, 2), int)}, "x: expected floating"), ({"offset": np.zeros(3)}, "offset: expected shape"),
        ({"gain": np.zeros(1)}, "gain: expected shape"), ({"epsilon": 0.0}, "epsilon: expected a number > 0, got 0.0"),
    ],
)
def test_what_batch_normalisation_refuses(module, change, message):
    with pytest.raises(ValueError, match=message):
        module.batch_norm(**{"x": np.zeros((3, 2)), "offset": np.zeros(2)} | change)


# ReLU


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 5001), (2, 2**14)])
def test_the_compiled_relu_is_the_original_bit_for_bit(dtype, shape):
    x, d_r = map(np.asarray, drawn(0, shape, shape, dtype=dtype))
    x.flat[: min(4, x.size)] = (0.0, -0.0, np.nan, -np.inf)[: min(4, x.size)]
    r, cache = activations.relu(x)
    came, twin_cache = activations_twin.relu(x)
    d_x, came_back = activations.relu_backward(d_r, cache), activations_twin.relu_backward(d_r, twin_cache)
    for found, expected in ((came, r), (came_back, d_x)):
        assert found.dtype == dtype and found.shape == expected.shape and found.tobytes() == expected.tobytes()


# The losses of style transfer


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 2), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_losses_of_images_by_loops(seed, N, P, Q, C):
    F, T, A = drawn(seed, (N, P, Q, C), (N, P, Q, C), (N, C, C))
    places = list(itertools.product(range(P), range(Q)))
    for n in range(N):
        G = [[sum(F[n, i, j, a] * F[n, i, j, b] for i, j in places) / (P * Q) for b in range(C)] for a in range(C)]
        np.testing.assert_allclose(gram(F)[0][n], G, **EXACT)
        content = sum((F[n, i, j, c] - T[n, i, j, c]) ** 2 for i, j in places for c in range(C)) / (2 * P * Q * C)
        np.testing.assert_allclose(content_loss(F, T)[0][n], content, **EXACT)
        style = sum((G[a][b] - A[n, a, b]) ** 2 for a in range(C) for b in range(C)) / (4 * C**2)
        np.testing.assert_allclose(style_loss(gram(F)[0], A)[0][n], style, **EXACT)
        rough = sum((F[n, i + 1, j, c] - F[n, i, j, c]) ** 2 for i, j in places if i + 1 < P for c in range(C))
        rough += sum((F[n, i, j + 1, c] - F[n, i, j, c]) ** 2 for i, j in places if j + 1 < Q for c in range(C))
        np.testing.assert_allclose(total_variation(F)[0][n], rough / (P * Q * C), **EXACT)


@pytest.mark.parametrize("loss", [gram, total_variation, lambda F: content_loss(F, F)])
@pytest.mark.parametrize("shape", [(2, 0, 3, 1), (2, 3, 3, 0), (3, 3, 1)])
def test_images_need_pixels_and_channels(loss, shape):
    with pytest.raises(ValueError, match="F: expected"):
        loss(np.zeros(shape))


def test_style_and_content_refuse_other_shapes():
    with pytest.raises(ValueError, match="T: expected shape"):
        content_loss(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 2)))
    with pytest.raises(ValueError, match="G: expected shape"):
        style_loss(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="A: expected shape"):
        style_loss(np.zeros((1, 2, 2)), np.zeros((2, 2, 2)))

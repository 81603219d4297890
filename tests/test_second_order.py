"""Second derivatives: backward functions of backward functions, and products with a Hessian."""

import numpy as np
import pytest
from conftest import SLOW
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref import gradcheck, gradgradcheck

SEEDS = st.integers(0, 10**6)
SETTINGS = settings(max_examples=20 if SLOW else 8, deadline=None)


def layer(x, W):
    """tanh(x W), with its cache."""
    y = np.tanh(x @ W)
    return y, (x, W, y)


def layer_backward(d_y, cache):
    x, W, y = cache
    d_a = d_y * (1 - y * y)
    return d_a @ W.T, x.T @ d_a


def layer_backward_backward(d_gradients, d_y, x, W, wrong=""):
    d_d_x, d_d_W = d_gradients
    y = np.tanh(x @ W)
    slope, bend = 1 - y * y, -2 * y * (1 - y * y)
    d_d_a = d_d_x @ W + x @ d_d_W                       # the cotangent of d_a, in which both gradients are linear
    d_a = d_y * slope
    d_of_a = d_d_a * d_y * bend                         # through the slope of tanh
    d_x = d_of_a @ W.T + (0 if wrong == "direct term" else d_a @ d_d_W.T)
    d_W = x.T @ d_of_a * (-1 if wrong == "sign" else 1) + d_d_x.T @ d_a
    return d_d_a * (y if wrong == "d_out" else slope), d_x, d_W


def draw(seed, N, D, H, dtype):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, D)).astype(dtype), rng.standard_normal((D, H)).astype(dtype)


@SETTINGS
@given(SEEDS, st.integers(0, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([np.float64, np.float32]))
def test_a_right_second_derivative_passes(seed, N, D, H, dtype):
    inputs = draw(seed, N, D, H, dtype)
    assert gradgradcheck(layer, layer_backward, layer_backward_backward, inputs, seed=seed).ok

    def without_cache(d_y, x, W):
        return layer_backward(d_y, layer(x, W)[1])

    assert gradgradcheck(lambda x, W: layer(x, W)[0], without_cache, layer_backward_backward, inputs, seed=seed).ok


@pytest.mark.parametrize("wrong, where", [("direct term", "x"), ("sign", "W"), ("d_out", "d_out")])
@SETTINGS
@given(seed=SEEDS)
def test_a_wrong_one_fails_and_the_report_names_the_input(wrong, where, seed):
    report = gradgradcheck(layer, layer_backward, lambda *a: layer_backward_backward(*a, wrong=wrong),
                           draw(seed, 3, 2, 3, np.float64), seed=seed)
    assert report.verdict == "FAIL"
    assert {e.path for e in report.entries if e.verdict == "FAIL"} == {where}


def test_a_first_derivative_of_one_input():
    """f_backward returns one array, not a tuple."""
    def second(d_g, d, x):
        return d_g * np.cos(x), -d_g * d * np.sin(x)

    report = gradgradcheck(np.sin, lambda d, x: d * np.cos(x), second, np.linspace(0.1, 1, 4))
    assert report.ok and {e.path for e in report.entries} == {"d_out", "x"}, report


@SETTINGS
@given(SEEDS, st.integers(2, 5))
def test_d_out_and_d_gradients_are_not_the_same_numbers(seed, n):
    """If they were, nobody would see that they are exchanged."""
    rng = np.random.default_rng(seed)
    A, x = rng.standard_normal((n, n)), rng.uniform(0.5, 1.5, n)
    pair = lambda x: A @ (x * x), lambda d, x: 2 * x * (A.T @ d)
    right = gradgradcheck(*pair, lambda g, d, x: (A @ (2 * x * g), 2 * g * (A.T @ d)), x, seed=seed)
    wrong = gradgradcheck(*pair, lambda g, d, x: (A @ (2 * x * g), 2 * d * (A.T @ g)), x, seed=seed)
    assert (right.verdict, wrong.verdict) == ("PASS", "FAIL")


def test_a_list_of_numbers_is_one_vector():
    assert gradgradcheck(lambda x: x**2, lambda d, x: 2 * d * x, lambda g, d, x: (2 * g * x, 2 * g * d), [0.5, 2.0]).ok


def test_it_is_for_backward_functions():
    with pytest.raises(ValueError, match="^kind: expected 'backward', got 'gradient'"):
        gradgradcheck(np.sum, np.ones_like, lambda v, x: 0 * v, np.ones(3), kind="gradient")


@SETTINGS
@given(SEEDS, st.integers(1, 40), st.sampled_from([1e-20, 1.0, 1e20]))
def test_the_product_with_a_hessian_is_symmetric(seed, n, unit):
    rng = np.random.default_rng(seed)
    A, x = rng.standard_normal((n, n)) * unit, rng.standard_normal(n) / unit

    def gradient(x):
        return (A + A.T) @ x + 4 * unit**2 * (unit * x) ** 3 / unit

    def hvp(x, v):
        return (A + A.T) @ v + 12 * unit**2 * (unit * x) ** 2 * v

    assert gradcheck(gradient, hvp, x, kind="hvp", seed=seed).ok


@SETTINGS
@given(SEEDS, st.integers(2, 40))
def test_a_product_that_is_not_symmetric_is_told(seed, n):
    """J v is right for this f, but f is no gradient, so it has no Hessian."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    report = gradcheck(lambda x: A @ x, lambda x, v: A @ v, rng.standard_normal(n), kind="hvp", seed=seed,
                       thorough=False)
    assert report.verdict == "FAIL"
    small = gradcheck(lambda x: A @ x, lambda x, v: A @ v, rng.standard_normal(n), kind="hvp", seed=seed)
    assert small.verdict == "FAIL" and "not symmetric" in str(small)


def test_it_is_public():
    assert l2l.gradgradcheck is gradgradcheck and "gradgradcheck" in dir(l2l)

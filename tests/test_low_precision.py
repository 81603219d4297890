"""Claims in float32: right ones pass by a narrow bound, and mistakes in one precision alone are named."""

import warnings

import numpy as np
import pytest
from conftest import SLOW

from l2l_ref.checking import differences, gradcheck


def scaled_sum(x, s):
    return x.sum() * s


def backward_times(factor):
    """The backward of `scaled_sum`, with the gradient of x multiplied by a factor in float32 alone."""
    def backward(d, x, s):
        wrong = x.dtype.type(factor if x.dtype == np.float32 else 1.0)
        return np.full(x.shape, d * s * wrong), d * x.sum()

    return backward


@pytest.fixture(params=["rounding can be chosen", "rounding cannot be chosen"])
def roundings(request, monkeypatch):
    """As here, and as on a system where the rounding cannot be chosen."""
    if request.param == "rounding cannot be chosen":
        monkeypatch.setattr(differences, "_control", lambda: None)


SCALES = [1e-20, 1e-8, 1.0, 1e8, 1e20]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_the_bound_of_float32_has_the_units_of_the_gradient(roundings, scale, size):
    inputs = np.array([size, 2 * size], np.float32), np.float32(scale)
    report = gradcheck(scaled_sum, backward_times(1.0), inputs)
    assert report.ok and report.checked_to < 1e-3, report
    for factor in (1.01, 2.0, -1.0):
        report = gradcheck(scaled_sum, backward_times(factor), inputs)
        assert report.verdict == "FAIL" and "on the same values in float64 it is right" in report.headline, report
        assert report.worst.path == "x" and report.taylor_rate is None
    assert "sign" in str(report.guesses[0])  # a guess at what f_backward returned in float32


def test_a_mistake_that_float32_hides_is_said_to_be_in_float64():
    report = gradcheck(lambda x: x.sum() ** 2, lambda d, x: d * 2 * (1 + 1e-8) * x.sum() * np.ones_like(x),
                       np.array([1.0, 2.0], np.float32))
    assert report.verdict == "FAIL" and "computed on the same values in float64" in report.headline


@pytest.mark.parametrize("x", [5.0, 8.5, 9.2, 10.0, 17.0, 30.0, 1e4])
def test_a_right_claim_that_float32_saturates_is_not_wrong(roundings, x):
    """1 - tanh^2 has lost its digits in float32, and np.tanh is exactly 1 from 9.01 on, however it is rounded."""
    for inputs in (np.array([x], np.float32), np.array([x, 1e-3, 0.5], np.float32)):
        report = gradcheck(np.tanh, lambda d, x: d * (1 - np.tanh(x) ** 2), inputs)
        assert report.verdict == "PASS", report

    def inside_float32(d, x):
        d, y = d.astype(np.float32), x.astype(np.float32)
        return (d * (1 - np.tanh(y) ** 2)).astype(x.dtype)

    inside = gradcheck(np.tanh, inside_float32, np.array([x, -0.3, 0.5]))
    assert inside.verdict != "FAIL", inside


def test_a_mistake_at_a_kink_is_not_smaller_than_its_bound():
    report = gradcheck(np.abs, lambda d, x: d * 3.0 * np.ones_like(x), np.array([0.0, 1.0]))
    assert report.verdict == "FAIL" and report.worst.error > report.worst.bound


@pytest.mark.parametrize("small", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-9])
def test_a_negligible_entry_of_float32_code_leaves_nothing_undecided(small):
    """Its slope is lost in the last digits of f, as it would be in float64 if it were smaller still."""
    rng = np.random.default_rng(0)
    x = np.array([1.0, -0.7, 0.4, small, 1.3], np.float32)
    for f, gradient in (
        (lambda y: np.sum(y.astype(np.float32) ** 2), lambda y: 2 * y.astype(np.float32).astype(y.dtype)),
        (lambda y: np.dot(x, y.astype(np.float32)), lambda y: x.astype(y.dtype)),
        (lambda y: np.exp(np.sum(x * y.astype(np.float32))), lambda y: (np.exp(np.sum(x * y)) * x).astype(y.dtype)),
    ):
        report = gradcheck(f, gradient, x * rng.uniform(0.5, 1.5, 5).astype(np.float32), kind="gradient")
        assert report.verdict == "PASS", report
        for k, wrong in ((4, -1.0), (0, 1.1)):
            factor = np.where(np.arange(5) == k, wrong, 1.0).astype(np.float32)
            report = gradcheck(f, lambda y, g=gradient, m=factor: g(y) * m.astype(y.dtype), x, kind="gradient")
            assert report.verdict == "FAIL", report
        report = gradcheck(f, lambda y, g=gradient: g(y) + np.where(np.arange(5) == 3, 0.1, 0.0).astype(y.dtype), x,
                           kind="gradient")
        assert report.verdict != "PASS", report


# --- along directions, where there are too many entries to be checked one by one

def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


MANY = {
    "sin": (np.sin, lambda d, x: d * np.cos(x)),
    "saturated": (lambda x: np.tanh(8 * x), lambda d, x: d * 8 * (1 - np.tanh(8 * x) ** 2)),
    "softmax": (softmax, lambda d, x: softmax(x) * (d - (d * softmax(x)).sum())),
    "a sum that cancels": (lambda x: x.sum() ** 2, lambda d, x: 2 * d * x.sum() * np.ones_like(x)),
    "variance": (np.var, lambda d, x: 2 * d * (x - x.mean()) / x.dtype.type(x.size)),
    "rows that share": (lambda x: np.sin(x.reshape(-1, 12).sum(axis=1)),
                        lambda d, x: np.repeat(d * np.cos(x.reshape(-1, 12).sum(axis=1)), 12)),
}


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("size", [1200, 30000] if SLOW else [1200])
def test_float32_is_checked_along_directions(roundings, name, size):
    f, backward = MANY[name]
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)

    def times(factor):
        return lambda d, x: backward(d, x) * x.dtype.type(factor if x.dtype == np.float32 else 1.0)

    for seed in range(5 if SLOW else 2):
        report = gradcheck(f, times(1.0), x, seed=seed)
        assert report.verdict == "PASS", report
    for factor in (1.1, -1.0):
        report = gradcheck(f, times(factor), x)
        assert report.verdict == "FAIL" and "on the same values in float64 it is right" in str(report), report


def test_one_entry_that_is_wrong_in_float32_alone_is_found():
    x = np.random.default_rng(0).normal(size=2000).astype(np.float32)

    def backward(d, x):
        g = d * np.cos(x)
        if x.dtype == np.float32:
            g[1234] += np.float32(0.25) * d[1234]
        return g

    report = gradcheck(np.sin, backward, x)
    assert report.verdict == "FAIL" and report.worst.name == "x[1234]", report


# f rounds one term to float32 and adds others in float64: between two stairs of the one, f has the slope of the others.
STAIRS = {
    "exp": (lambda x: np.exp(x).astype(np.float32).sum(), np.exp),
    "tanh": (lambda x: np.tanh(x.astype(np.float32) * np.float32(1.7)).sum(),
             lambda x: 1.7 * (1 - np.tanh(1.7 * x) ** 2)),
    "cube": (lambda x: np.float32((x**3).sum() + 2), lambda x: 3 * x**2),
}


@pytest.mark.parametrize("name", STAIRS)
@pytest.mark.parametrize("seed", range(6))
def test_a_term_in_float32_beside_others_in_float64(name, seed):
    rng = np.random.default_rng(seed)
    x, weight = rng.uniform(-1.5, 1.5, rng.integers(1, 4)), 10.0 ** rng.uniform(-3, 1)
    x[rng.integers(len(x))] = 10.0 ** rng.uniform(-5, 0)
    rounded, slope = STAIRS[name]

    def f(x):
        return float(rounded(x) + weight * (x**2).sum())

    def smooth(x):
        return 2 * weight * x

    def right(x):
        return slope(x) + smooth(x)

    assert gradcheck(f, right, x, kind="gradient", seed=seed).verdict != "FAIL"
    assert gradcheck(f, lambda x: 1.2 * right(x), x, kind="gradient", seed=seed).verdict != "PASS"
    if np.abs(slope(x)).max() > 1e-2 * np.abs(right(x)).max():
        assert gradcheck(f, smooth, x, kind="gradient", seed=seed).verdict == "FAIL"


# At large inputs such a term is level over the reach of the steps, and what it adds to the slope is not seen.
SATURATED = {
    "tanh": (lambda x: np.tanh(x.astype(np.float32)), lambda x: 1 - np.tanh(x) ** 2, 20),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x.astype(np.float32))), lambda x: 1 / (2 + 2 * np.cosh(x)), 20),
    "bump": (lambda x: np.float32(1) + np.exp(-x.astype(np.float32) ** 2), lambda x: -2 * x * np.exp(-(x**2)), 6),
}


@pytest.mark.parametrize("name", SATURATED)
@pytest.mark.parametrize("seed", range(6))
def test_a_saturated_term_in_float32_beside_others_in_float64(name, seed):
    rng = np.random.default_rng(seed)
    rounded, slope, largest = SATURATED[name]
    x, weight = rng.uniform(-largest, largest, rng.integers(1, 4)), 10.0 ** rng.uniform(-3, 1)

    def f(x):
        return float(rounded(x).sum() + weight * np.sin(x / 3).sum())

    def right(x):
        return slope(x) + weight * np.cos(x / 3) / 3

    assert gradcheck(f, right, x, kind="gradient", seed=seed).verdict != "FAIL"
    assert gradcheck(f, lambda x: 1.2 * right(x), x, kind="gradient", seed=seed).verdict == "FAIL"


@pytest.mark.parametrize("at", [1e-3, 0.3, -0.7])
def test_a_lost_imaginary_part_beside_a_term_that_keeps_its_own(at):
    """The complex step then says 1 and is exact; central differences contradict it."""
    x = np.array([at])

    def f(x):
        return np.exp(x).astype(np.float32) + x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        assert gradcheck(f, lambda d_y, x: d_y * (np.exp(x) + 1), x).verdict != "FAIL"
        assert gradcheck(f, lambda d_y, x: d_y, x).verdict == "FAIL"


@pytest.mark.parametrize("seed", range(5))
def test_a_function_of_float64_that_computes_in_float32_may_have_such_a_gradient(seed):
    rng = np.random.default_rng(seed)
    x, W = rng.normal(size=6), rng.normal(size=(6, 3)).astype(np.float32)

    def backward(d, x):
        return (d * (1 - f(x) ** 2)) @ W.T / 4

    def f(x):
        return np.tanh(x.astype(np.float32) @ W / 4)

    assert backward(np.ones(3, np.float32), x).dtype == np.float32
    assert gradcheck(f, backward, x).verdict == "PASS"
    for factors in (np.float32(1.01), np.array([1, 1, -1, 1, 1, 1], np.float32)):
        assert gradcheck(f, lambda d, x, factors=factors: backward(d, x) * factors, x).verdict == "FAIL"
    lost = gradcheck(lambda x: f(x).astype(float), lambda d, x: backward(d, x).astype(np.float32), x)
    assert lost.verdict == "FAIL" and "dtype float32, expected float64" in str(lost)

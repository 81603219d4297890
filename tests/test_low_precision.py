"""Claims in float32: right ones pass by a narrow bound, and mistakes in one precision alone are named."""

import numpy as np
import pytest

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

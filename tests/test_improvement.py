"""Expected improvement and the meta-losses: against SciPy, against plain loops, and at the edges."""

import warnings
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special, stats

from l2l_ref.checking import gradcheck
from l2l_ref.learned.trajectory import arrivals
from l2l_ref.ops import gp, improvement, meta_losses
from l2l_ref.ops.improvement import expected_improvement, expected_improvement_backward
from l2l_ref.ops.noisy_improvement import noisy_improvement_loss, noisy_improvement_loss_backward
from l2l_ref.ops.normal import density, distribution, mills_gap, mills_ratio

LOSSES = {name: getattr(meta_losses, name) for name in ("sum_loss", "incumbent", "observed_improvement_loss",
                                                         "final_loss", "best_loss")}

# The normal distribution


def exact_mills(x):
    """R(x) and G(x) = 1 - x R(x) for x > 0, by a continued fraction in 60 digits."""
    with localcontext() as context:
        context.prec = 60
        x, c = Decimal(float(x)), Decimal(0)
        for n in range(4000, 0, -1):
            c = n / (x + c)
        return 1 / (x + c), c / (x + c)


def test_mills_ratio_is_that_of_scipy():
    x = np.concatenate([np.linspace(0, 50, 50_001), np.geomspace(1e-12, 1e12, 5_001)])
    np.testing.assert_allclose(mills_ratio(x), np.sqrt(np.pi / 2) * special.erfcx(x / np.sqrt(2)), rtol=3e-15)


def test_tails_keep_their_relative_precision():
    """To 1e-14 where SciPy's own Phi is off by 1e-13 far out."""
    x = np.concatenate([np.linspace(0.7, 37, 120), np.geomspace(40, 1e6, 20)])
    R, G = np.array([exact_mills(v) for v in x]).T
    for ours, exact in ((mills_ratio(x), R), (mills_gap(x), G)):
        assert max(abs(Decimal(float(a)) / e - 1) for a, e in zip(ours, exact)) < 1e-15
    with localcontext() as context:
        context.prec = 60
        pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
        phi = np.array([(-Decimal(float(v)) ** 2 / 2).exp() / (2 * pi).sqrt() for v in x[:120]])
        for ours, exact in ((density(x[:120]), phi), (distribution(-x[:120]), phi * R[:120])):
            assert max(abs(Decimal(float(a)) / e - 1) for a, e in zip(ours, exact)) < 1e-15


def test_the_distribution_is_that_of_scipy():
    z = np.linspace(-6, 10, 20_001)  # beyond, SciPy's own error shows
    np.testing.assert_allclose(distribution(z), special.ndtr(z), rtol=1e-14)
    np.testing.assert_allclose(density(z), stats.norm.pdf(z), rtol=1e-13)
    z = np.linspace(-37, -6, 2_001)
    np.testing.assert_allclose(np.log(distribution(z)), special.log_ndtr(z), rtol=1e-14)
    assert np.isnan(distribution(np.array([np.nan]))).all()
    edges = distribution(np.array([-np.inf, -1e300, 0.0, 1e300, np.inf]))
    np.testing.assert_allclose(edges, [0, 0, 0.5, 1, 1], rtol=1e-15)


def test_float32_stays_float32():
    z = np.linspace(-12, 12, 1_001, dtype=np.float32)
    for function, exact in ((density, stats.norm.pdf), (distribution, stats.norm.cdf)):
        assert function(z).dtype == np.float32
        np.testing.assert_allclose(function(z), exact(z.astype(float)), rtol=2e-6)


# Expected improvement

beliefs = st.tuples(st.floats(-5, 5), st.floats(-4, 4).map(np.exp), st.floats(-5, 5))


@given(st.lists(beliefs, min_size=1, max_size=20))
def test_expected_improvement_is_that_of_scipy(cases):
    mu, sigma, best = np.array(cases).T
    improvement, _ = expected_improvement(mu, sigma, best)
    z = (best - mu) / sigma
    expected = (best - mu) * stats.norm.cdf(z) + sigma * stats.norm.pdf(z)
    np.testing.assert_allclose(improvement, expected, rtol=1e-13, atol=1e-15 * np.abs(best - mu).max())
    assert (improvement >= np.maximum(best - mu, 0)).all()


def test_expected_improvement_is_the_mean_of_the_improvement():
    """By its definition, with a million draws."""
    value = 0.3 + 0.7 * np.random.default_rng(0).standard_normal(10**6)
    improvement, _ = expected_improvement(np.array([0.3]), np.array([0.7]), np.array([0.1]))
    gain = np.maximum(0.1 - value, 0)
    assert abs(gain.mean() - improvement[0]) < 4 * gain.std() / 1000


def test_far_tails_keep_their_relative_precision():
    z = np.linspace(-37, -1, 100)
    improvement, _ = expected_improvement(-z, np.ones_like(z), np.zeros_like(z))
    with localcontext() as context:
        context.prec = 60
        pi = Decimal("3.14159265358979323846264338327950288419716939937510582097494")
        for ours, v in zip(improvement, z):
            exact = (-Decimal(float(v)) ** 2 / 2).exp() / (2 * pi).sqrt() * exact_mills(-v)[1]
            assert abs(Decimal(float(ours)) / exact - 1) < 1e-14


@pytest.mark.parametrize("sigma", [0.0, 5e-324, 1e-300, 1e-30])
def test_without_uncertainty_it_is_the_gain(sigma):
    gain = np.array([2.0, 0.0, -2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        improvement, cache = expected_improvement(-gain, np.full(3, sigma), np.zeros(3))
        d_mu, d_sigma, d_best = expected_improvement_backward(np.ones(3), cache)
    np.testing.assert_allclose(improvement, [2, 0, 0], atol=sigma)
    np.testing.assert_allclose(d_mu, [-1, -0.5, 0], rtol=1e-15)
    np.testing.assert_allclose(d_best, [1, 0.5, 0], rtol=1e-15)
    np.testing.assert_allclose(d_sigma, [0, 1 / np.sqrt(2 * np.pi), 0])


def test_bad_beliefs_are_named():
    ones = np.ones(3)
    for name, arguments in (
        ("sigma", (ones, -ones, ones)), ("sigma", (ones, np.nan * ones, ones)), ("sigma", (ones, np.ones(2), ones)),
        ("best", (ones, ones, np.ones((1, 3)))), ("mu", (np.ones(3, int), ones, ones)), ("best", (ones, ones, 1.0)),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            expected_improvement(*arguments)


# The losses

values = hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)),
                    elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]))  # ties are frequent


@given(values)
def test_losses_are_the_equations(f):
    B, T = f.shape
    for b in range(B):
        row = f[b].tolist()
        assert meta_losses.sum_loss(f)[0][b] == sum(row)
        assert meta_losses.final_loss(f)[0][b] == row[-1]
        assert meta_losses.best_loss(f)[0][b] == min(row)
        assert meta_losses.observed_improvement_loss(f)[0][b] == sum(
            min(row[t] - min(row[:t]), 0) for t in range(1, T)
        )
        assert meta_losses.incumbent(f)[0][b].tolist() == [min(row[:t]) for t in range(1, T)]
    mean, std = f + 0.3, 0.5 + f**2
    ours, _ = meta_losses.expected_improvement_loss(mean, std, f)
    for b in range(B):
        terms = [
            expected_improvement(mean[b, t : t + 1], std[b, t : t + 1], f[b, :t].min(keepdims=True))[0][0]
            for t in range(1, T)
        ]
        np.testing.assert_allclose(ours[b], -sum(terms), rtol=1e-12, atol=1e-12)


@given(values)
def test_observed_improvement_telescopes(f):
    """With the gradient through the incumbent it is the best value less the first, and so is its gradient."""
    L, cache = meta_losses.observed_improvement_loss(f)
    np.testing.assert_allclose(L, f.min(axis=1) - f[:, 0], atol=1e-12)
    d_f = meta_losses.observed_improvement_loss_backward(np.ones(len(f)), cache)
    expected = np.zeros_like(f)
    expected[np.arange(len(f)), f.argmin(axis=1)] += 1
    expected[:, 0] -= 1
    np.testing.assert_array_equal(d_f, expected)


def distinct(B, T, seed=0):
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(T) + 0.0, (B, 1)), axis=1) + 0.1 * rng.random((B, T))


def test_a_stopped_incumbent_is_a_constant():
    """The backward is then the derivative of the loss with its incumbents held fixed."""
    f = distinct(3, 6)
    b, _ = meta_losses.incumbent(f)
    _, cache = meta_losses.observed_improvement_loss(f, grad_through_incumbent=False)

    def held(f):
        return np.minimum(f[:, 1:] - b, 0).sum(axis=1)

    gradcheck(held, lambda d_L, f: meta_losses.observed_improvement_loss_backward(d_L, cache), (f,)).raise_if_failed()
    assert (meta_losses.observed_improvement_loss_backward(np.ones(3), cache) >= 0).all()

    rng = np.random.default_rng(1)
    mean, std = rng.standard_normal((3, 6)), rng.uniform(0.2, 2.0, (3, 6))
    _, cache = meta_losses.expected_improvement_loss(mean, std, f, grad_through_incumbent=False)

    def held(mean, std):
        return -expected_improvement(mean[:, 1:], std[:, 1:], b)[0].sum(axis=1)

    def backward(d_L, mean, std):
        return meta_losses.expected_improvement_loss_backward(d_L, cache)[:2]

    gradcheck(held, backward, (mean, std)).raise_if_failed()
    d_mean, d_std, d_y = meta_losses.expected_improvement_loss_backward(np.ones(3), cache)
    assert not d_y.any() and not d_mean[:, 0].any() and not d_std[:, 0].any() and d_mean[:, 1:].any()


def test_of_values_that_tie_the_first_counts():
    f = np.array([[1.0, 0.0, 0.0, 2.0]])
    _, cache = meta_losses.best_loss(f)
    np.testing.assert_array_equal(meta_losses.best_loss_backward(np.ones(1), cache), [[0, 1, 0, 0]])
    _, cache = meta_losses.incumbent(f)
    np.testing.assert_array_equal(meta_losses.incumbent_backward(np.ones((1, 3)), cache), [[1, 2, 0, 0]])
    _, cache = meta_losses.observed_improvement_loss(f)
    np.testing.assert_array_equal(meta_losses.observed_improvement_loss_backward(np.ones(1), cache), [[-1, 1, 0, 0]])


def test_a_nan_is_not_lost():
    f = np.array([[1.0, np.nan, 2.0], [1.0, 0.0, 2.0]])
    for name in ("sum_loss", "best_loss", "observed_improvement_loss"):
        L, _ = LOSSES[name](f)
        assert np.isnan(L[0]) and np.isfinite(L[1]), name


def test_without_noise_and_with_one_worker_what_is_observed_are_the_values():
    rng = np.random.default_rng(0)
    x, z = rng.random((3, 7, 2)), rng.standard_normal((3, 7))
    state, draws = gp.gp_initial_state(3, 7, 2), []
    for t in range(7):
        (draw, state), _ = gp.gp_append(state, x[:, t], z[:, t], 0.4, 1.3, "matern52", 1e-8)
        draws.append(draw)
    f, mean, std = (np.stack(a, axis=1) for a in zip(*draws))
    expected, _ = meta_losses.expected_improvement_loss(mean, std, f)
    L, _ = noisy_improvement_loss(x, f, arrivals(7), 0.4, 1.3, 0.0, "matern52", 1e-8)
    np.testing.assert_allclose(L, expected, rtol=1e-5)


def test_what_is_on_its_way_or_hidden_by_noise_is_not_known():
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 6, 2)), rng.standard_normal((2, 6))
    fed = np.array([-1, -1, 1, 0, 2, -1])
    by_hand = np.zeros(2)
    for t, known in ((2, [1]), (3, [1, 0]), (4, [1, 0, 2]), (5, [1, 0, 2])):
        posterior, _ = gp.gp_posterior(x[:, known], y[:, known], x[:, [t]], 0.4, 1.0, 0.5, jitter=0.0)
        ei, _ = improvement.expected_improvement(posterior.mean[:, 0], posterior.std[:, 0], y[:, known].min(axis=1))
        by_hand -= ei
    L, cache = noisy_improvement_loss(x, y, fed, 0.4, 1.0, 0.5, jitter=0.0)
    np.testing.assert_allclose(L, by_hand, rtol=1e-12)
    d_x, d_y, *_ = noisy_improvement_loss_backward(np.ones(2), cache)
    assert (d_y[:, 3:] == 0).all() and (d_x[:, 4:] != 0).all() and (d_y[:, :3] != 0).all()
    still, cache = noisy_improvement_loss(x, y, fed, 0.4, 1.0, 0.5, jitter=0.0, grad_through_incumbent=False)
    np.testing.assert_array_equal(still, L)
    assert (noisy_improvement_loss_backward(np.ones(2), cache)[1] != d_y).any()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((2, 3, 1)), np.zeros((2, 0)), np.zeros((2, 3), int), 1.0])
def test_bad_values_are_named(name, wrong):
    with pytest.raises(ValueError, match="^[fy]: expected "):
        LOSSES[name](wrong)


@pytest.mark.parametrize("name", ["mean", "std", "y"])
def test_bad_beliefs_of_a_trajectory_are_named(name):
    arguments = {"mean": np.zeros((2, 3)), "std": np.ones((2, 3)), "y": np.zeros((2, 3))}
    meta_losses.expected_improvement_loss(**arguments)
    for wrong in (np.ones((3, 2)), np.ones(3), None):
        with pytest.raises(ValueError, match=": expected "):
            meta_losses.expected_improvement_loss(**(arguments | {name: wrong}))

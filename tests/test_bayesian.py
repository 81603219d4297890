"""Bayesian optimization: its posterior and gradient against those of ops, and what it finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from l2l_ref.baselines import bayesian
from l2l_ref.baselines.bayesian import ExpectedImprovement, GPPosterior, IntegratedExpectedImprovement, slice_sample
from l2l_ref.baselines.random_search import RandomSearch
from l2l_ref.black_boxes import BENCHMARKS, GPFunctions
from l2l_ref.checking import gradcheck
from l2l_ref.ops.covariance import COVARIANCES
from l2l_ref.ops.gp import Posterior, gp_posterior, gp_posterior_backward
from l2l_ref.ops.improvement import expected_improvement, expected_improvement_backward


@st.composite
def situations(draw):
    """x (n, d), y (n,), q (m, d) and the hyperparameters of a posterior, well conditioned by its jitter."""
    n, m, d = draw(st.integers(1, 12)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x, y, q = rng.random((n, d)), rng.standard_normal(n), rng.random((m, d))
    if draw(st.booleans()):
        x[1::2], q[0] = x[0], x[-1]  # repeated points, and a query at one
    size = st.floats(0.2, 2.0)
    return x, y, q, {
        "length_scale": draw(st.one_of(size, st.lists(size, min_size=d, max_size=d).map(np.array))),
        "variance": draw(st.floats(0.3, 3.0)), "noise": draw(st.sampled_from([0.0, 0.1])),
        "mean": draw(st.sampled_from([0.0, 0.7])), "covariance": draw(st.sampled_from(sorted(COVARIANCES))),
        "jitter": draw(st.sampled_from([1e-3, 1e-2])),
    }


def slow(x, y, q, best, length_scale, variance, noise, mean, covariance, jitter):
    """Expected improvement and its gradient, from the pairs of ops: (m,), (m, d)."""
    posterior, cache = gp_posterior(x[None], y[None] - mean, q[None], length_scale, variance, noise, covariance, jitter)
    EI, EI_cache = expected_improvement(*posterior, np.full((1, len(q)), best - mean))
    d_mean, d_std, _ = expected_improvement_backward(np.ones_like(EI), EI_cache)
    d_q = gp_posterior_backward(Posterior(d_mean, d_std), cache)[2]
    return EI[0], d_q[0]


@given(situations())
def test_the_posterior_and_its_gradient_are_those_of_the_slow_form(situation):
    x, y, q, gp = situation
    posterior = GPPosterior(x, y, **gp)
    EI, d_q = slow(x, y, q, posterior.best, **gp)
    log, d_log = bayesian.log_improvement_and_gradient([posterior], q)
    np.testing.assert_allclose(np.exp(log), EI, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.exp(log)[:, None] * d_log, d_q, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(bayesian.improvement([posterior], q), EI, rtol=1e-9, atol=1e-12)


@settings(max_examples=12)
@given(situations())
def test_the_gradient_is_that_of_the_value(situation):
    x, y, q, gp = situation
    posteriors = [GPPosterior(x, y, **gp), GPPosterior(x, y, **gp | {"variance": 1.0, "length_scale": 0.5})]

    def summed(q):
        value, d_q = bayesian.log_improvement_and_gradient(posteriors, q)
        return value.sum(), d_q

    gradcheck(summed, True, (q,), kind="gradient").raise_if_failed()
    value, _ = bayesian.log_improvement_and_gradient(posteriors, q)
    np.testing.assert_allclose(np.exp(value), bayesian.improvement(posteriors, q), rtol=1e-8, atol=1e-12)


@given(situations())
def test_the_likelihood_and_the_best_are_those_of_the_formulas(situation):
    x, y, _, gp = situation
    posterior, n = GPPosterior(x, y, **gp), len(y)
    K = COVARIANCES[gp["covariance"]][0](x[None], x[None], gp["length_scale"], gp["variance"])[0][0]
    K = K + gp["variance"] * gp["jitter"] * np.eye(n)
    noisy = K + gp["noise"] ** 2 * np.eye(n)
    expected = stats.multivariate_normal(np.full(n, gp["mean"]), noisy).logpdf(y)
    np.testing.assert_allclose(posterior.log_likelihood, expected, rtol=1e-9, atol=1e-9)
    means = gp["mean"] + K @ np.linalg.solve(noisy, y - gp["mean"])
    np.testing.assert_allclose(posterior.best, means.min(), rtol=1e-7, atol=1e-9)


def test_no_query_is_known_better_than_to_its_jitter():
    """At a data point the std is sqrt(v jitter) or more, though rounding is of its order."""
    x = np.random.default_rng(0).random((60, 1))
    posterior = GPPosterior(x, np.zeros(60), 0.5, 2.0, 0.0, 0.0, "squared_exponential", 1e-10)
    least = np.sqrt(2e-10)
    for std in (posterior.at(x)[1], posterior.at_with_gradients(x)[1]):
        assert (std >= least).all() and (std < 3 * least).all()
    log, d_log = bayesian.log_improvement_and_gradient([posterior], x)
    assert np.isfinite(log).all() and np.isfinite(d_log).all()


def test_a_singular_covariance_is_an_error():
    search = ExpectedImprovement(1, 2, length_scale=0.3, jitter=0.0)
    for _ in range(2):
        search.tell(np.full((1, 2), 0.5), np.zeros(1))
    with pytest.raises(ValueError, match="^jitter: expected a larger one, or more noise, got .*singular$"):
        search.ask()


def test_the_first_query_is_the_middle():
    np.testing.assert_array_equal(ExpectedImprovement(2, 3, length_scale=0.3).ask(), np.full((2, 3), 0.5))


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("dim", [1, 2])
def test_no_point_of_a_fine_grid_promises_more(dim, covariance):
    gp = {"length_scale": 0.3, "variance": 1.5, "noise": 0.0, "mean": 0.2, "covariance": covariance, "jitter": 1e-8}
    search, rng = ExpectedImprovement(5, dim, **gp), np.random.default_rng(0)
    for _ in range(4 * dim):
        search.tell(rng.random((5, dim)), rng.standard_normal(5))
    axis = np.linspace(0, 1, 201 if dim == 2 else 20_001)
    grid = np.stack(np.meshgrid(*[axis] * dim), axis=-1).reshape(-1, dim)
    for b, x in enumerate(search.ask()):
        posterior = GPPosterior(search.x[b], search.y[b], **gp)
        most = bayesian.improvement([posterior], grid).max()
        assert bayesian.improvement([posterior], x[None])[0] >= most * (1 - 1e-4)


@pytest.mark.parametrize("values", ["constant", "one", "repeated", "huge"])
def test_degenerate_histories_give_a_query(values):
    search = ExpectedImprovement(2, 1, length_scale=np.array([0.3]))
    for t in range({"one": 1}.get(values, 12)):
        y = {"constant": 0.0, "one": 1.0, "repeated": 0.0, "huge": 1e6 * (-1) ** t}[values]
        search.tell(np.full((2, 1), 0.25 if values == "repeated" else t / 12), np.full(2, y))
    x = search.ask()
    assert ((x >= 0) & (x <= 1)).all()
    if values in ("one", "repeated"):  # far away, where nothing is known
        assert (np.abs(x - search.x[:, -1]) > 0.25).all()


def test_noise_makes_it_trust_the_mean_rather_than_a_lucky_value():
    x = np.full((9, 1), 0.5)
    y = np.array([-3.0, 0, 0, 0, 0, 0, 0, 0, 0])
    posterior = GPPosterior(x, y, 0.3, 1.0, 1.0, 0.0, "squared_exponential", 1e-10)
    np.testing.assert_allclose(posterior.best, -3 / 9 * 9 / 10, rtol=1e-6)


def test_it_finds_far_more_than_random_search():
    found = []
    for make in (RandomSearch, lambda B, d: ExpectedImprovement(B, d, length_scale=0.2 * d**0.5)):
        functions = GPFunctions(12, 3, 20, seed=0)
        search = make(12, 3)
        for _ in range(20):
            x = search.ask()
            search.tell(x, functions(x))
        found.append(functions.values.min(axis=1))
    random, ei = found
    assert ei.mean() < random.mean() - 0.5


def test_bad_arguments_are_named():
    def make(**changes):
        return ExpectedImprovement(**{"functions": 2, "dim": 2, "length_scale": 0.3} | changes)

    for name, wrong in (
        ("length_scale", 0.0), ("length_scale", np.ones(3)), ("length_scale", -np.ones(2)), ("length_scale", np.nan),
        ("variance", 0.0), ("variance", np.ones(2)), ("noise", -1.0), ("noise", np.nan), ("mean", np.nan),
        ("covariance", "linear"), ("jitter", -1.0), ("jitter", np.inf),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
            make(**{name: wrong})


# Hyper-parameters unknown


def moves(log_density, u, count, seed=0):
    """A chain (count, k) in random directions."""
    rng, chain = np.random.default_rng(seed), []
    for _ in range(count):
        u = slice_sample(log_density, u, 2 * rng.standard_normal(len(u)), rng)
        chain.append(u)
    return np.array(chain)


def test_slice_sampling_has_the_moments_of_a_normal_distribution():
    mean, covariance = np.array([1.0, -2.0]), np.array([[2.0, 1.2], [1.2, 1.0]])
    precision = np.linalg.inv(covariance)
    chain = moves(lambda u: -0.5 * (u - mean) @ precision @ (u - mean), np.zeros(2), 20_000)[100:]
    np.testing.assert_allclose(chain.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(np.cov(chain.T), covariance, atol=0.15)


@pytest.mark.parametrize("log_density, gp", [
    (lambda u: 0.0 if -1 < u[0] < 2 else -np.inf, stats.uniform(-1, 3)),
    (lambda u: 2 * np.log(u[0]) - u[0] if u[0] > 0 else -np.inf, stats.gamma(3)),
    (lambda u: -0.5 * (u[0] / 0.05) ** 2, stats.norm(0, 0.05)),
], ids=["uniform", "gamma", "narrow"])
def test_slice_sampling_has_the_distribution_of_a_density(log_density, gp):
    """By Kolmogorov's distance, for samples that hardly depend on each other."""
    chain = moves(log_density, np.array([gp.mean()]), 12_000)[::6, 0]
    assert stats.kstest(chain, gp.cdf).pvalue > 1e-3


def test_samples_of_hyperparameters_are_near_those_of_the_function():
    """60 values of a function of length scales 0.2 and 2; the second hardly matters, and that is seen."""
    rng = np.random.default_rng(0)
    search = IntegratedExpectedImprovement(1, 2, covariance="squared_exponential")
    x, scale = rng.random((60, 2)), (0.2, 2.0)
    r2 = (((x[:, None] - x) / scale) ** 2).sum(axis=2)
    y = np.linalg.cholesky(np.exp(-r2 / 2) + 1e-6 * np.eye(60)) @ rng.standard_normal(60)
    for point, value in zip(x, y):
        search.tell(point[None], value[None])
    first, second = np.mean([np.log(posterior.length_scale) for posterior in search._posteriors(0)], axis=0)
    assert abs(first - np.log(0.2)) < 0.4 and second > first + 1


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1.0, 1e9, 1e307])
def test_the_scale_of_the_values_does_not_matter(scale):
    queries = []
    for a, b in ((1.0, 0.0), (scale, 5 * scale)):
        search = IntegratedExpectedImprovement(1, 2, samples=3)
        rng = np.random.default_rng(0)
        for _ in range(4):
            x = rng.random((1, 2))
            search.tell(x, a * ((x - 0.4) ** 2).sum(axis=1) + b)
        queries.append(search.ask())
    np.testing.assert_allclose(*queries, atol=1e-3)


@pytest.mark.parametrize("values", ["constant", "one", "repeated"])
def test_degenerate_histories_of_an_unknown_distribution_give_a_query(values):
    search = IntegratedExpectedImprovement(2, 1, samples=2)
    np.testing.assert_array_equal(search.ask(), np.full((2, 1), 0.5))
    for t in range(1 if values == "one" else 6):
        search.tell(np.full((2, 1), 0.25 if values == "repeated" else t / 6), np.zeros(2))
    x = search.ask()
    assert ((x >= 0) & (x <= 1)).all()


def test_it_finds_the_minimum_of_branin():
    box = BENCHMARKS["branin"]
    search = IntegratedExpectedImprovement(1, 2, samples=5)
    for _ in range(25):
        x = search.ask()
        search.tell(x, box(box.from_unit(x)))
    assert search.y.min() < box.minimum + 0.05


def test_bad_arguments_of_the_integrated_one_are_named():
    for name, wrong in (("samples", 0), ("samples", 2.5), ("covariance", "linear"), ("jitter", -1.0)):
        with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
            IntegratedExpectedImprovement(2, 2, **{name: wrong})

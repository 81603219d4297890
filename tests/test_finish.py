"""The finish of a search: its surrogate against formulas and its twin, and what its queries do."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from l2l_ref.black_boxes import BENCHMARKS
from l2l_ref.checking import gradcheck
from l2l_ref.compiled import surrogate as twin
from l2l_ref.ops import surrogate
from l2l_ref.ops.covariance import matern52
from l2l_ref.ops.gp import gp_posterior
from l2l_ref.search import finish
from l2l_ref.search.finish import FinishState, initial_state, next_query
from l2l_ref.trees import leaves


@st.composite
def situations(draw):
    """x (n, d), y (k,), the number of values that count, hyperparameters of B processes, q (m, d)."""
    n, d, B, m = draw(st.integers(2, 40)), draw(st.integers(1, 6)), draw(st.integers(1, 3)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = draw(st.integers(1, n))
    trend = np.full(B, draw(st.sampled_from([0.0, 0.2, 3.0])))
    hyperparameters = surrogate.Hyperparameters(
        np.exp(rng.uniform(-1, 1, (B, d))), np.exp(rng.uniform(np.log(1e-3), 0, B)), trend)
    return rng.random((n, d)), rng.standard_normal(k), draw(st.integers(1, k)), hyperparameters, rng.random((m, d))


def fitted(x, y, hyperparameters, counted=None, module=surrogate):
    log_p, factors = module.evidence(x, y, hyperparameters, counted)
    B = len(log_p)
    return log_p, factors, module.surrogate(x, y, hyperparameters, factors, np.arange(1.0, B + 1) / B)


def covariance(x, over_scale, trend):
    """V5, in units of v, by the pair of ops/covariance.py."""
    u = (x - 0.5) * over_scale
    return matern52(u[None], u[None], 1.0, 1.0)[0][0] + trend * (1 + u @ u.T) ** 2


@given(situations())
def test_the_evidence_is_that_of_student_t(situation):
    """With its priors integrated out, y has a multivariate t distribution; constants cancel in differences."""
    x, y, _, hyperparameters, _ = situation
    x = x[: len(y)]
    log_p, factors = surrogate.evidence(x, y, hyperparameters)
    expected = []
    for over_scale, noise, trend in zip(*hyperparameters):
        C = covariance(x, over_scale, trend) + noise * np.eye(len(x)) + 1 / surrogate.KAPPA
        expected.append(stats.multivariate_t(None, surrogate.BETA / surrogate.ALPHA * C, df=2 * surrogate.ALPHA,
                                             allow_singular=True).logpdf(y))
    np.testing.assert_allclose(log_p - log_p[0], np.array(expected) - expected[0], rtol=1e-7, atol=1e-7)


@given(situations())
def test_without_a_trend_the_prediction_is_the_posterior_of_ops(situation):
    x, y, _, hyperparameters, q = situation
    x = x[: len(y)]
    hyperparameters = hyperparameters._replace(trend=np.zeros(len(hyperparameters.noise)))
    _, factors, s = fitted(x, y, hyperparameters)
    _, cache = surrogate.log_improvement(q, s)
    for b, (over_scale, noise, _) in enumerate(zip(*hyperparameters)):
        v, mean = factors.variance[b], factors.mean[b]
        known = x[None], y[None] - mean
        rest = 1 / over_scale, v, np.sqrt(v * noise), "matern52", 0.0
        posterior, _ = gp_posterior(*known, q[None], *rest)
        np.testing.assert_allclose(cache.sigma[b], posterior.std[0], rtol=1e-8)
        means, _ = gp_posterior(*known, x[None], *rest)
        np.testing.assert_allclose(s.best[b], mean + means.mean[0].min(), rtol=1e-8, atol=1e-9)


@given(situations())
def test_a_point_without_a_value_has_the_one_that_is_predicted(situation):
    x, y, counted, hyperparameters, q = situation
    n, k = len(x), len(y)
    log_p, _, s = fitted(x, y, hyperparameters, counted)
    few, _, without = fitted(x[:k], y, hyperparameters, counted)
    np.testing.assert_allclose(log_p, few, rtol=1e-10, atol=1e-10)
    at = (x[k:] - 0.5) * hyperparameters.over_scale[:, None]
    predicted = without.mean[:, None] + (without.a[:, None] @ without.A @ surrogate._correlation(
        without.u, at, without.trend[:, None, None])[0])[:, 0]
    for b in range(len(log_p)):
        one = surrogate.Hyperparameters(*(field[b : b + 1] for field in hyperparameters))
        _, _, told = fitted(x, np.append(y, predicted[b]), one, counted)
        np.testing.assert_allclose(s.a[b, :k], told.a[0, :k], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(told.a[0, k:], 0, atol=1e-7)
        np.testing.assert_allclose(s.A[b], told.A[0], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(s.best[b], told.best[0], rtol=1e-7, atol=1e-7)
    assert n >= k


@settings(max_examples=20)
@given(situations())
def test_the_gradient_is_that_of_the_value(situation):
    x, y, counted, hyperparameters, q = situation
    _, _, s = fitted(x, y, hyperparameters, counted)
    gradcheck(lambda q: surrogate.log_improvement(q, s), surrogate.log_improvement_backward, (q,)).raise_if_failed()


def test_the_curvature_is_the_second_derivative_of_the_mean():
    rng = np.random.default_rng(0)
    x, y = rng.random((12, 3)), rng.standard_normal(12)
    hyperparameters = surrogate.Hyperparameters(rng.uniform(1, 2, (1, 3)), np.full(1, 0.01), np.full(1, 0.4))
    _, _, s = fitted(x, y, hyperparameters)

    def mean(q):
        v = (q - 0.5) * s.over_scale[:, None]
        return (s.mean + s.a[0] @ s.A[0] @ surrogate._correlation(s.u[0], v[0], s.trend[0])[0])

    h, middle = 1e-4, np.full(3, 0.5)
    H = np.array([[(mean((middle + i + j)[None]) - mean((middle + i - j)[None]) - mean((middle - i + j)[None])
                    + mean((middle - i - j)[None]))[0] / (4 * h * h) for j in h * np.eye(3)] for i in h * np.eye(3)])
    np.testing.assert_allclose(surrogate.mean_curvature(s), H, rtol=1e-5, atol=1e-5 * np.abs(H).max())


@given(situations(), st.integers(0, 2**32 - 1))
def test_the_twin_is_the_original(situation, seed):
    x, y, counted, hyperparameters, q = situation
    d_log = np.random.default_rng(seed).standard_normal(len(q))
    results = []
    for module in (surrogate, twin):
        log_p, factors, s = fitted(x, y, hyperparameters, counted, module)
        log, cache = module.log_improvement(q, s)
        results.append((log_p, factors, s, log, module.log_improvement_backward(d_log, cache)))
    ours, theirs = results
    # noise of 1e-3 and more: C has a condition below 40 x 10^4 x 1e3, which multiplies the rounding of sums
    close = {"rtol": 1e-7, "atol": 1e-9}
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, **close)


def test_the_twin_has_the_fields_of_the_original():
    for name in ("Factors", "Surrogate"):
        assert getattr(twin, name)._fields == getattr(surrogate, name)._fields


@pytest.mark.parametrize("module", [surrogate, twin])
def test_hyperparameters_with_which_rounding_fails_have_no_evidence(module):
    x = np.full((5, 2), 0.3)
    hyperparameters = surrogate.Hyperparameters(np.ones((2, 2)), np.array([0.0, 0.1]), np.zeros(2))
    log_p, _ = module.evidence(x, np.zeros(5), hyperparameters)
    assert log_p[0] == -np.inf and np.isfinite(log_p[1])


@given(st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_the_inverse_of_a_triangle(n, seed):
    L = np.tril(np.random.default_rng(seed).uniform(-0.1, 0.1, (2, n, n)), -1) + np.eye(n)
    A = surrogate.inverse_lower(L)
    np.testing.assert_allclose(A @ L, np.broadcast_to(np.eye(n), L.shape), atol=1e-10)
    assert (np.triu(A, 1) == 0).all()


# Queries


def search(function, dim, evaluations, seed=0, opening=4, backend="numpy", **settings):
    """x (T, d) and y (T,) of a search that opens with random points."""
    rng = np.random.default_rng(seed)
    state, x, y = initial_state(dim, rng), list(rng.random((opening, dim))), []
    snap = settings.get("snap")
    x = x if snap is None else list(snap(np.array(x)))
    for t in range(evaluations):
        if t >= opening:
            point, state = next_query(np.array(x), np.array(y), None, rng, state, backend=backend, **settings)
            x.append(point)
        y.append(function(x[t]))
    return np.array(x), np.array(y)


def bowl(x):
    return float(((x - 0.3) ** 2).sum())


def valley(x):
    """Its curvature is 10^4 times as large in one direction as in the other, which are those of no coordinate."""
    along, across = x[0] + 2 * x[1] - 0.9, 2 * x[0] - x[1] - 0.4
    return float(along**2 + 1e4 * across**2)


def branin(x):
    box = BENCHMARKS["branin"]
    return float(box(box.from_unit(x)[None])[0])


def saved(state):
    """The state after it was written to a file of plain arrays."""
    file = io.BytesIO()
    np.savez(file, **state._asdict())
    file.seek(0)
    with np.load(file) as arrays:
        return FinishState(**arrays)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_resumed_search_goes_on_bit_for_bit(backend):
    rng = np.random.default_rng(3)
    state, x = initial_state(2, rng), rng.random((12, 2))
    y = np.array([valley(point) for point in x])
    again, again_rng = saved(state), np.random.default_rng()
    again_rng.bit_generator.state = rng.bit_generator.state
    before = [array.copy() for array in state]
    first = state
    for _ in range(6):
        point, state = next_query(x, y, x[:1] + 0.01, rng, state, backend=backend)
        other, again = next_query(x, y, x[:1] + 0.01, again_rng, saved(again), backend=backend)
        np.testing.assert_array_equal(point, other)
        for ours, theirs in zip(state, again):
            np.testing.assert_array_equal(ours, theirs)
        x, y = np.concatenate([x, [point]]), np.append(y, valley(point))
    for array, copy in zip(first, before):
        np.testing.assert_array_equal(array, copy)
    assert not np.isnan(state.radius)  # there were local queries


def test_seeds_are_different_searches():
    assert not np.array_equal(search(bowl, 2, 6, seed=1)[0][4:], search(bowl, 2, 6, seed=2)[0][4:])


@pytest.mark.parametrize("function", [bowl, lambda x: 0.0, lambda x: np.nan, lambda x: float(np.sin(1e4 * x.sum()))])
def test_no_point_is_queried_twice(function):
    x, _ = search(function, 2, 60)
    assert ((x >= 0) & (x <= 1)).all() and len(np.unique(x, axis=0)) == 60


def test_all_points_of_a_grid_are_queried_before_one_is_repeated():
    grid = {"snap": lambda q: np.clip(np.floor(5 * q), 0, 4) / 5 + 0.1}
    x, _ = search(bowl, 2, 30, opening=1, **grid)
    assert len(np.unique(x[:25].round(9), axis=0)) == 25
    np.testing.assert_allclose(grid["snap"](x), x)


def test_it_finds_far_more_than_random_search():
    regrets = []
    for seed in range(2):
        _, y = search(branin, 2, 40, seed)
        random = [branin(x) for x in np.random.default_rng(seed).random((40, 2))]
        regrets.append([min(y) - BENCHMARKS["branin"].minimum, min(random) - BENCHMARKS["branin"].minimum])
    ours, theirs = np.log10(np.maximum(regrets, 1e-8)).mean(axis=0)
    assert ours < theirs - 2


def test_a_narrow_valley_is_made_round():
    _, y = search(valley, 2, 70)
    assert y.min() < 1e-8
    random = min(valley(x) for x in np.random.default_rng(0).random((70, 2)))
    assert random > 1e-4


@pytest.mark.parametrize("dim", [1, 5])
def test_other_dimensions(dim):
    _, y = search(bowl, dim, 30)
    assert y.min() < 1e-3


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_failures_repel(backend):
    """A part of the square fails, on the far side of the minimum."""
    x, y = search(lambda x: np.nan if x[0] < 0.2 else bowl(x), 2, 40, backend=backend)
    assert np.isnan(y[20:]).mean() < 0.5 and np.nanmin(y) < 1e-4
    far = np.array([[0.9, 0.9]]), np.array([np.nan])
    rng = np.random.default_rng(0)
    for _ in range(5):  # nothing is known but a failure
        point, _ = next_query(*far, None, rng, initial_state(2, rng), backend=backend)
        assert np.abs(point - far[0]).max() > 0.3


@pytest.mark.parametrize("penalty", [1e6, 1e12, np.inf])
def test_a_penalty_costs_little(penalty):
    _, y = search(lambda x: penalty if x[0] < 0.2 else bowl(x), 2, 40)
    assert y.min() < 1e-4


def test_pending_points_are_left_to_others():
    rng = np.random.default_rng(0)
    x = rng.random((10, 2))
    y = np.array([bowl(point) for point in x])
    state, pending = initial_state(2, rng), np.empty((0, 2))
    for _ in range(8):
        point, state = next_query(x, y, pending, rng, state)
        pending = np.concatenate([pending, [point]])
    apart = np.abs(pending[:, None] - pending).max(axis=2) + np.eye(8)
    assert np.median(apart.min(axis=1)) > 0.01


def test_pending_points_do_not_shrink_the_trust_region():
    """Nothing has become known since the last query."""
    x, y = search(bowl, 2, 20)
    rng = np.random.default_rng(0)
    state = initial_state(2, rng)
    _, state = next_query(x, y, None, rng, state._replace(queries=np.array(1)))
    radius, pending = state.radius, np.empty((0, 2))
    assert radius > 0
    for _ in range(6):
        point, state = next_query(x, y, pending, rng, state)
        pending = np.concatenate([pending, [point]])
    assert state.radius == radius


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [1e300, -1e300, 1e300] * 4, [1e-300] * 12,
                                    [np.nan, np.nan, 3.0], [1e9 + k for k in range(12)], [-np.inf, 1.0]])
def test_any_values_give_a_query(values):
    rng = np.random.default_rng(0)
    x, y = rng.random((len(values), 2)), np.array(values)
    state = initial_state(2, rng)
    for _ in range(4):
        point, state = next_query(x, y, None, rng, state)
        assert ((point >= 0) & (point <= 1)).all()
    x[1:] = x[0]  # whatever was told, even of one point
    point, _ = next_query(x, y, None, rng, state)
    assert np.isfinite(point).all()


def test_the_scale_of_the_values_does_not_matter():
    x, _ = search(bowl, 2, 15)
    for size in (4.0, 2.0**-10):  # powers of two, so that nothing is rounded
        np.testing.assert_allclose(search(lambda x, size=size: size * bowl(x), 2, 15)[0], x, atol=1e-6)


def test_the_cost_of_a_query_is_bounded(monkeypatch):
    sizes = []
    original = finish._Model.__init__

    def spy(self, x, *arguments):
        sizes.append(len(x))
        original(self, x, *arguments)

    monkeypatch.setattr(finish._Model, "__init__", spy)
    rng = np.random.default_rng(0)
    x = rng.random((1000, 2))
    y = np.array([bowl(point) if k % 5 else np.nan for k, point in enumerate(x)])
    state = initial_state(2, rng)
    for _ in range(2):
        _, state = next_query(x, y, None, rng, state)
    assert len(sizes) == 2 and max(sizes) <= finish.WINDOW * 5 // 4


def test_noise_is_taken_for_noise():
    """The particles that are kept of a noisy function have far more noise than those of a smooth one."""
    noise = []
    for size in (0.0, 0.3):
        values = np.random.default_rng(1)
        rng, x = np.random.default_rng(0), np.random.default_rng(0).random((60, 2))
        y = np.array([np.sin(3 * point[0]) + size * values.standard_normal() for point in x])
        state = initial_state(2, rng)
        for _ in range(15):
            _, state = next_query(x, y, None, rng, state._replace(queries=np.array(0)))
        noise.append(np.exp(state.particles[0, -1]))
    assert noise[0] < 1e-3 and noise[1] > 0.01

"""The finish of a search: its surrogate against formulas and its twin, and what its queries do."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_interrupts import interrupted

import l2l_ref as l2l
from l2l_ref.black_boxes import BENCHMARKS
from l2l_ref.checking import gradcheck
from l2l_ref.compiled import surrogate as twin
from l2l_ref.ops import surrogate
from l2l_ref.ops.covariance import matern52
from l2l_ref.ops.gp import gp_posterior
from l2l_ref.search import finish
from l2l_ref.search.finish import History, next_query
from l2l_ref.search.repeats import Rows
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
    results, tops = [], []
    for module in (surrogate, twin):
        log_p, factors, s = fitted(x, y, hyperparameters, counted, module)
        log, cache = module.log_improvement(q, s)
        results.append((log_p, factors, s, log, module.log_improvement_backward(d_log, cache)))
        length = np.arange(x.shape[1]) / 2.0  # the first coordinate stays
        climbed = module.climb(q, s, length, 3)
        np.testing.assert_array_equal(climbed[:, 0], q[:, 0])
        tops.append(module.log_improvement(climbed, s)[0])
    ours, theirs = results
    # noise of 1e-3 and more: C has a condition below 40 x 10^4 x 1e3, which multiplies the rounding of sums
    close = {"rtol": 1e-7, "atol": 1e-9}
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, **close)
    # where two values are equal but for rounding, one may take a step that the other does not take: so their values
    np.testing.assert_allclose(*tops, rtol=1e-5, atol=1e-5)
    assert (tops[0] >= results[0][3]).all()


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


def history(x, y, pending=(), memory=None, seed=0, **more):
    """The History of a search of continuous parameters, unless ``more`` says otherwise."""
    d = x.shape[1]
    settings = {"categorical": np.zeros(d, bool), "levels": np.full(d, np.inf), "rounded": lambda q: q, "noisy": False}
    return History(x, np.array(y, float), np.reshape(pending, (-1, d)), seed=[seed, len(x), len(pending)],
                   memory=memory, **settings | more)


def search(function, dim, evaluations, seed=0, backend="numba", **more):
    """x (T, d) and y (T,) of a search that opens with random points."""
    rng, memory = np.random.default_rng(seed), None
    x, y = np.empty((evaluations, dim)), np.empty(evaluations)
    for t in range(evaluations):
        proposed = next_query(history(x[:t], y[:t], memory=memory, seed=seed, **more), backend)
        assert (proposed is None) == (t < 2 * dim + 2)
        if proposed is None:
            x[t] = more.get("rounded", lambda q: q)(rng.random((1, dim)))[0]
        else:
            x[t], memory = proposed
        y[t] = function(x[t])
    return x, y


def bowl(x):
    return float(((x - 0.3) ** 2).sum())


def valley(x):
    """Its curvature is 10^4 times as large in one direction as in the other, which are those of no coordinate."""
    along, across = x[0] + 2 * x[1] - 0.9, 2 * x[0] - x[1] - 0.4
    return float(along**2 + 1e4 * across**2)


def branin(x):
    box = BENCHMARKS["branin"]
    return float(box(box.from_unit(x)[None])[0])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_query_changes_nothing_of_what_it_is_given(backend):
    rng, memory = np.random.default_rng(0), None
    x = rng.random((20, 2))
    y = np.array([valley(point) for point in x])
    for n in range(12, 20):
        given = history(x[:n], y[:n], x[:1] + 0.01, memory)
        before = copy.deepcopy(given._replace(rounded=None))
        point, new = next_query(given, backend)
        other, again = next_query(given, backend)
        np.testing.assert_array_equal(point, other)
        for name in new:
            np.testing.assert_array_equal(new[name], again[name])
        for ours, theirs in zip(before, given._replace(rounded=None)):
            np.testing.assert_equal(ours, theirs)
        memory = new
    assert not np.isnan(memory["radius"])  # there were local queries


def test_seeds_are_different_searches():
    assert not np.array_equal(search(bowl, 2, 8, seed=1)[0][6:], search(bowl, 2, 8, seed=2)[0][6:])


@pytest.mark.parametrize("function", [bowl, lambda x: 0.0, lambda x: np.nan, lambda x: float(np.sin(1e4 * x.sum()))])
def test_no_point_is_queried_twice(function):
    x, _ = search(function, 2, 60)
    assert ((x >= 0) & (x <= 1)).all() and len(np.unique(x, axis=0)) == 60


def five(q):
    """Five values of each coordinate."""
    return np.clip(np.floor(5 * q), 0, 4) / 5 + 0.1


@pytest.mark.parametrize("categorical", [False, True])
def test_all_points_of_a_grid_are_queried_before_one_is_repeated(categorical):
    grid = {"rounded": five, "levels": np.full(2, 5.0), "categorical": np.full(2, categorical)}
    x, _ = search(bowl, 2, 30, **grid)
    assert len(np.unique(x[6:25].round(9), axis=0)) == 19  # the opening may have repeated some
    assert len(np.unique(x.round(9), axis=0)) == 25
    np.testing.assert_allclose(five(x), x)


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
    far = np.full((6, 2), 0.9)
    for seed in range(5):  # nothing is known but failures
        point, _ = next_query(history(far, np.full(6, np.nan), seed=seed), backend)
        assert np.abs(point - far[0]).max() > 0.3


@pytest.mark.parametrize("penalty", [1e6, 1e12, np.inf])
def test_a_penalty_costs_little(penalty):
    result = l2l.minimize(lambda x: penalty if x[0] < 0.2 else bowl(x), [(0, 1)] * 2, 40, backend="numba")
    assert result.fun < 1e-4 and result.proposed["finish"] == 34


def test_pending_points_are_left_to_others():
    x = np.random.default_rng(0).random((10, 2))
    y = np.array([bowl(point) for point in x])
    memory, pending = None, np.empty((0, 2))
    for _ in range(8):
        point, memory = next_query(history(x, y, pending, memory))
        pending = np.concatenate([pending, [point]])
    apart = np.abs(pending[:, None] - pending).max(axis=2) + np.eye(8)
    assert np.median(apart.min(axis=1)) > 0.01


def test_pending_points_do_not_shrink_the_trust_region():
    """Nothing has become known since the last query."""
    x, y = search(bowl, 2, 20)
    memory, pending, radii = None, np.empty((0, 2)), []
    for _ in range(8):
        point, memory = next_query(history(x, y, pending, memory))
        pending = np.concatenate([pending, [point]])
        radii.append(float(memory["radius"]))
    assert math.isnan(radii[0]) and radii[1] > 0 and set(radii[1:]) == {radii[1]}


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [1e300, -1e300, 1e300] * 4, [1e-300] * 12,
                                    [np.nan, np.nan, 3.0], [1e9 + k for k in range(12)], [-np.inf, 1.0]])
def test_any_values_give_a_query(values):
    n = max(len(values), 6)
    x = np.random.default_rng(0).random((n, 2))
    y = np.resize(values, n)
    for _ in range(2):
        memory = None
        for _ in range(4):
            point, memory = next_query(history(x, y, memory=memory))
            assert ((point >= 0) & (point <= 1)).all()
        x[1:] = x[0]  # whatever was told, even of one point


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
    x = np.random.default_rng(0).random((1000, 2))
    y = np.array([bowl(point) if k % 5 else np.nan for k, point in enumerate(x)])
    memory = None
    for _ in range(2):
        _, memory = next_query(history(x, y, memory=memory))
    assert len(sizes) == 2 and max(sizes) <= finish.most_seen(2) * 5 // 4


@given(st.lists(st.sampled_from([np.nan, 0.0, 1.0, 2.0]) | st.floats(-1e9, 1e9), min_size=1, max_size=400),
       st.integers(1, 8))
def test_a_surrogate_sees_the_best_points_and_the_latest(values, dim):
    y = np.array(values)
    data = finish._Data(np.zeros((len(y), dim)), y, np.zeros((0, dim)), lambda q: q)
    known, failed = finish._window(data)
    size = finish.most_seen(dim)
    expected = sorted((n for n in range(len(y)) if y[n] == y[n]), key=lambda n: (y[n], n))
    if len(expected) > size:
        latest = [n for n in sorted(expected) if n not in expected[: size // 2]]
        expected = expected[: size // 2] + latest[size // 2 - size:]
    assert known.tolist() == expected
    assert failed.tolist() == np.flatnonzero(np.isnan(y))[-(size // 4):].tolist()


def test_noise_that_was_announced_is_taken_for_noise():
    """The particles that are kept of a noisy function have far more noise than those of a smooth one."""
    noise = []
    for size in (0.0, 0.3):
        values, x = np.random.default_rng(1), np.random.default_rng(0).random((60, 2))
        y = np.array([np.sin(3 * point[0]) + size * values.standard_normal() for point in x])
        memory = None
        for seed in range(15):
            _, memory = next_query(history(x, y, memory=memory, seed=seed, noisy=size > 0))
            memory["queries"] = np.array(0.0)  # global ones
        noise.append(np.exp(memory["particles"][0, -1]))
    assert noise[0] < 1e-3 and noise[1] > 0.01


def test_a_noisy_function_has_no_local_queries():
    x, y = search(bowl, 2, 20)
    for noisy in (False, True):
        memory = None
        for _ in range(2):
            _, memory = next_query(history(x, y, memory=memory, noisy=noisy))
        assert bool(memory["last"][0]) != noisy


# ------------------------------------------------------------------------------------------- mixed parameters


def test_choices_are_equally_far_apart():
    """The value of the first and the last of five choices is alike, so the model expects the same of both."""
    given = history(np.empty((0, 3)), [], categorical=np.array([False, True, True]), levels=np.array([np.inf, 5, 2]))
    seen = finish._Coordinates(given)
    e = seen(np.array([[0.3, k / 5 + 0.1, j / 2 + 0.25] for j in range(2) for k in range(5)]))
    assert e.shape == (10, 7) and seen.parameter.tolist() == [0, 1, 1, 1, 1, 1, 2]
    apart = np.linalg.norm(e[:5, None] - e[:5], axis=2)
    np.testing.assert_allclose(apart, math.sqrt(2) * (1 - np.eye(5)))
    np.testing.assert_allclose(e[:, [0, 6]], [[0.3, j / 2 + 0.25] for j in range(2) for _ in range(5)])
    q = np.array([[0.3, 0.5, 0.25]])
    np.testing.assert_allclose(seen.moved(q, seen(q) + [[0.1, 9, 9, 9, 9, 9, 0.2]]), [[0.4, 0.5, 0.45]])


def test_local_queries_leave_choices_alone():
    """After a mixed search has found the right choice, every other query changes the continuous parameters alone."""
    mixed = {"categorical": np.array([False, True, False]), "levels": np.array([np.inf, 5, np.inf]),
             "rounded": lambda q: np.column_stack([q[:, 0], five(q[:, 1]), q[:, 2]])}
    x, y = search(lambda x: bowl(x[[0, 2]]) + abs(np.cos(9 * x[1])), 3, 60, **mixed)
    assert y.min() < abs(np.cos(9 * np.arange(0.1, 1, 0.2))).min() + 1e-6
    assert (np.abs(x[40:, 1] - x[y.argmin(), 1]) < 1e-9).mean() >= 0.5


def valued(p):
    """Least, 0, at x = 0.3, n = 7, kind = "b"."""
    return (p["x"] - 0.3) ** 2 + abs(p["n"] - 7) / 10 + {"a": 0.5, "b": 0.0, "c": 0.3, "d": 0.4}[p["kind"]]


MIXED = {"x": l2l.Float(0, 1), "n": l2l.Int(1, 20), "kind": l2l.Categorical(list("abcd"))}


def test_a_mixed_space_is_searched_better_than_at_random():
    for seed in range(3):
        rng = np.random.default_rng(seed)
        random = [valued({"x": rng.random(), "n": rng.integers(1, 21), "kind": "abcd"[rng.integers(4)]})
                  for _ in range(40)]
        result = l2l.minimize(valued, MIXED, 40, seed=seed, backend="numba")
        assert result.fun < 1e-3 < min(random)
        assert result.x["n"] == 7 and result.x["kind"] == "b"


# --------------------------------------------------------------------------------------------------- the joint


def opened(seed=0, **settings):
    return l2l.BlackBoxOptimizer([(0, 1)] * 2, "lstm-oi", seed, backend="numba", **settings)


def run(bb, n):
    points = []
    for _ in range(n):
        trial = bb.ask()
        bb.tell(trial, valley(trial.x))
        points.append(trial.x)
    return np.array(points)


def test_the_opening_is_the_networks():
    bb, network = opened(), opened(finish=None)
    np.testing.assert_array_equal(run(bb, 6), run(network, 6))
    assert not np.array_equal(bb.ask().x, network.ask().x)
    assert [event[4:] for event in bb.log if event[0] == "ask"] == 6 * [[]] + [["finish"]]
    assert bb.proposed == {"network": 6} and network.proposed == {"network": 6}
    bb.tell([0.5, 0.5], 1.0)
    bb.tell(bb.pending[0], 1.0)
    assert bb.proposed == {"network": 6, "finish": 1, "given": 1}


def test_known_points_are_an_opening():
    bb = opened()
    for point in np.random.default_rng(0).random((6, 2)):
        bb.tell(point, valley(point))
    assert bb.ask() and bb.log[-1][4] == "finish"


@pytest.mark.parametrize("n", [6, 7, 8, 13, 24])
def test_a_restored_search_goes_on_bit_for_bit(n, tmp_path):
    bb = opened(3)
    run(bb, n)
    bb.ask()  # is pending
    bb.save(tmp_path / "run.json")
    others = [l2l.BlackBoxOptimizer.load(tmp_path / "run.json", backend="numba"), copy.deepcopy(bb),
              pickle.loads(pickle.dumps(bb))]
    expected = run(bb, 5)
    for other in others:
        np.testing.assert_array_equal(run(other, 5), expected)
        assert other.log == bb.log


@pytest.mark.parametrize("bounds", [[(0, 1)] * 2, [(-0.1, 1.3), (0.03, 0.97)]])
def test_a_run_that_is_taken_up_is_the_same_run(tmp_path, bounds):
    """Also where a point of the box has more digits than one of the cube."""
    whole = l2l.minimize(valley, bounds, 20, backend="numba")
    for n in (4, 9, 12, 14, 20):
        parts = l2l.minimize(valley, bounds, n, backend="numba", file=tmp_path / "run.json")
    assert parts.log == whole.log and parts.proposed == whole.proposed == {"network": 6, "finish": 14}


@pytest.mark.parametrize("name, value", [
    ("particles", [[0.0]]), ("axes", [[1.0, 0.0], [None, 1.0]]), ("radius", [1.0]), ("queries", "a"), ("more", 1.0),
    ("centre", None),
])
def test_a_broken_memory_is_refused(name, value):
    bb = opened()
    run(bb, 8)
    state = bb.state_dict()
    memory, = state["memory"].values()
    memory[name] = value
    with pytest.raises(ValueError, match="^state: "):
        l2l.BlackBoxOptimizer.from_state(state)


def test_an_interrupted_row_can_be_added_again():
    """Also where the buffer grows."""
    at = 1
    while True:
        rows = Rows(1)
        for k in range(62):
            rows.append(np.array([k]))
        if not interrupted(lambda rows=rows: rows.append(np.array([62])), at):
            break
        for k in range(len(rows), 70):
            rows.append(np.array([k]))
        np.testing.assert_array_equal(rows.array[:, 0], range(70))
        at += 1
    assert at > 5


@pytest.mark.parametrize("kind", ["global", "local"])
def test_an_interrupt_before_any_line_of_a_query(kind):
    bb, at = opened(), 1
    run(bb, 10 if kind == "global" else 11)
    copy.deepcopy(bb).ask()  # compiles what is not compiled yet
    while True:
        other = copy.deepcopy(bb)
        if not interrupted(other.ask, at):
            break
        again = copy.deepcopy(bb)
        if len(other.log) > len(bb.log):
            again.ask()
        assert other.log == again.log
        np.testing.assert_array_equal(run(other, 2), run(again, 2))
        at += 41
    assert at > 300


def test_an_interrupted_query_is_as_if_it_had_not_been(monkeypatch):
    """Of each kind of query, by itself and within a batch."""
    original = finish._Model.climb
    for k in range(6, 12):
        bb, other = opened(), opened()
        run(bb, k)
        run(other, k)

        def climb(*arguments):
            original(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(finish._Model, "climb", climb)
        with pytest.raises(KeyboardInterrupt):
            bb.ask()
        with pytest.raises(KeyboardInterrupt):
            bb.ask(3)
        monkeypatch.undo()
        assert bb.log == other.log and not bb.pending
        np.testing.assert_array_equal(run(bb, 4), run(other, 4))


def test_an_interrupted_batch_is_forgotten_as_a_whole(monkeypatch):
    bb, other = opened(), opened()
    run(bb, 8)
    run(other, 8)
    original, calls = finish._Model.climb, []

    def climb(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(finish._Model, "climb", climb)
    with pytest.raises(KeyboardInterrupt):
        bb.ask(4)
    monkeypatch.undo()
    np.testing.assert_array_equal([trial.x for trial in bb.ask(4)], [trial.x for trial in other.ask(4)])
    np.testing.assert_array_equal(run(bb, 4), run(other, 4))


def test_threads_get_different_points():
    bb, out = opened(), []
    run(bb, 6)

    def work():
        for _ in range(3):
            trial = bb.ask()
            out.append(tuple(trial.x))
            bb.tell(trial, valley(trial.x))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(out)) == 12 and not bb.pending and bb.proposed == {"network": 6, "finish": 12}


@pytest.mark.parametrize("batch", [3, 8])
def test_batches_are_better_than_random(batch):
    found, random = [], []
    for seed in range(3):
        bb, rng = opened(seed), np.random.default_rng(seed)
        for _ in range(48 // batch):
            for trial in bb.ask(batch):
                bb.tell(trial, branin(trial.x))
        found.append(bb.best[1])
        random.append(min(branin(x) for x in rng.random((48, 2))))
    assert np.mean(found) < BENCHMARKS["branin"].minimum + 0.1 * (np.mean(random) - BENCHMARKS["branin"].minimum)


@pytest.mark.parametrize("dim, opening", [(9, "network"), (22, "sobol")])
def test_many_dimensions(dim, opening):
    result = l2l.minimize(bowl, [(0, 1)] * dim, 3 * dim + 20, backend="numba")
    random = min(bowl(x) for x in np.random.default_rng(0).random((3 * dim + 20, dim)))
    assert result.proposed == {opening: 2 * dim + 2, "finish": dim + 18} and result.fun < random / 2


def test_maxima_and_constraints():
    result = l2l.minimize(lambda x: -bowl(x), [(0, 1)] * 2, 30, backend="numba", maximize=True)
    assert result.fun > -1e-4
    result = l2l.minimize(bowl, [(0, 1)] * 2, 40, backend="numba", constraints=lambda x: x[0] - 0.5)
    assert result.x[0] >= 0.5 and result.fun == pytest.approx(0.04, abs=0.01)


def test_fixed_parameters_are_none_of_the_finish():
    result = l2l.minimize(bowl, [(0, 1), (0.7, 0.7), (0, 1)], 30, backend="numba")
    assert result.x[1] == 0.7 and result.fun == pytest.approx(0.16, abs=1e-4)
    assert result.proposed == {"network": 6, "finish": 24}


def test_noise_is_averaged_out():
    rng = np.random.default_rng(0)
    result = l2l.minimize(lambda x: bowl(x) + 0.1 * rng.standard_normal(), [(0, 1)] * 2, 50, backend="numba",
                          noise=0.1)
    assert bowl(result.x) < 0.02 and result.fun == pytest.approx(bowl(result.x), abs=0.1)


def test_a_given_scale_hides_no_penalty():
    result = l2l.minimize(lambda x: 1e9 if x[0] < 0.2 else bowl(x), [(0, 1)] * 2, 40, scaling=(0.3, 0.2),
                          backend="numba")
    assert result.fun < 1e-4


@pytest.mark.parametrize("finish", ["gp", 3])
def test_what_is_no_finish(finish):
    with pytest.raises(ValueError, match="finish: expected 'auto', None or a function"):
        opened(finish=finish)

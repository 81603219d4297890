"""Gaussian processes: the sampler against its distribution, a dense factorisation and its compiled twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from l2l_ref import backends
from l2l_ref.black_boxes import GPFunctions, GPPaths
from l2l_ref.checking import gradcheck
from l2l_ref.compiled import gp as twin
from l2l_ref.ops import gp
from l2l_ref.ops.cholesky import cholesky_row
from l2l_ref.ops.covariance import COVARIANCES, covariance_pair, squared_distance, squared_exponential

each_covariance = pytest.mark.parametrize("covariance", COVARIANCES)


def dense(x, z, length_scale, variance, jitter, covariance="squared_exponential"):
    """The covariance of the values at x (T, d), and the draw, from the whole matrix at once."""
    r = np.sqrt((((x[:, None] - x[None]) / length_scale) ** 2).sum(axis=2))
    if covariance == "squared_exponential":
        K = np.exp(-0.5 * r**2)
    elif covariance == "matern32":
        K = (1 + 3**0.5 * r) * np.exp(-(3**0.5) * r)
    else:
        K = (1 + 5**0.5 * r + 5 / 3 * r**2) * np.exp(-(5**0.5) * r)
    K = variance * (K + jitter * np.eye(len(x)))
    return K, np.linalg.cholesky(K) @ z


@st.composite
def settings_of_draws(draw):
    """B, T, d, seed and the arguments of a covariance."""
    d = draw(st.integers(1, 6))
    size = st.floats(0.2, 2.0)
    return {
        "B": draw(st.sampled_from([1, 2, 3, 17])), "T": draw(st.sampled_from([1, 2, 5, 12, 30])), "d": d,
        "length_scale": draw(st.one_of(size, st.lists(size, min_size=d, max_size=d).map(np.array))),
        "variance": draw(st.floats(0.1, 10.0)),
        "covariance": draw(st.sampled_from(sorted(COVARIANCES))),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "repeats": draw(st.booleans()),
    }


def build(draw_settings, dtype=np.float64):
    """x, z and the further arguments of gp_sample."""
    rng = np.random.default_rng(draw_settings["seed"])
    x = rng.random((draw_settings["B"], draw_settings["T"], draw_settings["d"])).astype(dtype)
    if draw_settings["repeats"]:
        x[:, 1::2] = x[:, :1]
    z = rng.standard_normal((draw_settings["B"], draw_settings["T"])).astype(dtype)
    return x, z, draw_settings["length_scale"], draw_settings["variance"], draw_settings["covariance"]


@given(settings_of_draws())
def test_a_draw_is_the_cholesky_factor_times_the_normal_numbers(draw_settings):
    x, z, length_scale, variance, covariance = build(draw_settings)
    f, _ = gp.gp_sample(x, z, length_scale, variance, covariance, jitter=1e-6)
    for b in range(draw_settings["B"]):
        _, expected = dense(x[b], z[b], length_scale, variance, 1e-6, covariance)
        np.testing.assert_allclose(f[b], expected, rtol=0, atol=1e-8 * variance**0.5)


@given(settings_of_draws())
@settings(max_examples=15)
def test_mean_and_deviation_are_those_of_the_posterior(draw_settings):
    x, z, length_scale, variance, covariance = build(draw_settings)
    state, f = gp.gp_initial_state(*x.shape), []
    for t in range(draw_settings["T"]):
        (draw, state), _ = gp.gp_append(state, x[:, t], z[:, t], length_scale, variance, covariance, jitter=1e-3)
        before = np.stack(f, axis=1) if f else np.zeros((draw_settings["B"], 0))
        posterior, _ = gp.gp_posterior(x[:, :t], before, x[:, t : t + 1], length_scale, variance, 0.0, covariance, 1e-3)
        np.testing.assert_allclose(draw.mean, posterior.mean[:, 0], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(draw.std, posterior.std[:, 0], rtol=1e-8, atol=1e-8)
        f.append(draw.f)
    np.testing.assert_array_equal(np.stack(f, axis=1), gp.gp_sample(x, z, length_scale, variance, covariance, 1e-3)[0])


@each_covariance
@pytest.mark.parametrize("order", ["as given", "reversed", "shuffled"])
def test_sampled_functions_have_the_covariance_of_the_kernel(covariance, order):
    """100,000 functions at 10 fixed points, asked for in any order; sums of squares bound the sampling error."""
    functions, T, d = 100_000, 10, 2
    points = np.random.default_rng(0).random((T, d))
    permutation = {"as given": np.arange(T), "reversed": np.arange(T)[::-1],
                   "shuffled": np.random.default_rng(1).permutation(T)}[order]
    z = np.random.default_rng(2).standard_normal((functions, T))
    x = np.repeat(points[None, permutation], functions, axis=0)
    f = np.empty((functions, T))
    f[:, permutation] = twin.gp_sample(x, z, 0.4, 1.7, covariance)[0]
    K, _ = dense(points, z[0], 0.4, 1.7, 1e-10, covariance)
    std = np.sqrt((np.outer(np.diag(K), np.diag(K)) + K**2) / functions)  # of an entry, by Wick's rule
    assert (np.abs(f.T @ f / functions - K) < 4.5 * std).all()
    assert (np.abs(f.mean(axis=0)) < 4.5 * np.sqrt(np.diag(K) / functions)).all()


@pytest.mark.parametrize("module", [gp, twin])
def test_a_repeated_query_gives_the_same_value_to_jitter(module):
    rng = np.random.default_rng(0)
    x = rng.random((500, 8, 3))
    x[:, 5:] = x[:, 2:3]
    for dtype, jitter in ((np.float64, 1e-10), (np.float32, 2e-5)):
        f, _ = module.gp_sample(x.astype(dtype), rng.standard_normal((500, 8)).astype(dtype), 0.4, 2.0)
        assert np.abs(f[:, 5:] - f[:, 2:3]).max() < 6 * np.sqrt(2 * 2.0 * jitter)
        assert f.std() > 1


@pytest.mark.parametrize("module", [gp, twin])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0.0, 1e-4, 1e-2, 1.0])
def test_the_default_jitter_is_enough(module, dtype, spread):
    """A hundred points at one place, close to each other, and everywhere."""
    rng = np.random.default_rng(0)
    for d in (1, 6):
        x = (0.5 + spread * (rng.random((4, 100, d)) - 0.5)).astype(dtype)
        f, cache = module.gp_sample(x, rng.standard_normal((4, 100)).astype(dtype), 0.2 * d**0.5, 1.0)
        assert np.isfinite(f).all()
        assert all(np.isfinite(g).all() for g in module.gp_sample_backward(f, cache))


@pytest.mark.parametrize("module", [gp, twin])
def test_a_point_that_leaves_no_variance_is_an_error(module):
    x, z = np.full((2, 3, 1), 0.5), np.ones((2, 3))
    with pytest.raises(ValueError, match="^c: row 1 of matrix 0 leaves .* jitter"):
        module.gp_sample(x, z, 1.0, 1.0, jitter=0.0)
    x[1] = np.nan
    x[0] = [[0.1], [0.5], [0.9]]
    with pytest.raises(ValueError, match="^c: row 1 of matrix 1 leaves nan"):
        module.gp_sample(x, z, 1.0, 1.0)


def test_a_singular_posterior_is_an_error():
    x, q = np.full((1, 3, 1), 0.5), np.full((1, 1, 1), 0.2)
    with pytest.raises(ValueError, match="^jitter: "):
        gp.gp_posterior(x, np.ones((1, 3)), q, 1.0, 1.0, 0.0, jitter=0.0)
    posterior, _ = gp.gp_posterior(x, np.ones((1, 3)), q, 1.0, 1.0, 0.1, jitter=0.0)
    assert 0 < posterior.std[0, 0] < 1


def test_the_posterior_is_that_of_the_formulas():
    rng = np.random.default_rng(3)
    x, y, q = rng.random((2, 5, 2)), rng.standard_normal((2, 5)), rng.random((2, 4, 2))
    posterior, _ = gp.gp_posterior(x, y, q, 0.5, 1.3, 0.2, jitter=0.0)
    for b in range(2):
        K, _ = dense(np.concatenate([x[b], q[b]]), np.zeros(9), 0.5, 1.3, 0.0)
        inverse = np.linalg.inv(K[:5, :5] + 0.2**2 * np.eye(5))
        np.testing.assert_allclose(posterior.mean[b], K[5:, :5] @ inverse @ y[b], rtol=1e-9)
        left = K[5:, 5:] - K[5:, :5] @ inverse @ K[:5, 5:]
        np.testing.assert_allclose(posterior.std[b] ** 2, np.diag(left), rtol=1e-8)


@pytest.mark.parametrize("shape", [(1, 2), (1, 3), (2, 2)])
def test_no_queries_say_nothing_of_the_data_whatever_lies_behind_them(shape):
    rng = np.random.default_rng(0)
    _, cache = gp.gp_posterior(rng.random((*shape, 2)), rng.random(shape), np.empty((shape[0], 0, 2)), 0.5, 1.3, 0.2)
    nothing = np.broadcast_to(np.nan, (shape[0], 0))
    for gradient in gp.gp_posterior_backward(gp.Posterior(nothing, nothing), cache):
        np.testing.assert_array_equal(gradient, 0)


def test_noise_is_seen_and_the_value_stays():
    f, epsilon = np.zeros((3, 4)), np.random.default_rng(0).standard_normal((3, 4))
    y, _ = gp.observe(f, epsilon, 0.1)
    np.testing.assert_array_equal(y, 0.1 * epsilon)
    for wrong in (-0.1, np.nan, np.inf, np.ones(3)):
        with pytest.raises(ValueError, match="^noise: expected one finite number >= 0"):
            gp.observe(f, epsilon, wrong)


# States


@pytest.mark.parametrize("module", [gp, twin])
def test_in_place_shares_the_arrays_and_changes_no_result(module):
    rng = np.random.default_rng(0)
    x, z, d_f = rng.random((3, 5, 2)), rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    results = []
    for in_place in (False, True):
        state, caches, values = gp.gp_initial_state(3, 5, 2), [], []
        for t in range(5):
            before = state
            (draw, state), cache = module.gp_append(before, x[:, t], z[:, t], 0.5, 1.0, in_place=in_place)
            assert np.shares_memory(state.L, before.L) == in_place
            caches.append(cache)
            values.append(draw.f)
        d_state, gradients = gp.gp_initial_state(3, 5, 2), []
        for t in reversed(range(5)):
            d_draw = gp.Draw(d_f[:, t], np.zeros(3), np.zeros(3))
            d_state, *found = module.gp_append_backward((d_draw, d_state), caches[t], in_place=in_place)
            gradients += found
        results.append([*values, *gradients])
    for copied, shared in zip(*results):
        np.testing.assert_array_equal(copied, shared)
    _, cache = gp.gp_sample(x, z, 0.5, 1.0)
    d_x, d_z, *_ = gp.gp_sample_backward(d_f, cache)
    for t in range(5):
        np.testing.assert_allclose(results[0][5 + 4 * t], d_x[:, 4 - t], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(results[0][6 + 4 * t], d_z[:, 4 - t], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("module", [gp, twin])
def test_bad_arguments_are_named(module):
    state, x, z = gp.gp_initial_state(2, 3, 2), np.zeros((2, 2)), np.zeros(2)

    def append(**changes):
        arguments = {"state": state, "x": x, "z": z, "length_scale": 1.0, "variance": 1.0} | changes
        return module.gp_append(**arguments)

    append()
    for name, wrong in (
        ("x", np.zeros((2, 3))), ("x", np.zeros(2)), ("z", np.zeros(3)),
        ("length_scale", 0.0), ("length_scale", np.nan), ("length_scale", np.ones(3)), ("length_scale", -np.ones(2)),
        ("variance", 0.0), ("variance", np.ones(2)),
        ("covariance", "linear"), ("jitter", -1.0), ("jitter", np.nan), ("state", state._replace(t=3)),
        ("state", state._replace(z=np.zeros((2, 4)))), ("state", state._replace(L=np.zeros((2, 3, 2)))),
    ):
        with pytest.raises(ValueError, match=rf"^{name}[.:]"):
            append(**{name: wrong})
    with pytest.raises(ValueError, match="^state: expected arrays of float64 to write into, got float32"):
        append(state=gp.gp_initial_state(2, 3, 2, np.float32), in_place=True)
    for wrong in (np.zeros((2, 3)), np.zeros((2, 3, 1, 1))):
        with pytest.raises(ValueError, match="^x: expected shape"):
            module.gp_sample(wrong, np.zeros((2, 3)), 1.0, 1.0)
    with pytest.raises(ValueError, match="^z: expected shape"):
        module.gp_sample(np.zeros((2, 3, 1)), np.zeros((2, 4)), 1.0, 1.0)


@each_covariance
def test_covariances_name_bad_arguments(covariance):
    forward, _ = covariance_pair(covariance)
    x, z = np.zeros((2, 3, 2)), np.zeros((2, 4, 2))
    k, _ = forward(x, z, 1, 2)
    np.testing.assert_array_equal(k, np.full((2, 3, 4), 2.0))
    for name, arguments in (
        ("x", (x[0], z, 1.0, 1.0)), ("z", (x, z[:1], 1.0, 1.0)), ("z", (x, z[:, :, :1], 1.0, 1.0)),
        ("x", (x.astype(int), z, 1.0, 1.0)), ("z", (x, z.astype(int), 1.0, 1.0)),
        ("length_scale", (x, z, 0.0, 1.0)), ("length_scale", (x, z, np.ones(3), 1.0)),
        ("length_scale", (x, z, np.array([1.0, np.inf]), 1.0)), ("length_scale", (x, z, "1", 1.0)),
        ("variance", (x, z, 1.0, -1.0)), ("variance", (x, z, 1.0, np.ones(1))), ("variance", (x, z, 1.0, None)),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            forward(*arguments)


def test_no_gradient_is_lost_where_points_coincide():
    """The squared distance is computed from differences, so close points keep their precision."""
    x = np.full((1, 1, 1), 0.5)
    r2, _ = squared_distance(x, x + 1e-9, 1.0)
    np.testing.assert_allclose(r2, 1e-18, rtol=1e-6)


def test_rows_of_a_known_factor():
    L, _ = cholesky_row(np.zeros((1, 0, 0)), np.zeros((1, 0)), np.array([4.0]))
    np.testing.assert_array_equal(L, [[2.0]])
    row, _ = cholesky_row(L[:, :, None], np.array([[6.0]]), np.array([10.0]))
    np.testing.assert_array_equal(row, [[3.0, 1.0]])


# The compiled twin


def close(ours, theirs, tolerance):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    if ours.size:
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=tolerance * max(np.abs(ours).max(), 1e-30))


# Entries relative to the largest of their array. With this jitter the condition of K is below T / 0.01.
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-10), (np.float32, 2e-3)])
@settings(max_examples=60)
@given(draw_settings=settings_of_draws())
def test_the_twin_is_the_original(dtype, tolerance, draw_settings):
    arguments = build(draw_settings, dtype)
    f, cache = gp.gp_sample(*arguments, jitter=0.01)
    twin_f, twin_cache = twin.gp_sample(*arguments, jitter=0.01)
    close(f, twin_f, tolerance)
    d_f = np.random.default_rng(draw_settings["seed"]).standard_normal(f.shape).astype(dtype)
    for ours, theirs in zip(gp.gp_sample_backward(d_f, cache), twin.gp_sample_backward(d_f, twin_cache), strict=True):
        close(ours, theirs, tolerance)


@pytest.mark.parametrize("in_place", [False, True])
@settings(max_examples=40)
@given(draw_settings=settings_of_draws())
def test_the_twin_appends_like_the_original(in_place, draw_settings):
    x, z, *rest = build(draw_settings)
    t = (draw_settings["T"] - 1) // 2
    states = [gp.gp_initial_state(*x.shape), gp.gp_initial_state(*x.shape)]
    for s in range(t + 1):
        results = [
            module.gp_append(state, x[:, s], z[:, s], *rest, jitter=0.01, in_place=in_place)
            for module, state in zip((gp, twin), states)
        ]
        states = [state for (_, state), _ in results]
    rng = np.random.default_rng(draw_settings["seed"])
    d_draw = gp.Draw(*rng.standard_normal((3, draw_settings["B"])))
    d_state = gp.gp_initial_state(*x.shape)
    for a in d_state[:3]:
        a[:] = rng.standard_normal(a.shape)
    gradients = [
        module.gp_append_backward((d_draw, gp.GPState(*(a.copy("K") for a in d_state[:3]), t=None)), cache, in_place)
        for module, (_, cache) in zip((gp, twin), results)
    ]
    (ours, _), (theirs, _) = results
    assert ours[1].t == theirs[1].t == t + 1
    for a, b in zip((*ours[0], *ours[1][:3]), (*theirs[0], *theirs[1][:3]), strict=True):
        close(a, b, 1e-10)
    ours, theirs = ((*found[0][:3], *found[1:]) for found in gradients)
    for a, b in zip(ours, theirs, strict=True):
        close(a, b, 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_number_of_threads_does_not_show(dtype, monkeypatch):
    monkeypatch.setattr("l2l_ref.compiled.threads.WORTH_A_THREAD", 0)  # however little the work
    rng = np.random.default_rng(0)
    x, z = rng.random((50, 40, 3)).astype(dtype), rng.standard_normal((50, 40)).astype(dtype)
    results = []
    for threads in (1, 2, 3, 7):
        f, cache = twin.gp_sample(x, z, 0.4, 1.0, threads=threads)
        results.append([f, *twin.gp_sample_backward(f, cache, threads=threads)])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("module", [gp, twin])
def test_arguments_are_not_written_to(module):
    rng = np.random.default_rng(0)
    x, z, d_f = rng.random((3, 5, 2)), rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    state = gp.gp_initial_state(3, 5, 2)
    for array in (x, z, d_f, *state[:3]):
        array.flags.writeable = False
    _, cache = module.gp_sample(x, z, 0.5, 1.0)
    module.gp_sample_backward(d_f, cache)
    _, cache = module.gp_append(state, x[:, 0], z[:, 0], 0.5, 1.0)
    module.gp_append_backward((gp.Draw(d_f[:, 0], d_f[:, 1], d_f[:, 2]), state), cache)


def test_the_twin_has_the_defaults_of_the_original():
    assert twin.JITTER == gp.JITTER
    assert twin.NAMES == tuple(COVARIANCES)
    assert twin.Draw._fields == gp.Draw._fields


def test_a_backend_is_chosen():
    assert backends.choose("gp", "numpy", 128 * 100) is gp
    assert backends.choose("gp", "auto", 10) is gp
    assert backends.choose("gp", "auto", 128 * 100) is backends.choose("gp", "numba", 1) is twin
    with pytest.raises(ValueError, match="^backend: expected one of"):
        backends.choose("gp", "torch", 1)


# Functions to evaluate


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_function_belongs_to_its_number(backend):
    """Whatever the batch and the number of evaluations; with noise and without."""
    points = np.random.default_rng(5).random((4, 6, 2))
    for noise in (0.0, 0.3):
        many = GPFunctions(6, 2, 9, seed=3, noise=noise, backend=backend)
        few = GPFunctions(2, 2, 4, seed=3, noise=noise, first=3, backend=backend)
        for x in points:
            np.testing.assert_allclose(many(x)[3:5], few(x[3:5]), rtol=1e-12)
        np.testing.assert_allclose(many.values[3:5], few.values, rtol=1e-12)
        with pytest.raises(ValueError, match="^evaluations: expected at most 4 per function, got one more"):
            few(points[0][:2])


def test_noise_does_not_change_the_functions():
    points = np.random.default_rng(5).random((4, 6, 2))
    clear, noisy = (GPFunctions(6, 2, 4, seed=3, noise=noise) for noise in (0.0, 0.3))
    for x in points:
        y, seen = clear(x), noisy(x)
        assert (y != seen).all()
    np.testing.assert_array_equal(clear.values, noisy.values)


@pytest.mark.parametrize("d, count, expected", [(2, 2000, -1.38), (6, 200, -1.66)])
@pytest.mark.parametrize("paths", [False, True])
def test_gp_functions_are_as_hard_as_they_should_be(paths, d, count, expected):
    """Mean best of 20 uniform random points, length scale 0.2 sqrt(d)."""
    rng = np.random.default_rng(0)
    functions = GPPaths(count, d, seed=0) if paths else GPFunctions(count, d, 20, seed=0, backend="numba")
    best = np.min([functions(rng.random((count, d))) for _ in range(20)], axis=0)
    assert abs(best.mean() - expected) < 4 * best.std() / count**0.5 + 0.01


@given(st.integers(1, 2), st.floats(0.05, 2.0), st.integers(0, 99))
def test_the_covariance_of_sample_paths(d, length_scale, seed):
    """A millionth of the variance in each dimension may be missing, and so much of a covariance."""
    paths, (x, z) = GPPaths(1, d, 0, length_scale), np.random.default_rng(seed).random((2, 1, 5, d))
    k, _ = squared_exponential(x, z, length_scale, 1.0)
    k_paths = np.einsum("nda,mda->nmd", paths._features(x[0]), paths._features(z[0])).prod(axis=2)
    np.testing.assert_allclose(k_paths, k[0], rtol=0, atol=1.01e-6 * d)
    variance = (paths._features(x[0]) ** 2).sum(axis=2)
    assert (variance < 1 + 1e-9).all() and (variance > 1 - 1.01e-6).all()


@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=20)
def test_a_sample_path_is_the_sum_that_the_equation_says(d, B, seed):
    paths, x = GPPaths(B, d, seed), np.random.default_rng(seed).random((B, d))
    phi = paths._features(x)
    for b, value in enumerate(paths(x)):
        terms = [z * np.prod([phi[b, i, a] for i, a in enumerate(places)]) for places, z in np.ndenumerate(paths._z[b])]
        np.testing.assert_allclose(value, np.sum(terms), rtol=1e-9, atol=1e-9)
        z, d_x = paths._z[b], paths._with_gradient(x[b], paths._z[b])[1]
        report = gradcheck(lambda point, z=z: paths._with_gradient(point, z)[0],
                           lambda d_f, _, d_x=d_x: d_f * d_x, (x[b],))
        assert report.ok, report


def test_a_sample_path_belongs_to_its_number():
    many, few, x = GPPaths(6, 2, seed=3), GPPaths(2, 2, seed=3, first=3), np.random.default_rng(5).random((6, 2))
    np.testing.assert_allclose(many(x)[3:5], few(x[3:5]), rtol=1e-12)
    assert (many(x) != GPPaths(6, 2, seed=4)(x)).all()


@pytest.mark.parametrize("d, points", [(1, 4001), (2, 201), (3, 41)])
def test_the_minima_of_sample_paths(d, points):
    """Below all values on a grid, and by no more than the grid may miss: half the second derivative times the step."""
    paths, grid = GPPaths(20, d, seed=1), np.linspace(0, 1, points)
    f, phi = paths._z, paths._features(grid)
    for _ in range(d):
        f = np.tensordot(f, phi, (1, 1))
    lowest = f.reshape(20, -1).min(axis=1)
    missed = d * (4 / (0.2 * d**0.5) ** 2) / 2 * (0.5 / (points - 1)) ** 2  # |f''| < 4 / s^2 where f > -4
    minima = paths.minima()
    assert (minima <= lowest + 1e-9).all() and (lowest - minima <= missed).all()


@pytest.mark.parametrize("d, count", [(4, 10), (6, 2)])
def test_the_minima_of_sample_paths_in_more_dimensions(d, count):
    """From a hundred random points on nothing lower is found."""
    paths, starts = GPPaths(count, d, seed=2), np.random.default_rng(0).random((100, d))
    for minimum, z in zip(paths.minima(), paths._z):
        found = min(minimize(paths._with_gradient, x, (z,), "L-BFGS-B", True, bounds=paths.bounds).fun for x in starts)
        assert abs(found - minimum) < 1e-6


def test_sample_paths_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"^x: expected shape \(B=2, d=3\), got \(3, 2\)"):
        GPPaths(2, 3, 0)(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="^dim: expected fewer dimensions or a larger length scale, got 8 and "):
        GPPaths(1, 8, 0)
    with pytest.raises(ValueError, match=r"^dim: .* got 4 and 0.05, which take \d+\^4 numbers per function$"):
        GPPaths(1, 4, 0, length_scale=0.05)
    for length_scale in (0.04, -1.0, np.nan):
        with pytest.raises(ValueError, match=f"^length_scale: expected a number >= 0.05, got {length_scale}"):
            GPPaths(1, 1, 0, length_scale)
    for argument, wrong in (("functions", -1), ("dim", 0), ("first", -1)):
        with pytest.raises(ValueError, match=f"^{argument}: expected"):
            GPPaths(**{"functions": 2, "dim": 2, "seed": 0, argument: wrong})
    assert GPPaths(0, 2, 0)(np.zeros((0, 2))).shape == GPPaths(0, 2, 0).minima().shape == (0,)


@pytest.mark.parametrize("argument, wrong", [("functions", -1), ("dim", 0), ("evaluations", 0), ("evaluations", 1.5),
                                             ("noise", -1.0), ("noise", np.nan), ("first", -1)])
def test_gp_functions_refuse_bad_numbers(argument, wrong):
    with pytest.raises(ValueError, match=f"^{argument}: expected"):
        GPFunctions(**{"functions": 2, "dim": 2, "evaluations": 3, "seed": 0, argument: wrong})


def test_the_twin_writes_only_where_the_functions_lie_next_to_each_other():
    state = gp.gp_initial_state(3, 2, 1)
    other = gp.GPState(*(a.copy("C") for a in state[:3]), t=0)
    x, z = np.full((3, 1), 0.5), np.ones(3)
    with pytest.raises(ValueError, match=r"^state: expected arrays in the order of gp_initial_state, got strides"):
        twin.gp_append(other, x, z, 0.4, 1.0, in_place=True)
    (ours, _), cache = twin.gp_append(state, x, z, 0.4, 1.0, in_place=True)
    (theirs, _), _ = twin.gp_append(other, x, z, 0.4, 1.0)
    np.testing.assert_array_equal(ours.f, theirs.f)
    with pytest.raises(ValueError, match=r"^d_state: expected arrays in the order of gp_initial_state, got strides"):
        twin.gp_append_backward((ours, other), cache, in_place=True)

"""The optimizer on running means: exactly odd, blind to scales, the same compiled, with the right meta-gradient."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref import backends
from l2l_ref.catalogue.operation import off_zero
from l2l_ref.compiled import moments_mlp as compiled
from l2l_ref.learned import moments_mlp as original
from l2l_ref.learned.symmetrized import Symmetrized
from l2l_ref.ops.gated_sum import GatedSumParams, gated_sum
from l2l_ref.ops.moments import BETAS, BETAS_V, arrays_of
from l2l_ref.optimizees import MLP
from l2l_ref.optimizees.rollout import rollout
from l2l_ref.trees import flatten, leaves, unflatten

SHAPES = [(), (1,), (5,), (3, 4), (0, 2), (compiled.BLOCK + 3,), (2, 150)]
SIZES = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4)
DTYPES = st.sampled_from([np.float32, np.float64])
MODULES = (original, compiled)


def trained(rng, hidden=6, dtype=np.float64):
    """Weights with which every feature matters."""
    params = original.init_params(rng, hidden)
    return GatedSumParams(*(np.asarray(a + 0.3 * rng.standard_normal(a.shape), dtype) for a in params))


def gradient_of(rng, n, dtype):
    """Gradients of many sizes, some of them 0."""
    g = rng.standard_normal(n) * 10.0 ** rng.uniform(-6, 3, n)
    return np.where(rng.random(n) < 0.1, 0, g).astype(dtype)


def run(module, gradients, theta, arrays, params, steps=20.0):
    state, updates = original.init_state(theta, arrays), []
    for gradient in gradients:
        update, state, _ = original.step(gradient, state, arrays, params, steps, module)
        updates.append(update)
    return np.stack(updates), state


@st.composite
def runs(draw):
    """Gradients (T, n), theta, arrays, params."""
    rng, dtype = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(DTYPES)
    arrays = arrays_of([*draw(SIZES), (2,)], draw(st.integers(1, 3)))
    n = int(arrays.size.sum())
    gradients = np.stack([gradient_of(rng, n, dtype) for _ in range(draw(st.integers(1, 6)))])
    return gradients, rng.standard_normal(n).astype(dtype), arrays, trained(rng, dtype=dtype)


@given(runs())
def test_the_update_is_exactly_odd_in_the_gradient(run_of):
    gradients, theta, arrays, params = run_of
    for module in MODULES:
        updates, state = run(module, gradients, theta, arrays, params)
        mirrored, other = run(module, -gradients, theta, arrays, params)
        np.testing.assert_array_equal(mirrored, -updates)
        np.testing.assert_array_equal(other.x, -state.x)


@given(runs(), st.data())
def test_a_coordinate_without_a_gradient_does_not_move(run_of, data):
    gradients, theta, arrays, params = run_of
    still = data.draw(st.integers(0, len(theta) - 1))
    gradients[:, still] = 0
    for module in MODULES:
        assert not run(module, gradients, theta, arrays, params)[0][:, still].any()
        assert not run(module, np.zeros_like(gradients), theta, arrays, params)[0].any()


@given(runs(), st.integers(-20, 20))
def test_a_factor_in_f_does_not_matter(run_of, power):
    """A power of 2 does not even round."""
    gradients, theta, arrays, params = run_of
    for module in MODULES:
        updates, _ = run(module, gradients, theta, arrays, params)
        scaled, _ = run(module, gradients * gradients.dtype.type(2.0**power), theta, arrays, params)
        np.testing.assert_array_equal(scaled, updates)


@given(runs())
def test_the_twin_is_the_original(run_of):
    gradients, theta, arrays, params = run_of
    (wanted, state), (came, other) = (run(module, gradients, theta, arrays, params) for module in MODULES)
    # Features differ by roundings of logarithms and cosines; a network of weights of order 1 passes them on.
    tolerance = 1e3 * np.finfo(wanted.dtype).eps * np.abs(wanted).max()
    np.testing.assert_allclose(came, wanted, rtol=0, atol=tolerance)
    assert came.dtype == wanted.dtype
    for a, b in zip(leaves(other), leaves(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e3 * np.finfo(wanted.dtype).eps, atol=max(tolerance, 1e-30))


@given(runs(), st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
def test_a_coordinate_with_a_bad_gradient_is_held(run_of, bad):
    gradients, theta, arrays, params = run_of
    with np.errstate(over="ignore"):  # 1e300 is infinite in float32, and its square is in float64
        bad = gradients.dtype.type(bad)
    for module in MODULES:
        _, before = run(module, gradients, theta, arrays, params)
        with_zero, with_bad = gradients[0].copy(), gradients[0].copy()
        with_zero[1], with_bad[1] = 0, bad
        wanted, _, none = original.step(with_zero, before, arrays, params, passes=module)
        update, after, held = original.step(with_bad, before, arrays, params, passes=module)
        assert held == 1 and none == 0 and update[1] == 0
        np.testing.assert_array_equal(np.delete(update, 1), np.delete(wanted, 1))
        np.testing.assert_array_equal(after.m[:, 1], before.m[:, 1])
        np.testing.assert_array_equal(after.v[:, 1], before.v[:, 1])
        assert after.x[1] == before.x[1]


@given(runs())
def test_threads_do_not_matter(run_of):
    gradients, theta, arrays, params = run_of
    state = original.init_state(theta, arrays)
    (one, first, _), (two, second, _) = (original.step(gradients[0], state, arrays, params, np.inf, compiled, threads)
                                         for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    for a, b in zip(leaves(first), leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def rows_of(gradient, state, arrays, steps):
    """The directions and the features of a step."""
    g, m, v, sums, _ = original.advance(gradient, state, arrays)
    shared, sizes, _ = original.shared_features(state, sums, arrays, steps)
    return original.rows(g, m, v, state.t + 1, sizes.max(axis=0), shared, arrays)


def by_hand(gradients, theta):
    """The directions of a single array, coordinate by coordinate, from the equations."""
    m, v, r, out = np.zeros((3, len(theta))), np.zeros((2, len(theta))), None, []
    for t, g in enumerate(gradients, start=1):
        if r:
            g = g * min(1, 2 * np.sqrt(np.mean(r[0] ** 2)) / np.sqrt(np.mean(g**2)))
        for i in range(len(theta)):
            for k, beta in enumerate(BETAS):
                m[k, i] = beta * m[k, i] + (1 - beta) * g[i]
            for j, beta in enumerate(BETAS_V):
                v[j, i] = beta * v[j, i] + (1 - beta) * g[i] ** 2
        m_hat = [m[k] / (1 - beta**t) for k, beta in enumerate(BETAS)]
        r = [np.sqrt(v[j] / (1 - beta**t)) for j, beta in enumerate(BETAS_V)]
        s, S = np.maximum(*r), max(np.sqrt(np.mean(r_j**2)) for r_j in r)
        out.append([np.clip([g[i] / s[i], *(m_hat[k][i] / s[i] for k in range(3)), g[i] / S, m_hat[1][i] / S,
                             m_hat[2][i] / S], -10, 10) for i in range(len(theta))])
    return np.array(out)


def test_the_directions_are_those_of_the_equations():
    rng = np.random.default_rng(0)
    gradients, theta, arrays = rng.standard_normal((5, 4)), rng.standard_normal(4), arrays_of([(4,)])
    gradients[3] *= 10  # too large
    state, params = original.init_state(theta, arrays), trained(rng)
    for gradient, wanted in zip(gradients, by_hand(gradients, theta)):
        o, e = rows_of(gradient, state, arrays, 20)
        np.testing.assert_allclose(o, wanted, rtol=1e-12)
        assert e.shape == (4, 20) and np.isfinite(e).all()
        _, state, _ = original.step(gradient, state, arrays, params, 20)


@given(st.integers(0, 2**32 - 1), st.integers(-9, -3))
def test_where_gradients_vanish_so_do_the_directions(seed, power):
    """Where they grow again, g / s is of order 1 within some steps. Gradients are between 0.1 and 2 times a size."""
    rng, arrays, size = np.random.default_rng(seed), arrays_of([(3, 4)]), 10.0**power
    state, params, found = original.init_state(np.ones(12), arrays), trained(rng), []
    for factor in [1.0] * 50 + [size] * 150 + [1 / size] * 20:
        gradient = factor * off_zero(rng, 12)
        found.append(np.abs(rows_of(gradient, state, arrays, 220)[0]))
        _, state, _ = original.step(gradient, state, arrays, params, 220)
    vanished, grown = found[199], found[219]
    # v_2 is at least what the 50 gradients of 0.1 have left: r_2 > 0.048. m_k has beta^150 left of those of 2.
    beta = np.array([0, *BETAS, 0, *BETAS[1:]])
    assert (vanished <= 2 * (size + beta**150 / (1 - beta**200)) / 0.048).all()
    # s is at most the largest gradient, and v_1 at least 2 % of the last square.
    assert grown[:, 0].min() > 0.049 and grown[:, 0].max() < 7.1


@given(runs(), st.floats(3, 1e6))
def test_a_gradient_that_is_far_too_large_is_clipped_array_by_array(run_of, factor):
    """C28: whatever its size, beyond twice what is usual; and the other arrays notice nothing of it."""
    gradients, theta, arrays, params = run_of
    at = np.flatnonzero(arrays.of_coordinate == len(arrays.size) - 1)  # the last array, of two coordinates
    gradients[:, at] = np.where(gradients[:, at] == 0, 1, gradients[:, at])
    for module in MODULES:
        _, state = run(module, gradients, theta, arrays, params)
        S_1 = np.sqrt(np.mean(state.v[0][at].astype(float) / (1 - BETAS_V[0]**len(gradients))))
        assert state.S_1[-1] == pytest.approx(S_1, rel=1e-5)
        once = gradients[0].copy()
        once[at] *= once.dtype.type(2.5 * S_1) / np.sqrt(np.mean(once[at].astype(float)**2)).astype(once.dtype)
        more = once.copy()
        more[at] *= once.dtype.type(factor)
        (a, *_), (b, *_) = (module.advance(g, state, arrays) for g in (once, more))
        np.testing.assert_allclose(b, a, rtol=1e-4)
        np.testing.assert_array_equal(np.delete(b, at), np.delete(a, at))
        assert np.sqrt(np.mean(a[at].astype(float)**2)) == pytest.approx(2 * S_1, rel=1e-5)


def test_functions_in_rows_share_nothing():
    rng = np.random.default_rng(1)
    opt, names = l2l.MomentsMLP(5, params=trained(rng, 5)), {"W": (3, 2), "b": (2,)}
    theta, gradients = rng.standard_normal((3, 8)), rng.standard_normal((4, 3, 8))
    state, alone = opt.init(theta, names, functions=3, steps=9), []
    for row in theta:
        alone.append(opt.init({"W": row[:6].reshape(3, 2), "b": row[6:]}, steps=9))
    for gradient in gradients:
        update, state = opt.update(gradient, state)
        for b, row in enumerate(gradient):
            wanted, alone[b] = opt.update({"W": row[:6].reshape(3, 2), "b": row[6:]}, alone[b])
            np.testing.assert_allclose(update[b], np.concatenate([wanted["W"].ravel(), wanted["b"]]), rtol=1e-12)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_meta_gradient_is_a_finite_difference(seed, some):
    """With x and the gradients as constants, phi is read in C23 alone: differences of sum d_update * update."""
    rng = np.random.default_rng(seed)
    arrays, params = arrays_of([(2, 3), (2,)], 2), trained(rng, 3)
    n, T = int(arrays.size.sum()), 3
    gradients, d_updates, theta = (rng.standard_normal(shape) for shape in ((T, n), (T, n), (n,)))
    chosen = np.array([0, 3, 11]) if some else None
    seen, state = [], original.init_state(theta, arrays)
    for gradient in gradients:
        seen.append(rows_of(gradient, state, arrays, 7))
        _, state, _ = original.step(gradient, state, arrays, params, 7)

    def loss(phi):
        weights = unflatten(phi, params)
        updates = np.stack([-gated_sum(o, e, weights)[0] for o, e in seen])
        return (d_updates * updates)[:, slice(None) if chosen is None else chosen].sum()

    start = original.init_state(theta, arrays)
    given = d_updates if chosen is None else d_updates[:, chosen]
    came = flatten(original.meta_gradient(gradients, given, start, arrays, params, 7, chosen))
    phi, h = flatten(params), 1e-5
    for k in rng.choice(len(phi), 12, replace=False):
        step = h * np.eye(len(phi))[k]
        slope = (loss(phi + step) - loss(phi - step)) / (2 * h)
        # The third derivative costs h^2, rounding eps / h, both times the size of the loss.
        assert abs(came[k] - slope) <= 1e-7 * (np.abs(d_updates).sum() + abs(slope)) * np.exp(1)


def test_an_untrained_optimizer_is_close_to_adam():
    rng = np.random.default_rng(2)
    opt, adam = l2l.MomentsMLP(rng=0), l2l.baselines.Adam(original.STEP, beta2=BETAS_V[0])
    theta = rng.standard_normal(30)
    state, other = opt.init(theta), adam.init(theta)
    for _ in range(10):
        gradient = rng.standard_normal(30)
        (update, state), (wanted, other) = opt.update(gradient, state), adam.update(gradient, other)
        assert np.corrcoef(update, wanted)[0, 1] > 0.999
        np.testing.assert_allclose(update, wanted, atol=0.1 * original.STEP)


@pytest.mark.parametrize(("arguments", "words"), [
    ({"functions": 3}, r"^functions: expected theta of 3 rows, got shape \(8,\)"),
    ({"names": {"W": (3, 3)}}, "^names: expected arrays of 8 numbers in all, got 9"),
    ({"names": {"W": 8}}, "^names: expected a dict of shapes, which are tuples, got {'W': 8}"),
    ({"names": 100}, "^names: expected a dict of shapes"),
    ({"steps": 0}, "^steps: expected"),
])
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        l2l.MomentsMLP().init(np.zeros(8), **arguments)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_starting_point_is_of_finite_numbers(bad):
    with pytest.raises(ValueError, match="^theta: expected finite numbers"):
        l2l.MomentsMLP().init({"W": np.array([1.0, bad])})
    state = l2l.MomentsMLP().init(np.full(3, 1e20, np.float32))  # whose square is not a number of float32
    np.testing.assert_allclose(state.network.start, 1e20, rtol=1e-6)


def test_functions_share_no_array():
    with pytest.raises(ValueError, match="^functions: expected theta of 2 rows, got 2 arrays"):
        l2l.MomentsMLP().init([np.zeros((2, 3)), np.zeros(2)], functions=2)


def test_states_of_others_and_other_shapes_are_refused():
    opt = l2l.MomentsMLP()
    state = opt.init(np.zeros(8))
    with pytest.raises(ValueError, match="gradient: expected shape"):
        opt.update(np.zeros(7), state)
    lstm, adam = l2l.CoordinatewiseLSTM(hidden=(2,)), l2l.baselines.Adam(0.1)
    for other in (lstm.init(np.zeros(8)), adam.init(np.zeros(8)), None):
        with pytest.raises(ValueError, match="^state: expected the MomentsState of this optimizer, got "):
            opt.update(np.zeros(8), other)
    with pytest.raises(ValueError, match="^state: expected the OptimizerState of this optimizer, got MomentsState"):
        lstm.update(np.zeros(8), state)
    with pytest.raises(ValueError, match="hidden"):
        l2l.MomentsMLP(0)
    with pytest.raises(ValueError, match="params"):
        l2l.MomentsMLP(5, params=l2l.MomentsMLP(4).params)


def test_nothing_to_move_moves_nothing():
    opt = l2l.MomentsMLP()
    update, state = opt.update({"a": np.zeros((0, 3))}, opt.init({"a": np.zeros((0, 3))}))
    assert update["a"].shape == (0, 3) and state.skipped == 0


def test_precision_follows_the_gradient():
    opt = l2l.MomentsMLP()
    state = opt.init(np.zeros(3))
    update, state = opt.update(np.ones(3, np.float32), state)
    assert update.dtype == np.float32 == state.network.v.dtype


def test_auto_takes_the_twin_where_it_pays():
    opt = l2l.MomentsMLP()
    if backends.available("numba"):
        assert opt.steps_of(10**5) is compiled
    assert opt.steps_of(10) is original


@pytest.mark.parametrize("wrap", [Symmetrized, l2l.Adjusted])
def test_a_wrapper_is_told_what_its_optimizer_wants_to_know(wrap):
    """With an odd optimizer, and with knobs that do nothing, nothing changes on rows of several functions."""
    problem, opt = MLP("digits", (3,), batch=4), l2l.MomentsMLP(4, params=trained(np.random.default_rng(0), 4))
    plain, wrapped = (rollout(one, problem.sample(3, 0), 6) for one in (opt, wrap(opt)))
    np.testing.assert_allclose(wrapped, plain, rtol=1e-6)
    theta = np.ones((2, 5))
    with pytest.raises(ValueError, match="functions"):
        wrap(opt).init(theta, functions=3)


@pytest.mark.parametrize("size", [1e-16, 1e18])
def test_sizes_of_gradients_at_the_ends_of_float32(size):
    """Squares and a thousandth of them are still numbers, sums of large ones would not be."""
    arrays, rng = arrays_of([(500,)]), np.random.default_rng(0)
    params = trained(rng, dtype=np.float32)
    gradients = rng.standard_normal((4, 500)).astype(np.float32)
    for module in MODULES:
        wanted, _ = run(module, gradients, np.ones(500, np.float32), arrays, params)
        updates, state = run(module, gradients * np.float32(size), np.ones(500, np.float32), arrays, params)
        np.testing.assert_allclose(updates, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
        assert all(np.isfinite(a).all() for a in leaves(state))


def test_the_features_are_those_of_the_page():
    """All 20 of them at the third step, from their definitions, for two arrays of one function."""
    rng, T = np.random.default_rng(3), 20
    arrays, params = arrays_of([(2, 3), (4,)]), trained(rng)
    theta, gradients = rng.standard_normal(10), rng.standard_normal((3, 10))
    parts = [slice(0, 6), slice(6, 10)]
    state, updates = original.init_state(theta, arrays), []
    for gradient in gradients[:2]:
        update, state, _ = original.step(gradient, state, arrays, params, T)
        updates.append(update)
    m = np.zeros((3, 4, 10))  # after 0, 1, 2, 3 steps
    v = np.zeros((2, 4, 10))
    for t in range(3):
        m[:, t + 1] = [beta * m[k, t] + (1 - beta) * gradients[t] for k, beta in enumerate(BETAS)]
        v[:, t + 1] = [beta * v[j, t] + (1 - beta) * gradients[t] ** 2 for j, beta in enumerate(BETAS_V)]
    m_hat = [m[k, 3] / (1 - beta**3) for k, beta in enumerate(BETAS)]
    r = [np.sqrt(v[j, 3] / (1 - beta**3)) for j, beta in enumerate(BETAS_V)]
    s = np.maximum(*r)

    def cosine(t, where):
        a, b = gradients[t][where], m[1, t][where]
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    def rms(x):
        return np.sqrt(np.mean(x**2))

    _, e = rows_of(gradients[2], state, arrays, T)
    for where, matrix in zip(parts, (1, 0)):
        S_1, S_2, n = rms(r[0][where]), rms(r[1][where]), s[where].size
        own, whole = [cosine(t, where) for t in (1, 2)], [cosine(t, slice(None)) for t in (1, 2)]
        far, path = rms(sum(updates)[where]), sum(rms(u[where]) for u in updates)
        shared = [np.log(rms(theta[where]) + 1e-3) / 3 + 1, np.log(n) / 6 - 1, matrix - 0.5,
                  2 * (0.8 * 0.2 * own[0] + 0.2 * own[1]), 3 * (0.97 * 0.03 * own[0] + 0.03 * own[1]), sum(own) / 10,
                  2 * (0.8 * 0.2 * whole[0] + 0.2 * whole[1]), sum(whole) / 10,
                  np.log(S_1 / S_2 + 1e-2) / 2 + 0.5,
                  np.log(rms(m_hat[1][where]) / S_1 + 1e-3) / 2 + 1, np.log(rms(m_hat[2][where]) / S_1 + 1e-3) / 2 + 1,
                  np.log(far + 1e-5) / 4 + 1.2, np.log(far / path + 1e-2) / 2 + 1, np.log(3) / 3 - 1, 2 * 3 / T - 1]
        for i in range(where.start, where.stop):
            o_1, o_3, o_4 = (x[i] / s[i] for x in (gradients[2], m_hat[1], m_hat[2]))
            wanted = [np.log(s[i] / max(S_1, S_2)) / 3, np.log(r[0][i] / r[1][i]) / 3, abs(o_3) - 0.5, abs(o_4) - 0.5,
                      np.clip(o_1 * o_3, -3, 3) / 2, *shared]
            np.testing.assert_allclose(e[i], wanted, rtol=1e-9, atol=1e-12)


@given(st.integers(0, 2**32 - 1), DTYPES)
def test_a_symmetrized_optimizer_is_odd_too(seed, dtype):
    rng = np.random.default_rng(seed)
    plain = l2l.CoordinatewiseLSTM((4,), 10.0, rng=seed)
    opt, theta = Symmetrized(plain), {"W": np.zeros((3, 2), dtype), "b": np.zeros(2, dtype)}
    there = back = opt.init(theta)
    for _ in range(4):
        gradient = {name: gradient_of(rng, a.size, dtype).reshape(a.shape) for name, a in theta.items()}
        update, there = opt.update(gradient, there)
        mirrored, back = opt.update({name: -a for name, a in gradient.items()}, back)
        for name, array in update.items():
            assert array.dtype == dtype
            np.testing.assert_array_equal(mirrored[name], -array)


def test_what_a_symmetrized_optimizer_does_is_the_odd_part():
    plain, gradient = l2l.CoordinatewiseLSTM((4,), 10.0, rng=0), np.array([1.0, -2.0, 0.0])
    (update, _), (up, _), (down, _) = (opt.update(g, opt.init(gradient)) for opt, g in (
        (Symmetrized(plain), gradient), (plain, gradient), (plain, -gradient)))
    np.testing.assert_array_equal(update, (up - down) / 2)
    assert update[2] == 0 != up[2]

"""The knobs: each does what its line says, to the update alone, and leaves the optimizer as it is."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.learned.adjusted import Adjusted
from l2l_ref.learned.symmetrized import Symmetrized

THETA = {"W": np.arange(6.0).reshape(3, 2), "b": np.array([1.0, -1.0])}


def gradient_of(rng, dtype=np.float64):
    return {name: rng.standard_normal(a.shape).astype(dtype) for name, a in THETA.items()}


def plain():
    return l2l.MomentsMLP(4, rng=0, backend="numpy")


@given(st.integers(0, 99), st.floats(0, 10), st.floats(0, 0.5))
def test_a_factor_and_weight_decay(seed, factor, decay):
    rng, inner, opt = np.random.default_rng(seed), plain(), Adjusted(plain(), factor=factor, decay=decay)
    state, other = opt.init(THETA), inner.init(THETA)
    for _ in range(3):
        gradient = gradient_of(rng)
        (update, state), (wanted, other) = opt.update(gradient, state, THETA), inner.update(gradient, other)
        for name in THETA:
            np.testing.assert_allclose(update[name], factor * wanted[name] - decay * THETA[name], rtol=1e-12, atol=0)


@given(st.integers(0, 99), st.floats(0.01, 10))
def test_clipping_is_of_the_whole_gradient(seed, clip):
    gradient = gradient_of(np.random.default_rng(seed))
    opt = Adjusted(l2l.baselines.SGD(1.0), clip=clip)
    update, _ = opt.update(gradient, opt.init(THETA))
    flat, came = (np.concatenate([tree[name].ravel() for name in THETA]) for tree in (gradient, update))
    norm = np.linalg.norm(flat)
    np.testing.assert_allclose(came, -flat * min(1, clip / norm), rtol=1e-12)


def test_a_gradient_that_is_not_finite_is_left_to_the_optimizer():
    opt, gradient = Adjusted(plain(), clip=1.0), gradient_of(np.random.default_rng(0))
    gradient["b"][0] = np.nan
    update, state = opt.update(gradient, opt.init(THETA))
    assert update["b"][0] == 0 and np.isfinite(update["W"]).all() and state.skipped == 1


@pytest.mark.parametrize("frozen", [{"W": False, "b": True}, {"W": np.zeros((3, 2), bool), "b": np.full(2, True)}])
def test_what_is_frozen_does_not_move_and_does_not_count(frozen):
    rng, inner, opt = np.random.default_rng(0), l2l.baselines.SGD(1.0), Adjusted(
        l2l.baselines.SGD(1.0), decay=0.1, clip=0.5, frozen=frozen)
    gradient = gradient_of(rng)
    update, _ = opt.update(gradient, opt.init(THETA), THETA)
    assert not update["b"].any()
    clipped = gradient["W"] * min(1, 0.5 / np.linalg.norm(gradient["W"]))
    wanted, _ = inner.update({"W": clipped}, inner.init({"W": THETA["W"]}))
    np.testing.assert_allclose(update["W"], wanted["W"] - 0.1 * THETA["W"], rtol=1e-12)


def test_one_entry_can_be_frozen():
    mask = {"W": np.arange(6).reshape(3, 2) == 3, "b": False}
    opt = Adjusted(plain(), frozen=mask)
    update, _ = opt.update(THETA, opt.init(THETA))
    assert update["W"][1, 1] == 0 and np.count_nonzero(update["W"]) == 4  # the gradient of the first entry is 0


def test_half_precision():
    """The steps are those in float32, rounded once."""
    rng, opt, inner = np.random.default_rng(0), Adjusted(plain()), plain()
    half = {name: a.astype(np.float16) for name, a in THETA.items()}
    single = {name: a.astype(np.float32) for name, a in half.items()}
    state, other = opt.init(half), inner.init(single)
    for _ in range(3):
        gradient = gradient_of(rng, np.float16)
        update, state = opt.update(gradient, state)
        wanted, other = inner.update({name: a.astype(np.float32) for name, a in gradient.items()}, other)
        for name in THETA:
            assert update[name].dtype == np.float16
            np.testing.assert_array_equal(update[name], wanted[name].astype(np.float16))


@pytest.mark.parametrize("optimizer", [plain(), l2l.CoordinatewiseLSTM((3,), 10.0), l2l.baselines.Adam(0.1)])
def test_a_state_is_pickled_in_the_middle_of_training(optimizer):
    rng, opt = np.random.default_rng(0), Adjusted(optimizer, factor=0.5)
    state = opt.init(THETA)
    for _ in range(3):
        _, state = opt.update(gradient_of(rng), state)
    gradient, again = gradient_of(rng), pickle.loads(pickle.dumps((opt, state)))
    (update, _), (same, _) = opt.update(gradient, state), again[0].update(gradient, again[1])
    for name in THETA:
        np.testing.assert_array_equal(update[name], same[name])


@pytest.mark.parametrize(("settings", "words"), [
    ({"factor": -1}, "^factor: expected a finite number >= 0"), ({"decay": np.nan}, "^decay: expected"),
    ({"clip": 0}, "^clip: expected None or a finite number > 0"),
])
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Adjusted(plain(), **settings)


@pytest.mark.parametrize(("frozen", "words"), [
    ({"W": False}, "^frozen: expected the arrays of theta"),
    ({"W": 1.0, "b": True}, "^frozen.W: expected a truth value"),
    ({"W": np.zeros(3, bool), "b": True}, r"^frozen.W: expected .* shape \(3, 2\)"),
])
def test_a_mask_that_does_not_fit_is_refused(frozen, words):
    with pytest.raises(ValueError, match=words):
        Adjusted(plain(), frozen=frozen).init(THETA)


def test_weight_decay_needs_the_parameters():
    opt = Adjusted(plain(), decay=0.1)
    with pytest.raises(ValueError, match="^params: expected the parameters"):
        opt.update(THETA, opt.init(THETA))
    with pytest.raises(ValueError, match=r"^params.W: expected shape \(3, 2\), as in the gradient"):
        opt.update(THETA, opt.init(THETA), {**THETA, "W": np.ones((5, 3, 2))})


def test_weight_decay_inside_and_outside_adds_up():
    theta = {"W": np.ones((3, 2)), "b": np.ones(2)}
    zero, opt = {name: 0 * a for name, a in theta.items()}, Adjusted(Adjusted(plain(), decay=0.1), decay=0.2)
    update, _ = opt.update(zero, opt.init(theta), theta)
    np.testing.assert_allclose(update["W"], -0.3)


@pytest.mark.parametrize("wrap", [Adjusted, Symmetrized])
def test_what_is_no_optimizer_is_refused(wrap):
    with pytest.raises(TypeError, match="^optimizer: expected an object with init and update, got int"):
        wrap(3)
    with pytest.raises(TypeError, match="^optimizer: expected .* got the class MomentsMLP; call it"):
        wrap(l2l.MomentsMLP)
    assert repr(wrap(l2l.MomentsMLP())) == f"{wrap.__name__}(MomentsMLP(hidden=16))"

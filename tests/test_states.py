"""What the state of a learned optimizer may become: on gradients that are not finite, and on a million equal ones."""

import copy
import logging
import pickle

import numpy as np
import pytest
from conftest import SLOW
from hypothesis import given
from hypothesis import strategies as st
from test_coordinatewise import NOT_FINITE, build, networks

import l2l_ref as l2l
from l2l_ref import backends
from l2l_ref.baselines.gradient import OPTIMIZERS
from l2l_ref.compiled import coordinatewise as twin
from l2l_ref.learned import coordinatewise, optimizer
from l2l_ref.metatrain.gradient_based import meta_train
from l2l_ref.ops.lstm import LSTMState
from l2l_ref.trees import flatten

WORKING = [backend for backend in ("numpy", "numba") if backends.available(backend)]
SHIPPED = ["quadratic-lstm", "quadratic-normal-lstm", "digits-lstm", "mnist-lstm", "art-lstm"]


def small(**settings):
    return l2l.CoordinatewiseLSTM(hidden=(4, 3), preprocess=10.0, rng=1, **settings)


def arrays(state):
    return [a for layer in state.layers for a in layer]


# ------------------------------------------------------------------------------------- gradients that are not finite


@pytest.mark.parametrize("backend", WORKING)
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_update_holds_a_coordinate_whose_gradient_is_not_finite(backend, in_place, dtype):
    opt, rng = small(backend=backend), np.random.default_rng(0)
    theta = {"W": np.zeros((20, 7), dtype), "b": [np.zeros(3, dtype), np.zeros((), dtype)]}
    state, count = opt.init(theta), 0
    assert state.skipped == 0
    for _ in range(4):
        W, b = rng.standard_normal((20, 7)).astype(dtype), rng.standard_normal(3).astype(dtype)
        clean = {"W": W, "b": [b, np.ones((), dtype)]}
        expected, free = opt.update(clean, state)
        wrong = copy.deepcopy(clean)
        wrong["W"].flat[rng.choice(140, 4, replace=False)] = np.array(NOT_FINITE, dtype)
        wrong["b"][1][()] = np.nan
        held = ~np.isfinite(flatten(wrong))
        before = [a.copy() for a in arrays(state)]
        update, state = opt.update(wrong, state, in_place=in_place)
        np.testing.assert_array_equal(flatten(update), np.where(held, 0, flatten(expected)))
        for old, unhindered, new in zip(before, arrays(free), arrays(state), strict=True):
            np.testing.assert_array_equal(new, np.where(held[:, None], old, unhindered))
        count += 5
        assert state.skipped == count and free.skipped == count - 5


@pytest.mark.parametrize("backend", WORKING)
def test_nothing_but_the_log_speaks_of_it(backend, caplog):
    """There is no warning, which would be an exception under -W error, and the log says it once."""
    optimizer.say_that_coordinates_are_held.cache_clear()
    opt, gradient = small(backend=backend), np.array([1.0, np.inf, np.nan])
    state = opt.init(gradient)
    with caplog.at_level(logging.WARNING, "l2l_ref"):
        for _ in range(3):
            _, state = opt.update(gradient, state)
    assert state.skipped == 6
    assert [record.name for record in caplog.records] == ["l2l_ref"] and "state.skipped" in caplog.text


def test_a_masked_entry_is_not_a_number():
    opt, data = small(), np.linspace(-1, 1, 5)
    gradient = {"a": np.ma.array(data, mask=[0, 1, 0, 0, 1]), "b": data}
    update, state = opt.update(gradient, opt.init(gradient))
    expected, _ = opt.update(data, opt.init(data))
    np.testing.assert_array_equal(update["a"], expected * [1, 0, 1, 1, 0])
    np.testing.assert_array_equal(update["b"], expected)
    assert state.skipped == 2 and not isinstance(update["a"], np.ma.MaskedArray)
    with pytest.raises(TypeError, match="int64"):
        opt.update(np.ma.array([1, 2], mask=[0, 1]), opt.init(data[:2]))


@pytest.mark.parametrize("copied", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy, copy.copy],
                         ids=["pickle", "deepcopy", "copy"])
def test_a_copy_of_a_state_has_its_count_and_no_spare(copied):
    opt, gradient = small(backend=WORKING[-1]), np.append(np.linspace(-1, 1, 299), np.nan)
    state = opt.init(gradient)
    for _ in range(3):
        _, state = opt.update(gradient, state, in_place=True)
    again = copied(state)
    assert again.skipped == state.skipped == 3 and again.shapes == state.shapes
    assert again.spare is None and state.spare is not None
    ours, theirs = opt.update(gradient, state, in_place=True), opt.update(gradient, again, in_place=True)
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert not any(np.shares_memory(a, b) for a, b in zip(arrays(ours[1]), arrays(theirs[1])))


def test_a_state_of_before_there_was_a_count_is_taken():
    opt, gradient = small(), np.linspace(-1, 1, 5)
    _, state = opt.update(gradient, opt.init(gradient))
    older = optimizer.OptimizerState(state.layers, state.shapes)  # as a pickle of then makes it
    assert older.skipped == 0
    np.testing.assert_array_equal(opt.update(gradient, older)[0], opt.update(gradient, state)[0])


def test_in_place_writes_into_the_state_before_the_last():
    if "numba" not in WORKING:
        pytest.skip("numba does not work here")
    opt, gradient = small(backend="numba"), np.linspace(-1, 1, 300)
    states = [opt.init(gradient)]
    for _ in range(4):
        before = [a.copy() for a in arrays(states[-1])]
        states.append(opt.update(gradient, states[-1], in_place=True)[1])
        for a, b in zip(before, arrays(states[-2]), strict=True):
            np.testing.assert_array_equal(a, b)  # the state that was passed is as it was
    for one, two in zip(states[2:], states):
        assert all(np.shares_memory(a, b) for a, b in zip(arrays(one), arrays(two)))  # no memory but that of two states
    kept, before = states[-1], [a.copy() for a in arrays(states[-1])]
    _, state = opt.update(gradient, kept)
    for _ in range(3):
        _, state = opt.update(gradient, state, in_place=True)
    for a, b in zip(before, arrays(kept), strict=True):
        np.testing.assert_array_equal(a, b)  # a state that was not given up


class NotANumber:
    """The square, of which one entry of the gradient is nan, while the loss stays finite."""

    config = {"class": "NotANumber"}
    chance = 1.0
    theta0 = np.ones((3, 4), np.float32)

    def sample(self, functions, seed):
        return self

    def loss_and_gradient(self, theta):
        gradient = 2 * theta
        gradient[1, 2] = np.nan
        return (theta**2).sum(axis=1), gradient

    def second_order(self, theta):
        return *self.loss_and_gradient(theta), lambda v: 2 * v


@pytest.mark.parametrize("backend", WORKING)
@pytest.mark.parametrize("more", [{}, {"coordinates": 1}, {"second_derivatives": True}], ids=str)
def test_meta_training_learns_nothing_from_a_window_with_a_gradient_that_is_not_finite(backend, more):
    """Whether or not the coordinate is among those from which the meta-gradient is estimated."""
    model = l2l.CoordinatewiseLSTM((3,), rng=1, backend=backend)
    trained, log = meta_train(model, NotANumber(), 6, 2, epochs=2, tasks=4, functions=3, validation_functions=3, **more)
    np.testing.assert_array_equal(flatten(trained.params), flatten(model.params).astype(np.float32))
    assert [entry["skipped"] for entry in log] == [4, 4]  # of each task one window, which ends the trajectory
    assert all(entry["loss"] is None for entry in log)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("value", NOT_FINITE)
def test_hand_designed_optimizers_follow_their_formulas(name, value):
    """Nothing is held: the coordinate moves to nan or by an infinite step, the others as they would without it."""
    opt, gradient = OPTIMIZERS[name](0.1), np.linspace(-1, 1, 5)
    wrong = np.where(np.arange(5) == 2, value, gradient)
    with np.errstate(invalid="ignore", over="ignore"):
        update, state = opt.update(wrong, opt.init(gradient))
    expected, free = opt.update(gradient, opt.init(gradient))
    held = np.arange(5) == 2
    np.testing.assert_array_equal(update[~held], expected[~held])
    for slot, other in zip(state[1:], free[1:]):
        np.testing.assert_array_equal(slot[~held], other[~held])
    assert update[2] != 0
    if np.isnan(value):
        assert np.isnan(update[2])


# ------------------------------------------------------------------------------------------------------ equal gradients


@pytest.mark.parametrize("module", [coordinatewise, twin])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(case=networks(min_layers=1), size=st.sampled_from([0, 1e-30, 1e-8, 1, 1e8, 1e30]),
       cell=st.sampled_from([0, 1, 1e3, 2.0**24 - 1, 2.0**24, 2.0**53, 1e30]))
def test_a_cell_grows_by_at_most_1_and_its_output_is_at_most_1(module, dtype, case, size, cell):
    """|c'| <= |f c| + |i g| <= |c| + 1, since no gate is larger than 1, and rounding keeps the order of numbers."""
    gradients, _, state, params, p, scale = build(case, dtype)
    state = tuple(LSTMState(layer.h, (cell * np.sign(layer.c)).astype(dtype)) for layer in state)
    with np.errstate(over="ignore"):  # of a gradient of 1e30 and weights of 1e9
        _, new, held = module.step_inference((size * np.sign(gradients[0])).astype(dtype), state, params, p, scale)
    assert held == 0
    for old, layer in zip(state, new):
        assert (np.abs(layer.c) <= np.abs(old.c) + dtype(1)).all() and (np.abs(layer.h) <= 1).all()


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 2.0**24), (np.float64, 2.0**53)])
def test_where_a_cell_stops_growing(dtype, most):
    """A float has no next number that is larger by 1: with the test above, no cell that began at 0 gets beyond."""
    assert dtype(most) + dtype(1) == most and dtype(most - 1) + dtype(1) == most


EQUAL = [sign * size for size in (1e-30, 1e-8, 1.0, 1e8, 1e30) for sign in (1, -1)]


def require_bounded(state, update, t, opt):
    for layer in state.layers:
        limit = min(t, 1 / float(np.finfo(layer.c.dtype).epsneg))  # 2^24 or 2^53
        assert (np.abs(layer.c) <= limit).all() and (np.abs(layer.h) <= 1).all()
    W, b = (np.abs(a).astype(float).sum() for a in (opt.params.W, opt.params.b))
    most = opt.output_scale * (W + b)  # sums of 21 terms: each rounding adds half of eps
    assert (np.abs(update) <= most * (1 + 24 * np.finfo(update.dtype).eps)).all()


@pytest.mark.parametrize("backend", WORKING)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHIPPED)
def test_a_million_equal_gradients(name, dtype, backend):
    """From the start, and from the largest cells that there can be. L2L_REF_SLOW takes all of the steps."""
    opt, gradient = l2l.load(name, backend=backend), np.array(EQUAL, dtype)
    state, steps = opt.init(gradient), 2000 if backend == "numba" else 500
    if SLOW:
        steps = 1_000_000 if backend == "numba" else 100_000
    for t in range(1, steps + 1):
        update, state = opt.update(gradient, state, in_place=True)
        if t % 100 == 0 or t < 100:
            require_bounded(state, update, t, opt)
    largest = 1 / np.finfo(dtype).epsneg
    full = tuple(LSTMState(np.sign(layer.h), largest * np.sign(layer.c)) for layer in state.layers)
    state = state._replace(layers=full)
    for _ in range(steps):
        update, state = opt.update(gradient, state, in_place=True)
    require_bounded(state, update, np.inf, opt)
    assert state.skipped == 0

import pickle
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from l2l_ref.baselines import OPTIMIZERS, Adam, Momentum, Rprop

# The rules once more, one coordinate at a time: a list of gradients in, the list of updates out.
# Nothing in here comes from the package.


def sgd(gradients, rate):
    return [-rate * g for g in gradients]


def momentum(gradients, rate):
    """The velocity written out as the sum that it is."""
    return [-rate * sum(0.9 ** (t - k) * gradients[k] for k in range(t + 1)) for t in range(len(gradients))]


def nag(gradients, rate):
    """In Nesterov's own variables: a point, and the point looked ahead to, which is theta."""
    point, ahead, updates = 0.0, 0.0, []
    for g in gradients:
        new_point = ahead - rate * g
        new_ahead = new_point + 0.9 * (new_point - point)
        updates.append(new_ahead - ahead)
        point, ahead = new_point, new_ahead
    return updates


def adagrad(gradients, rate):
    square, updates = 0.0, []
    for g in gradients:
        square += g * g
        updates.append(-rate * g / (sqrt(square) + 1e-10))
    return updates


def rmsprop(gradients, rate):
    square, updates = 0.0, []
    for g in gradients:
        square += 0.01 * (g * g - square)
        updates.append(-rate * g / (sqrt(square) + 1e-8))
    return updates


def rprop(gradients, rate):
    step, last, updates = rate, 0.0, []
    for g in gradients:
        if (g > 0 and last > 0) or (g < 0 and last < 0):
            step *= 1.2
        elif (g > 0 and last < 0) or (g < 0 and last > 0):
            step *= 0.5
            g = 0.0
        step = min(max(step, 1e-6), 50.0)
        updates.append(-step if g > 0 else step if g < 0 else 0.0)
        last = g
    return updates


def adam(gradients, rate):
    """The corrected means, written out as weighted means of the past."""

    def mean(values, beta):
        weights = [beta ** (len(values) - 1 - k) for k in range(len(values))]
        return sum(w * x for w, x in zip(weights, values)) / sum(weights)

    updates = []
    for t in range(1, len(gradients) + 1):
        past = gradients[:t]
        updates.append(-rate * mean(past, 0.9) / (sqrt(mean([g * g for g in past], 0.999)) + 1e-8))
    return updates


ORACLES = {rule.__name__: rule for rule in (sgd, momentum, nag, adagrad, rmsprop, rprop, adam)}

every = pytest.mark.parametrize("name", ORACLES)
RATES = st.floats(1e-5, 40)
NUMBERS = st.just(0.0) | st.floats(1e-3, 1e3) | st.floats(-1e3, -1e-3)


@st.composite
def gradient_series(draw):
    """Gradients of some steps, shape (steps, ...)."""
    shape = draw(array_shapes(min_dims=0, max_dims=3, max_side=3))
    return draw(arrays(float, (draw(st.integers(1, 12)), *shape), elements=NUMBERS))


def run(optimizer, gradients, theta):
    state, updates = optimizer.init(theta), []
    for gradient in gradients:
        update, state = optimizer.update(gradient, state)
        updates.append(update)
    return updates, state


def test_every_optimizer_has_an_oracle_and_its_place():
    assert list(OPTIMIZERS) == list(ORACLES)


@every
@settings(deadline=None)
@given(gradients=gradient_series(), rate=RATES)
def test_an_optimizer_does_what_its_equations_say(name, gradients, rate):
    updates, state = run(OPTIMIZERS[name](rate), gradients, np.ones(gradients.shape[1:]))
    assert state.t == len(gradients)
    assert all(isinstance(update, np.ndarray) and update.shape == gradients.shape[1:] for update in updates)
    columns = gradients.reshape(len(gradients), -1).T.tolist()
    wanted = np.transpose([ORACLES[name](column, rate) for column in columns]).reshape(gradients.shape)
    # Sums of terms up to 1e3 that cancel: absolute errors are relative to the largest term.
    largest = np.abs(gradients).max()
    np.testing.assert_allclose(np.array(updates), wanted, rtol=1e-10, atol=1e-11 * rate * largest)


@every
def test_long_runs(name):
    """Adam's correction has faded, Rprop's steps have met both bounds."""
    gradients = np.random.default_rng(1).standard_normal((400, 4))
    gradients[:, 1] = np.abs(gradients[:, 1]) * np.resize([1, -1], 400)
    gradients[:, 2:] += [8, -8]
    updates, _ = run(OPTIMIZERS[name](0.1), gradients, np.zeros(4))
    wanted = np.transpose([ORACLES[name](column, 0.1) for column in gradients.T.tolist()])
    np.testing.assert_allclose(updates, wanted, rtol=1e-9, atol=1e-12)
    if name == "rprop":
        assert np.abs(wanted[:, 2:]).max() == 50 and np.abs(wanted[300:, 1]).max() == 1e-6


@every
@settings(deadline=None)
@given(gradients=gradient_series())
def test_a_dict_is_its_arrays(name, gradients):
    optimizer = OPTIMIZERS[name](0.1)
    as_dicts = [{"b": gradient, "a": -2 * gradient} for gradient in gradients]
    together, state = run(optimizer, as_dicts, as_dicts[0])
    for key in "ab":
        alone, state_alone = run(optimizer, [gradient[key] for gradient in as_dicts], as_dicts[0][key])
        for one, other in zip(alone, together):
            np.testing.assert_array_equal(one, other[key])
        for slot, slot_alone in zip(state[1:], state_alone[1:]):
            np.testing.assert_array_equal(slot_alone, slot[key])


@every
@settings(deadline=None)
@given(gradient=arrays(float, (2, 3), elements=NUMBERS))
def test_nothing_is_changed_in_place(name, gradient):
    """Arguments that cannot be written to, and results that share no memory with them or each other."""
    theta = np.zeros((2, 3))
    optimizer = OPTIMIZERS[name](0.1)
    arguments = [theta, gradient]
    state = optimizer.init(theta)
    for _ in range(2):
        arguments += state[1:]
        for argument in arguments:
            argument.flags.writeable = False
        before = [argument.copy() for argument in arguments]
        update, new_state = optimizer.update(gradient, state)
        results = [update, *new_state[1:]]
        for k, result in enumerate(results):
            assert not any(np.shares_memory(result, other) for other in arguments + results[:k])
        again, again_state = optimizer.update(gradient, state)
        for one, other in zip(results, [again, *again_state[1:]]):
            np.testing.assert_array_equal(one, other)
        for argument, copy in zip(arguments, before):
            np.testing.assert_array_equal(argument, copy)
        state = new_state


@every
@pytest.mark.parametrize("shape", [(), (3,), (0,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(name, shape, dtype):
    """Whatever the type of the learning rate: a NumPy float64 would impose its own."""
    optimizer = OPTIMIZERS[name](np.float64(0.1))
    gradients = np.linspace(-1, 2, 4).reshape(4, *[1] * len(shape)) * np.ones(shape)
    updates, state = run(optimizer, gradients.astype(dtype), np.zeros(shape, dtype))
    for array in [*updates, *state[1:]]:
        assert array.dtype == dtype and array.shape == shape
    exact, _ = run(optimizer, gradients, np.zeros(shape))
    np.testing.assert_allclose(updates, exact, rtol=1e-4 if dtype == np.float32 else 0)


@every
def test_a_state_can_be_saved(name):
    optimizer = OPTIMIZERS[name](0.1)
    _, state = run(optimizer, np.ones((2, 3)), np.zeros(3))
    copy = pickle.loads(pickle.dumps(state))
    assert type(copy) is type(state)
    one, other = (optimizer.update(np.ones(3), each)[0] for each in (copy, state))
    np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def quadratics():
    """5,000 functions |W theta - y|^2 with W and y uniform on [0, 1), and where to begin."""
    rng = np.random.default_rng(0)
    return rng.random((5000, 10, 10)), rng.random((5000, 10)), 0.01 * rng.standard_normal((5000, 10))


@pytest.mark.parametrize(
    "name, rate, wanted",
    [("sgd", 0.025, 0.178), ("nag", 0.016, 0.082), ("rmsprop", 0.018, 0.159), ("adam", 0.25, 0.094)],
)
def test_known_losses_on_the_quadratics(name, rate, wanted, quadratics):
    """Mean loss after 100 steps, as another program has it for other functions of the same kind."""
    W, y, theta = quadratics
    A, b = 2 * W.transpose(0, 2, 1) @ W, 2 * np.einsum("bki,bk->bi", W, y)
    optimizer = OPTIMIZERS[name](rate)
    state = optimizer.init(theta)
    for _ in range(100):
        update, state = optimizer.update((A @ theta[:, :, None])[:, :, 0] - b, state)
        theta = theta + update
    loss = np.mean(np.sum((np.einsum("bij,bj->bi", W, theta) - y) ** 2, axis=1))
    assert abs(loss / wanted - 1) < 0.1


# What is refused


@every
@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), "0.1", None, 1j])
def test_a_bad_learning_rate_is_refused(name, rate):
    with pytest.raises(ValueError, match="learning_rate: expected a finite number above 0, got"):
        OPTIMIZERS[name](rate)


@pytest.mark.parametrize(
    "kind, constants, message",
    [
        (Momentum, {"momentum": 1}, r"momentum: expected a number in \[0, 1\), got 1"),
        (Adam, {"beta2": -0.1}, r"beta2: expected a number in \[0, 1\), got -0.1"),
        (Adam, {"epsilon": 0}, "epsilon: expected a finite number above 0, got 0"),
        (Rprop, {"eta_plus": 0.9}, "eta_minus: expected eta_minus < 1 < eta_plus, got 0.5 and 0.9"),
        (Rprop, {"step_min": 60}, "step_min: expected step_min <= step_max, got 60.0 and 50.0"),
    ],
)
def test_bad_constants_are_refused(kind, constants, message):
    with pytest.raises(ValueError, match=message):
        kind(0.1, **constants)


@pytest.mark.parametrize(
    "gradient, message",
    [
        (np.zeros((1, 3)), r"gradient: expected shape \(3,\), as in theta, got \(1, 3\)"),
        (np.zeros(3, np.float32), "gradient: expected float64, as in theta, got float32"),
        (np.zeros(3, int), "gradient: expected floating-point numbers, got int64"),
        (np.zeros(3, complex), "gradient: expected floating-point numbers, got complex128"),
        ({"w": np.zeros(3)}, "gradient: expected one array, as theta is, got w"),
    ],
)
def test_a_gradient_unlike_theta_is_refused(gradient, message):
    optimizer = Adam(0.1)
    with pytest.raises(ValueError, match=message):
        optimizer.update(gradient, optimizer.init(np.zeros(3)))


def test_a_tree_unlike_theta_is_refused():
    optimizer = Adam(0.1)
    state = optimizer.init({"w": np.zeros(3), "b": np.zeros(1)})
    for gradient, message in (
        ({"w": np.zeros(3)}, "got them without b"),
        ({"w": np.zeros(3), "c": np.zeros(1)}, "got them without b and with c"),
        (np.zeros(3), "which are b, w, got one array"),
    ):
        with pytest.raises(ValueError, match=f"gradient: expected the arrays of theta.*{message}"):
            optimizer.update(gradient, state)
    with pytest.raises(ValueError, match=r"gradient.w: expected float64, as in theta, got float32"):
        optimizer.update({"b": np.zeros(1), "w": np.zeros(3, np.float32)}, state)
    with pytest.raises(ValueError, match=r"gradient.w: expected floating-point numbers, got int64"):
        optimizer.update({"b": np.zeros(1), "w": np.zeros(3, int)}, state)


@every
def test_theta_and_state_of_the_wrong_kind_are_refused(name):
    optimizer = OPTIMIZERS[name](0.1)
    other = OPTIMIZERS["adam" if name != "adam" else "sgd"](0.1)
    with pytest.raises(ValueError, match="theta: expected floating-point numbers, got int64"):
        optimizer.init(np.zeros(3, int))
    with pytest.raises(ValueError, match=f"state: expected a {type(optimizer).__name__}State, got a"):
        optimizer.update(np.zeros(3), other.init(np.zeros(3)))

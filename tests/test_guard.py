"""The guard: which block goes on, what it costs, and that no failure of the learned optimizer is left standing."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.baselines import SGD, Adam
from l2l_ref.guard import GuardedRun, guarded
from l2l_ref.optimizees import ConvNet, Quadratic
from l2l_ref.trees import add, leaves, tree_map


def bowl(theta):
    return (theta * theta).sum(), 2 * theta


class Wild:
    """Goes far away at once; ``to`` may be nan."""

    def __init__(self, to):
        self.to = to

    def init(self, theta):
        return None

    def update(self, gradient, state):
        return np.full_like(gradient, self.to), state


def descent(optimizer, theta, steps, f=bowl):
    state, losses = optimizer.init(theta), [f(theta)[0]]
    for _ in range(steps):
        update, state = optimizer.update(f(theta)[1], state)
        theta = theta + update
        losses.append(f(theta)[0])
    return theta, np.array(losses)


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(1, 30), st.sampled_from([1e30, np.nan, -5.0]))
def test_an_optimizer_that_fails_costs_gradients_and_nothing_else(block, steps, to):
    """To the last bit the run is that of the fallback, for which the other's blocks might not be there."""
    theta, calls = np.array([1.0, -2.0], np.float32), []

    def counted(theta):
        calls.append(1)
        with np.errstate(all="ignore"):
            return bowl(theta)

    result = guarded(Wild(to), SGD(0.1), block).minimize(counted, theta, steps)
    expected, losses = descent(SGD(0.1), theta, steps)
    np.testing.assert_array_equal(result.theta, expected)
    np.testing.assert_array_equal(result.losses, losses)
    assert not result.kept.any() and len(result.kept) == -(-steps // block)
    assert len(calls) == result.evaluations == 2 * steps + 1


def test_the_better_optimizer_goes_on_alone():
    """Both are without a state, so the run is that of the better one."""
    result = guarded(SGD(0.2), SGD(0.01), 4).minimize(bowl, np.ones(3), 12)
    np.testing.assert_array_equal(result.losses, descent(SGD(0.2), np.ones(3), 12)[1])
    assert result.kept.tolist() == [True] * 3 and result.theta.dtype == np.float64


def test_each_function_is_guarded_by_itself():
    """The first coordinate's curvature is too large for one of them, the second's is not."""
    curvature = np.array([[30.0], [1.0]])

    def f(theta):
        return (curvature * theta**2).sum(axis=1), 2 * curvature * theta

    result = guarded(SGD(0.1), SGD(0.01), 5).minimize(f, np.ones((2, 1)), 20)
    assert result.kept.shape == (4, 2) and not result.kept[:, 0].any() and result.kept[:, 1].all()
    for b in range(2):
        alone = guarded(SGD(0.1), SGD(0.01), 5).minimize(
            lambda theta, b=b: ((curvature[b] * theta**2).sum(), 2 * curvature[b] * theta), np.ones(1), 20)
        np.testing.assert_allclose(result.theta[b], alone.theta, rtol=1e-12)
        np.testing.assert_allclose(result.losses[:, b], alone.losses, rtol=1e-12)


def test_trees_and_a_loop_of_ones_own():
    theta = {"W": np.ones((2, 2)), "b": np.full(2, 3.0)}
    run = guarded(Adam(0.1), Adam(0.3), 3).start(theta, 6)
    assert isinstance(run, GuardedRun)
    while not run.done:
        run.tell(sum((x * x).sum() for x in run.theta.values()), {name: 2 * x for name, x in run.theta.items()})
    result = run.result()
    value = sum((x * x).sum() for x in result.theta.values())
    np.testing.assert_allclose(value, result.losses[-1], rtol=1e-12)  # the point is that of the last loss
    assert set(result.theta) == set(theta) and add(result.theta, theta)["W"].shape == (2, 2)
    with pytest.raises(ValueError, match="tell: expected at most 13 values"):
        run.tell(0.0, theta)


def test_the_guard_turns_the_papers_weights_from_failure_to_success():
    """On quadratics, for which the weights were not trained, the loss rises without the guard and falls with it."""
    problem, model = Quadratic(10), l2l.load("mnist-lstm")
    task = problem.sample(5, 3)
    start = task.loss_and_gradient(task.theta0)[0]
    theta, state = task.theta0, model.init(task.theta0)
    for _ in range(60):
        update, state = model.update(task.loss_and_gradient(theta)[1], state)
        theta = theta + update
    result = guarded(model, Adam(0.03)).minimize(task.loss_and_gradient, task.theta0, 60)
    assert task.loss_and_gradient(theta)[0].mean() > start.mean() > 3 * result.losses[-1].mean()
    assert (result.losses[-1] < result.losses[0]).all()


def test_an_optimizer_that_goes_by_names_is_told_them():
    task = ConvNet("digits", channels=(2,), kernel=2, hidden=(), batch=4).sample(2, 0)
    parts = l2l.PartitionedLSTM({"a": l2l.CoordinatewiseLSTM(hidden=(2,), preprocess=10.0)}, {"*": "a"})
    result = guarded(parts, Adam(1e-3), 2).minimize(task.loss_and_gradient, task.theta0, 3, task)
    assert result.losses.shape == (4, 2) and result.theta.shape == task.theta0.shape


def test_a_run_that_ends_above_its_start_is_reported(caplog):
    with caplog.at_level(logging.WARNING, "l2l_ref"):
        guarded(SGD(0.2), SGD(0.1)).minimize(bowl, np.ones(2), 4)
        assert not caplog.records
        guarded(SGD(2.0), SGD(1.5)).minimize(bowl, np.ones(2), 4)
        guarded(SGD(2.0), SGD(1.5)).minimize(lambda x: ((x * x).sum(axis=1), 2 * x), np.eye(2) * [1, 0], 4)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "a guarded run has ended above its start", "a guarded run has ended above its start on 1 of 2 functions"]


@pytest.mark.parametrize("theta", [np.ones(5), {"W": np.ones((2, 3)), "b": np.zeros(3)}, np.float64(2.0)])
def test_one_function_is_one_function_to_an_optimizer_that_asks(theta):
    """The learned optimizer that always wins takes the steps that it takes alone, and knows how many there are."""
    opt = l2l.MomentsMLP(4, rng=0)
    result = guarded(opt, SGD(1e-9), block=3).minimize(
        lambda x: (sum(float((a * a).sum()) for a in leaves(x)), tree_map(lambda a: 2 * np.asarray(a), x)), theta, 12)
    state, alone = opt.init(theta, steps=12), theta
    for _ in range(12):
        update, state = opt.update(tree_map(lambda a: 2 * np.asarray(a), alone), state)
        alone = add(alone, update)
    assert result.kept.all()
    for a, b in zip(leaves(result.theta), leaves(alone), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_buffer_that_is_used_again_does_no_harm():
    buffer, run = np.empty(2), guarded(SGD(0.2), SGD(0.1), block=2).start(np.ones(2), 4)
    while not run.done:
        buffer[:] = 2 * run.theta
        run.tell((run.theta**2).sum(), buffer)
        buffer[:] = np.nan
    np.testing.assert_array_equal(run.result().theta, guarded(SGD(0.2), SGD(0.1), block=2).minimize(
        lambda x: ((x**2).sum(), 2 * x), np.ones(2), 4).theta)


def test_where_both_diverge_the_fallback_goes_on():
    run = guarded(SGD(1.0), SGD(2.0), block=1).start(np.zeros(1), 1)
    for value in (1.0, np.inf, np.inf):
        run.tell(value, np.ones(1))
    assert run.result().kept.tolist() == [False] and run.result().theta.tolist() == [-2.0]


@pytest.mark.parametrize("call, error, message", [
    (lambda: guarded(SGD(0.1), SGD(0.1)).start(np.ones(2), 1).result(), ValueError, "result: expected at least one"),
    (lambda: guarded(3, SGD(0.1)), TypeError, "optimizer: expected an object with init and update, got int"),
    (lambda: guarded(SGD(0.1), None), TypeError, "fallback: "),
    (lambda: guarded(SGD(0.1), SGD), TypeError, "^fallback: expected .* got the class SGD; call it"),
    (lambda: guarded(SGD(0.1), SGD(0.1), 0), ValueError, "block"),
    (lambda: guarded(SGD(0.1), SGD(0.1)).start(np.ones(2), 1).tell("a", np.ones(2)), ValueError, "^value: .* got 'a'"),
    (lambda: guarded(SGD(0.1), SGD(0.1)).start(np.ones((3, 2)), 1).tell(np.ones(2), np.ones((3, 2))), ValueError,
     "^value: expected one number, or one for each row of theta"),
    (lambda: guarded(SGD(0.1), SGD(0.1)).start([np.ones(2)], 1).tell(np.ones(2), [np.ones(2)]), ValueError, "^value: "),
    (lambda: guarded(SGD(0.1), SGD(0.1)).start(np.ones(2), 1).tell(1.0, np.ones(3)), ValueError,
     "^gradient: expected shape"),
    (lambda: guarded(SGD(0.1), SGD(0.1)).minimize(bowl, np.ones(2), 0), ValueError, "steps"),
    (lambda: guarded(SGD(0.1), SGD(0.1)).minimize(lambda x: (np.ones((1, 1)), x), np.ones(2), 1), ValueError, "value"),
])
def test_what_does_not_fit_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_weight_decay_inside_of_a_guard_gets_the_parameters():
    """As in a loop of one's own: of two equal optimizers each goes as far as one alone."""
    opt, theta = l2l.Adjusted(SGD(0.1), decay=0.05), np.ones(3)
    result = guarded(opt, opt, block=2).minimize(bowl, theta, 4)
    state = opt.init(theta)
    for _ in range(4):
        update, state = opt.update(bowl(theta)[1], state, theta)
        theta = theta + update
    np.testing.assert_allclose(result.theta, theta)


def test_evaluations_are_those_that_were_told():
    run = guarded(SGD(0.1), SGD(0.1), block=4).start(np.ones(2), 8)
    for told in range(1, 10):
        run.tell(*bowl(run.theta))
        assert run.result().evaluations == told


def test_a_loop_of_ones_own_that_ends_above_its_start_is_reported_too(caplog):
    run = guarded(SGD(3.0), SGD(3.0)).start(np.ones(2), 3)
    while not run.done:
        assert not caplog.records
        run.tell(*bowl(run.theta))
    run.result()
    assert "ended above its start" in caplog.text

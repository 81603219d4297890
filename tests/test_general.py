"""What the shipped optimizer without a name promises: no sign, no scale and no tuning."""

import numpy as np
import pytest

import l2l_ref as l2l
from l2l_ref.baselines.gradient import Adam
from l2l_ref.compare.tuning import judged
from l2l_ref.optimizees import MLP, zoo
from l2l_ref.optimizees.rollout import rollout


@pytest.fixture(scope="module")
def general():
    return l2l.load()


def test_it_is_small_and_says_how_it_was_trained(general):
    assert isinstance(general, l2l.MomentsMLP) and general.card["name"] == "general"
    assert "train zoo" in general.card["command"] and general.card["score"]["final"] < 1


@pytest.mark.parametrize("factor", [1e-4, 1e-2, 1e2, 1e4])
def test_a_factor_in_front_of_the_loss_does_not_matter(general, factor):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((10, 10)), rng.standard_normal(10)

    def run(factor):
        theta = np.zeros(10)
        state = general.init(theta, steps=50)
        for _ in range(50):
            update, state = general.update(factor * 2 * A.T @ (A @ theta - b), state)
            theta = theta + update
        return theta

    np.testing.assert_allclose(run(factor), run(1.0), rtol=1e-6, atol=1e-9)


def test_the_sign_of_a_parameter_does_not_matter(general):
    rng, signs = np.random.default_rng(0), np.random.default_rng(1).choice([-1.0, 1.0], 200)
    plain = mirrored = general.init(np.zeros(200))
    for _ in range(50):
        gradient = rng.standard_normal(200)
        (update, plain), (other, mirrored) = general.update(gradient, plain), general.update(signs * gradient, mirrored)
        np.testing.assert_allclose(other, signs * update, rtol=1e-9, atol=1e-15)


def test_it_does_not_stop_getting_better():
    pytest.importorskip("scipy")
    from scipy.optimize import minimize

    d = np.logspace(0, 4, 10)
    short, long = (minimize(lambda x: 0.5 * (d * x * x).sum(), np.ones(10), jac=lambda x: d * x,
                            method=l2l.load().scipy_method, options={"maxiter": T}) for T in (100, 1000))
    assert long.fun < short.fun < 0.5 * d.sum()


@pytest.mark.parametrize("name", ["sigmoid 20", "relu 32", "clusters", "tanh 12-12-12-12", "factorization"])
def test_untuned_it_is_ahead_of_untuned_adam(general, name):
    """On problems of its meta-training and on some that are held out, by the mean over the last tenth of 100 steps."""
    problem = zoo.problem(name)
    problem = problem.on("test") if hasattr(problem, "on") else problem
    own, adam = (judged(rollout(optimizer, problem.sample(2, 0), 100), 100).mean()
                 for optimizer in (general, Adam(1e-3)))
    assert own < adam


def test_it_can_be_used_without_knowing_the_number_of_steps(general):
    theta, losses = np.ones(5), []
    state = general.init(theta)
    for _ in range(200):
        losses.append((theta**2).sum())
        update, state = general.update(2 * theta, state)
        theta = theta + update
    assert losses[-1] < 1e-2 * losses[0]


def test_a_network_of_another_kind_ends_below_its_start(general):
    problem = MLP("digits", (10,) * 5, "relu", "test", batch=32, start="he")
    curve = rollout(general, problem.sample(2, 0), 100)
    assert (judged(curve, 100) < curve[0]).all()

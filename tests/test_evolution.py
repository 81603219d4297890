"""Meta-gradients from losses alone: the formula, its windows, its mean and its spread beside backpropagation."""

import json
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import run_command
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.executors import Pieces
from l2l_ref.learned.coordinatewise import Params
from l2l_ref.metatrain import evolution
from l2l_ref.metatrain.gradient_based import (
    LOSS_WEIGHTS,
    TRAINING,
    Recipe,
    epoch_gradients,
    meta_train,
    run_window,
    second_order_window_gradient,
    window_gradient,
    with_phi,
)
from l2l_ref.metatrain.presets import build
from l2l_ref.optimizees import Mixture, Quadratic
from l2l_ref.optimizees.rollout import begin, rollout
from l2l_ref.seeds import child
from l2l_ref.trees import flatten, unflatten

EVOLUTION = {"estimator": "evolution", "unroll": None, "pairs": 3, "functions": 2, "tasks": 2, "epochs": 2,
             "validation_functions": 4}


def optimizer(rng=0):
    return l2l.MomentsMLP(3, rng=rng, backend="numpy")


def epoch_of(model, problem, recipe, seed=7):
    """An epoch of one update: its losses and estimates, and the seeds of its pairs."""
    recipe = replace(recipe, tasks=1, estimator="evolution")
    progress = SimpleNamespace(phi=flatten(model.params).astype(float), epoch=0)
    return (list(epoch_gradients(Pieces((model, problem, recipe)), recipe, seed, progress)),
            [child(seed, TRAINING, 0, 0, j) for j in range(recipe.pairs)])


@pytest.mark.parametrize("logarithm", [None, 1e-3])
@pytest.mark.parametrize("weights", LOSS_WEIGHTS)
def test_an_estimate_is_that_of_the_equation(weights, logarithm):
    model, problem, T = optimizer(), Quadratic(3), 12
    recipe = Recipe(steps=T, unroll=None, functions=2, pairs=3, sigma=0.1, loss_weights=weights, logarithm=logarithm)
    phi = flatten(model.params).astype(float)
    ((loss, came),), seeds = epoch_of(model, problem, recipe)
    wanted, losses = np.zeros_like(phi), []
    for seed in seeds:
        eps = np.random.default_rng(child(seed, evolution.NOISE)).standard_normal(len(phi))
        of_pair = []
        for sign in (1, -1):
            task = problem.sample(2, child(seed, evolution.FUNCTIONS))
            curve = rollout(with_phi(model, phi + sign * 0.1 * eps), task, T)[1:].astype(float)
            curve = curve if logarithm is None else np.log(curve + logarithm)
            of_pair.append((recipe.weights() * curve.mean(axis=1)).mean())
        wanted += eps * (of_pair[0] - of_pair[1]) / 0.2 / 3
        losses.append(np.mean(of_pair))
    np.testing.assert_allclose(came, wanted, rtol=1e-9, atol=1e-12 * np.abs(wanted).max())
    assert loss == pytest.approx(np.mean(losses))


@pytest.mark.parametrize("unroll", [None, 3])
def test_imitation_adds_the_distance_from_adam(unroll):
    """T7, of whole runs and of windows that begin where the last ones ended."""
    model, problem, T, rate = optimizer(), Quadratic(3), 6, 0.7
    recipe = Recipe(steps=T, unroll=unroll, functions=2, pairs=1, sigma=0.1, imitation=rate, estimator="evolution")
    came, (seed,) = epoch_of(model, problem, recipe)
    without, _ = epoch_of(model, problem, replace(recipe, imitation=0.0))
    eps = np.random.default_rng(child(seed, evolution.NOISE)).standard_normal(len(flatten(model.params)))
    distances = []
    for sign in (1, -1):
        perturbed = with_phi(model, flatten(model.params).astype(float) + sign * 0.1 * eps)
        task, adam = problem.sample(2, child(seed, evolution.FUNCTIONS)), l2l.baselines.Adam(0.01)
        theta, of_steps = task.theta0, []
        state, taught = begin(perturbed, theta, task, T), adam.init(theta)
        for _ in range(T):
            gradients = task.loss_and_gradient(theta)[1]
            update, state = perturbed.update(gradients, state)
            wanted, taught = adam.update(gradients, taught)
            of_steps.append(float(((update - wanted) ** 2).sum() / (wanted**2).sum()))
            theta = theta + update
        distances.append(np.reshape(of_steps, (-1, unroll or T)).mean(axis=1))
    plus, minus = distances
    np.testing.assert_allclose([one for one, _ in came], [one for one, _ in without] + rate * (plus + minus) / 2,
                               rtol=1e-5)
    for (_, d_came), (_, d_without), difference in zip(came, without, plus - minus):
        np.testing.assert_allclose(d_came - d_without, eps * rate * difference / 0.2, rtol=1e-4,
                                   atol=1e-4 * np.abs(d_came).max())


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([1, 2, 5, 10]))
def test_windows_are_the_run_cut_into_pieces(seed, unroll):
    """eps stays the same, so for the same phi the estimates of the windows have the mean of that of the whole run."""
    model, problem, T = optimizer(seed), Quadratic(2), 10
    ((loss, whole),), _ = epoch_of(model, problem, Recipe(steps=T, unroll=None, functions=1, pairs=2), seed)
    pieces, _ = epoch_of(model, problem, Recipe(steps=T, unroll=unroll, functions=1, pairs=2), seed)
    assert len(pieces) == T // unroll
    np.testing.assert_allclose(np.mean([d for _, d in pieces], axis=0), whole, rtol=1e-7, atol=1e-9)
    assert np.mean([one for one, _ in pieces]) == pytest.approx(loss)


def true_gradient(model, problem, steps, seed, dashed):
    """dL/dphi of one run by backpropagation, with the dashed edges or without, L the mean over the steps."""
    task = problem.sample(1, seed, np.float64)
    evaluation = task.second_order(task.theta0) if dashed else task.loss_and_gradient(task.theta0)
    state = begin(model, task.theta0, task, steps)
    _, _, _, _, gradients, loss_gradients, products = run_window(model, task, task.theta0, state, evaluation, steps)
    if dashed:
        return second_order_window_gradient(model, gradients, loss_gradients, products, state, 1) / steps
    return window_gradient(model, gradients, loss_gradients, state, 1) / steps


class InDouble:
    """A problem whose tasks are float64, so that small perturbations can be told apart."""

    def __init__(self, problem):
        self.problem = problem

    def sample(self, functions, seed):
        return self.problem.sample(functions, seed, np.float64)


def test_the_mean_is_the_gradient_with_the_dashed_edges():
    """On one function, as sigma gets small, for gradient descent with a learned rate and offset."""
    params = Params((), np.array([[-0.5]]), np.zeros(1))
    model, problem, T, N = l2l.CoordinatewiseLSTM((), params=params), InDouble(Quadratic(2)), 10, 1000
    wanted = true_gradient(model, problem.problem, T, child(0, 1), True)
    phi = flatten(model.params).astype(float)
    recipe = Recipe(steps=T, unroll=None, functions=1, sigma=1e-3)
    rng, estimates = np.random.default_rng(0), []
    task = problem.sample(1, child(0, 1))
    for _ in range(N):
        eps = rng.standard_normal(len(phi))
        ends = []
        for sign in (1, -1):
            moved = model.with_params(unflatten(phi + sign * 1e-3 * eps, params))
            first = evolution.Run(task, task.theta0, moved.init(task.theta0), task.loss_and_gradient(task.theta0))
            ends.append(evolution.window(moved, first, recipe.weights(), None)[1])
        estimates.append(eps * (ends[0] - ends[1]) / 2e-3)
    mean, spread = np.mean(estimates, axis=0), np.std(estimates, axis=0) / np.sqrt(N)
    assert (np.abs(mean - wanted) <= 5 * spread + 1e-4 * np.abs(wanted).max()).all()
    # The estimate finds the true gradient, not the one without the dashed edges, where the two differ.
    dropped = true_gradient(model, problem.problem, T, child(0, 1), False)
    assert (np.abs(mean - dropped) > 5 * spread).any()
    # In theory the variance of an entry of one estimate is |g|^2 + g_k^2, so its mean over the entries is this.
    assert np.mean(np.var(estimates, axis=0)) == pytest.approx(wanted @ wanted * (1 + 1 / len(phi)), rel=0.2)


def test_executors_do_not_matter():
    model, mixture = optimizer(), Mixture([Quadratic(3), Quadratic(5)], rescale=2.0)
    recipe = {**EVOLUTION, "horizons": (3, 9), "untold": 0.5, "logarithm": 1e-4, "loss_weights": "tail"}
    whole, log = meta_train(model, mixture, 8, seed=1, **recipe)
    with ThreadPoolExecutor(3) as threads, ProcessPoolExecutor(2, get_context("spawn")) as processes:
        for executor in (threads, processes):
            other, same = meta_train(model, mixture, 8, seed=1, executor=executor, **recipe)
            np.testing.assert_array_equal(flatten(other.params), flatten(whole.params))
            assert [entry["loss"] for entry in same] == [entry["loss"] for entry in log]
    assert not np.array_equal(flatten(whole.params), flatten(model.params))


def test_training_that_is_resumed_is_the_same(tmp_path):
    model, mixture, recipe = optimizer(), Mixture([Quadratic(3), Quadratic(5)]), {**EVOLUTION, "horizons": (3, 9)}
    whole, _ = meta_train(model, mixture, 8, seed=1, **recipe)

    def stop(progress, _):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meta_train(model, mixture, 8, seed=1, checkpoint=tmp_path / "c.npz", report=stop, **recipe)
    resumed, _ = meta_train(model, mixture, 8, seed=1, checkpoint=tmp_path / "c.npz", resume=True, **recipe)
    np.testing.assert_array_equal(flatten(resumed.params), flatten(whole.params))


def test_a_run_that_diverges_counts_as_the_worst():
    model, problem = l2l.baselines.SGD(1e6), Quadratic(3)
    task = problem.sample(2, 0)
    run = evolution.Run(task, task.theta0, model.init(task.theta0), task.loss_and_gradient(task.theta0))
    assert evolution.window(model, run, np.ones(50), None)[1] == pytest.approx(evolution.WORST, rel=0.05)
    assert np.isfinite(evolution.window(model, run, np.ones(50), 1e-4)[1])


@pytest.mark.parametrize("weights", LOSS_WEIGHTS)
@given(steps=st.integers(1, 300))
def test_weights_have_the_mean_1(weights, steps):
    recipe = Recipe(steps=20, unroll=20, horizons=(20, 300), loss_weights=weights)
    assert recipe.weights(steps).mean() == pytest.approx(1) and recipe.weights(steps).min() >= 0


@pytest.mark.parametrize("floor", [None, 1e-3])
def test_the_logarithm_in_backpropagation(floor):
    """The norm of the meta-gradient is that of differences of mean log(f + floor), with one step and one function.

    With one step there are no dashed edges. The rule is linear, so that it has two weights.
    """
    params, h = Params((), np.array([[-0.1]]), np.array([0.05])), 1e-3
    model, problem = l2l.CoordinatewiseLSTM((), params=params), Quadratic(2)
    recipe = {"unroll": 1, "tasks": 1, "epochs": 1, "functions": 1, "validation_functions": 2, "clip": None}
    _, log = meta_train(model, problem, 1, seed=0, logarithm=floor, **recipe)
    task = problem.sample(1, child(0, 1, 0, 0), np.float64)

    def loss(phi):
        f = rollout(model.with_params(unflatten(phi, params)), task, 1)[1, 0]
        return f if floor is None else np.log(f + floor)

    phi = flatten(params)
    slope = [(loss(phi + step) - loss(phi - step)) / (2 * h) for step in h * np.eye(2)]
    assert log[0]["loss"] == pytest.approx(loss(phi), rel=1e-5)
    assert log[0]["gradient_norm"] == pytest.approx(np.linalg.norm(slope), rel=1e-3)


class Negative:
    """A problem whose losses can be below 0."""

    config, chance = {"problem": "negative"}, 1.0

    def sample(self, functions, seed, dtype=np.float32):
        task = SimpleNamespace(theta0=np.ones((functions, 2), dtype), shapes={"x": (2,)})
        task.loss_and_gradient = lambda theta: (theta.sum(axis=1) - 5, np.ones_like(theta))
        return task


@pytest.mark.parametrize("recipe", [EVOLUTION, {"unroll": 2, "epochs": 1, "tasks": 1, "functions": 2}])
def test_there_is_no_logarithm_of_a_negative_loss(recipe):
    with pytest.raises(ValueError, match="^logarithm: expected a problem whose losses are >= 0, got -3"):
        meta_train(optimizer(), Negative(), 4, **recipe, logarithm=1e-4)


@pytest.mark.parametrize(("settings", "words"), [
    ({"estimator": "guess"}, "^estimator: expected one of backpropagation, evolution"),
    ({"sigma": 0.0}, "^sigma: expected a finite number > 0"),
    ({"logarithm": -1.0}, "^logarithm: expected a finite number > 0"),
    ({"pairs": 0}, "^pairs: expected"),
    ({"imitation": 0.1}, "^imitation: expected 0 for the estimator backpropagation, got 0.1"),
    ({"imitation": -1.0, "estimator": "evolution"}, "^imitation: expected a finite number >= 0, got -1.0"),
    ({"untold": 2.0}, r"^untold: expected a number in \[0, 1\]"),
    ({"estimator": "evolution", "coordinates": 10}, "^coordinates: expected None for the estimator evolution"),
    ({"estimator": "evolution", "pieces": 2}, "^pieces: expected 1 for the estimator evolution"),
    ({"functions": 3, "pieces": 4}, "^pieces: expected at most functions=3, got 4"),
    ({"estimator": "evolution", "boundary_term": True}, "^boundary_term: expected False"),
])
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        Recipe(**settings)


def test_second_derivatives_have_no_executor():
    with pytest.raises(ValueError, match="^executor: expected None with second_derivatives.*ThreadPoolExecutor"):
        meta_train(l2l.CoordinatewiseLSTM((3,), rng=0), Quadratic(2), 4, 4, second_derivatives=True,
                   executor=ThreadPoolExecutor(1))


def test_the_command_trains_on_the_zoo(capsys, tmp_path):
    words = ["train", "zoo", "--cell", "moments", "--hidden", "2", "--epochs", "1", "--tasks", "1", "--pairs", "1",
             "--functions", "1", "--horizons", "2,3", "--steps", "3", "--output", str(tmp_path / "own.npz"), "--json"]
    code, out, _ = run_command(capsys, *words)
    model = l2l.load(tmp_path / "own.npz")
    assert type(model) is l2l.MomentsMLP and model.hidden == 2 and model.card["recipe"]["estimator"] == "evolution"
    assert "--cell moments" in model.card["command"] and code == 0 and json.loads(out)["name"] == "own"


@pytest.mark.parametrize(("words", "message"), [
    (["train", "quadratic", "--processes", "2"], "--processes: needs --pieces or --estimator"),
    (["train", "zoo", "--cell", "moments", "--hidden", "4,4"], "hidden: expected the units of one layer"),
    (["train", "zoo", "--cell", "moments", "--preprocess", "10"], "preprocess: not for the cell moments"),
])
def test_options_that_do_not_go_together(capsys, words, message):
    code, _, err = run_command(capsys, *words)
    assert code == 2 and message in err


def test_what_the_presets_say_of_coordinates_is_not_for_evolution():
    model, _, recipe = build("digits", cell="moments", model={"hidden": 4}, recipe={"estimator": "evolution"})
    assert type(model) is l2l.MomentsMLP and model.hidden == 4 and recipe["coordinates"] is None

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import SLOW
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref import files
from l2l_ref.baselines.gradient import Adam
from l2l_ref.checking import gradcheck
from l2l_ref.learned import coordinatewise
from l2l_ref.learned.optimizer import CoordinatewiseLSTM
from l2l_ref.metatrain import gradient_based as train
from l2l_ref.metatrain import loop, presets
from l2l_ref.metatrain.gradient_based import (
    Recipe,
    meta_train,
    run_window,
    second_order_window_gradient,
    window_gradient,
    window_loss,
)
from l2l_ref.optimizees import Quadratic
from l2l_ref.optimizees.rollout import rollout
from l2l_ref.pretrained import save
from l2l_ref.trees import flatten, unflatten

TINY = {"steps": 4, "unroll": 2, "epochs": 3, "tasks": 2, "functions": 2, "validation_functions": 3}


class Parabola:
    """f(x) = x^2 from x = 1; the same function whatever the seed."""

    config, chance = {"problem": "parabola"}, None

    def __init__(self, dtype=np.float64):
        self.dtype = dtype

    def sample(self, functions, seed):
        return ParabolaTask(np.ones((functions, 1), self.dtype))


class ParabolaTask:
    def __init__(self, theta0):
        self.theta0 = theta0

    def loss_and_gradient(self, theta):
        return (theta * theta)[:, 0], 2 * theta

    def second_order(self, theta):
        return *self.loss_and_gradient(theta), lambda v: 2 * v


def linear_rule():
    """u = w g + b with w = b = 0."""
    params = coordinatewise.Params((), np.zeros((1, 1)), np.zeros(1))
    return CoordinatewiseLSTM(hidden=(), params=params, backend="numpy")


def tiny(hidden=(3,), seed=0, backend="numpy", **settings):
    return CoordinatewiseLSTM(hidden, rng=seed, backend=backend, **settings)


def weights(model):
    return flatten(model.params)


def arrays_of(path):
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != "card"}


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def final(model, problem=None, **changes):
    """The weights after a tiny training."""
    recipe = TINY | {"seed": 0} | changes
    trained, _ = meta_train(model, problem or Quadratic(dim=3), **recipe)
    return weights(trained)


# (a) Worked by hand: two windows of five steps on a parabola.


def test_golden_windows():
    model, task, adam = linear_rule(), Parabola().sample(1, 0), Adam(0.01)
    theta, state, evaluation = task.theta0, model.init(task.theta0), task.second_order(task.theta0)
    phi = weights(model)
    moments = adam.init(phi)

    def window(phi, theta, state, evaluation):
        model = CoordinatewiseLSTM(hidden=(), params=unflatten(phi, linear_rule().params), backend="numpy")
        *after, losses, gradients, loss_gradients, products = run_window(model, task, theta, state, evaluation, 5)
        loss = window_loss(losses, evaluation[0], boundary_term=True)
        without = window_loss(losses, evaluation[0])
        assert without == pytest.approx(loss - evaluation[0].mean(), rel=1e-12)
        exact = second_order_window_gradient(model, gradients, loss_gradients, products, state, 1)
        return loss, window_gradient(model, gradients, loss_gradients, state, 1), exact, after

    loss, gradient, exact, (theta, state, evaluation) = window(phi, theta, state, evaluation)
    assert loss == 6.0 and gradient.dtype == exact.dtype == np.float64
    np.testing.assert_array_equal(gradient, [60.0, 30.0])
    np.testing.assert_array_equal(exact, [60.0, 30.0])
    update, moments = adam.update(gradient, moments)
    phi = phi + update
    np.testing.assert_allclose(phi, [-0.01, -0.01], rtol=1e-8)

    loss, gradient, exact, (theta, state, evaluation) = window(phi, theta, state, evaluation)
    assert loss == pytest.approx(5.170182903446651, rel=1e-8)
    assert theta[0, 0] == pytest.approx(0.8558811961823869, rel=1e-8)
    assert evaluation[0][0] == pytest.approx(0.7325326219785935, rel=1e-8)
    np.testing.assert_allclose(gradient, [51.52734961434568, 26.80035789396444], rtol=1e-8)
    np.testing.assert_allclose(exact, [50.175824, 26.109236], rtol=2e-8)  # docs/explanation/meta-gradient.md


def test_golden_training():
    """The same two windows through meta_train: its weights are those of two Adam steps, in float32."""
    recipe = {"steps": 10, "unroll": 5, "epochs": 1, "tasks": 1, "functions": 1, "validation_functions": 1,
              "learning_rate": 0.01, "final_learning_rate": 0.01, "clip": 1e9, "boundary_term": True}
    trained, log = meta_train(linear_rule(), Parabola(), seed=0, **recipe)
    adam, phi, moments = Adam(0.01), np.zeros(2), Adam(0.01).init(np.zeros(2))
    for gradient in ([60.0, 30.0], [51.52734961434568, 26.80035789396444]):
        update, moments = adam.update(np.array(gradient), moments)
        phi = phi + update
    np.testing.assert_allclose(weights(trained), phi, rtol=1e-6)
    assert log[0]["loss"] == pytest.approx((6.0 + 5.170182903446651) / 2, rel=1e-7)
    norms = [np.hypot(60, 30), np.hypot(51.52734961434568, 26.80035789396444)]
    assert log[0]["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-7)  # the median of two


def test_training_is_windows_and_adam():
    """An epoch written out: theta and the LSTM's state go on from window to window, phi moves after each."""
    model, problem = tiny((3, 2), seed=4), Quadratic(dim=3)
    recipe = {"steps": 6, "unroll": 2, "epochs": 1, "tasks": 1, "functions": 2, "validation_functions": 1,
              "learning_rate": 0.1, "clip": None}
    samples = []

    class Watched(Quadratic):
        def sample(self, functions, seed, dtype=np.float32):
            samples.append(seed)
            return super().sample(functions, seed, dtype)

    trained, _ = meta_train(model, Watched(dim=3), **recipe)
    task = problem.sample(2, samples[1])  # the first sample is the validation's
    adam, phi = Adam(0.1), weights(model)
    moments = adam.init(phi)
    theta, evaluation = task.theta0, task.loss_and_gradient(task.theta0)
    state = model.init(theta)
    for _ in range(3):
        params = unflatten(phi.astype(np.float32), model.params)
        current = CoordinatewiseLSTM(model.hidden, params=params, backend="numpy")
        before = state
        theta, state, evaluation, _, gradients, later, _ = run_window(current, task, theta, state, evaluation, 2)
        update, moments = adam.update(window_gradient(current, gradients, later, before, 2), moments)
        phi = phi + update
    assert same_bits(weights(trained), phi.astype(np.float32))


def test_the_boundary_term_is_in_the_loss_and_in_no_gradient():
    results = [meta_train(tiny(), Parabola(), **TINY, boundary_term=term) for term in (False, True)]
    assert same_bits(*(weights(model) for model, _ in results))
    (_, without), (_, log) = results
    assert log[0]["loss"] > without[0]["loss"] and log[0]["validation_sum"] == without[0]["validation_sum"]


def test_clipping():
    """One Adam step sees g / |g| clip; with no step to follow, its first moment is a tenth of that."""
    seen = []
    recipe = {"steps": 5, "unroll": 5, "epochs": 1, "tasks": 1, "functions": 1, "validation_functions": 1}
    for clip in (1.0, None):
        meta_train(linear_rule(), Parabola(), clip=clip, report=lambda p, r: seen.append(p.adam.m), **recipe)
    np.testing.assert_allclose(seen[0], 0.1 * np.array([60.0, 30.0]) / np.hypot(60, 30), rtol=1e-12)
    np.testing.assert_allclose(seen[1], [6.0, 3.0], rtol=1e-12)


# (b) Windows cut the gradient and nothing else.


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_windows_do_not_change_the_trajectory(backend):
    model = tiny((4, 3), seed=1, backend=backend, output_scale=3.0, preprocess=10.0)
    task = Quadratic(dim=8).sample(4, 7)

    def run(unroll):
        theta, state, evaluation = task.theta0, model.init(task.theta0), task.loss_and_gradient(task.theta0)
        parts = []
        for _ in range(20 // unroll):
            theta, state, evaluation, *window = run_window(model, task, theta, state, evaluation, unroll)
            parts.append(window)
        return theta, *(np.concatenate(pieces) for pieces in zip(*parts))

    ones, whole = run(1), run(20)
    assert all(same_bits(*pair) for pair in zip(ones, whole))
    curve = rollout(model, task, 20)
    assert same_bits(whole[1], curve[1:]) and np.ptp(curve[:, 0]) > 0


# (c) The gradient of a window is that of the surrogate loss.


@given(st.integers(0, 10**6), st.sampled_from([(), (2,), (3, 2)]), st.sampled_from([None, 10.0]), st.integers(1, 4))
@settings(max_examples=15)
def test_window_gradient_is_that_of_the_surrogate(seed, hidden, preprocess, functions):
    """Differences of mean_b sum_t <u_t, g_t(phi)>, u_t the sum of the later gradients of f, which are held fixed."""
    model = tiny(hidden, seed, preprocess=preprocess, output_scale=0.5)
    rng = np.random.default_rng(seed)
    model.params = unflatten(rng.normal(0, 0.5, weights(model).size), model.params)
    task = Quadratic(dim=2).sample(functions, seed, dtype=np.float64)
    theta, state, evaluation = task.theta0, model.init(task.theta0), task.loss_and_gradient(task.theta0)
    theta, state, evaluation, *_ = run_window(model, task, theta, state, evaluation, 2)
    *_, gradients, loss_gradients, _ = run_window(model, task, theta, state, evaluation, 3)
    assert gradients.dtype == np.float64

    def surrogate(phi):
        params = unflatten(phi, model.params)
        moved = CoordinatewiseLSTM(hidden, preprocess, 0.5, params=params, backend="numpy")
        shaped, total = state, 0.0
        for t in range(3):
            update, shaped = moved.update(gradients[t].reshape(functions, 2), shaped)
            total += sum(loss_gradients[s] @ update.ravel() for s in range(t, 3))
        return total / functions

    phi, step = weights(model), 1e-5
    directions = np.eye(phi.size) * step
    differences = np.array([(surrogate(phi + d) - surrogate(phi - d)) / (2 * step) for d in directions])
    came = window_gradient(model, gradients, loss_gradients, state, functions)
    np.testing.assert_allclose(came, differences, rtol=1e-6, atol=1e-7 * (1 + np.abs(differences).max()))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@given(seed=st.integers(0, 10**6), hidden=st.sampled_from([(2,), (3, 2)]), preprocess=st.sampled_from([None, 1.0]),
       functions=st.integers(1, 4))
@settings(max_examples=8)
def test_with_second_derivatives_the_gradient_of_a_window_is_that_of_its_loss(backend, seed, hidden, preprocess,
                                                                              functions):
    """The window is run again with other weights: theta moves, and with it the gradients that the optimizer sees."""
    model = tiny(hidden, seed, backend, preprocess=preprocess, output_scale=0.1)
    rng = np.random.default_rng(seed)
    model.params = unflatten(rng.normal(0, 0.5, weights(model).size), model.params)
    task = Quadratic(dim=5).sample(functions, seed, dtype=np.float64)
    start = task.theta0, model.init(task.theta0), task.second_order(task.theta0)
    start = run_window(model, task, *start, 2)[:3]  # not from a state of zeros

    def run(phi):
        moved = CoordinatewiseLSTM(hidden, preprocess, 0.1, params=unflatten(phi, model.params), backend=backend)
        return moved, run_window(moved, task, *start, 4)

    def loss(phi):
        return np.float64(window_loss(run(phi)[1][3], start[2][0]))

    def backward(d_loss, phi):
        moved, (_, _, _, _, gradients, loss_gradients, products) = run(phi)
        return d_loss * second_order_window_gradient(moved, gradients, loss_gradients, products, start[1], functions)

    gradcheck(loss, backward, (weights(model),), seed=seed, thorough=SLOW).raise_if_failed()


def test_without_curvature_the_second_derivatives_change_nothing():
    model, rng = tiny((3, 2), 1), np.random.default_rng(0)
    gradients, loss_gradients = rng.standard_normal((2, 4, 6))
    state = model.init(np.zeros(6)).layers
    params = model.params_as(np.float64)
    first = coordinatewise.meta_gradient(gradients, coordinatewise.suffix_sums(loss_gradients), state, params)
    second = coordinatewise.second_order_meta_gradient(gradients, loss_gradients, 4 * [lambda v: 0 * v], state, params)
    np.testing.assert_allclose(flatten(second), flatten(first), rtol=1e-12, atol=1e-14)


def test_training_with_second_derivatives():
    def train(backend, second_derivatives):
        model = tiny((3,), backend=backend, output_scale=10.0)  # it reacts to gradients
        return final(model, functions=16, second_derivatives=second_derivatives)

    with_them = train("numpy", True)
    np.testing.assert_allclose(train("numba", True), with_them, rtol=0, atol=1e-5)
    assert np.abs(train("numpy", False) - with_them).max() > 1e-4


def test_a_preset_for_images_trains_with_second_derivatives_on_all_coordinates():
    tiny_recipe = TINY | {"epochs": 1, "second_derivatives": True}
    model, problem, recipe = presets.build("digits", model={"hidden": (2,)}, distribution={"hidden": (2,)},
                                           recipe=tiny_recipe)
    assert recipe["coordinates"] is None
    _, log = meta_train(model, problem, **recipe)
    assert log[0]["skipped"] == 0 and np.isfinite(log[0]["gradient_norm"])
    with pytest.raises(ValueError, match="coordinates: expected None with second_derivatives, got 5"):
        Recipe(**presets.build("digits", recipe=tiny_recipe | {"coordinates": 5})[2])


# (d) Seeds and threads.


def test_same_seed_same_weights_another_seed_others():
    assert same_bits(final(tiny()), final(tiny()))
    assert not np.array_equal(final(tiny()), final(tiny(), seed=1))
    assert not np.array_equal(final(tiny()), final(tiny(seed=1)))


def test_a_seed_may_be_any_integer():
    assert same_bits(final(tiny(), seed=np.int64(3)), final(tiny(), seed=3))
    with pytest.raises(ValueError, match="seed: expected a whole number >= 0, got -1"):
        final(tiny(), seed=-1)
    with pytest.raises(ValueError, match="seed: expected a whole number >= 0, got None"):
        final(tiny(), seed=None)


def test_threads_do_not_change_the_weights():
    recipe = {"epochs": 1, "tasks": 1, "functions": 40}  # 400 coordinates are several tiles
    assert same_bits(*(final(tiny(backend="numba", threads=threads), Quadratic(), **recipe) for threads in (1, 2)))


def test_the_model_given_is_not_changed():
    model = tiny()
    before = weights(model)
    assert not np.array_equal(final(model), before.astype(np.float32))
    assert same_bits(weights(model), before)


def test_training_never_sees_the_functions_of_the_validation():
    asked = []

    class Watched(Quadratic):
        def on(self, split):
            asked.append(split)
            return self

        def sample(self, functions, seed, dtype=np.float32):
            asked.append((functions, seed.spawn_key))
            return super().sample(functions, seed, dtype)

    meta_train(tiny(), Watched(dim=3), **TINY)
    training = [key for functions, key in (a for a in asked if isinstance(a, tuple)) if functions == 2]
    validation = [key for functions, key in (a for a in asked if isinstance(a, tuple)) if functions == 3]
    assert len(set(training)) == len(training) == 6 and len(set(validation)) == 1
    assert not set(training) & set(validation)
    assert sorted(a for a in asked if isinstance(a, str)) == ["train", "validation"]


# (e) Interrupted and resumed.


class Interrupted(Exception):
    pass


def interrupt_after(k):
    def report(progress, recipe):
        if progress.epoch == k:
            raise Interrupted

    return report


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


@pytest.fixture
def checkpoint(path):
    """The checkpoint of a tiny run that was interrupted after its first epoch."""
    with pytest.raises(Interrupted):
        final(tiny(), checkpoint=path, report=interrupt_after(1))
    return path


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("problem", [Parabola(np.float32), Quadratic(dim=3)])
@pytest.mark.parametrize("more", [{}, {"averaging": 0.9}, {"rollback": 1, "learning_rate": 5.0}])
def test_a_resumed_run_is_the_same_run(path, k, problem, more):
    settings = {"epochs": 4, "patience": 3, "learning_rate": 0.05} | more
    whole, log = meta_train(tiny(), problem, **TINY | settings)
    with pytest.raises(Interrupted):
        meta_train(tiny(), problem, **TINY | settings, checkpoint=path, report=interrupt_after(k))
    epochs = []
    resumed, resumed_log = meta_train(tiny(), problem, **TINY | settings, checkpoint=path, resume=True,
                                      report=lambda progress, recipe: epochs.append(progress.epoch))
    assert epochs == list(range(k + 1, 5))
    assert same_bits(weights(resumed), weights(whole))
    for entries in (log, resumed_log):
        for entry in entries:
            entry.pop("seconds")
    assert resumed_log == log


@pytest.mark.parametrize("k", range(1, 10))
def test_a_run_resumed_between_rollbacks_is_the_same_run(path, k):
    settings = TINY | {"epochs": 10, "rollback": 2, "learning_rate": 5.0, "final_learning_rate": 5.0}
    whole, log = meta_train(tiny(), Quadratic(dim=3), **settings)
    assert len({entry["learning_rate"] for entry in log}) >= 3  # it has gone back twice
    with pytest.raises(Interrupted):
        meta_train(tiny(), Quadratic(dim=3), **settings, checkpoint=path, report=interrupt_after(k))
    resumed, resumed_log = meta_train(tiny(), Quadratic(dim=3), **settings, checkpoint=path, resume=True)
    assert same_bits(weights(resumed), weights(whole))
    assert [e["validation_final"] for e in resumed_log] == [e["validation_final"] for e in log]


def test_resume_without_a_checkpoint_starts_afresh(path):
    assert same_bits(final(tiny(), checkpoint=path, resume=True), final(tiny()))
    assert path.exists()


def test_with_overwrite_the_checkpoint_is_not_read(path):
    path.write_bytes(b"something else")
    assert same_bits(final(tiny(), checkpoint=path, overwrite=True), final(tiny()))
    assert epochs_in(path) == 3


def test_a_checkpoint_that_is_there_is_neither_read_nor_overwritten(checkpoint):
    before = checkpoint.read_bytes()
    for changes in ({}, {"seed": 7}):
        with pytest.raises(ValueError, match=f"^{checkpoint}: expected no file, got one: resume .*, overwrite"):
            final(tiny(), checkpoint=checkpoint, **changes)
    with pytest.raises(ValueError, match="^overwrite: expected False with resume"):
        final(tiny(), checkpoint=checkpoint, resume=True, overwrite=True)
    assert checkpoint.read_bytes() == before and os.listdir(checkpoint.parent) == [checkpoint.name]


@pytest.mark.parametrize("how", ["resume", "overwrite"])
def test_a_checkpoint_belongs_to_one_run_at_a_time(path, how):
    def report(progress, recipe):
        with pytest.raises(ValueError, match=f"^{path}: another run is writing it$"):
            final(tiny(), checkpoint=path, **{how: True})

    assert same_bits(final(tiny(), checkpoint=path, report=report), final(tiny()))
    assert os.listdir(path.parent) == [path.name]


def test_a_problem_with_tuples_in_its_config_resumes(path):
    class Tupled(Quadratic):
        config = {"problem": "tupled", "sizes": (1, 2)}

    with pytest.raises(Interrupted):
        final(tiny(), Tupled(dim=3), checkpoint=path, report=interrupt_after(1))
    assert same_bits(final(tiny(), Tupled(dim=3), checkpoint=path, resume=True), final(tiny()))


def test_a_problem_needs_no_more_than_sample(path):
    class Bare:
        def sample(self, functions, seed):
            return Quadratic(dim=3).sample(functions, seed)

    assert same_bits(final(tiny(), Bare(), checkpoint=path), final(tiny()))


class Scaled:
    """A problem without a config, whose class does not say how it is scaled."""

    def __init__(self, scale):
        self.scale = scale

    def sample(self, functions, seed):
        task = Quadratic(dim=3).sample(functions, seed)
        task.W *= self.scale
        return task


def test_another_problem_without_config_is_recognised(path):
    with pytest.raises(Interrupted):
        final(tiny(), Scaled(1), checkpoint=path, report=interrupt_after(1))
    with pytest.raises(ValueError, match="belongs to another run: its problem, sample is"):
        final(tiny(), Scaled(2), checkpoint=path, resume=True)
    assert same_bits(final(tiny(), Scaled(1), checkpoint=path, resume=True), final(tiny(), Scaled(1)))


def test_a_config_that_is_no_json_is_refused():
    class Odd(Quadratic):
        config = {"seed": np.float32(1)}

    with pytest.raises(ValueError, match="^config: expected values of JSON's types, but "):
        final(tiny(), Odd(dim=3))


@pytest.mark.parametrize("before, after", [("numpy", "numba"), ("auto", "numba")])
def test_a_checkpoint_of_another_backend_is_refused(path, before, after):
    pytest.importorskip("numba")
    with pytest.raises(Interrupted):
        final(tiny(backend=before), checkpoint=path, report=interrupt_after(1))
    with pytest.raises(ValueError, match=f"belongs to another run: its backend is {before!r}, not {after!r}$"):
        final(tiny(backend=after), checkpoint=path, resume=True)


OTHERS = {
    "seed is 0, not 1": {"seed": 1},
    "initial is": {"model": tiny(seed=9)},
    "model, hidden is [3], not [4]": {"model": tiny((4,))},
    "model, output_scale is 1.0, not 0.5": {"model": tiny(output_scale=0.5)},
    "model, preprocess is None, not 10.0": {"model": tiny(preprocess=10.0)},
    "problem, dim is 3, not 2": {"problem": Quadratic(dim=2)},
    "problem, dist is 'uniform', not 'normal'": {"problem": Quadratic(dim=3, distribution="normal")},
    "recipe, epochs is 3, not 5": {"epochs": 5},
    "recipe, learning_rate is 0.003, not 0.1": {"learning_rate": 0.1},
    "recipe, patience is None, not 2": {"patience": 2},
    "recipe, boundary_term is False, not True": {"boundary_term": True},
}


@pytest.mark.parametrize("difference", OTHERS)
def test_the_checkpoint_of_another_run_is_refused(checkpoint, difference):
    before, changes = checkpoint.read_bytes(), dict(OTHERS[difference])
    with pytest.raises(ValueError) as caught:
        final(changes.pop("model", tiny()), checkpoint=checkpoint, resume=True, **changes)
    message = str(caught.value)
    assert message.startswith(f"{checkpoint}: it belongs to another run: its {difference}") and "\n" not in message
    assert checkpoint.read_bytes() == before


def resume_refused(checkpoint):
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError) as caught:
        final(tiny(), checkpoint=checkpoint, resume=True)
    assert str(caught.value).startswith(f"{checkpoint}: ") and "\n" not in str(caught.value)
    assert checkpoint.read_bytes() == before and os.listdir(checkpoint.parent) == [checkpoint.name]
    return str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b"",
                                    lambda b: b.replace(b'"epoch": 1', b'"epoch": 2', 1)])
def test_a_damaged_checkpoint_is_refused_and_left_alone(checkpoint, damage):
    content = checkpoint.read_bytes()
    assert damage(content) != content
    checkpoint.write_bytes(damage(content))
    resume_refused(checkpoint)


def test_weights_are_no_checkpoint(path):
    save(tiny(), path)
    assert "not a checkpoint" in resume_refused(path)


ENTRY = {"epoch": 1, "validation_final": 1.0, "validation_sum": 2.0, "judged": 1.0, "seconds": 0.1}
HOSTILE_CARDS = {
    "no epoch": {"epoch": None},
    "half an epoch": {"epoch": 1.0},
    "an epoch that is not in the log": {"epoch": 2},
    "a negative epoch": {"epoch": -1},
    "a word for Adam's t": {"adam_t": "4"},
    "a negative t": {"adam_t": -1},
    "true": {"epoch": True},
    "more rollbacks than epochs": {"rollbacks": 2},
    "rollbacks without end": {"rollbacks": 10**10},
    "a t that no float counts": {"adam_t": 10**400},
    "a validation that is not finite": {"log": [ENTRY | {"judged": float("nan")}]},
    "no log": {"log": None},
    "an empty log": {"log": []},
    "a log of numbers": {"log": [1]},
    "a log without validation": {"log": [{"epoch": 1}]},
    "a word for the validation": {"log": [ENTRY | {"validation_final": "1"}]},
    "another epoch in the log": {"log": [ENTRY | {"epoch": 2}]},
    "a word for a run": {"checkpoint": "run"},
    "an empty run": {"checkpoint": {}},
}


def rewrite(checkpoint, arrays=(), card=()):
    """Change a checkpoint and give it a hash that fits."""
    with np.load(checkpoint, allow_pickle=False) as archive:
        held = {name: archive[name] for name in archive.files}
    old_card = json.loads(held.pop("card").tobytes())
    files.write(checkpoint, held | dict(arrays), old_card | dict(card))


def test_rewriting_alone_does_no_harm(checkpoint):
    rewrite(checkpoint, card={"log": [ENTRY | {"loss": 1.0}]})
    assert np.isfinite(final(tiny(), checkpoint=checkpoint, resume=True)).all()


@pytest.mark.parametrize("hostile", HOSTILE_CARDS)
def test_a_hostile_checkpoint_is_refused(checkpoint, hostile):
    rewrite(checkpoint, card=HOSTILE_CARDS[hostile])
    resume_refused(checkpoint)


def test_hostile_arrays_are_refused(checkpoint):
    good = checkpoint.read_bytes()
    negative = -np.ones(weights(tiny()).size)
    for arrays in ({"v": negative}, {"best_v": negative}, {"phi": np.zeros(3)}, {"m": negative > 0},
                   {"extra": np.zeros(3)}):
        checkpoint.write_bytes(good)
        rewrite(checkpoint, arrays=arrays)
        resume_refused(checkpoint)


# (f) Killed, at any moment, and started again.


def epochs_in(checkpoint):
    if not checkpoint.exists():
        return 0
    with np.load(checkpoint, allow_pickle=False) as archive:
        return json.loads(archive["card"].tobytes())["epoch"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_and_resumed_until_it_is_done(tmp_path):
    """L2L_REF_KILLS says how often; a kill comes anywhere between start-up and the last line.

    The moments are drawn anew each time; L2L_REF_KILL_SEED, printed when the test fails, draws the same again.
    """
    seed = int(os.environ.get("L2L_REF_KILL_SEED") or np.random.SeedSequence().entropy % 2**32)
    print(f"L2L_REF_KILL_SEED={seed}")
    kills = int(os.environ.get("L2L_REF_KILLS", "3"))
    command = [sys.executable, "-m", "l2l_ref", "train", "quadratic", "--epochs", "12", "--tasks", "1",
               "--functions", "2", "--steps", "4", "--unroll", "2", "--hidden", "3", "--backend", "numpy"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(train.__file__).parents[2]),
                                                               os.environ.get("PYTHONPATH", "")])}
    settings = {"env": environment, "cwd": tmp_path, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE,
                "text": True}
    undisturbed = subprocess.run([*command, "--output", "whole.npz"], **settings, timeout=120)
    assert undisturbed.returncode == 0, undisturbed.stderr
    resumable = [*command, "--output", "resumed.npz", "--checkpoint", "run.ckpt", "--resume"]

    wanted = arrays_of(tmp_path / "whole.npz")
    assert len(wanted) == 5

    def finish():
        last = subprocess.run(resumable, **settings, timeout=120)
        assert last.returncode == 0, last.stderr
        came = arrays_of(tmp_path / "resumed.npz")
        assert wanted.keys() == came.keys() and all(same_bits(wanted[name], came[name]) for name in wanted)
        (tmp_path / "run.ckpt").unlink()

    rng = np.random.default_rng(seed)
    killed = 0
    while killed < kills:
        process = subprocess.Popen(resumable, **settings)
        try:
            # Wait for some epochs to be reported, then for a moment more: that is where the writing goes on.
            for _ in range(rng.integers(0, 4)):
                process.stderr.readline()
            time.sleep(rng.uniform(0, 0.01))
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0)  # 0: it was done before the signal came
        killed += process.returncode != 0
        if epochs_in(tmp_path / "run.ckpt") == 12:
            finish()
    finish()


# (g) Stuck.


class Flat(Parabola):
    """f = 1 everywhere."""

    def sample(self, functions, seed):
        task = ParabolaTask(np.ones((functions, 2), np.float32))
        task.loss_and_gradient = lambda theta: (np.ones(len(theta), np.float32), np.zeros_like(theta))
        return task


def test_a_run_that_learns_nothing_is_called_stuck():
    _, log = meta_train(tiny(), Flat(), **TINY | {"epochs": 5})
    assert ["stuck" in entry for entry in log] == [False, False, True, True, True]
    assert "level of having learned nothing (1) after 3 epochs" in log[2]["stuck"]


def test_a_run_that_learns_is_not_called_stuck():
    _, log = meta_train(tiny(), Parabola(np.float32), **TINY | {"epochs": 5, "learning_rate": 0.05})
    assert not any("stuck" in entry for entry in log)
    assert log[-1]["validation_final"] < 0.9


def test_the_level_of_a_guess_is_the_problems_own():
    class Guessed(Flat):
        chance = 2.0

    _, log = meta_train(tiny(), Guessed(), **TINY | {"epochs": 5})
    assert not any("stuck" in entry for entry in log)


# (h) Diverging.


@pytest.mark.parametrize("rate", [10.0, 1e6, 1e38, 1e39, 1e300])
@pytest.mark.parametrize("hidden", [(), (3,)])
def test_a_diverging_run_ends_with_finite_weights(tmp_path, path, rate, hidden):
    settings = {"learning_rate": rate, "final_learning_rate": rate, "steps": 40, "unroll": 20}
    trained, log = meta_train(tiny(hidden), Quadratic(dim=3), checkpoint=path, **TINY | settings)
    assert np.isfinite(weights(trained)).all()
    assert all(np.isfinite([entry["validation_final"], entry["validation_sum"]]).all() for entry in log)
    json.dumps([entry | {"loss": None} for entry in log], allow_nan=False)
    assert all(np.isfinite(array).all() for array in arrays_of(path).values())
    resumed, _ = meta_train(tiny(hidden), Quadratic(dim=3), checkpoint=path, resume=True, **TINY | settings)
    assert same_bits(weights(resumed), weights(trained))
    save(trained, tmp_path / "trained.npz")


def test_a_diverging_task_is_dropped_and_counted():
    settings = {"learning_rate": 10.0, "final_learning_rate": 10.0, "steps": 200, "unroll": 50}
    _, log = meta_train(tiny(()), Quadratic(dim=3), **TINY | settings)
    assert sum(entry["skipped"] for entry in log) > 0


class Poisoned(Parabola):
    """Training tasks whose gradient is nan; validation as it should be."""

    def on(self, split):
        return self if split == "train" else Parabola(np.float32)

    def sample(self, functions, seed):
        task = ParabolaTask(np.ones((functions, 1), np.float32))
        task.loss_and_gradient = lambda theta: ((theta * theta)[:, 0], np.nan * theta)
        return task


def test_nan_gradients_teach_nothing():
    model = tiny()
    trained, log = meta_train(model, Poisoned(), **TINY)
    assert same_bits(weights(trained), weights(model).astype(np.float32))
    assert [(entry["skipped"], entry["loss"], entry["gradient_norm"]) for entry in log] == [(2, None, None)] * 3


# (i) Early stopping.


class Scripted(Parabola):
    """A validation that says what a script says, epoch by epoch."""

    def __init__(self, script):
        super().__init__(np.float32)
        self.script, self.drawn = script, -1  # the first draw is for the level of a guess

    def on(self, split):
        return self if split == "validation" else Parabola(np.float32)

    def sample(self, functions, seed):
        value = self.script[max(self.drawn, 0)]
        self.drawn += 1
        task = ParabolaTask(np.ones((functions, 1), np.float32))
        task.loss_and_gradient = lambda theta: (np.full(len(theta), value, np.float32), np.zeros_like(theta))
        return task


@pytest.mark.parametrize("script, patience, epochs, best", [
    ([5, 3, 4, 4, 4, 4], 2, 4, 2),
    ([5, 3, 4, 2, 4, 4], 2, 6, 4),
    ([5, 6, 7, 8, 9, 9], 1, 2, 1),
    ([3, 3, 3, 3, 3, 3], 2, 3, 1),  # as good as the best is not better
    ([5, 3, 4, 4, 4, 4], None, 6, 2),
    ([6, 5, 4, 3, 2, 1], 1, 6, 6),
    ([np.nan, np.inf, 4, 5, 6, 7], 3, 6, 3),
])
def test_the_best_weights_come_out(script, patience, epochs, best):
    seen = []
    trained, log = meta_train(tiny(), Scripted(script), **TINY | {"epochs": 6}, patience=patience,
                              report=lambda progress, recipe: seen.append(progress.phi.astype(np.float32)))
    assert len(log) == epochs
    assert same_bits(weights(trained), seen[best - 1])
    assert len({phi.tobytes() for phi in seen}) == epochs
    finite = [value if np.isfinite(value) else loop.DIVERGED for value in script[:epochs]]
    assert [entry["validation_final"] for entry in log] == finite


def test_a_run_that_gets_worse_goes_back_to_its_best():
    """Worse at epochs 3 and 4: back to where it was after epoch 2, with half the learning rate; again at 6."""
    seen, rates = [], []

    def report(progress, recipe):
        seen.append((progress.phi, progress.adam))
        rates.append(progress.log[-1]["learning_rate"])

    settings = TINY | {"epochs": 8, "rollback": 2, "learning_rate": 0.5, "final_learning_rate": 0.5}
    trained, _ = meta_train(tiny(), Scripted([5, 3, 4, 4, 4, 4, 2, 4]), **settings, report=report)
    assert rates == [0.5] * 4 + [0.25] * 2 + [0.125] * 2
    best = seen[1]
    for epoch, (phi, adam) in enumerate(seen, 1):
        assert (np.array_equal(phi, best[0]), adam is best[1]) == (epoch in (2, 4, 6),) * 2
    assert same_bits(weights(trained), seen[6][0].astype(np.float32))


def test_when_nothing_could_be_validated_the_first_weights_come_out():
    model = tiny()
    trained, _ = meta_train(model, Scripted([np.nan] * 6), **TINY)
    assert same_bits(weights(trained), weights(model).astype(np.float32))


# The recipe.


@pytest.mark.parametrize("changes, message", [
    ({"epochs": 0}, "epochs: expected a whole number >= 1, got 0"),
    ({"tasks": 1.5}, "tasks: expected a whole number >= 1, got 1.5"),
    ({"functions": "2"}, "functions: expected a whole number >= 1, got '2'"),
    ({"rollback": 0}, "rollback: expected None or a whole number >= 1, got 0"),
    ({"patience": 0}, "patience: expected None or a whole number >= 1, got 0"),
    ({"unroll": 3}, "unroll: expected a divisor of steps=4, got 3"),
    ({"unroll": 8}, "unroll: expected a divisor of steps=4, got 8"),
    ({"learning_rate": 0.0}, "learning_rate: expected a finite number > 0, got 0.0"),
    ({"final_learning_rate": np.inf}, "final_learning_rate: expected a finite number > 0, got inf"),
    ({"clip": np.nan}, "clip: expected a finite number > 0, got nan"),
    ({"coordinates": 2, "second_derivatives": True}, "coordinates: expected None with second_derivatives, got 2"),
    ({"averaging": 1.0}, "averaging: expected a number in [0, 1), got 1.0"),
    ({"decay_from": np.nan}, "decay_from: expected a number in [0, 1), got nan"),
])
def test_a_bad_recipe_is_refused(changes, message):
    with pytest.raises(ValueError) as caught:
        final(tiny(), **changes)
    assert str(caught.value) == message


@given(st.integers(1, 50), st.floats(1e-6, 1), st.floats(1e-6, 1), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_the_learning_rate_stays_and_then_falls_to_the_final_one(epochs, first, last, decay_from):
    recipe = Recipe(epochs=epochs, learning_rate=first, final_learning_rate=last, decay_from=decay_from)
    rates = [recipe.rate(epoch) for epoch in range(epochs + 1)]
    stays = int(decay_from * epochs)
    assert rates[: stays + 1] == [first] * (stays + 1)
    assert rates[-1] == pytest.approx(last, rel=1e-9)
    falls = np.diff(np.log(rates))[stays + 1 :]
    np.testing.assert_allclose(falls, np.log(last / first) / (1 - decay_from) / epochs, atol=1e-9)


def test_what_is_kept_is_the_average_over_the_updates():
    seen, first = [], weights(tiny())
    recipe = TINY | {"unroll": 4, "tasks": 1, "averaging": 0.75}  # one update an epoch
    trained, log = meta_train(tiny(), Scripted([3, 2, 1]), **recipe, report=lambda p, r: seen.append(p.phi))
    average = 0.75**3 * first + 0.25 * (0.75**2 * seen[0] + 0.75 * seen[1] + seen[2])
    np.testing.assert_allclose(weights(trained), average, rtol=1e-6, atol=1e-9)
    assert not np.allclose(weights(trained), seen[2], rtol=1e-4)


def test_a_part_of_the_coordinates_gives_the_gradient_in_the_mean():
    """Over all subsets of m of n coordinates, the mean of the estimates is the gradient itself."""
    rng = np.random.default_rng(0)
    model = CoordinatewiseLSTM(hidden=(3,), rng=1, backend="numpy")
    gradients, loss_gradients = rng.standard_normal((2, 4, 5))
    _, state = model.update(rng.standard_normal(5), model.init(np.zeros(5)))
    whole = window_gradient(model, gradients, loss_gradients, state, 1)
    parts = [
        window_gradient(model, gradients, loss_gradients, state, 1, np.array(chosen))
        for chosen in itertools.combinations(range(5), 2)
    ]
    np.testing.assert_allclose(np.mean(parts, axis=0), whole, rtol=1e-10, atol=1e-12)
    assert not np.allclose(parts[0], whole)


# The weights of the losses, w_t of T1.


@pytest.mark.parametrize("name", train.LOSS_WEIGHTS)
@given(steps=st.integers(1, 200))
def test_named_weights_have_the_mean_1(name, steps):
    weights = Recipe(steps=steps, unroll=1, loss_weights=name).weights()
    assert weights.shape == (steps,) and (weights >= 0).all() and (np.diff(weights) >= 0).all()
    assert weights.mean() == pytest.approx(1, rel=1e-12)
    assert name != "final" or np.count_nonzero(weights) == 1 == np.count_nonzero(weights[-1:])


@pytest.mark.parametrize("second_derivatives", [False, True])
def test_weights_of_the_losses_are_those_of_the_equation(second_derivatives):
    """On a parabola and from a rule that does not move: dL/dg_t is the sum of the later w_s f'(1), by hand."""
    seen, w = [], (0.5, 0.0, 3.0, 2.0)
    recipe = {"steps": 4, "unroll": 2, "epochs": 1, "tasks": 1, "functions": 2, "validation_functions": 1,
              "clip": None, "learning_rate": 1e-12, "final_learning_rate": 1e-12}
    _, log = meta_train(linear_rule(), Parabola(), **recipe, loss_weights=w, second_derivatives=second_derivatives,
                        report=lambda p, r: seen.append(p.adam.m))
    windows = [(w[0] + 2 * w[1]) * np.array([4.0, 2.0]), (w[2] + 2 * w[3]) * np.array([4.0, 2.0])]
    np.testing.assert_allclose(seen[0], 0.1 * windows[1] + 0.09 * windows[0], rtol=1e-9)
    assert log[0]["loss"] == pytest.approx((w[0] + w[1] + w[2] + w[3]) / 2, rel=1e-9)


def test_equal_weights_are_uniform_bit_for_bit():
    assert same_bits(final(tiny()), final(tiny(), loss_weights=(1.0,) * 4))
    assert not same_bits(final(tiny()), final(tiny(), loss_weights="linear"))


def test_a_window_without_weight_updates_nothing_and_the_run_goes_on():
    """The last loss alone: one update for each task, from the gradients of the last window."""
    updates = []
    final(tiny(), loss_weights="final", report=lambda p, r: updates.append(p.adam.t))
    assert updates == [2, 4, 6]  # of 4, 8 and 12 with uniform weights


@pytest.mark.parametrize("wrong", [(1.0,), (1.0,) * 5, (0.0,) * 4, (1.0, -1.0, 1.0, 1.0), (1.0, np.nan, 1.0, 1.0),
                                   (1.0, np.inf, 1.0, 1.0), "last", ()])
def test_weights_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="^loss_weights: expected "):
        Recipe(steps=4, unroll=2, loss_weights=wrong)

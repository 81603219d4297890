"""The coordinatewise optimizer with vanilla recurrent cells: equations, meta-gradient, files, commands."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.cli import main
from l2l_ref.metatrain.gradient_based import run_window, second_order_window_gradient, window_gradient, window_loss
from l2l_ref.metatrain.presets import build
from l2l_ref.trees import flatten, unflatten

TINY = {"epochs": 2, "tasks": 1, "functions": 2, "steps": 4, "unroll": 2, "validation_functions": 2}
CASES = {"seed": st.integers(0, 10**6), "hidden": st.sampled_from([(2,), (3, 2)]),
         "preprocess": st.sampled_from([None, 1.0]), "functions": st.integers(1, 3)}


def drawn(seed, hidden, preprocess=None, scale=0.5):
    """An optimizer whose weights are all random, those of the biases too."""
    model = l2l.CoordinatewiseRNN(hidden, preprocess, scale)
    rng = np.random.default_rng(seed)
    return model.with_params(unflatten(rng.normal(0, 0.5, flatten(model.params).size), model.params))


def test_a_step_is_the_equations():
    model = drawn(0, (3, 2), scale=0.3)
    state, h = model.init(np.zeros(4)), [[[0.0] * 3 for _ in range(4)], [[0.0] * 2 for _ in range(4)]]
    for gradient in np.random.default_rng(1).standard_normal((3, 4)):
        update, state = model.update(gradient, state)
        for i in range(4):
            z = [gradient[i]]
            for layer, params in enumerate(model.params.layers):
                a = [params.b[j] + sum(z[k] * params.W_x[k, j] for k in range(len(z)))
                     + sum(h[layer][i][k] * params.W_h[k, j] for k in range(len(params.b)))
                     for j in range(len(params.b))]
                z = h[layer][i] = [math.tanh(v) for v in a]
            g = 0.3 * (sum(v * w for v, w in zip(z, model.params.W[:, 0])) + model.params.b[0])
            assert update[i] == pytest.approx(g, rel=1e-12, abs=1e-14)
        assert all(np.allclose(layer.h, rows, rtol=1e-12) for layer, rows in zip(state.layers, h))


@given(**CASES)
@settings(max_examples=10)
def test_the_gradient_of_a_window_is_that_of_the_surrogate(seed, hidden, preprocess, functions):
    """Differences of mean_b sum_t <u_t, g_t(phi)> with the gradients of f held fixed: C5."""
    model = drawn(seed, hidden, preprocess)
    task = l2l.optimizees.Quadratic(dim=2).sample(functions, seed, dtype=np.float64)
    theta, state, evaluation = task.theta0, model.init(task.theta0), task.loss_and_gradient(task.theta0)
    theta, state, evaluation, *_ = run_window(model, task, theta, state, evaluation, 2)  # not from a state of zeros
    *_, gradients, loss_gradients, _ = run_window(model, task, theta, state, evaluation, 3)

    def surrogate(phi):
        moved, after, total = model.with_params(unflatten(phi, model.params)), state, 0.0
        for t in range(3):
            update, after = moved.update(gradients[t].reshape(functions, 2), after)
            total += sum(loss_gradients[s] @ update.ravel() for s in range(t, 3))
        return total / functions

    differences = differences_of(surrogate, flatten(model.params))
    came = window_gradient(model, gradients, loss_gradients, state, functions)
    np.testing.assert_allclose(came, differences, rtol=1e-6, atol=1e-7 * (1 + np.abs(differences).max()))


@given(**CASES)
@settings(max_examples=10)
def test_with_second_derivatives_it_is_that_of_the_loss(seed, hidden, preprocess, functions):
    """The window is run again with other weights, so the gradients of f move too: C6."""
    model = drawn(seed, hidden, preprocess, scale=0.1)
    task = l2l.optimizees.Quadratic(dim=3).sample(functions, seed, dtype=np.float64)
    start = task.theta0, model.init(task.theta0), task.second_order(task.theta0)
    start = run_window(model, task, *start, 2)[:3]

    def loss(phi):
        window = run_window(model.with_params(unflatten(phi, model.params)), task, *start, 3)
        return np.float64(window_loss(window[3], start[2][0]))

    *_, gradients, loss_gradients, products = run_window(model, task, *start, 3)
    came = second_order_window_gradient(model, gradients, loss_gradients, products, start[1], functions)
    differences = differences_of(loss, flatten(model.params))
    np.testing.assert_allclose(came, differences, rtol=1e-5, atol=1e-6 * (1 + np.abs(differences).max()))


def differences_of(function, phi, step=1e-5):
    """Central differences. Their error is some step^2, and rounding / step, of the size of the function."""
    return np.array([(function(phi + d) - function(phi - d)) / (2 * step) for d in step * np.eye(phi.size)])


def test_it_learns_and_its_file_gives_it_back(tmp_path):
    problem = l2l.optimizees.Quadratic(dim=2)
    recipe = {"steps": 10, "unroll": 5, "epochs": 3, "tasks": 10, "functions": 16, "learning_rate": 0.02,
              "validation_functions": 64}
    trained, log = l2l.meta_train(l2l.CoordinatewiseRNN((5,), rng=0), problem, **recipe)
    assert isinstance(trained, l2l.CoordinatewiseRNN)
    assert min(entry["validation_final"] for entry in log) < 0.7 * 2 / 3  # theta0 is near 0, and E f(0) = d / 3
    l2l.save(trained, tmp_path / "rnn.npz")
    loaded = l2l.load(tmp_path / "rnn.npz")
    assert type(loaded) is l2l.CoordinatewiseRNN and loaded.config == trained.config
    assert loaded.card["model"]["model"] == "coordinatewise-rnn"
    np.testing.assert_array_equal(flatten(loaded.params), flatten(trained.params))


def test_its_checkpoint_is_not_that_of_an_lstm(tmp_path):
    problem, path = l2l.optimizees.Quadratic(dim=2), tmp_path / "run.ckpt"
    whole, _ = l2l.meta_train(l2l.CoordinatewiseRNN((2,)), problem, **TINY)
    l2l.meta_train(l2l.CoordinatewiseRNN((2,)), problem, **TINY, checkpoint=path)
    resumed, _ = l2l.meta_train(l2l.CoordinatewiseRNN((2,)), problem, **TINY, checkpoint=path, resume=True)
    np.testing.assert_array_equal(flatten(resumed.params), flatten(whole.params))
    with pytest.raises(ValueError, match="another run: its model, model is 'coordinatewise-rnn', not 'coordinatewise-"):
        l2l.meta_train(l2l.CoordinatewiseLSTM((2,)), problem, **TINY, checkpoint=path, resume=True)


def test_a_coordinate_whose_gradient_is_not_finite_is_held():
    model, gradient = drawn(0, (3, 2)), np.array([1.0, np.nan, -2.0])
    _, before = model.update(np.ones(3), model.init(np.zeros(3)))
    update, after = model.update(gradient, before)
    expected, free = model.update(np.where(np.isfinite(gradient), gradient, 0), before)
    assert update[1] == 0 and after.skipped == 1
    np.testing.assert_array_equal(update[[0, 2]], expected[[0, 2]])
    for old, new, unhindered in zip(before.layers, after.layers, free.layers):
        np.testing.assert_array_equal(new.h[1], old.h[1])
        np.testing.assert_array_equal(new.h[[0, 2]], unhindered.h[[0, 2]])


def test_states_of_the_other_cell_are_refused():
    rnn, lstm = l2l.CoordinatewiseRNN((3,)), l2l.CoordinatewiseLSTM((3,))
    for model, other in ((rnn, lstm), (lstm, rnn)):
        with pytest.raises(ValueError, match="^state: expected the layers of this optimizer"):
            model.update(np.ones(2), other.init(np.ones(2)))


def test_numba_is_refused():
    with pytest.raises(ValueError, match="^backend: expected one of auto, numpy, got 'numba'"):
        l2l.CoordinatewiseRNN(backend="numba")


def test_parts_may_be_rnns(tmp_path):
    model = l2l.PartitionedLSTM({"a": l2l.CoordinatewiseRNN((2,)), "b": l2l.CoordinatewiseLSTM((3,))},
                                {"w*": "a", "*": "b"})
    l2l.save(model, tmp_path / "parts.npz")
    loaded = l2l.load(tmp_path / "parts.npz")
    assert [type(part) for part in loaded.parts.values()] == [l2l.CoordinatewiseRNN, l2l.CoordinatewiseLSTM]
    assert loaded.config == model.config


def test_presets_know_the_cells():
    model, *_ = build("quadratic", cell="rnn", model={"hidden": (3,)})
    assert type(model) is l2l.CoordinatewiseRNN and model.hidden == (3,)
    model, *_ = build("quadratic", model={"share": "average"})
    assert type(model) is l2l.SharingLSTM
    for settings_of in ({"cell": "dnc"}, {"cell": "rnn", "model": {"share": "average"}}):
        with pytest.raises(ValueError, match="^cell: "):
            build("quadratic", **settings_of)


def test_the_command(tmp_path, capsys):
    words = ["train", "quadratic", "--cell", "rnn", "--epochs", "1", "--tasks", "1", "--functions", "2", "--steps", "4",
             "--unroll", "2", "--hidden", "3", "--output", str(tmp_path / "q.npz")]
    assert main(words) == 0
    assert "--cell rnn" in l2l.load(tmp_path / "q.npz").card["command"]
    for wrong in (["quadratic", "--cell", "dnc"], ["gp", "--dim", "1", "--cell", "rnn"]):
        assert main(["train", *wrong, "--output", str(tmp_path / "no.npz")]) == 2
        assert "cell: expected one of lstm, " in capsys.readouterr().err
    assert not (tmp_path / "no.npz").exists()

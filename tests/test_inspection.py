"""What optimizers propose for a gradient, and how far back their states matter: numbers, figures, the command."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.baselines.gradient import Adam
from l2l_ref.cli import main
from l2l_ref.compare.inspection import memory, proposals
from l2l_ref.compare.inspection_figures import plot_memory, plot_proposals
from l2l_ref.learned import coordinatewise
from l2l_ref.trees import flatten, unflatten

KINDS = [l2l.CoordinatewiseLSTM, l2l.CoordinatewiseRNN]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def drawn(kind, seed, hidden=(3, 2), **settings_of):
    model = kind(hidden, **settings_of)
    phi = np.random.default_rng(seed).normal(0, 0.5, flatten(model.params).size)
    return model.with_params(unflatten(phi, model.params))


def task_of(seed, dim=3):
    return l2l.optimizees.Quadratic(dim=dim).sample(1, seed, dtype=np.float64)


@each_kind
@pytest.mark.parametrize("settings_of", [{}, {"preprocess": 5.0, "output_scale": 0.1}])
def test_what_is_proposed_is_what_a_run_with_this_gradient_would_do(kind, settings_of):
    """The last gradient of a coordinate is exchanged: that update is the one of the curve, for Adam, too."""
    model, adam, task, at, i = drawn(kind, 0, **settings_of), Adam(0.1), task_of(1), (0, 3, 5), 2
    found = proposals(model, task, 7, 0.1, at, i, points=5)
    assert found.gradients.shape == found.learned.shape == found.adam.shape == (7, 3)
    for s, t in enumerate(at):
        for j, value in enumerate(found.grid[s]):
            history = found.gradients[: t + 1].copy()
            history[t, i] = value
            state, slots = model.init(np.zeros(3)), adam.init(np.zeros(3))
            for gradient in history:
                update, state = model.update(gradient, state)
                theirs, slots = adam.update(gradient, slots)
            np.testing.assert_allclose(found.learned_of_grid[s, j], update[i], rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(found.adam_of_grid[s, j], theirs[i], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found.grid[s, -1], 2 * np.abs(found.gradients[max(0, t - 9) : t + 1, i]).max())
        assert found.grid[s, 2] == 0 and found.grid[s, 0] == -found.grid[s, -1]


def test_the_run_is_that_of_the_learned_optimizer():
    model, task = drawn(l2l.CoordinatewiseLSTM, 0), task_of(1)
    found = proposals(model, task, 4, 0.1, (0,))
    theta = task.theta0 + found.learned[:3].sum(axis=0)
    np.testing.assert_allclose(task.loss_and_gradient(theta)[1][0], found.gradients[3], rtol=1e-9)
    assert found.uphill()["learned"] == np.mean(np.sign(found.learned) == np.sign(found.gradients))


@pytest.mark.parametrize("wrong, message", [
    ({"at": (4,)}, "^at: expected numbers from 0 to 3, got 4"), ({"at": (0,), "coordinate": 3}, "^coordinate: "),
    ({"at": (0,), "model": l2l.SharingLSTM("average", (3,), averaged=1)}, "^model: expected .* got SharingLSTM"),
])
def test_what_cannot_be_asked(wrong, message):
    arguments = {"model": drawn(l2l.CoordinatewiseLSTM, 0), "task": task_of(1), "steps": 4, "adam_rate": 0.1} | wrong
    with pytest.raises(ValueError, match=message):
        proposals(**arguments)


@each_kind
@given(seed=st.integers(0, 10**6), preprocess=st.sampled_from([None, 2.0]))
@settings(max_examples=5)
def test_memory_is_the_norm_of_a_measured_gradient(kind, seed, preprocess):
    """Every number of an earlier state is moved, the gradients that are seen stay, and the last update changes."""
    model, T = drawn(kind, seed, preprocess=preprocess), 5
    task = task_of(seed)
    found = memory(model, task, T)
    theta, state, gradients, states = task.theta0, model.init(task.theta0), [], []
    for _ in range(T):
        states.append(state)
        gradient = task.loss_and_gradient(theta)[1]
        gradients.append(gradient.ravel())
        update, state = model.update(gradient, state)
        theta = theta + update
    last = task.loss_and_gradient(theta)[1].ravel()

    def loss(vector, t):
        layers = unflatten(vector, states[t].layers)
        (updates, _), _ = coordinatewise.unroll(np.array(gradients[t:]), layers, model.params, preprocess)
        return last @ updates[-1]

    norms = []
    for t in reversed(range(T)):
        vector = flatten(states[t].layers)
        moves = 1e-5 * np.eye(vector.size)
        norms.append(np.linalg.norm([(loss(vector + d, t) - loss(vector - d, t)) / 2e-5 for d in moves]))
    np.testing.assert_allclose(found, np.array(norms) / norms[0], rtol=1e-5, atol=1e-8)


def test_an_rnn_of_small_weights_forgets_and_an_lstm_with_open_gates_does_not():
    rnn, lstm = l2l.CoordinatewiseRNN((3,)), l2l.CoordinatewiseLSTM((3,))
    (layer,) = rnn.params.layers
    rnn.params = rnn.params._replace(layers=(layer._replace(W_h=0.5 * np.eye(3)),))
    (layer,) = lstm.params.layers
    lstm.params = lstm.params._replace(layers=(layer._replace(b=np.repeat([0.0, 20.0, 0.0, 0.0], 3)),))
    assert (memory(rnn, task_of(0), 30) <= 0.5 ** np.arange(30)).all()
    kept = memory(lstm, task_of(0), 30)
    assert kept[-1] > 0.5 * kept[10]  # once its cells are saturated, nothing is lost


def test_the_figures_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    model, task = drawn(l2l.CoordinatewiseLSTM, 0), task_of(1)
    plot_proposals(proposals(model, task, 7, 0.1, (0, 3)), tmp_path / "updates.png", "a run")
    plot_memory({"one": memory(model, task, 7), "three": np.stack([memory(model, task, 7)] * 3)},
                tmp_path / "memory.svg", "states")
    assert (tmp_path / "updates.png").stat().st_size > 10_000 and (tmp_path / "memory.svg").stat().st_size > 5_000


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("l2l_ref.cli.inspect.plot_proposals", lambda *arguments: None)
    monkeypatch.setattr("l2l_ref.cli.inspect.plot_memory", lambda *arguments: None)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            code = main(["inspect", *words])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_the_command_shows_updates(command):
    words = ["updates", "quadratic", "--steps", "5", "--at", "0,4", "--adam-rate", "0.1"]
    code, out, _ = command(*words)
    assert code == 0 and "quadratic-lstm, 5 steps, and Adam with rate 0.1" in out and "uphill" in out
    found = json.loads(command(*words, "--json")[1])
    assert found["steps"] == [0, 4] and np.shape(found["learned_of_grid"]) == (2, 401)


def test_the_command_shows_memory(command, tmp_path):
    l2l.save(l2l.CoordinatewiseRNN((3,)), tmp_path / "mine.npz")
    code, out, _ = command("memory", "quadratic", "--steps", "6", "--model", "mine.npz", "--model", "quadratic-lstm")
    assert code == 0
    assert [line.split("  ")[0] for line in out.splitlines()[2:]] == [
        "LSTM, untrained", "RNN, untrained", "mine.npz", "quadratic-lstm"]


@pytest.mark.parametrize("words, message", [
    (["memory", "quadratic", "--at", "3"], "--at: not for memory"),
    (["updates", "quadratic", "--model", "a", "--model", "b"], "--model: expected one for updates, got 2"),
    (["updates", "quadratic", "--model", "lstm-oi-1"], "--model: expected a gradient-based optimizer"),
    (["updates", "quadratic", "--at", "x"], "--at: "), (["updates", "quadratic", "--adam-rate", "x"], "--adam-rate: "),
    (["updates", "quadratic", "--at", "100", "--adam-rate", "0.1"], "at: expected numbers from 0 to 99, got 100"),
    (["colours", "quadratic"], "colours"), (["memory", "chess"], "chess"),
])
def test_mistakes(command, words, message):
    code, out, err = command(*words)
    assert (code, out) == (2, "") and err.count("\n") <= 2 and message in err

"""``compare network``: the training as a black box, the simulated workers, and what is measured and said."""

import json
import warnings
from functools import partial

import numpy as np
import pytest
from conftest import run_command

from l2l_ref.black_boxes import NetworkTraining
from l2l_ref.compare import network
from l2l_ref.compare.network import (
    SPREAD,
    CubeSearch,
    NetworkProblem,
    OptunaTPE,
    Query,
    TuningResult,
    compare_network,
    simulate,
    speed_up,
    table,
    to_json,
)
from l2l_ref.optimizees import MLP
from l2l_ref.search.box import Box

GOOD = {"learning_rate": 0.1, "momentum": 0.9, "batch": 32, "weight_decay": 1e-5, "width": 32, "depth": 1}
SMALL = NetworkProblem(images=300)


# The training


def test_training_lowers_the_loss():
    losses = [NetworkTraining(0, images=images)(GOOD) for images in (32, 1000, 8000)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.4


def test_the_same_seed_gives_the_same_value_and_another_seed_another():
    first, again, other = (NetworkTraining(seed, images=500)(GOOD) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("name, value", [("learning_rate", 0.5), ("momentum", 0.2), ("batch", 33),
                                         ("weight_decay", 0.1), ("width", 31), ("depth", 2)])
def test_every_hyperparameter_has_an_effect(name, value):
    training = NetworkTraining(0, images=500)
    assert training(GOOD | {name: value}) != training(GOOD)


def test_weight_decay_is_the_gradient_of_its_penalty(monkeypatch):
    """One step from theta0 with the learning rate r leaves (1 - r weight_decay) theta0 - r gradient."""
    seen = []

    def loss(theta, *others):
        seen.append(theta)
        return 1.0, None

    monkeypatch.setattr("l2l_ref.black_boxes.network.mlp_loss", loss)
    training = NetworkTraining(0, images=1)
    for weight_decay in (1e-9, 0.5):
        training(GOOD | {"weight_decay": weight_decay, "learning_rate": 0.25})
    theta0 = MLP(hidden=(32,), activation="relu", theta0_scale=0.25).sample(1, 0).theta0[0]
    np.testing.assert_allclose(seen[0] - seen[1], 0.25 * 0.5 * theta0, atol=1e-6)


@pytest.mark.parametrize("name, value", [("learning_rate", 1e6), ("learning_rate", 1e300), ("weight_decay", 1e9),
                                         ("learning_rate", 1e-12)])
def test_a_training_that_fails_is_worth_a_guess(name, value):
    """It diverges, or has learned nothing; there is no warning."""
    training = NetworkTraining(0, images=500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = training(GOOD | {"depth": 3, name: value})
    assert value == training.chance == np.log(10)


@pytest.mark.parametrize("x, message", [
    ({"width": 3}, "x: expected a dict with learning_rate, momentum, batch, weight_decay, width, depth, got"),
    ([1, 2], "x: expected a dict"),
    (GOOD | {"width": 0}, "width: expected a whole number >= 1, got 0"),
    (GOOD | {"depth": 1.5}, "depth: expected a whole number"),
    (GOOD | {"batch": 0}, "batch: expected a whole number"),
    (GOOD | {"momentum": 1.0}, "momentum: expected a number in"),
    (GOOD | {"weight_decay": np.nan}, "weight_decay: expected finite numbers > 0, got nan"),
])
def test_what_is_no_training(x, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        NetworkTraining(images=10)(x)


def test_the_space_is_one_of_minimize():
    box = Box(NetworkTraining.space)
    assert box.dim == 6 and box.names == tuple(GOOD)
    ends = [box.to_user(box.point(u)) for u in (np.zeros(6), np.ones(6))]
    for x in ends:
        assert np.isfinite(NetworkTraining(images=300)(x))
    assert ends[1]["depth"] == 3 and ends[0]["batch"] == 16


# The workers


class Counter:
    """Asks for 0, 1, 2, ..., and keeps what it was told, and how many evaluations were under way at each ask."""

    def __init__(self):
        self.asked, self.told, self.pending = 0, [], []

    def ask(self):
        self.pending.append(self.asked - len(self.told))
        self.asked += 1
        return Query({"x": self.asked - 1}, self.asked - 1)

    def tell(self, query, value):
        assert value == -query.asked
        self.told.append(query.asked)


@pytest.mark.parametrize("workers", [1, 2, 5, 40])
def test_workers_ask_at_once_and_tell_in_the_order_of_the_ends(workers):
    search = Counter()
    run = simulate(search, lambda x: -x["x"], 20, workers, np.random.default_rng(0))
    durations = np.random.default_rng(0).uniform(1 - SPREAD, 1 + SPREAD, 20)
    free, ends = [0.0] * workers, []  # the same worker by worker
    for duration in durations:
        k = int(np.argmin(free))
        free[k] += duration
        ends.append(free[k])
    np.testing.assert_allclose(run.times, sorted(ends))
    assert search.told == list(np.argsort(ends)) and run.values == [-n for n in search.told]
    assert search.asked == 20 and run.x == {"x": 19}
    assert search.pending == [min(n, workers - 1) for n in range(20)]


def test_five_workers_are_four_times_as_fast():
    for seed in range(20):
        one, five = (simulate(Counter(), lambda x: -x["x"], 50, workers, np.random.default_rng(seed)).times[-1]
                     for workers in (1, 5))
        assert 4 < one / five <= 5


def test_best_at_a_time():
    result = TuningResult(np.array([[3.0, 2.0], [5.0, 1.0]]), np.array([[1.0, 2.0], [0.5, 4.0]]), [], 0.0)
    np.testing.assert_array_equal(result.best_at(np.array([0.5, 1.0, 2.0, 9.0])), [[np.inf, 3, 2, 2], [5, 5, 5, 1]])


def test_a_search_of_the_cube_is_told_what_was_evaluated():
    class Given:
        def ask(self):
            return np.full((1, 6), 0.4)

        def tell(self, x, y):
            self.x, self.y = x, y

    given, box = Given(), Box(NetworkTraining.space)
    search = CubeSearch(given, NetworkTraining.space)
    query = search.ask()
    search.tell(query, 1.5)
    assert query.x["depth"] == 2 and given.y == [1.5]
    assert given.x[0, 5] == 0.5 and box.to_user(box.point(given.x[0])) == pytest.approx(query.x)


# The comparison


@pytest.fixture(scope="module")
def results():
    return compare_network(SMALL, {"learned": "lstm-oi"}, 4, 2, seed=1, workers=3)


def test_what_takes_part(results):
    assert {name: list(by_workers) for name, by_workers in results.items()} == {
        "learned": [1, 3], "network": [1, 3], "random": [1, 3], "integrated-ei": [1]}
    for by_workers in results.values():
        for result in by_workers.values():
            assert result.best.shape == result.times.shape == (2, 4)
            assert (np.diff(result.best) <= 0).all() and (np.diff(result.times) > 0).all()
            for run, x in enumerate(result.x):
                assert SMALL.sample(run, 1)(x) == result.best[run, -1]


def test_several_workers_need_less_time_for_as_many_evaluations(results):
    for by_workers in results.values():
        if 3 in by_workers:
            assert (by_workers[3].times[:, -1] < by_workers[1].times[:, -1]).all()
            np.testing.assert_array_equal(by_workers[3].times, results["learned"][3].times)
    assert (speed_up(results) > 1).all()


def test_the_same_seed_gives_the_same_comparison(results):
    again = compare_network(SMALL, {"learned": "lstm-oi"}, 4, 2, seed=1, workers=3)
    for name, by_workers in again.items():
        for count, result in by_workers.items():
            for ours, theirs in zip(result[:3], results[name][count][:3]):
                np.testing.assert_array_equal(ours, theirs)
    other = compare_network(SMALL, {"learned": "lstm-oi"}, 1, 1, seed=2, workers=1)
    assert other["random"][1].best[0, 0] != results["random"][1].best[0, 0]


def test_the_json(results):
    said = json.loads(json.dumps(to_json(results, SMALL), allow_nan=False))
    assert said["problem"] == {"problem": "network", "dataset": "digits", "images": 300,
                               "space": NetworkTraining.space}
    assert (said["evaluations"], said["functions"], said["workers"], said["spread"]) == (4, 2, 3, 0.5)
    assert list(said["optimizers"]) == list(results) and list(said["parallel"]) == ["learned", "network", "random"]
    for entry in (*said["optimizers"].values(), *said["parallel"].values()):
        assert len(entry["curve_mean"]) == len(entry["curve_ci95"]) == len(entry["times_mean"]) == 4
        assert entry["final_loss_mean"] == entry["curve_mean"][-1] == pytest.approx(np.mean(entry["final_losses"]))
        assert [set(x) for x in entry["hyperparameters"]] == [set(GOOD)] * 2
        low, high = entry["final_loss_ci95"]
        assert low <= entry["final_loss_mean"] <= high and entry["seconds_per_suggestion"] > 0
    assert said["speed_up"]["mean"] == pytest.approx(np.mean(said["speed_up"]["runs"]))


def test_one_worker_and_one_run():
    results = compare_network(SMALL, {"learned": "lstm-oi"}, 1, 1, workers=1)
    assert speed_up(results) is None and all(list(by_workers) == [1] for by_workers in results.values())
    said = json.loads(json.dumps(to_json(results, SMALL), allow_nan=False))
    assert said["parallel"] == {} and said["speed_up"] is None
    assert said["optimizers"]["random"]["final_loss_ci95"] == [None, None]
    assert "times as fast" not in "".join(table(results))


def test_a_model_of_too_few_dimensions_opens_with_sobol_points_and_is_no_network():
    assert list(compare_network(SMALL, {"learned": "lstm-sum"}, 1, 1, workers=1)) == [
        "learned", "random", "integrated-ei"]


@pytest.mark.filterwarnings("ignore")
def test_tpe_searches_the_same_space():
    pytest.importorskip("optuna")
    first, again = (simulate(OptunaTPE(NetworkTraining.space, 3), NetworkTraining(images=50), 14, 3,
                             np.random.default_rng(0)) for _ in range(2))
    assert first.values == again.values
    assert set(first.x) == set(GOOD) and isinstance(first.x["depth"], int) and 16 <= first.x["batch"] <= 256


# The command


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run ``compare network`` with short trainings in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path.parent / "matplotlib"))
    monkeypatch.delenv("L2L_REF_DATA", raising=False)
    monkeypatch.setattr("l2l_ref.cli.compare_network.NetworkProblem", partial(NetworkProblem, images=100))
    monkeypatch.chdir(tmp_path)

    return partial(run_command, capsys, "compare", "network")


@pytest.fixture
def no_figure(monkeypatch):
    monkeypatch.setattr("l2l_ref.compare.figures.plot_tuning", lambda *arguments: None)


def test_the_table_and_the_figure(run, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = run("--evaluations", 6, "--functions", 2, "--workers", 3, "--figure", "f.png")
    title, header, *rows, empty, last = out.splitlines()
    assert code == 0 and title.startswith("Six hyperparameters of a network on the digits, 2 runs by one worker and ")
    assert header.split()[:4] == ["optimizer", "workers", "best(1)", "best(3)"] and "ms/suggestion" in header
    assert [row.split()[1] for row in rows] == ["1"] * 4 + ["3"] * 3 and not empty
    assert last.startswith("3 workers end ") and "integrated-ei, 1 worker: best value" in err
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG") and "figure: f.png" in err


def test_the_command_prints_one_json_object(run, no_figure):
    code, out, _ = run("--evaluations", 2, "--functions", 1, "--json", "--seed", 5, "--workers", 2)
    said = json.loads(out)
    assert code == 0 and said["models"] == {"learned": "lstm-oi"} and (said["evaluations"], said["functions"]) == (2, 1)


def test_without_optuna_there_is_a_note_and_no_tpe(run, no_figure, monkeypatch):
    monkeypatch.setattr("l2l_ref.cli.compare_network.installed", lambda package: False)
    code, out, err = run("--evaluations", 1, "--functions", 1, "--workers", 1, "--peers")
    assert code == 0 and "without Optuna there is no TPE: pip install 'l2l-ref[optuna]'\n" in err
    assert "optuna-tpe" not in out


@pytest.mark.parametrize("words, reason", [
    (["--batch", 3], "--batch: not for network"),
    (["--steps", 3], "--steps: not for network"),
    (["--workers", 0], "--workers: expected whole numbers >= 1"),
    (["--functions", 0], "--functions: expected a whole number >= 1"),
    (["--data-dir", "nowhere"], "data_dir: expected a folder, got "),
    (["--data-dir", "."], "train-images"),
    (["--model", "quadratic-lstm"], "model: expected a black-box optimizer, got CoordinatewiseLSTM"),
    (["--model", "lstm-oi-2"], "model: expected one for 6 dimensions or more, got one for 2"),
    (["--model", "none"], "none"),
    (["--figure", "f.xyz"], "f.xyz: expected a file name"),
])
def test_what_cannot_be_compared(run, monkeypatch, words, reason):
    monkeypatch.setattr(network, "simulate", lambda *arguments: pytest.fail("the comparison was begun"))
    code, out, err = run(*words)
    assert (code, out) == (2, "") and reason in err and err.count("\n") == 1

"""``compare zoo``: how runs are judged, what is compared with what, and what the command says."""

import json
import os
import pickle

import numpy as np
import pytest
from conftest import run_command
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import l2l_ref as l2l
from l2l_ref.baselines import SGD
from l2l_ref.compare.statistics import LEARNED
from l2l_ref.compare.tuning import judged, tune_horizons
from l2l_ref.compare.zoo import (
    HIGHEST,
    LOWEST,
    RATES,
    SHORT,
    UNTUNED,
    ProblemResult,
    Row,
    ZooResult,
    compare_zoo,
    running_judge,
    table,
    to_json,
)
from l2l_ref.executors import processes
from l2l_ref.optimizees import Quadratic, zoo
from l2l_ref.optimizees.rollout import rollout

FEW = ("quadratic", "clusters", "factorization")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e3) | st.sampled_from([1e20, np.inf])))
def test_the_running_judge_judges_every_horizon(curve):
    """After a spike, too, with which a difference of sums would have nothing in common."""
    running = running_judge(curve)
    for T in range(len(curve)):
        np.testing.assert_allclose(running[T], judged(curve[:, None], T)[0], rtol=1e-12)


def test_one_run_of_a_rate_serves_all_horizons():
    """The best of the rates for each horizon, by runs of exactly that length."""
    problem, rates = Quadratic(4), (0.003, 0.03, 0.3)
    tuned = tune_horizons("adam", problem, (10, 40), rates, 3, 7, cache=False)
    for one, T in zip(tuned, (10, 40)):
        finals = [judged(rollout(l2l.baselines.OPTIMIZERS["adam"](rate), problem.sample(3, 7), T), T).mean()
                  for rate in rates]
        np.testing.assert_allclose(one.final_losses, finals, rtol=1e-6)
        assert one.learning_rate == rates[int(np.argmin(finals))]
        assert one.at_edge == (one.learning_rate in (0.003, 0.3))


def test_tuning_is_kept_by_everything_it_depends_on(monkeypatch):
    runs = []
    monkeypatch.setattr("l2l_ref.compare.tuning.rollout", lambda *a: runs.append(1) or rollout(*a))
    first = tune_horizons("adam", Quadratic(2), (4, 8), (0.1, 0.2), 2, 0)
    assert tune_horizons("adam", Quadratic(2), (4, 8), (0.1, 0.2), 2, 0) == first and len(runs) == 2
    tune_horizons("adam", Quadratic(2), (4, 9), (0.1, 0.2), 2, 0)
    tune_horizons("adam", Quadratic(2), (4, 8), (0.1, 0.3), 2, 0)
    tune_horizons("adam", Quadratic(2), (4, 8), (0.1, 0.2), 2, 1)
    assert len(runs) == 8


def test_every_baseline_has_seven_rates_half_a_decade_apart():
    for rates in RATES.values():
        assert len(rates) == 7
        np.testing.assert_allclose(np.diff(np.log10(rates)), 0.5, atol=0.01)


def by_hand():
    """A result of one problem whose numbers are chosen."""
    def row(finals, curve):
        return Row(np.array(finals, float), np.array(curve, float), (0.01,), False)

    rows = {LEARNED: row([[2.0, 8.0]], [4, 9, 1, 5]), "adam": row([[1.0, 1.0]], [4, 3, 2, 1]),
            UNTUNED: row([[np.inf, 0.0]], [4, 4, 4, np.inf])}
    return ZooResult((3,), {"clusters": ProblemResult(np.array([4.0, 4.0]), rows)}, {})


def test_ratios_and_their_geometric_means_by_hand():
    result = by_hand()
    np.testing.assert_allclose(result.ratios("clusters", LEARNED), [[2, 8]])
    np.testing.assert_allclose(result.ratios("clusters", UNTUNED), [[HIGHEST * 4, LOWEST * 4]])
    mean, low, high = result.geometric_means(LEARNED, ["clusters"])
    half = 1.96 * np.log(4) / np.sqrt(2) / np.sqrt(2)
    np.testing.assert_allclose([mean[0], low[0], high[0]], [4, 4 * np.exp(-half), 4 * np.exp(half)])
    assert result.steps_to_adam("clusters", LEARNED) == 2 and result.steps_to_adam("clusters", UNTUNED) is None
    rows = result.problems["clusters"].rows
    assert [rows[name].above_start.tolist() for name in rows] == [[True], [False], [True]]
    assert set(result.groups()) == {"held out", "networks", "networks held out", "all"}
    text = "\n".join(table(result))
    assert "learned ends above its start on 1 of 1: clusters" in text and "* clusters" in text and "4^" in text


def test_one_group_is_the_mean_over_its_problems():
    one = by_hand().problems["clusters"]
    other = ProblemResult(one.start, one.rows | {LEARNED: one.rows["adam"]})
    result = ZooResult((3,), {"clusters": one, "spirals": other}, {})
    mean, *_ = result.geometric_means(LEARNED, ["clusters", "spirals"])
    np.testing.assert_allclose(mean, 2.0)  # of 4 and 1


def test_the_comparison_is_that_of_single_runs_and_no_process_changes_it():
    """On three problems; with two processes the same numbers come out."""
    sizes = {"names": FEW, "horizons": (5, 10), "functions": 2, "tuning_functions": 1, "seed": 3}
    model = SGD(0.05)
    one = compare_zoo(model, **sizes)
    assert list(one.problems) == list(FEW) and one.optimizers == [LEARNED, "adam", "momentum", UNTUNED]
    for name, (start, rows) in one.problems.items():
        assert rows["adam"].rates[0] in RATES["adam"] and rows[UNTUNED].rates == (1e-3, 1e-3)
        assert (start > 0).all() and all(row.curve.shape == (11,) for row in rows.values())
        np.testing.assert_allclose(rows[LEARNED].finals[1].mean(), rows[LEARNED].curve[-1], rtol=1e-6)
        np.testing.assert_allclose(one.ratios(name, "adam"), 1.0)
    with processes(2) as executor:
        two = compare_zoo(model, **sizes, executor=executor)
    for name in FEW:
        for optimizer, row in one.problems[name].rows.items():
            np.testing.assert_array_equal(row.finals, two.problems[name].rows[optimizer].finals)
    assert json.loads(json.dumps(to_json(one, model, 2, 3)))["geometric_means"][LEARNED]["all"]["problems"] == 3


class Told:
    """A rule that is told the number of steps; with one function of a quadratic it does nothing but stay."""

    wants_steps = True

    def __init__(self):
        self.told = []

    def init(self, theta, *, steps):
        self.told.append(steps)

    def update(self, gradient, state):
        return 0 * gradient, state


def test_an_optimizer_that_wants_the_number_of_steps_runs_each_horizon():
    model = Told()
    result = compare_zoo(model, ["factorization"], (3, 6), 2, tuning_functions=1)
    assert model.told == [3, 6] and not result.problems["factorization"].rows[LEARNED].above_start.any()


def test_problems_without_their_data_are_left_out(monkeypatch, tmp_path):
    monkeypatch.delenv("L2L_REF_DATA", raising=False)
    result = compare_zoo(SGD(0.1), ["mnist, relu 20", "factorization"], (2,), 1, tuning_functions=1)
    assert list(result.problems) == ["factorization"] and list(result.skipped) == ["mnist, relu 20"]
    assert "left out: mnist, relu 20: " in "\n".join(table(result))
    with pytest.raises(ValueError, match="names: expected at least one problem whose data are there"):
        compare_zoo(SGD(0.1), ["mnist, relu 20"], (2,), 1, data_dir=tmp_path)


def test_the_problems_that_need_files(mnist_folder, cifar_folder):
    for name in zoo.NEED_FILES:
        problem = zoo.problem(name, mnist_folder)
        task = problem.sample(1, 0)
        losses, gradients = task.loss_and_gradient(task.theta0)
        assert 2 < losses[0] < 4 and np.isfinite(gradients).all()
        pickle.dumps(problem)


@pytest.mark.parametrize("arguments, message", [
    ({"names": ["nothing"]}, "names: expected one of quadratic"), ({"horizons": (5, 5)}, "horizons"),
    ({"horizons": ()}, "horizons"), ({"functions": 0}, "functions"), ({"baselines": ["lbfgs"]}, "baselines"),
    ({"tuning_functions": 0}, "tuning_functions"),
])
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare_zoo(SGD(0.1), **arguments)


def test_the_command(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    figure = tmp_path / "zoo.png"
    words = "compare", "zoo", "--short", "--horizons", "3,6", "--functions", 1, "--backend", "numpy"
    code, out, err = run_command(capsys, *words, "--figure", figure)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == f"general on {len(SHORT)} problems, 1 functions of each" and figure.stat().st_size > 10_000
    assert all(any(line[2:].startswith(name) for line in lines) for name in SHORT)
    code, out, err = run_command(capsys, *words, "--figure", figure, "--json", "--model", "digits-lstm")
    result = json.loads(out)
    assert code == 0 and result["horizons"] == [3, 6] and set(result["problems"]) == set(SHORT)
    assert len(result["problems"]["clusters"]["optimizers"][LEARNED]["final_loss_mean"]) == 2


@pytest.mark.parametrize("words, message", [
    (("--model", "dnc-oi-2"), "gradient-based optimizer"), (("--baselines", "l-bfgs"), "--baselines"),
    (("--model", "mnist-lstm", "--model", "digits-lstm"), "expected one"), (("--steps", 5), "--steps: not for zoo"),
])
def test_what_the_command_refuses(capsys, words, message):
    code, _, err = run_command(capsys, "compare", "zoo", "--short", *words)
    assert code == 2 and message in err and len(err.strip().splitlines()) == 1
    assert not os.path.exists("compare-zoo.png")

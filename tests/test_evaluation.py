"""Comparisons: what is measured, what is tuned on, what is said."""

import json

import numpy as np
import pytest

from l2l_ref.baselines.gradient import OPTIMIZERS, SGD
from l2l_ref.baselines.peers import BBOB_PEERS, PEERS
from l2l_ref.compare import figures, published, tuning
from l2l_ref.compare.bbob import NETWORK
from l2l_ref.compare.gradient_based import (
    COORDINATES_AT_ONCE,
    Curves,
    compare,
    comparison_tasks,
    measure,
    paired,
    table,
    to_json,
)
from l2l_ref.compare.statistics import LEARNED, interval
from l2l_ref.learned.sharing_optimizer import SharingLSTM
from l2l_ref.optimizees import Quadratic
from l2l_ref.optimizees.quadratic import QuadraticTask


class Bowls:
    """f = c theta^2 from theta = 1, in one dimension: SGD with rate r multiplies theta by 1 - 2 r c."""

    config = {"problem": "bowls"}

    def __init__(self, curvature=1.0):
        self.curvature = curvature

    def sample(self, functions, seed, dtype=np.float64):
        return BowlsTask(functions, self.curvature)


class BowlsTask:
    def __init__(self, functions, curvature):
        self.theta0, self.curvature = np.ones((functions, 1)), curvature

    def loss_and_gradient(self, theta):
        return self.curvature * theta[:, 0] ** 2, 2 * self.curvature * theta


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_curve_is_f_before_the_first_step_and_after_each():
    losses, _ = measure(SGD(0.25), Bowls(), 3, 2, 0)
    np.testing.assert_allclose(losses, [[1, 1], [1 / 4, 1 / 4], [1 / 16, 1 / 16], [1 / 64, 1 / 64]])


def test_functions_are_compared_apart_although_they_are_run_at_once():
    """Also by an optimizer whose coordinates depend on each other: each function has its own."""
    model, problem = SharingLSTM(hidden=(4,), averaged=2, rng=0), Quadratic(dim=3)
    losses, _ = measure(model, problem, 3, 5, 0)
    task, = comparison_tasks(problem, 5, 0)
    for b in range(5):
        theta, state = task.theta0[b], model.init(task.theta0[b])
        for t in range(4):
            everywhere = np.broadcast_to(theta, task.theta0.shape)
            f, gradient = (a[b] for a in task.loss_and_gradient(everywhere))
            np.testing.assert_allclose(losses[t, b], f, rtol=1e-5)
            update, state = model.update(gradient, state)
            theta = theta + update


def test_tuning_finds_the_best_rate_of_the_grid():
    """After one step the best rate is 1 / (2 c): 0.5, whose neighbours in the grid are 0.398 and 0.631."""
    assert tuning.tune("sgd", Bowls(), 1, 1, 0).learning_rate == 0.398  # (1 - 2r)^2: 0.0416 against 0.0686


def test_a_rate_at_the_edge_is_reported():
    lines = []
    results = compare(SGD(0.1), Bowls(1e-9), 2, 2, optimizers=("sgd",), report=lines.append)
    assert results["sgd"].at_edge and results["sgd"].learning_rate == max(tuning.GRID)
    assert any("edge" in line and "sgd" in line for line in lines)
    assert any("edge" in line for line in table(results, Bowls(), 2))


def test_a_diverging_rate_is_never_the_best():
    tuned = tuning.tune("sgd", Bowls(), 600, 1, 0)
    assert np.isinf(tuned.final_losses[-1]) and 0 < tuned.learning_rate < 1


def test_tuning_and_comparison_use_other_functions(monkeypatch):
    seen = []
    init = QuadraticTask.__init__

    def spy(self, problem, functions, seed, dtype):
        init(self, problem, functions, seed, dtype)
        seen.append((functions, self.theta0[0].tobytes()))

    monkeypatch.setattr(QuadraticTask, "__init__", spy)
    compare(SGD(0.1), Quadratic(2), 2, 3, tuning_functions=5, optimizers=("sgd", "adam"))
    tuned_on = {first for functions, first in seen if functions == 5}
    compared_on = {first for functions, first in seen if functions == 3}
    assert len(tuned_on) == 1 and len(compared_on) == 1 and tuned_on != compared_on


def test_the_cache_key_holds_what_the_result_depends_on():
    base = {"name": "sgd", "problem": Quadratic(2), "steps": 3, "functions": 2, "seed": 0, "grid": (0.1, 1.0)}
    changes = [{"grid": (0.1, 2.0)}, {"name": "nag"}, {"problem": Quadratic(3)}, {"problem": Quadratic(2, "normal")},
               {"steps": 4}, {"functions": 3}, {"seed": 1}]
    files = {tuning._cache_file(**{**base, **change}) for change in ({}, *changes)}
    assert len(files) == 1 + len(changes)


def test_everybody_starts_from_the_same_points_and_large_comparisons_are_cut(monkeypatch):
    monkeypatch.setattr("l2l_ref.compare.gradient_based.COORDINATES_AT_ONCE", 6)
    results = compare(SGD(0.01), Quadratic(2), 2, 8, tuning_functions=2)
    assert COORDINATES_AT_ONCE > 6
    for curves in results.values():
        assert curves.losses.shape == (3, 8)
        np.testing.assert_array_equal(curves.losses[0], results["learned"].losses[0])
    assert len(np.unique(results["learned"].losses[0])) == 8  # no function twice


def test_intervals():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    mean, half = interval(values)
    assert mean == 2.5 and half == pytest.approx(1.96 * np.std(values, ddof=1) / 2)
    assert np.isnan(interval(np.array([1.0]))[1])


def curves(*finals):
    return Curves(np.array([[3.0] * len(finals), list(finals)]), None, False, 1e-6)


def test_paired_differences_cancel_what_functions_have_in_common():
    results = {"learned": curves(1.0, 11.0, 101.0), "sgd": curves(2.0, 12.0, 102.0)}
    assert paired(results, 1) == {"sgd": (-1.0, 0.0)}


def test_json_has_no_nan():
    results = {"learned": curves(1.0, 2.0), "sgd": curves(np.inf, np.nan)}
    text = json.dumps(to_json(results, Bowls(), None, 1), allow_nan=False)
    assert json.loads(text)["optimizers"]["sgd"]["final_loss_mean"] is None


def test_the_table_names_everybody_best_first():
    results = {"learned": curves(1.0, 2.0), "sgd": curves(np.inf, 2.0), "nag": curves(0.1, 0.2)}
    lines = table(results, Bowls(), 1)
    assert [line.split()[0] for line in lines[1:4]] == ["nag", "learned", "sgd"]
    assert "learned - nag" in lines[5]


def test_a_table_of_one_function_has_no_interval():
    results = {"learned": curves(1.0), "sgd": curves(2.0)}
    lines = table(results, Bowls(), 1)
    assert "nan" not in "\n".join(lines) and [line.split().count("-") for line in lines[1:3]] == [1, 1]
    assert lines[-1] == "learned - sgd at step 1, paired: -1 (95 %)"
    assert to_json(results, Bowls(), None, 1)["optimizers"]["sgd"]["final_loss_ci95"] == [None, None]


def test_only_uniform_quadratics_have_published_losses():
    assert published.final_losses(Quadratic().config, 100)["learned"] == 0.039
    assert published.final_losses(Quadratic(distribution="normal").config, 100) == {}
    assert published.final_losses(Quadratic().config, 50) == {}
    assert published.final_losses(Quadratic(5).config, 100) == {}


def test_a_logarithmic_band_is_positive_and_that_of_the_mean_where_it_is_narrow():
    mean, half = np.array([1.0, 1.0, 2.0, 0.0, -1.0]), np.array([0.01, 3.0, np.nan, 1.0, 1.0])
    low, high = figures.logarithmic_band(mean, half)
    np.testing.assert_allclose([low[0], high[0]], [0.99, 1.01], atol=1e-4)
    assert 0 < low[1] < 1 < high[1] and low[1] * high[1] == pytest.approx(1)
    assert np.isnan(low[2:]).all() and np.isnan(high[2:]).all()


def test_each_curve_has_a_colour_and_dashes_of_its_own():
    assert set(figures.STYLES) == {"learned", "l-bfgs", *OPTIMIZERS} == set(figures.TITLES)
    bbob = [LEARNED, NETWORK, "random", "sobol", *BBOB_PEERS]
    models = [f"model {k}" for k in range(8)]
    gp = [LEARNED, *models, "random", "sobol", "ei", "integrated-ei", *PEERS]
    for styles in (figures.STYLES, figures.search_styles(bbob), figures.search_styles(gp)):
        assert len({style[0] for style in styles.values()}) == len(styles)
    assert len(set(figures.MORE_STYLES)) == len(figures.MORE_STYLES) == 32


def test_the_figure_is_drawn(tmp_path):
    results = compare(SGD(0.01), Quadratic(2), 3, 4, tuning_functions=2, optimizers=tuple(OPTIMIZERS)[:2])
    results["adam"] = Curves(np.full((4, 4), np.nan), 0.1, True, 0.0)  # one that has diverged does no harm
    figures.plot_learning_curves(results, Quadratic(2), 3, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_only_the_baselines_that_are_asked_for_are_tuned(monkeypatch):
    tuned = []
    monkeypatch.setattr("l2l_ref.compare.gradient_based.tune",
                        lambda name, *others: tuned.append(name) or tuning.Tuned(0.1, [], False))
    results = compare(SGD(0.1), Quadratic(2), 2, 3, optimizers=("adam", "sgd"))
    assert tuned == ["sgd", "adam"] and list(results) == ["learned", "sgd", "adam"]
    with pytest.raises(ValueError, match="^optimizers: expected one of sgd, .*, l-bfgs, got 'adamw'"):
        compare(SGD(0.1), Quadratic(2), 2, 3, optimizers=("adamw",))

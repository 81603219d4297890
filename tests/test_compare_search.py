"""Comparisons of black-box optimizers: what is searched, what is measured, what is said."""

import json
import os
from functools import partial
from itertools import permutations, product

import numpy as np
import pytest
from conftest import run_command

from l2l_ref.baselines import peers
from l2l_ref.baselines.random_search import RandomSearch
from l2l_ref.black_boxes import BENCHMARKS, REPELLERS, TABLES, GPFunctions, transformed
from l2l_ref.compare import figures
from l2l_ref.compare.black_box import (
    GPProblem,
    Instances,
    SearchResult,
    compare_black_box,
    comparison_seed,
    draw_symmetry,
    measure,
    paired_difference,
    paired_with,
    run_search,
    searches,
    table,
    to_json,
)
from l2l_ref.compare.statistics import LEARNED, Z95
from l2l_ref.learned.proposer import Proposer
from l2l_ref.pretrained import save
from l2l_ref.search.batch import BatchSearch
from l2l_ref.search.scale import LARGEST, given_scale

SEED = np.random.SeedSequence(7)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of tiny untrained optimizers: tiny-D.npz."""
    folder = tmp_path_factory.mktemp("models")
    for d in (1, 2, 3, 4, 6):
        save(Proposer(d, 4, rng=d), folder / f"tiny-{d}.npz")
    return folder


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run ``compare`` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path.parent / "matplotlib"))
    monkeypatch.delenv("L2L_REF_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    return partial(run_command, capsys, "compare")


@pytest.fixture
def no_figure(monkeypatch):
    monkeypatch.setattr("l2l_ref.compare.figures.plot_best_so_far", lambda *arguments: None)


class Walk:
    """Asks for 0.1, 0.2, .. in each function and remembers what it is told."""

    def __init__(self, functions):
        self.functions, self.told = functions, []

    def ask(self):
        return np.full((self.functions, 1), 0.1 * (len(self.told) + 1))

    def tell(self, x, y):
        self.told.append((x.copy(), y.copy()))


def test_best_so_far_of_a_walk():
    """f = |x - 0.3| and |x - 0.1|, at 0.1, 0.2, 0.3, 0.4."""
    walk = Walk(2)
    best = run_search(walk, lambda x: np.abs(x[:, 0] - [0.3, 0.1]), 4)[0]
    np.testing.assert_allclose(best, [[0.2, 0.1, 0, 0], [0, 0, 0, 0]], atol=1e-15)
    np.testing.assert_allclose([y for _, y in walk.told], [[0.2, 0], [0.1, 0.1], [0, 0.2], [0.1, 0.3]], atol=1e-15)


def test_values_without_noise_are_judged():
    class Noisy:
        values = np.array([[3.0, 1.0, 2.0]])

        def __call__(self, x):
            return np.array([-9.0])

    walk = Walk(1)
    np.testing.assert_array_equal(run_search(walk, Noisy(), 3)[0], [[3, 1, 1]])
    assert walk.told[0][1] == -9
    with pytest.raises(ValueError, match="evaluations: expected a whole number >= 1, got 0"):
        run_search(walk, Noisy(), 0)[0]


def test_random_search_on_gaussian_processes():
    """Two dimensions, 20 evaluations: about -1.38 by an implementation of somebody else's (2,000 functions)."""
    random = compare_black_box(GPProblem(2), {}, 20, 1500)["random"]
    assert random.best.shape == (1500, 20) and (np.diff(random.best, axis=1) <= 0).all()
    error = np.hypot(random.half_width[-1], 0.032) / Z95
    assert abs(random.mean[-1] - -1.38) < 3 * error < 0.1


def test_pieces_do_not_change_a_function(monkeypatch):
    def whole(problem):
        make = lambda count, first: RandomSearch(count, problem.dim, SEED, first)  # noqa: E731
        return measure(make, problem, 4, 5, SEED)

    for problem in (GPProblem(2), Instances(BENCHMARKS["branin"])):
        at_once = whole(problem)
        with monkeypatch.context() as patch:
            patch.setattr("l2l_ref.compare.black_box.PIECE", 2)
            in_pieces = whole(problem)
        np.testing.assert_allclose(in_pieces.best, at_once.best, rtol=1e-12)
        np.testing.assert_array_equal(in_pieces.x, at_once.x)
        assert len(np.unique(at_once.best[:, 0])) == 5


def test_the_rival_gets_the_first_of_the_same_functions():
    """Its first query is the middle of the cube; so is that of a network with no weights."""
    for problem in (GPProblem(2), Instances(BENCHMARKS["hartmann-3"])):
        middle = Proposer(problem.dim, 3)
        middle.params = middle.params._replace(W=0 * middle.params.W, b=0 * middle.params.b)
        results = compare_black_box(problem, {"learned": middle}, 2, 6, 3)
        ours, theirs = results["learned"].best, results[problem.baselines[0]].best
        assert ours.shape == (6, 2) and theirs.shape == (3, 2)
        np.testing.assert_allclose(theirs[:, 0], ours[:3, 0], rtol=1e-6)


def test_noise_is_told_and_not_judged():
    """The noise of evaluation t is the same wherever a function is evaluated, and is that of GPFunctions."""
    quiet, noisy = GPProblem(2).sample(3, 4, SEED, 1), GPProblem(2, 0.5).sample(3, 4, SEED, 1)
    decided, silent = (GPFunctions(3, 2, 4, SEED, noise=noise, first=1) for noise in (0.5, 0.0))
    for x in np.random.default_rng(0).random((4, 3, 2)):
        told = noisy(x) - quiet(x)
        np.testing.assert_allclose(told, decided(x) - silent(x), atol=1e-9)
        np.testing.assert_array_equal(noisy.values[:, -1], quiet(x))
        assert (told != 0).all()
    assert noisy.values.shape == (3, 4)
    with pytest.raises(ValueError, match="noise: expected a finite number >= 0, got -1"):
        GPProblem(2, -1)


def test_noise_misleads_who_believes_it():
    """With noise as large as the values themselves, expected improvement finds less, and knows that there is noise."""
    finals = {noise: compare_black_box(GPProblem(2, noise), {}, 12, 25, 25)["ei"] for noise in (0.0, 1.0)}
    gain, half = finals[1.0].best[:, -1] - finals[0.0].best[:, -1], finals[1.0].half_width[-1]
    assert gain.mean() > 0.1 and half > 0
    search = GPProblem(2, 1.0).baseline_search("ei", 1, SEED, 0)
    assert search._hyperparameters["noise"] == 1


def test_baselines_are_those_that_are_asked_for():
    few = dict(evaluations=2, functions=3, baseline_functions=2)
    assert list(compare_black_box(GPProblem(1), {}, **few)) == ["random", "sobol", "ei"]
    both = compare_black_box(GPProblem(1), {}, **few, baselines=["integrated-ei", "ei"])
    assert list(both) == ["random", "sobol", "integrated-ei", "ei"] and len(both["integrated-ei"].best) == 2
    assert list(compare_black_box(GPProblem(1), {}, **few, baselines=[])) == ["random", "sobol"]
    with pytest.raises(ValueError, match="baselines: expected one of integrated-ei, got 'ei'"):
        compare_black_box(Instances(REPELLERS), {}, **few, baselines=["ei"])


def test_one_worker_beside_several():
    models = {"learned": Proposer(2, 4, rng=1), "other": Proposer(2, 4, rng=2)}
    both = compare_black_box(GPProblem(2), models, 8, 3, workers=(1, 3))
    assert list(both)[:4] == ["learned", "learned, 3 workers", "other", "other, 3 workers"]
    for count, name in ((1, "learned"), (3, "learned, 3 workers")):
        alone = compare_black_box(GPProblem(2), models, 8, 3, workers=count)["learned"]
        np.testing.assert_array_equal(both[name].best, alone.best)
    assert paired_with(both) == ["learned, 3 workers", "other", "other, 3 workers"]
    with pytest.raises(ValueError, match="workers: expected a whole number >= 1, got 0"):
        compare_black_box(GPProblem(2), models, 8, 3, workers=(1, 0))


def test_what_is_compared_on_is_not_what_another_seed_draws():
    first, again, other = (compare_black_box(GPProblem(1), {}, 1, 3, seed=seed)["random"].best for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, other).any()


def test_instances_are_those_of_the_transforms():
    problem = Instances(BENCHMARKS["hartmann-3"])
    x = np.random.default_rng(0).random((4, 3))
    boxes = [transformed(problem.box, transform) for transform in problem.transforms(4, SEED)]
    np.testing.assert_allclose(problem.sample(4, 1, SEED)(x), [box(u) for box, u in zip(boxes, x)], rtol=1e-12)
    branin = Instances(BENCHMARKS["branin"])  # whose box is not the unit cube
    box = transformed(branin.box, branin.transforms(1, SEED)[0])
    np.testing.assert_allclose(branin.sample(1, 1, SEED)(x[:1, :2]), box(box.from_unit(x[0, :2])), rtol=1e-12)


def test_a_symmetry_keeps_a_grid():
    drawn = [draw_symmetry(3, seed) for seed in range(50)]
    corners = np.array(np.meshgrid(*[[0.25, 0.75]] * 3)).reshape(3, -1).T
    for transform in drawn:
        np.testing.assert_allclose(np.unique(transform(corners), axis=0), np.unique(corners, axis=0))
    assert {tuple(t.permutation) for t in drawn} == set(permutations(range(3)))
    assert {tuple(t.flip) for t in drawn} == set(product((-1, 1), repeat=3))


class Spy(Proposer):
    """Keeps the values that it is fed after each initial state."""

    def initial_state(self, *arguments):
        self.restarts = [*getattr(self, "restarts", []), []]
        return super().initial_state(*arguments)

    def step(self, u, state):
        self.restarts[-1].append(u[:, 1].copy() if u[:, 2].all() else None)
        return super().step(u, state)


def test_the_running_scale():
    proposer = Spy(1, 3)
    search = BatchSearch(proposer, 2, 5, 0)
    told = np.array([[2.0, 7.0], [4.0, 7.0], [1000.0, 7.0], [6.0, 9.0], [0.0, 1.0]])
    for y in told:
        search.tell(search.ask(), y)
    search.ask()
    assert [len(fed) for fed in proposer.restarts] == [1, 2, 4, 6]  # taken anew at 1, 2 and 4
    assert all((value is None) == (k == 0) for fed in proposer.restarts for k, value in enumerate(fed))
    # m = 3 and s = 1 for the first function; all values of the second are the same
    np.testing.assert_array_equal(proposer.restarts[2][1:], [[-1, 0], [1, 0], [LARGEST, 0]])
    m, s = told[:4].mean(axis=0), told[:4].std(axis=0)
    np.testing.assert_allclose(proposer.restarts[3][1:], np.clip((told - m) / s, -LARGEST, LARGEST), rtol=1e-6)


def test_the_running_scale_is_a_network_that_saw_scaled_values_from_the_start():
    proposer, rng = Proposer(2, 5, rng=3), np.random.default_rng(0)
    search, plain = BatchSearch(proposer, 3, 9, 0), BatchSearch(proposer, 3, 9, 0, given_scale((0, 1)))
    asked, y = [], 1e6 * rng.random((8, 3))
    for value in y:
        asked.append(search.ask())
        search.tell(asked[-1], value)
    for x, value in zip(asked, (y - y.mean(axis=0)) / y.std(axis=0)):
        plain.ask()
        plain.tell(x, value)
    np.testing.assert_allclose(search.ask(), plain.ask(), rtol=1e-5)


def found(*finals):
    return SearchResult(np.array([[5.0, final] for final in finals]), np.zeros((len(finals), 1)), 1e-6)


def test_the_paired_difference_is_on_the_functions_that_both_have():
    results = {"learned": found(1.0, 3.0, 99.0), "random": found(0.0, 0.0, 0.0), "ei": found(0.5, 1.5)}
    mean, half, count = paired_difference(results, "ei")
    assert count == 2
    np.testing.assert_allclose(mean, [0, 1])
    np.testing.assert_allclose(half[1], Z95 * np.std([0.5, 1.5], ddof=1) / np.sqrt(2))
    assert table(results)[-1].startswith("learned - ei on 2 of the functions") and "+1 +- 1 at 2" in table(results)[-1]
    assert [line.split()[0] for line in table(results)[1:4]] == ["random", "ei", "learned"]
    said = to_json(results, GPProblem(1))["learned_minus_ei"]
    assert (said["mean"], said["functions"]) == (1, 2) and said["ci95"] == [1 - half[1], 1 + half[1]]
    del results["ei"]
    assert paired_with(results) == [] and to_json(results, GPProblem(1))["learned_minus_ei"] is None
    results["another"] = found(1.0, 3.5, 99.0)
    assert table(results)[-1].startswith("learned - another on 3 of the functions")
    said = to_json(results, GPProblem(1))
    assert said["learned_minus"]["another"]["mean"] == pytest.approx(-1 / 6) and said["learned_minus_ei"] is None
    assert paired_with(results | {"sobol": found(1.0), "optuna": found(1.0)}) == ["another", "optuna"]


def test_the_minima_of_the_functions_are_known():
    """To everybody the same functions: nobody finds less, and who asks often enough finds it."""
    problem = GPProblem(1)
    minima = problem.minima(300, 3)
    random = compare_black_box(problem, {}, 400, 300, seed=3)["random"]
    assert (random.best[:, -1] > minima - 1e-9).all() and (random.best[:, -1] - minima).mean() < 0.005
    assert to_json({"random": random}, problem, minima)["minimum"] == minima.mean()
    np.testing.assert_array_equal(Instances(BENCHMARKS["branin"]).minima(2, 3), [BENCHMARKS["branin"].minimum] * 2)


def test_regret_is_on_the_functions_that_an_optimizer_had():
    results, minima = {"learned": found(1.0, 3.0, 99.0), "ei": found(0.5, 1.5)}, np.array([0.5, 1.0, 90.0])
    header, *rows = (line.split() for line in table(results, minima)[:3])
    assert [row[header.index("regret(2)")] for row in rows] == ["0.25", "3.83"]
    assert [row[header.index("regret(2)") + 1] for row in rows] == ["0.5", "5"]  # by hand: 1.96 times 0.25 and 2.62
    said = to_json(results, GPProblem(1), minima)["optimizers"]
    assert said["ei"]["regret_mean"] == [4.25, 0.25] and said["learned"]["regret_mean"][1] == pytest.approx(11.5 / 3)
    assert to_json(results, GPProblem(1))["optimizers"]["ei"]["regret_mean"] is None


def test_a_table_of_one_function_has_no_interval():
    results = {"learned": found(1.0), "ei": found(0.5)}
    lines = table(results, np.array([0.25]))
    assert "nan" not in "\n".join(lines) and lines[-1].endswith("95 %: +0 at 1, +0.5 at 2")
    assert [line.split().count("-") for line in lines[1:3]] == [2, 2]
    said = to_json(results, GPProblem(1), np.array([0.25]))
    assert said["optimizers"]["ei"]["regret_ci95"] == [None, None] and said["learned_minus_ei"]["ci95"] == [None, None]


def test_functions_of_many_dimensions_are_decided_where_they_are_asked_for():
    problem = GPProblem(9)
    assert problem.minima(4, 0) is None and compare_black_box(problem, {}, 3, 4)["random"].best.shape == (4, 3)


@pytest.mark.parametrize("changes, reason", [
    ({"evaluations": 0}, "evaluations: expected a whole number >= 1, got 0"),
    ({"functions": 0}, "functions: expected a whole number >= 1, got 0"),
    ({"baseline_functions": -1}, "baseline_functions: expected a whole number >= 0, got -1"),
    ({"models": {"mine": Proposer(3, 2)}}, "models: expected 2 dimensions, which gp has, got 'mine' of 3"),
])
def test_what_cannot_be_compared(changes, reason):
    with pytest.raises(ValueError, match=reason):
        compare_black_box(**{"problem": GPProblem(2), "models": {}, **changes})


# The command

SMALL = ["--evaluations", 3, "--functions", 4, "--json"]


def checked(result, evaluations, functions):
    """A comparison's JSON, looked through."""
    assert (result["steps"], result["evaluations"], result["functions"]) == (evaluations, evaluations, functions)
    for entry in result["optimizers"].values():
        low, high = entry["final_loss_ci95"]
        assert low <= entry["final_loss_mean"] <= high and entry["seconds_per_suggestion"] > 0
        assert len(entry["curve_mean"]) == len(entry["curve_ci95"]) == evaluations
        assert entry["curve_mean"][-1] == entry["final_loss_mean"]
        assert entry["curve_mean"] == sorted(entry["curve_mean"], reverse=True)
    return result


def test_compare_gp(run, models, no_figure):
    code, out, err = run("gp", "--dim", 1, "--model", models / "tiny", *SMALL, "--baseline-functions", 2)
    assert code == 0 and out.count("\n") == 1 and "gp: ei, 2 functions" in err
    result = checked(json.loads(out), 3, 4)
    assert result["problem"]["problem"] == "gp" and result["problem"]["dim"] == 1
    assert {name: entry["functions"] for name, entry in result["optimizers"].items()} == {
        "learned": 4, "random": 4, "sobol": 4, "ei": 2}
    assert list(result["optimizers"])[0] == "learned" and result["models"]["learned"]["name"] == "tiny-1"
    assert result["learned_minus_ei"] == result["learned_minus"]["ei"] and result["learned_minus_ei"]["functions"] == 2
    for name, entry in result["optimizers"].items():
        assert len(entry["regret_mean"]) == len(entry["regret_ci95"]) == 3 and entry["regret_mean"][-1] >= 0
        if name != "ei":  # which had two of the functions
            assert entry["regret_mean"][-1] == pytest.approx(entry["final_loss_mean"] - result["minimum"])


def test_several_learned_optimizers_and_a_table(run, models, tmp_path):
    save(Proposer(2, 3, rng=9), tmp_path / "other.npz")
    code, out, err = run("gp", "--model", models / "tiny-2.npz", "--model", "other.npz", *SMALL[:-1],
                         "--baseline-functions", 0, "--output", "f.png")
    title, header, *rows, _, paired = out.splitlines()
    assert code == 0 and title == "Gaussian process, 2 dimensions: 4 functions; learned: tiny-2"
    assert "regret(3)" in header and paired.startswith("learned - other.npz on 4 of the functions, 95 %: ")
    assert sorted(row.split()[0] for row in rows) == ["learned", "other.npz", "random", "sobol"]
    finals = [float(row[: header.index("best(3)") + 7].split()[-1]) for row in rows]
    assert finals == sorted(finals)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_several_dimensions_and_where_an_optimizer_looks(run, models, tmp_path):
    code, out, err = run("gp", "--dim", "1,2", "--model", models / "tiny", "--model", "lstm-oi", *SMALL,
                         "--baseline-functions", 0, "--figure", "f.png")
    parts = json.loads(out)["problems"]
    assert code == 0 and [part["problem"]["dim"] for part in parts] == [1, 2]
    assert [part["models"]["lstm-oi"]["name"] for part in parts] == ["lstm-oi-1", "lstm-oi-2"]
    assert err.count("figure: ") == 2
    for name in ("f.png", "f-queries.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_a_comparison_with_noise_workers_and_baselines(run, models, tmp_path):
    words = ["gp", "--dim", 1, "--model", models / "tiny", *SMALL, "--noise", 0.1, "--workers", "1,2",
             "--baseline-functions", 1, "--baselines", "ei,integrated-ei", "--figure", "f.png"]
    code, out, err = run(*words)
    result = json.loads(out)
    assert code == 0 and (result["problem"]["noise"], result["workers"]) == (0.1, [1, 2])
    assert list(result["optimizers"]) == ["learned", "learned, 2 workers", "random", "sobol", "ei", "integrated-ei"]
    assert list(result["learned_minus"]) == ["learned, 2 workers", "ei", "integrated-ei"]
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["f-queries.png", "f.png"]
    words.remove("--json")
    title = run(*words)[1].splitlines()[0]
    assert title == ("Gaussian process, 1 dimension, noise 0.1: 4 functions; learned: tiny-1; the learned optimizers "
                     "have 1 or 2 evaluations under way, the others one at a time")


@pytest.mark.parametrize("count, shape", [(1, (1, 4)), (2, (1, 4)), (3, (2, 3)), (5, (2, 5)), (6, (2, 3)),
                                          (11, (3, 4))])
def test_cells_of_the_figure_of_queries(tmp_path, monkeypatch, count, shape):
    """A cell is a function above the queries in their order. What is drawn is what the search of the comparison did."""
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path, **settings: drawn.append(figure))
    problem = GPProblem(1, 0.1)
    made = searches(problem, {str(k): Proposer(1, 3, rng=k) for k in range(count)}, 7, baselines=[])
    made = {name: make for name, make in made.items() if name not in ("random", "sobol")}
    figures.plot_queries(problem, made, 7, 0, tmp_path / "f.png")
    figure, = drawn
    cells = count * (4 if count == 1 else 2 if count < 6 else 1)
    assert figure.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2 * shape[0], shape[1])
    assert len(figure.axes) == 2 * cells
    above, below = figure.axes[0], figure.axes[shape[1]]
    x, y = above.lines[1].get_data()
    np.testing.assert_array_equal(below.lines[0].get_data(), (x, np.arange(1, 8)))
    assert below.get_ylim()[0] > below.get_ylim()[1]  # time runs down
    sample, search = problem.sample(4, 7, comparison_seed(0)), made["0"](4, 0)
    for t in range(7):
        asked = search.ask()
        assert asked[0, 0] == pytest.approx(x[t], abs=1e-6)
        search.tell(asked, sample(asked))


def test_curves_differ_in_more_than_colour():
    """Any two of 170 curves differ in colour, dashes or marker, and any two of 40 in dashes or marker as well."""
    fixed = [name for name in figures.SEARCH_STYLES if name != "cmaes"]  # which is never beside "ei"
    for count in (5, 40, 170):
        names = [LEARNED, *(f"model {k}" for k in range(count)), *fixed[1:]]
        styles = figures.search_styles(names)
        assert list(styles) == names and len(set(styles.values())) == len(names)
    few = figures.search_styles(["learned", "a", "b", "c", "random", "sobol", "ei", "integrated-ei", *peers.PEERS])
    assert len({style.color for style in few.values()}) == len(few)
    assert len({(style.dashes, style.marker) for style in few.values()}) == len(few)


def test_compare_benchmarks(run, models, tmp_path):
    code, out, err = run("benchmarks", "--model", models / "tiny", *SMALL)
    parts = json.loads(out)["problems"]
    assert code == 0 and [part["problem"]["problem"] for part in parts] == list(BENCHMARKS)
    for part in parts:
        checked(part, 3, 4)
        assert set(part["optimizers"]) == {"learned", "random", "sobol"}
    for name in ("compare-benchmarks.png", "compare-benchmarks-times.png"):
        assert (tmp_path / name).is_file()  # the warnings of a logarithm of 0 would be errors


def test_compare_repellers_draws_paths(run, models, tmp_path):
    code, out, err = run("repellers", "--model", models / "tiny", *SMALL, "--figure", "r.png")
    checked(json.loads(out), 3, 4)
    assert code == 0 and sorted(p.name for p in tmp_path.glob("*.png")) == ["r-paths.png", "r.png"]


def test_the_paths_are_those_of_the_best_points():
    problem, seed = Instances(REPELLERS), comparison_seed(0)
    random = compare_black_box(problem, {}, 5, 4)["random"]
    inputs = problem.placed(random.x, problem.transforms(4, seed))
    np.testing.assert_allclose(REPELLERS(inputs), random.best[:, -1], rtol=1e-12)


def write_table(folder, name):
    table = TABLES[name]
    lines = [",".join(table.columns)]
    for number, places in enumerate(np.ndindex(table.shape)):
        lines.append(",".join(map(str, (*places, number, *[0] * (len(table.columns) - len(places) - 1)))))
    (folder / table.file).write_text("\n".join(lines) + "\n")


def test_compare_hpo(run, models, tmp_path, no_figure):
    words = ["hpo", "--model", models / "tiny", *SMALL]
    code, out, err = run(*words)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "L2L_REF_DATA" in err
    write_table(tmp_path, "svm")
    code, out, err = run(*words, "--data-dir", tmp_path)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "lda_on_grid.csv" in err
    write_table(tmp_path, "lda")
    code, out, err = run(*words, "--data-dir", tmp_path)
    parts = json.loads(out)["problems"]
    assert code == 0 and [part["problem"]["problem"] for part in parts] == ["svm", "lda"]
    assert all(0 <= checked(part, 3, 4)["optimizers"]["random"]["final_loss_mean"] < 1400 for part in parts)


MISTAKES = {
    "no model": (["gp", "--dim", "5"], "got 'lstm-oi-5'"),
    "a model of another kind": (["gp", "--model", "digits-lstm"], "model: expected a black-box optimizer"),
    "a model of another dimension": (["gp", "--model", "MODELS/tiny-3.npz"],
                                   "model: expected one for 2 dimensions, got"),
    "no dimension": (["gp", "--dim", "0"], "--dim: expected whole numbers >= 1"),
    "no evaluations": (["gp", "--evaluations", "0"], "--evaluations: expected a whole number >= 1"),
    "half a baseline": (["gp", "--baseline-functions", "0.5"], "--baseline-functions: expected a whole number >= 0"),
    "steps of gp": (["gp", "--steps", "3"], "--steps: not for gp"),
    "backend of gp": (["gp", "--backend", "numpy"], "--backend: not for gp"),
    "fresh of repellers": (["repellers", "--fresh"], "--fresh: not for repellers"),
    "dim of benchmarks": (["benchmarks", "--dim", "2"], "--dim: not for benchmarks"),
    "data of repellers": (["repellers", "--data-dir", "."], "--data-dir: not for repellers"),
    "evaluations of digits": (["digits", "--evaluations", "3"], "--evaluations: not for digits"),
    "peers of quadratic": (["quadratic", "--peers"], "--peers: not for quadratic"),
    "two models of digits": (["digits", "--model", "a", "--model", "b"], "--model: expected one for digits, got 2"),
    "noise below 0": (["gp", "--noise=-1"], "noise: expected a finite number >= 0, got -1"),
    "noise of benchmarks": (["benchmarks", "--noise", "1"], "--noise: not for benchmarks"),
    "an unknown baseline": (["gp", "--baselines", "ei,adam"], "--baselines: expected some of ei, integrated-ei with "
                            "commas between them, got 'adam'"),
    "the true hyperparameters of benchmarks": (["benchmarks", "--baseline-functions", "1", "--baselines", "ei"],
                                               "baselines: expected one of integrated-ei, got 'ei'"),
    "workers and batches": (["gp", "--workers", "1,5", "--batch", "2"], "workers, batch: expected one of them to be 1"),
    "no workers": (["gp", "--workers", "1,0"], "--workers: expected whole numbers >= 1"),
    "workers of network": (["network", "--workers", "1,5"], "--workers: expected one number for network, got 1,5"),
    "peers on nothing": (["repellers", "--model", "MODELS/tiny", "--peers"],
                         "--peers: expected --baseline-functions N"),
    "a figure in no folder": (["gp", "--figure", "nowhere/f.png"], "no folder nowhere"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(run, models, mistake):
    words, reason = MISTAKES[mistake]
    code, out, err = run(*(word.replace("MODELS", str(models)) for word in words))
    assert (code, out) == (2, "") and err.count("\n") == 1 and reason in err
    assert os.listdir() == []


# Peers


def counting(dim, evaluations, seed):
    """Yields 1, 1/2, 1/3, .. and checks that it is sent twice that."""
    for t in range(1, evaluations + 1):
        assert (yield [1 / t] * dim) == 2 / t


def test_peers_ask_and_are_told(monkeypatch, run, models, no_figure):
    monkeypatch.setattr(peers, "PEERS", {"counting": ("json", counting), "absent": ("no_such_package", None)})
    best = run_search(peers.Peer("counting", 2, 3, 4, SEED), lambda x: 2 * x[:, 0], 4)[0]
    np.testing.assert_allclose(best, [[2, 1, 2 / 3, 1 / 2]] * 2)
    assert peers.installed() == ["counting"]
    monkeypatch.setitem(peers.PEERS, "counting", ("json", peers_of_zero))
    result = json.loads(run("gp", "--model", models / "tiny", *SMALL, "--baseline-functions", 2, "--peers")[1])
    assert list(result["optimizers"]) == ["learned", "random", "sobol", "ei", "counting"]
    assert result["optimizers"]["counting"]["functions"] == 2
    monkeypatch.delitem(peers.PEERS, "counting")
    code, out, err = run("gp", "--model", models / "tiny", *SMALL, "--baseline-functions", 2, "--peers")
    assert (code, out) == (2, "") and "pip install 'l2l-ref[peers]'" in err


def peers_of_zero(dim, evaluations, seed):
    while True:
        yield [0.0] * dim


@pytest.mark.parametrize("name", peers.PEERS)
@pytest.mark.filterwarnings("default")  # other people's
def test_a_peer_improves(name):
    """On (x - 0.3)^2 summed, 12 evaluations: somewhere within 0.3 of the bottom, and other seeds go other ways."""
    pytest.importorskip(peers.PEERS[name][0])
    search = peers.Peer(name, 2, 2, 12, SEED)
    best = run_search(search, lambda x: ((x - 0.3) ** 2).sum(axis=1), 12)[0]
    assert (best[:, -1] < 0.09).all() and best[0, 0] != best[1, 0]

"""``compare bbob``: what each optimizer is given, what is measured and said; the suite itself where ioh is there."""

import itertools
import json
import sys
from functools import partial

import numpy as np
import pytest
from conftest import run_command

from l2l_ref.baselines import peers
from l2l_ref.compare import bbob
from l2l_ref.compare.bbob import BBOBProblem, Enough, Recorder, compare_bbob, log_regret, measure, table, to_json
from l2l_ref.compare.statistics import Z95

SEED = 3


class Bowl:
    """Stands for a function of the suite; its minimum is its number."""

    def __init__(self, number, instance, dim):
        self.minimum, self._centre = float(number), np.full(dim, 0.1 * instance)

    def __call__(self, u):
        return self.minimum + float(((u - self._centre) ** 2).sum())


@pytest.fixture
def suite(monkeypatch):
    """A suite of bowls, which needs no ioh."""
    monkeypatch.setattr(bbob, "BBOBFunction", Bowl)
    for module in (bbob, "l2l_ref.cli.compare_bbob"):
        name = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(f"{name}.require", lambda *arguments: None)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run ``compare bbob`` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path.parent / "matplotlib"))
    monkeypatch.chdir(tmp_path)

    return partial(run_command, capsys, "compare", "bbob")


def test_the_regret_is_above_the_minimum_and_ends_at_the_precision():
    np.testing.assert_allclose(log_regret([3.0, 12.0, 2.01, 2.0], 2.0), [0, 0, -2, -8], atol=1e-9)


def test_an_evaluation_too_many_ends_a_search():
    recorder = Recorder(lambda u: float(u), 2)
    assert [recorder(3), recorder(1)] == [3, 1] and recorder.values == [3, 1]
    with pytest.raises(Enough):
        recorder(0)
    assert recorder.values == [3, 1]


def test_every_optimizer_has_all_functions_and_evaluations(suite):
    """Each calls as often as it likes; of an endless search the evaluations asked for are taken."""

    def grid(function, dim, evaluations, seed):
        for k in itertools.count():
            function(np.full(dim, 0.1 * k))

    result = measure(grid, BBOBProblem(2, 2, (1, 3)), 4, SEED)
    # the bowls' centres are at 0.1 and 0.3: found after two and four evaluations
    expected = [[np.log10(0.02), -8, -8, -8], [np.log10(0.18), np.log10(0.08), np.log10(0.02), -8]] * 2
    np.testing.assert_allclose(result.best, expected, atol=1e-6)


def test_seeds_change_the_optimizers_and_nothing_else(suite):
    problem = BBOBProblem(2, 1, (1, 2, 3))
    first, again, other = (measure(bbob.random_search, problem, 5, seed).best for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, other).any()
    assert len(np.unique(first[:, 0])) == 3


def test_the_finish_goes_on_where_the_network_stands_still(suite):
    results = compare_bbob(BBOBProblem(2, 1, (2, 4)), {"learned": "lstm-oi"}, 40)
    assert list(results) == ["learned", "network", "random"]
    learned, network = results["learned"], results["network"]
    assert learned.best.shape == (2, 40)
    np.testing.assert_array_equal(learned.best[:, :6], network.best[:, :6])  # the opening
    assert (learned.best[:, -1] < network.best[:, -1] - 2).all()


def test_an_interrupt_ends_the_comparison_and_not_one_search(suite, run, monkeypatch):
    calls = itertools.count()

    def interrupted(bowl, u):
        if next(calls) == 30:
            raise KeyboardInterrupt
        return float(u.sum())

    monkeypatch.setattr(Bowl, "__call__", interrupted)
    code, out, err = run("--dim", "2", "--functions", "1", "--instances", "1,2", "--evaluations", "20")
    assert (code, out) == (130, "") and err == "l2l-ref compare: interrupted\n"


def test_more_dimensions_than_a_network_has_open_with_sobol_points(suite):
    results = compare_bbob(BBOBProblem(22, 1, (2,)), {"learned": "lstm-oi"}, 20)
    assert list(results) == ["learned", "random"] and results["learned"].best.shape == (1, 20)


@pytest.mark.parametrize("at_once", [{"workers": 4}, {"batch": 4}])
def test_several_evaluations_at_once(suite, at_once):
    """What is not known yet cannot help, but they find the minimum all the same."""
    problem = BBOBProblem(2, 1, (2, 4))
    one, several = (compare_bbob(problem, {"learned": "lstm-oi"}, 40, **several)["learned"].best
                    for several in ({}, at_once))
    assert several.shape == one.shape and not np.array_equal(several[:, :6], one[:, :6])
    assert (several[:, -1] < -3).all()


def test_workers_and_batches_exclude_each_other(suite):
    with pytest.raises(ValueError, match="workers, batch: expected one of them to be 1, got 2 and 3"):
        compare_bbob(BBOBProblem(2), {"learned": "lstm-oi"}, 5, workers=2, batch=3)


def found(*finals):
    return bbob.SearchResult(np.array([[1.0, final] for final in finals]), np.empty((len(finals), 0)), 1e-3)


def test_differences_are_of_pairs():
    results = {"learned": found(-1.0, -3.0), "random": found(0.5, 0.0)}
    *rows, empty, pair = table(results)
    assert [row.split()[0] for row in rows] == ["optimizer", "learned", "random"] and not empty
    assert pair == "learned - random, 95 %: -2.2 +- 1 at 2"
    said = to_json(results, BBOBProblem(2, 1, (1, 2)))
    half = Z95 * np.std([-1.5, -3.0], ddof=1) / np.sqrt(2)
    assert said["learned_minus"]["random"]["mean"] == -2.25
    np.testing.assert_allclose(said["learned_minus"]["random"]["ci95"], [-2.25 - half, -2.25 + half])
    assert said["optimizers"]["random"]["final_losses"] == [0.5, 0.0] and list(said["learned_minus"]) == ["random"]
    assert said["problem"] == {"problem": "bbob", "dim": 2, "functions": [1], "instances": [1, 2]}


def test_the_columns():
    assert bbob.shown_evaluations(100) == [20, 50, 100] and bbob.shown_evaluations(10) == [10]
    assert bbob.shown_evaluations(300) == [20, 50, 100, 200, 300]


# The command

SMALL = ["--functions", 2, "--instances", "1,2", "--evaluations", 8]


def test_the_table(suite, run):
    code, out, err = run("--dim", "2,3", *SMALL, "--figure", "f.png")
    title, header, *rows = out.splitlines()
    assert code == 0 and title.startswith("BBOB, 2 dimensions: 2 functions, instances 1, 2; log10 of the regret; ")
    assert header.split() == ["optimizer", "lg(8)", "+-95%", "ms/suggestion"]
    assert "BBOB, 3 dimensions: random, 4 functions" in err and "figure: f.png" in err
    assert sum(row.startswith("learned - ") for row in rows) == 4


def test_the_json(suite, run, monkeypatch):
    monkeypatch.setattr("l2l_ref.compare.figures.plot_best_so_far", lambda *arguments, **label: None)
    code, out, _ = run("--dim", 2, *SMALL, "--json", "--seed", 5)
    result = json.loads(out)
    part, = result["problems"]
    assert code == 0 and result["models"] == {"learned": "lstm-oi"} and part["measure"] == "log10 regret"
    assert (part["evaluations"], part["functions"]) == (8, 4)
    assert list(part["optimizers"]) == ["learned", "network", "random"]
    for entry in part["optimizers"].values():
        assert entry["curve_mean"] == sorted(entry["curve_mean"], reverse=True) and len(entry["curve_ci95"]) == 8
        assert entry["final_loss_mean"] == entry["curve_mean"][-1] == pytest.approx(np.mean(entry["final_losses"]))
    assert set(part["learned_minus"]) == {"network", "random"}


def test_peers_have_the_same_functions(suite, run, monkeypatch):
    monkeypatch.setattr("l2l_ref.compare.figures.plot_best_so_far", lambda *arguments, **label: None)

    def middle(dim, evaluations, seed):
        while True:
            yield [0.5] * dim

    adapters = {"middle": (("json",), peers.asked(middle)), "absent": (("no_such",), None)}
    monkeypatch.setattr(peers, "BBOB_PEERS", adapters)
    monkeypatch.setattr(bbob, "BBOB_PEERS", adapters)
    assert peers.installed_for_bbob() == ["middle"]
    part, = json.loads(run("--dim", 2, *SMALL, "--json", "--peers", "--workers", 3)[1])["problems"]
    assert part["workers"] == 3 and part["batch"] == 1
    entry = part["optimizers"]["middle"]
    # 0.4 and 0.3 from the centres in both coordinates
    assert entry["final_loss_mean"] == pytest.approx(np.mean(np.log10([2 * 0.16, 2 * 0.09])))


def test_peers_that_are_not_installed(suite, run, monkeypatch):
    monkeypatch.setattr(peers, "BBOB_PEERS", {"absent": (("no_such",), None)})
    code, _, said = run("--dim", 2, *SMALL, "--peers")
    assert code == 2 and "peers: none of absent is installed: pip install 'l2l-ref[bbob,peers]'" in said


def test_a_model_that_has_too_few_dimensions_is_no_network(suite):
    assert "network" not in compare_bbob(BBOBProblem(3, 1, (2,)), {"learned": "lstm-sum"}, 5)


@pytest.mark.parametrize("words, reason", [
    (["--functions", 25], "--functions: expected at most 24, which the suite has, got 25"),
    (["--dim", 1], "--dim: expected 2 or more for bbob, got 1"),
    (["--baseline-functions", 3], "--baseline-functions: not for bbob"),
    (["--instances", "0"], "expected whole numbers >= 1"),
])
def test_what_cannot_be_compared(suite, run, words, reason):
    code, out, err = run(*words)
    assert (code, out) == (2, "") and reason in err and err.count("\n") == 1


def test_without_ioh_one_line_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ioh", None)
    code, out, err = run()
    assert (code, out, err) == (2, "", "l2l-ref compare: compare bbob needs ioh: pip install 'l2l-ref[bbob]'\n")


# Where the packages are installed


def test_the_suite_is_that_of_ioh():
    pytest.importorskip("ioh")
    first, second = bbob.BBOBFunction(1, 1, 2), bbob.BBOBFunction(1, 2, 2)
    points = np.random.default_rng(0).random((50, 2))
    assert all(function(u) >= function.minimum for function in (first, second) for u in points)
    assert first(points[0]) != second(points[0])
    ten = [function for function in BBOBProblem(3, 2, (1, 2)).sample()]
    assert len(ten) == 4
    # the first function is the squared distance from its minimum, in [-5, 5]
    values = np.array([first(u) - first.minimum for u in (points[0], points[0] + [0.1, 0.0], points[0] - [0.1, 0.0])])
    np.testing.assert_allclose(values[1] + values[2] - 2 * values[0], 2 * 1.0**2, rtol=1e-6)


@pytest.mark.parametrize("name", peers.BBOB_PEERS)
@pytest.mark.filterwarnings("ignore")
def test_peers_that_are_installed(suite, name):
    packages, search = peers.BBOB_PEERS[name]
    for package in packages:
        pytest.importorskip(package)
    first, again = (measure(search, BBOBProblem(2, 1, (2,)), 30, SEED).best for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (1, 30) and first[0, -1] < first[0, 0]

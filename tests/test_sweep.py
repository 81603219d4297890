"""Sweeps: which settings, on which executor, what the file keeps; the command and its figure."""

import json
import math
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2l_ref import files
from l2l_ref.cli import main
from l2l_ref.cli import sweep as command
from l2l_ref.compare.sweep_figure import plot_halving, plot_sweep
from l2l_ref.sweep import Range, draws, grid, sweep

TRAIN = ["train", "quadratic", "--epochs", "1", "--tasks", "1", "--functions", "2", "--steps", "4", "--unroll", "2",
         "--backend", "numpy"]

# ------------------------------------------------------------------------------------------------------ the settings


def test_a_grid_is_all_combinations():
    assert grid({"a": "xy", "b": [1, 2]}) == [{"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "y", "b": 1},
                                              {"a": "y", "b": 2}]
    assert grid({}) == [{}]
    with pytest.raises(ValueError, match="^b: expected values, got a range"):
        grid({"a": "x", "b": Range(1, 2)})


@given(seed=st.integers(0, 2**32 - 1), low=st.floats(1e-9, 1e3), factor=st.floats(1.1, 1e6), count=st.integers(1, 20))
def test_draws_lie_in_their_range_and_more_of_them_begin_with_fewer(seed, low, factor, count):
    axes = {"rate": Range(low, low * factor), "cell": ["lstm", "rnn"]}
    drawn = draws(axes, count, seed)
    assert draws(axes, count + 3, seed)[:count] == drawn
    for setting in drawn:
        assert 0.995 * low <= setting["rate"] <= 1.005 * low * factor  # three digits
        assert setting["cell"] in ("lstm", "rnn")


def test_the_logarithm_of_a_draw_is_uniform():
    rates = [setting["r"] for setting in draws({"r": Range(1e-4, 1e-1)}, 2000, 0)]
    counts, _ = np.histogram(np.log10(rates), bins=np.linspace(-4, -1, 4))
    assert abs(counts - 2000 / 3).max() < 4 * math.sqrt(2000 * 2 / 9)  # four standard deviations of a count


# ---------------------------------------------------------------------------------------- the file and the executors


def square(x):
    if x < 0:
        raise ValueError("expected  a number\n>= 0")
    return {"y": x * x}


JOBS = {"two": 2, "minus one": -1, "three": 3}
WANTED = {"two": {"result": {"y": 4}}, "minus one": {"error": "ValueError: expected a number >= 0"},
          "three": {"result": {"y": 9}}}


class Backwards:
    """An executor with submit and nothing else, which runs what was submitted last first."""

    def __init__(self):
        self.waiting = []

    def submit(self, function, *arguments):
        future = Future()
        self.waiting.append((future, function, arguments))
        if len(self.waiting) == len(JOBS):
            threading.Thread(target=self.work).start()
        return future

    def work(self):
        for future, function, arguments in reversed(self.waiting):
            future.set_result(function(*arguments))


def test_every_executor_has_the_results_of_none(tmp_path):
    assert sweep(square, JOBS, tmp_path / "here.json") == WANTED
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, get_context("spawn")) as processes:
        for k, executor in enumerate((threads, processes, Backwards())):
            outcomes = sweep(square, JOBS, tmp_path / f"{k}.json", executor=executor)
            assert outcomes == WANTED and list(outcomes) == list(JOBS)
            assert files.read_json(tmp_path / f"{k}.json") == {"sweep": WANTED}


def test_a_sweep_goes_on_where_it_ended(tmp_path):
    """After an interrupt the results so far are there; what failed is tried again; more jobs are added."""
    path, ran = tmp_path / "runs.json", []

    def run(x):
        ran.append(x)
        if x == 3 and len(ran) < 4:
            raise KeyboardInterrupt
        return square(x)

    with pytest.raises(KeyboardInterrupt):
        sweep(run, JOBS, path)
    assert ran == [2, -1, 3] and list(files.read_json(path)["sweep"]) == ["two", "minus one"]
    reported = []
    outcomes = sweep(run, JOBS | {"four": 4}, path, report=lambda key, outcome: reported.append(key))
    assert ran[3:] == [-1, 3, 4] and reported == ["minus one", "three", "four"]
    assert outcomes == WANTED | {"four": {"result": {"y": 16}}}
    assert sweep(run, {"four": 4}, path) == {"four": {"result": {"y": 16}}} and len(ran) == 6
    assert list(files.read_json(path)["sweep"]) == ["two", "minus one", "three", "four"]


def test_a_dead_worker_loses_no_finished_result(tmp_path):
    class Dying(Backwards):
        def work(self):
            for k, (future, function, arguments) in enumerate(self.waiting):
                if k < 2:
                    future.set_result(function(*arguments))
                else:
                    future.set_exception(RuntimeError("the worker has died"))

    with pytest.raises(OSError, match="^executor: . of . jobs were lost, .* RuntimeError: the worker has died"):
        sweep(square, JOBS, tmp_path / "runs.json", executor=Dying())
    assert sweep(square, JOBS, tmp_path / "runs.json") == WANTED


@pytest.mark.parametrize("content", ["{}", "nothing", '{"sweep": []}', '{"sweep": {"a": 1}}'])
def test_another_file_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "other.json"
    if content.startswith("{"):
        files.write_json(path, json.loads(content))
    else:
        path.write_text(content)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="other.json: "):
        sweep(square, JOBS, path)
    assert path.read_bytes() == before


def test_two_sweeps_do_not_write_one_file(tmp_path):
    path = tmp_path / "a.json"
    outcomes = sweep(lambda x: sweep(square, JOBS, path), {"inner": 0}, path)
    assert "another run is writing it" in outcomes["inner"]["error"]


# ------------------------------------------------------------------------------------------------- successive halving


def carried(curve, until):
    """A run with these validations; one without any fails."""
    if curve is None:
        raise ValueError("no curve")
    return curve[:until] if until is not None and until < len(curve) else {"validations": curve}


CURVES = {"late": [9, 8, 1, 1], "fast": [5, 3, 3, 3], "fails": None, "best": [4, 6, 2, 2], "worst": [7, 9, 9, 0]}
HALVED = {"late": {"validations": [9]}, "fast": {"validations": [5, 3, 3]}, "fails": {"error": "ValueError: no curve"},
          "best": {"result": {"validations": [4, 6, 2, 2]}}, "worst": {"validations": [7]}}


def test_the_better_half_goes_on(tmp_path):
    """With every executor, and after an interrupt at each of the runs."""
    assert sweep(carried, CURVES, tmp_path / "here.json", halve_at=(1, 3)) == HALVED
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, get_context("spawn")) as processes:
        for k, executor in enumerate((threads, processes)):
            assert sweep(carried, CURVES, tmp_path / f"{k}.json", executor=executor, halve_at=(1, 3)) == HALVED
    for last in range(1, 9):  # five runs to epoch 1, two to epoch 3, one to the end
        calls = []

        def run(curve, until, calls=calls, last=last):
            calls.append(until)
            if len(calls) == last:
                raise KeyboardInterrupt
            return carried(curve, until)

        path = tmp_path / f"until-{last}.json"
        with pytest.raises(KeyboardInterrupt):
            sweep(run, CURVES, path, halve_at=(1, 3))
        assert sweep(carried, CURVES, path, halve_at=(1, 3)) == HALVED


def test_halving_goes_on_with_more_runs_and_what_was_stopped_may_be_finished(tmp_path):
    path, ran = tmp_path / "runs.json", []

    def run(curve, *until):
        ran.append((curve[0], *until))
        return carried(curve, *(until or (None,)))

    jobs = {key: curve for key, curve in CURVES.items() if curve}
    sweep(run, jobs, path, halve_at=(1, 3))
    assert ran == [(9, 1), (5, 1), (4, 1), (7, 1), (5, 3), (4, 3), (4, None)]
    del ran[:]
    outcomes = sweep(run, jobs | {"new": [1, 1, 1, 1], "newer": [2, 2, 2, 2]}, path, halve_at=(1, 3))
    assert ran == [(1, 1), (2, 1), (1, 3), (2, 3), (1, None)]  # what has its result is not run again, but counts
    assert outcomes["best"] == HALVED["best"] and outcomes["new"] == {"result": {"validations": [1, 1, 1, 1]}}
    del ran[:]
    sweep(run, jobs, path)
    assert ran == [(9,), (5,), (7,)]


@given(st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=12),
       st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True).map(sorted))
def test_a_run_goes_on_if_less_than_half_are_better(tmp_path_factory, curves, epochs):
    jobs = {str(k): curve for k, curve in enumerate(curves)}
    outcomes = sweep(carried, jobs, tmp_path_factory.mktemp("halved") / "runs.json", halve_at=epochs)
    going_on = list(enumerate(curves))
    for epoch in epochs:
        ranks = {k: sum((min(other[:epoch]), j) < (min(curve[:epoch]), k) for j, other in going_on)
                 for k, curve in going_on}
        stopped = [k for k, _ in going_on if ranks[k] >= (len(going_on) + 1) // 2]
        assert all(outcomes[str(k)] == {"validations": curves[k][:epoch]} for k in stopped if epoch < 6)
        going_on = [(k, curve) for k, curve in going_on if k not in stopped]
    assert all(outcomes[str(k)] == {"result": {"validations": curve}} for k, curve in going_on)


# ------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("plot_sweep", "plot_halving"):
        monkeypatch.setattr(f"l2l_ref.cli.sweep.{name}", lambda *arguments, **settings: None)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        try:
            code = main(["sweep", *map(str, words)])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_a_sweep_of_trainings(run, tmp_path):
    code, out, err = run(*TRAIN, "--hidden", "2", "3,2", "--cell", "lstm", "rnn", "--second-derivatives")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["hidden", "cell", "validation", "f(4)", "sum", "minutes"]
    assert [line[:2] for line in lines[1:5]] == [["2", "lstm"], ["2", "rnn"], ["3,2", "lstm"], ["3,2", "rnn"]]
    assert out.splitlines()[-1].startswith("best by its validation: l2l-ref train quadratic --epochs=1 ")
    kept = files.read_json(tmp_path / "sweep.json")["sweep"]
    assert len(kept) == 4 and all(key.startswith("train quadratic --epochs=1 ") for key in kept)
    best = out.splitlines()[-1].removeprefix("best by its validation: l2l-ref ")
    assert main([*best.split(), "--output", "best.npz", "--json"]) == 0  # it can be trained again, to the same card
    assert "--second-derivatives" in best and "--backend" not in best and not (tmp_path / "quadratic-lstm.npz").exists()


def test_a_run_is_a_training(run, capsys):
    code, out, _ = run(*TRAIN, "--hidden", "2", "--json")
    (swept,) = json.loads(out)["runs"]
    assert code == 0 and swept["setting"] == {}
    assert main([*TRAIN, "--hidden", "2", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    for name in ("model", "problem", "recipe", "score", "validation", "seed", "command"):
        assert swept["result"][name] == card[name], name


def test_what_is_there_is_not_run_again(run, monkeypatch):
    ran = []
    monkeypatch.setattr(command, "run_words", lambda words: ran.append(words) or {
        "validation": {"final": 1.0}, "score": {"steps": 4, "final": 2.0, "sum": 3.0}, "minutes": 0.0})
    assert run(*TRAIN, "--hidden", "2", "3")[0] == 0 and len(ran) == 2
    assert run(*TRAIN, "--hidden", "2", "3", "4", "--threads", "2")[0] == 0 and len(ran) == 3
    assert ran[-1][-2:] == ["--threads=2", "--hidden=4"] or "--hidden=4" in ran[-1]
    assert run(*TRAIN, "--hidden", "2", "--epochs", "2")[0] == 0 and len(ran) == 4


def test_random_search(run, monkeypatch):
    words = ["--draws", "5", "--seed", "3", *TRAIN, "--learning-rate", "1e-4:1e-1", "--hidden", "2"]
    monkeypatch.setattr(command, "run_words", lambda words: {
        "validation": {"final": 1.0}, "score": {"steps": 4, "final": 2.0, "sum": 3.0}, "minutes": 0.0})
    code, out, _ = run(*words)
    rates = [float(line.split()[0]) for line in out.splitlines()[1:6]]
    assert code == 0 and len(set(rates)) == 5 and all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert rates == [setting["r"] for setting in draws({"r": Range(1e-4, 1e-1)}, 5, 3)]


def test_halving_trains_what_goes_on_to_the_same_end(run, tmp_path):
    """Whatever the number of workers. Checkpoints are left of the runs that were stopped, for a sweep to go on with."""
    words = [*TRAIN, "--epochs", "4", "--learning-rate", "1e-6", "1e-2", "3e-2", "1e-5"]
    assert run("--results", "all.json", *words)[0] == 0
    whole = files.read_json(tmp_path / "all.json")["sweep"]
    for workers in (1, 2):
        code, out, err = run("--results", f"{workers}.json", "--workers", workers, "--halve-at", "1,3", *words)
        assert code == 0, err
        assert out.count("  1, stopped\n") == 2 and out.count("  3, stopped\n") == 1 and out.count("  4\n") == 1
        assert "after 3 epochs  learning-rate" in err and "figure: " in err
        halved = files.read_json(tmp_path / f"{workers}.json")["sweep"]
        assert halved.keys() == whole.keys()
        for key, outcome in halved.items():
            of_whole = whole[key]["result"]
            validations = outcome["result"]["validations"] if "result" in outcome else outcome["validations"]
            assert validations == of_whole["validations"][: len(validations)]
            if "result" in outcome:
                assert outcome["result"]["score"] == of_whole["score"]
        assert len(list((tmp_path / f"{workers}.json.runs").iterdir())) == 3
        assert run("--results", f"{workers}.json", "--halve-at", "3", *words)[0] == 0  # now two of them go on
        again = files.read_json(tmp_path / f"{workers}.json")["sweep"]
        assert sum("result" in outcome for outcome in again.values()) == 2
        assert all(outcome["result"]["score"] == whole[key]["result"]["score"] for key, outcome in again.items()
                   if "result" in outcome)


def test_a_sweep_of_comparisons(run):
    code, out, err = run("compare", "quadratic", "--steps", "3", "4", "--functions", "2", "--baselines", "sgd,adam")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["steps", "3", "4"]
    assert out.split()[:4] == ["steps", "learned", "sgd", "adam"]


def test_a_run_that_fails_is_told_and_the_others_count(run):
    code, out, err = run(*TRAIN, "--unroll", "2", "3")
    assert code == 0 and "failed: unroll 3: ValueError: unroll: expected a divisor of steps=4, got 3" in out
    assert out.count("failed: ") == 1 and "2/2" in err


def test_a_users_executor(run, tmp_path, monkeypatch):
    (tmp_path / "mine_of_sweep.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def pool():\n    return ThreadPoolExecutor(1)\ndef nothing():\n    return 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, out, _ = run("--executor", "mine_of_sweep:pool", *TRAIN, "--hidden", "2", "3")
    assert code == 0 and len(out.splitlines()) == 5
    code, _, err = run("--executor", "mine_of_sweep:nothing", *TRAIN, "--hidden", "2", "3")
    assert code == 2 and "--executor: executor: expected an object with submit, got 3" in err
    code, _, err = run("--executor", "mine_of_sweep:pool", "--workers", "2", *TRAIN, "--hidden", "2", "3")
    assert code == 2 and "--executor: not together with --workers" in err


def dies_once(path, x):
    """Kills the process of a pool that calls it first."""
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(x)


def test_a_process_that_is_killed_ends_no_sweep(tmp_path):
    from l2l_ref.executors import processes

    with processes(2) as executor:
        outcomes = sweep(partial(dies_once, tmp_path / "died"), JOBS, tmp_path / "runs.json", executor=executor)
    assert outcomes == WANTED and (tmp_path / "died").exists()


def test_halving_at_the_end_of_a_training_is_refused(run):
    code, _, err = run("--halve-at", "1,4", *TRAIN, "--epochs", "4", "--hidden", "2", "3")
    assert code == 2 and "--halve-at: expected numbers below the 4 epochs of the trainings, got 1,4" in err


def test_validations_that_are_nan_are_no_reason_to_go_on(tmp_path):
    nan = float("nan")
    curves = {"a": [nan, nan], "b": [3, 1], "c": [nan, 0.1], "d": [2, 2]}
    outcomes = sweep(carried, curves, tmp_path / "nan.json", halve_at=(1,))
    assert [key for key, outcome in outcomes.items() if "result" in outcome] == ["b", "d"]


def test_processes_have_the_results_of_one(run, tmp_path):
    assert run("--results", "one.json", *TRAIN, "--hidden", "2", "3")[0] == 0
    assert run("--results", "two.json", "--workers", "2", *TRAIN, "--hidden", "2", "3")[0] == 0
    one, two = (files.read_json(tmp_path / name)["sweep"] for name in ("one.json", "two.json"))
    assert one.keys() == two.keys() and all(one[key]["result"]["score"] == two[key]["result"]["score"] for key in one)


@pytest.mark.parametrize("words, message", [
    ([], "COMMAND: expected one of train, compare, got ''"), (["paint"], "COMMAND: expected one of train, compare"),
    (["train"], "PROBLEM|problem|required"), (["train", "chess"], "chess"),
    (["train", "quadratic", "--output", "q.npz"], "--output: not for the runs of a sweep"),
    (["train", "quadratic", "--resume"], "--resume: not for the runs of a sweep"),
    (["train", "quadratic", "--hidden", "2", "x"], "--hidden: expected whole numbers"),
    (["train", "quadratic", "--learning-rate", "1:x"], "--learning-rate: expected a finite number, got 'x'"),
    (["train", "quadratic", "--learning-rate", "2:1"], "--learning-rate: expected a range LOW:HIGH with 0 < LOW"),
    (["train", "quadratic", "--learning-rate", "1:2", "3"], "--learning-rate: expected values or one range LOW:HIGH"),
    (["train", "quadratic", "--learning-rate", "1:2"], "learning_rate: expected values, got a range"),
    (["train", "digits", "--hidden", "2", "3", "--share", "bfgs"], "--share: not for digits"),
    (["compare", "gp"], "PROBLEM: expected one of quadratic, "), (["--draws", "0", "train", "quadratic"], "--draws"),
    (["--halve-at", "5,2", "train", "quadratic"], "--halve-at: expected ascending numbers of epochs, got 5,2"),
    (["--halve-at", "5", "compare", "quadratic"], "--halve-at: only for train, got compare"),
    (["--results", "nowhere/a.json", "train", "quadratic"], "no folder nowhere"),
])
def test_mistakes_are_told_before_anything_is_run(run, tmp_path, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "") and any(part in err for part in message.split("|")), err
    assert not (tmp_path / "sweep.json").exists()


# -------------------------------------------------------------------------------------------------------- the figure


def runs_of(axes, losses=("f(4)",)):
    rng = np.random.default_rng(0)
    return [(setting, {name: float(rng.uniform(0.1, 3)) for name in losses}) for setting in grid(axes)]


FIGURES = {
    "units and layers": (runs_of({"hidden": ["5", "20", "5,5", "20,20"], "seed": ["0", "1"]}), {}),
    "layers of unequal size": (runs_of({"hidden": ["5", "20,5"]}), {}),
    "names over numbers": (runs_of({"loss_weights": ["uniform", "final"], "unroll": ["20", "100"]}), {}),
    "names alone": (runs_of({"cell": ["lstm", "rnn"]}), {}),
    "several optimizers": (runs_of({"hidden": ["5", "20", "5,5", "20,20"]}, ("learned", "adam")), {}),
    "draws": (runs_of({"learning_rate": ["0.1", "0.003"], "clip": ["1", "10"]}), {"drawn": True}),
    "seeds alone": (runs_of({"seed": ["0", "1"]}), {}),
    "one run": (runs_of({"hidden": ["5"]}), {}),
    "negative losses": ([({"clip": "1"}, {"f(4)": -1.0}), ({"clip": "2"}, {"f(4)": 1.0})], {}),
    "one that failed, one that diverged": ([({"clip": "1"}, {}), ({"clip": "2"}, {"f(4)": None}),
                                            ({"clip": "3"}, {"f(4)": 1.0})], {}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_figure_of(name, tmp_path):
    pytest.importorskip("matplotlib")
    runs, settings = FIGURES[name]
    plot_sweep(runs, tmp_path / "sweep.svg", title="a sweep", **settings)
    assert (tmp_path / "sweep.svg").stat().st_size > 3000


@pytest.mark.parametrize("runs", [
    [("rate 1", [3.0, 2.0, 1.0], True), ("rate 2", [4.0], False), ("failed", [], False)],
    [("rate 1", [-3.0, 2.0], True)], [("rate 1", [3.0], False)],
])
def test_the_figure_of_halving(tmp_path, runs):
    pytest.importorskip("matplotlib")
    plot_halving(runs, (1,), tmp_path / "sweep.svg", title="a sweep")
    assert (tmp_path / "sweep.svg").stat().st_size > 3000

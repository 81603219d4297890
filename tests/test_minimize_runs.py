"""minimize in use: files, interrupts, mistakes, time limits, penalties, constraints, noise and maxima."""

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_search_optimizer import proposer

import l2l_ref as l2l
from l2l_ref.search.recommend import recommend
from l2l_ref.search.scale import penalty_limit

BOUNDS = [(-2.0, 3.0), (0.0, 1.0)]


def bowl(x):
    return float(((x - 0.3) ** 2).sum())


class Stops:
    """The bowl, until evaluation number ``at``, in which it does something."""

    def __init__(self, at, what):
        self.at, self.what, self.calls = at, what, 0

    def __call__(self, x):
        self.calls += 1
        if self.calls == self.at:
            self.what()
        return bowl(x)


def interrupt():
    raise KeyboardInterrupt


# ------------------------------------------------------------------------------------------------ nothing is lost


@pytest.mark.parametrize("what", [interrupt, lambda: os.kill(os.getpid(), signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupt_returns_what_is_known_and_a_file_is_taken_up(tmp_path, what):
    model, file = proposer(), tmp_path / "run.json"
    whole = l2l.minimize(bowl, BOUNDS, 20, model, x0=[[1, 0.5], [2, 0.5]])
    before = signal.getsignal(signal.SIGTERM)
    result = l2l.minimize(Stops(8, what), BOUNDS, 20, model, x0=[[1, 0.5], [2, 0.5]], file=file)
    assert (result.status, result.nfev, result.success) == (130, 7, False) and np.isfinite(result.fun)
    assert signal.getsignal(signal.SIGTERM) == before
    again = Stops(0, None)
    result = l2l.minimize(again, BOUNDS, 20, model, x0=[[1, 0.5], [2, 0.5]], file=file)
    assert again.calls == 13 and result.log == whole.log and result.fun == whole.fun
    assert l2l.minimize(again, BOUNDS, 20, model, x0=[[1, 0.5], [2, 0.5]], file=file).log == whole.log
    assert again.calls == 13
    assert l2l.BlackBoxOptimizer.load(file, model).log == whole.log


def test_failures_are_in_the_file(tmp_path):
    model, file = proposer(), tmp_path / "run.json"
    kwargs = {"file": file, "finish": None}
    one = l2l.minimize(Stops(2, lambda: 1 / 0), BOUNDS, 4, model, **kwargs)
    two = l2l.minimize(Stops(2, lambda: 1 / 0), BOUNDS, 8, model, **kwargs)
    assert [why for _, why in two.failures] == 2 * ["ZeroDivisionError: division by zero"]
    assert [x.tolist() for x, _ in two.failures][0] == one.failures[0][0].tolist()
    for other in ({"seed": 1}, {"bounds": [(0, 1)] * 2}, {"maximize": True}, {"model": proposer(3)}):
        with pytest.raises(ValueError, match=r"run\.json: "):
            l2l.minimize(**{"fun": bowl, "bounds": BOUNDS, "max_evaluations": 9, "model": model, **kwargs, **other})


def test_an_interrupt_before_anything_is_known_is_raised(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        l2l.minimize(Stops(1, interrupt), BOUNDS, 5, proposer(), file=tmp_path / "run.json")


def mistaken(x):
    return {"loss": 1.0}["los"]


@pytest.mark.parametrize("fun", [mistaken, lambda x: (1.0, 2.0), lambda x: x.nothing, lambda x: "1"])
def test_a_mistake_of_the_function_stops_the_run(fun, caplog):
    result = l2l.minimize(fun, BOUNDS, 50, proposer())
    assert (result.status, result.nfev, result.success) == (4, 3, False)
    assert result.failures[-1][1] in result.message and result.message in caplog.text
    assert l2l.minimize(fun, BOUNDS, 5, proposer(), on_error="fail").nfev == 5
    with pytest.raises((KeyError, TypeError, AttributeError)):
        l2l.minimize(fun, BOUNDS, 50, proposer(), on_error="raise")
    once = Stops(4, None)
    once.what = lambda: fun(np.zeros(2)) + {}["a"]
    assert l2l.minimize(once, BOUNDS, 6, proposer()).nfev == 6  # later ones are failures


def test_the_traceback_of_a_worker_is_there():
    result = l2l.minimize(mistaken, BOUNDS, 50, proposer(), workers=2)
    assert result.status == 4 and 3 <= result.nfev <= 4 and "in mistaken" in result.traceback


def hangs(x):
    time.sleep(60 if x[0] > 0.3 else 0)
    return float(x[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_hanging_evaluation_is_ended(workers):
    began = time.monotonic()
    result = l2l.minimize(hangs, [(0, 1)] * 2, 6, proposer(), workers=workers, evaluation_seconds=0.5,
                          x0=[[0.1, 0], [0.9, 0]])
    assert time.monotonic() - began < 50 and result.nfev == 6 and result.fun <= 0.1
    assert result.failures and {why for _, why in result.failures} == {"TimeoutError: it took longer than 0.5 s"}


def test_an_executor_is_not_waited_for():
    free = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        result = l2l.minimize(lambda x: free.wait(60), BOUNDS, 2, proposer(), workers=pool, evaluation_seconds=0.1)
        free.set()
    assert [why for _, why in result.failures] == 2 * ["TimeoutError: it took longer than 0.1 s"]


def test_the_time_is_over():
    result = l2l.minimize(lambda x: time.sleep(0.05) or bowl(x), BOUNDS, 1000, proposer(), max_seconds=0.2)
    assert result.status == 3 and 1 <= result.nfev < 10 and np.isfinite(result.fun)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"max_seconds": 0}, "max_seconds: expected None or a number > 0, got 0"), ({"on_error": "x"}, "on_error"),
    ({"evaluation_seconds": "1"}, "evaluation_seconds"), ({"noise": -1}, "noise"), ({"maximize": 1}, "maximize"),
    ({"finish": "gp"}, "finish: expected 'auto', None or a function"), ({"constraints": 3}, "constraints"),
    ({"progress": 1}, "progress"),
])
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        l2l.minimize(bowl, BOUNDS, 5, proposer(), **arguments)


def test_progress():
    seen = []
    l2l.minimize(bowl, BOUNDS, 3, proposer(), progress=lambda *args: seen.append(args))
    assert [(n, most) for n, most, _ in seen] == [(1, 3), (2, 3), (3, 3)] and seen[-1][2] <= seen[0][2]


# ------------------------------------------------------------------------------------------ values as people have them


@given(values=st.lists(st.integers(-400, 400), min_size=3, max_size=20), penalty=st.sampled_from([1e6, 1e8, 1e12]),
       count=st.integers(2, 20), spread=st.sampled_from([0, 1, 5]))
def test_penalties_are_recognised_and_values_are_not(values, penalty, count, spread):
    """Of such values none is 1,000 times as far above the smallest as another."""
    if len(set(values)) < 3:
        return
    values = np.array(values) / 400
    assert penalty_limit(values[None])[0] >= max(values)
    penalties = penalty * (1 + spread * np.arange(count) / count)
    if count > len(values):
        penalties[:] = penalty  # more than half are only recognised if the largest comes twice
    assert max(values) <= penalty_limit(np.array([[*values, *penalties]]))[0] < penalty


def test_a_penalty_is_fed_as_a_failure():
    def search(penalty):
        bb = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer(), finish=None)
        points = []
        for k in range(30):
            trial = bb.ask()
            points.append(trial.x.tolist())
            bb.tell(trial, penalty if k in (9, 10, 15, 20, 22) else bowl(trial.x))
        return points

    expected = search(np.nan)
    assert search(1e6) == search(1e12) == expected


def test_constraints():
    def feasible(x):
        return [x[0] - 0.5, 1.0]

    called = []
    result = l2l.minimize(lambda x: called.append(x[0]) or bowl(x), BOUNDS, 20, proposer(),
                          constraints=feasible, x0=[[0, 0], [1, 1]])
    assert min(called) >= 0.5 and result.x[0] >= 0.5 and len(called) + len(result.failures) == 20
    assert "not feasible" in result.failures[0][1]
    assert l2l.minimize(bowl, BOUNDS, 3, proposer(), constraints=lambda x: False).status == 1
    bb = l2l.BlackBoxOptimizer(BOUNDS, proposer())
    for constraints, known in ((-1, None), (0, 2.0), ([1, -1], None), (np.nan, None), ([True, True], 2.0)):
        bb.tell(bb.ask(), 2.0, constraints)
        assert bb.log[-1][3] == known
    with pytest.raises(ValueError, match="constraints: expected numbers"):
        bb.tell(bb.ask(), 2.0, "feasible")


def test_a_maximum_is_found_as_a_minimum_is(tmp_path):
    low = l2l.minimize(bowl, BOUNDS, 30, proposer())
    high = l2l.minimize(lambda x: -bowl(x), BOUNDS, 30, proposer(), maximize=True)
    assert high.fun == -low.fun and high.x.tolist() == low.x.tolist()
    assert [event[2] for event in high.log] == [event[2] for event in low.log]
    bb = l2l.BlackBoxOptimizer(BOUNDS, proposer(), maximize=True)
    for value in (1.0, 3.0, 2.0):
        bb.tell(bb.ask(), value)
    bb.save(tmp_path / "state.json")
    assert bb.best[1] == l2l.BlackBoxOptimizer.load(tmp_path / "state.json", proposer()).best[1] == 3


@pytest.mark.parametrize("noise", [None, 0.5])
def test_the_luckiest_is_not_recommended(noise):
    """The mean error of the recommended point is below that of the point with the smallest value, and far below."""
    errors = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        points, centre = rng.random((60, 2)), rng.uniform(0.3, 0.7, 2)
        truth = 4 * ((points - centre) ** 2).sum(axis=1)
        y = truth + 0.5 * rng.standard_normal(60)
        n, estimate = recommend(points, y, noise)
        errors.append([truth[n], truth[y.argmin()], abs(estimate - truth[n])])
    recommended, luckiest, off = np.mean(errors, axis=0)
    assert recommended < 0.6 * luckiest and off < 0.5


def test_noise_is_said_or_seen():
    rng = np.random.default_rng(0)
    values = {}
    bb = l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer())
    for _ in range(30):
        trial = bb.ask()
        values[tuple(trial.x)] = bowl(trial.x) + 0.3 * rng.standard_normal()
        bb.tell(trial, values[tuple(trial.x)])
    assert bb.recommended[1] == bb.best[1]
    x = bb.best[0]
    bb.tell(x, bb.best[1] + 1.0)  # the same point again, with another value
    assert bb.recommended[1] != bb.best[1]
    result = l2l.minimize(lambda x: bowl(x) + 0.3 * rng.standard_normal(), BOUNDS, 30, proposer(), noise=True)
    assert result.fun != min(event[3] for event in result.log if event[0] == "tell")
    json.dumps(result.log)

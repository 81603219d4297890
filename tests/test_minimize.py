"""minimize: SciPy's conventions, failures, and evaluations at once; minimize_many."""

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import l2l_ref as l2l
from l2l_ref.learned.proposer import Proposer
from l2l_ref.search.scale import running_scale

BOUNDS = [(-2.0, 3.0), (0.0, 1.0)]


@pytest.fixture
def model():
    p = Proposer(2, 5, rng=3, backend="numpy")
    p.params = p.params._replace(W=30 * p.params.W, b=np.linspace(0.3, 1, 2))
    p.card = {"recipe": {"steps": 20}, "moments": [[0, 0], [-0.1, 0.6], [-0.3, 0.7]]}
    return p


def bowl(x, shift=0.3):
    return float(((x - shift) ** 2).sum())


def told(result):
    """(points, values) in the order of their tells."""
    events = [event for event in result.log if event[0] == "tell"]
    return np.array([event[2] for event in events]), [event[3] for event in events]


def test_it_is_ask_and_tell(model):
    result = l2l.minimize(bowl, BOUNDS, 50, model, seed=4, args=0.5)
    bb = l2l.BlackBoxOptimizer(BOUNDS, model, seed=4)
    for _ in range(50):
        trial = bb.ask()
        bb.tell(trial, bowl(trial.x, 0.5))
    assert result.log == bb.log
    points, values = told(result)
    best = int(np.argmin(values))
    assert (result.fun, result.x.tolist()) == (values[best], points[best].tolist())
    assert (result.nfev, result.nit, result.success, result.status, result.failures) == (50, 50, True, 0, [])


def test_points_to_begin_with(model):
    result = l2l.minimize(bowl, BOUNDS, 5, model, x0=[[1, 0.5], [0.3, 0.3]])
    assert told(result)[0][:2].tolist() == [[1, 0.5], [0.3, 0.3]]
    assert [event[0] for event in result.log] == 2 * ["tell"] + 3 * ["ask", "tell"]
    assert result.x.tolist() == [0.3, 0.3] and result.nfev == 5
    assert l2l.minimize(bowl, BOUNDS, 1, model, x0=[[1, 0.5], [0.3, 0.3]]).x.tolist() == [1, 0.5]
    assert l2l.minimize(bowl, BOUNDS, 1, model, x0=[1, 0.5]).nfev == 1
    with pytest.raises(ValueError, match="within the bounds"):
        l2l.minimize(bowl, BOUNDS, 5, model, x0=[9, 9])


def test_a_function_may_write_to_its_argument(model):
    def rude(x):
        value = bowl(x)
        x[:] = np.nan
        return value

    for x0 in (None, [1, 0.5]):
        assert l2l.minimize(rude, BOUNDS, 5, model, x0=x0).log == l2l.minimize(bowl, BOUNDS, 5, model, x0=x0).log


def test_failures_are_reported_and_the_run_goes_on(model):
    outcomes = iter([1.0, RuntimeError("no\nluck"), np.nan, None, "x", np.inf, 0.5, 0.7])

    def fun(x):
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    result = l2l.minimize(fun, BOUNDS, 8, model)
    points, values = told(result)
    assert values == [1.0, None, None, None, None, None, 0.5, 0.7]
    assert (result.success, result.fun, result.nfev) == (True, 0.5, 8) and result.x.tolist() == points[6].tolist()
    assert [x.tolist() for x, _ in result.failures] == points[1:6].tolist()
    messages = [message for _, message in result.failures]
    assert messages[0] == "RuntimeError: no luck" and messages[1:3] == ["its value was nan", "its value was None"]
    assert "expected a number or None" in messages[3] and messages[4] == "its value was inf"
    json.dumps(result.log, allow_nan=False)


def test_every_evaluation_fails(model):
    result = l2l.minimize(lambda x: np.nan, BOUNDS, 30, model)
    assert (result.success, result.status, len(result.failures), result.nfev) == (False, 1, 30, 30)
    assert np.isnan(result.x).all() and result.x.shape == (2,) and np.isnan(result.fun)


def test_an_interrupt_is_no_failure(model):
    def fun(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        l2l.minimize(fun, BOUNDS, 5, model)


def test_both_forms_of_callback(model):
    seen, points = [], []

    def stop(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 3:
            raise StopIteration

    result = l2l.minimize(bowl, BOUNDS, 10, model, callback=stop)
    assert (result.nfev, result.status, result.success) == (3, 99, False)
    values = told(result)[1]
    assert [r.fun for r in seen] == np.minimum.accumulate(values).tolist() and [r.nit for r in seen] == [1, 2, 3]
    l2l.minimize(bowl, BOUNDS, 10, model, callback=lambda xk: points.append(xk))
    assert len(points) == 10 and points[2].tolist() == seen[2].x.tolist()


def test_without_scipy(model, monkeypatch):
    optimize = pytest.importorskip("scipy.optimize")
    expected = l2l.minimize(bowl, BOUNDS, 10, model)
    assert isinstance(expected, optimize.OptimizeResult)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    result = l2l.minimize(bowl, BOUNDS, 10, model)
    assert type(result) is not optimize.OptimizeResult and set(result) == set(expected)
    assert result.x.tolist() == expected.x.tolist() and result.log == expected.log
    with pytest.raises(AttributeError):
        _ = result.jac


@pytest.mark.parametrize(("arguments", "message"), [
    ({"max_evaluations": 0}, "max_evaluations: expected a whole number >= 1, got 0"),
    ({"max_evaluations": 2.5}, "max_evaluations"), ({"workers": 0}, "workers: expected a whole number >= 1, an Exec"),
    ({"workers": True}, "workers"), ({"workers": "all"}, "workers"), ({"in_flight": 3}, "in_flight"),
    ({"fun": 3}, "fun: expected a function, got int"), ({"bounds": [(1, 0)] * 2}, "bounds"),
    ({"fun": lambda x: 0, "workers": 2}, "fun: cannot be sent to worker processes"), ({"scaling": 1}, "scaling"),
])
def test_bad_arguments(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        l2l.minimize(**{"fun": bowl, "bounds": BOUNDS, "max_evaluations": 5, "model": model, **arguments})


# --------------------------------------------------------------------------------------------- in parallel


def patient(x, folder):
    """Takes up to 20 ms, and does not end before four are in flight, or the last have begun."""
    name = os.path.join(folder, f"{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}")
    os.close(os.open(f"{name}.begun", os.O_CREAT | os.O_EXCL))
    time.sleep(int(abs(x[0]) * 1e6) % 21 / 1000)
    for _ in range(10_000):
        files = os.listdir(folder)
        begun = sum(file.endswith(".begun") for file in files)
        if 2 * begun - len(files) >= 4 or begun == 40:
            break
        time.sleep(0.001)
    else:
        raise TimeoutError(f"{2 * begun - len(files)} in flight after {begun}")
    os.close(os.open(f"{name}.ended", os.O_CREAT | os.O_EXCL))
    return bowl(x)


@pytest.mark.parametrize("how", ["workers", "executor", "in_flight"])
def test_so_many_are_always_in_flight(model, tmp_path, how):
    if how == "workers":
        result = l2l.minimize(patient, BOUNDS, 40, model, args=(str(tmp_path),), workers=4)
    else:
        with ThreadPoolExecutor(4 if how == "executor" else 9) as pool:
            result = l2l.minimize(patient, BOUNDS, 40, model, args=(str(tmp_path),), workers=pool,
                                  in_flight=None if how == "executor" else 4)
    assert result.nfev == 40 and result.success and not result.failures
    in_flight = np.cumsum([1 if event[0] == "ask" else -1 for event in result.log])
    assert in_flight.max() == 4
    asks = [event[1] for event in result.log if event[0] == "ask"]
    tells = [event[1] for event in result.log if event[0] == "tell"]
    assert asks == list(range(40)) == sorted(tells) != tells


def deadly(x, folder, victim):
    """Kills its process at evaluation number ``victim``, of those that have begun; the others take a while."""
    for number in range(1000):
        try:
            os.close(os.open(os.path.join(folder, str(number)), os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            pass
    if number in victim:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.03)
    return bowl(x)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
def test_a_worker_that_is_killed_loses_its_own_evaluation_alone(model, tmp_path):
    result = l2l.minimize(deadly, BOUNDS, 20, model, args=(str(tmp_path), (5, 6, 12, 19)), workers=3)
    assert result.nfev == 20 and result.success and len(result.failures) == 4
    assert all("BrokenProcessPool" in message for _, message in result.failures)
    values = told(result)[1]
    assert values.count(None) == 4 and result.fun == min(value for value in values if value is not None)
    assert len(list(tmp_path.iterdir())) == 20


def test_exceptions_in_workers(model):
    result = l2l.minimize(divide, BOUNDS, 6, model, workers=2)
    assert [message for _, message in result.failures] == 6 * ["ZeroDivisionError: division by zero"]


def divide(x):
    return 1 / 0


def interrupted(x):
    raise KeyboardInterrupt


def leaves(x):
    sys.exit("licence")


def test_an_exception_in_a_worker_ends_its_evaluation_alone(model):
    for fun, text in ((interrupted, "KeyboardInterrupt"), (leaves, "SystemExit: licence")):
        result = l2l.minimize(fun, BOUNDS, 6, model, workers=2)
        assert (result.status, result.nfev, [why for _, why in result.failures]) == (1, 6, 6 * [text])


def test_a_callback_that_stops_waits_for_those_on_their_way(model):
    def stop(xk):
        raise StopIteration

    result = l2l.minimize(bowl, BOUNDS, 40, model, workers=3, callback=stop)
    assert (result.nfev, result.status) == (3, 99)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal")
def test_an_executor_of_the_users_that_breaks(model, tmp_path):
    with ProcessPoolExecutor(2) as pool:
        result = l2l.minimize(deadly, BOUNDS, 20, model, args=(str(tmp_path), (7,)), workers=pool)
    assert (result.status, result.success) == (2, False) and "broke" in result.message
    values = told(result)[1]
    assert result.fun == min(value for value in values if value is not None)
    assert result.nfev == len([event for event in result.log if event[0] == "ask"]) < 20


class Client:
    """What a dask Client has of an executor; it evaluates when asked, and knows no number of workers."""

    def __init__(self):
        self.most = self.submitted = 0

    def get_executor(self):
        return self

    def submit(self, function, *arguments):
        future = Future()
        self.submitted += 1
        if self.submitted == 9:
            raise BrokenExecutor
        future.set_result(function(*arguments))
        return future


def test_a_client_with_get_executor(model):
    client = Client()
    result = l2l.minimize(bowl, BOUNDS, 8, model, workers=client)
    assert result.nfev == client.submitted == 8
    assert [event[0] for event in result.log[:6]] == ["ask"] * 4 + ["tell", "ask"]
    refused = l2l.minimize(bowl, BOUNDS, 8, model, workers=client)
    assert (refused.status, refused.nfev, refused.log[1][3]) == (2, 1, None) and "broke" in refused.message


# ----------------------------------------------------------------------------------------------------- many


def many(X):
    return ((X - 0.3) ** 2).sum(axis=1)


def steep(X):
    """Over orders of magnitude, so that its logarithm is seen."""
    return np.expm1(12 * many(X))


def test_each_of_many_is_searched_as_alone_on_a_steep_function(model):
    result = l2l.minimize_many(steep, BOUNDS, 3, 50, model)
    alone = l2l.minimize(lambda x: float(steep(x[None])[0]), BOUNDS, 50, model, finish=None)
    values = told(alone)[1]
    np.testing.assert_allclose(result.history[0], values, rtol=1e-3, atol=1e-3)
    assert all(np.isfinite(running_scale(np.array([values[:n]])).low[0]) for n in (8, 16, 32))


@pytest.mark.parametrize("settings", [{}, {"scaling": (0.5, 2.0)}, {"integers": [True, False]}, {"seed": 7}])
def test_each_of_many_is_searched_as_alone(model, settings):
    result = l2l.minimize_many(many, BOUNDS, 3, 50, model, **settings)
    alone = l2l.minimize(bowl, BOUNDS, 50, model, finish=None, **settings)
    np.testing.assert_allclose(result.history[0], told(alone)[1], atol=1e-4)
    np.testing.assert_allclose(result.x[0], alone.x, atol=1e-3)
    assert (result.x.shape, result.fun.shape, result.history.shape) == ((3, 2), (3,), (3, 50))
    np.testing.assert_array_equal(result.fun, result.history.min(axis=1))
    np.testing.assert_allclose(many(result.x), result.fun)
    assert not all(np.allclose(result.history[0], result.history[b]) for b in (1, 2))


def test_the_backend_goes_on_to_the_optimizer(model):
    for search in (lambda *args: l2l.minimize(bowl, BOUNDS, 3, *args, backend="fast"),
                   lambda *args: l2l.minimize_many(many, BOUNDS, 2, 3, *args, backend="fast")):
        with pytest.raises(ValueError, match="backend: expected one of auto, numpy, numba, got 'fast'"):
            search()
        with pytest.raises(ValueError, match="backend: expected 'auto' with a Proposer, which has its own, got 'fast'"):
            search(model)


def test_many_with_a_network_for_more_dimensions(model):
    larger = Proposer(4, 5, rng=3, backend="numpy")
    larger.params = larger.params._replace(W=30 * larger.params.W, b=np.linspace(0.3, 1, 4))
    result = l2l.minimize_many(many, BOUNDS, 2, 20, larger)
    alone = l2l.minimize(bowl, BOUNDS, 20, larger, finish=None)
    np.testing.assert_allclose(result.history[0], told(alone)[1], atol=1e-4)


def test_failures_of_many(model):
    calls = []

    def fun(X):
        calls.append(len(X))
        y = many(X)
        y[0] = np.nan
        y[1] = np.nan if len(calls) in (2, 5, 6) else y[1]
        return y

    result = l2l.minimize_many(fun, BOUNDS, 3, 30, model)
    outcomes = iter(range(1, 31))
    rows = l2l.minimize_many(many, BOUNDS, 3, 30, model)
    assert np.isnan(result.fun).tolist() == [True, False, False] and np.isnan(result.x[0]).all()
    assert (result.success, result.status) == (False, 1) and "1 of 3" in result.message
    np.testing.assert_allclose(result.history[2], rows.history[2], atol=1e-5)  # another's failures are its own
    np.testing.assert_array_equal(np.isnan(result.history[1]), np.isin(np.arange(30), [1, 4, 5]))
    failing = l2l.minimize(lambda x: np.nan if next(outcomes) in (2, 5, 6) else bowl(x), BOUNDS, 30, model,
                           finish=None)
    one = iter(range(1, 31))
    same = l2l.minimize_many(lambda X: np.full(1, np.nan) if next(one) in (2, 5, 6) else many(X), BOUNDS, 1, 30, model)
    values = np.array(told(failing)[1], float)  # None becomes nan
    np.testing.assert_allclose(same.history[0], values, atol=1e-4)
    with pytest.raises(ValueError, match=r"fun: expected values of shape \(3,\), got \(3, 2\)"):
        l2l.minimize_many(lambda X: X, BOUNDS, 3, 30, model)
    with pytest.raises(ValueError, match="functions: expected a whole number"):
        l2l.minimize_many(many, BOUNDS, 0, 30, model)

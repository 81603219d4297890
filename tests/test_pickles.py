"""Whatever users hold in their hands pickles and copies: for worker processes, joblib, and to go on tomorrow."""

import copy
import functools
import math
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import FunctionType

import numpy as np
import pytest
from conftest import ROOT

import l2l_ref as l2l
from l2l_ref import backends
from l2l_ref.baselines.gradient import OPTIMIZERS
from l2l_ref.learned import cells
from l2l_ref.search.result import ManyResult, Result

BOUNDS = [(-1.0, 2.0), (1.0, 9.0)]


def bowl(x):
    return float(((x - 0.3) ** 2).sum())


def bowls(X):
    return ((X - 0.3) ** 2).sum(axis=1)


def square(x):
    return x**2, x


def square_backward(d_y, x):
    return 2 * d_y * x


WAYS = {f"protocol {number}": lambda value, number=number: pickle.loads(pickle.dumps(value, number))
        for number in (2, pickle.HIGHEST_PROTOCOL)} | {"deepcopy": copy.deepcopy, "copy": copy.copy}


def told(backend="numpy", model="lstm-oi", evaluations=11):
    """A search that is on its way: a failure, an integer dimension, a trial that is pending."""
    l2l_model = model if isinstance(model, str) else model(backend)
    bb = l2l.BlackBoxOptimizer(BOUNDS, l2l_model, 3, integers=[False, True], log=[False, True],
                               backend=backend if isinstance(model, str) else "auto")
    for k in range(evaluations):
        trial = bb.ask()
        if k != 4:
            bb.tell(trial, math.nan if k == 2 else bowl(trial.x))
    return bb


def same(ours, theirs):
    """Equal in all their parts, types and dtypes; functions by their names."""
    assert type(ours) is type(theirs)
    if isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            same(ours[key], theirs[key])
    elif isinstance(ours, (tuple, list)):
        assert len(ours) == len(theirs)
        for pair in zip(ours, theirs):
            same(*pair)
    elif isinstance(ours, np.random.Generator):
        same(ours.bit_generator.state, theirs.bit_generator.state)
    elif isinstance(ours, functools.partial):
        same((ours.func, ours.args, ours.keywords), (theirs.func, theirs.args, theirs.keywords))
    elif hasattr(ours, "__dict__") and not isinstance(ours, (type, FunctionType)):
        same({k: v for k, v in vars(ours).items() if k != "_kept"},
             {k: v for k, v in vars(theirs).items() if k != "_kept"})
    elif hasattr(type(ours), "__slots__"):
        same([getattr(ours, name) for name in ours.__slots__], [getattr(theirs, name) for name in theirs.__slots__])
    else:
        assert ours == theirs or ours != ours


def optimizer_with_state():
    opt = l2l.load("quadratic-lstm", backend="numpy")
    _, state = opt.update(np.ones(3), opt.init(np.ones(3)))
    return opt, state, opt.init({"W": [np.ones(2)], "b": None})


def baselines_with_state():
    optimizers = [make(0.1) for make in OPTIMIZERS.values()]
    return [(opt, opt.update(np.ones(3), opt.init(np.ones(3)))) for opt in optimizers]


THINGS = {
    "CoordinatewiseLSTM and its state": optimizer_with_state,
    "a linear rule": lambda: l2l.CoordinatewiseLSTM(hidden=()),
    "Proposer": lambda: l2l.load("lstm-oi-2"),
    "Proposer with a DNC": lambda: l2l.Proposer(2, 4, "linear", cell="dnc", memory=(3, 2, 1)),
    "the state of a Proposer": lambda: l2l.Proposer(2, 4, cell="dnc").initial_state(3),
    "cells": lambda: (cells.LSTM, cells.dnc_with(4, 3, 2)),
    "Trial": lambda: told().ask(),
    "Result": lambda: l2l.minimize(bowl, BOUNDS, 3, l2l.Proposer(2, 3)),
    "ManyResult": lambda: l2l.minimize_many(bowls, BOUNDS, 2, 3, l2l.Proposer(2, 3)),
    "report": lambda: l2l.gradcheck(square, square_backward, (np.arange(3.0),)),
    "Quadratic": lambda: l2l.optimizees.Quadratic(3, "normal"),
    "QuadraticTask": lambda: l2l.optimizees.Quadratic(3).sample(2, 0),
    "MLP": lambda: l2l.optimizees.MLP("digits"),
    "MLPTask": lambda: l2l.optimizees.MLP("digits").sample(2, 0),
    "baselines and their states": baselines_with_state,
    "baseline searches": lambda: (l2l.baselines.RandomSearch(2, 2), l2l.baselines.ExpectedImprovement(
        1, 2, length_scale=0.3)),
    "distributions": lambda: (l2l.black_boxes.GPDistribution(dim=2), l2l.black_boxes.SupportDistribution(dim=1)),
    "functions of a Gaussian process": lambda: (l2l.black_boxes.GPFunctions(2, 2, 5, seed=0),
                                                l2l.black_boxes.GPPaths(2, 2, seed=0)),
    "benchmarks": lambda: l2l.black_boxes.BENCHMARKS,
    "repellers": lambda: l2l.black_boxes.REPELLERS,
    "tables": lambda: l2l.black_boxes.TABLES,
    "images": lambda: l2l.datasets.load("digits", "test"),
    "cards": lambda: l2l.models(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("thing", THINGS)
def test_it_comes_back_as_it_was(thing, way):
    value = THINGS[thing]()
    again = WAYS[way](value)
    if thing == "report":
        assert str(again) == str(value) and again.to_json() == value.to_json() and value.curve()
        with pytest.raises(ValueError, match="curve: .* this is a copy of its report"):
            again.curve()
    else:
        same(value, again)


def numba_or_skip(backend):
    if not backends.available(backend):
        pytest.skip("numba is not here")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_model_works_on(backend, way):
    numba_or_skip(backend)
    opt, gradient = l2l.load("mnist-lstm", backend=backend), np.linspace(-1, 1, 7, dtype=np.float32)
    before, _ = opt.update(gradient, opt.init(gradient))
    again = WAYS[way](opt)
    np.testing.assert_array_equal(again.update(gradient, again.init(gradient))[0], before)
    with pytest.raises(ValueError, match="read-only"):
        again.params.W[:] = 7
    again.params = again.params._replace(b=again.params.b + 1)
    np.testing.assert_array_equal(opt.update(gradient, opt.init(gradient))[0], before)  # another one's weights


def of_random_weights(cell):
    return lambda backend: l2l.Proposer(3, 6, cell=cell, rng=1, backend=backend)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("evaluations", [0, 11, 40])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("model", ["lstm-oi", "dnc-oi", of_random_weights("dnc")], ids=["lstm", "dnc", "3 dimensions"])
def test_a_search_goes_on_bit_for_bit(model, backend, evaluations, way):
    numba_or_skip(backend)
    bb = told(backend, model, evaluations)
    again = WAYS[way](bb)
    assert again.log == bb.log and repr(again) == repr(bb) and again.log is not bb.log
    pending = again.pending[0] if again.pending else None
    for k in range(12):
        ours, theirs = bb.ask(), again.ask()
        assert ours.x.tobytes() == theirs.x.tobytes() and ours.id == theirs.id
        for search, trial in ((bb, ours), (again, theirs)):
            search.tell(trial, bowl(trial.x))
        if k == 3 and pending is not None:
            again.tell(pending, 0.5)
            bb.tell(pending, 0.5)  # a copy's trial is as good as its own
    assert again.log == bb.log and again.best[1] == bb.best[1]


@pytest.mark.parametrize("way", WAYS)
def test_a_trial_that_comes_back_is_taken(way):
    bb = told()
    trial = bb.ask()
    back = WAYS[way](trial)
    back.x[:] = -7.0  # whatever a worker did with it
    bb.tell(back, 1.5)
    assert bb.log[-1] == ["tell", trial.id, bb.log[-2][2], 1.5]
    for again in (trial, back):
        with pytest.raises(ValueError, match="expected a pending trial of this optimizer"):
            bb.tell(again, 1.5)
    other = l2l.BlackBoxOptimizer(BOUNDS, seed=4).ask()
    with pytest.raises(ValueError, match="expected a pending trial of this optimizer"):
        l2l.BlackBoxOptimizer(BOUNDS, seed=5).tell(other, 1.0)


def asked_and_told(bb, trial):
    bb.tell(trial, bowl(trial.x))
    return bb, bb.ask()


def test_a_search_goes_to_another_process_and_back():
    bb = told()
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        there, trial = pool.submit(asked_and_told, bb, bb.ask()).result(timeout=300)
    bb.tell(bb.pending[-1], bowl(bb.pending[-1].x))
    assert bb.ask().x.tobytes() == trial.x.tobytes() and bb.log == there.log


def test_results_are_scipys_where_scipy_is():
    code = """
import pickle, sys
import l2l_ref as l2l
assert "scipy" not in sys.modules
result = l2l.minimize(lambda x: float(x[0]), [(0, 1)], 3, l2l.Proposer(1, 3))
assert "scipy" not in sys.modules, "minimize loads SciPy"
try:
    import scipy.optimize
except ImportError:
    sys.exit()
again = pickle.loads(pickle.dumps(result))
assert isinstance(again, scipy.optimize.OptimizeResult) and not isinstance(result, scipy.optimize.OptimizeResult)
assert type(again).__name__ == type(result).__name__ == "Result" and str(again) == str(result)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def fails(x):
    raise ValueError("a word\n" * 1000)


@pytest.mark.parametrize("fun", [bowl, fails])
def test_a_result_prints_on_a_screen(fun):
    result = l2l.minimize(fun, [(0, 1)] * 30, 200, l2l.Proposer(30, 3))
    many = l2l.minimize_many(lambda X: bowls(X) if fun is bowl else np.full(len(X), np.nan), BOUNDS, 500, 5,
                             l2l.Proposer(2, 3))
    for found, kind in ((result, Result), (many, ManyResult)):
        lines = str(found).splitlines()
        assert isinstance(found, kind) and str(found) == repr(found)
        assert len(lines) == len(found) < 12 and max(map(len, lines)) <= 120
        for name in found:
            assert getattr(found, name) is found[name] and name in dir(found) and name in str(found)
    assert len(result.log) == 400 and many.history.shape == (500, 5)
    assert str(Result()) == ""

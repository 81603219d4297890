"""Spaces by name, fixed and stepped parameters, points that are not asked for twice, and more dimensions."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc
from test_search_optimizer import proposer

import l2l_ref as l2l
from l2l_ref import backends
from l2l_ref.search import sobol
from l2l_ref.search.box import Box

SPACE = {"C": l2l.Float(1e-3, 1e3, log=True), "depth": l2l.Int(1, 8), "rate": l2l.Float(0, 1, step=0.25),
         "kernel": l2l.Categorical(["rbf", "poly", [64, 64], None, True, 1]), "fixed": l2l.Float(2.5, 2.5)}


@given(u=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_point_of_a_space_and_back(u):
    box = Box(SPACE)
    assert box.dim == 4 and box.levels.tolist() == [np.inf, 8, 5, 6]
    assert box.categorical.tolist() == [False, False, False, True]
    x = box.point(np.array(u))
    point = box.to_user(x)
    assert list(point) == list(SPACE) and point["fixed"] == 2.5 and type(point["depth"]) is int
    assert point["rate"] in (0, 0.25, 0.5, 0.75, 1)
    assert any(point["kernel"] is choice or point["kernel"] == choice for choice in box._choices[3])
    for form in (point, json.loads(json.dumps(box.to_json(x)))):
        np.testing.assert_array_equal(box.checked(form), x)
    np.testing.assert_array_equal(box.point(box.unit(x))[1:], x[1:])
    again = Box(json.loads(json.dumps(box.as_json()))["space"])
    np.testing.assert_array_equal(again.point(np.array(u)), x)
    assert again.to_user(x) == point


def test_each_choice_and_step_has_the_same_share():
    box = Box({"a": l2l.Float(0, 1, step=0.25), "b": l2l.Categorical("xyz"[k] for k in range(3))})
    u = (np.arange(15_000) + 0.5) / 15_000
    x = box.point(np.column_stack([u, u]))
    for k, count in ((0, 5), (1, 3)):
        assert np.unique(x[:, k], return_counts=True)[1].tolist() == count * [15_000 // count]


@pytest.mark.parametrize(("space", "message"), [
    ({}, "space: expected at least one parameter"),
    ({"a": (0, 1)}, "expected a Float, Int or Categorical for 'a'"),
    ({"a": {"type": "real", "low": 0, "high": 1}}, "expected a Float, Int or Categorical for 'a'"),
    ({"a": {"type": "int", "low": 0}}, "space: a: missing 1 required positional argument: 'high'"),
    ({"a": l2l.Int(0, 1.5)}, "a: high: expected a whole number"),
    ({"a": l2l.Int(1, 0)}, "space: expected low < high, .* in 'a'"),
    ({"a": l2l.Float(0, 1, log=True)}, "space: expected low > 0 on a log scale, .* in 'a'"),
    ({"a": l2l.Float(0, 1, step=0)}, "space: a: expected a step > 0, got 0"),
    ({"a": l2l.Float(1, 2, log=True, step=0.5)}, "expected no step on a log scale"),
    ({"a": l2l.Int(3, 3)}, "expected a parameter with low < high, got fixed ones alone"),
    ({3: l2l.Int(3, 4)}, "expected strings as names, got 3"),
])
def test_bad_spaces(space, message):
    with pytest.raises(ValueError, match=message):
        l2l.BlackBoxOptimizer(space, proposer(4))


@pytest.mark.parametrize("choices", ["abc", [], ["a", "a"], [float("nan")], [np.arange(3)], [object()], 3, [(1,), [1]]])
def test_bad_choices(choices):
    with pytest.raises(ValueError, match="^choices: expected"):
        l2l.Categorical(choices)


def test_a_function_of_names():
    seen = []

    def fun(p, shift):
        seen.append(p)
        return (np.log10(p["C"]) - 1) ** 2 + len(range(p["depth"])) + (p["kernel"] != "poly") + p["rate"] + shift

    result = l2l.minimize(fun, SPACE, 12, args=3.0, x0={"C": 1.0, "depth": 2, "rate": 0.5, "kernel": (64, 64),
                                                         "fixed": 2.5})
    assert result.success and seen[0]["kernel"] == (64, 64) and len(seen) == 12
    assert result.x == min(list(seen), key=lambda p: fun(p, 0)) and result.log[0][2]["kernel"] == [64, 64]
    assert pickle.loads(pickle.dumps(result)).x == result.x
    for bad in ({"C": 1}, {**seen[0], "kernel": "linear"}, {**seen[0], "C": "1"}, {**seen[0], "depth": 2.5}, [1, 2]):
        with pytest.raises(ValueError, match="^x: expected"):
            l2l.minimize(fun, SPACE, 2, x0=[bad])


def test_integers_are_whole_numbers():
    result = l2l.minimize(lambda x: float(sum(range(x[0])) + len("a" * x[1])), [(1, 8), (0, 5)], 6,
                          integers=[True, True])
    assert result.success and result.x.dtype == np.int64


@pytest.mark.parametrize("edge", [np.nextafter(0.3, 1), 0.1 * 3, np.nextafter(-0.7, -1)])
def test_a_rounding_beyond_an_edge_is_inside(edge):
    bb = l2l.BlackBoxOptimizer([(-0.7, 0.3), (0, 1)], proposer())
    bb.tell([edge, 1 + 2**-52], 1.0)
    assert bb.log[-1][2] == [np.clip(edge, -0.7, 0.3), 1]
    for outside in (0.3 + 1e-12, -0.71, np.nan, np.inf):
        with pytest.raises(ValueError, match="within the bounds"):
            bb.tell([outside, 0], 1.0)


@pytest.mark.parametrize("x", ["ab", ["0.1", "0.2"], [1j, 0], np.ma.array([0.1, 0.2], mask=[0, 1]), bytearray(2)])
def test_what_is_no_point(x):
    with pytest.raises(ValueError, match="^x: expected"):
        l2l.BlackBoxOptimizer([(0, 1)] * 2, proposer()).tell(x, 1.0)


# -------------------------------------------------------------------------------------------------- no point twice


@pytest.mark.parametrize(("bounds", "settings", "count"), [
    ([(0, 1)] * 4, {"integers": [True] * 4}, 16), ([(1, 9)], {"integers": [True], "log": [True]}, 9),
    ({"a": l2l.Categorical("xyz"[k] for k in range(3)), "b": l2l.Float(0, 1, step=0.5)}, {}, 9),
])
def test_all_points_of_a_small_box_are_asked_for_before_one_comes_again(bounds, settings, count):
    for model in ("lstm-oi", "lstm-sum"):  # the second has no network for four dimensions
        bb = l2l.BlackBoxOptimizer(bounds, model, finish=None, **settings)
        points = []
        for k in range(count + 2):
            trial = bb.ask()
            points.append(repr(trial.x))
            bb.tell(trial, float(k % 3))
        assert len(set(points)) == len(set(points[:count])) == count


@pytest.mark.parametrize("dim", [1, 2])
def test_runs_that_repeat_ask_for_other_points(dim):
    bb = l2l.BlackBoxOptimizer([(0, 1)] * dim, proposer(dim, card={"recipe": {"steps": 4}}), finish=None)
    points = []
    for _ in range(60):
        trial = bb.ask()
        points.append(tuple(trial.x))
        bb.tell(trial, 1.0)
    assert len(set(points)) == 60
    by = [event[4] for event in bb.log if event[0] == "ask" and len(event) == 5]
    assert by and set(by) == {"replacement"}


@given(n=st.integers(0, 6), d=st.integers(1, 3), seed=st.integers(0, 99), near=st.sampled_from([0, 0.1, 0.5]))
@settings(max_examples=30)
def test_what_is_useless_and_how_far_in_both_backends(n, d, seed, near):
    rng = np.random.default_rng(seed)
    rows, u, median = rng.integers(0, 4, (n + 1, d + 1)) / 3, rng.integers(0, 4, d + 1) / 3, 0.5
    far = np.abs(rows[:n, :d] - u[:d]).max(axis=1)
    expected = bool(((far == 0) | (far < near) & (rows[:n, d] > median)).any())
    for backend in ("numpy", "numba"):
        module = backends.choose("stepping", backend)
        mine = rows.copy()
        assert module.is_useless(mine, n, u, near, median) == expected
        np.testing.assert_array_equal(mine[n], [*u[:d], np.inf])
        np.testing.assert_array_equal(mine[:n], rows[:n])
        if n:
            np.testing.assert_array_equal(module.distances(mine[:n], u[None, :d]), [far.min()])


# -------------------------------------------------------------------------------------------------- more dimensions


def test_sobol_points_are_those_of_scipy_but_for_a_shift():
    d = sobol.MOST_DIMENSIONS
    expected = (qmc.Sobol(d, scramble=False, bits=sobol.BITS).random(64) * 2**sobol.BITS).astype(np.uint64)
    points = [sobol.sobol_point(n, d, [7]) for n in range(64)]
    mine = (np.array(points) * 2**sobol.BITS - 0.5).astype(np.uint64)
    np.testing.assert_array_equal(mine ^ mine[0], expected ^ expected[0])
    assert (sobol.sobol_point(3, d, [7]) != sobol.sobol_point(3, d, [8])).all()


@pytest.mark.parametrize("dim", [21, 30, 40])
def test_more_dimensions_than_any_network_has(dim):
    result = l2l.minimize(lambda x: float((x**2).sum()), [(-1, 2)] * dim, 5, finish=None)
    asks = [event for event in result.log if event[0] == "ask"]
    assert result.success and all(event[3:] == [None, "sobol"] for event in asks)
    bb = l2l.BlackBoxOptimizer([(-1, 2)] * dim, finish=None)
    for event in asks:
        trial = bb.ask()
        assert trial.x.tolist() == event[2]
        bb.tell(trial, 1.0)
    again = l2l.BlackBoxOptimizer.from_state(json.loads(json.dumps(bb.state_dict())))
    assert again.ask().x.tolist() == bb.ask().x.tolist()
    with pytest.raises(ValueError, match="the number of dimensions: expected a whole number in 1..40, got 41"):
        l2l.BlackBoxOptimizer([(0, 1)] * 41)

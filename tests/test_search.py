"""Random and Sobol search, and what all searches share: checks, history, a generator for each function."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from l2l_ref.baselines.bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from l2l_ref.baselines.random_search import RandomSearch, Sobol


def expected_improvement(*args, **options):
    return ExpectedImprovement(*args, length_scale=0.3, **options)


def integrated(*args, **options):
    return IntegratedExpectedImprovement(*args, samples=2, **options)


each_search = pytest.mark.parametrize("make", [RandomSearch, Sobol, expected_improvement, integrated])


def run(search, steps, function=lambda x: ((x - 0.3) ** 2).sum(axis=1)):
    """All queries (B, T, d) of ``steps`` rounds."""
    for _ in range(steps):
        x = search.ask()
        search.tell(x, function(x))
    return search.x


@each_search
@pytest.mark.parametrize("functions, dim", [(0, 2), (1, 1), (2, 1), (3, 4)])
def test_queries_are_points_of_the_cube_and_are_remembered(make, functions, dim):
    search, asked, values = make(functions, dim), [], []
    for t in range(4):
        x, y = search.ask(), np.full(functions, float(t))
        assert x.shape == (functions, dim) and x.dtype == np.float64 and ((x >= 0) & (x <= 1)).all()
        search.tell(x, y)
        asked.append(x)
        values.append(y)
    np.testing.assert_array_equal(search.x, np.stack(asked, axis=1))
    np.testing.assert_array_equal(search.y, np.stack(values, axis=1))
    assert (search.functions, search.dim) == (functions, dim) and isinstance(search.name, str)


@each_search
def test_a_function_does_not_depend_on_its_batch(make):
    whole = run(make(4, 2, seed=7), 4)
    np.testing.assert_array_equal(whole, run(make(4, 2, seed=7), 4))
    np.testing.assert_array_equal(whole[2:], run(make(2, 2, seed=7, first=2), 4))
    np.testing.assert_array_equal(whole[1:2], run(make(1, 2, seed=np.random.SeedSequence(7), first=1), 4))
    assert (whole[0, 1:] != whole[1, 1:]).any() and (whole[:, 1:] != run(make(4, 2, seed=8), 4)[:, 1:]).any()


@given(dim=st.integers(1, 8), seed=st.integers(0, 2**32), power=st.integers(0, 7))
def test_sobol_points_fill_the_cube_evenly(dim, seed, power):
    """Of the first 2^k points, one lies in each of 2^k equal slices of every axis."""
    points = run(Sobol(1, dim, seed), 2**power)[0]
    assert (np.sort(np.floor(points * 2**power), axis=0) == np.arange(2**power)[:, None]).all()


def test_sobol_points_come_in_the_order_of_the_sequence():
    rng, = Sobol(1, 3, seed=5)._rngs
    fresh, = RandomSearch(1, 3, seed=5)._rngs
    assert rng is not fresh
    np.testing.assert_array_equal(run(Sobol(1, 3, seed=5), 16)[0], qmc.Sobol(3, seed=fresh).random_base2(4))


def test_uniform_points_have_the_moments_of_the_uniform_distribution():
    x = RandomSearch(2000, 3, seed=1).ask()
    assert (np.abs(x.mean(axis=0) - 0.5) < 4.5 / np.sqrt(12 * 2000)).all()
    assert (np.abs((x - 0.5).T @ (x - 0.5) / 2000 - np.eye(3) / 12) < 0.012).all()


@each_search
def test_bad_arguments_are_named(make):
    for name, least, wrong in (("functions", 0, -1), ("functions", 0, 1.5), ("dim", 1, 0), ("first", 0, -1)):
        with pytest.raises(ValueError, match=f"^{name}: expected a whole number >= {least}, got {wrong}"):
            make(**{"functions": 2, "dim": 2, name: wrong})
    search = make(2, 3)
    x, y = np.full((2, 3), 0.5), np.zeros(2)
    for name, arguments in (
        ("x", (x[:1], y)), ("x", (x[:, :2], y)), ("x", (x[0], y)), ("x", (x + 0.6, y)), ("x", (x - 0.6, y)),
        ("x", (x * np.nan, y)), ("y", (x, y[:1])), ("y", (x, x)), ("y", (x, y + np.nan)), ("y", (x, y - np.inf)),
    ):
        with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
            search.tell(*arguments)
    assert search.y.shape == (2, 0)

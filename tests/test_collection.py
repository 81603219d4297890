"""The checker on a collection of functions that does not know it: no false alarm, no mistake missed, true guesses."""

from collections import Counter
from itertools import permutations

import collection
import numpy as np
import pytest
from conftest import SLOW

from l2l_ref.checking import gradcheck, trees

SEEDS = range(20 if SLOW else 3)
CASES = collection.cases()
NAMED = ("sign", "factor", "transpose", "broadcast")  # the kinds whose pattern a guess must name

# Cases that take no complex numbers say so by a warning of NumPy's, once.
pytestmark = pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")


def inputs_of(case, seed=0):
    return case.inputs(np.random.default_rng(seed))


def test_it_is_large_enough():
    assert len({case.name for case in CASES}) >= 60
    assert sum(len(collection.mistakes(case)) for case in CASES) >= 300


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_right_gradient_passes(case):
    for seed in SEEDS:
        report = gradcheck(case.f, case.f_backward, inputs_of(case, seed), seed=seed)
        assert report.ok, f"seed {seed}: {report}"


@pytest.fixture(scope="module")
def found():
    """(case, mistake, report) of every mistake, or of every fifth."""
    every = [(case, mistake) for case in CASES for mistake in collection.mistakes(case)]
    return [(case, mistake, gradcheck(case.f, mistake.f_backward, inputs_of(case)))
            for case, mistake in (every if SLOW else every[::5])]


def test_every_mistake_is_caught(found):
    missed = [f"{case}, {mistake}: {report}" for case, mistake, report in found if report.verdict != "FAIL"]
    assert not missed, missed[:5]


def test_four_of_five_patterns_are_named(found):
    total, named = Counter(), Counter()
    for _, mistake, report in found:
        total[mistake.kind] += 1
        named[mistake.kind] += any(guess.pattern == mistake.kind for guess in report.guesses)
    assert all(named[kind] >= 0.8 * total[kind] for kind in NAMED), (named, total)


def gradients(f_backward, case, inputs):
    """The leaves of the gradients, for one random cotangent."""
    result = case.f(*inputs)
    out, rest = result if type(result) is tuple and len(result) == 2 else (result, inputs)
    rng = np.random.default_rng(5)
    d_out = trees.rebuild(out, (trees.like(rng.standard_normal(np.shape(leaf)).astype(np.asarray(leaf).dtype), leaf)
                                for _, leaf in trees.leaves(out)))
    found = f_backward(d_out, *inputs) if rest is inputs else f_backward(d_out, rest)
    return [leaf for _, leaf in trees.leaves(found)]


def is_true(guess, wrong, right, others):
    """Whether what a guess says of one array is so."""
    tolerance = 1e-5 * np.abs(right).max()
    if guess.pattern == "zero":
        return np.abs(wrong).max() <= tolerance
    if guess.pattern == "sign":
        return np.allclose(wrong, -right, atol=tolerance)
    if guess.pattern == "factor":
        k = (wrong * right).sum() / (right * right).sum()
        return np.allclose(wrong, k * right, atol=tolerance)
    if guess.pattern == "transpose" and "d_out" not in guess.text:  # that is one of the Jacobian
        return any(np.shape(m) == np.shape(right) and np.allclose(m, right, atol=tolerance)
                   for m in map(wrong.transpose, permutations(range(wrong.ndim))))
    if guess.pattern == "swap":
        return any(np.shape(other) == np.shape(wrong) and np.allclose(wrong, other, atol=tolerance) for other in others)
    return True  # "place", "term", "block", "shift", "broadcast": looked at below


def test_a_guess_that_is_called_likely_is_true(found):
    """What a likely guess says of the wrong gradient holds for the right and the wrong gradient themselves."""
    checked = 0
    for case, mistake, report in found:
        likely = [guess for guess in report.guesses if guess.likely]
        if mistake.kind in NAMED:
            assert all(guess.pattern == mistake.kind for guess in likely), f"{case}, {mistake}: {report}"
        if not likely or mistake.kind == "ignores d_out":
            continue
        inputs = inputs_of(case)
        wrongs, rights = (gradients(b, case, inputs) for b in (mistake.f_backward, case.f_backward))
        floating = [k for k, g in enumerate(rights) if trees.is_floating(g)]
        changed = [k for k in floating if np.shape(wrongs[k]) != np.shape(rights[k])
                   or not np.array_equal(wrongs[k], rights[k])]
        for guess in likely:
            assert any(
                is_true(guess, np.asarray(wrongs[k], float), np.asarray(rights[k], float),
                        [np.asarray(rights[j], float) for j in floating if j != k])
                for k in changed
            ), f"{case}, {mistake}: {report}"
            checked += 1
        if mistake.kind not in ("broadcast", "term", "ignores d_out"):
            assert not any(guess.pattern == "broadcast" for guess in likely), f"{case}, {mistake}: {report}"
    assert checked > (500 if SLOW else 150)

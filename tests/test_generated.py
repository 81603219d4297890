"""gradcheck on right and wrong gradients that a generator draws, see generator.py."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import SLOW
from generator import PRIMITIVES, Composition, Mistake, by_differences, draw

from l2l_ref import gradcheck

FOUND = (60, 75, 104, 112, 251, 269, 668, 733, 2112, 3075, 3211, 3215, 4846, 6046, 7090, 8748)  # wrong once
SEEDS = sorted({*range(300 if SLOW else 40), *FOUND})
SEEN = 1e-3  # a mistake larger than this should be seen


@cache
def right(seed: int) -> tuple[Composition, Any]:
    composition = draw(seed)
    return composition, gradcheck(*composition.pair(), composition.inputs, kind=composition.kind,
                                  cache=composition.keeps)


@cache
def wrong(seed: int) -> tuple[Mistake | None, Any]:
    """The mistake of a seed and the report of it; None where no term changes anything beyond rounding."""
    composition = draw(seed)
    mistake = composition.mistake(np.random.default_rng([22, seed]))
    if mistake is None:
        return None, None
    return mistake, gradcheck(*composition.pair(mistake), composition.inputs, kind=composition.kind,
                              cache=composition.keeps)


def test_every_primitive_is_drawn():
    drawn = {step.primitive.name for seed in range(300) for step in draw(seed).steps}
    assert len(PRIMITIVES) >= 30 and drawn >= {p.name for p in PRIMITIVES}


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="np.longdouble is no wider than float64 here")
@pytest.mark.parametrize("seed", SEEDS)
def test_the_generator_is_right(seed):
    """Independent of gradcheck: differences in np.longdouble, where matrices are well conditioned."""
    composition = draw(seed, worst=10.0)
    cotangent = composition.cotangents()[0]
    expected = by_differences(composition, cotangent)
    out = np.abs(composition.run(composition.inputs)[0]).max()
    for gradient, difference, unit in zip(composition.gradients(np.longdouble, cotangent), expected, composition.units):
        # A gradient may vanish, as that of the sum of a softmax: then it is small beside a slope of ordinary size.
        limit = 1e-9 * np.abs(difference).max() + 1e-15 * out / unit
        assert np.abs(gradient - difference).max() <= limit, str(composition)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_code_stays_in_its_dtype(seed):
    composition = draw(seed)
    out, kept = composition.run(composition.inputs)
    gradients = composition.pull(np.ones_like(out), kept)
    assert {v.dtype for v in (out, *gradients)} == {composition.inputs[0].dtype}, str(composition)


@pytest.mark.parametrize("seed", SEEDS)
def test_right_gradients_are_never_wrong(seed):
    composition, report = right(seed)
    assert report.verdict != "FAIL", f"{composition}\n{report}"


@pytest.mark.parametrize("seed", SEEDS)
def test_wrong_gradients_never_pass(seed):
    mistake, report = wrong(seed)
    if mistake is None:
        pytest.skip("no term changes anything beyond rounding")
    below = mistake.error < min(report.checked_to, SEEN)  # the report says that so small an error would not be seen
    assert report.verdict != "PASS" or below, f"{draw(seed)}\n{mistake}\n{report}"


def test_few_wrong_gradients_are_left_undecided():
    seeds = [seed for seed in SEEDS if seed not in FOUND]  # those were chosen because they are difficult
    verdicts = [report.verdict for mistake, report in map(wrong, seeds) if mistake and mistake.error > SEEN]
    assert len(verdicts) > len(seeds) / 2
    assert verdicts.count("INCONCLUSIVE") < 0.05 * len(verdicts)

"""One check for each kind of argument, and what it says."""

import numpy as np
import pytest

import l2l_ref as l2l
from l2l_ref.checks import choice, told_value, whole_number, whole_numbers
from l2l_ref.seeds import child, generators


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_integers_of_every_type_are_whole_numbers(value):
    number = whole_number("n", value)
    assert number == 3 and type(number) is int


@pytest.mark.parametrize("value", [True, np.True_, 3.0, np.float64(3), "3", None, [3], 0, -1, np.array([3, 4])])
def test_everything_else_is_refused(value):
    with pytest.raises(ValueError, match="^n: expected a whole number >= 1, got "):
        whole_number("n", value)


def test_the_limits_are_named():
    assert whole_number("n", 0, least=0) == 0 and whole_number("n", None, optional=True) is None
    with pytest.raises(ValueError, match=r"^n: expected a whole number in 1\.\.5, got 6$"):
        whole_number("n", 6, most=5)
    with pytest.raises(ValueError, match="^n: expected None or a whole number >= 1, got 0$"):
        whole_number("n", 0, optional=True)


@pytest.mark.parametrize("values", [(1, True), (1.0, 2), "12", 3, (1, 2, 3), (0, 1), np.ones((2, 2), int)])
def test_a_row_of_whole_numbers_is_refused_whole(values):
    with pytest.raises(ValueError, match="^sizes: expected 2 whole numbers >= 1, got "):
        whole_numbers("sizes", values, count=2)


@pytest.mark.parametrize("make", [
    lambda n: l2l.Proposer(n), lambda n: l2l.CoordinatewiseLSTM(hidden=(n,)), lambda n: l2l.optimizees.Quadratic(n),
    lambda n: l2l.optimizees.MLP(batch=n), lambda n: l2l.minimize(sum, [(0, 1)], n),
    lambda n: l2l.black_boxes.GPFunctions(1, n, 1, 0), lambda n: l2l.baselines.RandomSearch(n, 2),
    lambda n: l2l.meta_train(l2l.CoordinatewiseLSTM(()), l2l.optimizees.Quadratic(1), epochs=n),
    lambda n: l2l.CoordinatewiseLSTM(threads=n),
])
@pytest.mark.parametrize("value", [True, 2.0, "2", -1])
def test_all_of_the_package_agrees_on_what_a_whole_number_is(make, value):
    with pytest.raises(ValueError, match="expected (None or |at most 64 )?(a )?whole number"):
        make(value)


def test_a_choice_lists_what_is_known():
    assert choice("cell", "lstm", ("lstm", "dnc")) == "lstm"
    for wrong in ("gru", None, 3, ["lstm"]):
        with pytest.raises(ValueError, match="^cell: expected one of lstm, dnc, got "):
            choice("cell", wrong, ("lstm", "dnc"))


def test_told_values():
    assert told_value(np.float32(2)) == 2 and told_value(np.array([3])) == 3
    assert all(np.isnan(told_value(v)) for v in (None, np.inf, np.nan, 10**400))
    for wrong in ("3", b"3", [1, 2], object()):
        with pytest.raises(ValueError, match="^value: expected a number or None"):
            told_value(wrong)


def test_a_child_is_the_same_whoever_asks():
    seed = np.random.SeedSequence(5)
    assert child(5, 1, 2).spawn_key == child(seed, 1, 2).spawn_key == child(child(5, 1), 2).spawn_key == (1, 2)
    assert seed.n_children_spawned == 0
    many, one = generators(5, range(4), 7), generators(seed, [2], 7)
    assert many[2].random() == one[0].random() != many[3].random()

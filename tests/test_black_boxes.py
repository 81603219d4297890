"""Benchmark functions, their instances, the repellers and the tables."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from l2l_ref.black_boxes import BENCHMARKS, REPELLERS, TABLES, draw_transform, read_table, repellers, transformed

each_benchmark = pytest.mark.parametrize("box", BENCHMARKS.values(), ids=BENCHMARKS)


@each_benchmark
def test_minima_are_those_of_the_literature(box):
    """To all digits that are given for them, at points with five digits."""
    digits = {"branin": 6, "goldstein-price": 12, "hartmann-3": 5, "hartmann-6": 5}[box.name]
    for point in box.minimizers:
        found = minimize(box, point, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000})
        assert round(found.fun, digits) == round(box.minimum, digits)
        np.testing.assert_allclose(found.x, point, atol=5e-5)


@each_benchmark
def test_nothing_in_the_box_is_below_the_minimum(box):
    values = box(box.from_unit(np.random.default_rng(0).random((100_000, box.dim))))
    assert values.shape == (100_000,) and values.min() > box.minimum - 1e-5
    assert values.min() < box.minimum + 0.35 * np.ptp(values)


def test_values_at_known_points():
    """By hand: Branin at (0, 0), Goldstein-Price at (0, 0) and (1, 1), Hartmann far from everything."""
    np.testing.assert_allclose(BENCHMARKS["branin"]([0, 0]), 36 + 20 - 10 / (8 * np.pi))
    np.testing.assert_allclose(BENCHMARKS["goldstein-price"]([[0, 0], [1, 1]]), [600, 1876])
    np.testing.assert_allclose(BENCHMARKS["hartmann-3"]([9, 9, 9]), 0, atol=1e-12)


@each_benchmark
def test_any_leading_shape_and_no_other_dimension(box):
    x = box.from_unit(np.random.default_rng(0).random((3, 2, box.dim)))
    np.testing.assert_array_equal(box(x), [[box(point) for point in row] for row in x])
    assert box(x[0, 0]).shape == () and box(x[:0]).shape == (0, 2)
    for wrong in (0.0, np.zeros(box.dim + 1), np.zeros((2, 1))):
        with pytest.raises(ValueError, match=rf"^x: expected shape \(\.\.\., d={box.dim}\), got "):
            box(wrong)


# Instances


@given(d=st.integers(1, 7), seed=st.integers(0, 2**32 - 1))
def test_a_transform_is_in_its_ranges_and_has_an_inverse(d, seed):
    transform = draw_transform(d, seed)
    assert sorted(transform.permutation) == list(range(d)) and set(transform.flip) <= {-1, 1}
    assert 0.9 <= transform.scale <= 1.1 and (np.abs(transform.translation) <= 0.1).all()
    u = np.random.default_rng(seed).random((4, d))
    np.testing.assert_allclose(transform.inverse(transform(u)), u, atol=1e-12)
    again = draw_transform(d, seed)
    np.testing.assert_array_equal(transform(u), again(u))


def test_a_transform_by_hand():
    transform = draw_transform(2, 0).__class__(np.array([1, 0]), np.array([1.0, -1.0]), 1.1, np.array([0.1, 0.0]))
    np.testing.assert_allclose(transform(np.array([0.5, 0.9])), [0.5 + 1.1 * 0.4 + 0.1, 0.5])
    np.testing.assert_allclose(transform(np.array([0.9, 0.5])), [0.6, 0.5 - 1.1 * 0.4])


@each_benchmark
def test_an_instance_has_its_minimum_at_the_mapped_points(box):
    known = 0
    for seed in range(30):
        instance = transformed(box, draw_transform(box.dim, seed))
        assert instance.dim == box.dim and instance.name == f"{box.name}, transformed"
        if instance.minimum is None:
            assert len(instance.minimizers) == 0
            continue
        known += 1
        np.testing.assert_allclose(instance(instance.minimizers), box.minimum, atol=2e-6)
        assert (box.to_unit(instance.minimizers) >= 0).all() and (box.to_unit(instance.minimizers) <= 1).all()
    assert known >= 15


def test_a_transform_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match="^transform: expected 2 dimensions, as branin has, got 3"):
        transformed(BENCHMARKS["branin"], draw_transform(3, 0))
    assert transformed(REPELLERS, draw_transform(6, 0)).minimum is None


# Repellers


def test_without_strength_the_particle_falls_freely():
    x = np.array([0.3, 0.4, 0.0, 0.9, 0.1, 0.0])
    path = repellers.paths(x)
    t = np.arange(1, repellers.STEPS + 1)
    np.testing.assert_allclose(path[:, 0], 0.5)
    np.testing.assert_allclose(path[:, 1], 1 - repellers.STEP**2 * t * (t + 1) / 2)


def test_a_repeller_pushes_directly_away_by_strength_over_distance():
    """After one step the velocity is that of gravity and the push; far off, the softening does not matter."""
    x = np.array([0.2, 0.6, 0.8, 0.9, 0.1, 0.0])
    move = (repellers.paths(x)[0] - repellers.START) / repellers.STEP**2 - repellers.GRAVITY
    away = repellers.START - x[:2]
    np.testing.assert_allclose(move, 0.8 * away / (away @ away + 1e-3))
    np.testing.assert_allclose(np.linalg.norm(move), 0.8 / np.linalg.norm(away), rtol=0.005)


def test_the_loss_is_the_discounted_reward_with_its_sign():
    x = np.random.default_rng(0).random((5, 6))
    for point, loss in zip(x, REPELLERS(x)):
        total = 0.0
        for t, p in enumerate(repellers.paths(point)):
            for centre, width, reward in zip(repellers.CENTRES, repellers.WIDTHS, repellers.REWARDS):
                total += 0.95**t * reward * np.exp(-((p - centre) @ (p - centre)) / (2 * width**2))
        np.testing.assert_allclose(loss, -total)
    assert (REPELLERS(x) <= 0).all() and REPELLERS.dim == 6


def test_there_is_something_to_find():
    losses = REPELLERS(np.random.default_rng(0).random((20_000, 6)))
    assert losses.min() < 3 * REPELLERS(np.zeros(6)) < 0
    assert np.median(losses) > -0.01


# Tables


def small_svm(folder, change=lambda lines: lines):
    """A made-up table in the form of the SVM grid."""
    lines = ["C,alpha,epsilon,error,time_s"]
    lines += [f"{10.0**i},{j},{k},{0.5 - 0.001 * ((i + 2 * j + 3 * k) % 41)},1.5"
              for i in range(25) for j in range(14) for k in range(4)]
    path = folder / "svm_on_grid.csv"
    path.write_text("\n".join(change(lines)) + "\n")
    return path


def test_a_table_is_looked_up_by_place(tmp_path):
    small_svm(tmp_path, lambda lines: [lines[0], *lines[:0:-1]])  # in any order of rows
    table = read_table("svm", tmp_path)
    places = np.array([[0, 0, 0], [24, 13, 3], [7, 5, 2]])
    expected = [0.5 - 0.001 * ((i + 2 * j + 3 * k) % 41) for i, j, k in places]
    np.testing.assert_allclose(table((places + 0.5) / [25, 14, 4]), expected)
    np.testing.assert_allclose(table(places / [24, 13, 3])[:2], expected[:2])  # both ends of the cube
    np.testing.assert_allclose(table([[-1, -1, -1], [2, 2, 2]]), expected[:2])
    assert table.minimum == 0.46 and (table(table.minimizers) == table.minimum).all()
    with pytest.raises(ValueError, match="^x: expected finite numbers"):
        table([np.nan, 0, 0])


@pytest.mark.parametrize("change, message", [
    (lambda lines: [], "expected the columns"),
    (lambda lines: ["a,b,c", *lines[1:]], "expected the columns"),
    (lambda lines: lines[:-1], "expected 1400 rows of numbers, got 1399"),
    (lambda lines: [*lines, lines[-1]], "expected 1400 rows of numbers, got 1401"),
    (lambda lines: [*lines[:5], "1,2,3,x,5", *lines[6:]], "expected 5 numbers in line 6, got '1,2,3,x,5'"),
    (lambda lines: [*lines[:5], "1,2,3", *lines[6:]], "expected 5 numbers in line 6"),
    (lambda lines: [*lines[:5], "1,0,1,nan,5", *lines[6:]], "expected finite numbers in line 6"),
    (lambda lines: [*lines[:-1], lines[-2]], "expected each combination of hyperparameters once"),
    (lambda lines: [*lines[:-1], "1,99,1,1,1"], "expected 14 different values in column 2, got 15"),
])
def test_a_broken_table_is_refused_in_one_line(tmp_path, change, message):
    path = small_svm(tmp_path, change)
    with pytest.raises(ValueError) as error:
        read_table("svm", tmp_path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"C,alpha,epsilon,error,time_s" + b",1" * 500_000])
def test_what_is_no_table_at_all_is_refused(tmp_path, content):
    path = tmp_path / "svm_on_grid.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_table("svm", tmp_path)
    assert str(error.value).startswith(f"{path}: expected ") and len(str(error.value)) < 300


def test_a_missing_table_is_not_found(tmp_path, monkeypatch):
    monkeypatch.delenv("L2L_REF_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="no data folder is named"):
        read_table("svm")
    with pytest.raises(FileNotFoundError, match="no file svm_on_grid.csv"):
        read_table("svm", tmp_path)
    with pytest.raises(ValueError, match="^name: expected one of svm, lda, logreg, got 'resnet'"):
        read_table("resnet", tmp_path)
    monkeypatch.setenv("L2L_REF_DATA", str(tmp_path))
    (tmp_path / "hpolib").mkdir()
    small_svm(tmp_path / "hpolib")
    assert read_table("svm").dim == 3


@pytest.mark.parametrize("name, best, at_zero", [("svm", 0.2411, 0.4733), ("lda", 1266.167382, 5258.112826),
                                                 ("logreg", 0.0685, 0.0906)])
def test_the_real_tables(name, best, at_zero):
    named = os.environ.get("L2L_REF_DATA")
    if not named or not any((Path(named) / part / TABLES[name].file).is_file() for part in (".", "hpolib")):
        pytest.skip("HPOLib's tables are not here: name their folder in L2L_REF_DATA")
    table = read_table(name)
    assert table.minimum == best and table(np.zeros(table.dim)) == at_zero

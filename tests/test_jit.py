"""The compiled gate functions: float64 within 3 ulp of the right double, float32 within 4e-7; and transposing.

Exact values come from libm in long double. libm's own double formulas are no reference for the last bit:
1 / (1 + exp(-x)) rounds three times.
"""

import ast

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.core.errors import TypingError

from l2l_ref.compiled.jit import ROWS, WIDTH, block_product, exp, kernel, log, sigmoid, tanh, transpose


@kernel
def tanh_of(a):
    for m in range(a.size):
        a[m] = tanh(a[m])


@kernel
def sigmoid_of(a):
    for m in range(a.size):
        a[m] = sigmoid(a[m])


@kernel
def exp_of(a):
    for m in range(a.size):
        a[m] = exp(a[m])


@kernel
def log_of(a):
    for m in range(a.size):
        a[m] = log(a[m])


def points(dtype):
    rng = np.random.default_rng(0)
    return np.concatenate([
        np.linspace(-20, 20, 400_001), rng.standard_normal(5_000), 1e-6 * rng.standard_normal(1000),
        [0.0, 1e-300, -1e-300, 300.0, -300.0, 1e30, -1e30],
    ]).astype(dtype)


def exact(function, x):
    """tanh or the logistic function in long double, which has 11 bits more than a double."""
    x = x.astype(np.longdouble)
    if function is tanh_of:
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is a double here")
@pytest.mark.parametrize("compiled", [tanh_of, sigmoid_of])
def test_float64_is_within_3_ulp(compiled):
    x = points(np.float64)
    y = x.copy()
    compiled(y)
    expected = exact(compiled, x).astype(np.float64)
    assert (np.abs(y - expected) <= np.maximum(3 * np.spacing(np.abs(expected)), 2.3e-308)).all()


@pytest.mark.parametrize("compiled", [tanh_of, sigmoid_of])
def test_float32_is_within_4e_7(compiled):
    x = points(np.float32)
    y = x.copy()
    compiled(y)
    assert y.dtype == np.float32
    assert np.abs(y - exact(compiled, x)).max() < 4e-7
    assert np.abs(y).max() <= 1


@pytest.mark.parametrize("compiled", [tanh_of, sigmoid_of])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_is_kept(compiled, dtype):
    y = np.array([np.nan, 1.0], dtype)
    compiled(y)
    assert np.isnan(y[0]) and np.isfinite(y[1])


def test_exp_of_what_is_not_positive():
    """Relative error below 1.2e-7 and 4e-16; as good as 0 below -87 and below -708."""
    x = -np.concatenate([np.linspace(0, 86.9, 500_001), [0.0, 1e-30, 1e-8], np.geomspace(87, 1e30, 50)])
    for dtype, tolerance in ((np.float32, 1.2e-7), (np.float64, 4e-16)):
        y = x.astype(dtype)
        right = np.exp(y.astype(np.longdouble))
        exp_of(y)
        assert y.dtype == dtype
        near = x > (-87 if dtype == np.float32 else -708)
        assert np.abs(y[near] / right[near] - 1).max() < tolerance
        assert (y[~near] >= 0).all() and y[~near].max() < 2e-38


def test_log_of_normal_numbers():
    """Within 3 ulp, in float64 that of libm; infinity is its own."""
    x = np.concatenate([np.geomspace(1.2e-38, 3e38, 500_001), 1 + np.linspace(-0.4, 0.6, 100_001), [1.0, 0.5, 2.0]])
    for dtype in (np.float32, np.float64):
        y = x.astype(dtype)
        right = np.log(y.astype(np.longdouble))
        log_of(y)
        assert y.dtype == dtype
        assert (np.abs(y - right) <= 3 * np.spacing(np.abs(right).astype(dtype))).all()
        y = np.array([np.inf, 1.0], dtype)
        log_of(y)
        assert y.tolist() == [np.inf, 0.0]


@given(rows=st.integers(0, 50), columns=st.integers(0, 50), dtype=st.sampled_from([np.float32, np.float64]))
def test_transpose_is_exact_and_stays_within_out(rows, columns, dtype):
    """Blocks of 8 or 16, the last of which overlap, and what is smaller than a block."""
    a = np.arange(1, rows * columns + 1, dtype=dtype).reshape(rows, columns)
    around = np.full(rows * columns + 64, -1, dtype)
    transpose(a, around[32 : 32 + a.size].reshape(columns, rows))
    assert (around[32 : 32 + a.size].reshape(columns, rows) == a.T).all()
    assert (around[:32] == -1).all() and (around[32 + a.size :] == -1).all()


def test_transpose_takes_contiguous_arrays():
    a = np.zeros((20, 20), np.float32)
    for arrays in ((a[:, ::2], a[:10].copy()), (a, a.T)):
        with pytest.raises(TypingError, match="transpose: expected C-contiguous arrays"):
            transpose(*arrays)


def innermost_loops(function):
    for loop in ast.walk(function):
        if isinstance(loop, ast.For) and not any(isinstance(n, ast.For) for n in ast.walk(loop) if n is not loop):
            yield loop


@pytest.mark.parametrize("path", sorted((ROOT / "l2l_ref" / "compiled").glob("*.py")), ids=lambda p: p.stem)
def test_loops_that_sum_in_any_order_write_into_no_array(path):
    """Whether such a loop is vectorised depends on where its arrays lie, and so would the last digits of the sum."""
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        decorators = map(ast.unparse, getattr(function, "decorator_list", ()))
        if "kernel_reassociating" not in decorators:
            continue
        for loop in innermost_loops(function):
            sums = any(isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
                       and isinstance(n.op, (ast.Add, ast.Sub)) for n in ast.walk(loop))
            writes = any(isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store) for n in ast.walk(loop))
            assert not (sums and writes), f"{path.name}, line {loop.lineno}"


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-13), (np.float32, 1e-4)])
@settings(max_examples=60)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 4), min_size=6, max_size=6), st.integers(0, 4), st.integers(0, 5))
def test_products_of_overlapping_rows(dtype, tolerance, seed, steps, outer, inner):
    """By loops, for each number of rows; the sums of a row are the same bits in every block that holds it."""
    a_row, a_outer, a_inner, b_outer, b_inner, start_row = steps
    n, rng = WIDTH // np.dtype(dtype).itemsize, np.random.default_rng(seed)
    a, b, start = (rng.standard_normal(120).astype(dtype) for _ in range(3))
    expected = np.empty((ROWS, n))
    for q, k in np.ndindex(ROWS, n):
        terms = [float(a[2 + q * a_row + u * a_outer + v * a_inner]) * float(b[3 + u * b_outer + v * b_inner + k])
                 for u in range(outer) for v in range(inner)]
        expected[q, k] = float(start[1 + q * start_row + k]) + sum(terms)
    blocks = []
    for rows in range(1, ROWS + 1):
        out = np.full(2 + ROWS * (n + 1), np.nan, dtype)
        block_product(rows, a, 2, a_row, a_outer, a_inner, b, 3, b_outer, b_inner, outer, inner, start, 1, start_row,
                      out, 2, n + 1)
        written = out[2:].reshape(ROWS, n + 1)
        assert np.isnan(out[:2]).all() and np.isnan(written[:, n]).all() and np.isnan(written[rows:]).all()
        np.testing.assert_allclose(written[:rows, :n], expected[:rows], rtol=0, atol=tolerance)
        blocks.append(written[0, :n].tobytes())
    assert len(set(blocks)) == 1

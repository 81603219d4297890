"""The compiled LSTM cell against the original, in batches of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref.compiled import lstm as twin
from l2l_ref.learned import cells
from l2l_ref.ops import lstm as original
from l2l_ref.trees import leaves


def drawn(seed, N, D, H, dtype, size=1.0):
    """x, state, params, d_state'."""
    rng = np.random.default_rng(seed)
    params = original.LSTMParams(*(a.astype(dtype) for a in original.lstm_init(rng, D, H)))
    x, state, d_state = ((size * rng.standard_normal((N, D))).astype(dtype),
                         *(original.LSTMState(*rng.standard_normal((2, N, H)).astype(dtype)) for _ in range(2)))
    return x, state, params, d_state


def both_ways(module, x, state, params, d_state, **settings):
    new, cache = module.lstm_cell(x, state, params, **settings)
    return [*new, *leaves(module.lstm_cell_backward(d_state, cache, **settings))]


# Rows: none, one, a tile less one, a part, a part and one. The gates' own error, which a saturated gate leaves nothing
# else of, is multiplied by the largest input.
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-13), (np.float32, 1e-5)])
@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([0, 1, 15, 64, 65, 130]), st.integers(0, 4), st.sampled_from([1, 5, 64]),
       st.sampled_from([1.0, 100.0]))
def test_the_twin_is_the_original(dtype, tolerance, seed, N, D, H, size):
    inputs = drawn(seed, N, D, H, dtype, size)
    before = [a.copy() for a in leaves(inputs)]
    for expected, came in zip(both_ways(original, *inputs), both_ways(twin, *inputs), strict=True):
        assert came.dtype == dtype and came.shape == expected.shape
        if came.size:
            scale = max(size, np.abs(expected).max())
            np.testing.assert_allclose(came, expected, rtol=0, atol=tolerance * scale)
    for a, b in zip(before, leaves(inputs)):
        np.testing.assert_array_equal(a, b)


def test_the_number_of_threads_does_not_show(monkeypatch):
    monkeypatch.setattr("l2l_ref.compiled.threads.WORTH_A_THREAD", 0)  # however little the work
    inputs = drawn(0, 300, 4, 64, np.float32)
    for one, two in zip(both_ways(twin, *inputs, threads=1), both_ways(twin, *inputs, threads=2), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("argument, shape", [("x", (3, 3)), ("h", (2, 4)), ("c", (3, 5)), ("W_x", (2, 15)),
                                             ("W_h", (4, 12)), ("b", (4,))])
def test_the_twin_refuses_what_the_original_refuses(argument, shape):
    x, (h, c), (W_x, W_h, b), _ = drawn(0, 3, 2, 4, np.float64)
    arrays = {"x": x, "h": h, "c": c, "W_x": W_x, "W_h": W_h, "b": b} | {argument: np.zeros(shape)}
    for module in (original, twin):
        with pytest.raises(ValueError, match="expected shape"):
            module.lstm_cell(arrays["x"], original.LSTMState(arrays["h"], arrays["c"]),
                             original.LSTMParams(arrays["W_x"], arrays["W_h"], arrays["b"]))


def test_the_choice_of_the_pair():
    assert cells.with_backend(cells.LSTM, "auto", 128).forward is twin.lstm_cell
    assert cells.with_backend(cells.LSTM, "auto", 1).forward is original.lstm_cell
    assert cells.with_backend(cells.LSTM, "numpy", 128).backward is original.lstm_cell_backward

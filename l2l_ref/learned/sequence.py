"""A recurrent cell on sequences of bits: its predictions, and their loss.

Dims: B sequences of T steps, D inputs and K bits per step.

    O1  state_t+1 = cell(x_t, state_t)                      any cell of cells.py
    O2  v_t = h_t+1 W + b                                   logits, (B, K)
    O3  L = sum_t m_t sum_k E3(v_tk, y_tk) / (K sum_t m_t)  mean over the bits that are asked for, in nats, (B,)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import require_shape
from ..ops.linear import linear, linear_backward
from ..ops.losses import sigmoid_cross_entropy, sigmoid_cross_entropy_backward
from ..trees import add, tree_map
from .cells import LSTM

if TYPE_CHECKING:
    from ..protocols import Array, RecurrentCell


class SequenceParams(NamedTuple):
    """The weights of a cell and of its output layer."""

    cell: Any
    W: Array  # (H, K)
    b: Array  # (K,)


def sequence_init(rng: np.random.Generator, inputs: int, bits: int, hidden: int,
                  cell: RecurrentCell = LSTM) -> SequenceParams:
    """Draw SequenceParams, float64."""
    H = cell.output_size(hidden)
    return SequenceParams(cell.init(rng, inputs, hidden), rng.normal(0, 1 / np.sqrt(H), (H, bits)), np.zeros(bits))


class SequenceCache(NamedTuple):
    steps: tuple[Any, ...]   # T caches of the cell
    linear: tuple[Any, ...]  # of each step, None where nothing is asked for
    losses: tuple[Any, ...]  # likewise
    asked: Array             # (T,) bool
    backward: Callable[..., Any]  # of the cell
    start: Any               # the state before the first step


def sequence(x: Array, y: Array, asked: Array, params: SequenceParams,
             cell: RecurrentCell = LSTM) -> tuple[tuple[Array, Array, tuple[Any, ...]], SequenceCache]:
    """O1 to O3.

    Parameters
    ----------
    x : (B, T, D)
    y : (B, T, K), whole numbers 0 or 1
    asked : (T,) bool
        m_t: the steps whose bits count.
    params : SequenceParams
    cell : Cell

    Returns
    -------
    (L (B,), v (B, T, K), states of all steps, a tuple), cache
        v is 0 where nothing is asked for. v and the states are there to be looked at; they get no gradient.

    Raises
    ------
    ValueError
        For shapes that do not fit, and when nothing is asked for.
    """
    require_shape("x", x, B=None, T=None, D=None)
    B, T, _ = x.shape
    require_shape("y", y, B=B, T=T, K=len(params.b))
    require_shape("asked", asked, T=T)
    if not asked.any():
        raise ValueError("asked: expected at least one step whose bits count")
    state = start = cell.initial_state(B, params.cell)
    v, L = np.zeros(y.shape, x.dtype), np.zeros(B, x.dtype)
    steps, outputs, losses, states = [], [], [], []
    for t in range(T):
        state, cache = cell.forward(x[:, t], state, params.cell)     # O1
        steps.append(cache)
        states.append(state)
        out_cache = loss_cache = None
        if asked[t]:
            v[:, t], out_cache = linear(state.h, params.W, params.b)  # O2
            bits, loss_cache = sigmoid_cross_entropy(v[:, t], y[:, t])  # O3
            L += bits.mean(axis=1) / asked.sum()                     # O3
        outputs.append(out_cache)
        losses.append(loss_cache)
    return (L, v, tuple(states)), SequenceCache(tuple(steps), tuple(outputs), tuple(losses), asked, cell.backward,
                                                start)


def sequence_backward(d_L: Array, cache: SequenceCache) -> tuple[Array, None, None, SequenceParams]:
    """d_L (B,) -> d_x (B, T, D), None, None, d_params; the last step first."""
    steps, outputs, losses, asked, cell_backward, start = cache
    d_state, d_cell, d_W, d_b, d_x = tree_map(np.zeros_like, start), None, 0, 0, []
    for t in reversed(range(len(steps))):
        if asked[t]:
            bits = losses[t].slope.shape[1]
            d_bits = np.repeat((d_L / asked.sum() / bits)[:, None], bits, axis=1).astype(d_L.dtype)  # O3
            d_v, _ = sigmoid_cross_entropy_backward(d_bits, losses[t])  # O3
            d_h, d_W_t, d_b_t = linear_backward(d_v, outputs[t])     # O2
            d_W, d_b = d_W + d_W_t, d_b + d_b_t                      # O2
            d_state = d_state._replace(h=d_state.h + d_h)            # O2, joins what came in
        d_x_t, d_state, d_step = cell_backward(d_state, steps[t])    # O1
        d_x.append(d_x_t)
        d_cell = d_step if d_cell is None else add(d_cell, d_step)
    return np.stack(d_x[::-1], axis=1), None, None, SequenceParams(d_cell, d_W, d_b)  # O1

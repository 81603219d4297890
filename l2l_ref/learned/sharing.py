"""The LSTM optimizer whose coordinates share information. Read coordinatewise.py first: this adds to its C1 to C4.

Dims: B functions, d coordinates each; n = B d rows, those of a function one after the other; L layers of H_l hidden
      units; W write heads.

    C12  z_0 = (what C1 makes of grad, i)
    C13  (h_l, c_l)' of C2, then C7 on h_l';  z_l = h_l'        for l = 1..L
    C14  (g / scale, r, a_1 .. a_W, b_1 .. b_W) = z_L W + b     (n, 2 + 2 W)
    C15  i', M' = the memory, read at r and written by a, b     C8 and C9, or C10 and C11

i is what was read in the step before. Without a memory, i, r, a and b are left out. The averaged units of h_l' are
read as their mean, by the layer above and, in the next step, by their own layer. The cells c_l are not averaged.

Meta-gradient: C5 holds as it stands, because it says nothing of how the optimizer makes its updates. But C13 and C15
mix the coordinates of a function, so they are backpropagated together, from the last step to the first.

docs/explanation/sharing.md derives the backward pass. The pairs of C7 to C11 are in ops/sharing.py.

Source: Andrychowicz et al. 2016, the appendix on sharing information between coordinates. Averaged units alone are
their LSTM+GAC; with a matrix it is NTM-BFGS, with a window NTM-L-BFGS. How a memory begins, and the numbers of units
and of pairs, are our choices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import require_shape
from ..ops.linear import linear, linear_backward
from ..ops.lstm import LSTMState
from ..ops.preprocessing import log_and_sign, log_and_sign_backward
from ..ops.sharing import (
    Window,
    WindowCache,
    global_average,
    global_average_backward,
    matrix_memory,
    matrix_memory_backward,
    window_memory,
    window_memory_backward,
)
from ..trees import add, tree_map
from . import coordinatewise
from .cells import LSTM
from .coordinatewise import Params

if TYPE_CHECKING:
    from ..protocols import Array, RecurrentCell

HEADS = 3  # W; with three heads, the update of BFGS can be written


class State(NamedTuple):
    layers: tuple[LSTMState, ...]  # L of them, (n, H_l)
    i: Array | None                # (B, d), what was read; None without a memory
    memory: Array | Window | None  # M (B, d, d), or a Window


def init_params(rng: np.random.Generator, hidden: Sequence[int], inputs: int, memory: bool) -> Params:
    """Draw Params as `coordinatewise.init_params` does, with an input and 1 + 2 `HEADS` outputs more for a memory."""
    layers, W, b = coordinatewise.init_params(rng, hidden, inputs + memory)
    if not memory:
        return Params(layers, W, b)
    heads = rng.normal(0, 0.1 / np.sqrt(len(W)), (len(W), 1 + 2 * HEADS))
    return Params(layers, np.concatenate([W, heads], axis=1), np.zeros(2 + 2 * HEADS))


def matrix_start(B: int, d: int, dtype: Any) -> Array:
    """M before the first step: the identity, with which quasi-Newton methods begin."""
    return np.broadcast_to(np.eye(d, dtype=dtype), (B, d, d)).copy()


def window_start(B: int, d: int, dtype: Any, pairs: int) -> Window:
    """The Window before the first step: zeros."""
    return Window(np.zeros((B, d, pairs), dtype), np.zeros((B, d, pairs), dtype))


def init_state(B: int, d: int, params: Params, memory: Array | Window | None) -> State:
    """The state before the first step: zeros, but for the memory, which is given."""
    layers = tuple(LSTM.initial_state(B * d, layer) for layer in params.layers)
    return State(layers, None if memory is None else np.zeros((B, d), params.W.dtype), memory)


class SharingStepCache(NamedTuple):
    preprocessing: Any            # the cache of log_and_sign, or None
    cells: tuple[Any, ...]        # the caches of lstm_cell, layer by layer
    linear: Any                   # the cache of linear
    memory: Any                   # the cache of matrix_memory or of window_memory, or None
    averaged: int
    scale: float
    backward: Callable[..., Any]  # lstm_cell_backward, or its twin


def sharing_step(gradient: Array, state: State, params: Params, averaged: int, p: float | None = None,
                 scale: float = 1.0, cell: RecurrentCell = LSTM) -> tuple[tuple[Array, State], SharingStepCache]:
    """C12 to C15: one step of the optimizer.

    Parameters
    ----------
    gradient : (B, d) array
        The gradients of B functions.
    state : State
    params : Params
        Its shapes say how many write heads there are.
    averaged : int
        How many units of each layer show their mean.
    p, scale, cell
        As in `l2l_ref.learned.coordinatewise.step`.

    Returns
    -------
    (g, state'), cache
        The update g (B, d), which is added to theta, and the next state.
    """
    require_shape("gradient", gradient, B=None, d=None)
    B, d = gradient.shape
    rows = gradient.reshape(B * d)
    z, preprocessing = (rows[:, None], None) if p is None else log_and_sign(rows, p)  # C12
    if state.i is not None:
        z = np.concatenate([z, state.i.reshape(B * d, 1)], axis=1)   # C12
    layers, cells = [], []
    for layer_state, layer in zip(state.layers, params.layers, strict=True):
        (h, c), cache = cell.forward(z, layer_state, layer)          # C13
        o, _ = global_average(h.reshape(B, d, h.shape[1]), averaged)  # C13
        z = o.reshape(h.shape)
        layers.append(LSTMState(z, c))
        cells.append(cache)
    y, output = linear(z, params.W, params.b)                        # C14
    y = y.reshape(B, d, y.shape[1])
    i, memory, memory_cache = None, None, None
    if state.memory is not None:
        read_and_write: Any = window_memory if isinstance(state.memory, Window) else matrix_memory
        a, b = np.split(y[:, :, 2:], 2, axis=2)                      # C14
        (i, memory), memory_cache = read_and_write(state.memory, y[:, :, 1], a, b)  # C15
    new_state = State(tuple(layers), i, memory)
    cache = SharingStepCache(preprocessing, tuple(cells), output, memory_cache, averaged, scale, cell.backward)
    return (scale * y[:, :, 0], new_state), cache


def sharing_step_backward(d_out: tuple[Array, State], cache: SharingStepCache) -> tuple[Array, State, Params]:
    """d_out = (d_g (B, d), d_state') -> d_gradient (B, d), d_state, d_params."""
    d_g, (d_layers_new, d_i_new, d_memory_new) = d_out
    B, d = d_g.shape
    memory = cache.memory
    d_i = d_memory = None
    d_y = cache.scale * d_g[:, :, None]                              # C14
    if memory is not None:
        backward: Any = window_memory_backward if isinstance(memory, WindowCache) else matrix_memory_backward
        d_memory, d_r, d_a, d_b = backward((d_i_new, d_memory_new), memory)  # C15
        d_y = np.concatenate([d_y, d_r[:, :, None], d_a, d_b], axis=2)  # C14
    d_z, d_W, d_bias = linear_backward(d_y.reshape(-1, d_y.shape[2]), cache.linear)  # C14
    d_layers, d_params = [], []
    for d_layer_state, cell in zip(reversed(d_layers_new), reversed(cache.cells)):
        d_o = (d_layer_state.h + d_z).reshape(B, d, d_z.shape[1])    # C13: h' goes on and goes up
        d_h = global_average_backward(d_o, cache.averaged).reshape(d_z.shape)  # C13
        d_z, d_layer_state, d_layer = cache.backward(LSTMState(d_h, d_layer_state.c), cell)  # C13
        d_layers.append(d_layer_state)
        d_params.append(d_layer)
    if memory is not None:
        d_z, d_i = d_z[:, :-1], d_z[:, -1].reshape(B, d)             # C12
    d_rows = d_z[:, 0] if cache.preprocessing is None else log_and_sign_backward(d_z, cache.preprocessing)  # C12
    d_state = State(tuple(reversed(d_layers)), d_i, d_memory)
    return d_rows.reshape(B, d), d_state, Params(tuple(reversed(d_params)), d_W, d_bias)


class SharingUnrollCache(NamedTuple):
    steps: tuple[SharingStepCache, ...]


def sharing_unroll(gradients: Array, state: State, params: Params, averaged: int, p: float | None = None,
                   scale: float = 1.0, cell: RecurrentCell = LSTM) -> tuple[tuple[Array, State], SharingUnrollCache]:
    """T >= 1 steps on given gradients. gradients (T, B, d) -> (updates (T, B, d), state'), cache."""
    updates, caches = [], []
    for gradient in gradients:
        (g, state), cache = sharing_step(gradient, state, params, averaged, p, scale, cell)
        updates.append(g)
        caches.append(cache)
    return (np.stack(updates), state), SharingUnrollCache(tuple(caches))


def sharing_unroll_backward(d_out: tuple[Array, State],
                            cache: SharingUnrollCache) -> tuple[Array, State, Params]:
    """d_out = (d_updates (T, B, d), d_state') -> d_gradients, d_state, d_params.

    Backpropagation through time, through the means and the memory as well: d_params is summed over the steps.
    """
    d_updates, d_state = d_out
    d_gradients: Array = np.empty_like(d_updates)
    d_params: Any = None
    for t in reversed(range(len(d_updates))):
        d_gradients[t], d_state, d_step = sharing_step_backward((d_updates[t], d_state), cache.steps[t])
        d_params = d_step if d_params is None else add(d_params, d_step)
    return d_gradients, d_state, d_params


def sharing_meta_gradient(gradients: Array, d_updates: Array, state: State, params: Params, averaged: int,
                          p: float | None = None, scale: float = 1.0, cell: RecurrentCell = LSTM) -> Params:
    """dL/dphi of one unroll: gradients and d_updates, which is C5, (T, B, d), and the state before the first step."""
    (_, last_state), cache = sharing_unroll(gradients, state, params, averaged, p, scale, cell)
    _, _, d_params = sharing_unroll_backward((d_updates, tree_map(np.zeros_like, last_state)), cache)
    return d_params

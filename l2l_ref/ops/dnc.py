"""The differentiable neural computer as a recurrent cell: an LSTM cell that drives an external memory.

Dims: B rows (a batch), D inputs, H hidden units of the controller, N slots of W numbers each, R read heads.

    Z1   z = (x, r)                                                   input and the previous reads, (B, D + R W)
    Z2   h', c' = lstm_cell(z, (h, c))                                the controller, L1 to L5
    Z3   xi = h' W_xi + b_xi                                          the interface vector
    Z4   r', memory' = memory_access(xi, memory)                      J1 to J5
    Z5   output: (h', r')                                              (B, H + R W)

A linear layer on this output is the output W_y h' + W_r r' of Graves et al.

Source: Graves et al. 2016, Methods, "Controller network".
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..checks import require_shape
from . import heads as memory_heads
from . import lstm
from .heads import Memory, interface_size, memory_initial_state
from .linear import LinearCache, linear, linear_backward
from .lstm import LSTMParams, LSTMState, lstm_init


class DNCParams(NamedTuple):
    controller: LSTMParams  # with D + R W inputs
    W_xi: np.ndarray        # (H, interface size)
    b_xi: np.ndarray        # (interface size,)


class DNCState(NamedTuple):
    h: np.ndarray  # (B, H + R W), the output of the cell: h and r
    c: np.ndarray  # (B, H), the cell state of the controller
    memory: Memory


class Pairs(NamedTuple):
    """The pairs of which the cell is made: the originals or their compiled twins."""

    lstm_cell: Callable[..., Any]
    lstm_cell_backward: Callable[..., Any]
    memory_access: Callable[..., Any]
    memory_access_backward: Callable[..., Any]


ORIGINALS = Pairs(lstm.lstm_cell, lstm.lstm_cell_backward, memory_heads.memory_access,
                  memory_heads.memory_access_backward)


class DNCCache(NamedTuple):
    controller: Any  # the cache of the controller
    interface: LinearCache
    access: Any      # the cache of the memory access
    read: tuple[int, int, int]  # (B, R, W), the shape of the reads
    pairs: Pairs


def dnc_init(rng: np.random.Generator, inputs: int, hidden: int, word: int, heads: int) -> DNCParams:
    """Draw DNCParams in float64; the weights of the inputs have standard deviation 1/sqrt(inputs).

    The weights do not depend on the number of slots.
    """
    read = heads * word
    scales = np.repeat([max(inputs, 1) ** -0.5, (read + hidden) ** -0.5], [inputs, read])
    controller = lstm_init(rng, inputs + read, hidden, input_scale=scales)
    size = interface_size(word, heads)
    return DNCParams(controller, rng.normal(0, 1 / np.sqrt(hidden), (hidden, size)), np.zeros(size))


def dnc_initial_state(
    rows: int, hidden: int, slots: int, word: int, heads: int, dtype: DTypeLike = np.float64
) -> DNCState:
    """The DNCState before the first step, all zeros."""
    return DNCState(np.zeros((rows, hidden + heads * word), dtype), np.zeros((rows, hidden), dtype),
                    memory_initial_state(rows, slots, word, heads, dtype))


def dnc_cell(
    x: np.ndarray, state: DNCState, params: DNCParams, grad_through_write: bool = True, pairs: Pairs = ORIGINALS
) -> tuple[DNCState, DNCCache]:
    """Z1 to Z5. x (B, D), state, params -> state', cache.

    ``grad_through_write`` is explained in `usage`. ``pairs`` computes the controller and the memory access. Raises
    ValueError if a shape does not fit.
    """
    output, c, memory = state
    B, R, _ = memory.w_r.shape
    W, H = memory.M.shape[2], c.shape[1]
    require_shape("output", output, B=B, size=H + R * W)
    require_shape("x", x, B=B, D=None)
    z = np.concatenate([x, output[:, H:]], axis=1)                   # Z1
    (h, c), controller_cache = pairs.lstm_cell(z, LSTMState(output[:, :H], c), params.controller)  # Z2
    xi, interface_cache = linear(h, params.W_xi, params.b_xi)        # Z3
    (read, memory), access_cache = pairs.memory_access(xi, memory, grad_through_write)  # Z4
    output = np.concatenate([h, read.reshape(B, R * W)], axis=1)     # Z5
    return DNCState(output, c, memory), DNCCache(controller_cache, interface_cache, access_cache, read.shape, pairs)


def dnc_cell_backward(d_state_new: DNCState, cache: DNCCache) -> tuple[np.ndarray, DNCState, DNCParams]:
    """d_state' -> d_x (B, D), d_state, d_params."""
    d_output, d_c, d_memory = d_state_new
    H, (_, R, W) = d_c.shape[1], cache.read
    d_read = d_output[:, H:].reshape(cache.read)                     # Z5
    d_xi, d_memory = cache.pairs.memory_access_backward((d_read, d_memory), cache.access)  # Z4
    d_h, d_W_xi, d_b_xi = linear_backward(d_xi, cache.interface)     # Z3
    d_h = d_output[:, :H] + d_h                                      # Z5, Z3
    d_z, (d_h, d_c), d_controller = cache.pairs.lstm_cell_backward(LSTMState(d_h, d_c), cache.controller)  # Z2
    D = d_z.shape[1] - R * W
    d_output = np.concatenate([d_h, d_z[:, D:]], axis=1)             # Z1
    return d_z[:, :D], DNCState(d_output, d_c, d_memory), DNCParams(d_controller, d_W_xi, d_b_xi)  # Z1

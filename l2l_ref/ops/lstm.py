"""The LSTM cell: one step forward, one step backward.

Dims:    N rows (a batch), D inputs, H hidden units.
Layout:  the four gates lie side by side in the last axis, in the order i f g o: column block 0 is
         the input gate, 1 the forget gate, 2 the candidate, 3 the output gate.
Bias:    one vector b. The forget bias is merely the initial value of its second block
         (``lstm_init`` puts 1 there); nothing is added at run time.

    L1  a  = x W_x + h W_h + b                          (N, 4H)
    L2  i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
    L3  g  = tanh(a_g)
    L4  c' = f * c + i * g                              (N, H)
    L5  h' = o * tanh(c')                               (N, H)

Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, no peepholes.
Twin: compiled/lstm.py.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..checks import require_shape
from .activations import sigmoid


class LSTMParams(NamedTuple):
    W_x: np.ndarray  # (D, 4H)
    W_h: np.ndarray  # (H, 4H)
    b: np.ndarray    # (4H,)


class LSTMState(NamedTuple):
    h: np.ndarray  # (N, H), the output of the cell
    c: np.ndarray  # (N, H), the cell state


class LSTMCache(NamedTuple):
    x: np.ndarray       # (N, D)
    h: np.ndarray       # (N, H), before the step
    c: np.ndarray       # (N, H), before the step
    W_x: np.ndarray     # (D, 4H)
    W_h: np.ndarray     # (H, 4H)
    i: np.ndarray       # (N, H)
    f: np.ndarray       # (N, H)
    g: np.ndarray       # (N, H)
    o: np.ndarray       # (N, H)
    tanh_c: np.ndarray  # (N, H), tanh(c')


def lstm_init(
    rng: np.random.Generator, inputs: int, hidden: int, forget_bias: float = 1.0, input_scale: ArrayLike | None = None
) -> LSTMParams:
    """Draw LSTMParams for D = inputs and H = hidden, in float64.

    Weights are normal with standard deviation 1/sqrt(D + H). ``input_scale``, one number or one per input (D,), is the
    standard deviation of W_x instead. Biases are 0, except those of the forget gate.
    """
    scale = 1 / np.sqrt(inputs + hidden)
    W_x = rng.normal(0, np.reshape(scale if input_scale is None else input_scale, (-1, 1)), (inputs, 4 * hidden))
    W_h = rng.normal(0, scale, (hidden, 4 * hidden))
    b = np.repeat([0.0, forget_bias, 0.0, 0.0], hidden)
    return LSTMParams(W_x, W_h, b)


def lstm_cell(x: np.ndarray, state: LSTMState, params: LSTMParams) -> tuple[LSTMState, LSTMCache]:
    """L1 to L5. x (N, D), state (h, c) of (N, H), params -> state' (h', c'), cache.

    Raises ValueError if a shape does not fit.
    """
    h, c = state
    W_x, W_h, b = params
    require_shape("W_h", W_h, H=None, gates=None)
    H = len(W_h)
    require_shape("W_h", W_h, H=H, gates=4 * H)
    require_shape("W_x", W_x, D=None, gates=4 * H)
    require_shape("b", b, gates=4 * H)
    require_shape("x", x, N=None, D=len(W_x))
    N = len(x)
    require_shape("h", h, N=N, H=H)
    require_shape("c", c, N=N, H=H)

    a = x @ W_x + h @ W_h + b                                        # L1
    a_i, a_f, a_g, a_o = np.split(a, 4, axis=1)
    (i, _), (f, _), (o, _) = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)  # L2
    g = np.tanh(a_g)                                                 # L3
    c_new = f * c + i * g                                            # L4
    tanh_c = np.tanh(c_new)
    h_new = o * tanh_c                                               # L5
    return LSTMState(h_new, c_new), LSTMCache(x, h, c, W_x, W_h, i, f, g, o, tanh_c)


def lstm_cell_backward(
    d_state_new: LSTMState, cache: LSTMCache
) -> tuple[np.ndarray, LSTMState, LSTMParams]:
    """d_state' (d_h', d_c') of (N, H) -> d_x (N, D), d_state (d_h, d_c), d_params."""
    d_h_new, d_c_new = d_state_new
    x, h, c, W_x, W_h, i, f, g, o, tanh_c = cache

    d_o = d_h_new * tanh_c                                           # L5
    d_c_new = d_c_new + d_h_new * o * (1 - tanh_c**2)                # L5, joins what came in
    d_f, d_c = d_c_new * c, d_c_new * f                              # L4
    d_i, d_g = d_c_new * g, d_c_new * i                              # L4
    d_a = np.concatenate(
        [
            d_i * i * (1 - i),                                       # L2
            d_f * f * (1 - f),                                       # L2
            d_g * (1 - g**2),                                        # L3
            d_o * o * (1 - o),                                       # L2
        ],
        axis=1,
    )
    d_params = LSTMParams(x.T @ d_a, h.T @ d_a, d_a.sum(axis=0))     # L1
    return d_a @ W_x.T, LSTMState(d_a @ W_h.T, d_c), d_params        # L1

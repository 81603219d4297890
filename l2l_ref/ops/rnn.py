"""The vanilla recurrent cell: equation (1) of the review.

Dims: N rows (a batch), D inputs, H hidden units.

    R1  h' = tanh(x W_x + h W_h + b)      x (N, D), h (N, H)  ->  h' (N, H)

The review leaves the activation function open (usually logistic, tanh or ReLU); here it is tanh.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

from typing import NamedTuple

import numpy as np

from ..checks import require_shape
from .activations import TanhCache, tanh, tanh_backward


class RNNParams(NamedTuple):
    W_x: np.ndarray  # (D, H)
    W_h: np.ndarray  # (H, H)
    b: np.ndarray    # (H,)


class RNNState(NamedTuple):
    h: np.ndarray    # (N, H), the output of the cell


class RNNCache(NamedTuple):
    x: np.ndarray    # (N, D)
    h: np.ndarray    # (N, H), before the step
    W_x: np.ndarray  # (D, H)
    W_h: np.ndarray  # (H, H)
    tanh: TanhCache


def rnn_init(rng: np.random.Generator, inputs: int, hidden: int) -> RNNParams:
    """Draw RNNParams for D = inputs and H = hidden, in float64.

    Weights are normal with standard deviation 1/sqrt(D + H). The bias is 0.
    """
    scale = 1 / np.sqrt(inputs + hidden)
    return RNNParams(rng.normal(0, scale, (inputs, hidden)), rng.normal(0, scale, (hidden, hidden)), np.zeros(hidden))


def rnn_cell(x: np.ndarray, state: RNNState, params: RNNParams) -> tuple[RNNState, RNNCache]:
    """R1. x (N, D), state (h,) of (N, H), params -> state' (h',), cache. Raises ValueError on other shapes."""
    (h,) = state
    W_x, W_h, b = params
    require_shape("W_x", W_x, D=None, H=None)
    D, H = W_x.shape
    require_shape("W_h", W_h, H=H, K=H)
    require_shape("b", b, H=H)
    require_shape("x", x, N=None, D=D)
    require_shape("h", h, N=len(x), H=H)
    h_new, tanh_cache = tanh(x @ W_x + h @ W_h + b)                  # R1
    return RNNState(h_new), RNNCache(x, h, W_x, W_h, tanh_cache)


def rnn_cell_backward(d_state_new: RNNState, cache: RNNCache) -> tuple[np.ndarray, RNNState, RNNParams]:
    """d_state' (d_h',) of (N, H) -> d_x (N, D), d_state (d_h,), d_params."""
    (d_h_new,) = d_state_new
    x, h, W_x, W_h, tanh_cache = cache
    d_a = tanh_backward(d_h_new, tanh_cache)                         # R1
    d_params = RNNParams(x.T @ d_a, h.T @ d_a, d_a.sum(axis=0))      # R1
    return d_a @ W_x.T, RNNState(d_a @ W_h.T), d_params              # R1

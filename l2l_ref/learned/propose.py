"""One proposal of the learned black-box optimizer: from what it is fed to the next query, forward and backward.

Dims: B functions at once on the unit cube of d dimensions, H outputs of the cell.

    X2  state_t+1 = cell(u_t, state_t)                               any cell whose state has an ``h`` (B, H)
    X3  v_t = h_t+1 W + b                                            (B, d), or v_ti = h_t+1,i W + b of a shared cell
    X4  x_t = sigmoid(v_t)   or   x_t = min(max(v_t, 0), 1)          the query, in the cube
    X5  e_t = 0              or   e_t = sum_i max(v_ti - 1, 0) + max(-v_ti, 0)   how far outside of it v_t is

u_t (B, d + 2) is X1 of trajectory.py. ``propose`` keeps a cache for its backward pass; the three functions named
``.._inference``, one for each cell, keep none and are compiled. Twin: compiled/propose.py.

Source: Chen et al. 2017; review, equations (6) and (11). Chen et al. do not say how a query is kept in the cube. Both a
sigmoid and a linear output with a penalty are in use; the sigmoid draws queries to the middle. We chose to evaluate a
linear output at the nearest point of the cube, and to penalise X5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ..ops import dnc
from ..ops.activations import sigmoid, sigmoid_backward
from ..ops.linear import linear, linear_backward
from .cells import LSTM
from .shared_cell import shared_cell

if TYPE_CHECKING:
    from ..protocols import Array, RecurrentCell

Output = Literal["sigmoid", "linear"]
OUTPUTS = ("sigmoid", "linear")


class ProposerParams(NamedTuple):
    """The weights of a proposer."""

    cell: Any  # LSTMParams or DNCParams
    W: Array   # (H, d), or (H, 1) where the coordinates share it
    b: Array   # (d,) or (1,)


def proposer_init(rng: np.random.Generator, dim: int, hidden: int, cell: RecurrentCell = LSTM,
                  output: Output = "sigmoid") -> ProposerParams:
    """Draw ProposerParams, float64. Queries start near the middle of the cube: W is small, and b is 0 or 1/2."""
    H, outputs = cell.output_size(hidden), 1 if getattr(cell, "shared", False) else dim
    return ProposerParams(cell.init(rng, dim + 2, hidden), rng.normal(0, 0.1 / np.sqrt(H), (H, outputs)),
                          np.full(outputs, 0.0 if output == "sigmoid" else 0.5))


class ProposeCache(NamedTuple):
    cell: Any       # the cache of the cell
    linear: Any
    outputs: int    # columns of W
    sigmoid: Any    # or None
    into_cube: IntoCubeCache | None
    backward: Callable[..., Any]  # of the cell


def propose(u: Array, state: Any, params: ProposerParams, output: Output = "sigmoid",
            cell: RecurrentCell = LSTM) -> tuple[tuple[Array, Array, Any], ProposeCache]:
    """X2 to X5. u (B, d + 2), state, params -> (x (B, d), e (B,), state'), cache.

    Raises ValueError for an unknown output and for shapes that do not fit.
    """
    if output not in OUTPUTS:
        raise ValueError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r}")
    state, cell_cache = cell.forward(u, state, params.cell)          # X2
    v, linear_cache = linear(state.h.reshape(-1, len(params.W)), params.W, params.b)      # X3
    v = v.reshape(len(u), u.shape[1] - 2)                            # X3
    sigmoid_cache = cube_cache = None
    if output == "sigmoid":
        x, sigmoid_cache = sigmoid(v)                                # X4
        e = np.zeros(len(v), v.dtype)                                # X5
    else:
        (x, e), cube_cache = into_cube(v)                            # X4, X5
    return (x, e, state), ProposeCache(cell_cache, linear_cache, len(params.b), sigmoid_cache, cube_cache,
                                       cell.backward)


def propose_backward(d_out: tuple[Array, Array, Any],
                     cache: ProposeCache) -> tuple[Array, Any, ProposerParams]:
    """(d_x (B, d), d_e (B,), d_state') -> d_u (B, d + 2), d_state, d_params."""
    d_x, d_e, d_state = d_out
    cell_cache, linear_cache, outputs, sigmoid_cache, cube_cache, cell_backward = cache
    if cube_cache is None:
        d_v = sigmoid_backward(d_x, sigmoid_cache)                   # X4
    else:
        d_v = into_cube_backward((d_x, d_e), cube_cache)             # X4, X5
    d_h, d_W, d_b = linear_backward(d_v.reshape(d_v.size // outputs, outputs), linear_cache)  # X3
    d_state = d_state._replace(h=d_state.h + d_h.reshape(d_state.h.shape))  # X3, joins what came in
    d_u, d_state, d_cell = cell_backward(d_state, cell_cache)        # X2
    return d_u, d_state, ProposerParams(d_cell, d_W, d_b)


def propose_inference(u: Array, state: Any, params: ProposerParams, output: Output = "sigmoid") -> tuple[Array, Any]:
    """`propose` with an LSTM cell and without a cache: u (B, d + 2), state -> x (B, d), state'.

    The cell is written out in few NumPy calls, because for one function a call costs more than its arithmetic. Raises
    ValueError for shapes that do not fit.
    """
    (W_x, W_h, b), W, b_v = params
    h, c = state
    if len(h) != len(u) or u.shape[1] != len(W_x):
        raise ValueError(f"u: expected shape ({len(h)}, {len(W_x)}), got {u.shape}")
    H = len(W)
    a = u @ W_x                                                      # L1
    a += h @ W_h                                                     # L1
    a += b                                                           # L1
    g = np.tanh(a[:, 2 * H : 3 * H])                                 # L3
    s = _logistic(a)                                                 # L2
    c = s[:, H : 2 * H] * c + s[:, :H] * g                           # L4
    h = s[:, 3 * H :] * np.tanh(c)                                   # L5
    return _query(h, W, b_v, output), type(state)(h, c)


def dnc_propose_inference(u: Array, state: Any, params: ProposerParams,
                          output: Output = "sigmoid") -> tuple[Array, Any]:
    """`propose` with a differentiable neural computer and without a cache: u (B, d + 2), state -> x (B, d), state'."""
    state, _ = dnc.dnc_cell(u, state, params.cell)                   # X2
    return _query(state.h, params.W, params.b, output), state


def shared_propose_inference(u: Array, state: Any, params: ProposerParams,
                             output: Output = "sigmoid") -> tuple[Array, Any]:
    """`propose` with an LSTM that the coordinates share, without a cache: u (B, d + 2), state -> x (B, d), state'."""
    state, _ = shared_cell(u, state, params.cell)                    # X2
    return _query(state.h, params.W, params.b, output)[:, :, 0], state


def _query(h: Array, W: Array, b: Array, output: Output) -> Array:
    """X3 and X4."""
    v = h @ W + b                                                    # X3
    return _logistic(v) if output == "sigmoid" else v.clip(0, 1)     # X4


def _logistic(a: Array) -> Array:
    """A1 in place, by tanh: it overflows at neither end, so no branch is needed."""
    a *= 0.5
    np.tanh(a, out=a)
    a += 1
    a *= 0.5
    return a


class IntoCubeCache(NamedTuple):
    v: Array  # (..., d)


def into_cube(v: Array) -> tuple[tuple[Array, Array], IntoCubeCache]:
    """X4 and X5 of a linear output. v (..., d) -> (x (..., d), e (...)), cache."""
    x = np.minimum(np.maximum(v, 0), 1)                              # X4
    e = (np.maximum(v - 1, 0) + np.maximum(-v, 0)).sum(axis=-1)      # X5
    return (x, e), IntoCubeCache(v)


def into_cube_backward(d_out: tuple[Array, Array], cache: IntoCubeCache) -> Array:
    """(d_x (..., d), d_e (...)) -> d_v (..., d). On the edge of the cube, the derivative is that of its inside."""
    d_x, d_e = d_out
    v = cache.v
    below, above = v.real < 0, v.real > 1
    d_v = np.where(below | above, np.zeros_like(d_x), d_x)           # X4
    return d_v + d_e[..., None] * (above.astype(d_x.dtype) - below)  # X5

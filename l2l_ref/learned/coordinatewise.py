"""The coordinatewise optimizer, the NumPy original: read this from top to bottom.

Source: Andrychowicz et al. 2016, sections 2 and 2.1 and Appendix A; equations (3) to (5) of the review.

Dims:    n coordinates, each a row with a state of its own; T steps; L layers; D_l inputs and H_l
         hidden units in layer l.
Network: one small network m, with the same weights phi for every coordinate.

    C1  z_0 = log_and_sign(grad)  (n, 2), or grad itself (n, 1) without preprocessing
    C2  (h_l, c_l)' = lstm_cell(z_l-1, (h_l, c_l)),  z_l = h_l'          for l = 1..L
    C3  g = scale * (z_L W + b)                                          (n,)
    C4  theta' = theta + g

With a vanilla recurrent cell, C2 is h_l' = rnn_cell(z_l-1, h_l). The weights say which of the two it is.

Meta-gradient: the loss L of an unroll of T steps is the sum over s = 1..T of w_s f(theta_s). The gradient
of f is assumed not to depend on phi: the dashed edges in Figure 2 of Andrychowicz et al. 2016 are dropped. Then

    C5  dL/dg_t = sum over s > t of w_s grad f(theta_s)

is known from the forward pass, and each coordinate is backpropagated alone. With the dashed edges, the gradient is

    C6  dL/dg_t = lambda_t+1,  lambda_t = w_t grad f(theta_t) + H_t mu_t + lambda_t+1,  lambda_T+1 = 0

where H_t holds the second derivatives of f at theta_t, and mu_t is the gradient of L in grad_t that C1 to C3 pass back.

docs/explanation/meta-gradient.md derives both.

Where grad is nan or infinite, `step_inference` holds the coordinate: g = 0 and (h_l, c_l)' = (h_l, c_l). `step`, and
with it the meta-gradient, is C1 to C3 for every input.

Twin: compiled/coordinatewise.py, of the LSTM alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..ops.linear import linear, linear_backward
from ..ops.lstm import LSTMParams, LSTMState, lstm_init
from ..ops.preprocessing import log_and_sign, log_and_sign_backward
from ..ops.rnn import RNNParams, RNNState
from ..trees import add, tree_map
from .cells import LSTM, RNN

if TYPE_CHECKING:
    from ..protocols import Array, RecurrentCell


class Params(NamedTuple):
    """phi, the weights that meta-training learns."""

    layers: tuple[LSTMParams | RNNParams, ...]  # L of them, all of one kind
    W: Array                                    # (H_L, 1)
    b: Array                                    # (1,)


State = tuple[LSTMState | RNNState, ...]  # one for each layer, (n, H_l)


def cell_of(params: Params) -> RecurrentCell:
    """The cell that these weights are of, with its original pair. Without layers, it is the LSTM."""
    return RNN if any(isinstance(layer, RNNParams) for layer in params.layers) else LSTM


def input_size(p: float | None) -> int:
    """D_1: how many features C1 makes of a gradient."""
    return 1 if p is None else 2


def init_params(rng: np.random.Generator, hidden: Sequence[int] = (20, 20), inputs: int = 1,
                init: Callable[..., Any] = lstm_init) -> Params:
    """Draw Params for layers of ``hidden`` units on ``inputs`` features per coordinate, float64.

    ``init`` draws the weights of a layer: ``lstm_init`` or ``rnn_init``. The output layer has small weights, so that
    the updates of an untrained optimizer are small.
    """
    sizes = (inputs, *hidden)
    layers = tuple(init(rng, D, H) for D, H in zip(sizes, hidden))
    W = rng.normal(0, 0.1 / np.sqrt(sizes[-1]), (sizes[-1], 1))
    return Params(layers, W, np.zeros(1))


def init_state(n: int, params: Params) -> State:
    """The state of n coordinates before their first step: zeros, one LSTMState or RNNState per layer.

    Rows are coordinates, (n, H_l). In memory the coordinates lie next to each other (Fortran order): NumPy reads them
    as fast as any others, and the compiled twin needs no copy.
    """
    no_rows = tuple(cell_of(params).initial_state(0, layer) for layer in params.layers)
    return tree_map(lambda a: np.zeros((a.shape[1], n), a.dtype).T, no_rows)


class StepCache(NamedTuple):
    preprocessing: Any           # the cache of log_and_sign, or None
    cells: tuple[Any, ...]       # the caches of the cell, layer by layer
    linear: Any                  # the cache of linear
    scale: float
    backward: Callable[..., Any]  # lstm_cell_backward, its twin, or rnn_cell_backward


def step(gradient: Array, state: State, params: Params, p: float | None = None, scale: float = 1.0,
         cell: RecurrentCell | None = None) -> tuple[tuple[Array, State], StepCache]:
    """C1 to C3: one step of the optimizer.

    Parameters
    ----------
    gradient : (n,) array
        The gradient of the optimizee, one number per coordinate.
    state : tuple of LSTMState or of RNNState, each (n, H_l)
    params : Params
    p : float or None
        The constant of log_and_sign; None feeds the gradient itself.
    scale : float
        The output scale.
    cell : Cell, optional
        That of the weights, with another pair than the original one.

    Returns
    -------
    (g, state'), cache
        The update g (n,), which is added to theta, and the next state.
    """
    if p is None:
        z, preprocessing = gradient[:, None], None                   # C1
    else:
        z, preprocessing = log_and_sign(gradient, p)                 # C1
    cell = cell or cell_of(params)
    new_state, cells = [], []
    for layer_state, layer in zip(state, params.layers, strict=True):
        layer_state, cache = cell.forward(z, layer_state, layer)     # C2
        z = layer_state.h
        new_state.append(layer_state)
        cells.append(cache)
    y, output = linear(z, params.W, params.b)                        # C3
    return (scale * y[:, 0], tuple(new_state)), StepCache(preprocessing, tuple(cells), output, scale, cell.backward)


def step_backward(d_out: tuple[Array, State], cache: StepCache) -> tuple[Array, State, Params]:
    """d_out = (d_g (n,), d_state') -> d_gradient (n,), d_state, d_params."""
    d_g, d_new_state = d_out
    d_z, d_W, d_b = linear_backward(cache.scale * d_g[:, None], cache.linear)  # C3
    d_state, d_layers = [], []
    for d_layer_state, cell in zip(reversed(d_new_state), reversed(cache.cells)):
        d_h = d_layer_state.h + d_z                                  # C2: h goes on and goes up
        d_z, d_layer_state, d_layer = cache.backward(d_layer_state._replace(h=d_h), cell)
        d_state.append(d_layer_state)
        d_layers.append(d_layer)
    if cache.preprocessing is None:
        d_gradient = d_z[:, 0]                                       # C1
    else:
        d_gradient = log_and_sign_backward(d_z, cache.preprocessing)  # C1
    return d_gradient, tuple(reversed(d_state)), Params(tuple(reversed(d_layers)), d_W, d_b)


class UnrollCache(NamedTuple):
    steps: tuple[StepCache, ...]


def unroll(gradients: Array, state: State, params: Params, p: float | None = None, scale: float = 1.0,
           cell: RecurrentCell | None = None) -> tuple[tuple[Array, State], UnrollCache]:
    """T >= 1 steps on given gradients. gradients (T, n) -> (updates (T, n), state'), cache."""
    updates, caches = [], []
    for gradient in gradients:
        (g, state), cache = step(gradient, state, params, p, scale, cell)
        updates.append(g)
        caches.append(cache)
    return (np.stack(updates), state), UnrollCache(tuple(caches))


def unroll_backward(d_out: tuple[Array, State], cache: UnrollCache) -> tuple[Array, State, Params]:
    """d_out = (d_updates (T, n), d_state') -> d_gradients (T, n), d_state, d_params.

    Backpropagation through time: d_params is summed over the steps.
    """
    d_updates, d_state = d_out
    d_gradients: Array = np.empty_like(d_updates)
    d_params: Any = None
    for t in reversed(range(len(d_updates))):
        d_gradients[t], d_state, d_step = step_backward((d_updates[t], d_state), cache.steps[t])
        d_params = d_step if d_params is None else add(d_params, d_step)
    return d_gradients, d_state, d_params


def packed(params: Params) -> Any:
    """The weights in the form in which `step_inference` reads them fastest: here, as they are."""
    return params


def step_inference(gradient: Array, state: State, params: Any, p: float | None = None, scale: float = 1.0,
                   threads: int | None = None, spare: State | None = None) -> tuple[Array, State, int]:
    """``step`` without its cache, which holds coordinates whose gradient is not finite. Has a compiled twin.

    gradient (n,), state -> g (n,), state', and the number of coordinates that were held.

    ``params`` are Params, or what `packed` made of them. ``threads`` is for the twin: here BLAS decides. ``spare`` is a
    state that nobody needs, and that shares no memory with ``state``: the twin writes state' into its arrays.
    """
    finite = np.isfinite(gradient)
    if np.count_nonzero(finite) == len(gradient):
        (g, new_state), _ = step(gradient, state, params, p, scale)
        return g, new_state, 0
    held = ~finite
    (g, new_state), _ = step(np.where(held, gradient.dtype.type(0), gradient), state, params, p, scale)
    g[held] = 0
    for layer, new_layer in zip(state, new_state):
        for old, new in zip(layer, new_layer):
            new[held] = old[held]
    return g, new_state, int(np.count_nonzero(held))


def suffix_sums(loss_gradients: Array) -> Array:
    """C5. w_s grad f(theta_s) for s = 1..T, (T, n) -> dL/dg_t for t = 0..T-1, (T, n)."""
    return np.cumsum(loss_gradients[::-1], axis=0)[::-1]             # C5


def meta_gradient(gradients: Array, d_updates: Array, state: State, params: Params, p: float | None = None,
                  scale: float = 1.0, threads: int | None = None) -> Params:
    """dL/dphi of one unroll. Has a compiled twin.

    Parameters
    ----------
    gradients : (T, n) array
        The gradients that the optimizer was given at theta_0 .. theta_T-1.
    d_updates : (T, n) array
        dL/dg_t, from ``suffix_sums``.
    state : tuple of LSTMState or of RNNState
        The state before the first step. It is a constant: here backpropagation is truncated.
    params, p, scale
        As in `step`.
    threads : int or None
        For the twin.

    Returns
    -------
    Params
        The gradient of every weight.
    """
    (_, last_state), cache = unroll(gradients, state, params, p, scale)
    _, _, d_params = unroll_backward((d_updates, zeros_like_state(last_state)), cache)
    return d_params


def second_order_meta_gradient(
    gradients: Array, loss_gradients: Array, hessian_products: Sequence[Callable[[Array], Array]], state: State,
    params: Params, p: float | None = None, scale: float = 1.0, cell: RecurrentCell | None = None,
) -> Params:
    """dL/dphi of one unroll with the dashed edges: C6. Only the steps before the unroll are taken as constant.

    Parameters
    ----------
    gradients : (T, n) array
        The gradients that the optimizer was given at theta_0 .. theta_T-1.
    loss_gradients : (T, n) array
        w_s grad f(theta_s) for s = 1..T.
    hessian_products : sequence of T callables
        v (n,) -> H_t v (n,), at theta_0 .. theta_T-1.
    state, params, p, scale, cell
        As in `step` and `meta_gradient`.

    Returns
    -------
    Params
        The gradient of every weight.
    """
    (_, last_state), cache = unroll(gradients, state, params, p, scale, cell)
    d_g, d_state = np.zeros_like(gradients[0]), zeros_like_state(last_state)
    d_params: Any = None
    for t in reversed(range(len(gradients))):
        d_g = d_g + loss_gradients[t]                                # C6, of theta_t+1
        d_gradient, d_state, d_step = step_backward((d_g, d_state), cache.steps[t])
        d_params = d_step if d_params is None else add(d_params, d_step)
        if t > 0:                                                    # theta_0 is a constant
            d_g = d_g + hessian_products[t](d_gradient)              # C6, of theta_t
    return d_params


def zeros_like_state(state: State) -> State:
    """Zeros of the shapes of a state: the gradient of a last state, which nothing reads."""
    return tree_map(np.zeros_like, state)

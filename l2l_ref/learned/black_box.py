"""The learned black-box optimizer: a recurrent network that proposes where to look next.

Dims: B functions at once on the unit cube of d dimensions, T queries, H outputs of the cell.

    X1  u_t = (x~_t, y~_t, o_t)                                      what is fed before query t, (B, d + 2)
    X2  state_t+1 = cell(u_t, state_t)                               any cell whose state has an ``h`` (B, H)
    X3  v_t = h_t+1 W + b                                            (B, d)
    X4  x_t = sigmoid(v_t)   or   x_t = min(max(v_t, 0), 1)          the query, in the cube
    X5  e_t = 0              or   e_t = sum_i max(v_ti - 1, 0) + max(-v_ti, 0)   how far outside of it v_t is

(x~_t, y~_t) is an earlier query and its value, in the order in which values arrive, and o_t is 1; with nothing new to
feed, as before the first value, all three are 0. One worker: x~_t = x_t-1. Several: query t is made while others
are on their way, and ``fed[t]`` says whose result came in before it, or -1 for none.

A trajectory on functions drawn from a Gaussian process, and its loss:

    X6  g_t, state of the draw = gp_append(x_t),   f_t = shift + scale g_t,   y_t = f_t + noise epsilon_t
    X7  L = loss(f_1 .. f_T) + penalty / T sum_t e_t                 a mean over functions is taken by the caller

All of it is differentiable but the order of arrival. Going back in time, query t collects from X7, from what was
fed later of it (X1), and from the later values that it predicts (X6).

Source: Chen et al. 2017; review, equations (6) and (11). The paper does not say how a query is kept in the cube: the
sigmoid and a linear output with a penalty are both in use, the first draws queries to the middle. To evaluate a linear
output at the nearest point of the cube, and X5, are choices of ours.
"""

from typing import NamedTuple

import numpy as np

from ..ops import dnc, gp, meta_losses
from ..ops.activations import sigmoid, sigmoid_backward
from ..ops.linear import linear, linear_backward
from ..ops.shapes import require_shape
from ..trees import add, arrays_of, build
from .cells import LSTM

OUTPUTS = ("sigmoid", "linear")


class ProposerParams(NamedTuple):
    cell: tuple    # LSTMParams or DNCParams
    W: np.ndarray  # (H, d)
    b: np.ndarray  # (d,)


def proposer_init(rng, dim, hidden, cell=LSTM, output="sigmoid"):
    """Draw ProposerParams, float64. Queries start near the middle of the cube: W is small, and b is 0 or 1/2."""
    H = cell.shown(hidden)
    return ProposerParams(cell.init(rng, dim + 2, hidden), rng.normal(0, 0.1 / np.sqrt(H), (H, dim)),
                          np.full(dim, 0.0 if output == "sigmoid" else 0.5))


class ProposeCache(NamedTuple):
    cell: tuple       # the cache of the cell
    linear: tuple
    sigmoid: tuple    # or None
    into_cube: tuple  # or None
    backward: object  # of the cell


def propose(u, state, params, output="sigmoid", cell=LSTM):
    """X2 to X5. u (B, d + 2), state, params -> (x (B, d), e (B,), state'), cache.

    Raises ValueError for an unknown output and for shapes that do not fit.
    """
    if output not in OUTPUTS:
        raise ValueError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r}")
    state, cell_cache = cell.forward(u, state, params.cell)          # X2
    v, linear_cache = linear(state.h, params.W, params.b)            # X3
    sigmoid_cache = cube_cache = None
    if output == "sigmoid":
        x, sigmoid_cache = sigmoid(v)                                # X4
        e = np.zeros(len(v), v.dtype)                                # X5
    else:
        (x, e), cube_cache = into_cube(v)                            # X4, X5
    return (x, e, state), ProposeCache(cell_cache, linear_cache, sigmoid_cache, cube_cache, cell.backward)


def propose_backward(d_out, cache):
    """(d_x (B, d), d_e (B,), d_state') -> d_u (B, d + 2), d_state, d_params."""
    d_x, d_e, d_state = d_out
    cell_cache, linear_cache, sigmoid_cache, cube_cache, cell_backward = cache
    if cube_cache is None:
        d_v = sigmoid_backward(d_x, sigmoid_cache)                   # X4
    else:
        d_v = into_cube_backward((d_x, d_e), cube_cache)             # X4, X5
    d_h, d_W, d_b = linear_backward(d_v, linear_cache)               # X3
    d_state = d_state._replace(h=d_state.h + d_h)                    # X3, joins what came in
    d_u, d_state, d_cell = cell_backward(d_state, cell_cache)        # X2
    return d_u, d_state, ProposerParams(d_cell, d_W, d_b)


def advance(u, state, params, output="sigmoid"):
    """`propose` with an LSTM cell, without a cache and fast: u (B, d + 2), state -> x (B, d), state'.

    There are few calls, since for one function each costs more than its arithmetic. Raises ValueError for shapes that
    do not fit.
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


def dnc_advance(u, state, params, output="sigmoid"):
    """The same with a differentiable neural computer."""
    state, _ = dnc.dnc_cell(u, state, params.cell)                   # X2
    return _query(state.h, params.W, params.b, output), state


def _query(h, W, b, output):
    """X3 and X4."""
    v = h @ W + b                                                    # X3
    return _logistic(v) if output == "sigmoid" else v.clip(0, 1)     # X4


def _logistic(a):
    """A1 in place, by tanh: no end overflows and nothing has to be selected."""
    a *= 0.5
    np.tanh(a, out=a)
    a += 1
    a *= 0.5
    return a


class IntoCubeCache(NamedTuple):
    v: np.ndarray  # (..., d)


def into_cube(v):
    """X4 and X5 of a linear output. v (..., d) -> (x (..., d), e (...)), cache."""
    x = np.minimum(np.maximum(v, 0), 1)                              # X4
    e = (np.maximum(v - 1, 0) + np.maximum(-v, 0)).sum(axis=-1)      # X5
    return (x, e), IntoCubeCache(v)


def into_cube_backward(d_out, cache):
    """(d_x (..., d), d_e (...)) -> d_v (..., d). On the edge of the cube, as inside of it."""
    d_x, d_e = d_out
    v = cache.v
    below, above = v.real < 0, v.real > 1
    d_v = np.where(below | above, np.zeros_like(d_x), d_x)           # X4
    return d_v + d_e[..., None] * (above.astype(d_x.dtype) - below)  # X5


def arrivals(steps, workers=1, rng=None):
    """``fed`` (T,) for so many workers: the query whose result comes in before query t, or -1.

    The first ``workers`` queries are made with nothing known. From then on one result comes in before each, of
    those on their way: the oldest, or with ``rng`` any of them.
    """
    if workers < 1:
        raise ValueError(f"workers: expected a whole number >= 1, got {workers!r}")
    fed, waiting = np.full(steps, -1), []
    for t in range(steps):
        if len(waiting) == workers:
            fed[t] = waiting.pop(0 if rng is None else int(rng.integers(len(waiting))))
        waiting.append(t)
    return fed


class Trajectory(NamedTuple):
    """All queries and what came of them."""

    x: np.ndarray          # (B, T, d)
    e: np.ndarray          # (B, T), how far outside of the cube the network was
    f: np.ndarray          # (B, T)
    y: np.ndarray          # (B, T), f with noise
    mean: np.ndarray       # (B, T), of f_t given f_<t
    deviation: np.ndarray  # (B, T)


class TrajectoryCache(NamedTuple):
    proposals: tuple   # T ProposeCache
    draws: tuple       # T caches of gp_append
    fed: np.ndarray    # (T,)
    start: object      # the state before the first query
    x: np.ndarray      # (B, T, d)
    scale: np.ndarray  # (B,)
    noise: float
    like: gp.GPState   # the state of the draw
    sampler: object    # the module of gp_append


def trajectory(params, z, epsilon, fed, length_scale, *, variance=1.0, noise=0.0, covariance="squared_exponential",
               jitter=None, given=None, output="sigmoid", cell=LSTM, sampler=gp):
    """X1 to X6: the optimizer at work on functions that are drawn as it goes.

    Parameters
    ----------
    params : ProposerParams
    z, epsilon : (B, T) arrays
        Standard normal numbers: all the randomness of the functions and of the noise.
    fed : (T,) integer array
        From `arrivals`; fed[t] < t.
    length_scale, variance, covariance, jitter
        As in `gp_append`; a gradient flows to the length scale alone.
    given : Given of `l2l_ref.ops.gp`, optional
        A constant; by default nothing is known, the scale is 1 and the shift 0.
    noise : float
        Standard deviation of what is added to an observed value.
    output : {"sigmoid", "linear"}
    cell : Cell
    sampler : module
        `l2l_ref.ops.gp` or its compiled twin.

    Returns
    -------
    Trajectory, cache

    Raises
    ------
    ValueError
        For shapes that do not fit, a value that is fed before it is known, and what `gp_append` refuses.
    """
    require_shape("z", z, B=None, T=None)
    B, T = z.shape
    require_shape("epsilon", epsilon, B=B, T=T)
    fed = np.asarray(fed)
    require_shape("fed", fed, T=T)
    if fed.dtype.kind != "i" or (fed >= np.arange(T)).any() or (fed < -1).any():
        raise ValueError(f"fed: expected for each query an earlier one, or -1, got {fed.tolist()}")
    d, dtype = len(params.b), params.W.dtype
    if given is None:
        given = gp.Given(gp.gp_start(B, T, d, dtype), np.ones(B, dtype), np.zeros(B, dtype))
    known, scale, shift = given
    require_shape("given.known.x", known.x, B=B, steps=known.t + T, d=d)
    require_shape("given.scale", scale, B=B)
    require_shape("given.shift", shift, B=B)
    draw_state = gp.GPState(*(a.astype(dtype) for a in known[:3]), known.t)
    scale, shift = scale.astype(dtype), shift.astype(dtype)
    state = cell.start(B, params.cell)
    x = np.empty((B, T, d), dtype)
    e, f, y, mean, deviation = (np.empty((B, T), dtype) for _ in range(5))
    proposals, draws, start = [], [], state
    for t in range(T):
        u = np.zeros((B, d + 2), dtype)
        if fed[t] >= 0:
            u[:, :d], u[:, d], u[:, d + 1] = x[:, fed[t]], y[:, fed[t]], 1  # X1
        (x[:, t], e[:, t], state), cache = propose(u, state, params, output, cell)  # X2 to X5
        proposals.append(cache)
        (draw, draw_state), cache = sampler.gp_append(
            draw_state, x[:, t].copy(), z[:, t], length_scale, variance, covariance, jitter, in_place=True
        )
        draws.append(cache)
        f[:, t], mean[:, t] = shift + scale * draw.f, shift + scale * draw.mean  # X6
        deviation[:, t] = scale * draw.deviation                     # X6
        y[:, t] = f[:, t] + noise * epsilon[:, t]                    # X6
    return Trajectory(x, e, f, y, mean, deviation), TrajectoryCache(
        tuple(proposals), tuple(draws), fed, start, x, scale, noise, draw_state, sampler
    )


def trajectory_backward(d_out, cache):
    """d_trajectory -> d_params, d_z (B, T), d_epsilon (B, T), None for fed, d_length_scale; the last query first."""
    proposals, draws, fed, start, x, scale, noise, like, sampler = cache
    d = x.shape[2]
    d_x, d_y, d_z = d_out.x.copy(), d_out.y.copy(), np.empty_like(d_out.f)
    d_draw_state = gp.GPState(np.zeros_like(like.x), np.zeros_like(like.z), np.zeros_like(like.L), None)
    d_state = build(start, map(np.zeros_like, arrays_of(start)))
    d_params, d_length_scale = None, 0
    for t in reversed(range(len(fed))):
        d_f = d_out.f[:, t] + d_y[:, t]                              # X6
        d_draw = gp.Draw(scale * d_f, scale * d_out.mean[:, t], scale * d_out.deviation[:, t])  # X6
        d_draw_state, d_query, d_z[:, t], d_step, _ = sampler.gp_append_backward(
            (d_draw, d_draw_state), draws[t], in_place=True
        )                                                            # X6
        d_length_scale = d_length_scale + d_step                     # X6
        d_u, d_state, d_weights = propose_backward((d_x[:, t] + d_query, d_out.e[:, t], d_state), proposals[t])  # X2-X5
        d_params = d_weights if d_params is None else add(d_params, d_weights)
        if fed[t] >= 0:
            d_x[:, fed[t]] += d_u[:, :d]                             # X1
            d_y[:, fed[t]] += d_u[:, d]                              # X1
    return d_params, d_z, noise * d_y, None, d_length_scale          # X6


class TrajectoryLossCache(NamedTuple):
    loss: str
    loss_cache: tuple
    penalty: float
    like: Trajectory


LOSSES = {
    # name: (what of the trajectory it is a function of, the pair)
    "sum": (("f",), meta_losses.sum_loss, meta_losses.sum_loss_backward),
    "ei": (("mean", "deviation", "f"), meta_losses.expected_improvement_loss,
           meta_losses.expected_improvement_loss_backward),
    "oi": (("f",), meta_losses.observed_improvement_loss, meta_losses.observed_improvement_loss_backward),
    "final": (("f",), meta_losses.final_loss, meta_losses.final_loss_backward),
    "best": (("f",), meta_losses.best_loss, meta_losses.best_loss_backward),
}
WITH_INCUMBENT = ("ei", "oi")


def trajectory_loss(out, loss="oi", penalty=0.0, through_incumbent=True):
    """X7. out (a Trajectory of B functions), name of a loss -> L (B,), cache.

    Losses take the values without noise, which are known while training. ``through_incumbent`` is for "ei" and "oi",
    see `l2l_ref.ops.meta_losses`. Raises ValueError for an unknown loss.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    fields, forward, _ = LOSSES[loss]
    arguments = [getattr(out, field) for field in fields]
    flag = {"through_incumbent": through_incumbent} if loss in WITH_INCUMBENT else {}
    L, loss_cache = forward(*arguments, **flag)
    return L + penalty * out.e.mean(axis=1), TrajectoryLossCache(loss, loss_cache, penalty, out)  # X7


def trajectory_loss_backward(d_L, cache):
    """d_L (B,) -> d_trajectory."""
    loss, loss_cache, penalty, out = cache
    fields, _, backward = LOSSES[loss]
    found = backward(d_L, loss_cache)                                # X7
    given = dict(zip(fields, found if isinstance(found, tuple) else (found,)))
    B, T = out.f.shape
    d_e = np.repeat(penalty / T * d_L[:, None], T, axis=1)           # X7
    zeros = np.zeros_like(out.f)
    return Trajectory(np.zeros_like(out.x), d_e, given["f"], zeros, given.get("mean", zeros),
                      given.get("deviation", zeros))

"""A whole search by the learned black-box optimizer, on functions that are drawn as it goes, and its loss.

Dims: B functions at once on the unit cube of d dimensions, T queries.

    X1  u_t = (x~_t, y~_t, o_t)                                      what is fed before query t, (B, d + 2)
    X6  g_t, state of the draw = gp_append(x_t),   f_t = shift + scale g_t,   y_t = f_t + noise epsilon_t
    X7  L = loss(f_1 .. f_T) + penalty / T sum_t e_t                 the caller takes the mean over functions

X2 to X5, the proposal x_t and its distance e_t from the cube, are in propose.py.

(x~_t, y~_t) is an earlier query and its value, in the order in which values arrive, and o_t is 1. When there is nothing
new to feed, as before the first value, all three are 0. With one worker x~_t = x_t-1. With several workers, query t is
made while others are still being evaluated: ``fed[t]`` is the query whose result came in before it, or -1 for none.

Everything is differentiable except the order of arrival. In the backward pass, query t collects gradients from X7, from
the steps to which it was fed later (X1), and from the later values that depend on it (X6).

Source: Chen et al. 2017; review, equations (6) and (11).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import backends
from ..checks import require_shape, whole_number
from ..ops import gp, meta_losses
from ..ops.noisy_improvement import noisy_improvement_loss, noisy_improvement_loss_backward
from ..trees import add, tree_map
from .cells import LSTM, with_backend
from .propose import Output, ProposeCache, ProposerParams, propose, propose_backward

if TYPE_CHECKING:
    from ..protocols import Array, Backend, RecurrentCell


def arrivals(steps: int, workers: int = 1, rng: np.random.Generator | None = None) -> Array:
    """``fed`` (T,) for this many workers: the query whose result comes in before query t, or -1.

    The first ``workers`` queries are made with nothing known. Before each later query one pending result comes in: the
    oldest, or with ``rng`` any of them.
    """
    whole_number("workers", workers)
    fed, waiting = np.full(steps, -1), list[int]()
    for t in range(steps):
        if len(waiting) == workers:
            fed[t] = waiting.pop(0 if rng is None else int(rng.integers(len(waiting))))
        waiting.append(t)
    return fed


class Trajectory(NamedTuple):
    """All queries and their values."""

    x: Array     # (B, T, d)
    e: Array     # (B, T), how far outside of the cube the network was
    f: Array     # (B, T)
    y: Array     # (B, T), f with noise
    mean: Array  # (B, T), of f_t given f_<t
    std: Array   # (B, T), likewise


class TrajectoryCache(NamedTuple):
    proposals: tuple[ProposeCache, ...]  # T of them
    draws: tuple[Any, ...]               # T caches of gp_append
    fed: Array                           # (T,)
    start: Any                           # the state before the first query
    x: Array                             # (B, T, d)
    scale: Array                         # (B,)
    noise: float
    like: gp.GPState                     # the state of the draw
    backward: Callable[..., Any]         # of gp_append


def trajectory(
    params: ProposerParams, z: Array, epsilon: Array, fed: Any, length_scale: Any, *, variance: float = 1.0,
    noise: float = 0.0, covariance: str = "squared_exponential", jitter: float | None = None,
    given: gp.Given | None = None, output: Output = "sigmoid", cell: RecurrentCell = LSTM, backend: Backend = "numpy",
    threads: int | None = None, dim: int | None = None,
) -> tuple[Trajectory, TrajectoryCache]:
    """X1 to X6: a search on B functions that are drawn as it goes.

    Parameters
    ----------
    params : ProposerParams
    z, epsilon : (B, T) arrays
        Standard normal numbers: all the randomness of the functions and of the noise.
    fed : (T,) integer array
        From `arrivals`; fed[t] < t.
    length_scale, variance, covariance, jitter
        As in `gp_append`. Of these, only the length scale gets a gradient.
    given : Given of `l2l_ref.ops.gp`, optional
        What is known of the functions beforehand, a constant. By default nothing is known, the scale is 1 and the
        shift 0.
    noise : float
        Standard deviation of the noise in an observed value.
    output : {"sigmoid", "linear"}
    cell : Cell
    dim : int, optional
        d; by default the network has an output for each dimension.
    backend : {"numpy", "auto", "numba"}
        What computes the cell and the draws, see `l2l_ref.backends.choose`.
    threads : int, optional
        Threads of the compiled twins; None uses all cores of the process. No result depends on it.

    Returns
    -------
    Trajectory, cache

    Raises
    ------
    ValueError
        For shapes that do not fit, for a value that is fed before it is known, and where `gp_append` raises it.
    """
    require_shape("z", z, B=None, T=None)
    B, T = z.shape
    require_shape("epsilon", epsilon, B=B, T=T)
    fed = np.asarray(fed)
    require_shape("fed", fed, T=T)
    if fed.dtype.kind != "i" or (fed >= np.arange(T)).any() or (fed < -1).any():
        raise ValueError(f"fed: expected for each query an earlier one, or -1, got {fed.tolist()}")
    d, dtype = len(params.b) if dim is None else dim, params.W.dtype
    if given is None:
        given = gp.Given(gp.gp_initial_state(B, T, d, dtype), np.ones(B, dtype), np.zeros(B, dtype))
    known, scale, shift = given
    require_shape("given.known.x", known.x, B=B, steps=known.t + T, d=d)
    require_shape("given.scale", scale, B=B)
    require_shape("given.shift", shift, B=B)
    draw_state = gp.GPState(*(a.astype(dtype) for a in known[:3]), known.t)
    scale, shift = scale.astype(dtype), shift.astype(dtype)
    cell = with_backend(cell, backend, B * d if getattr(cell, "shared", False) else B, threads)
    gp_append, gp_append_backward = backends.functions(
        "gp", backend, B * T, ("gp_append", "gp_append_backward"), threads
    )
    state = cell.initial_state(B, params.cell)
    x: Array = np.empty((B, T, d), dtype)
    e, f, y, mean, std = (np.empty((B, T), dtype) for _ in range(5))
    proposals, draws, start = list[ProposeCache](), list[Any](), state
    for t in range(T):
        u = np.zeros((B, d + 2), dtype)
        if fed[t] >= 0:
            u[:, :d], u[:, d], u[:, d + 1] = x[:, fed[t]], y[:, fed[t]], 1  # X1
        (x[:, t], e[:, t], state), cache = propose(u, state, params, output, cell)  # X2 to X5
        proposals.append(cache)
        (draw, draw_state), cache = gp_append(
            draw_state, x[:, t].copy(), z[:, t], length_scale, variance, covariance, jitter, in_place=True
        )
        draws.append(cache)
        f[:, t], mean[:, t] = shift + scale * draw.f, shift + scale * draw.mean  # X6
        std[:, t] = scale * draw.std                                 # X6
        y[:, t] = f[:, t] + noise * epsilon[:, t]                    # X6
    return Trajectory(x, e, f, y, mean, std), TrajectoryCache(
        tuple(proposals), tuple(draws), fed, start, x, scale, noise, draw_state, gp_append_backward
    )


def trajectory_backward(d_out: Trajectory,
                        cache: TrajectoryCache) -> tuple[ProposerParams, Array, Array, None, Any]:
    """d_trajectory -> d_params, d_z (B, T), d_epsilon (B, T), None for fed, d_length_scale; the last query first."""
    proposals, draws, fed, start, x, scale, noise, like, gp_append_backward = cache
    d = x.shape[2]
    d_x, d_y, d_z = d_out.x.copy(), d_out.y.copy(), np.empty_like(d_out.f)
    d_draw_state = gp.GPState(np.zeros_like(like.x), np.zeros_like(like.z), np.zeros_like(like.L), None)
    d_state, d_params, d_length_scale = tree_map(np.zeros_like, start), None, d_y.dtype.type(0)
    for t in reversed(range(len(fed))):
        d_f = d_out.f[:, t] + d_y[:, t]                              # X6
        d_draw = gp.Draw(scale * d_f, scale * d_out.mean[:, t], scale * d_out.std[:, t])  # X6
        d_draw_state, d_query, d_z[:, t], d_step, _ = gp_append_backward(
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
    loss_cache: Any
    penalty: float
    like: Trajectory


LOSSES: dict[str, tuple[tuple[str, ...], Callable[..., Any], Callable[..., Any]]] = {
    # name: (the fields of the trajectory that it is a function of, the pair)
    "sum": (("f",), meta_losses.sum_loss, meta_losses.sum_loss_backward),
    "ei": (("mean", "std", "f"), meta_losses.expected_improvement_loss,
           meta_losses.expected_improvement_loss_backward),
    "oi": (("f",), meta_losses.observed_improvement_loss, meta_losses.observed_improvement_loss_backward),
    "final": (("f",), meta_losses.final_loss, meta_losses.final_loss_backward),
    "best": (("f",), meta_losses.best_loss, meta_losses.best_loss_backward),
    "noisy-ei": (("x", "y"), noisy_improvement_loss, noisy_improvement_loss_backward),
}
WITH_INCUMBENT = ("ei", "oi", "noisy-ei")


def trajectory_loss(out: Trajectory, loss: str = "oi", penalty: float = 0.0, grad_through_incumbent: bool = True,
                    process: dict[str, Any] | None = None) -> tuple[Array, TrajectoryLossCache]:
    """X7. out (a Trajectory of B functions), the name of a loss -> L (B,), cache.

    Losses take the values without noise, which are known in training, but for "noisy-ei", which takes what the network
    has seen. ``process`` is for this loss: ``fed`` and the other arguments of `noisy_improvement_loss`. It is computed
    in float64, because the points of a trained network lie close together. ``grad_through_incumbent`` is for "ei",
    "noisy-ei" and "oi", see `l2l_ref.ops.meta_losses`. Raises ValueError for an unknown loss.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss: expected one of {', '.join(LOSSES)}, got {loss!r}")
    fields, forward, _ = LOSSES[loss]
    arguments = [getattr(out, field) for field in fields]
    flags: dict[str, Any] = {"grad_through_incumbent": grad_through_incumbent} if loss in WITH_INCUMBENT else {}
    if loss == "noisy-ei":
        if process is None:
            raise ValueError("process: expected the arguments of noisy_improvement_loss for this loss, got None")
        arguments, flags = [np.asarray(a, np.result_type(a, np.float64)) for a in arguments], flags | process
    L, loss_cache = forward(*arguments, **flags)
    L = L.astype(out.f.dtype)
    return L + penalty * out.e.mean(axis=1), TrajectoryLossCache(loss, loss_cache, penalty, out)  # X7


def trajectory_loss_backward(d_L: Array, cache: TrajectoryLossCache) -> Trajectory:
    """d_L (B,) -> d_trajectory."""
    loss, loss_cache, penalty, out = cache
    fields, _, backward = LOSSES[loss]
    gradients = backward(d_L, loss_cache)                            # X7
    B, T = out.f.shape
    d_out = Trajectory(*map(np.zeros_like, out))._replace(e=np.repeat(penalty / T * d_L[:, None], T, axis=1))  # X7
    given = zip(fields, gradients if isinstance(gradients, tuple) else (gradients,))
    return d_out._replace(**{name: gradient.astype(getattr(d_out, name).dtype) for name, gradient in given})  # X7

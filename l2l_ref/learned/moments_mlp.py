"""An optimizer that is odd in the gradient, on features that do not depend on scales: the NumPy original.

Dims: n coordinates in A arrays; T steps; K = 7 directions, E = 20 features. Read ops/moments.py and ops/gated_sum.py
first: C28 and C19 to C21 make the directions o, and C16 to C18 sum them up.

    C22  e = what the coordinate and its array look like, in even functions of the gradient     (n, E)
    C23  update = -gated_sum(o, e)                                                              (n,)
    C24  x' = x + update, the way from the start

The features of a coordinate are log(s / S), log(r_1 / r_2), |o_3|, |o_4| and o_1 o_3. The others belong to its array:
the root mean square of the starting point, its size, whether it is a matrix; the cosines of g and the m_2 before it, as
two running means and as a sum, and the same of all arrays of the function; S_1 beside S_2, and the lengths of m_2^ and
m_3^ beside S_1; the way x, and how straight it was; log(t), and t / T where the number of steps T is known. A sum of
cosines grows while steps are too short and falls when they are too long, so steps can adapt to a problem.

The update for -g is minus that for g, exactly, and a coordinate without a gradient does not move. A factor in f leaves
o and e, and with them the update, as they are.

Meta-gradient: C5 of learned/coordinatewise.py says what dL/dg_t is. The gradient of f is assumed not to depend on phi
(the dashed edges are dropped), so C19 to C22 are constants of an unroll but for x. With x taken as a constant, too,
phi is read in C23 alone: the meta-gradient is a sum over steps that grows as they are taken, without backpropagation
through time.

docs/explanation/general.md motivates the features. Metz et al. 2022 use features of these kinds; this choice, and
oddness, are ours. Twin: compiled/moments_mlp.py.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..ops.gated_sum import GatedSumParams, gated_sum, gated_sum_backward, gated_sum_init
from ..ops.moments import (
    BETAS,
    BETAS_V,
    COSINES,
    LIMIT,
    OWN,
    SHARED,
    array_features,
    clip_arrays,
    corrections,
    directions,
    inverse,
    next_cosines,
    root_mean_square,
    running_means,
    total,
)
from ..trees import add

if TYPE_CHECKING:
    from ..ops.moments import Arrays
    from ..protocols import Array

Params = GatedSumParams

STEP = 0.005   # the length of the steps of an untrained optimizer


class State(NamedTuple):
    m: np.ndarray        # (3, n), running means of the gradient
    v: np.ndarray        # (2, n), running means of its square
    x: np.ndarray        # (n,), the way from the start
    cosines: np.ndarray  # (5, A), see ops.moments.next_cosines
    far: np.ndarray      # (A,), the root mean square of x
    path: np.ndarray     # (A,), the sum of those of the steps
    start: np.ndarray    # (A,), that of theta_0
    S_1: np.ndarray      # (A,), the size of the gradients of each array at the last step; 0 before the first
    t: int               # steps so far


def init_params(rng: np.random.Generator, hidden: int) -> Params:
    """Draw Params, float64. The update of an untrained optimizer is close to -`STEP` m_2^ / s, that of Adam."""
    first = np.array([np.log(STEP), 0, 0, 1, 0, 0, 0, 0])
    return gated_sum_init(rng, OWN + SHARED, hidden, first)


def init_state(theta: Array, arrays: Arrays) -> State:
    """The state of theta (n,) before the first step."""
    n, A = len(theta), len(arrays.size)
    m, v, x, cosines, far, path, S_1 = (np.zeros(shape, theta.dtype)
                                        for shape in ((len(BETAS), n), (len(BETAS_V), n), n, (COSINES, A), A, A, A))
    return State(m, v, x, cosines, far, path, root_mean_square(theta, arrays), S_1, 0)


def advance(gradient: Array, state: State, arrays: Arrays, threads: int | None = None,
            ) -> tuple[Array, Array, Array, Array, int]:
    """C28, C19, and the sums over arrays of which `array_features` are made. Has a compiled twin.

    A gradient that is not finite, or so large that its square is not, counts as 0.

    Returns
    -------
    g : (n,) array
        The gradient after C28; nan where it counts as 0.
    m, v : (3, n) and (2, n) arrays
        The running means with this gradient.
    sums : (7, A) array of float64
        Of g m_2, g^2 and m_2^2 with the m_2 before g, and of v_1, v_2, m_2^2 and m_3^2 with those after it.
    held : int
        How many gradients count as 0.
    """
    finite, past = square_is_finite(gradient), state.m[1]
    limit = np.where(state.S_1 > 0, LIMIT * state.S_1, np.inf).astype(state.S_1.dtype)
    g, _ = clip_arrays(np.where(finite, gradient, gradient.dtype.type(0)), limit, arrays)  # C28
    (m, v), _ = running_means(g, state.m, state.v)                   # C19
    g_, past, m_2, m_3 = (a.astype(np.float64) for a in (g, past, m[1], m[2]))
    sums = total(np.stack([g_ * past, g_**2, past**2, *v, m_2**2, m_3**2]), arrays)
    g = np.where(finite, g, gradient.dtype.type(np.nan))
    return g, m, v, sums, len(finite) - int(np.count_nonzero(finite))


def shared_features(state: State, sums: Array, arrays: Arrays, steps: float) -> tuple[Array, Array, Array]:
    """The features of C22 that belong to an array, (A, `SHARED`); S_1 and S_2, (2, A); and the cosines of this step."""
    dtype, t = state.v.dtype, state.t + 1
    by_m, by_v = corrections(t, np.float64)
    cosines = state.cosines
    if state.t > 0:  # otherwise there is no m_2 before g
        cosines = next_cosines(cosines, sums[:3], arrays.functions)
    means = sums[3:] * np.array([*by_v, by_m[1] ** 2, by_m[2] ** 2])[:, None] / arrays.size
    lengths = np.sqrt(means.astype(dtype))
    shared = array_features(state.start, cosines, lengths, state.far, state.path, arrays, t, steps)
    return shared, lengths[:2], cosines                              # C20


def rows(gradient: Array, m: Array, v: Array, t: int, S: Array, shared: Array, arrays: Arrays) -> tuple[Array, Array]:
    """C20 to C22: o (n, K) and e (n, E) of the coordinates."""
    by_m, by_v = corrections(t, gradient.dtype)
    v_hat, where = by_v[:, None] * v, arrays.of_coordinate
    o, _ = directions(gradient, by_m[:, None] * m, v_hat, S, arrays)  # C20, C21
    r = np.sqrt(v_hat)
    sizes = np.log(np.maximum([r.max(axis=0) * inverse(S)[where], r[0] * inverse(r[1])], 1e-6))
    own = np.stack([*np.clip(sizes, -6, 3) / 3, np.abs(o[:, 2]) - 0.5, np.abs(o[:, 3]) - 0.5,
                    np.clip(o[:, 0] * o[:, 2], -3, 3) / 2], axis=1)
    return o, np.concatenate([own, shared[where]], axis=1).astype(gradient.dtype, copy=False)  # C22


def gated_update(gradient: Array, m: Array, v: Array, x: Array, t: int, S: Array, shared: Array, arrays: Arrays,
                 params: Params, threads: int | None = None) -> tuple[Array, Array, Array]:
    """C20 to C24, of the gradient after C28. Has a compiled twin.

    Returns
    -------
    update, x : (n,) arrays
        The update is 0 where the gradient is nan.
    sums : (2, A) array of float64
        Of the squares of x and of the update, over arrays.
    """
    finite = np.isfinite(gradient)
    g = np.where(finite, gradient, gradient.dtype.type(0))
    y, _ = gated_sum(*rows(g, m, v, t, S, shared, arrays), params)
    update = np.where(finite, -y, gradient.dtype.type(0))            # C23
    x = x + update                                                   # C24
    return update, x, total(np.stack([x, update]).astype(np.float64) ** 2, arrays)


def step(gradient: Array, state: State, arrays: Arrays, params: Params, steps: float = np.inf, passes: Any = None,
         threads: int | None = None) -> tuple[Array, State, int]:
    """C19 to C24, and C28: one step of the optimizer.

    A coordinate whose gradient is not finite, or so large that its square is not, is held: its update is 0 and it keeps
    its state. The others see a gradient of 0 there.

    Parameters
    ----------
    gradient : (n,) array
    state : State
    arrays : Arrays
    params : Params
    steps : float
        T, how many steps there are to be; infinity where that is not known.
    passes : module, optional
        Has `advance` and `gated_update`: this one, or its twin.
    threads : int or None
        For the twin.

    Returns
    -------
    update : (n,) array
        What is added to theta.
    state : State
    held : int
        How many coordinates were held.
    """
    passes = passes or sys.modules[__name__]
    g, m, v, sums, held = passes.advance(gradient, state, arrays, threads)
    shared, sizes, cosines = shared_features(state, sums, arrays, steps)
    S = sizes.max(axis=0)                                            # C20
    update, x, moves = passes.gated_update(g, m, v, state.x, state.t + 1, S, shared, arrays, params, threads)
    if held:
        stays = np.isnan(g)
        m[:, stays], v[:, stays] = state.m[:, stays], state.v[:, stays]
    return update, moved(state, m, v, x, cosines, moves, sizes[0], arrays), held


def moved(state: State, m: Array, v: Array, x: Array, cosines: Array, moves: Array, S_1: Array,
          arrays: Arrays) -> State:
    """The next State, of what the two passes have computed."""
    far, own = np.sqrt((moves / arrays.size).astype(v.dtype))
    return State(m, v, x, cosines, far, state.path + own, state.start, S_1, state.t + 1)


def square_is_finite(gradient: Array) -> Array:
    """(n,) bool, false where a coordinate is held."""
    with np.errstate(over="ignore", invalid="ignore"):
        finite: Array = np.isfinite(gradient**2)
    return finite


def meta_gradient(gradients: Array, d_updates: Array, state: State, arrays: Arrays, params: Params,
                  steps: float = np.inf, chosen: Array | None = None) -> Params:
    """dL/dphi of one unroll.

    Parameters
    ----------
    gradients : (T, n) array
        The gradients that the optimizer was given at theta_0 .. theta_T-1, where no coordinate was held.
    d_updates : (T, m) array
        dL/dg_t of C5, of the coordinates that are chosen.
    state : State
        That before the first step.
    arrays, params, steps
        As in `step`.
    chosen : (m,) array of int, optional
        The coordinates to sum over, by default all.

    Returns
    -------
    Params
        The gradient of every weight.
    """
    d_params: Any = None
    for gradient, d_update in zip(gradients, d_updates):
        g, m, v, sums, _ = advance(gradient, state, arrays)
        shared, sizes, cosines = shared_features(state, sums, arrays, steps)
        o, e = rows(g, m, v, state.t + 1, sizes.max(axis=0), shared, arrays)
        y, cache = gated_sum(o, e, params)
        if chosen is not None:
            _, cache = gated_sum(o[chosen], e[chosen], params)
        x = state.x - y                                              # C23, C24
        moves = total(np.stack([x, y]).astype(np.float64) ** 2, arrays)
        state = moved(state, m, v, x, cosines, moves, sizes[0], arrays)
        d_step = gated_sum_backward(-d_update, cache)[2]             # C23
        d_params = d_step if d_params is None else add(d_params, d_step)
    return d_params

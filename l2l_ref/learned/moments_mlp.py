"""An optimizer that is odd in the gradient, on features that do not depend on scales: the NumPy original.

Dims: n coordinates in A arrays; T steps; K = 7 directions, E = 18 features. Read ops/moments.py and ops/gated_sum.py
first: C19 to C21 make the directions o, and C16 to C18 sum them up.

    C22  e = what the coordinate and its array look like, in even functions of the gradient     (n, E)
    C23  update = -gated_sum(o, e)                                                              (n,)
    C24  x' = x + update, the way from the start

The features of a coordinate are log(s / S), |o_3|, |o_4| and o_1 o_3. The others belong to its array: the root mean
square of the starting point, its size, whether it is a matrix; the cosines of g and the m_2 before it, as two running
means and as a sum, and the same of all arrays of the function; the lengths of m_2^ and m_3^ beside S; the way x, and
how straight it was; log(t), and t / T where the number of steps T is known. A sum of cosines grows while steps are too
short and falls when they are too long, so steps can adapt to a problem.

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

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..ops.gated_sum import GatedSumParams, gated_sum, gated_sum_backward, gated_sum_init
from ..ops.moments import (
    BETAS,
    COSINES,
    SHARED,
    array_features,
    corrections,
    directions,
    inverse,
    mean,
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

OWN = 4        # features of a coordinate itself
STEP = 0.005   # the length of the steps of an untrained optimizer


class State(NamedTuple):
    m: np.ndarray        # (3, n), running means of the gradient
    v: np.ndarray        # (n,), running mean of its square
    x: np.ndarray        # (n,), the way from the start
    cosines: np.ndarray  # (5, A), see ops.moments.next_cosines
    far: np.ndarray      # (A,), the root mean square of x
    path: np.ndarray     # (A,), the sum of those of the steps
    start: np.ndarray    # (A,), that of theta_0
    t: int               # steps so far


def init_params(rng: np.random.Generator, hidden: int) -> Params:
    """Draw Params, float64. The update of an untrained optimizer is close to -`STEP` m_2^ / s, that of Adam."""
    first = np.array([np.log(STEP), 0, 0, 1, 0, 0, 0, 0])
    return gated_sum_init(rng, OWN + SHARED, hidden, first)


def init_state(theta: Array, arrays: Arrays) -> State:
    """The state of theta (n,) before the first step."""
    n, A, dtype = len(theta), len(arrays.size), theta.dtype
    return State(np.zeros((len(BETAS), n), dtype), np.zeros(n, dtype), np.zeros(n, dtype), np.zeros((COSINES, A), dtype),
                 np.zeros(A, dtype), np.zeros(A, dtype), root_mean_square(theta, arrays), 0)


def features(gradient: Array, state: State, arrays: Arrays, steps: float = np.inf) -> tuple[Array, Array, State]:
    """C19 to C22. gradient (n,), finite -> o (n, K), e (n, E), and the state with what a gradient changes.

    ``steps`` is T; infinity stands for not known.
    """
    t = state.t + 1
    (m, v), _ = running_means(gradient, state.m, state.v)            # C19
    by_m, by_v = corrections(t, gradient.dtype)
    m_hat, v_hat = by_m[:, None] * m, by_v * v
    o, _ = directions(gradient, m_hat, v_hat, arrays)                # C20, C21
    cosines, past = state.cosines, state.m[1]
    if state.t > 0:  # otherwise there is no m_2 before g
        products = np.stack([gradient * past, gradient**2, past**2])
        cosines = next_cosines(cosines, total(products, arrays), arrays.functions)
    lengths = np.sqrt(mean(np.stack([v_hat, m_hat[1] ** 2, m_hat[2] ** 2]), arrays))
    shared = array_features(state.start, cosines, lengths, state.far, state.path, arrays, t, steps)
    where = arrays.of_coordinate
    size = np.log(np.maximum(np.sqrt(v_hat) * inverse(lengths[0])[where], 1e-6))
    own = np.stack([np.clip(size, -6, 3) / 3, np.abs(o[:, 2]) - 0.5, np.abs(o[:, 3]) - 0.5,
                    np.clip(o[:, 0] * o[:, 2], -3, 3) / 2], axis=1)
    e = np.concatenate([own, shared[where]], axis=1).astype(gradient.dtype, copy=False)  # C22
    return o, e, state._replace(m=m, v=v, cosines=cosines, t=t)


def moved(state: State, update: Array, arrays: Arrays) -> State:
    """C24: the state with what an update changes."""
    x = state.x + update
    return state._replace(x=x, far=root_mean_square(x, arrays), path=state.path + root_mean_square(update, arrays))


def packed(params: Params) -> Params:
    """The weights in the form in which `step` reads them fastest: here, as they are."""
    return params


def step(gradient: Array, state: State, arrays: Arrays, params: Params, steps: float = np.inf,
         threads: int | None = None) -> tuple[Array, State, int]:
    """C19 to C24: one step of the optimizer. Has a compiled twin.

    A coordinate whose gradient is not finite, or so large that its square is not, is held: its update is 0 and it keeps
    its state. The others see a gradient of 0 there.

    Parameters
    ----------
    gradient : (n,) array
    state : State
    arrays : Arrays
    params : Params
        Or what `packed` made of them.
    steps : float
        T, how many steps there are to be; infinity where that is not known.
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
    with np.errstate(over="ignore", invalid="ignore"):
        held = ~np.isfinite(gradient**2)
    count = int(np.count_nonzero(held))
    o, e, new = features(np.where(held, gradient.dtype.type(0), gradient) if count else gradient, state, arrays, steps)
    update = -gated_sum(o, e, params)[0]                             # C23
    if count:
        update[held] = 0
        new.m[:, held], new.v[held] = state.m[:, held], state.v[held]
    return update, moved(new, update, arrays), count


def meta_gradient(gradients: Array, d_updates: Array, state: State, arrays: Arrays, params: Params,
                  steps: float = np.inf, chosen: Array | None = None) -> Params:
    """dL/dphi of one unroll.

    Parameters
    ----------
    gradients : (T, n) array
        The gradients that the optimizer was given at theta_0 .. theta_T-1, all of them finite.
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
        o, e, new = features(gradient, state, arrays, steps)
        y, cache = gated_sum(o, e, params)
        state = moved(new, -y, arrays)
        if chosen is not None:
            _, cache = gated_sum(o[chosen], e[chosen], params)
        d_step = gated_sum_backward(-d_update, cache)[2]             # C23
        d_params = d_step if d_params is None else add(d_params, d_step)
    return d_params

"""Meta-gradients from losses alone, for runs through which nothing is propagated back: evolution strategies.

    T5  dL/dphi = the mean over pairs of eps (L(phi + sigma eps) - L(phi - sigma eps)) / (2 sigma),   eps ~ N(0, I)

This is the gradient of L after a Gaussian has smoothed it, up to the noise of few pairs. Both runs of a pair are on the
same functions with the same minibatches, so what is left of their difference is due to eps. Nothing is differentiated:
the length of a run costs only time, and the dashed edges of Andrychowicz et al. 2016 are there, because the runs are
whole. Where a longer step makes a run diverge, backpropagation without these edges sees nothing of it, and T5 does.

When a run is cut into windows, eps stays the same in all of them (noise-reusing evolution strategies, Li et al. 2023).
Each window then gives an estimate, which depends on the earlier ones through where the two runs are.

L is the mean over the functions and over the steps of a window of w_t f(theta_t), or of w_t log(f(theta_t) + floor).
Imitation adds how far the updates u_t are from those that Adam, with the learning rate 0.01, would make of the same
gradients, its state as it is after the earlier ones:

    T7  L' = L + imitation mean_t |u_t - a_t|^2 / |a_t|^2            a_t: the update of Adam, for all functions at once

Sources: Nesterov & Spokoiny 2017 for T5; Vicol et al. 2021 and Li et al. 2023 for windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..baselines.gradient import Adam
from ..optimizees.rollout import begin
from ..seeds import child

if TYPE_CHECKING:
    from ..protocols import Array
    from . import gradient_based

NOISE, FUNCTIONS = 0, 1  # the streams of random numbers of a pair
WORST = 1e3              # a loss, or a quotient of T7, that is larger or not finite counts as this
TEACHER = Adam(0.01)     # of T7


class Run(NamedTuple):
    """A run between two windows."""

    task: Any
    theta: Array
    state: Any
    evaluation: tuple[Any, ...]  # losses and gradients at theta
    taught: Any = None           # the state of Adam, where it is imitated


def window(model: Any, run: Run, weights: Array, floor: float | None, imitation: float = 0.0) -> tuple[Run, float]:
    """The run after one step for each of the ``weights``, and L, or L' of T7 if there is ``imitation``.

    A run that has left its dtype's range goes on.
    """
    task, theta, state, (losses, gradients), taught = run
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for w in weights:
            update, state = model.update(gradients, state)
            theta = theta + update
            if imitation:
                wanted, taught = TEACHER.update(gradients, taught)
                distance = squared(update - wanted) / max(squared(wanted), np.finfo(np.float64).tiny)
                total += imitation * (distance if distance < WORST else WORST)  # T7; also where it is nan
            losses, gradients = task.loss_and_gradient(theta)
            f = np.where(np.isfinite(losses), np.minimum(losses, WORST), WORST).astype(np.float64)
            total += w * float(np.mean(f if floor is None else np.log(not_negative(f) + floor)))
    return Run(task, theta, state, (losses, gradients), taught), total / len(weights)


def squared(update: Array) -> float:
    """The squared length of an update, in float64."""
    return float(np.sum(np.square(update, dtype=np.float64)))


def not_negative(losses: Array) -> Array:
    """The losses, of which logarithms are taken. Raises ValueError when there is one below 0."""
    if (losses < 0).any():
        raise ValueError(f"logarithm: expected a problem whose losses are >= 0, got {losses.min():g}")
    return losses


def pair(
    constants: tuple[Any, Any, gradient_based.Recipe], phi: Array, piece: tuple[Any, ...],
    carried: tuple[Run, Run] | None,
) -> tuple[tuple[float, Array, None], tuple[Run, Run] | None]:
    """One window of a pair: the mean L of its two runs, its term of T5, and the runs unless they are at their end.

    The arguments are those of `gradient_based.window_piece`, with two runs in place of one.
    """
    from .gradient_based import with_phi  # which imports this file

    model, problem, recipe = constants
    functions, seed, steps, told, first, _ = piece
    eps = np.random.default_rng(child(seed, NOISE)).standard_normal(len(phi))
    last = steps if recipe.unroll is None else first + recipe.unroll
    weights, after, losses = recipe.weights(steps)[first:last], [], []
    for k, sign in enumerate((1, -1)):
        perturbed = with_phi(model, phi + sign * recipe.sigma * eps)
        if carried is None:
            task: Any = problem.sample(functions, child(seed, FUNCTIONS))
            theta = task.theta0
            run = Run(task, theta, begin(perturbed, theta, task, told), task.loss_and_gradient(theta),
                      TEACHER.init(theta) if recipe.imitation else None)
        else:
            run = carried[k]
        run, loss = window(perturbed, run, weights, recipe.logarithm, recipe.imitation)
        after.append(run)
        losses.append(loss)
    plus, minus = losses
    d_phi = eps * ((plus - minus) / (2 * recipe.sigma))              # T5
    return ((plus + minus) / 2, d_phi, None), None if last >= steps else (after[0], after[1])

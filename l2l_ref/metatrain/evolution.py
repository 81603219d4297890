"""Meta-gradients from losses alone, for runs through which nothing is propagated back: evolution strategies.

    T5  dL/dphi = the mean over pairs of eps (L(phi + sigma eps) - L(phi - sigma eps)) / (2 sigma),   eps ~ N(0, I)

This is the gradient of L after a Gaussian has smoothed it, up to the noise of few pairs. Both runs of a pair are on the
same functions with the same minibatches, so what is left of their difference is due to eps. Nothing is differentiated:
the length of a run costs only time, and the dashed edges of Andrychowicz et al. 2016 are there, because the runs are
whole. Where a longer step makes a run diverge, backpropagation without these edges sees nothing of it, and T5 does.

When a run is cut into windows, eps stays the same in all of them (noise-reusing evolution strategies, Li et al. 2023).
Each window then gives an estimate, which depends on the earlier ones through where the two runs are.

L is the mean over the functions and over the steps of a window of w_t f(theta_t), or of w_t log(f(theta_t) + floor).

Sources: Nesterov & Spokoiny 2017 for T5; Vicol et al. 2021 and Li et al. 2023 for windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..optimizees.rollout import begin
from ..seeds import child

if TYPE_CHECKING:
    from ..protocols import Array, Executor, Seed
    from . import gradient_based

NOISE, FUNCTIONS = 0, 1  # the streams of random numbers of a pair
WORST = 1e3              # a loss that is larger, or not finite, counts as this


class Run(NamedTuple):
    """One of the two runs of a pair, between two windows."""

    task: Any
    theta: Array
    state: Any
    evaluation: tuple[Array, Array]  # losses and gradients at theta


def window(model: Any, run: Run, weights: Array, floor: float | None) -> tuple[Run, float]:
    """The run after one step for each of the ``weights``, and L. A run that has left its dtype's range goes on."""
    task, theta, state, (losses, gradients) = run
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for w in weights:
            update, state = model.update(gradients, state)
            theta = theta + update
            losses, gradients = task.loss_and_gradient(theta)
            f = np.where(np.isfinite(losses), np.minimum(losses, WORST), WORST).astype(np.float64)
            total += w * float(np.mean(f if floor is None else np.log(not_negative(f) + floor)))
    return Run(task, theta, state, (losses, gradients)), total / len(weights)


def not_negative(losses: Array) -> Array:
    """The losses, of which logarithms are taken. Raises ValueError when there is one below 0."""
    if (losses < 0).any():
        raise ValueError(f"logarithm: expected a problem whose losses are >= 0, got {losses.min():g}")
    return losses


def pair(model: Any, problem: Any, recipe: gradient_based.Recipe, phi: Array, seed: Seed, steps: int, told: int | None,
         first: int, runs: tuple[Run, Run] | None) -> tuple[float, float, Array, tuple[Run, Run] | None]:
    """One window of a pair, from step ``first``: L of both runs, eps, and the runs unless they are at their end.

    ``told`` is what the optimizer is told of the number of steps.
    """
    from .gradient_based import with_phi  # which imports this file

    eps = np.random.default_rng(child(seed, NOISE)).standard_normal(len(phi))
    last = steps if recipe.unroll is None else first + recipe.unroll
    weights, after, losses = recipe.weights(steps)[first:last], [], []
    for k, sign in enumerate((1, -1)):
        perturbed = with_phi(model, phi + sign * recipe.sigma * eps)
        if runs is None:
            task: Any = problem.sample(recipe.functions, child(seed, FUNCTIONS))
            theta = task.theta0
            run = Run(task, theta, begin(perturbed, theta, task, told), task.loss_and_gradient(theta))
        else:
            run = runs[k]
        run, loss = window(perturbed, run, weights, recipe.logarithm)
        after.append(run)
        losses.append(loss)
    return losses[0], losses[1], eps, None if last >= steps else (after[0], after[1])


def gradients(
    model: Any, problem: Any, recipe: gradient_based.Recipe, seeds: list[list[Seed]], horizons: list[int],
    told: list[list[int | None]], progress: Any, executor: Executor | None = None,
) -> Iterator[tuple[float, Array]]:
    """L and T5 of each window of an epoch, each at the ``progress.phi`` of its time.

    ``seeds`` has those of the pairs of each update, ``horizons`` their number of steps, and ``told`` what the optimizer
    is told of it. Pairs may be computed on an executor, in any order: their gradients are added in the order of the
    seeds.
    """
    for of_pairs, steps, known in zip(seeds, horizons, told):
        runs: list[Any] = [None] * len(of_pairs)
        for first in range(0, steps, recipe.unroll or steps):
            jobs = [(model, problem, recipe, progress.phi, seed, steps, one, first, run)
                    for seed, one, run in zip(of_pairs, known, runs)]
            if executor is None:
                results = [pair(*job) for job in jobs]
            else:
                results = [future.result() for future in [executor.submit(pair, *job) for job in jobs]]
            total, d_phi = 0.0, np.zeros_like(progress.phi)
            for plus, minus, eps, _ in results:
                total += (plus + minus) / 2
                d_phi += eps * ((plus - minus) / (2 * recipe.sigma))  # T5
            runs = [run for _, _, _, run in results]
            yield total / len(results), d_phi / len(results)

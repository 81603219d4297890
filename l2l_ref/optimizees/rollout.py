"""Run an optimizer, learned or hand-designed, on a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array, Optimizer, Task


def rollout(optimizer: Optimizer, task: Task, steps: int) -> Array:
    """The losses f(theta_t) for t = 0..steps, at the same points for every optimizer.

    Parameters
    ----------
    optimizer : GradientOptimizer
        An object with ``init`` and ``update``.
    task : Task
        From a problem of `l2l_ref.optimizees`.
    steps : int

    Returns
    -------
    ndarray, shape (steps + 1, B)
        The losses of the B functions, before the first step and after each step. Once a function has left the range of
        its dtype, its losses are nan or infinite; there is no warning.
    """
    theta = task.theta0
    state = optimizer.init(theta)
    curve = np.empty((steps + 1, len(theta)), theta.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            curve[t], gradient = task.loss_and_gradient(theta)
            update, state = optimizer.update(gradient, state)
            theta = theta + update
        curve[steps], _ = task.loss_and_gradient(theta)
    return curve

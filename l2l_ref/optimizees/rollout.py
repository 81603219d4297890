"""Run an optimizer, learned or hand-designed, on a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array, Optimizer, Task


def begin(optimizer: Optimizer, theta: Array, task: Any) -> Any:
    """``optimizer.init(theta)`` for rows theta (B, n) of parameters of a task or a problem.

    An optimizer that goes by the names of parameters is told the names of those of a row, ``task.shapes``. One whose
    coordinates depend on each other is told that each row is a function of its own.
    """
    if getattr(optimizer, "by_function", False):
        return optimizer.init(theta, functions=len(theta))  # type: ignore[call-arg]
    if not getattr(optimizer, "by_name", False):
        return optimizer.init(theta)
    shapes = getattr(task, "shapes", None)
    if shapes is None:
        raise ValueError(f"{type(task).__name__}: expected named parameters, for which {type(optimizer).__name__} has "
                         "parts, got none")
    return optimizer.init(theta, shapes)


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
    return optimize(optimizer, task, steps)[0]


def optimize(optimizer: Optimizer, task: Task, steps: int) -> tuple[Array, Array]:
    """The losses of `rollout`, and the last parameters theta_T (B, n)."""
    theta = task.theta0
    state = begin(optimizer, theta, task)
    curve = np.empty((steps + 1, len(theta)), theta.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            curve[t], gradient = task.loss_and_gradient(theta)
            update, state = optimizer.update(gradient, state)
            theta = theta + update
        curve[steps], _ = task.loss_and_gradient(theta)
    return curve, theta

"""Run an optimizer, learned or hand-designed, on a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..protocols import updated

if TYPE_CHECKING:
    from ..protocols import Array, Optimizer, Task


def begin(optimizer: Optimizer, theta: Array, task: Any, steps: int | None) -> Any:
    """``optimizer.init(theta)`` for rows theta (B, n) of parameters of a task or a problem.

    An optimizer says by attributes what else it is to be told. With ``by_name`` it goes by the names of parameters, and
    gets those of a row, ``task.shapes``. With ``by_function`` its coordinates depend on each other, and it gets the
    keyword ``functions``: each row is a function of its own; it can do without names. With ``wants_steps`` it gets the
    keyword ``steps``, the number of steps that the run will have, or None. (With ``wants_params``, ``update`` is told
    theta.)
    """
    init: Any = optimizer.init
    positional: tuple[Any, ...] = (theta,)
    if getattr(optimizer, "by_name", False):
        shapes = getattr(task, "shapes", None)
        if shapes is None and not getattr(optimizer, "by_function", False):
            raise ValueError(f"{type(task).__name__}: expected named parameters, by which {type(optimizer).__name__} "
                             "goes, got none")
        positional = theta, shapes
    told: dict[str, int | None] = {}
    if getattr(optimizer, "by_function", False):
        told["functions"] = len(theta)
    if getattr(optimizer, "wants_steps", False):
        told["steps"] = steps
    return init(*positional, **told)


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
    state = begin(optimizer, theta, task, steps)
    curve = np.empty((steps + 1, len(theta)), theta.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            curve[t], gradient = task.loss_and_gradient(theta)
            update, state = updated(optimizer, gradient, state, theta)
            theta = theta + update
        curve[steps], _ = task.loss_and_gradient(theta)
    return curve, theta

"""Run any optimizer, learned or hand-designed, on a task."""

import numpy as np


def rollout(optimizer, task, steps):
    """f(theta_t) for t = 0..steps, everybody measured at the same points.

    Parameters
    ----------
    optimizer : object with ``init`` and ``update``
    task : a task of ``optimizees``
    steps : int

    Returns
    -------
    (steps + 1, B) array
        The losses of the B functions, before the first step and after each. A function that has left the
        range of its dtype stays at nan or infinity; nobody is warned.
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

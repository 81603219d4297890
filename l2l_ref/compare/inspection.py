"""What a trained optimizer does: the update that it proposes for a gradient, and how far back its state matters.

Source of the first: Andrychowicz et al. 2016, appendix B. The second is what Hochreiter 1991 asked of recurrent
networks: the norm of the gradient of what comes out at the end, with respect to the state at an earlier step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..baselines.gradient import Adam
from ..learned import coordinatewise
from ..learned.optimizer import CoordinatewiseLSTM
from ..learned.sharing_optimizer import SharingLSTM
from ..trees import flatten, tree_map

if TYPE_CHECKING:
    from ..protocols import Array, Task

HISTORY = 10  # the gradients that decide how wide a range is looked at


class Proposals(NamedTuple):
    """A run of a learned optimizer, what Adam would have done along it, and both as functions of the gradient.

    The run is of one function. What is drawn at some steps is of one of its coordinates.
    """

    gradients: np.ndarray         # (T, n), at theta_0 .. theta_T-1
    learned: np.ndarray           # (T, n), the updates
    adam: np.ndarray              # (T, n), those that Adam proposes at the same points
    coordinate: int
    steps: tuple[int, ...]        # S steps, counted from 0
    grid: np.ndarray              # (S, G), gradients that the coordinate might have had at this step
    learned_of_grid: np.ndarray   # (S, G), the update that the learned optimizer would have proposed
    adam_of_grid: np.ndarray      # (S, G)

    def uphill(self) -> dict[str, float]:
        """The share of the updates, of all steps and coordinates, that have the sign of the gradient."""
        return {name: float(np.mean(updates * self.gradients > 0))
                for name, updates in (("learned", self.learned), ("adam", self.adam))}


def require_coordinatewise(model: Any) -> CoordinatewiseLSTM:
    """The model, if its coordinates have states of their own and nothing else. Otherwise raises ValueError."""
    if not isinstance(model, CoordinatewiseLSTM) or isinstance(model, SharingLSTM):
        raise ValueError(f"model: expected a CoordinatewiseLSTM or a CoordinatewiseRNN, got {type(model).__name__}")
    return model


def proposals(
    model: CoordinatewiseLSTM, task: Task, steps: int, adam_rate: float, at: Sequence[int], coordinate: int = 0,
    points: int = 401,
) -> Proposals:
    """Run a learned optimizer on the first function of a task, and ask it what it would do with other gradients.

    Parameters
    ----------
    model : CoordinatewiseLSTM
    task : Task
    steps : int
    adam_rate : float
        The learning rate of Adam.
    at : sequence of int
        The steps, counted from 0, at which one coordinate is looked at. There, its state is what the run has made of it
        so far, and its gradient takes ``points`` values, up to twice the largest of the last `HISTORY`.
    coordinate : int
    points : int

    Raises
    ------
    ValueError
        For a model whose coordinates depend on each other, and for steps and coordinates that there are not.
    """
    model, adam = require_coordinatewise(model), Adam(adam_rate)
    theta = task.theta0
    for name, values, most in (("at", at, steps), ("coordinate", [coordinate], theta.shape[1])):
        if not all(0 <= value < most for value in values):
            raise ValueError(f"{name}: expected numbers from 0 to {most - 1}, got {', '.join(map(str, values))}")
    state, slots = model.init(theta), adam.init(theta)
    gradients, learned, theirs, of_grid = list[Any](), list[Any](), list[Any](), dict[int, Any]()
    for t in range(steps):
        gradient = task.loss_and_gradient(theta)[1]
        gradients.append(gradient[0])
        if t in at:
            largest = max(np.abs(g[coordinate]) for g in gradients[-HISTORY:])
            grid = np.linspace(-2 * largest, 2 * largest, points, dtype=theta.dtype)

            def repeated(a: Array, points: int = points) -> Array:
                return np.repeat(a[coordinate : coordinate + 1], points, axis=0)

            rows = model.init(grid)._replace(layers=tree_map(repeated, state.layers))
            slot_rows = type(slots)(*(repeated(s[0]) if isinstance(s, np.ndarray) else s for s in slots))
            of_grid[t] = grid, model.update(grid, rows)[0], adam.update(grid, slot_rows)[0]
        update, state = model.update(gradient, state)
        proposed, slots = adam.update(gradient, slots)
        learned.append(update[0])
        theirs.append(proposed[0])
        theta = theta + update
    grid, learned_of_grid, adam_of_grid = (np.stack(of) for of in zip(*(of_grid[t] for t in at)))
    return Proposals(np.stack(gradients), np.stack(learned), np.stack(theirs), coordinate, tuple(at), grid,
                     learned_of_grid, adam_of_grid)


def memory(model: CoordinatewiseLSTM, task: Task, steps: int) -> Array:
    """How much the last loss depends, through the last update, on the state of each step before.

    Along a run of ``steps`` T, the number k = 0..T-1 is the norm of d loss_T / d state_T-1-k, where loss_T changes with
    the update of the last step alone, and the gradients that the optimizer sees are held fixed. The state has all units
    of all layers and coordinates. The numbers are relative to the first, and computed in float64.
    """
    model = require_coordinatewise(model)
    theta, state = np.asarray(task.theta0), model.init(task.theta0)
    start, gradients = state.layers, list[Any]()
    for _ in range(steps):
        gradient = task.loss_and_gradient(theta)[1]
        gradients.append(gradient.ravel())
        update, state = model.update(gradient, state)
        theta = theta + update
    d_g = task.loss_and_gradient(theta)[1].ravel().astype(np.float64)
    (_, last), cache = coordinatewise.unroll(np.array(gradients, np.float64), tree_map(np.float64, start),
                                             model.params_as(np.float64), model.preprocess, model.output_scale)
    d_state, norms = coordinatewise.zeros_like_state(last), list[Any]()
    for step in reversed(cache.steps):
        _, d_state, _ = coordinatewise.step_backward((d_g, d_state), step)
        norms.append(np.linalg.norm(flatten(d_state)))
        d_g = np.zeros_like(d_g)
    return np.array(norms) / norms[0]

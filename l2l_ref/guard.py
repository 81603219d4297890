"""A guard for a learned optimizer: it runs beside a hand-designed one, block by block, and the better one goes on.

    Q11  from one point, both optimizers take a block of k steps, each with its own state
    Q12  the point goes on that the lower mean loss over the second half of its block has led to, and both begin there

A learned optimizer can fail on a function unlike those that it was trained on. With the guard the fallback takes over
there, at twice the gradients: a step that counts takes two of them. A choice looks one block ahead, so a guarded run
can still end a little above that of the better optimizer alone. Each optimizer keeps the state that its own block has
left, whether it has won the block or not, because its gradients came from nearby.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .checks import require_optimizer, short, whole_number
from .optimizees.rollout import begin
from .protocols import updated
from .trees import add, build, layout, leaves, require_layout, tree_map

if TYPE_CHECKING:
    from .protocols import Array, Optimizer

LOG = logging.getLogger("l2l_ref")
BLOCK = 10


class GuardedResult(NamedTuple):
    """The result of a guarded run."""

    theta: Any           # the last point, of the structure of the first
    losses: np.ndarray   # (steps + 1,) or (steps + 1, B): of the blocks that went on, beginning with the first point
    kept: np.ndarray     # (blocks,) or (blocks, B) of bool: whether the block of the learned optimizer went on
    evaluations: int     # of the function and its gradient, 2 steps + 1


class Guarded:
    """A learned optimizer with a guard; `guarded` makes one."""

    def __init__(self, optimizer: Optimizer, fallback: Optimizer, block: int = BLOCK) -> None:
        require_optimizer("optimizer", optimizer)
        require_optimizer("fallback", fallback)
        self.optimizer, self.fallback, self.block = optimizer, fallback, whole_number("block", block)

    def __repr__(self) -> str:
        return f"guarded({self.optimizer!r}, {self.fallback!r}, block={self.block})"

    def start(self, theta: Any, steps: int, task: Any = None) -> GuardedRun:
        """A run of ``steps`` steps from theta, for a loop of your own.

        Parameters
        ----------
        theta : array or tree of arrays
            With values of shape (B,) told later, an array (B, n): B functions, of which each is guarded by itself.
        steps : int
            Steps that count; each takes two gradients.
        task : optional
            With ``shapes``, for an optimizer that goes by the names of parameters.
        """
        return GuardedRun(self, theta, whole_number("steps", steps), task)

    def minimize(self, value_and_gradient: Callable[[Any], tuple[Any, Any]], theta: Any, steps: int,
                 task: Any = None) -> GuardedResult:
        """Take ``steps`` steps from theta.

        Parameters
        ----------
        value_and_gradient : callable
            theta -> the loss, a number or (B,), and its gradient, of the structure of theta.
        theta, steps, task
            As in `start`.

        Returns
        -------
        GuardedResult
            As from `GuardedRun.result`.

        Raises
        ------
        ValueError
            For steps below 1, and for a loss that is no number or row of numbers.
        """
        run = self.start(theta, steps, task)
        while not run.done:
            run.tell(*value_and_gradient(run.theta))
        return run.result()


class GuardedRun:
    """A guarded run as a loop of your own: evaluate at ``theta``, ``tell`` the result, until ``done``.

    Attributes
    ----------
    theta : array or tree of arrays
        Where to evaluate next. Every other block is a trial that may be taken back: `result` has the point to keep.
    done : bool
    """

    def __init__(self, guard: Guarded, theta: Any, steps: int, task: Any) -> None:
        self._optimizers = guard.optimizer, guard.fallback
        self._states: list[Any] = []           # from the first loss on, which says whether theta is of one function
        self._block, self._steps, self._task = guard.block, steps, task
        self.theta = self._point = theta
        self._value: Any = None
        self._gradient: Any = None
        self._number = 0                       # 0 in the block of the learned optimizer, 1 in that of the fallback
        self._values: list[Array] = []         # of the block so far
        self._first: tuple[Any, ...] = ()      # what the block of the learned optimizer has led to
        self._losses: list[Array] = []
        self._evaluations = 0
        self._kept: list[Array] = []

    @property
    def done(self) -> bool:
        return len(self._losses) == self._steps + 1

    def tell(self, value: Any, gradient: Any) -> None:
        """The loss at ``theta``, a number or (B,), and the gradient there, of the structure of theta."""
        if self.done:
            raise ValueError(f"tell: expected at most {2 * self._steps + 1} values for {self._steps} steps")
        value = self._fitting(value)
        require_layout("gradient", gradient, layout(self.theta), "theta")
        gradient = tree_map(np.array, gradient)  # a copy: a loop may use its buffer again
        self._evaluations += 1
        if not self._losses:
            self._states = [begin(one, self.theta, self._task, self._steps) if value.ndim else _alone(one, self.theta,
                                                                                                     self._steps)
                            for one in self._optimizers]
            self._losses.append(value)
            self._gradient = gradient
            self._step(gradient)
            return
        self._values.append(value)
        if len(self._values) < min(self._block, self._steps + 1 - len(self._losses)):
            self._step(gradient)
            return
        ended = np.stack(self._values), self.theta, gradient
        self._values = []
        if self._number == 0:
            self._first, self._number = ended, 1
        else:
            self._choose(self._first, ended)
            self._number = 0
        if not self.done:
            self.theta = self._point
            self._step(self._gradient)                               # Q11

    def result(self) -> GuardedResult:
        """What has gone on so far. Raises ValueError before the first loss.

        When the run is done and the last loss is above the first, the log says so.
        """
        if not self._losses:
            raise ValueError("result: expected at least one loss to have been told, got none")
        first, last = self._losses[0], self._losses[-1]
        worse = np.count_nonzero(~(last <= first))
        if worse and self.done:
            LOG.warning("a guarded run has ended above its start%s: neither optimizer fits the function; try a smaller "
                        "learning rate of the fallback", f" on {worse} of {first.size} functions" * (first.ndim > 0))
        return GuardedResult(self._point, np.stack(self._losses), np.array(self._kept, bool), self._evaluations)

    def _fitting(self, value: Any) -> Array:
        """A loss as an array. Raises ValueError unless it is one number, or one for each row of theta."""
        try:
            value = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"value: expected one number, or one for each function, got {short(value)}") from None
        rows = np.shape(self.theta)[:1] if isinstance(self.theta, np.ndarray) and self.theta.ndim == 2 else ()
        if value.ndim and value.shape != rows or self._losses and value.shape != self._losses[0].shape:
            raise ValueError(f"value: expected one number, or one for each row of theta, got shape {value.shape}")
        return value

    def _step(self, gradient: Any) -> None:
        k = self._number
        with np.errstate(over="ignore", invalid="ignore"):
            update, self._states[k] = updated(self._optimizers[k], gradient, self._states[k], self.theta)
            self.theta = add(self.theta, update)

    def _choose(self, learned: tuple[Any, ...], fallback: tuple[Any, ...]) -> None:
        """Q12, function by function."""
        scores = [_score(values) for values, _, _ in (learned, fallback)]
        better = (scores[0] <= scores[1]) & np.isfinite(scores[0])
        self._kept.append(better)
        self._losses += list(np.where(better, learned[0], fallback[0]))
        self._point, self._gradient = (_select(better, *pair) for pair in zip(learned[1:], fallback[1:]))


def _alone(optimizer: Any, theta: Any, steps: int) -> Any:
    """The optimizer's state for one function of a tree of parameters."""
    return optimizer.init(theta, **({"steps": steps} if getattr(optimizer, "wants_steps", False) else {}))


def _score(values: Array) -> Array:
    """The mean over the second half of a block; infinity where it is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = values[len(values) // 2 :].mean(axis=0)
    return np.where(np.isfinite(mean), mean, np.inf)


def _select(better: Array, a: Any, b: Any) -> Any:
    """The arrays of the tree a where ``better``, (B,) or one bool, and those of b elsewhere."""
    return build(a, [np.where(better.reshape(better.shape + (1,) * (np.ndim(x) - better.ndim)), x, y)
                     for x, y in zip(leaves(a), leaves(b))])


def guarded(optimizer: Optimizer, fallback: Optimizer, block: int = BLOCK) -> Guarded:
    """A learned optimizer that runs beside a hand-designed one; the better of the two goes on after each block.

    It takes twice the gradients, and needs the values of the function.

    Parameters
    ----------
    optimizer : Optimizer
        For example ``l2l.load("mnist-lstm")``.
    fallback : Optimizer
        For example ``l2l.baselines.Adam(1e-3)``.
    block : int
        Steps between two choices.

    Returns
    -------
    Guarded
        With ``minimize(value_and_gradient, theta, steps)``, and ``start(theta, steps)`` for a loop of your own.

    Raises
    ------
    TypeError
        For an optimizer without ``init`` and ``update``.
    ValueError
        For a block below 1.

    Examples
    --------
    >>> guard = guarded(load("mnist-lstm"), Adam(1e-2))
    >>> result = guard.minimize(lambda theta: ((theta**2).sum(), 2 * theta), np.ones(5), steps=100)
    """
    return Guarded(optimizer, fallback, block)

"""Any optimizer, made odd in the gradient: a reference for optimizers that are odd by construction.

    C25  update = (m(g) - m(-g)) / 2

m sees two sequences of gradients and has two states, so a step costs twice as much. A `MomentsMLP` is odd for the price
of one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..trees import build, leaves, tree_map

if TYPE_CHECKING:
    from ..protocols import Optimizer, Tree


class SymmetrizedState(NamedTuple):
    """The states of the optimizer that sees g, and of the one that sees -g."""

    plus: Any
    minus: Any


class Symmetrized:
    """An optimizer whose update for -g is minus that for g, of one for which that is not so.

    Parameters
    ----------
    optimizer : Optimizer
        With ``init`` and ``update``. It is not changed.

    Examples
    --------
    >>> opt = Symmetrized(CoordinatewiseLSTM(preprocess=10.0))
    >>> update, state = opt.update(np.ones(3), opt.init(np.zeros(3)))
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.by_name, self.by_function, self.wants_steps = (  # what `init` is told, see optimizees/rollout.py
            bool(getattr(optimizer, name, False)) for name in ("by_name", "by_function", "wants_steps"))

    def init(self, theta: Any, *arguments: Any, **settings: Any) -> SymmetrizedState:
        """The state before the first step. All arguments are those of the optimizer."""
        return SymmetrizedState(*(self.optimizer.init(theta, *arguments, **settings) for _ in range(2)))

    def update(self, gradient: Tree, state: SymmetrizedState, params: Any = None) -> tuple[Tree, SymmetrizedState]:
        """C25. The arguments and the errors are those of the optimizer; ``params`` is ignored."""
        up, plus = self.optimizer.update(gradient, state.plus)
        down, minus = self.optimizer.update(tree_map(lambda leaf: -leaf, gradient), state.minus)
        half = [(a - b) / 2 for a, b in zip(leaves(up), leaves(down), strict=True)]  # C25
        return build(gradient, half), SymmetrizedState(plus, minus)

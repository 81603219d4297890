"""Any optimizer, made odd in the gradient: a reference for optimizers that are odd by construction.

    C25  update = (m(g) - m(-g)) / 2

m sees two sequences of gradients and has two states, so a step costs twice as much. A `MomentsMLP` is odd for the price
of one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocols import updated
from ..trees import build, leaves, tree_map
from .wrapper import Wrapper

if TYPE_CHECKING:
    from ..protocols import Tree


class SymmetrizedState(NamedTuple):
    """The states of the optimizer that sees g, and of the one that sees -g."""

    plus: Any
    minus: Any


class Symmetrized(Wrapper):
    """An optimizer whose update for -g is minus that for g, of one for which that is not so.

    Parameters
    ----------
    optimizer : Optimizer
        With ``init`` and ``update``. It is not changed.

    Raises
    ------
    TypeError
        For an optimizer without ``init`` and ``update``.

    Examples
    --------
    >>> opt = Symmetrized(CoordinatewiseLSTM(preprocess=10.0))
    >>> update, state = opt.update(np.ones(3), opt.init(np.zeros(3)))
    """

    def init(self, theta: Any, *arguments: Any, **settings: Any) -> SymmetrizedState:
        """The state before the first step. All arguments are those of the optimizer."""
        return SymmetrizedState(*(self.optimizer.init(theta, *arguments, **settings) for _ in range(2)))

    def update(self, gradient: Tree, state: SymmetrizedState, params: Any = None) -> tuple[Tree, SymmetrizedState]:
        """C25. The arguments and the errors are those of the optimizer.

        One that takes ``params`` into account, for weight decay, is not odd in the gradient alone.
        """
        up, plus = updated(self.optimizer, gradient, state.plus, params)
        down, minus = updated(self.optimizer, tree_map(lambda leaf: -leaf, gradient), state.minus, params)
        half = [(a - b) / 2 for a, b in zip(leaves(up), leaves(down), strict=True)]  # C25
        return build(gradient, half), SymmetrizedState(plus, minus)

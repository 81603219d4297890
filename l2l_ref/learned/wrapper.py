"""What optimizers with another one inside have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..checks import require_optimizer

if TYPE_CHECKING:
    from ..protocols import Optimizer

WANTS = ("by_name", "by_function", "wants_steps", "wants_params")  # see optimizees/rollout.py


class Wrapper:
    """An optimizer with another one inside, for which it is told what that one wants to know.

    Raises TypeError for an optimizer without ``init`` and ``update``.
    """

    by_name: bool
    by_function: bool
    wants_steps: bool
    wants_params: bool

    def __init__(self, optimizer: Optimizer) -> None:
        require_optimizer("optimizer", optimizer)
        self.optimizer = optimizer
        for name in WANTS:
            setattr(self, name, bool(getattr(optimizer, name, False)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.optimizer!r})"

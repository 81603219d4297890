"""Every differentiable operation of the package, once: what the audit, the tests and the docs read.

There is one file for each chapter of the explanations in docs/. An entry names the forward function; its backward is
the function ``<forward>_backward`` that stands below it.
"""

from . import black_box, gaussian_processes, layers, memory, optimizees, recurrent
from .operation import Operation

__all__ = ["OPERATIONS", "Operation"]

OPERATIONS = (
    *layers.OPERATIONS, *recurrent.OPERATIONS, *optimizees.OPERATIONS, *gaussian_processes.OPERATIONS,
    *black_box.OPERATIONS, *memory.OPERATIONS,
)

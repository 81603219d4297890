"""The catalogue: every differentiable operation of the package, listed once for the audit, the tests and the docs.

Each chapter is a file of its own, and is loaded when an operation is looked for in it. `OPERATIONS` holds all of them.
"""

import importlib

from .operation import Operation

__all__ = ["OPERATIONS", "Operation", "find"]

CHAPTERS = ("layers", "recurrent", "optimizees", "gaussian_processes", "black_box", "memory")

OPERATIONS: tuple[Operation, ...]  # of all chapters, see __getattr__


def find(name: str) -> Operation:
    """The operation of this name. Raises ValueError if there is none."""
    known = []
    for chapter in CHAPTERS:
        for operation in _operations_of(chapter):
            if operation.name == name:
                return operation
            known.append(operation.name)
    raise ValueError(f"name: expected an operation, one of {', '.join(known)}, got {name!r}")


def _operations_of(chapter: str) -> tuple[Operation, ...]:
    operations: tuple[Operation, ...] = importlib.import_module(f".{chapter}", __name__).OPERATIONS
    return operations


def __getattr__(name: str) -> tuple[Operation, ...]:
    if name != "OPERATIONS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    operations = tuple(operation for chapter in CHAPTERS for operation in _operations_of(chapter))
    globals()[name] = operations
    return operations

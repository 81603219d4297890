"""The catalogue: every differentiable operation of the package, listed once for the audit, the tests and the docs.

Each chapter is a file of its own, and is loaded when an operation is looked for in it. `OPERATIONS` holds all of them.
`TWINS` holds the compiled twins that have a backward pass, where numba works.
"""

import importlib

from .operation import Operation

__all__ = ["OPERATIONS", "TWINS", "Operation", "find"]

CHAPTERS = (
    "layers", "images", "recurrent", "sharing", "moments", "meta_gradients", "optimizees", "gaussian_processes",
    "black_box", "memory",
)
COMPILED = ("twins",)

OPERATIONS: tuple[Operation, ...]  # of all chapters, see __getattr__
TWINS: tuple[Operation, ...]


def find(name: str) -> Operation:
    """The operation of this name. Raises ValueError if there is none."""
    known = []
    for chapter in CHAPTERS + COMPILED:
        for operation in _operations_of(chapter):
            if operation.name == name:
                return operation
            known.append(operation.name)
    raise ValueError(f"name: expected an operation, one of {', '.join(known)}, got {name!r}")


def _operations_of(chapter: str) -> tuple[Operation, ...]:
    operations: tuple[Operation, ...] = importlib.import_module(f".{chapter}", __name__).OPERATIONS
    return operations


def __getattr__(name: str) -> tuple[Operation, ...]:
    chapters = {"OPERATIONS": CHAPTERS, "TWINS": COMPILED}.get(name)
    if chapters is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    operations = tuple(operation for chapter in chapters for operation in _operations_of(chapter))
    globals()[name] = operations
    return operations

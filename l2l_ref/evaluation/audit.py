"""Check every operation of a catalogue against differences: the proof behind ``python -m l2l_ref audit``.

Each operation is checked on its example and on every further case, for several seeds:

    - float64 against central differences
    - float64 against the complex step, where the operation is analytic
    - float32 against central differences of the same values in float64
"""

from typing import NamedTuple

import numpy as np

from ..checking import gradcheck, trees


class Check(NamedTuple):
    """One run of the checker."""

    case: str    # "example" or the name of a case
    kind: str    # "central", "complex", "float32"
    seed: int
    report: object


class Result(NamedTuple):
    """What was found for one operation."""

    name: str
    module: str
    equation: str
    cases: int          # examples checked, each in all ways and for all seeds
    max_error: float    # error of the worst entry, as `gradcheck` measures it
    tolerance: float    # its bound; the worst entry is the one closest to its bound or furthest beyond
    ok: bool
    failures: tuple     # the Checks that failed


def examples(operation):
    """The inputs an operation is checked on: {"example": rng -> inputs, name of case: ...}."""
    return {"example": operation.example, **operation.cases}


def in_float32(inputs):
    """The same inputs with every floating array in float32; constants stay as they are."""

    def cast(leaf):
        return trees.like(np.asarray(leaf, np.float32), leaf) if trees.is_floating(leaf) else leaf

    return trees.rebuild(inputs, (cast(leaf) for _, leaf in trees.leaves(inputs)))


def checks(operation, case, seed):
    """Yield the Checks of one example of one operation."""
    inputs = examples(operation)[case](np.random.default_rng(seed))
    runs = {"central": (inputs, "central")}
    if operation.analytic:
        runs["complex"] = (inputs, "complex")
    runs["float32"] = (in_float32(inputs), "central")
    for kind, (values, method) in runs.items():
        report = gradcheck(operation.forward, operation.backward, values, method=method, seed=seed)
        yield Check(case, kind, seed, report)


def audit(operations, seeds=(0, 1)):
    """Yield a Result for each operation.

    Parameters
    ----------
    operations : iterable of Operation
        Anything with the fields of `l2l_ref.catalogue.Operation`.
    seeds : sequence of int
        One draw of every example, and one of the cotangent, for each.
    """
    for operation in operations:
        done = [check for case in examples(operation) for seed in seeds for check in checks(operation, case, seed)]
        failures = tuple(check for check in done if not check.report.ok)
        structural = any(check.report.problems for check in done)
        worst = max(
            (check.report.worst for check in done if check.report.worst),
            key=lambda entry: (not entry.ok, entry.excess),
            default=None,
        )
        compared = worst is not None and not structural
        yield Result(
            operation.name,
            operation.module,
            operation.equation,
            len(examples(operation)),
            worst.error if compared else np.inf,
            worst.bound if compared else 0.0,
            not failures,
            failures,
        )

"""Check every operation of a catalogue in several ways: the proof behind ``python -m l2l_ref audit``.

Each operation is checked on its example and on every further case, for several seeds, in each of the `KINDS`.
"""

import math
import time
from typing import NamedTuple

import numpy as np

from ..checking import gradcheck, trees

KINDS = {
    "central": "float64 against central differences, every entry of every input",
    "complex": "float64 against the complex step, which subtracts nothing, every entry; for analytic operations",
    "adjoint": "<w, J u> = <J^T w, u> in float64 for random u and w: all inputs and all outputs at once",
    "float32": "float32 against central differences of the same values in float64, every entry",
}
SEVERITY = ("PASS", "INCONCLUSIVE", "FAIL")


class Check(NamedTuple):
    """One run of the checker."""

    case: str  # "example" or the name of a case
    kind: str  # one of KINDS
    seed: int
    report: object

    @property
    def verdict(self):
        return self.report.verdict

    @property
    def worst(self):
        """The entry or direction closest to its bound or furthest beyond; None when nothing was compared."""
        checked = [entry for entry in self.report.entries if entry.count]
        numbers = checked or self.report.directions
        return max(numbers, key=lambda n: (SEVERITY.index(n.verdict), _excess(n.error, n.bound)), default=None)

    @property
    def error(self):
        return math.inf if self.report.problems else self.worst.error if self.worst else 0.0

    @property
    def bound(self):
        return self.worst.bound if self.worst and not self.report.problems else 0.0

    @property
    def excess(self):
        """error / bound: right is at most 1."""
        return _excess(self.error, self.bound)

    def __str__(self):
        return f"{self.case}, {self.kind}, seed {self.seed}"


def _excess(error, bound):
    """error / bound, where nan and anything / 0 count as infinite."""
    if error == 0.0:
        return 0.0
    ratio = error / bound if bound > 0.0 else math.inf
    return math.inf if math.isnan(ratio) else ratio


def worst(checks):
    """The Check that speaks most against the operation; None of none."""
    return max(checks, key=lambda check: (SEVERITY.index(check.verdict), check.excess), default=None)


class Result(NamedTuple):
    """What was found for one operation."""

    operation: object
    checks: tuple  # of Check
    seconds: float

    @property
    def name(self):
        return self.operation.name

    @property
    def module(self):
        return self.operation.module

    @property
    def equation(self):
        return self.operation.equation

    @property
    def cases(self):
        """How many examples were checked, each in all ways and for all seeds."""
        return len(examples(self.operation))

    def of(self, kind, case=None):
        """The Checks of one kind, of one case or of all."""
        return [check for check in self.checks if check.kind == kind and case in (None, check.case)]

    @property
    def worst(self):
        return worst(self.checks)

    @property
    def max_error(self):
        """The error of the worst Check. Errors of different checks have different bounds: worst is error / bound."""
        return self.worst.error

    @property
    def tolerance(self):
        """The bound that belongs to ``max_error``."""
        return self.worst.bound

    @property
    def verdict(self):
        return self.worst.verdict

    @property
    def ok(self):
        return self.verdict == "PASS"

    @property
    def failures(self):
        """The Checks that did not pass."""
        return tuple(check for check in self.checks if check.verdict != "PASS")


def examples(operation):
    """The inputs an operation is checked on: {"example": rng -> inputs, name of case: ...}."""
    return {"example": operation.example, **operation.cases}


def in_float32(inputs):
    """The same inputs with every floating array in float32; constants stay as they are."""

    def cast(leaf):
        return trees.like(np.asarray(leaf, np.float32), leaf) if trees.is_floating(leaf) else leaf

    return trees.rebuild(inputs, (cast(leaf) for _, leaf in trees.leaves(inputs)))


def checks(operation, case, seed):
    """Yield the Checks of one example of one operation, in the order of `KINDS`."""
    inputs = examples(operation)[case](np.random.default_rng(seed))
    runs = {
        "central": (inputs, "central", True),
        "complex": (inputs, "complex", True),
        "adjoint": (inputs, "complex" if operation.analytic else "central", False),
        "float32": (in_float32(inputs), "central", True),
    }
    if not operation.analytic:
        del runs["complex"]
    for kind, (values, method, thorough) in runs.items():
        report = gradcheck(operation.forward, operation.backward, values, method=method, thorough=thorough, seed=seed)
        yield Check(case, kind, seed, report)


def audit(operations, seeds=(0, 1), progress=lambda line: None):
    """Yield a Result for each operation.

    Parameters
    ----------
    operations : iterable of Operation
        Anything with the fields of `l2l_ref.catalogue.Operation`.
    seeds : sequence of int
        One draw of every example, and one of the cotangent, for each.
    progress : callable
        Called with a line before each case.
    """
    for operation in operations:
        start, done = time.perf_counter(), []
        for case in examples(operation):
            progress(f"{operation.name}: {case}")
            for seed in seeds:
                done += checks(operation, case, seed)
        yield Result(operation, tuple(done), time.perf_counter() - start)


def to_json(results):
    """What was found, in JSON's types; a number that is not finite is None."""

    def number(value):
        return value if math.isfinite(value) else None

    operations = [
        {
            "name": result.name,
            "module": result.module,
            "equation": result.equation,
            "cases": result.cases,
            "max_error": number(result.max_error),
            "tolerance": number(result.tolerance),
            "ok": result.ok,
            "verdict": result.verdict,
            "seconds": result.seconds,
            "checks": [
                {
                    "case": check.case,
                    "kind": check.kind,
                    "seed": check.seed,
                    "error": number(check.error),
                    "bound": number(check.bound),
                    "checked_to": number(check.report.checked_to),
                    "verdict": check.verdict,
                }
                for check in result.checks
            ],
        }
        for result in results
    ]
    return {"operations": operations, "ok": all(result.ok for result in results)}

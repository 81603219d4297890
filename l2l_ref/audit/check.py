"""Check every operation of the catalogue, on its example and all of its cases, for several seeds, in all `KINDS`."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..catalogue import Operation
from ..checking import Report, gradcheck, trees

KINDS = {
    "central": "Every entry of every input in float64, against central differences.",
    "complex": "Every entry in float64, against the complex step, which subtracts nothing; for analytic operations.",
    "adjoint": "<w, J u> = <J^T w, u> in float64 for random u and w: all inputs and all outputs at once.",
    "float32": "Every entry as the float32 code computes it, against central differences of the same values in "
    "float64. The bound is the error that the rounding of float32 can explain.",
}
SEVERITY = ("PASS", "INCONCLUSIVE", "FAIL")


class Check(NamedTuple):
    """One run of the checker."""

    case: str  # "example" or the name of a case
    kind: str  # a key of KINDS
    seed: int
    report: Report

    @property
    def verdict(self) -> str:
        return self.report.verdict

    @property
    def worst(self) -> Any:
        """The Entry or Direction closest to its bound, or furthest beyond it; None if nothing was compared."""
        checked = [entry for entry in self.report.entries if entry.count]
        numbers: Sequence[Any] = checked or self.report.directions
        return max(numbers, key=lambda n: (SEVERITY.index(n.verdict), _excess(n.error, n.bound)), default=None)

    @property
    def error(self) -> float:
        return math.inf if self.report.problems else self.worst.error if self.worst else 0.0

    @property
    def bound(self) -> float:
        return self.worst.bound if self.worst and not self.report.problems else 0.0

    @property
    def excess(self) -> float:
        """error / bound, which is at most 1 if the gradient is right."""
        return _excess(self.error, self.bound)

    def __str__(self) -> str:
        return f"{self.case}, {self.kind}, seed {self.seed}"


def _excess(error: float, bound: float) -> float:
    """error / bound; infinite if that is nan or a division by 0."""
    if error == 0.0:
        return 0.0
    ratio = error / bound if bound > 0.0 else math.inf
    return math.inf if math.isnan(ratio) else ratio


def worst(checks: Iterable[Check]) -> Check | None:
    """The Check closest to its bound, or furthest beyond it; None if there are no checks."""
    return max(checks, key=_badness, default=None)


def _badness(check: Check) -> tuple[int, float]:
    return SEVERITY.index(check.verdict), check.excess


class Result(NamedTuple):
    """The result of one operation."""

    operation: Operation
    checks: tuple[Check, ...]
    seconds: float

    @property
    def name(self) -> str:
        return self.operation.name

    @property
    def module(self) -> str:
        return self.operation.module

    @property
    def equation(self) -> str:
        return self.operation.equation

    @property
    def cases(self) -> int:
        """The number of examples, each of which was checked in all ways and for all seeds."""
        return len(examples(self.operation))

    def of(self, kind: str, case: str | None = None) -> list[Check]:
        """The Checks of one kind, for one case or for all of them."""
        return [check for check in self.checks if check.kind == kind and case in (None, check.case)]

    @property
    def worst(self) -> Check:
        """The Check closest to its bound, or furthest beyond it."""
        return max(self.checks, key=_badness)

    @property
    def max_error(self) -> float:
        """The error of the worst Check. This need not be the largest error, because bounds differ."""
        return self.worst.error

    @property
    def tolerance(self) -> float:
        """The bound that belongs to ``max_error``."""
        return self.worst.bound

    @property
    def verdict(self) -> str:
        return self.worst.verdict

    @property
    def ok(self) -> bool:
        """True for PASS alone."""
        return self.verdict == "PASS"

    @property
    def failures(self) -> tuple[Check, ...]:
        """The Checks that did not pass."""
        return tuple(check for check in self.checks if check.verdict != "PASS")


def examples(operation: Operation) -> dict[str, Callable[..., Any]]:
    """The inputs on which an operation is checked: {"example": rng -> inputs, name of a case: rng -> inputs, ...}."""
    return {"example": operation.example, **operation.cases}


def in_float32(inputs: Any) -> Any:
    """The same inputs with every floating array in float32. Constants stay as they are."""

    def cast(leaf: Any) -> Any:
        return trees.like(np.asarray(leaf, np.float32), leaf) if trees.is_floating(leaf) else leaf

    return trees.rebuild(inputs, (cast(leaf) for _, leaf in trees.leaves(inputs)))


def checks(operation: Operation, case: str, seed: int) -> Iterator[Check]:
    """Yield the Checks of one example of one operation, in the order of `KINDS`."""
    inputs = examples(operation)[case](np.random.default_rng(seed))
    runs: dict[str, tuple[Any, Any, bool]] = {
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


def audit(
    operations: Iterable[Operation], seeds: Sequence[int] = (0, 1), progress: Callable[[str], None] = lambda line: None
) -> Iterator[Result]:
    """Yield a Result for each operation.

    Parameters
    ----------
    operations : iterable of Operation
    seeds : sequence of int
        Each seed gives one draw of every example and of its cotangent.
    progress : callable
        Called with a line of text before each case.
    """
    for operation in operations:
        start = time.perf_counter()
        done: list[Check] = []
        for case in examples(operation):
            progress(f"{operation.name}: {case}")
            for seed in seeds:
                done += checks(operation, case, seed)
        yield Result(operation, tuple(done), time.perf_counter() - start)


def to_json(results: Sequence[Result]) -> dict[str, Any]:
    """The results in JSON's types; numbers that are not finite become None."""

    def number(value: float) -> float | None:
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

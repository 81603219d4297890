"""``audit``: check every hand-written backward of the package against differences of its forward.

The exit code is 0 when every gradient of every operation is within its bound, else 1.
"""

import json
import math
import sys

from l2l_ref.catalogue import OPERATIONS
from l2l_ref.evaluation.audit import audit

SEEDS = 2  # draws of every example


def configure(parser):
    """Add the options of this command to an ``argparse`` parser."""
    parser.add_argument("--only", metavar="NAME", help="check this operation alone")
    parser.add_argument("--seed", type=int, default=0, help=f"the first of {SEEDS} seeds (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args):
    """Check, print what was found; returns the exit code.

    Raises
    ------
    ValueError
        There is no operation named ``--only``, or the seed is negative.
    """
    if args.seed < 0:
        raise ValueError(f"--seed: expected a number >= 0, got {args.seed}")
    operations = [op for op in OPERATIONS if args.only in (None, op.name)]
    if not operations:
        known = ", ".join(op.name for op in OPERATIONS)
        raise ValueError(f"--only: no operation named {args.only!r}; known: {known}")

    results = []
    for result in audit(operations, seeds=range(args.seed, args.seed + SEEDS)):
        results.append(result)
        if sys.stderr.isatty():
            progress = f"\r\033[K{len(results)} of {len(operations)}: {result.name}"
            print(progress, end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)

    ok = all(result.ok for result in results)
    print(json.dumps(_as_json(results, ok)) if args.json else _as_text(results, ok))
    return 0 if ok else 1


def _as_json(results, ok):
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
        }
        for result in results
    ]
    return {"operations": operations, "ok": ok}


def _as_text(results, ok):
    rows = [("operation", "module", "cases", "worst error", "tolerance", "")]
    for r in results:
        verdict = "ok" if r.ok else "WRONG"
        rows.append((r.name, r.module, str(r.cases), f"{r.max_error:.1e}", f"{r.tolerance:.1e}", verdict))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    for result in results:
        for check in result.failures:
            lines += ["", f"{result.name}, {check.case}, {check.kind}, seed {check.seed}:", f"  {check.report}"]
    wrong = sum(not result.ok for result in results)
    count = len(results)
    lines += ["", f"{count} operations, all right" if ok else f"{wrong} of {count} operations are wrong"]
    return "\n".join(lines)

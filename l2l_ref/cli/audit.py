"""Check every hand-written backward pass of the package against finite differences of its forward pass.

The exit code is 0 if every gradient of every operation is within its bound, and otherwise 1.
"""

import json
import sys
from pathlib import Path

from .. import catalogue
from ..audit.check import KINDS, audit, to_json, worst
from .arguments import JSON, require_writable, whole

SEEDS = 2  # each example of an operation is drawn with so many seeds


def configure(parser):
    parser.add_argument("--only", metavar="NAME", help="check this operation only (default: all)")
    parser.add_argument("--seed", type=whole(0), default=0,
                        help=f"first of the {SEEDS} seeds with which examples are drawn (default 0)")
    parser.add_argument("--json", action="store_true", help=JSON)
    parser.add_argument("--html", metavar="FILE",
                        help="also write a page with equations, sources, errors and curves (default: none)")


def run(args):
    """Check and print the result. Returns the exit code.

    Raises
    ------
    ValueError
        There is no operation named ``--only``, or ``--html`` cannot be written.
    ImportError
        ``--html`` needs matplotlib, which is missing.
    """
    every = args.only is None
    operations = catalogue.OPERATIONS + catalogue.TWINS if every else (catalogue.find(args.only),)
    if args.html is not None:
        from ..audit.page import page, require_matplotlib
        from ..files import write_text

        require_writable(Path(args.html))
        require_matplotlib()

    seeds = range(args.seed, args.seed + SEEDS)
    table = sys.stderr if args.json else sys.stdout
    name_width = max(len(op.name) for op in operations)
    print(_row(name_width, "operation", "cases", KINDS, "of bound", "verdict"), file=table, flush=True)
    results = []
    for result in audit(operations, seeds, _progress):
        results.append(result)
        _progress("")
        print(_row_of(result, name_width), file=table, flush=True)

    if args.json:
        print(json.dumps(to_json(results)))
    else:
        print(_in_full(results))
    if args.html is not None:
        write_text(args.html, page(results, seeds))
        print(f"page: {args.html}", file=sys.stderr)
    return 0 if all(result.ok for result in results) else 1


def _progress(line):
    """Show a line on a terminal, instead of the one before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _row(name_width, name, cases, numbers, share, verdict):
    return f"{name:{name_width}}  {cases:>5}  {'  '.join(f'{n:>7}' for n in numbers)}  {share:>8}  {verdict}"


def _row_of(result, name_width):
    """The row of one operation: the worst error of each kind, and the worst error of all as a part of its bound."""
    of_kind = [worst(result.of(kind)) for kind in KINDS]
    numbers = ["-" if check is None else f"{check.error:.1e}" for check in of_kind]
    return _row(name_width, result.name, result.cases, numbers, f"{result.worst.excess:.2g}", result.verdict)


def _in_full(results):
    """The text below the table: every failure, and how many operations passed."""
    lines = []
    for result in results:
        for check in result.failures:
            lines += ["", f"{result.name}, {check}:", f"  {check.report}"]
    wrong, count = sum(not result.ok for result in results), len(results)
    lines += ["", f"{wrong} of {count} operations did not pass" if wrong else f"{count} operations, all right"]
    return "\n".join(lines)

"""``audit``: check every hand-written backward of the package against differences of its forward.

The exit code is 0 when every gradient of every operation is within its bound, else 1.
"""

import json
import sys
from pathlib import Path

from .. import catalogue
from ..audit.check import KINDS, audit, to_json, worst
from .arguments import require_writable, whole

SEEDS = 2  # draws of every example


def configure(parser):
    """Add the options of this command to an ``argparse`` parser."""
    parser.add_argument("--only", metavar="NAME", help="check this operation alone")
    parser.add_argument("--seed", type=whole(0), default=0, help=f"the first of {SEEDS} seeds (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--html", metavar="FILE", help="also write a page: equations, sources, errors and curves")


def run(args):
    """Check, print what was found; returns the exit code.

    Raises
    ------
    ValueError
        There is no operation named ``--only``, or ``--html`` cannot be written.
    ImportError
        ``--html`` without matplotlib.
    """
    operations = catalogue.OPERATIONS if args.only is None else (catalogue.find(args.only),)
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
    """One line on a terminal, each in place of the one before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _row(name_width, name, cases, numbers, share, verdict):
    return f"{name:{name_width}}  {cases:>5}  {'  '.join(f'{n:>7}' for n in numbers)}  {share:>8}  {verdict}"


def _row_of(result, name_width):
    """The worst error of each kind, and how much of its bound the worst of all takes."""
    of_kind = [worst(result.of(kind)) for kind in KINDS]
    numbers = ["-" if check is None else f"{check.error:.1e}" for check in of_kind]
    return _row(name_width, result.name, result.cases, numbers, f"{result.worst.excess:.2g}", result.verdict)


def _in_full(results):
    """The text below the table: every failure, and the sum."""
    lines = []
    for result in results:
        for check in result.failures:
            lines += ["", f"{result.name}, {check}:", f"  {check.report}"]
    wrong, count = sum(not result.ok for result in results), len(results)
    lines += ["", f"{wrong} of {count} operations did not pass" if wrong else f"{count} operations, all right"]
    return "\n".join(lines)

"""Write a trained optimizer as one source file in NumPy, Python, C or JavaScript, with its weights and a self-test."""

import json
from pathlib import Path

from ..exporting.export import export
from ..exporting.writers import SUFFIXES, TARGETS
from .arguments import JSON, progress, require_writable


def configure(parser):
    parser.add_argument("model", metavar="MODEL", help="a shipped optimizer, or a file that train wrote")
    parser.add_argument("--to", choices=TARGETS, default="numpy",
                        help="numpy; python, the standard library alone; c, a C99 header; js, an ES module "
                             "(default numpy)")
    parser.add_argument("--output", metavar="FILE",
                        help="where the file is written (default: the name of the model in this folder, with _python "
                             "after it for python)")
    parser.add_argument("--part", metavar="NAME", help="the part of an optimizer of several parts")
    parser.add_argument("--json", action="store_true", help=f"{JSON}: the file and its size")


def run(args):
    stem = "_".join([Path(args.model).stem, *([args.part] if args.part else [])]).replace("-", "_")
    output = Path(args.output or stem + SUFFIXES[args.to])
    require_writable(output)
    text = export(args.model, args.to, output, part=args.part)
    if args.json:
        print(json.dumps({"file": str(output), "to": args.to, "bytes": len(text.encode())}))
    progress(f"{output}: {len(text.splitlines())} lines, {len(text.encode()) // 1000} kB")
    return 0

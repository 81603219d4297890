"""Write a page for a browser in which learned optimizers are watched at work.

It is one file and needs no network.
"""

import json
from pathlib import Path

from ..exporting.play import play
from .arguments import JSON, progress, require_writable


def configure(parser):
    parser.add_argument("--output", metavar="FILE", default="play.html", help="where the page is written")
    parser.add_argument("--json", action="store_true", help=f"{JSON}: the file and its size")


def run(args):
    output = Path(args.output)
    require_writable(output)
    text = play(output)
    if args.json:
        print(json.dumps({"file": str(output), "bytes": len(text.encode())}))
    progress(f"{output}: {len(text.encode()) // 1000} kB; open it in a browser")
    return 0

"""``data``: where data sets are looked for, and which are there.

The exit code is 0 when all that is there can be used, be it much or little, and 1 when a file is
broken.
"""

import hashlib
import json
import sys

from l2l_ref.datasets import SPLITS, load
from l2l_ref.datasets.files import VARIABLE, data_folder
from l2l_ref.datasets.idx import idx_header
from l2l_ref.datasets.mnist import FILES, find_mnist, read_mnist


def configure(parser):
    """Add the options of this command to an ``argparse`` parser."""
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help=f"folder with the MNIST files, or with a subfolder mnist (default: the variable {VARIABLE})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args):
    """Print what is there; returns the exit code."""
    report = survey(args.data_dir)
    print(json.dumps(report) if args.json else _as_text(report))
    problems = [entry["problem"] for entry in report["mnist"].values() if entry["status"] == "broken"]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def survey(data_dir=None):
    """Look at every data set there is a reader for.

    Returns
    -------
    dict
        ``folder``: path or None; ``folder_problem``: None, or why there is no folder; ``digits``:
        images in each split; ``mnist``: for each of its four files ``status`` ("present",
        "missing", "broken"), ``path``, ``count`` (images or labels in it), ``sha256_matches``
        (whether the decompressed content is the published one) and ``problem``, None where they
        do not apply.
    """
    try:
        folder, problem = str(data_folder(data_dir)), None
    except FileNotFoundError as error:
        folder, problem = None, str(error)
    return {
        "folder": folder,
        "folder_problem": problem,
        "digits": {split: len(load("digits", split).labels) for split in SPLITS["digits"]},
        "mnist": {kind: _survey_mnist(kind, data_dir) for kind in FILES},
    }


def _survey_mnist(kind, data_dir):
    entry = {"status": "missing", "path": None, "count": None, "sha256_matches": None, "problem": None}
    try:
        entry["path"] = str(find_mnist(kind, data_dir))
        content = read_mnist(kind, data_dir)
    except FileNotFoundError as error:
        return entry | {"problem": str(error)}
    except ValueError as error:
        return entry | {"status": "broken", "problem": str(error)}
    digest = hashlib.sha256(idx_header(content.shape))  # the reader has seen that the file begins with it
    digest.update(content)
    return entry | {
        "status": "present",
        "count": len(content),
        "sha256_matches": digest.hexdigest() == FILES[kind].sha256,
    }


def _as_text(report):
    splits = ", ".join(f"{count} {split}" for split, count in report["digits"].items())
    lines = [
        f"Data sets are looked for in the folder given by --data-dir, else by the variable {VARIABLE}.",
        f"folder  {report['folder'] or report['folder_problem']}",
        f"digits  part of this package: {sum(report['digits'].values())} images ({splits})",
    ]
    for kind, entry in report["mnist"].items():
        words = entry["status"]
        if words == "present":
            content = "as published" if entry["sha256_matches"] else "NOT the published one"
            words = f"{entry['count']}, content {content} (SHA-256)"
        lines.append(f"mnist   {kind:12}  {words}" + (f"  {entry['path']}" if entry["path"] else ""))
    return "\n".join(lines)

"""Show where data sets are looked for and which of them are there.

The exit code is 1 if a file is broken, and otherwise 0, also if nothing is there.
"""

import hashlib
import json
import sys
from functools import partial

from ..datasets import SPLITS, cifar, load, networks, pictures
from ..datasets.files import VARIABLE, data_folder
from ..datasets.idx import idx_header
from ..datasets.mnist import FILES, find_mnist, read_mnist
from .arguments import JSON


def configure(parser):
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        help="folder with the files of MNIST and CIFAR-10, pictures and networks, or with subfolders mnist, cifar10, "
             f"images and networks that have them (default: the environment variable {VARIABLE})",
    )
    parser.add_argument("--json", action="store_true", help=JSON)


def run(args):
    """Print which data sets are there. Returns the exit code."""
    report = survey(args.data_dir)
    print(json.dumps(report) if args.json else _as_text(report))
    entries = [entry for name in ("mnist", "cifar10", "pictures", "networks") for entry in report[name].values()]
    problems = [entry["problem"] for entry in entries if entry["status"] == "broken"]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def survey(data_dir=None):
    """Look at every data set that the package can read.

    Returns
    -------
    dict
        ``folder`` is a path or None, and ``folder_problem`` says why there is no folder. ``digits`` has the number
        of images in each split. ``mnist`` has a dict for each of its four files: ``status`` ("present", "missing" or
        "broken"), ``path``, ``count`` (of images or labels), ``sha256_matches`` (whether the decompressed content is
        the published one) and ``problem``. ``cifar10`` has the same for each of its six files, without
        ``sha256_matches``, since a file may be a part of the published one. So have ``pictures`` for its file, and
        ``networks`` for those of VGG-16 and SqueezeNet, which count pictures and layers. Values that do not apply are
        None.
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
        "cifar10": {name: _survey_file(partial(cifar.find_cifar, name, data_dir),
                                       lambda path: cifar.read_batch(path)[1])
                    for name in (*cifar.TRAINING, cifar.TEST)},
        "pictures": {pictures.FILE: _survey_file(partial(pictures.find_pictures, data_dir), pictures.read_pictures)},
        "networks": {name: _survey_file(partial(networks.find_network, name, data_dir),
                                        partial(networks.read_layers, name=name)) for name in networks.NETWORKS},
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
    digest = hashlib.sha256(idx_header(content.shape))  # the reader has checked that the file begins with it
    digest.update(content)
    return entry | {
        "status": "present",
        "count": len(content),
        "sha256_matches": digest.hexdigest() == FILES[kind].sha256,
    }


def _survey_file(find, read):
    """The entry of the file at the path ``find()``; it counts what ``read(path)`` returns."""
    entry = {"status": "missing", "path": None, "count": None, "problem": None}
    try:
        path = find()
        entry["path"] = str(path)
        content = read(path)
    except FileNotFoundError as error:
        return entry | {"problem": str(error)}
    except ValueError as error:
        return entry | {"status": "broken", "problem": str(error)}
    return entry | {"status": "present", "count": len(content)}


def _as_text(report):
    splits = ", ".join(f"{count} {split}" for split, count in report["digits"].items())
    lines = [
        f"Data sets are looked for in the folder of --data-dir, or else of the environment variable {VARIABLE}.",
        f"folder  {report['folder'] or report['folder_problem']}",
        f"digits  part of this package: {sum(report['digits'].values())} images ({splits})",
    ]
    for kind, entry in report["mnist"].items():
        words = entry["status"]
        if words == "present":
            content = "as published" if entry["sha256_matches"] else "NOT the published one"
            words = f"{entry['count']}, content {content} (SHA-256)"
        lines.append(f"mnist   {kind:12}  {words}" + (f"  {entry['path']}" if entry["path"] else ""))
    for data_set, unit in ("cifar10", "images"), ("pictures", "pictures"), ("networks", "layers"):
        found = {name: entry for name, entry in report[data_set].items() if entry["path"]}
        for name, entry in found.items():
            words = entry["status"] if entry["count"] is None else f"{entry['count']} {unit}"
            lines.append(f"{data_set} {name:17}  {words}  {entry['path']}")
        if not found:
            lines.append(f"{data_set} none of its files")
    return "\n".join(lines)

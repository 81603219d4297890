"""Check a hand-written gradient: is MODULE:BACKWARD the derivative of MODULE:FUNCTION?

The exit code is 0 for PASS, 1 for FAIL and 3 for INCONCLUSIVE.
"""

import importlib
import inspect
import os
import sys
from pathlib import Path

import numpy as np

from ..checking import gradcheck
from ..checking.pair import KINDS
from ..checking.report import FAIL, INCONCLUSIVE, PASS
from .arguments import require_writable, whole

CODES = {PASS: 0, FAIL: 1, INCONCLUSIVE: 3}


def configure(parser):
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="the forward function, in an importable module")
    parser.add_argument("backward", metavar="MODULE:BACKWARD", help="its derivative")
    parser.add_argument("--inputs", metavar="FILE.npz", required=True,
                        help="the arguments of FUNCTION: arrays by the names of its parameters, or in their order")
    parser.add_argument("--kind", choices=KINDS, default="backward", help="what BACKWARD is, see l2l_ref.gradcheck")
    parser.add_argument("--wrt", metavar="NAME,NAME", help="check the gradients of these arguments alone")
    parser.add_argument("--method", choices=("auto", "central", "complex"), default="auto")
    parser.add_argument("--thorough", action="store_true", help="check every entry, however many there are")
    parser.add_argument("--plot", metavar="FILE", help="draw the error against the step of differences")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args):
    f, f_backward = import_object(args.function), import_object(args.backward)
    if args.plot:
        require_writable(Path(args.plot))
        import matplotlib.pyplot as plt  # before the check: without it there is no plot
    try:
        report = gradcheck(f, f_backward, inputs(args.inputs, f), kind=args.kind, method=args.method, seed=args.seed,
                           wrt=args.wrt.split(",") if args.wrt else None, thorough=args.thorough or None)
    except TypeError as error:
        raise ValueError(error) from error
    print(report.to_json() if args.json else report)
    if args.plot:
        figure, ax = plt.subplots(layout="constrained")
        report.plot(ax)
        figure.savefig(args.plot)
    return CODES[report.verdict]


def import_object(text):
    """The function that MODULE:FUNCTION names; modules of the current folder are found too."""
    module, _, name = text.partition(":")
    if not module or not name:
        raise ValueError(f"{text}: expected MODULE:FUNCTION")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except AttributeError:
        raise ValueError(f"{text}: module {module} has no {name}") from None
    if not callable(function):
        raise ValueError(f"{text}: expected a function, got {type(function).__name__}")
    return function


def inputs(path, f):
    """The arguments of f from an .npz file, 0-d arrays as scalars."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever a file that is none makes zipfile and numpy say
        raise ValueError(f"{path}: expected an .npz file of arrays, as numpy.savez writes them") from error
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    if set(arrays) <= set(names):
        missing = [name for name in names[: len(arrays)] if name not in arrays]
        if missing:
            raise ValueError(f"{path}: there is no array {missing[0]}, which is an argument of the function")
        arrays = {name: arrays[name] for name in names if name in arrays}
    return tuple(array if array.ndim else array[()] for array in arrays.values())

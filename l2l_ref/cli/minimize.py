"""Minimise a function of your own with a learned black-box optimizer.

The exit code is 0 if the run is complete, 1 if every evaluation failed or the function has a mistake, and 130 if the
run was interrupted; then what was found until then is printed. What the function prints goes to stderr.
"""

import argparse
import json
import math
import re

from .. import files
from ..backends import BACKENDS
from ..search.minimize import minimize
from .arguments import JSON, number, seconds, whole
from .user_code import import_object, output_on_stderr


def configure(parser):
    parser._negative_number_matcher = re.compile(r"-[\d.]")  # or argparse takes "-5,10" for an option
    parser.add_argument("function", metavar="MODULE:FUNCTION",
                        help="a function of one array of shape (d,), or of a dict with --space, that returns a number, "
                             "in an importable module")
    parser.add_argument("--bounds", metavar="LOW,HIGH", type=pair, action="append",
                        help="the lower and the upper bound of one dimension; give it once for each, in their order")
    parser.add_argument("--space", metavar="FILE.json",
                        help="parameters by name instead of bounds: an object of {\"type\": \"float\", \"low\": 0.001, "
                             "\"high\": 1000, \"log\": true}, {\"type\": \"int\", ...} or {\"type\": "
                             "\"categorical\", \"choices\": [...]}")
    parser.add_argument("--evaluations", type=whole(1), default=100, metavar="N",
                        help="how many times the function is evaluated (default 100)")
    parser.add_argument("--model", default="lstm-oi", metavar="NAME",
                        help="a shipped optimizer, with or without its number of dimensions, or a file "
                             "(default lstm-oi)")
    parser.add_argument("--seed", type=whole(0), default=0,
                        help="seed of the random orientation of the box that the network sees (default 0)")
    parser.add_argument("--backend", choices=BACKENDS, default="auto",
                        help="what computes the network: auto is NumPy, numba pays off for tens of thousands of "
                             "evaluations (default auto)")
    parser.add_argument("--workers", type=whole(1), default=1, metavar="N",
                        help="evaluations at the same time, each in a process of its own (default 1: in this process)")
    parser.add_argument("--integer", metavar="K", type=whole(0), action="append", default=[],
                        help="dimension K, counted from 0, takes whole numbers only")
    parser.add_argument("--log", metavar="K", type=whole(0), action="append", default=[],
                        help="dimension K, counted from 0, is searched on a logarithmic scale")
    parser.add_argument("--network-alone", action="store_true",
                        help="search with the network alone; otherwise a Gaussian process goes on after 2 d + 2 "
                             "evaluations")
    parser.add_argument("--maximize", action="store_true", help="look for the maximum")
    parser.add_argument("--noise", action="store_true",
                        help="the values are noisy: print a recommended point, not the luckiest")
    parser.add_argument("--file", metavar="FILE",
                        help="write the state there as the run goes, and take it up if the file exists")
    parser.add_argument("--max-seconds", type=seconds, metavar="S", help="start no evaluation after this time")
    parser.add_argument("--evaluation-seconds", type=seconds, metavar="S",
                        help="end an evaluation that takes longer; it has failed")
    parser.add_argument("--on-error", choices=("stop", "fail"), default="stop",
                        help="stop: end the run if each of the first three evaluations raises an error that tells of a "
                             "mistake; fail: all errors are failures (default stop)")
    parser.add_argument("--json", action="store_true", help=JSON)


def run(args):
    function = import_object(args.function)
    masks = {}
    if args.space is not None:
        if args.bounds or args.integer or args.log:
            raise ValueError("--space: expected no --bounds, --integer and --log with it")
        bounds = files.read_object(args.space)
    elif not args.bounds:
        raise ValueError("--bounds: expected one for each dimension, or --space")
    else:
        bounds, d = args.bounds, len(args.bounds)
        masks = {"integers": mask("--integer", args.integer, d), "log": mask("--log", args.log, d)}
    with output_on_stderr():
        result = minimize(function, bounds, args.evaluations, args.model, args.seed, workers=args.workers,
                          backend=args.backend, finish=None if args.network_alone else "auto", maximize=args.maximize,
                          noise=args.noise or None, file=args.file, max_seconds=args.max_seconds,
                          evaluation_seconds=args.evaluation_seconds, on_error=args.on_error, progress=True, **masks)
    failures = [{"x": as_json(x), "message": message} for x, message in result.failures]
    found = math.isfinite(result.fun)
    x, value = (as_json(result.x), float(result.fun)) if found else (None, None)
    if args.json:
        print(json.dumps({"x": x, "fun": value, "evaluations": result.nfev, "success": result.success,
                          "message": result.message, "proposed": result.proposed, "failures": failures,
                          "log": result.log}))
    else:
        if found:
            print(f"{value:.10g} at {described(x)}")
        print(f"{result.nfev} evaluations, {len(failures)} failed. {result.message}")
        whose = ", ".join(f"{name} {count}" for name, count in result.proposed.items())
        print(f"Proposed by: {whose or 'nobody'}.")
    return 130 if result.status == 130 else 0 if result.success or result.status == 3 and found else 1


def as_json(x):
    """A point in JSON's types."""
    return x if isinstance(x, dict) else x.tolist()


def described(x):
    """A point in words."""
    numbers = x.items() if isinstance(x, dict) else (("", x_k) for x_k in x)
    return ", ".join((f"{name}=" if name else "") + (f"{x_k:.10g}" if type(x_k) is float else str(x_k))
                     for name, x_k in numbers)


def pair(text):
    """The argparse type of two numbers: "-5,10" -> (-5.0, 10.0)."""
    numbers = text.split(",")
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"expected LOW,HIGH, got {text!r}")
    return tuple(number(part) for part in numbers)


def mask(name, dimensions, d):
    """Return a list of d booleans, True for these dimensions. Raises ValueError for a dimension >= d."""
    if any(k >= d for k in dimensions):
        raise ValueError(f"{name}: expected one of the dimensions 0..{d - 1}, got {max(dimensions)}")
    return [k in dimensions for k in range(d)]

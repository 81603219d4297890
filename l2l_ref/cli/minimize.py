"""Minimise a function of your own with a learned black-box optimizer.

The exit code is 0 if at least one evaluation gave a value, and 1 if every evaluation failed. What the function prints
goes to stderr.
"""

import argparse
import json
import re

from ..backends import BACKENDS
from ..search.minimize import minimize
from .arguments import JSON, number, whole
from .user_code import import_object, output_on_stderr


def configure(parser):
    parser._negative_number_matcher = re.compile(r"-[\d.]")  # or argparse takes "-5,10" for an option
    parser.add_argument("function", metavar="MODULE:FUNCTION",
                        help="a function of one array of shape (d,) that returns a number, in an importable module")
    parser.add_argument("--bounds", metavar="LOW,HIGH", type=pair, action="append", required=True,
                        help="the lower and the upper bound of one dimension; give it once for each, in their order")
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
    parser.add_argument("--json", action="store_true", help=JSON)


def run(args):
    function, d = import_object(args.function), len(args.bounds)
    integers, log = mask("--integer", args.integer, d), mask("--log", args.log, d)
    with output_on_stderr():
        result = minimize(function, args.bounds, args.evaluations, args.model, args.seed, workers=args.workers,
                          backend=args.backend, integers=integers, log=log)
    failures = [{"x": x.tolist(), "message": message} for x, message in result.failures]
    x, value = (result.x.tolist(), float(result.fun)) if result.success else (None, None)
    if args.json:
        print(json.dumps({"x": x, "fun": value, "evaluations": result.nfev, "success": result.success,
                          "message": result.message, "failures": failures, "log": result.log}))
    else:
        if result.success:
            print(f"{value:.10g} at {', '.join(f'{x_k:.10g}' for x_k in x)}")
        print(f"{result.nfev} evaluations, {len(failures)} failed. {result.message}")
    return 0 if result.success else 1


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

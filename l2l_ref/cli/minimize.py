"""Minimise a function of your own with a learned black-box optimizer.

The exit code is 0 when there is a value, 1 when every evaluation failed.
"""

import argparse
import json
import re

from ..backends import BACKENDS
from ..search.minimize import minimize
from .arguments import number, whole
from .gradcheck import import_object


def configure(parser):
    parser._negative_number_matcher = re.compile(r"-[\d.]")  # argparse takes "-5,10" for an option otherwise
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="x (an array) -> a number, in an importable module")
    parser.add_argument("--bounds", metavar="LOW,HIGH", type=pair, action="append", required=True,
                        help="once for each dimension, in their order")
    parser.add_argument("--evaluations", type=whole(1), default=100)
    parser.add_argument("--model", default="lstm-oi", help="the name of a shipped optimizer, or a file")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="of the network")
    parser.add_argument("--workers", type=whole(1), default=1, help="evaluations at once, in processes of their own")
    parser.add_argument("--integer", metavar="K", type=whole(0), action="append", default=[],
                        help="dimension K, counted from 0, is a whole number")
    parser.add_argument("--log", metavar="K", type=whole(0), action="append", default=[],
                        help="dimension K, counted from 0, has a log scale")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args):
    d = len(args.bounds)
    result = minimize(import_object(args.function), args.bounds, args.evaluations, args.model, args.seed, workers=args.workers,
                      backend=args.backend, integers=mask("--integer", args.integer, d),
                      log=mask("--log", args.log, d))
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
    """"-5,10" -> (-5.0, 10.0); an argparse type."""
    numbers = text.split(",")
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"expected LOW,HIGH, got {text!r}")
    return tuple(number(part) for part in numbers)


def mask(name, dimensions, d):
    """The booleans (d,) of these dimensions."""
    if any(k >= d for k in dimensions):
        raise ValueError(f"{name}: expected one of the dimensions 0..{d - 1}, got {max(dimensions)}")
    return [k in dimensions for k in range(d)]

"""Compare a learned optimizer with hand-designed ones: a table and a figure."""

import json
import sys
from pathlib import Path

from ..compare import figures
from ..compare.gradient_based import compare, table, to_json
from ..metatrain.presets import build
from ..pretrained import load
from . import compare_black_box
from .arguments import given, number, refuse_others, require_writable, units, whole

FUNCTIONS = {"quadratic": 2000, "digits": 50, "mnist": 100}
TUNING_FUNCTIONS = {"quadratic": 1000, "digits": 3, "mnist": 10}
IMAGE_OPTIONS = ("hidden", "activation", "data_dir", "theta0_scale")
DISTRIBUTION_OPTIONS = {"quadratic": ("distribution", "theta0_scale"), "digits": IMAGE_OPTIONS, "mnist": IMAGE_OPTIONS}
OPTIONS = {problem: (*options, "steps", "fresh", "backend", "threads") for problem, options in DISTRIBUTION_OPTIONS.items()}
OPTIONS |= compare_black_box.OPTIONS


def configure(parser):
    parser.add_argument("problem", choices=OPTIONS)
    parser.add_argument("--model", metavar="NAME", action="append",
                        help="a shipped optimizer or a file; default: the problem's own; of black boxes, several")
    parser.add_argument("--steps", type=whole(1), metavar="T", help="default 100")
    parser.add_argument("--functions", type=whole(1), metavar="N", help="how many test functions")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--distribution", "--dist", choices=("uniform", "normal"),
                        help="distribution of the entries of the quadratics' W and y; --dist for short")
    parser.add_argument("--hidden", type=units, metavar="N,N", help="hidden units of the network that is trained")
    parser.add_argument("--activation", choices=("sigmoid", "relu"))
    parser.add_argument("--theta0-scale", type=number, metavar="X", help="standard deviation of the starting points")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where data lie; default: the variable L2L_REF_DATA")
    parser.add_argument("--figure", "--output", metavar="FILE", help="default compare-PROBLEM.png")
    parser.add_argument("--fresh", action="store_true", default=None, help="tune again, whatever is in the cache")
    parser.add_argument("--backend", choices=("auto", "numpy", "numba"), help="default auto")
    parser.add_argument("--threads", type=whole(1), metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    compare_black_box.configure(parser)


def run(args):
    refuse_others(args, args.problem, OPTIONS)
    return (compare_black_box.run if args.problem in compare_black_box.OPTIONS else _run)(args)


def _run(args):
    if args.model and len(args.model) > 1:
        raise ValueError(f"--model: expected one for {args.problem}, got {len(args.model)}")
    figure, steps = args.figure or f"compare-{args.problem}.png", args.steps or 100
    require_writable(Path(figure))
    _, problem, _ = build(args.problem, distribution=given(args, DISTRIBUTION_OPTIONS[args.problem]))
    default = "quadratic-normal-lstm" if args.distribution == "normal" else f"{args.problem}-lstm"
    model = load(args.model[0] if args.model else default, backend=args.backend or "auto", threads=args.threads)
    functions = FUNCTIONS[args.problem] if args.functions is None else args.functions

    results = compare(
        model, problem, steps, functions, args.seed, tuning_functions=TUNING_FUNCTIONS[args.problem],
        cache=not args.fresh, report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if args.json:
        print(json.dumps(to_json(results, problem, model, steps)))
    else:
        print(f"{figures.describe(problem.config)}: {functions} functions")
        print("\n".join(table(results, problem, steps)))
    try:
        figures.learning_curves(results, problem, steps, figure)
        print(f"figure: {figure}", file=sys.stderr)
    except ImportError as error:
        print(f"no figure: {error}", file=sys.stderr)
    return 0

"""Compare a learned optimizer with tuned hand-designed ones: a table and a figure."""

import json
import sys
from pathlib import Path

from ..evaluation import figures
from ..evaluation.compare import compare, table, to_json
from ..metatrain.presets import build
from ..pretrained import load
from .arguments import number, require_writable, units, whole

FUNCTIONS = {"quadratic": 2000, "digits": 50, "mnist": 100}
TUNING_FUNCTIONS = {"quadratic": 1000, "digits": 3, "mnist": 10}


def configure(parser):
    parser.add_argument("problem", choices=FUNCTIONS)
    parser.add_argument("--model", metavar="NAME", help="a shipped optimizer or a file; default: the problem's own")
    parser.add_argument("--steps", type=whole(1), default=100, metavar="T")
    parser.add_argument("--functions", type=whole(1), metavar="N", help="how many test functions")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--dist", choices=("uniform", "normal"), help="the law of the quadratics")
    parser.add_argument("--hidden", type=units, metavar="N,N", help="hidden units of the network that is trained")
    parser.add_argument("--activation", choices=("sigmoid", "relu"))
    parser.add_argument("--theta0-scale", type=number, metavar="X", help="standard deviation of the starting points")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where MNIST lies; default: the variable L2L_REF_DATA")
    parser.add_argument("--figure", metavar="FILE", help="default compare-PROBLEM.png")
    parser.add_argument("--fresh", action="store_true", help="tune again, whatever is in the cache")
    parser.add_argument("--backend", choices=("auto", "numpy", "numba"), default="auto")
    parser.add_argument("--threads", type=whole(1), metavar="N")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(args):
    image_options, quadratic_options = ("hidden", "activation", "data_dir"), ("dist",)
    for name in image_options if args.problem == "quadratic" else quadratic_options:
        if getattr(args, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')}: not for {args.problem}")
    figure = args.figure or f"compare-{args.problem}.png"
    require_writable(Path(figure))
    names = (*image_options, *quadratic_options, "theta0_scale")
    law = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    _, problem, _ = build(args.problem, law=law)
    default = "quadratic-normal-lstm" if args.dist == "normal" else f"{args.problem}-lstm"
    model = load(args.model or default, backend=args.backend, threads=args.threads)
    functions = FUNCTIONS[args.problem] if args.functions is None else args.functions

    results = compare(
        model, problem, args.steps, functions, args.seed, tuning_functions=TUNING_FUNCTIONS[args.problem],
        cache=not args.fresh, report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if args.json:
        print(json.dumps(to_json(results, problem, model, args.steps)))
    else:
        print(f"{figures.describe(problem.config)}: {functions} functions")
        print("\n".join(table(results, problem, args.steps)))
    try:
        figures.learning_curves(results, problem, args.steps, figure)
        print(f"figure: {figure}", file=sys.stderr)
    except ImportError as error:
        print(f"no figure: {error}", file=sys.stderr)
    return 0

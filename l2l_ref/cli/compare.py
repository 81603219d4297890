"""Compare a learned optimizer with hand-designed ones: a table and a figure."""

import json

from ..backends import BACKENDS
from ..compare import figures
from ..compare.gradient_based import compare, table, to_json
from ..learned.optimizer import CoordinatewiseLSTM
from ..metatrain.presets import build
from ..optimizees.mlp import ACTIVATIONS
from ..pretrained import load
from . import compare_bbob, compare_black_box
from .arguments import (
    JSON,
    ProblemOptions,
    check_backend,
    given,
    number,
    planned_figure,
    progress,
    refuse_others,
    units,
    whole,
)

FUNCTIONS = {"quadratic": 2000, "digits": 50, "mnist": 100}
TUNING_FUNCTIONS = {"quadratic": 1000, "digits": 3, "mnist": 10}
STEPS = 100
IMAGE_OPTIONS = ("hidden", "activation", "data_dir", "theta0_scale")
DISTRIBUTION_OPTIONS = {"quadratic": ("distribution", "theta0_scale"), "digits": IMAGE_OPTIONS, "mnist": IMAGE_OPTIONS}
OPTIONS = {problem: (*options, "steps", "fresh", "backend", "threads")
           for problem, options in DISTRIBUTION_OPTIONS.items()}
OPTIONS |= compare_black_box.OPTIONS | compare_bbob.OPTIONS


def configure(parser):
    sizes = FUNCTIONS | compare_black_box.FUNCTIONS | {"bbob": compare_bbob.FUNCTIONS}
    parser.add_argument("problem", choices=OPTIONS,
                        help="gradient-based: random quadratics, or a small network on the digits of the package or "
                             "on MNIST; black-box: draws of a Gaussian process, benchmark functions, repellers, "
                             "tables of hyperparameters (hpo), or the BBOB suite")
    add = ProblemOptions(parser, OPTIONS).add
    add("--model", metavar="NAME", action="append",
        help="a shipped optimizer or a file (default: the one for the problem); for black boxes several, with or "
             "without their number of dimensions")
    add("--steps", type=whole(1), metavar="T", help=f"steps of each optimizer (default {STEPS})")
    add("--functions", type=whole(1), metavar="N",
        help="number of test functions (default "
             + "; ".join(f"{size} for {', '.join(p for p in sizes if sizes[p] == size)}"
                         for size in dict.fromkeys(sizes.values())) + ")")
    add("--seed", type=whole(0), default=0, help="seed of the test functions and starting points (default 0)")
    add("--distribution", "--dist", choices=("uniform", "normal"),
        help="distribution of the entries of W and y of the quadratics; --dist for short (default uniform)")
    add("--hidden", type=units, metavar="N,N", help="hidden units of the network that is trained (default 20)")
    add("--activation", choices=ACTIVATIONS, help="its activation function (default sigmoid)")
    add("--theta0-scale", type=number, metavar="X", help="standard deviation of the starting points (default 0.01)")
    add("--data-dir", metavar="FOLDER",
        help="folder with MNIST or the tables (default: the environment variable L2L_REF_DATA)")
    add("--figure", "--output", metavar="FILE",
        help="where the figure is written; the ending of FILE is the format (default compare-PROBLEM.png)")
    add("--fresh", action="store_true", default=None,
        help="tune the learning rates anew, even if the cache has them for the same conditions")
    add("--backend", choices=BACKENDS,
        help="what computes the learned optimizer: auto takes numba if it is installed and the work is large enough "
             "(default auto)")
    add("--threads", type=whole(1), metavar="N", help="threads of the numba backend (default: one per core)")
    add("--json", action="store_true", help=JSON)
    compare_black_box.configure(add)
    compare_bbob.configure(add)


def run(args):
    refuse_others(args, args.problem, OPTIONS)
    if args.problem in compare_bbob.OPTIONS:
        return compare_bbob.run(args)
    return (compare_black_box.run if args.problem in compare_black_box.OPTIONS else _run)(args)


def _run(args):
    if args.model and len(args.model) > 1:
        raise ValueError(f"--model: expected one for {args.problem}, got {len(args.model)}")
    steps = args.steps or STEPS
    _, problem, _ = build(args.problem, distribution=given(args, DISTRIBUTION_OPTIONS[args.problem]))
    default = "quadratic-normal-lstm" if args.distribution == "normal" else f"{args.problem}-lstm"
    model = named(args.model[0] if args.model else default, args)
    functions = FUNCTIONS[args.problem] if args.functions is None else args.functions
    check_backend(model.backend)
    figure = planned_figure(args.figure, f"compare-{args.problem}.png")

    results = compare(
        model, problem, steps, functions, args.seed, tuning_functions=TUNING_FUNCTIONS[args.problem],
        cache=not args.fresh, report=progress,
    )
    if args.json:
        print(json.dumps(to_json(results, problem, model, steps)))
    else:
        print(f"{figures.describe(problem.config)}: {functions} functions")
        print("\n".join(table(results, problem, steps)))
    if figure:
        figures.plot_learning_curves(results, problem, steps, figure)
        progress(f"figure: {figure}")
    return 0


def named(name, args):
    """Load the gradient-based optimizer of this name. Raises ValueError for an optimizer of another kind."""
    model = load(name, backend=args.backend or "auto")
    if not isinstance(model, CoordinatewiseLSTM):
        raise ValueError(f"--model: expected a gradient-based optimizer for {args.problem}, "
                         f"got {name!r}, a {type(model).__name__}")
    model.threads = args.threads
    return model

"""Compare a learned optimizer with hand-designed ones: a table and a figure."""

import json

from ..backends import BACKENDS
from ..baselines.gradient import OPTIMIZERS
from ..compare import figures
from ..compare.gradient_based import BASELINES, compare, table, to_json
from ..compare.statistics import LEARNED
from ..datasets.pictures import STYLE, UNSEEN_STYLE
from ..learned.proposer import Proposer
from ..metatrain.presets import build
from ..optimizees.mlp import ACTIVATIONS
from ..pretrained import load
from . import compare_bbob, compare_black_box, compare_network, compare_zoo
from .arguments import (
    JSON,
    ProblemOptions,
    check_backend,
    default_text,
    given,
    labels,
    number,
    planned_figure,
    progress,
    refuse_others,
    units,
    whole,
)

FUNCTIONS = {"quadratic": 2000, "digits": 50, "mnist": 100, "cifar": 20, "art": 20}
TUNING_FUNCTIONS = {"quadratic": 1000, "digits": 3, "mnist": 10, "cifar": 2, "art": 1}
STEPS, ART_STEPS = 100, 128
IMAGE_OPTIONS = ("hidden", "activation", "data_dir", "theta0_scale")
DISTRIBUTION_OPTIONS = {"quadratic": ("distribution", "theta0_scale"), "digits": IMAGE_OPTIONS, "mnist": IMAGE_OPTIONS,
                        "cifar": ("labels", "data_dir", "theta0_scale"), "art": ("style", "size", "data_dir")}
OPTIONS = {problem: (*options, "steps", "baselines", "tuning_functions", "fresh", "backend", "threads")
           for problem, options in DISTRIBUTION_OPTIONS.items()}
OPTIONS |= compare_black_box.OPTIONS | compare_bbob.OPTIONS | compare_network.OPTIONS | compare_zoo.OPTIONS


def names(text):
    """The argparse type of names: "adam,sgd" -> ("adam", "sgd"), "" -> ()."""
    return tuple(name.strip() for name in text.split(",") if name)


def configure(parser):
    sizes = (FUNCTIONS | compare_black_box.FUNCTIONS
             | {"bbob": compare_bbob.FUNCTIONS, "network": compare_network.RUNS, "zoo": compare_zoo.FUNCTIONS})
    parser.add_argument("problem", choices=OPTIONS,
                        help="gradient-based: random quadratics, a small network on the digits of the package or on "
                             "MNIST, a convolutional network on CIFAR-10, images to be painted (art), or the suite "
                             "of 24 small problems on which optimizers are used untuned (zoo); "
                             "black-box: draws of a Gaussian process, benchmark functions, repellers, tables of "
                             "hyperparameters (hpo), the BBOB suite, or the hyperparameters of a network")
    add = ProblemOptions(parser, OPTIONS).add
    add("--model", metavar="NAME", action="append",
        help="a shipped optimizer or a file (default: the one for the problem); for black boxes several, with or "
             "without their number of dimensions")
    add("--steps", type=whole(1), metavar="T", help=f"steps of each optimizer (default {STEPS}; {ART_STEPS} for art)")
    add("--functions", type=whole(1), metavar="N",
        help="number of test functions; for network, of runs (default "
             + "; ".join(f"{size} for {', '.join(p for p in sizes if sizes[p] == size)}"
                         for size in dict.fromkeys(sizes.values())) + ")")
    add("--seed", type=whole(0), default=0, help="seed of the test functions and starting points (default 0)")
    add("--distribution", "--dist", choices=("uniform", "normal"),
        help="distribution of the entries of W and y of the quadratics; --dist for short (default uniform)")
    add("--hidden", type=units, metavar="N,N", help="hidden units of the network that is trained (default 20)")
    add("--activation", choices=ACTIVATIONS, help="its activation function (default sigmoid)")
    add("--theta0-scale", type=number, metavar="X", help="standard deviation of the starting points (default 0.01)")
    add("--labels", type=labels, metavar="N,N",
        help="only images with these labels; one number alone means the first so many (default: all ten)")
    add("--style", metavar="NAME", help=f"painting of neural art (default {STYLE}; {UNSEEN_STYLE} is unseen)")
    add("--size", type=whole(2), metavar="N", help="rows and columns of the images of neural art (default 64)")
    add("--data-dir", metavar="FOLDER",
        help="folder with MNIST, CIFAR-10, pictures and networks, or the tables (default: the environment variable "
             "L2L_REF_DATA; network has no default, and takes the digits of the package instead of MNIST)")
    add("--figure", "--output", metavar="FILE",
        help="where the figure is written; the ending of FILE is the format (default compare-PROBLEM.png)")
    add("--baselines", type=names, metavar="NAME,NAME",
        help=f"hand-designed optimizers to tune and compare with, of {', '.join(BASELINES)} (default: all); for "
             "black boxes expected improvement: ei, with the true hyperparameters, only for gp and its default, and "
             "integrated-ei, with hyperparameters that are integrated out, the default of the others")
    add("--tuning-functions", type=whole(1), metavar="N",
        help="functions on which each learning rate of a baseline is tried, by default not more than --functions"
             + default_text("n", {problem: {"n": size} for problem, size in TUNING_FUNCTIONS.items()}))
    add("--fresh", action="store_true", default=None,
        help="tune the learning rates anew, even if the cache has them for the same conditions")
    add("--backend", choices=BACKENDS,
        help="what computes the learned optimizer, and the networks of cifar and art: auto takes numba if it is "
             "installed and the work is large enough (default auto)")
    add("--threads", type=whole(1), metavar="N", help="threads of the numba backend (default: one per core)")
    add("--json", action="store_true", help=JSON)
    compare_black_box.configure(add)
    compare_bbob.configure(add)
    compare_zoo.configure(add)


def run(args):
    refuse_others(args, args.problem, OPTIONS)
    for command in (compare_bbob, compare_black_box, compare_network, compare_zoo):
        if args.problem in command.OPTIONS:
            return command.run(args)
    return _run(args)


def _run(args):
    model, problem, steps = compared(args)
    figure = planned_figure(args.figure, f"compare-{args.problem}.png")
    results = measured(args, model, problem, steps, progress)
    if args.json:
        print(json.dumps(to_json(results, problem, model, steps)))
    else:
        print(f"{figures.describe(problem.config)}: {len(results[LEARNED].losses.T)} functions")
        print("\n".join(table(results, problem, steps)))
    if figure:
        figures.plot_learning_curves(results, problem, steps, figure)
        progress(f"figure: {figure}")
        if args.problem == "art":
            pictures = figure.with_name(f"{figure.stem}-pictures{figure.suffix}")
            tuned = {name: OPTIMIZERS[name](results[name].learning_rate) for name in ("adam",) if name in results}
            figures.plot_pictures(problem, {LEARNED: model, **tuned}, steps, args.seed, pictures)
            progress(f"figure: {pictures}")
    return 0


def checked(args):
    """Refuse what a sweep cannot run."""
    if args.problem not in FUNCTIONS:
        raise ValueError(f"PROBLEM: expected one of {', '.join(FUNCTIONS)}, got {args.problem}")
    compare_black_box.known(args.baselines or (), BASELINES)
    refuse_others(args, args.problem, OPTIONS)


def result(args):
    """The JSON object of a comparison on a gradient-based problem: one run of a sweep."""
    model, problem, steps = compared(args)
    results = measured(args, model, problem, steps)
    return to_json(results, problem, model, steps)


def compared(args):
    """The learned optimizer, the problem and the number of steps."""
    if args.model and len(args.model) > 1:
        raise ValueError(f"--model: expected one for {args.problem}, got {len(args.model)}")
    compare_black_box.known(args.baselines or (), BASELINES)
    steps = args.steps or (ART_STEPS if args.problem == "art" else STEPS)
    _, problem, _ = build(args.problem, distribution=given(args, DISTRIBUTION_OPTIONS[args.problem]),
                          backend=args.backend or "auto", threads=args.threads)
    model = named(args.model[0] if args.model else shipped(args), args)
    check_backend(model.backend)
    return model, problem, steps


def measured(args, model, problem, steps, report=None):
    """The results of a comparison on a gradient-based problem."""
    functions = FUNCTIONS[args.problem] if args.functions is None else args.functions
    return compare(
        model, problem, steps, functions, args.seed,
        tuning_functions=args.tuning_functions or min(TUNING_FUNCTIONS[args.problem], functions),
        optimizers=BASELINES if args.baselines is None else args.baselines, cache=not args.fresh, report=report,
    )


def shipped(args):
    """The name of the shipped optimizer for the problem."""
    return "quadratic-normal-lstm" if args.distribution == "normal" else f"{args.problem}-lstm"


def named(name, args):
    """Load the gradient-based optimizer of this name. Raises ValueError for an optimizer of another kind."""
    model = load(name, backend=args.backend or "auto")
    if isinstance(model, Proposer):
        raise ValueError(f"--model: expected a gradient-based optimizer for {args.problem}, "
                         f"got {name!r}, a {type(model).__name__}")
    model.threads = args.threads
    return model

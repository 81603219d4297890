"""``compare`` for black-box optimizers, learned and hand-designed: the best value that each has found so far."""

import json
from pathlib import Path

from ..baselines.peers import installed
from ..black_boxes import BENCHMARKS, REPELLERS, TABLES, read_table
from ..compare import figures, network
from ..compare.black_box import (
    EXPECTED_IMPROVEMENT,
    GPProblem,
    Instances,
    compare_black_box,
    comparison_seed,
    draw_symmetry,
    searches,
    table,
    to_json,
)
from ..compare.statistics import LEARNED
from ..extras import require
from ..learned.proposer import Proposer
from ..pretrained import ANY, find, is_file, load
from .arguments import counts, number, planned_figure, progress, whole

MODEL, POINTS = "lstm-oi", ("random", "sobol")
EVALUATIONS = 100
SEARCHED = ("evaluations", "baselines", "baseline_functions", "peers", "workers", "batch", "no_restarts")
OPTIONS = {"gp": ("dim", "noise", *SEARCHED), "benchmarks": SEARCHED, "repellers": SEARCHED,
           "hpo": (*SEARCHED, "data_dir")}
FUNCTIONS = {"gp": 2000, "benchmarks": 100, "repellers": 100, "hpo": 100}
BASELINE_FUNCTIONS = {"gp": 100, "benchmarks": 0, "repellers": 0, "hpo": 0}


def configure(add):
    """``add`` is that of a `ProblemOptions`."""
    add("--dim", type=counts, metavar="D,D",
        help="dimensions of the functions, one number or several (default 2 for gp; 2,3,4,5,6,10 for bbob)")
    add("--noise", type=number, metavar="X",
        help="standard deviation of the noise in the values that the optimizers are told, whose own standard deviation "
             "is 1; they are judged by the values without noise (default 0)")
    add("--evaluations", type=whole(1), metavar="T",
        help=f"evaluations of each function (default {EVALUATIONS}; {network.EVALUATIONS} for network)")
    add("--baseline-functions", type=whole(0), metavar="N",
        help="number of functions on which to run expected improvement, which is slow (default 100 for gp, otherwise "
             "0: leave it out)")
    add("--workers", type=counts, metavar="N,N",
        help="evaluations of a function that the learned optimizers have under way, which end in random order; the "
             "others have one (default 1); 1,5 runs the learned ones with either number; for network the workers with "
             f"which all but expected improvement run as well as with one (default {network.WORKERS})")
    add("--batch", type=whole(1), metavar="N",
        help="points of a function that the learned optimizers ask for at once, and are told together; the "
             "others have one (default 1)")
    add("--no-restarts", action="store_true", default=None,
        help="let each network make one run of all evaluations, as in Chen et al. 2017; by default it starts afresh "
             "from time to time")
    add("--peers", action="store_true", default=None,
        help="also run those of Optuna, Hyperopt, scikit-optimize and SMAC that are installed, on as many functions as "
             "expected improvement; for bbob those of Optuna, cmaes, SciPy, Nevergrad and scikit-optimize, on all; for "
             "network Optuna's TPE")


def run(args):
    require("scipy", f"compare {args.problem}")  # for Sobol points, expected improvement and the minima
    chosen = None if args.baselines is None else known(args.baselines, EXPECTED_IMPROVEMENT)
    problems = problems_of(args)
    models = [named(args.model or [MODEL], problem.dim) for problem in problems]
    functions = args.functions or FUNCTIONS[args.problem]
    baselines = BASELINE_FUNCTIONS[args.problem] if args.baseline_functions is None else args.baseline_functions
    for option, given in (("--peers", args.peers), ("--baselines", chosen)):
        if given and not baselines:
            raise ValueError(f"{option}: expected --baseline-functions N as well, the number of functions they run on")
    peers = installed() if args.peers else ()
    figure = planned_figure(args.figure, f"compare-{args.problem}.png")
    workers = args.workers or (1,)
    at_once = {"workers": workers if len(workers) > 1 else workers[0], "batch": args.batch or 1,
               "restarts": not args.no_restarts}
    evaluations, others = args.evaluations or EVALUATIONS, {"baselines": chosen, "peers": peers}
    compared = [
        (problem, compare_black_box(problem, by_name, evaluations, functions, baselines, args.seed, report=progress,
                                    **others, **at_once))
        for problem, by_name in zip(problems, models)
    ]
    minima = [problem.minima(functions, args.seed) for problem in problems]
    if args.json:
        parts = [to_json(results, problem, least) | at_once
                 | {"models": {name: model.card for name, model in by_name.items()}}
                 for (problem, results), least, by_name in zip(compared, minima, models)]
        several = {"problem": {"problem": args.problem}, "problems": parts}
        print(json.dumps(several if args.problem in ("benchmarks", "hpo") or len(parts) > 1 else parts[0]))
    else:
        for k, ((problem, results), least, by_name) in enumerate(zip(compared, minima, models)):
            print("\n" * (k > 0) + f"{problem.title}: {functions} functions; learned: {by_name[LEARNED].card['name']}"
                  + in_words(**at_once))
            print("\n".join(table(results, least)))
    if figure:
        made = [searches(problem, by_name, evaluations, args.seed, **others, **at_once)
                for problem, by_name in zip(problems, models)]
        draw(args, figure, compared, minima, made)
    return 0


def known(names, all_names):
    """``names`` of --baselines, if all of them are some of ``all_names``; else raises ValueError."""
    for name in names:
        if name not in all_names:
            raise ValueError(f"--baselines: expected some of {', '.join(all_names)} with commas between them, "
                             f"got {name!r}")
    return names


def one_number(args):
    """The number of --workers, where there may be only one; None if there is none."""
    if args.workers is None:
        return None
    if len(args.workers) > 1:
        raise ValueError(f"--workers: expected one number for {args.problem}, "
                         f"got {','.join(map(str, args.workers))}")
    return args.workers[0]


def in_words(workers, batch, restarts=True):
    """What a header says of several evaluations at once, and of restarts."""
    under_way = " or ".join(map(str, [workers] if isinstance(workers, int) else workers))
    how = f"batches of {batch} evaluations" if workers == 1 else f"{under_way} evaluations under way"
    several = "" if workers == batch == 1 else f"; the learned optimizers have {how}, the others one at a time"
    return several + "; one run of each network" * (not restarts)


def draw(args, figure, compared, minima, made):
    """Write the figure, and beside it the times, the paths of repellers or the queries in one dimension."""
    titles = {LEARNED: f"{Path(args.model[0]).stem} (learned)"} if args.model else {}
    figures.plot_best_so_far(compared, minima, figure, titles)
    progress(f"figure: {figure}")

    def beside(name, plot, *arguments):
        path = figure.with_name(f"{figure.stem}-{name}{figure.suffix}")
        plot(*arguments, path, titles)
        progress(f"figure: {path}")

    if args.problem == "benchmarks":
        beside("times", figures.plot_times, compared)
    for (problem, results), by_name in zip(compared, made):
        if args.problem == "repellers":
            beside("paths", figures.plot_repeller_paths, problem, results, comparison_seed(args.seed))
        if args.problem == "gp" and problem.dim == 1:
            shown = {name: make for name, make in by_name.items() if name in results and name not in POINTS}
            beside("queries", figures.plot_queries, problem, shown, args.evaluations or EVALUATIONS, args.seed)


def problems_of(args):
    """Return the problems of the comparison, a list."""
    if args.problem == "gp":
        return [GPProblem(dim, args.noise or 0.0) for dim in args.dim or (2,)]
    if args.problem == "repellers":
        return [Instances(REPELLERS)]
    if args.problem == "benchmarks":
        return [Instances(box) for box in BENCHMARKS.values()]
    problems = []
    for name in TABLES:
        try:
            problems.append(Instances(read_table(name, args.data_dir), draw_symmetry))
        except FileNotFoundError:
            if name != "logreg":  # a large file, which may be missing
                raise
    return problems


def named(names, dim):
    """Load learned optimizers. Returns {name of the curve: Proposer}, where the first is called "learned"."""
    return {name if k else LEARNED: _proposer(name, dim) for k, name in enumerate(dict.fromkeys(names))}


def _proposer(name, dim):
    """Load an optimizer for ``dim`` dimensions.

    ``name`` is a file or the name of a shipped optimizer. Without its ending "-D" the one for D dimensions is taken, or
    the one for any number where `find` takes it, too.
    """
    choices = [name, f"{name}-{dim}", f"{name}-{dim}.npz"]
    if name in ANY and find(name, dim) == ANY[name]:
        choices.append(ANY[name])
    there = [c for c in choices if is_file(c)]
    model = load(there[0] if there else f"{name}-{dim}")
    if not isinstance(model, Proposer):
        raise ValueError(f"--model: expected a black-box optimizer, got {name!r}, a {type(model).__name__}")
    model = model.of(dim)
    if model.dim != dim:
        raise ValueError(f"--model: expected one for {dim} dimensions, got {name!r} for {model.dim}")
    return model

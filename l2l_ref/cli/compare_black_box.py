"""``compare`` of black-box optimizers: the best value found so far, learned and hand-designed."""

import json
import sys
from pathlib import Path

from ..baselines.peers import installed
from ..black_boxes import BENCHMARKS, REPELLERS, TABLES, read_table
from ..compare import figures
from ..compare.black_box import GPProblem, Instances, compare_black_box, comparison_seed, symmetry, table, to_json
from ..compare.statistics import LEARNED
from ..learned.proposer import Proposer
from ..pretrained import FOLDER, load
from .arguments import counts, require_writable, whole

MODEL = "lstm-oi"
SEARCHED = ("evaluations", "baseline_functions", "peers")
OPTIONS = {"gp": ("dim", *SEARCHED), "benchmarks": SEARCHED, "repellers": SEARCHED, "hpo": (*SEARCHED, "data_dir")}
FUNCTIONS = {"gp": 2000, "benchmarks": 100, "repellers": 100, "hpo": 100}
BASELINE_FUNCTIONS = {"gp": 100, "benchmarks": 0, "repellers": 0, "hpo": 0}


def configure(parser):
    group = parser.add_argument_group("black-box problems: " + ", ".join(OPTIONS))
    group.add_argument("--dim", type=counts, metavar="D,D", help="of the functions of gp, one or several; default 2")
    group.add_argument("--evaluations", type=whole(1), metavar="T", help="default 100")
    group.add_argument("--baseline-functions", type=whole(0), metavar="N",
                       help="how many of the functions expected improvement gets; 0: none; default: 100 of gp")
    group.add_argument("--peers", action="store_true", default=None,
                       help="Optuna, Hyperopt, scikit-optimize and SMAC, those that are installed, on those functions")


def run(args):
    problems = problems_of(args)
    figure = Path(args.figure or f"compare-{args.problem}.png")
    require_writable(figure)
    models = [named(args.model or [MODEL], problem.dim) for problem in problems]
    functions = args.functions or FUNCTIONS[args.problem]
    baselines = BASELINE_FUNCTIONS[args.problem] if args.baseline_functions is None else args.baseline_functions
    if args.peers and not baselines:
        raise ValueError("--peers: needs --baseline-functions, on how many functions they run")
    peers = installed() if args.peers else ()
    compared = [
        (problem, compare_black_box(problem, by_name, args.evaluations or 100, functions, baselines, args.seed, peers=peers,
                                 report=lambda line: print(line, file=sys.stderr, flush=True)))
        for problem, by_name in zip(problems, models)
    ]
    minima = [problem.minima(functions, args.seed) for problem in problems]
    if args.json:
        parts = [to_json(results, problem, least) | {"models": {name: model.card for name, model in by_name.items()}}
                 for (problem, results), least, by_name in zip(compared, minima, models)]
        several = {"problem": {"problem": args.problem}, "problems": parts}
        print(json.dumps(several if args.problem in ("benchmarks", "hpo") or len(parts) > 1 else parts[0]))
    else:
        for k, ((problem, results), least, by_name) in enumerate(zip(compared, minima, models)):
            print("\n" * (k > 0) + f"{problem.title}: {functions} functions; learned: {by_name[LEARNED].card['name']}")
            print("\n".join(table(results, least)))
    titles = {LEARNED: f"{Path(args.model[0]).stem} (learned)"} if args.model else {}
    try:
        figures.plot_best_so_far(compared, minima, figure, titles)
        print(f"figure: {figure}", file=sys.stderr)
        if args.problem == "repellers":
            paths = figure.with_name(f"{figure.stem}-paths{figure.suffix}")
            figures.repeller_paths(*compared[0], comparison_seed(args.seed), paths, titles)
            print(f"figure: {paths}", file=sys.stderr)
        for problem, by_name in zip(problems, models):
            if args.problem == "gp" and problem.dim == 1:
                queries = figure.with_name(f"{figure.stem}-queries{figure.suffix}")
                figures.queries(problem, by_name, args.seed, queries, titles)
                print(f"figure: {queries}", file=sys.stderr)
    except ImportError as error:
        print(f"no figure: {error}", file=sys.stderr)
    return 0


def problems_of(args):
    """What is compared on, one or several."""
    if args.problem == "gp":
        return [GPProblem(dim) for dim in args.dim or (2,)]
    if args.problem == "repellers":
        return [Instances(REPELLERS)]
    if args.problem == "benchmarks":
        return [Instances(box) for box in BENCHMARKS.values()]
    problems = []
    for name in TABLES:
        try:
            problems.append(Instances(read_table(name, args.data_dir), symmetry))
        except FileNotFoundError:
            if name != "logreg":  # a large file, that need not be there
                raise
    return problems


def named(names, dim):
    """The learned optimizers of this dimension, by the names of their curves: the first is "learned"."""
    return {name if k else LEARNED: _proposer(name, dim) for k, name in enumerate(dict.fromkeys(names))}


def _proposer(name, dim):
    """``name`` is a file, the name of a shipped optimizer, or either without its "-D" for D dimensions."""
    choices = (name, f"{name}-{dim}", f"{name}-{dim}.npz")
    there = [c for c in choices if Path(c).is_file() or (FOLDER / f"{c}.npz").is_file()]
    model = load(there[0] if there else f"{name}-{dim}")
    if not isinstance(model, Proposer):
        raise ValueError(f"model: expected a black-box optimizer, {name!r} is a {type(model).__name__}")
    if model.dim != dim:
        raise ValueError(f"model: expected one of {dim} dimensions, {name!r} has {model.dim}")
    return model

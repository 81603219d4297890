"""``compare bbob``: black-box optimizers on the functions of the BBOB suite."""

import json

from ..baselines.peers import installed_for_bbob
from ..checks import whole_number
from ..compare import figures
from ..compare.bbob import DIMENSIONS, FUNCTIONS, INSTANCES, BBOBProblem, compare_bbob, table, to_json
from ..compare.statistics import LEARNED
from ..extras import require
from .arguments import counts, planned_figure, progress
from .compare_black_box import EVALUATIONS, MODEL, in_words, one_number

OPTIONS = {"bbob": ("dim", "evaluations", "peers", "workers", "batch", "instances")}


def configure(add):
    """``add`` is that of a `ProblemOptions`."""
    add("--instances", type=counts, metavar="I,I",
        help=f"the instances of each BBOB function (default {','.join(map(str, INSTANCES))})")


def run(args):
    require("ioh", "compare bbob")
    functions = args.functions or FUNCTIONS
    if functions > FUNCTIONS:
        raise ValueError(f"--functions: expected at most {FUNCTIONS}, which the suite has, got {functions}")
    dims = args.dim or DIMENSIONS
    if min(dims) < 2:
        raise ValueError("--dim: expected 2 or more for bbob, got 1")
    models = {name if k else LEARNED: name for k, name in enumerate(dict.fromkeys(args.model or [MODEL]))}
    peers = installed_for_bbob() if args.peers else []
    evaluations = whole_number("evaluations", args.evaluations or EVALUATIONS)
    figure = planned_figure(args.figure, "compare-bbob.png")
    at_once = {"workers": one_number(args) or 1, "batch": args.batch or 1}
    compared = []
    for dim in dims:
        problem = BBOBProblem(dim, functions, args.instances or INSTANCES)
        compared.append((problem, compare_bbob(problem, models, evaluations, args.seed, peers=peers, report=progress,
                                               **at_once)))
    if args.json:
        print(json.dumps({"problem": {"problem": "bbob"}, "models": models,
                          "problems": [to_json(results, problem) | at_once for problem, results in compared]}))
    else:
        for k, (problem, results) in enumerate(compared):
            print("\n" * (k > 0) + f"{problem.title}: {functions} functions, instances "
                  f"{', '.join(map(str, problem.instances))}; log10 of the regret; learned: {models[LEARNED]}, then a "
                  f"Gaussian process{in_words(**at_once)}")
            print("\n".join(table(results)))
    if figure:
        figures.plot_best_so_far(compared, [None] * len(compared), figure, label="mean log10 regret")
        progress(f"figure: {figure}")
    return 0

"""``compare network``: black-box optimizers that tune six hyperparameters of a network, with one worker and several."""

import json

from ..compare import figures
from ..compare.network import EVALUATIONS, RUNS, WORKERS, NetworkProblem, compare_network, in_words, table, to_json
from ..compare.statistics import LEARNED
from ..extras import installed, require
from .arguments import planned_figure, progress
from .compare_black_box import MODEL, one_number

OPTIONS = {"network": ("evaluations", "peers", "workers", "data_dir")}


def run(args):
    require("scipy", "compare network")  # for expected improvement
    problem = NetworkProblem("mnist", args.data_dir) if args.data_dir else NetworkProblem()
    models = {name if k else LEARNED: name for k, name in enumerate(dict.fromkeys(args.model or [MODEL]))}
    runs, workers = args.functions or RUNS, one_number(args) or WORKERS
    tpe = bool(args.peers) and installed("optuna")
    if args.peers and not tpe:
        progress("without Optuna there is no TPE: pip install 'l2l-ref[optuna]'")
    figure = planned_figure(args.figure, "compare-network.png")
    results = compare_network(problem, models, args.evaluations or EVALUATIONS, runs, args.seed, workers=workers,
                              tpe=tpe, report=progress)
    if args.json:
        print(json.dumps(to_json(results, problem) | {"models": models}))
    else:
        print(f"{problem.title}, {runs} run{'s' * (runs > 1)} by one worker"
              + f" and by {in_words(workers)} of random speed" * (workers > 1)
              + f"; validation loss in nats, time in trainings; learned: {models[LEARNED]}, then a Gaussian process")
        print("\n".join(table(results)))
    if figure:
        figures.plot_tuning(results, problem.title, figure)
        progress(f"figure: {figure}")
    return 0

"""``compare zoo``: a learned optimizer, untuned, on 24 small problems, a third of which `train zoo` does not see."""

import json

from ..baselines.gradient import OPTIMIZERS
from ..checks import choice
from ..compare import figures
from ..compare.zoo import BASELINES, FUNCTIONS, HORIZONS, SHORT, TUNING_FUNCTIONS, compare_zoo, table, to_json
from ..executors import cores
from ..learned.proposer import Proposer
from ..optimizees import zoo
from ..pretrained import load
from .arguments import check_backend, counts, planned_figure, progress, whole
from .executors import WHERE, add_where, executor_of

OPTIONS = {"zoo": ("baselines", "tuning_functions", "fresh", "backend", "data_dir", "horizons", "short", "processes",
                   *WHERE)}
MODEL = "general"
SHORT_FUNCTIONS, SHORT_HORIZONS = 2, (100,)


def configure(add):
    add("--horizons", type=counts, metavar="T,T",
        help=f"numbers of steps after which the zoo is judged (default {','.join(map(str, HORIZONS))})")
    add("--short", action="store_true", default=None,
        help=f"{len(SHORT)} problems of the zoo, {SHORT_FUNCTIONS} functions each, {SHORT_HORIZONS[0]} steps")
    add("--processes", type=whole(1), metavar="N",
        help="problems of the zoo at the same time (default: as many as there are cores; 1 with --short)")
    add_where(add, "problems of the zoo", "--processes")


def run(args):
    if args.model and len(args.model) > 1:
        raise ValueError(f"--model: expected one for zoo, got {len(args.model)}")
    for baseline in args.baselines or ():
        choice("--baselines", baseline, OPTIMIZERS)
    name = args.model[0] if args.model else MODEL
    model = load(name, backend=args.backend or "auto")
    if isinstance(model, Proposer):
        raise ValueError(f"--model: expected a gradient-based optimizer for zoo, got {name!r}, a "
                         f"{type(model).__name__}")
    check_backend(model.backend)
    model.threads = 1  # the problems are spread over the cores
    figure = planned_figure(args.figure, "compare-zoo.png")
    functions = args.functions or (SHORT_FUNCTIONS if args.short else FUNCTIONS)
    horizons = args.horizons or (SHORT_HORIZONS if args.short else HORIZONS)
    with executor_of(args, "processes", 1 if args.short else cores()) as executor:
        result = compare_zoo(
            model, SHORT if args.short else (*zoo.TRAINING, *zoo.HELD_OUT), horizons, functions, args.seed,
            tuning_functions=args.tuning_functions or min(TUNING_FUNCTIONS, functions),
            baselines=BASELINES if args.baselines is None else args.baselines, data_dir=args.data_dir,
            cache=not args.fresh, executor=executor, report=progress,
        )
    if args.json:
        print(json.dumps(to_json(result, model, functions, args.seed)))
    else:
        print(f"{name} on {len(result.problems)} problems, {functions} functions of each")
        print("\n".join(table(result)))
    if figure:
        figures.plot_zoo(result, figure)
        progress(f"figure: {figure}")
    return 0

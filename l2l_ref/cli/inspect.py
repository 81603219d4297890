"""Look into trained optimizers: what they make of a gradient, and how far back they remember.

`updates` follows one parameter through a run of one optimizer. It asks which update the optimizer would have proposed
for other gradients at some of the steps, beside what Adam would have. `memory` follows the gradient of the last loss
back through the states of optimizers, trained ones and untrained ones with LSTM and with vanilla recurrent cells.
"""

import json

import numpy as np

from ..compare import figures
from ..compare.inspection import memory, proposals, require_coordinatewise
from ..compare.inspection_figures import plot_memory, plot_proposals
from ..compare.statistics import LEARNED, TUNING, align
from ..compare.tuning import tune
from ..learned.optimizer import CoordinatewiseLSTM, CoordinatewiseRNN
from ..metatrain.presets import build
from ..seeds import child
from .arguments import JSON, given, number, planned_figure, progress, whole
from .compare import TUNING_FUNCTIONS, named, shipped

SUBJECTS = ("updates", "memory")
PROBLEMS = ("quadratic", "digits", "mnist")
AT = (0, 3, 20, 80)
FUNCTIONS = 8          # of which `memory` takes the states
UNTRAINED = 10         # initial weights of each kind of cell
PRINTED = (1, 5, 10, 20, 50, 100)


def configure(parser):
    parser.add_argument("subject", choices=SUBJECTS, help="what to look at")
    parser.add_argument("problem", choices=PROBLEMS, help="on whose functions the optimizers run")
    parser.add_argument("--model", metavar="NAME", action="append",
                        help="a shipped optimizer or a file (default: the one for the problem); for memory several")
    parser.add_argument("--steps", type=whole(1), metavar="T", default=100, help="steps of the run (default 100)")
    parser.add_argument("--at", type=_steps, metavar="T,T",
                        help="steps, counted from 0, at which updates are proposed (default 0,3,20,80)")
    parser.add_argument("--coordinate", type=whole(0), metavar="N",
                        help="the parameter whose updates are drawn, counted from 0 (default 0)")
    parser.add_argument("--adam-rate", type=number, metavar="X",
                        help="learning rate of Adam (default: tuned as by compare)")
    parser.add_argument("--distribution", "--dist", choices=("uniform", "normal"),
                        help="distribution of the quadratics (default uniform)")
    parser.add_argument("--data-dir", metavar="FOLDER",
                        help="folder with MNIST (default: the environment variable L2L_REF_DATA)")
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of the functions (default 0)")
    parser.add_argument("--figure", metavar="FILE", help="where the figure is written (default inspect-SUBJECT.png)")
    parser.add_argument("--json", action="store_true", help=JSON)


def _steps(text):
    return tuple(whole(0)(part.strip()) for part in text.split(","))


def run(args):
    for option in ("at", "coordinate", "adam_rate"):
        if args.subject == "memory" and getattr(args, option) is not None:
            raise ValueError(f"--{option.replace('_', '-')}: not for memory")
    if args.subject == "updates" and args.model and len(args.model) > 1:
        raise ValueError(f"--model: expected one for updates, got {len(args.model)}")
    figure = planned_figure(args.figure, f"inspect-{args.subject}.png")
    options = ("distribution",) if args.problem == "quadratic" else ("data_dir",)
    _, problem, _ = build(args.problem, distribution=given(args, options))
    args.backend = args.threads = None
    models = {name: require_coordinatewise(named(name, args)) for name in args.model or [shipped(args)]}
    return (_memory if args.subject == "memory" else _updates)(args, problem, models, figure)


def _updates(args, problem, models, figure):
    (name, model), = models.items()
    train, test = (problem.on("train"), problem.on("test")) if hasattr(problem, "on") else (problem, problem)
    rate = args.adam_rate
    if rate is None:
        rate = tune("adam", train, args.steps, TUNING_FUNCTIONS[args.problem], child(args.seed, TUNING)).learning_rate
    at = args.at or tuple(t for t in AT if t < args.steps)
    found = proposals(model, test.sample(1, args.seed), args.steps, rate, at, args.coordinate or 0)
    uphill = found.uphill()
    if args.json:
        print(json.dumps({"model": name, "problem": problem.config, "adam_rate": rate, "uphill": uphill,
                          **{field: np.asarray(value).tolist() for field, value in zip(found._fields[3:], found[3:])}}))
    else:
        print(f"{figures.describe(problem.config)}: {name}, {args.steps} steps, and Adam with rate {rate:g} at the "
              "same points")
        print("updates with the sign of the gradient, which go uphill: "
              f"{100 * uphill[LEARNED]:.1f} %, Adam's {100 * uphill['adam']:.1f} %")
    if figure:
        plot_proposals(found, figure, f"{figures.describe(problem.config)}: {name}, parameter {found.coordinate}")
        progress(f"figure: {figure}")
    return 0


def _memory(args, problem, models, figure):
    task = problem.sample(FUNCTIONS if args.problem == "quadratic" else 1, args.seed)
    trained = next(iter(models.values()))
    settings = {"hidden": trained.hidden, "preprocess": trained.preprocess, "output_scale": trained.output_scale}
    curves = {
        f"{cell}, untrained": np.stack([memory(kind(**settings, rng=k), task, args.steps) for k in range(UNTRAINED)])
        for cell, kind in (("LSTM", CoordinatewiseLSTM), ("RNN", CoordinatewiseRNN))
    }
    curves |= {name: memory(model, task, args.steps) for name, model in models.items()}
    if args.json:
        print(json.dumps({"problem": problem.config, "curves": {name: c.tolist() for name, c in curves.items()}}))
    else:
        back = [k for k in PRINTED if k <= args.steps]
        print("norm of d loss_T / d state_t, relative to the last state, so many steps back")
        print("\n".join(align([["", *map(str, back)], *(
            [name, *(f"{np.median(np.atleast_2d(c)[:, k - 1]):.2g}" for k in back)] for name, c in curves.items())])))
    if figure:
        plot_memory(curves, figure, f"{figures.describe(problem.config)}: what the last update remembers")
        progress(f"figure: {figure}")
    return 0

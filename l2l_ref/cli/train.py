"""Meta-train an optimizer on a problem.

The weights with the best validation are written to --output, with a card that holds the command, the recipe,
the time taken and a score on functions that no decision was based on.
"""

import json
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from .. import __version__, backends
from ..black_boxes.distributions import DISTRIBUTIONS
from ..learned.cells import CELLS
from ..learned.propose import OUTPUTS
from ..learned.proposer import Proposer
from ..learned.trajectory import LOSSES
from ..metatrain import black_box, presets
from ..metatrain.gradient_based import Recipe, meta_train
from ..optimizees.rollout import rollout
from ..pretrained import save
from ..seeds import child
from .arguments import counts, given, number, refuse_others, require_writable, units, whole

TEST = 3  # the stream of random numbers of the functions that the score is taken on
TEST_FUNCTIONS = {"quadratic": 2000, "digits": 100, "mnist": 20}

SEARCH_TEST_FUNCTIONS = 2000

# Options whose values go into the recipe, the distribution of the problem and the model, nearly all under their own names.
RECIPE = ("epochs", "tasks", "functions", "steps", "unroll", "learning_rate", "final_learning_rate", "decay_from",
          "clip", "averaging", "coordinates", "judge", "patience", "rollback", "second_derivatives")
IMAGE_OPTIONS = ("theta0_scale", "data_dir")
DISTRIBUTION_OPTIONS = {"quadratic": ("distribution", "theta0_scale"), "digits": IMAGE_OPTIONS, "mnist": IMAGE_OPTIONS}
MODEL = ("hidden", "preprocess", "output_scale")
SEARCH_RECIPE = ("epochs", "updates", "functions", "steps", "first_steps", "curriculum", "learning_rate",
                 "final_learning_rate", "decay_from", "clip", "averaging", "patience", "rollback", "loss", "penalty",
                 "workers", "parallel", "judge")
SEARCH_DISTRIBUTION_OPTIONS = {"gp": ("dim", "length_scale", "noise", "covariance"), "support": ("dim",)}
SEARCH_MODEL = ("hidden", "cell", "memory", "output_map")
OPTIONS = {problem: (*RECIPE, "preset", *options, *MODEL) for problem, options in DISTRIBUTION_OPTIONS.items()}
OPTIONS |= {problem: (*SEARCH_RECIPE, "constant_incumbent", *options, *SEARCH_MODEL)
            for problem, options in SEARCH_DISTRIBUTION_OPTIONS.items()}
NOT_ON_CARD = ("command", "problem", "json", "checkpoint", "resume", "data_dir", "backend", "threads")


def configure(parser):
    parser.add_argument("problem", choices=OPTIONS)
    parser.add_argument("--preset", choices=presets.NAMES,
                        help="whose settings: this project's, the paper's, or the released code's")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--output", metavar="FILE", help="where the weights go; default PROBLEM-lstm.npz")
    parser.add_argument("--checkpoint", metavar="FILE", help="written after each epoch")
    parser.add_argument("--resume", action="store_true",
                        help="go on from the checkpoint, or start afresh where there is none yet")
    for name in ("epochs", "tasks", "functions", "steps", "unroll", "patience", "rollback", "coordinates", "updates",
                 "first-steps", "workers", "dim"):
        parser.add_argument(f"--{name}", type=whole(1), metavar="N")
    for name in ("learning-rate", "final-learning-rate", "decay-from", "clip", "averaging", "preprocess",
                 "output-scale", "theta0-scale", "curriculum", "penalty", "parallel", "length-scale", "noise"):
        parser.add_argument(f"--{name}", type=number, metavar="X")
    parser.add_argument("--judge", choices=("final", "sum"), help="what is best: the last losses or the sum of all")
    parser.add_argument("--second-derivatives", action="store_true", default=None,
                        help="do not drop how gradients depend on the optimizer")
    parser.add_argument("--hidden", type=units, metavar="N,N", help="units of the LSTM layers")
    parser.add_argument("--distribution", "--dist", choices=("uniform", "normal"),
                        help="distribution of the entries of the quadratics' W and y; --dist for short")
    parser.add_argument("--loss", choices=LOSSES, help="what a black-box optimizer is trained on")
    parser.add_argument("--constant-incumbent", action="store_true", default=None,
                        help="let no gradient of the loss flow through the best value so far")
    parser.add_argument("--covariance", choices=("squared_exponential", "matern32", "matern52"))
    parser.add_argument("--cell", choices=CELLS, help="of a black-box optimizer")
    parser.add_argument("--memory", type=counts, metavar="N,N,N",
                        help="of a DNC: slots, numbers in a slot, read heads; default 16,16,2")
    parser.add_argument("--output-map", choices=OUTPUTS, help="how a black-box optimizer is kept in the cube")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where MNIST lies; default: the variable L2L_REF_DATA")
    parser.add_argument("--backend", choices=("auto", "numpy", "numba"), default="auto")
    parser.add_argument("--threads", type=whole(1), metavar="N")
    parser.add_argument("--json", action="store_true", help="print the card on stdout")


def run(args):
    if args.resume and not args.checkpoint:
        raise ValueError("--resume: needs --checkpoint FILE")
    search = args.problem in DISTRIBUTIONS
    refuse_others(args, args.problem, OPTIONS)
    if search and args.dim is None:
        raise ValueError("--dim: expected the number of dimensions of the functions")
    output = Path(args.output or (f"{args.problem}-{args.dim}-lstm.npz" if search else f"{args.problem}-lstm.npz"))
    require_writable(output)
    if args.checkpoint:
        require_writable(Path(args.checkpoint))
        if Path(args.checkpoint).resolve() == output.resolve():
            raise ValueError("--checkpoint: expected another file than --output")

    trained, card = (_search if search else _gradient)(args)
    card = {"name": output.stem, "version": __version__, "seed": args.seed, "command": command(args), **card}
    save(trained, output, card)
    taken = card["score"]
    final, total = ("not finite" if taken[name] is None else f"{taken[name]:.4g}" for name in ("final", "sum"))
    what = "best value after" if search else "f at"
    print(f"{output}: {what} step {taken['steps']} {final}, sum over the steps {total} "
          f"(mean over {taken['functions']} test functions); {card['minutes']} min", file=sys.stderr)
    if args.json:
        print(json.dumps(card))
    return 0


def _gradient(args):
    """Train a coordinatewise optimizer: (model, its part of the card)."""
    model, problem, recipe = presets.build(
        args.problem, args.preset or "default", seed=args.seed, model=given(args, MODEL),
        distribution=given(args, DISTRIBUTION_OPTIONS[args.problem]), recipe=given(args, RECIPE), backend=args.backend, threads=args.threads,
    )
    trained, log = meta_train(model, problem, seed=args.seed, checkpoint=args.checkpoint, resume=args.resume,
                              report=Reporter(), **recipe)
    made_with = _made_with(backends.choose("coordinatewise", model.backend, np.inf))
    return trained, {"made with": made_with, "model": trained.config, "problem": problem.config, "recipe": recipe,
                     **_history(log), "score": score(trained, problem, recipe.get("steps", Recipe.steps), args)}


def _search(args):
    """Train a black-box optimizer: (model, its part of the card)."""
    chosen = given(args, SEARCH_MODEL)
    if "hidden" in chosen and len(chosen["hidden"]) != 1:
        raise ValueError(f"--hidden: expected the units of one layer, got {args.hidden}")
    hidden = {"hidden": chosen["hidden"][0]} if "hidden" in chosen else {}
    model = Proposer(args.dim, output=chosen.get("output_map", "linear"), cell=chosen.get("cell", "lstm"),
                     memory=chosen.get("memory"), rng=args.seed, **hidden)
    distribution = DISTRIBUTIONS[args.problem](**given(args, SEARCH_DISTRIBUTION_OPTIONS[args.problem]))
    asked = given(args, SEARCH_RECIPE)
    if args.constant_incumbent:
        asked["through_incumbent"] = False
    trained, log = black_box.meta_train_black_box(
        model, distribution, args.seed, backend=args.backend, checkpoint=args.checkpoint, resume=args.resume,
        report=Reporter(), **asked
    )
    recipe = black_box.Recipe(**asked)
    best, moments = black_box.held_out(trained, distribution, SEARCH_TEST_FUNCTIONS, recipe.steps,
                                       child(args.seed, TEST), args.backend)
    made_with = _made_with(backends.choose("gp", args.backend, np.inf))
    return trained, {"made with": made_with, "model": trained.config, "problem": distribution.config,
                     "recipe": asdict(recipe), **_history(log), "moments": moments,
                     "score": {"functions": SEARCH_TEST_FUNCTIONS, "steps": recipe.steps, "final": float(best[-1]),
                               "sum": float(best.sum())}}


def _made_with(module):
    """For the card: the module is what `backends` chose for large work."""
    return {"backend": backends.name_of(module), "numpy": np.__version__}


def _history(log):
    best = min(log, key=lambda entry: entry["judged"])
    return {"minutes": round(sum(entry["seconds"] for entry in log) / 60, 1), "epochs": len(log),
            "best_epoch": best["epoch"],
            "validation": {"final": best["validation_final"], "sum": best["validation_sum"]}}


def command(args):
    """The command that trains the weights again: what was given, without places of this machine.

    To the last bit it does so with the same backend, on processors that round alike.
    """
    words = ["l2l-ref", "train", args.problem]
    for name, value in vars(args).items():
        if name in NOT_ON_CARD or value is None or (name, value) == ("preset", "default"):
            continue
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
            continue
        if name == "output":
            value = Path(value).name
        elif name in ("hidden", "memory"):
            value = ",".join(map(str, value))
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def score(model, problem, steps, args):
    """Mean loss at the last step and mean sum over the steps, on test functions drawn from the seed."""
    test = problem.on("test") if hasattr(problem, "on") else problem
    functions = TEST_FUNCTIONS[args.problem]
    task = test.sample(functions, child(args.seed, TEST))
    curve = rollout(model, task, steps).mean(axis=1, dtype=np.float64)
    final, total = (float(v) if np.isfinite(v) else None for v in (curve[-1], curve[1:].sum()))
    return {"functions": functions, "steps": steps, "final": final, "sum": total}


class Reporter:
    """A line an epoch on stderr, with an estimate of the time that is left."""

    def __init__(self):
        self.started, self.first_epoch = time.monotonic(), None

    def __call__(self, progress, recipe):
        entry = progress.log[-1]
        if self.first_epoch is None:
            self.first_epoch = progress.epoch - 1
        pace = (time.monotonic() - self.started) / (progress.epoch - self.first_epoch)
        loss = "none" if entry["loss"] is None else f"{entry['loss']:.4g}"
        horizon = f"  horizon {entry['steps']}" if "steps" in entry else ""
        print(f"epoch {progress.epoch}/{recipe.epochs}  loss {loss}  validation f "
              f"{entry['validation_final']:.4g}  sum {entry['validation_sum']:.4g}  best "
              f"{progress.best['validation_final']:.4g}{horizon}  "
              f"left {clock(pace * (recipe.epochs - progress.epoch))}",
              file=sys.stderr, flush=True)
        if entry["skipped"]:
            print(f"  {entry['skipped']} of the epoch's batches left the range of float32 and were dropped",
                  file=sys.stderr, flush=True)
        if "stuck" in entry:
            print(f"  warning: {entry['stuck']}", file=sys.stderr, flush=True)


def clock(seconds):
    """95 -> '1:35'."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"

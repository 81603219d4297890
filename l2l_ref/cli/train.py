"""Meta-train an optimizer on a problem.

The weights with the best validation are written to --output. The file also has a card with the command, the recipe,
the time it took, and a score on functions on which nothing was decided.
"""

import inspect
import json
import shlex
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from .. import __version__, backends
from ..black_boxes import DISTRIBUTIONS
from ..learned.cells import CELLS
from ..learned.optimizer import CoordinatewiseLSTM
from ..learned.propose import OUTPUTS
from ..learned.proposer import Proposer
from ..learned.sharing_optimizer import SHARED, SharingLSTM
from ..learned.trajectory import LOSSES
from ..metatrain import black_box, gradient_based, presets
from ..metatrain.gradient_based import ESTIMATORS, LOSS_WEIGHTS, Recipe, mean_curve, meta_train
from ..metatrain.loop import JUDGES, KEEPS, best_of
from ..metatrain.presets import OWN, ZOO
from ..ops.covariance import OF_R2
from ..optimizees import MLP, ConvNet, Mixture, Quadratic, StyleTransfer
from ..pretrained import load, save
from ..seeds import child
from .arguments import (
    JSON,
    ProblemOptions,
    check_backend,
    counts,
    default_text,
    given,
    labels,
    number,
    progress,
    refuse_others,
    require_writable,
    seconds,
    units,
    whole,
)
from .executors import WHERE, add_where, chosen_of, executor_of
from .user_code import import_problem

TEST = 3  # the stream of random numbers of the functions that the score is taken on
TEST_FUNCTIONS = {"quadratic": 2000, "digits": 100, "mnist": 20, "cifar": 20, "art": 20, ZOO: 160, OWN: 100}

SEARCH_TEST_FUNCTIONS = 2000

# Options whose values go into the recipe, the distribution of the problem and the model, nearly all under their own
# names.
RECIPE = ("epochs", "tasks", "functions", "steps", "unroll", "learning_rate", "final_learning_rate", "decay_from",
          "clip", "averaging", "coordinates", "judge", "keep", "patience", "rollback", "loss_weights", "horizons",
          "curriculum", "untold", "estimator", "pairs", "sigma", "imitation", "logarithm", "second_derivatives",
          "pieces")
IMAGE_OPTIONS = ("theta0_scale", "data_dir")
DISTRIBUTION_OPTIONS = {"quadratic": ("distribution", "theta0_scale"), "digits": IMAGE_OPTIONS, "mnist": IMAGE_OPTIONS,
                        "cifar": (*IMAGE_OPTIONS, "labels"), "art": ("style", "size", "data_dir"),
                        ZOO: ("rescale", "starts", "inputs"), OWN: ()}
MODEL = ("hidden", "preprocess", "output_scale")
CELL = "lstm"
SHARING = ("share", "averaged", "window")
SEARCH_RECIPE = ("epochs", "updates", "functions", "steps", "first_steps", "curriculum", "learning_rate",
                 "final_learning_rate", "decay_from", "clip", "averaging", "patience", "rollback", "loss", "penalty",
                 "workers", "parallel", "judge", "keep", "pieces")
SEARCH_DISTRIBUTION_OPTIONS = {"gp": ("dim", "length_scale", "noise", "covariance"), "support": ("dim",)}
SEARCH_MODEL = ("hidden", "cell", "memory", "output_map")
SEARCH_OUTPUT_MAP = "linear"
OPTIONS = {problem: (*RECIPE, "preset", "start", *options, *MODEL, "cell")
           for problem, options in DISTRIBUTION_OPTIONS.items()}
OPTIONS["quadratic"] += SHARING
OPTIONS["cifar"] += ("single",)
OPTIONS |= {problem: (*SEARCH_RECIPE, "constant_incumbent", *options, *SEARCH_MODEL)
            for problem, options in SEARCH_DISTRIBUTION_OPTIONS.items()}
NOT_ON_CARD = ("command", "problem", "json", "checkpoint", "resume", "overwrite", "data_dir", "backend", "threads",
               "processes", *WHERE, "piece_seconds")

# The texts of the options that are numbers. Their order is that of the options in the command on a card.
WHOLE_NUMBERS = {
    "epochs": "number of epochs; a validation follows each of them",
    "tasks": "runs per epoch, each on a fresh batch of functions",
    "functions": "functions in a batch",
    "steps": "steps of a run, or evaluations of a function",
    "unroll": "steps through which a gradient is propagated back: the weights are updated once after so many steps, "
              "which must divide --steps",
    "patience": "stop after N epochs without a better validation",
    "rollback": "after N epochs without a better validation, return to the best weights and halve the learning rate",
    "coordinates": "estimate the meta-gradient from N coordinates drawn at random, instead of from all of them",
    "pieces": "cut the functions of an update into N pieces, which processes or an executor compute at the same time; "
              "the weights depend on N, but not on where the pieces are computed",
    "pairs": "pairs of runs for an update by evolution",
    "averaged": "averaged units in each layer, with --share",
    "window": "pairs of vectors that --share l-bfgs keeps, three for each step",
    "updates": "updates of the weights per epoch",
    "first-steps": "shortest horizon in evaluations; each update draws its horizon between this and the longest",
    "workers": "the largest number of simultaneous evaluations to prepare the optimizer for",
}
NUMBERS = {
    "learning-rate": "learning rate of Adam at the start",
    "final-learning-rate": "learning rate of Adam towards the end",
    "decay-from": "fraction of the epochs after which the learning rate begins to fall",
    "clip": "scale the meta-gradient down to this norm where its norm is larger",
    "averaging": "validate and keep a running average of the weights; this is its factor per update, and 0 keeps the "
                 "weights themselves",
    "preprocess": "constant p of log-and-sign, which prepares the gradients for the network",
    "output-scale": "factor between the output of the network and the update",
    "theta0-scale": "standard deviation of the starting points",
    "curriculum": "fraction of the epochs during which the longest horizon grows: from --first-steps to --steps, or "
                  "between the two of --horizons",
    "untold": "fraction of the runs in which the optimizer is not told the number of steps, if it wants to know",
    "sigma": "standard deviation of the perturbations of the weights by evolution",
    "imitation": "of evolution: how much the distance of the updates from those of Adam counts beside the losses",
    "logarithm": "replace losses by the logarithm of their sum with this number",
    "starts": "multiply the starting points of an eighth of the functions at random, by factors up to this",
    "inputs": "multiply the inputs of an eighth of the functions at random, by factors up to this",
    "rescale": "rescale the parameters of each function at random, array by array, by factors up to this; 1 does not",
    "penalty": "weight in the loss of the distance between the network's raw output and the unit cube",
    "parallel": "fraction of the updates with simultaneous evaluations, 2 to --workers",
    "length-scale": "length scale of the Gaussian process; the unit is the side of the cube",
    "noise": "standard deviation of the noise of an observation",
}


class _Problems(dict):
    """The problems of the package by name, and any that has the form of MODULE:PROBLEM."""

    def __contains__(self, name):
        return super().__contains__(name) or ":" in name


def kind(problem):
    """The name under which the options of a problem are listed."""
    return OWN if ":" in problem else problem


def configure(parser):
    parser.add_argument("problem", choices=_Problems(OPTIONS),
                        help="gradient-based: random quadratics, a small network on the digits of the package or on "
                             "MNIST, a convolutional network on CIFAR-10, images to be painted (art), a mixture of "
                             "sixteen problems (zoo), or a problem of yours, an object with sample(functions, seed) or "
                             "a function that makes one; "
                             "black-box: draws of a Gaussian process, or smooth functions through six random points "
                             "(support)")
    options = ProblemOptions(parser, OPTIONS)
    add = options.add
    add("--preset", choices=presets.NAMES,
        help="settings of this project, of the text of Andrychowicz et al. 2016, or of the code that they released "
             "(default: default)")
    add("--start", metavar="MODEL",
        help="begin with the weights of this optimizer, shipped or of a file, instead of random ones")
    add("--seed", type=whole(0), default=0, help="seed of the initial weights and of all functions (default 0)")
    add("--output", metavar="FILE",
        help="where the weights are written (default PROBLEM-lstm.npz, PROBLEM-moments.npz for --cell moments, or "
             "PROBLEM-DIM-lstm.npz of black boxes)")
    add("--checkpoint", metavar="FILE",
        help="write the state of the run to this file after each epoch (default: none; Ctrl-C then writes the best "
             "weights so far beside --output, to a file that ends in -interrupted.npz)")
    add("--resume", action="store_true",
        help="continue from the checkpoint; start afresh if there is none yet")
    add("--overwrite", action="store_true",
        help="start afresh and replace the checkpoint, which is otherwise refused if it is there")
    for name, text in WHOLE_NUMBERS.items():
        add(f"--{name}", type=whole(1), metavar="N", help=text + _default(name))
    for name, text in NUMBERS.items():
        add(f"--{name}", type=number, metavar="X", help=text + _default(name))
    add("--dim", type=counts, metavar="D,D",
        help="dimensions of the functions; required; several for --cell shared, which serves any number of dimensions")
    add("--horizons", type=counts, metavar="N,N",
        help="shortest and longest run of training, each of which has a number of steps of its own; --steps is then "
             "that of the validation" + _default("horizons"))
    add("--estimator", choices=ESTIMATORS,
        help="where meta-gradients come from: backpropagation through windows, or evolution, the losses of pairs of "
             "runs with perturbed weights" + _default("estimator"))
    add("--judge", choices=JUDGES,
        help="a validation is judged by the last losses or by the sum of all of them" + _default("judge"))
    add("--keep", choices=KEEPS,
        help="keep the weights of the epoch with the best validation, or of the last one" + _default("keep"))
    add("--loss-weights", choices=LOSS_WEIGHTS,
        help="weights of the losses along a run: all the same, growing with the step, the last loss alone, or most "
             "of them on the last tenth of the steps"
             + _default("loss_weights"))
    add("--second-derivatives", action="store_true", default=None,
        help="also differentiate the gradients that the optimizer sees, which depend on the optimizer too")
    add("--hidden", type=units, metavar="N,N",
        help="units of the recurrent layers; black boxes take one number, of the cell or controller"
             + _default("hidden"))
    add("--distribution", "--dist", choices=("uniform", "normal"),
        help="distribution of the entries of W and y of the quadratics; --dist for short" + _default("distribution"))
    add("--loss", choices=LOSSES,
        help="what is minimised: the sum of the values, minus the expected improvement, minus the observed "
             "improvement, the last value, the best one, or (noisy-ei) minus the expected improvement given the noisy "
             "values that have come in" + _default("loss"))
    add("--constant-incumbent", action="store_true", default=None,
        help="treat the best value so far as a constant: no gradient of the loss passes through it")
    add("--covariance", choices=OF_R2, help="covariance function of the Gaussian process" + _default("covariance"))
    add("--cell", choices=dict.fromkeys((*presets.CELLS, *CELLS)),
        help="the recurrent cell: rnn, the vanilla one, is for gradient-based optimizers, dnc and shared, an LSTM for "
             "all coordinates, are for black-box ones; moments, for gradient-based ones, has none, but running means "
             "of the gradient; on the zoo and on your problems it is trained by evolution, with the defaults of "
             "docs/reference/presets.md"
             + _default("cell"))
    add("--memory", type=counts, metavar="N,N,N",
        help="memory of a DNC: slots, numbers in a slot, read heads (default 16,16,2)")
    add("--output-map", choices=OUTPUTS,
        help="what keeps queries in the unit cube: a sigmoid, or clipping of a linear output" + _default("output_map"))
    add("--labels", type=labels, metavar="N,N",
        help="only images with these labels; one number alone means the first so many (default: all ten)")
    add("--share", choices=SHARED,
        help="let the coordinates share information: by averaged units, by averaged units and a matrix (bfgs), or by "
             "averaged units and a window of pairs of vectors (l-bfgs); by default they share none")
    add("--single", action="store_true", default=None,
        help="one set of weights for all parameters, not one for convolutions and one for the other layers")
    add("--style", metavar="NAME", help="painting of neural art" + _default("style"))
    add("--size", type=whole(2), metavar="N",
        help="rows and columns of the images of neural art" + _default("size"))
    add("--data-dir", metavar="FOLDER",
        help="folder with MNIST, CIFAR-10, pictures and networks (default: the environment variable L2L_REF_DATA)")
    add("--backend", choices=backends.BACKENDS, default="auto",
        help="auto takes numba if it is installed and the work is large enough (default auto)")
    add("--processes", type=whole(1), metavar="N",
        help="processes that share the pieces, or the pairs of evolution; the weights do not depend on it (default 1)")
    add_where(add, "pieces", "--processes")
    add("--piece-seconds", type=seconds, metavar="X",
        help="if no piece is finished for so many seconds, those that are waited for are computed again (default: wait "
             "as long as it takes)")
    add("--threads", type=whole(1), metavar="N", help="threads of the numba backend (default: one per core)")
    add("--json", action="store_true", help=f"{JSON}: the card")


def _default(name):
    """The end of an option's text: its default."""
    return default_text(name.replace("-", "_"), DEFAULTS)


def _defaults(problem):
    """The values {option: value} of a training on this problem unless the user says otherwise."""
    def of(function):
        parameters = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    if problem in DISTRIBUTIONS:
        values = (of(DISTRIBUTIONS[problem]) | of(Proposer) | of(black_box.Recipe)
                  | {"output_map": SEARCH_OUTPUT_MAP, "length_scale": "0.2 sqrt(dim)"})
        del values["memory"]  # None stands for that of the cell
    else:
        preset = presets.PRESETS.get(problem, {"default": presets.MIXTURE})["default"]
        classes = {"quadratic": Quadratic, "cifar": ConvNet, "art": StyleTransfer, ZOO: Mixture, OWN: Mixture}
        values = (of(classes.get(problem, MLP)) | of(CoordinatewiseLSTM) | of(SharingLSTM) | of(Recipe)
                  | preset["problem"] | preset["model"] | preset["recipe"] | {"cell": CELL})
    return {name: value for name, value in values.items() if name in OPTIONS[problem]}


DEFAULTS = {problem: _defaults(problem) for problem in OPTIONS}


def epochs_of(problem):
    """How many epochs a training on this problem has by default."""
    return DEFAULTS[kind(problem)]["epochs"]


def checked(args):
    """Refuse options that do not go together."""
    for option in ("resume", "overwrite"):
        if getattr(args, option) and not args.checkpoint:
            raise ValueError(f"--{option}: needs --checkpoint FILE")
    refuse_others(args, kind(args.problem), OPTIONS)
    where = chosen_of(args, "processes")
    if args.piece_seconds is not None and not where:
        raise ValueError("--piece-seconds: needs --processes, --executor or --scheduler")
    if where and args.second_derivatives:
        raise ValueError(f"--{where[0]}: not with --second-derivatives, whose functions cannot be sent anywhere")
    if args.averaged and not args.share:
        raise ValueError("--averaged: needs --share")
    if args.window and args.share != "l-bfgs":
        raise ValueError("--window: needs --share l-bfgs")
    if args.problem in DISTRIBUTIONS and args.dim is None:
        raise ValueError("--dim: expected the number of dimensions of the functions")


def run(args):
    checked(args)
    search = args.problem in DISTRIBUTIONS
    dims = "-".join(map(str, args.dim or ()))
    name = args.problem.rpartition(":")[2]
    kind_of = "moments" if args.cell == "moments" else "lstm"
    output = Path(args.output or (f"{name}-{dims}-lstm.npz" if search else f"{name}-{kind_of}.npz"))
    require_writable(output)
    if args.checkpoint:
        require_writable(Path(args.checkpoint))
        if Path(args.checkpoint).resolve() == output.resolve():
            raise ValueError("--checkpoint: expected another file than --output")
    check_backend(args.backend)

    reporter = Reporter()
    made_by = {"version": __version__, "seed": args.seed, "command": command(args)}
    try:
        trained, card, _ = (_search if search else _gradient)(args, reporter)
    except KeyboardInterrupt:
        if args.checkpoint or not reporter.log:
            raise
        _keep(reporter, output, made_by)
        return 130
    card = {"name": output.stem, **made_by, **card}
    save(trained, output, card)
    taken = card["score"]
    final, total = ("not finite" if taken[name] is None else f"{taken[name]:.4g}" for name in ("final", "sum"))
    what = "best value after" if search else "f at"
    progress(f"{output}: {what} step {taken['steps']} {final}, sum over the steps {total} "
             f"(mean over {taken['functions']} test functions); {card['minutes']} min")
    if args.json:
        print(json.dumps(card))
    return 0


def result(args, until=None):
    """The card of a training whose weights are not kept, with its validations: one run of a sweep.

    A training that has come to the epoch ``until`` is left there, for its checkpoint to go on from, and its validations
    so far are returned, a list. The checkpoint of a training that has ended is removed.
    """
    checked(args)
    reporter = Reporter(silent=True, until=until)
    try:
        _, card, log = (_search if args.problem in DISTRIBUTIONS else _gradient)(args, reporter)
    except Left:
        return _validations(reporter.log)
    if args.checkpoint:
        Path(args.checkpoint).unlink(missing_ok=True)
    return {"version": __version__, "seed": args.seed, "command": command(args), **card,
            "validations": _validations(log)}


def _validations(log):
    return [entry["judged"] for entry in log]


def _keep(reporter, output, made_by):
    """Write the best optimizer of a training that was interrupted, not to ``output``, which may hold a finished one."""
    kept = output.with_name(f"{output.stem}-interrupted{output.suffix}")
    save(reporter.model_of(reporter.phi), kept,
         {"name": kept.stem, **made_by, **reporter.about, **_history(reporter.log)})
    progress(f"l2l-ref train: interrupted; {kept} has the best weights of {len(reporter.log)} epochs, without a score")


def _gradient(args, reporter):
    """Train a coordinatewise optimizer. Returns the model, its part of the card and the log."""
    try:
        start = None if args.start is None else load(args.start)
    except ValueError as error:
        raise ValueError(f"--start: {error}") from None
    name = kind(args.problem)
    drawn_from = import_problem(args.problem) if name == OWN else args.problem
    model, problem, recipe = presets.build(
        drawn_from, args.preset or "default", seed=args.seed, model=given(args, MODEL + SHARING),
        distribution=given(args, DISTRIBUTION_OPTIONS[name]), recipe=given(args, RECIPE), backend=args.backend,
        threads=args.threads, single=bool(args.single), cell=args.cell or CELL, start=start,
    )
    if recipe.get("estimator") != "evolution":
        _require_pieces(args)
    made_with = _made_with(model.steps_of(np.inf))
    reporter.model_of = partial(gradient_based.with_phi, model)
    config = getattr(problem, "config", None) or {"problem": args.problem}
    reporter.about = {"made with": made_with, "model": model.config, "problem": config, "recipe": recipe}
    with executor_of(args, "processes") as executor:
        trained, log = meta_train(model, problem, seed=args.seed, checkpoint=args.checkpoint, resume=args.resume,
                                  overwrite=args.overwrite, report=reporter, executor=executor,
                                  piece_seconds=args.piece_seconds, **recipe)
    return trained, {**reporter.about, **_history(log),
                     "score": score(trained, problem, recipe.get("steps", Recipe.steps), args)}, log


def _search(args, reporter):
    """Train a black-box optimizer. Returns the model, its part of the card and the log."""
    _require_pieces(args)
    chosen = given(args, SEARCH_MODEL)
    if "hidden" in chosen and len(chosen["hidden"]) != 1:
        raise ValueError(f"--hidden: expected the units of one layer, got {args.hidden}")
    hidden = {"hidden": chosen["hidden"][0]} if "hidden" in chosen else {}
    cell = chosen.get("cell", CELL)
    if cell != "shared" and len(args.dim) > 1:
        raise ValueError(f"--dim: expected one number for --cell {cell}, got {len(args.dim)}")
    model = Proposer(None if cell == "shared" else args.dim[0], output=chosen.get("output_map", SEARCH_OUTPUT_MAP),
                     cell=cell, memory=chosen.get("memory"), rng=args.seed, **hidden)
    settings = given(args, SEARCH_DISTRIBUTION_OPTIONS[args.problem])
    distributions = [DISTRIBUTIONS[args.problem](**settings | {"dim": dim}) for dim in args.dim]
    asked = given(args, SEARCH_RECIPE)
    if args.constant_incumbent:
        asked["through_incumbent"] = False
    recipe = black_box.Recipe(**asked)
    made_with = _made_with(backends.choose("gp", args.backend, np.inf))
    reporter.model_of = partial(black_box.with_phi, model)
    reporter.about = {"made with": made_with, "model": model.config, "problem": _problem(distributions),
                      "recipe": asdict(recipe)}
    with executor_of(args, "processes") as executor:
        trained, log = black_box.meta_train_black_box(
            model, distributions, args.seed, backend=args.backend, threads=args.threads, checkpoint=args.checkpoint,
            resume=args.resume, overwrite=args.overwrite, report=reporter, executor=executor,
            piece_seconds=args.piece_seconds, **asked
        )
    held_out = [black_box.evaluate_held_out(trained, one, SEARCH_TEST_FUNCTIONS, recipe.steps, child(args.seed, TEST),
                                            args.backend, args.threads) for one in distributions]
    best = np.mean([curve for curve, _ in held_out], axis=0)
    taken = {"functions": SEARCH_TEST_FUNCTIONS, "steps": recipe.steps, "final": float(best[-1]),
             "sum": float(best.sum())}
    if len(distributions) > 1:
        taken["final of each"] = [float(curve[-1]) for curve, _ in held_out]
    moments = [of_each for _, of_each in held_out]
    return trained, {**reporter.about, **_history(log), "moments": moments if len(moments) > 1 else moments[0],
                     "score": taken}, log


def _require_pieces(args):
    """Refuse workers that would have nothing to do."""
    chosen = chosen_of(args, "processes")
    if chosen and (args.pieces or 1) == 1:
        raise ValueError(f"--{chosen[0]}: needs --pieces or --estimator evolution: there is nothing to share")


def _problem(distributions):
    """The part of the card that says what was trained on: with all numbers of dimensions if there are several."""
    config, *others = [one.config for one in distributions]
    return config | {"dim": [config["dim"], *(other["dim"] for other in others)]} if others else config


def _made_with(module):
    """The part of the card that names backend and NumPy; ``module`` is the choice of `backends` for much work."""
    return {"backend": backends.name_of(module), "numpy": np.__version__}


def _history(log):
    best = best_of(log)
    return {"minutes": round(sum(entry["seconds"] for entry in log) / 60, 1), "epochs": len(log),
            "best_epoch": best["epoch"],
            "validation": {"final": best["validation_final"], "sum": best["validation_sum"]}}


def command(args):
    """Return the command that trains the weights again: the options that were given, without paths of this machine.

    The weights are the same to the last bit with the same backend, on processors that round alike.
    """
    words = ["l2l-ref", "train", args.problem]
    for name, value in vars(args).items():
        if name in NOT_ON_CARD or value is None or (name, value) == ("preset", "default"):
            continue
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
            continue
        if name in ("output", "start"):
            value = Path(value).name
        elif name in ("dim", "hidden", "horizons", "labels", "memory"):
            value = ",".join(map(str, value))
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def score(model, problem, steps, args):
    """Return the score of a model for its card: mean loss at the last step, mean sum over the steps.

    The test functions are drawn from the seed; a number that is not finite becomes None.
    """
    test = problem.on("test") if hasattr(problem, "on") else problem
    functions = TEST_FUNCTIONS[kind(args.problem)]
    curve = mean_curve(model, test, functions, steps, child(args.seed, TEST), np.float64)
    final, total = (float(v) if np.isfinite(v) else None for v in (curve[-1], curve[1:].sum()))
    return {"functions": functions, "steps": steps, "final": final, "sum": total}


class Left(Exception):
    """Ends a training after an epoch, with its checkpoint written."""


class Reporter:
    """Prints a line per epoch on stderr, with an estimate of the time that is left.

    It also holds what an interrupted training has come to: ``model_of`` makes a model of a vector of weights, ``about``
    is what its card says of the training, ``phi`` the best weights so far and ``log`` the log. It raises `Left` after
    the epoch ``until``.
    """

    def __init__(self, silent=False, until=None):
        self.silent, self.until = silent, until
        self.started, self.first_epoch = time.monotonic(), None
        self.model_of, self.about, self.phi, self.log = None, {}, None, []

    def __call__(self, state, recipe):
        entry = state.log[-1]
        self.phi, self.log = state.best_phi, list(state.log)
        if self.until is not None and state.epoch >= self.until:
            raise Left
        if self.silent:
            return
        if self.first_epoch is None:
            self.first_epoch = state.epoch - 1
        pace = (time.monotonic() - self.started) / (state.epoch - self.first_epoch)
        loss = "none" if entry["loss"] is None else f"{entry['loss']:.4g}"
        horizon = f"  horizon {entry['steps']}" if "steps" in entry else ""
        progress(f"epoch {state.epoch}/{recipe.epochs}  loss {loss}  validation f {entry['validation_final']:.4g}  "
                 f"sum {entry['validation_sum']:.4g}  best {state.best['validation_final']:.4g}{horizon}  "
                 f"left {clock(pace * (recipe.epochs - state.epoch))}")
        if entry["skipped"]:
            progress(f"  {entry['skipped']} batches of this epoch left the range of float32 and were dropped")
        if "stuck" in entry:
            progress(f"  warning: {entry['stuck']}")

    def waiting(self, text):
        """Say what is waited for, or what went wrong with an executor."""
        if not self.silent:
            progress(f"  {text}")


def clock(seconds):
    """95 -> '1:35'."""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"

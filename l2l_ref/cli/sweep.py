"""Train or compare with many settings: a table, a figure, and a file to go on from.

COMMAND is `train` or `compare`, with a problem and its options. An option of it may have several values, as in
`--hidden 10 20 20,20`: all combinations are run. With --draws, that many settings are drawn at random instead: a number
of a range, as in `--learning-rate 1e-4:1e-1`, such that its logarithm is uniform, and elsewhere one of the values.

The results are written after each run. A sweep that was interrupted, or that is called again with more values, runs
only what is missing. The options of the sweep itself stand before COMMAND.

With --halve-at 5,10, only the better half of the trainings goes on after 5 epochs, and the better half of these after
10.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import shlex
from pathlib import Path

import numpy as np

from ..compare.statistics import align
from ..compare.sweep_figure import plot_halving, plot_sweep
from ..executors import cores
from ..sweep import Range, draws, grid, sweep, validations_of
from . import Parser
from .arguments import JSON, counts, number, planned_figure, progress, require_writable, whole
from .executors import WHERE, add_where, executor_of

SWEPT = ("train", "compare")
NOT_SWEPT = ("output", "checkpoint", "resume", "overwrite", "figure", *WHERE)
NOT_IN_KEY = ("data_dir", "backend", "threads", "fresh", "processes", "piece_seconds")  # they change no result


def configure(parser):
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND PROBLEM ...",
                        help="train or compare, a problem, and their options, each with one or more values")
    parser.add_argument("--results", metavar="FILE", default="sweep.json",
                        help="where the results are kept, and looked for (default sweep.json)")
    parser.add_argument("--draws", type=whole(1), metavar="N",
                        help="run N settings that are drawn at random (default: all combinations)")
    parser.add_argument("--seed", type=whole(0), default=0, help="seed of these draws (default 0)")
    parser.add_argument("--halve-at", type=counts, metavar="N,N", default=(),
                        help="numbers of epochs after which only the better half of the trainings goes on, by their "
                             "validations so far (default: all go on to their end)")
    parser.add_argument("--workers", type=whole(1), metavar="N", default=1,
                        help="processes that share the runs (default 1)")
    add_where(parser.add_argument, "runs", "--workers")
    parser.add_argument("--figure", metavar="FILE",
                        help="where the figure is written (default: beside the results, with the ending png)")
    parser.add_argument("--json", action="store_true", help=JSON)


class SeveralValues:
    """Stands in for a parser to which a command adds its options: each takes several values, kept as texts."""

    def __init__(self, parser):
        self._parser = parser

    def add_argument(self, *flags, **settings):
        if flags[0].startswith("-") and "action" not in settings:
            settings |= {"nargs": "+", "default": None, "type": _as_written(settings.get("type", str))}
        return self._parser.add_argument(*flags, **settings)

    def add_argument_group(self, title):
        return SeveralValues(self._parser.add_argument_group(title))


def _as_written(convert):
    def text_of(text):
        for part in text.split(":") if convert is number else [text]:
            convert(part)
        return text

    return text_of


def run(args):
    path = Path(args.results)
    require_writable(path)
    figure = planned_figure(args.figure, str(path.with_suffix(".png")))
    command, problem, options = _parsed(args.words)
    if args.halve_at and command != "train":
        raise ValueError(f"--halve-at: only for train, got {command}")
    if list(args.halve_at) != sorted(set(args.halve_at)):
        raise ValueError(f"--halve-at: expected ascending numbers of epochs, got {','.join(map(str, args.halve_at))}")
    as_json = bool(options.pop("json", args.json))  # wherever it stands
    axes = {name: _axis(name, values) for name, values in options.items() if len(values) > 1 or ":" in str(values[0])}
    settings = draws(axes, args.draws, args.seed) if args.draws else grid(axes)
    settings = [{name: value if isinstance(value, str) else f"{value:g}" for name, value in setting.items()}
                for setting in settings]
    fixed = {name: value for name, (value, *_) in options.items() if name not in axes}
    jobs, runs, kept = {}, {}, path.with_name(f"{path.name}.runs")
    for setting in settings:
        chosen = {name: (fixed | setting)[name] for name in options}
        key = shlex.join(_words(command, problem, {k: v for k, v in chosen.items() if k not in NOT_IN_KEY}))
        threads = {} if args.workers == 1 else {"threads": str(max(1, cores() // args.workers))}
        own = {"checkpoint": str(kept / hashlib.sha256(key.encode()).hexdigest()[:16]), "resume": True}
        jobs[key] = _words(command, problem, threads | chosen | (own if args.halve_at else {}))
        runs[key] = setting
        parsed = _arguments(jobs[key])
        _module(command).checked(parsed)  # mistakes are told before hours of work
        epochs = (parsed.epochs or _module(command).epochs_of(problem)) if args.halve_at else np.inf
        if max(args.halve_at, default=0) >= epochs:
            raise ValueError(f"--halve-at: expected numbers below the {epochs} epochs of the trainings, "
                             f"got {','.join(map(str, args.halve_at))}")

    def report(key, outcome):
        if "validations" in outcome:
            reached = outcome["validations"]
            progress(f"after {_epochs(len(reached))}  {_described(runs[key])}  best validation {_text(min(reached))}")
            return
        report.finished += 1
        losses = ", ".join(f"{name} {_text(loss)}" for name, loss in _losses(command, outcome).items())
        said = outcome.get("error") or losses
        progress(f"{report.finished}/{len(jobs)}  {_described(runs[key])}  {said}")

    report.finished = 0
    with executor_of(args, "workers") as executor:
        outcomes = sweep(run_words, jobs, path, executor=executor, report=report, halve_at=args.halve_at)
    with contextlib.suppress(OSError):  # there may be checkpoints of runs that did not go on
        kept.rmdir()
    if as_json:
        print(json.dumps({"runs": [{"command": f"l2l-ref {key}", "setting": runs[key], **outcome}
                                   for key, outcome in outcomes.items()]}))
    else:
        print("\n".join(_table(command, list(axes), runs, outcomes)))
    if figure and args.halve_at and any(map(validations_of, outcomes.values())):
        plot_halving([(_described(runs[key]), validations_of(outcome), "result" in outcome)
                      for key, outcome in outcomes.items()], args.halve_at, figure, title=f"{command} {problem}")
        progress(f"figure: {figure}")
        return 0
    points = [(runs[key], _losses(command, outcome, to_draw=True)) for key, outcome in outcomes.items()]
    if figure and axes and any(losses for _, losses in points):
        title = f"{command} {problem}" + f": {_described(fixed)}" * bool(fixed)
        plot_sweep(points, figure, drawn=bool(args.draws), title=title)
        progress(f"figure: {figure}")
    return 0


def run_words(words, *until):
    """The result of a command that is given as words: one run of a sweep. With ``until``, see `train.result`."""
    args = _arguments(words)
    if until:
        Path(args.checkpoint).parent.mkdir(exist_ok=True)
    return _module(words[0]).result(args, *until)


def _module(command):
    return importlib.import_module(f".{command}", __package__)


def _arguments(words):
    command, *others = words
    parser = Parser(prog=f"l2l-ref {command}")
    _module(command).configure(parser)
    return parser.parse_args(others, argparse.Namespace(command=command))


def _parsed(words):
    """(command, problem, {option: its values as texts}) of the words after the options of the sweep."""
    command = words[0] if words else ""
    if command not in SWEPT:
        raise ValueError(f"COMMAND: expected one of {', '.join(SWEPT)}, got {command!r}")
    parser = Parser(prog=f"l2l-ref sweep {command}")
    _module(command).configure(SeveralValues(parser))
    given = {name: value for name, value in vars(parser.parse_args(words[1:])).items() if value not in (None, False)}
    for name in NOT_SWEPT:
        if name in given:
            raise ValueError(f"--{name}: not for the runs of a sweep; its own options stand before {command}")
    problem = given.pop("problem")
    return command, problem, {name: [True] if value is True else value for name, value in given.items()}


def _axis(name, values):
    if not any(":" in value for value in values):
        return values
    if len(values) > 1:
        raise ValueError(f"--{name.replace('_', '-')}: expected values or one range LOW:HIGH, got {' '.join(values)}")
    low, high = (float(part) for part in values[0].split(":", 1))
    if not 0 < low < high:
        raise ValueError(f"--{name.replace('_', '-')}: expected a range LOW:HIGH with 0 < LOW < HIGH, got {values[0]}")
    return Range(low, high)


def _words(command, problem, options):
    flags = {name: f"--{name.replace('_', '-')}" for name in options}
    return [command, problem,
            *(flags[name] if value is True else f"{flags[name]}={value}" for name, value in options.items())]


def _losses(command, outcome, to_draw=False):
    """{what: loss} of a run: what the table shows of it, or the figure. Empty for a run that failed."""
    result = outcome.get("result")
    if result is None:
        return {}
    if command == "compare":
        return {name: r["final_loss_mean"] for name, r in result["optimizers"].items()}
    final = {f"f({result['score']['steps']})": result["score"]["final"]}
    if to_draw:
        return final
    return {"validation": result["validation"]["final"], **final, "sum": result["score"]["sum"],
            "minutes": result["minutes"]}


def _table(command, axes, runs, outcomes):
    """The outcomes as lines of text; those of draws and of trainings by their validation, the best first."""
    losses = {key: _losses(command, outcome) for key, outcome in outcomes.items()}
    names = list(dict.fromkeys(name for of in losses.values() for name in of))
    rows = [[*(axis.replace("_", "-") for axis in axes), *names]]
    rows += [[*runs[key].values(), *(_text(losses[key].get(name)) for name in names)] for key in outcomes]
    if any("validations" in outcome for outcome in outcomes.values()):  # some were stopped
        rows[0].append("epochs")
        for key, row in zip(outcomes, rows[1:]):
            reached = str(len(validations_of(outcomes[key])))
            row.append(f"{reached}, stopped" if "validations" in outcomes[key] else reached)
    lines = align(rows) if len(rows[0]) > 0 else []
    failed = [f"failed: {_described(runs[key])}: {outcome['error']}" for key, outcome in outcomes.items()
              if "error" in outcome]
    good = [key for key in outcomes if losses[key].get("validation") is not None]
    if good and len(outcomes) > 1:
        best = min(good, key=lambda key: losses[key]["validation"])
        lines += ["", f"best by its validation: l2l-ref {best}"]
    return lines + failed


def _described(setting):
    return ", ".join(f"{name.replace('_', '-')}{'' if value is True else f' {value}'}"
                     for name, value in setting.items())


def _epochs(count):
    return f"{count} epoch{'s' * (count != 1)}"


def _text(loss):
    return "-" if loss is None else f"{loss:.4g}"

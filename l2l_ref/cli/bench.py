"""Time the hot paths, beside the peers that are installed."""

import json
import sys
from pathlib import Path

import numpy as np

from ..bench.dnc import dnc_step
from ..bench.gp import gp
from ..bench.meta_gradient import meta_gradient
from ..bench.start_up import start_up
from ..bench.suggest import suggest
from ..bench.train import train
from ..bench.update import update
from ..compare import figures
from .arguments import counts, given, refuse_others, require_writable, units, whole

# Of each work: what does it, the number that its rows are compared by and its title, its own options with defaults.
WORKS = {
    "meta-gradient": (meta_gradient, "ns_per_coordinate_step", "ns a coordinate and step",
                      {"coordinates": (15_910,), "steps": 20, "hidden": (20, 20), "dtype": "float32",
                       "threads": (1, 2)}),
    "update": (update, "ns_per_coordinate", "ns a coordinate",
               {"coordinates": (10, 1000, 100_000, 1_000_000), "threads": (1, 2)}),
    "suggest": (suggest, "us_per_suggestion", "us a suggestion", {"dim": 6, "past": (1, 10, 100)}),
    "gp": (gp, "us_per_function", "us a function", {"batch": 128, "steps": 100, "dim": 3, "threads": (1, 2)}),
    "dnc": (dnc_step, "us_per_row_step", "us a row and step",
            {"batch": 128, "steps": 100, "hidden": (64,), "memory": (16, 16, 2), "threads": (1, 2)}),
    "train": (train, "ms", "ms", {"batch": 256, "steps": 100}),
    "start-up": (start_up, "ms_over_numpy", "ms over numpy", {}),
}
DEFAULTS = {work: options for work, (*_, options) in WORKS.items()}


def _default(name):
    """"default 2 of gp; 3 of dnc": what an option is when it is not given."""
    def said(value):
        return ",".join(map(str, value)) if isinstance(value, tuple) else value

    of = [f"{said(options[name])} of {work}" for work, options in DEFAULTS.items() if name in options]
    return "default " + "; ".join(of)


def configure(parser):
    parser.add_argument("work", choices=tuple(WORKS))
    for name, kind, metavar in (("coordinates", counts, "N,N"), ("batch", whole(1), "N"), ("steps", whole(1), "T"),
                                ("hidden", units, "N,N"), ("memory", counts, "N,N,N"), ("dim", whole(1), "D"),
                                ("past", counts, "N,N"), ("threads", counts, "N,N")):
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=_default(name))
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of meta-gradient; default float32")
    parser.add_argument("--rounds", type=whole(1), default=5, metavar="N")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the table, too")
    parser.add_argument("--json", action="store_true")


def run(args):
    refuse_others(args, args.work, DEFAULTS)
    if args.figure:
        require_writable(args.figure)
        figures.matplotlib_figure()  # or an error now, not after minutes
    time_it, unit, title, defaults = WORKS[args.work]
    options = defaults | given(args, defaults)
    if args.work == "dnc":
        if len(options["hidden"]) != 1 or len(options["memory"]) != 3:
            raise ValueError("--hidden, --memory: expected the units of one layer, and slots, word, heads")
        options["hidden"], options["sizes"] = options["hidden"][0], options.pop("memory")
    if args.work == "meta-gradient":
        if len(options["coordinates"]) != 1:
            raise ValueError("--coordinates: expected one number for meta-gradient")
        options["coordinates"], options["dtype"] = options["coordinates"][0], np.dtype(options["dtype"]).type
    result = time_it(**options, rounds=args.rounds, seed=args.seed,
                     report=lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(result) if args.json else "\n".join(table(result, unit, title)))
    if args.figure:
        figures.bench_bars(result["rows"], unit, title, args.figure)
        print(f"figure: {args.figure}", file=sys.stderr)
    return 0


def table(result, unit, title):
    """The rows as lines of text, after the limits of the machine."""
    limits = []
    if "peak_gflops" in result:
        rates = ", ".join(f"{count}: {rate:.0f}" for count, rate in result["peak_gflops_by_threads"].items())
        limits += [f"large matrix product in {', '.join(result['peak_gflops'])}, by threads: {rates} GFLOP/s",
                   f"copy {result['copy_gb_per_s']:.0f} GB/s"]
    if "wheel_bytes" in result:
        limits += [f"wheel {result['wheel_bytes'] / 1e6:.2f} MB", f"installed {result['installed_bytes'] / 1e6:.2f} MB"]
    lines, last = ["; ".join(limits)] if limits else [], None
    for row in result["rows"]:
        if row["work"] != last:
            last = row["work"]
            lines.append(f"{last}{', ' + row['dtype'] if 'dtype' in row else ''}")
            peak = f"{'of the peak':>13}" if "part_of_peak" in row else ""
            lines.append(f"  {'':34}{'threads':>8}{'median s':>11}{'min s':>11}{title:>26}{peak}")
        name = figures.bench_name(row)
        part = f"{row['part_of_peak']:13.0%}" if "part_of_peak" in row else ""
        lines.append(f"  {name:34}{row.get('threads') or '':>8}{row['median_s']:11.4g}{row['min_s']:11.4g}"
                     f"{row[unit]:26.4g}{part}")
    return lines

"""Time the hot paths, beside other packages that are installed."""

import json
from typing import Any, Callable, NamedTuple

import numpy as np

from ..bench.conv import conv
from ..bench.dnc import dnc_step
from ..bench.figure import bench_bars, bench_name
from ..bench.gp import gp
from ..bench.meta_gradient import meta_gradient
from ..bench.pieces import pieces
from ..bench.start_up import start_up
from ..bench.suggest import suggest
from ..bench.train import train
from ..bench.update import update
from .arguments import (
    JSON,
    ProblemOptions,
    counts,
    default_text,
    given,
    planned_figure,
    progress,
    refuse_others,
    units,
    whole,
)


class Workload(NamedTuple):
    """What one benchmark times, and how it is shown."""

    time_it: Callable[..., dict[str, Any]]
    unit: str    # the key of the number by which rows are compared
    title: str   # what that number is
    about: str
    options: dict[str, Any]  # its own options, with their defaults


WORKLOADS = {
    "meta-gradient": Workload(
        meta_gradient, "ns_per_coordinate_step", "ns per coordinate and step", "the meta-gradient of a window",
        {"coordinates": (15_910,), "steps": 20, "hidden": (20, 20), "dtype": "float32", "threads": (1, 2)}),
    "update": Workload(
        update, "ns_per_coordinate", "ns per coordinate", "one step of the learned optimizer",
        {"coordinates": (10, 1000, 100_000, 1_000_000), "threads": (1, 2)}),
    "suggest": Workload(
        suggest, "us_per_suggestion", "us per suggestion", "one query of a black-box optimizer",
        {"dim": 6, "past": (1, 10, 100)}),
    "gp": Workload(
        gp, "us_per_function", "us per function", "draws of Gaussian processes, with gradients",
        {"batch": 128, "steps": 100, "dim": 3, "threads": (1, 2)}),
    "dnc": Workload(
        dnc_step, "us_per_row_step", "us per row and step", "a DNC, forward and backward",
        {"batch": 128, "steps": 100, "hidden": (64,), "memory": (16, 16, 2), "threads": (1, 2)}),
    "conv": Workload(
        conv, "ms", "ms", "a convolutional network, forward and backward", {"batch": 128, "threads": (1, 2)}),
    "train": Workload(train, "ms", "ms", "updates of meta-training", {"batch": 256, "steps": 100}),
    "pieces": Workload(
        pieces, "ms", "ms", "updates of meta-training on several workers",
        {"batch": 256, "steps": 100, "pieces": 8, "workers": (1, 2), "latency": (1, 10, 100), "rest": 1000}),
    "start-up": Workload(start_up, "ms_over_numpy", "ms over numpy", "import and first results", {}),
}
OPTIONS = {name: workload.options for name, workload in WORKLOADS.items()}


def configure(parser):
    parser.add_argument("work", choices=tuple(WORKLOADS),
                        help="; ".join(f"{name}: {workload.about}" for name, workload in WORKLOADS.items()))
    add = ProblemOptions(parser, OPTIONS).add
    for name, kind, metavar, text in (
        ("coordinates", counts, "N,N", "number of coordinates; update takes several"),
        ("batch", whole(1), "N", "functions, rows or images at once"),
        ("steps", whole(1), "T", "steps of a window, or queries of a function"),
        ("hidden", units, "N,N", "units of the layers; dnc takes one number, of the controller"),
        ("memory", counts, "N,N,N", "slots, numbers in a slot, read heads"),
        ("dim", whole(1), "D", "dimensions of the functions"),
        ("past", counts, "N,N", "numbers of past evaluations after which a query is timed"),
        ("threads", counts, "N,N", "numbers of threads to try"),
        ("pieces", whole(1), "N", "pieces of an update"),
        ("workers", counts, "N,N", "numbers of processes to try"),
        ("latency", counts, "MS,MS", "simulated latencies in milliseconds"),
        ("rest", whole(1), "MS", "milliseconds of the pieces that compute nothing"),
    ):
        add(f"--{name}", type=kind, metavar=metavar, help=text + default_text(name, OPTIONS))
    add("--dtype", choices=("float32", "float64"), help="precision" + default_text("dtype", OPTIONS))
    add("--rounds", type=whole(1), default=5, metavar="N",
        help="how often each implementation is timed; the median is taken (default 5)")
    add("--seed", type=whole(0), default=0, help="seed of the inputs (default 0)")
    add("--figure", metavar="FILE",
        help="also draw the table; the ending of FILE is the format (default: no figure)")
    add("--json", action="store_true", help=JSON)


def run(args):
    refuse_others(args, args.work, OPTIONS)
    figure = planned_figure(args.figure, args.figure) if args.figure else None
    time_it, unit, title, _, defaults = WORKLOADS[args.work]
    options = defaults | given(args, defaults)
    if args.work == "dnc":
        if len(options["hidden"]) != 1 or len(options["memory"]) != 3:
            raise ValueError("--hidden, --memory: expected the units of one layer, and slots, word, heads")
        options["hidden"], options["sizes"] = options["hidden"][0], options.pop("memory")
    if args.work == "meta-gradient":
        if len(options["coordinates"]) != 1:
            raise ValueError("--coordinates: expected one number for meta-gradient")
        options["coordinates"], options["dtype"] = options["coordinates"][0], np.dtype(options["dtype"]).type
    result = time_it(**options, rounds=args.rounds, seed=args.seed, report=progress)
    print(json.dumps(result) if args.json else "\n".join(table(result, unit, title)))
    if figure:
        bench_bars(result["rows"], unit, title, figure)
        progress(f"figure: {figure}")
    return 0


def table(result, unit, title):
    """Return the lines of the table, after a line with the limits of the machine."""
    limits = []
    if "peak_gflops" in result:
        rates = ", ".join(f"{count}: {rate:.0f}" for count, rate in result["peak_gflops_by_threads"].items())
        limits += [f"large matrix product in {', '.join(result['peak_gflops'])}, by threads: {rates} GFLOP/s",
                   f"copy {result['copy_gb_per_s']:.0f} GB/s"]
    if "wheel_bytes" in result:
        limits += [f"wheel {result['wheel_bytes'] / 1e6:.2f} MB", f"installed {result['installed_bytes'] / 1e6:.2f} MB"]
    limits += result.get("summary", [])
    lines, last = ["; ".join(limits)] if limits else [], None
    for row in result["rows"]:
        if row["work"] != last:
            last = row["work"]
            lines.append(f"{last}{', ' + row['dtype'] if 'dtype' in row else ''}")
            peak = f"{'of the peak':>13}" if "part_of_peak" in row else ""
            peak += f"{'predicted ' + title:>15}" if "predicted_ms" in row else ""
            lines.append(f"  {'':34}{'threads':>8}{'median s':>11}{'min s':>11}{title:>26}{peak}")
        name = bench_name(row)
        part = f"{row['part_of_peak']:13.0%}" if "part_of_peak" in row else ""
        part += f"{row['predicted_ms']:15.4g}" if "predicted_ms" in row else ""
        lines.append(f"  {name:34}{row.get('threads') or '':>8}{row['median_s']:11.4g}{row['min_s']:11.4g}"
                     f"{row[unit]:26.4g}{part}")
    return lines

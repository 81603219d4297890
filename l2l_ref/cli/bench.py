"""Time the hot paths, beside the peers that are installed."""

import json
import sys

import numpy as np

from ..evaluation.bench import meta_gradient
from ..evaluation.bench_dnc import dnc_step
from ..evaluation.bench_suggest import suggest
from .arguments import counts, given, refuse_others, units, whole

# Of each work: its unit, and its own options with their defaults.
UNITS = {"meta-gradient": ("ns_per_coordinate_step", "ns a coordinate and step"),
         "dnc": ("us_per_row_step", "us a row and step")}
DEFAULTS = {"meta-gradient": {"coordinates": 15_910, "steps": 20, "hidden": (20, 20), "dtype": "float32"},
            "dnc": {"batch": 128, "steps": 100, "hidden": (64,), "memory": (16, 16, 2)},
            "suggest": {"dim": 6, "past": (1, 10, 100)}}


def configure(parser):
    parser.add_argument("work", choices=tuple(DEFAULTS))
    parser.add_argument("--coordinates", type=whole(1), metavar="N", help="of meta-gradient; default 15910")
    parser.add_argument("--batch", type=whole(1), metavar="N", help="rows of dnc; default 128")
    parser.add_argument("--steps", type=whole(1), metavar="T", help="default 20; of dnc 100")
    parser.add_argument("--hidden", type=units, metavar="N,N", help="default 20,20; of dnc 64")
    parser.add_argument("--memory", type=counts, metavar="N,N,N", help="of dnc; default 16,16,2")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="of meta-gradient; default float32")
    parser.add_argument("--dim", type=whole(1), metavar="D", help="of suggest; default 6")
    parser.add_argument("--past", type=counts, metavar="N,N", help="past evaluations of suggest; default 1,10,100")
    parser.add_argument("--threads", type=counts, default=(1, 2), metavar="N,N", help="thread counts; default 1,2")
    parser.add_argument("--rounds", type=whole(1), default=5, metavar="N")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--json", action="store_true")


def run(args):
    refuse_others(args, args.work, DEFAULTS)
    options = DEFAULTS[args.work] | given(args, DEFAULTS[args.work])
    rest = {"threads": args.threads, "rounds": args.rounds, "seed": args.seed,
            "report": lambda line: print(line, file=sys.stderr, flush=True)}
    if args.work == "suggest":
        return _suggest(args, options)
    if args.work == "dnc":
        if len(options["hidden"]) != 1 or len(options["memory"]) != 3:
            raise ValueError("--hidden, --memory: expected the units of one layer, and slots, word, heads")
        result = dnc_step(options["batch"], options["steps"], *options["hidden"], options["memory"], **rest)
    else:
        options["dtype"] = np.dtype(options["dtype"]).type
        result = meta_gradient(**options, **rest)
    if args.json:
        print(json.dumps(result))
        return 0
    unit, title = UNITS[args.work]
    (dtype, peak), = result["peak_gflops"].items()
    print(f"{result['rows'][0]['work']}, {dtype}; large matrix product {peak:.0f} GFLOP/s")
    print(f"{'':14}{'threads':>8}{'median s':>10}{'min s':>10}{title:>27}")
    for row in result["rows"]:
        threads = "BLAS's" if row["threads"] is None else row["threads"]
        print(f"{row['implementation']:14}{threads:>8}{row['median_s']:10.4f}{row['min_s']:10.4f}{row[unit]:27.4g}")
    return 0


def _suggest(args, options):
    result = suggest(**options, rounds=args.rounds, seed=args.seed,
                     report=lambda line: print(line, file=sys.stderr, flush=True))
    if args.json:
        print(json.dumps(result))
        return 0
    past = options["past"]
    print(f"{result['rows'][0]['work']}: microseconds for an ask and its tell, by past evaluations")
    print(f"{'':24}" + "".join(f"{n:>12}" for n in past))
    rows = iter(result["rows"])
    for first in rows:
        of_one = [first, *(next(rows) for _ in past[1:])]
        name = f"{first['model']} {first['implementation'] or ''}"
        print(f"{name:24}" + "".join(f"{row['us_per_suggestion']:12.4g}" for row in of_one))
    return 0

"""Time the hot paths, beside the peers that are installed."""

import json
import sys

import numpy as np

from ..evaluation.bench import meta_gradient
from .arguments import counts, units, whole


def configure(parser):
    parser.add_argument("work", choices=("meta-gradient",))
    parser.add_argument("--coordinates", type=whole(1), default=15_910, metavar="N")
    parser.add_argument("--steps", type=whole(1), default=20, metavar="T")
    parser.add_argument("--hidden", type=units, default=(20, 20), metavar="N,N")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=counts, default=(1, 2), metavar="N,N", help="thread counts; default 1,2")
    parser.add_argument("--rounds", type=whole(1), default=5, metavar="N")
    parser.add_argument("--seed", type=whole(0), default=0)
    parser.add_argument("--json", action="store_true")


def run(args):
    result = meta_gradient(args.coordinates, args.steps, args.hidden, np.dtype(args.dtype).type, args.threads,
                           args.rounds, args.seed, report=lambda line: print(line, file=sys.stderr, flush=True))
    if args.json:
        print(json.dumps(result))
        return 0
    (dtype, peak), = result["peak_gflops"].items()
    print(f"{result['rows'][0]['work']}, {dtype}; large matrix product {peak:.0f} GFLOP/s")
    print(f"{'':14}{'threads':>8}{'median s':>10}{'min s':>10}{'ns a coordinate and step':>27}")
    for row in result["rows"]:
        threads = "BLAS's" if row["threads"] is None else row["threads"]
        print(f"{row['implementation']:14}{threads:>8}{row['median_s']:10.4f}{row['min_s']:10.4f}"
              f"{row['ns_per_coordinate_step']:27.0f}")
    return 0

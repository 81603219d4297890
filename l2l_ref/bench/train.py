"""Speed of meta-training: one update of a black-box optimizer, and one epoch of a gradient-based one. Without peers.

Black box: the loss and its gradient for a batch of functions in two dimensions, with all queries unrolled, as in `train
gp`. Gradient-based: one task of `train quadratic`, which is a trajectory in windows with an update after each, and the
validation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..black_boxes import GPDistribution
from ..learned.optimizer import CoordinatewiseLSTM
from ..learned.proposer import Proposer
from ..learned.trajectory import arrivals
from ..metatrain.black_box import Recipe, trajectory_gradient
from ..metatrain.gradient_based import meta_train
from ..optimizees.quadratic import Quadratic
from .timing import Report, machine_limits, time_rounds

if TYPE_CHECKING:
    from ..protocols import Backend

DIM, QUADRATICS = 2, 32


def train(
    batch: int = 256, steps: int = 100, rounds: int = 5, seed: int = 0, report: Report | None = None,
) -> dict[str, Any]:
    """Time updates. Returns the dict that ``bench train --json`` prints.

    An update of a black-box optimizer has ``batch`` functions and ``steps`` queries of each. ``report`` is called with
    a line of text about the progress.
    """
    recipe, fed = Recipe(functions=batch, steps=steps, first_steps=min(10, steps)), arrivals(steps)
    backends: tuple[Backend, ...] = ("numba", "numpy")
    distribution, runs = GPDistribution(dim=DIM), dict[tuple[str, int | None], Any]()
    for cell in ("lstm", "dnc"):
        proposer = Proposer(DIM, 64, "linear", cell=cell, memory=(8, 8, 1) if cell == "dnc" else None, rng=seed)
        for backend in backends:
            runs[f"{backend}, {cell}", None] = lambda proposer=proposer, backend=backend: trajectory_gradient(
                proposer, distribution, recipe, steps, fed, seed, backend)
    for backend in backends:
        model = CoordinatewiseLSTM(rng=seed, backend=backend)
        runs[f"{backend}, quadratic", None] = lambda model=model: meta_train(
            model, Quadratic(dim=10), 100, 20, seed, epochs=1, tasks=1, functions=QUADRATICS)
    for name, workload in list(runs.items()):
        try:
            workload()  # compiles what has to be compiled
        except ImportError:
            del runs[name]
    rows = time_rounds(runs, rounds, report)
    for row in rows:
        row["implementation"], what = row["implementation"].split(", ")
        row |= {"work": {"lstm": f"LSTM, {batch} functions x {steps} queries",
                         "dnc": f"DNC, {batch} functions x {steps} queries",
                         "quadratic": f"{QUADRATICS} quadratics x 100 steps, 5 updates"}[what],
                "dtype": "float32", "ms": 1e3 * row["median_s"]}
    return machine_limits(np.float32) | {"rows": rows}

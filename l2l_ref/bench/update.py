"""Speed of one optimizer step on n coordinates: the learned optimizer, and Adam in NumPy and in PyTorch.

The workload is one ``update`` on given gradients in float32. The learned optimizers are shipped ones, an LSTM, whose
state is updated in place, and ``general``. Rounds are interleaved; within a round short steps are repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from .. import pretrained
from ..baselines.gradient import Adam
from .timing import Report, machine_limits, time_rounds

if TYPE_CHECKING:
    from ..protocols import Array, Backend

LSTM: Final = "mnist-lstm"
GENERAL: Final = "general"
LONG_ENOUGH = 100_000  # coordinates per round: with fewer coordinates the step is repeated


def _learned(name: Literal["mnist-lstm", "general"], backend: Backend) -> Any:
    def make(gradient: Array, threads: int | None) -> Callable[[], None]:
        model: Any = pretrained.load(name, backend=backend, threads=threads)
        state = model.init(gradient)

        def step() -> None:
            nonlocal state
            _, state = model.update(gradient, state, in_place=True)

        return step

    return make


def _adam(gradient: Array, threads: int) -> Callable[[], None]:
    optimizer = Adam(1e-3)
    state = optimizer.init(gradient)

    def step() -> None:
        nonlocal state
        _, state = optimizer.update(gradient, state)

    return step


def _torch_adam(gradient: Array, threads: int) -> Callable[[], None]:
    import torch

    theta = torch.zeros(len(gradient), requires_grad=True)
    theta.grad = torch.from_numpy(gradient)
    optimizer = torch.optim.Adam([theta], 1e-3)

    def step() -> None:
        torch.set_num_threads(threads)
        optimizer.step()

    return step


IMPLEMENTATIONS = {"numba": _learned(LSTM, "numba"), "numpy": _learned(LSTM, "numpy"),
                   "general-numba": _learned(GENERAL, "numba"), "general-numpy": _learned(GENERAL, "numpy"),
                   "adam-numpy": _adam, "adam-torch": _torch_adam}
NUMPY = ("numpy", "general-numpy")
ONE_THREAD = ("adam-numpy",)
LARGEST_NUMPY = 10**6  # coordinates, because the original keeps the gates of all of them


def update(
    coordinates: Sequence[int] = (10, 1000, 100_000, 1_000_000), threads: Sequence[int] = (1, 2), rounds: int = 5,
    seed: int = 0, report: Report | None = None,
) -> dict[str, Any]:
    """Time an update. Returns the dict that ``bench update --json`` prints.

    ``threads`` are the numbers of threads to run with. ``report`` is called with a line of text about the progress.
    """
    rows = []
    for n in coordinates:
        gradient = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
        repeats, runs = min(-(-LONG_ENOUGH // n), 100), {}
        for name, make in IMPLEMENTATIONS.items():
            for count in (None,) if name in NUMPY else threads[:1] if name in ONE_THREAD else threads:
                if name in NUMPY and n > LARGEST_NUMPY:
                    continue
                try:
                    step = make(gradient, count)
                    step()
                except ImportError:
                    continue
                runs[name, count] = lambda step=step, repeats=repeats: [step() for _ in range(repeats)]
        for row in time_rounds(runs, rounds):
            row |= {"median_s": row["median_s"] / repeats, "min_s": row["min_s"] / repeats}
            rows.append(row | {"work": f"update, {n} coordinates", "coordinates": n, "dtype": "float32",
                               "ns_per_coordinate": 1e9 * row["median_s"] / n})
        if report:
            report(f"{n} coordinates")
    return machine_limits(np.float32, threads) | {"rows": rows}

"""Speed of functions drawn from a Gaussian process: the forward and backward pass of a whole trajectory.

The workload is the same for all: values at T points of B functions, and the gradient of the sum of d_f * f with respect
to the points. Our implementations append one point at a time, as meta-training does. That of PyTorch factors the whole
covariance matrix and uses autograd. It is in float64, and the results are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backends import functions
from ..ops.gp import JITTER
from .timing import Report, machine_limits, prepare, time_rounds

if TYPE_CHECKING:
    from ..protocols import Array, Backend

LENGTH_SCALE = 0.3


def _ours(backend: Backend) -> Any:
    def make(x: Array, z: Array, d_f: Array, threads: int | None) -> Callable[[], Array]:
        gp_sample, gp_sample_backward = functions("gp", backend, z.size, ("gp_sample", "gp_sample_backward"), threads)

        def workload() -> Any:
            _, cache = gp_sample(x, z, LENGTH_SCALE, 1.0)
            return gp_sample_backward(d_f, cache)[0].ravel()

        return workload

    return make


def _torch(x: Array, z: Array, d_f: Array, threads: int) -> Callable[[], Array]:
    import torch

    points = torch.from_numpy(x.copy()).requires_grad_()
    normal, upstream = torch.from_numpy(z), torch.from_numpy(d_f)
    jitter = JITTER[x.dtype.name] * torch.eye(z.shape[1], dtype=normal.dtype)

    def workload() -> Any:
        torch.set_num_threads(threads)
        squares = ((points[:, :, None] - points[:, None]) ** 2).sum(3)
        factor = torch.linalg.cholesky(torch.exp(squares / (-2 * LENGTH_SCALE**2)) + jitter)
        f = (factor @ normal[:, :, None])[:, :, 0]
        return torch.autograd.grad((upstream * f).sum(), points)[0].numpy().ravel()

    return workload


IMPLEMENTATIONS = {"numba": _ours("numba"), "numpy": _ours("numpy"), "torch": _torch}


def gp(
    batch: int = 128, steps: int = 100, dim: int = 3, threads: Sequence[int] = (1, 2), rounds: int = 5, seed: int = 0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Time the sampler. Returns the dict that ``bench gp --json`` prints.

    ``batch`` functions of ``dim`` dimensions have ``steps`` points each. See `prepare` for ``threads``. ``report`` is
    called with a line of text about the progress.
    """
    rng = np.random.default_rng(seed)
    x, (z, d_f) = rng.random((batch, steps, dim)), rng.standard_normal((2, batch, steps))
    runs = prepare(IMPLEMENTATIONS, threads, 1e-4, lambda make, count: make(x, z, d_f, count))
    rows = time_rounds(runs, rounds, report)
    for row in rows:
        row |= {"work": f"GP, {batch} functions x {steps} points in {dim} dimensions", "dtype": "float64",
                "us_per_function": 1e6 * row["median_s"] / batch}
    return machine_limits(np.float64, threads) | {"rows": rows}

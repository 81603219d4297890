"""Speed of functions drawn from a Gaussian process: forward and backward of a whole trajectory.

The work, the same for all: values at T points of B functions, and the gradient of the sum of d_f * f in the points.
Ours append a point at a time, as the meta-training does; PyTorch's factors the whole covariance matrix, by autograd.
float64, and results are compared.
"""

import numpy as np

from ..backends import choose
from ..ops.gp import JITTER
from .timing import compared, machine, timed

LENGTH_SCALE = 0.3


def _ours(backend):
    def make(x, z, d_f, threads):
        module = choose("gp", backend, z.size)
        more = {"threads": threads} if backend == "numba" else {}

        def work():
            _, cache = module.gp_sample(x, z, LENGTH_SCALE, 1.0, **more)
            return module.gp_sample_backward(d_f, cache, **more)[0].ravel()

        return work

    return make


def _torch(x, z, d_f, threads):
    import torch

    points = torch.from_numpy(x.copy()).requires_grad_()
    normal, upstream = torch.from_numpy(z), torch.from_numpy(d_f)
    jitter = JITTER[x.dtype.name] * torch.eye(z.shape[1], dtype=normal.dtype)

    def work():
        torch.set_num_threads(threads)
        squares = ((points[:, :, None] - points[:, None]) ** 2).sum(3)
        factor = torch.linalg.cholesky(torch.exp(squares / (-2 * LENGTH_SCALE**2)) + jitter)
        f = (factor @ normal[:, :, None])[:, :, 0]
        return torch.autograd.grad((upstream * f).sum(), points)[0].numpy().ravel()

    return work


IMPLEMENTATIONS = {"numba": _ours("numba"), "numpy": _ours("numpy"), "torch": _torch}


def gp(batch=128, steps=100, dim=3, threads=(1, 2), rounds=5, seed=0, report=None):
    """Time the sampler. Returns the dict that ``bench gp --json`` prints."""
    rng = np.random.default_rng(seed)
    x, (z, d_f) = rng.random((batch, steps, dim)), rng.standard_normal((2, batch, steps))
    runs = compared(IMPLEMENTATIONS, threads, 1e-4, lambda make, count: make(x, z, d_f, count))
    rows = timed(runs, rounds, report)
    for row in rows:
        row |= {"work": f"GP, {batch} functions x {steps} points in {dim} dimensions", "dtype": "float64",
                "us_per_function": 1e6 * row["median_s"] / batch}
    return machine(np.float64, threads) | {"rows": rows}

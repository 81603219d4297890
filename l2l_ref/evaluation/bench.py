"""Speed of the meta-gradient: our compiled twin, our NumPy original, and PyTorch where it is installed.

The work, the same for everybody: one unroll of the coordinatewise LSTM on optimizee gradients that are given
(T, n). First the trajectory forward, which yields the updates; then the gradient of the sum of d_updates * updates
with respect to all weights. Rounds are interleaved, so that what else the machine does hits all alike.
"""

import statistics
import time

import numpy as np

from ..learned import backends
from ..learned import coordinatewise as cw

P, SCALE = 10.0, 0.1


def numba_run(gradients, d_updates, params, threads):
    """``advance`` T times, then ``meta_gradient``, which goes forward once more."""
    twin = backends.choose("numba", params, gradients.shape[1])

    def work():
        state = start = cw.init_state(gradients.shape[1], params)
        for t, gradient in enumerate(gradients):
            _, state = twin.advance(gradient, state, params, P, SCALE, threads, in_place=t > 0)  # as in meta-training
        return cw.flatten(twin.meta_gradient(gradients, d_updates, start, params, P, SCALE, threads))

    return work


def numpy_run(gradients, d_updates, params, threads):
    """``unroll``, which keeps every cache, then ``unroll_backward``."""

    def work():
        state = cw.init_state(gradients.shape[1], params)
        (_, last), cache = cw.unroll(gradients, state, params, P, SCALE)
        nothing = tuple(type(layer)(*map(np.zeros_like, layer)) for layer in last)
        _, _, d_params = cw.unroll_backward((d_updates, nothing), cache)
        return cw.flatten(d_params)

    return work


def torch_run(gradients, d_updates, params, threads):
    """PyTorch eager: LSTMCell and Linear with our weights, autograd through the T steps."""
    import torch

    cells = []
    for layer in params.layers:
        cell = torch.nn.LSTMCell(layer.W_x.shape[0], len(layer.W_h), dtype=torch.from_numpy(layer.b).dtype)
        with torch.no_grad():  # the same gate order; its second bias is held at zero
            for target, source in zip(cell.parameters(), (layer.W_x.T, layer.W_h.T, layer.b, 0 * layer.b)):
                target.copy_(torch.from_numpy(np.ascontiguousarray(source)))
        cells.append(cell)
    W, b = (torch.from_numpy(a.copy()).requires_grad_() for a in (params.W, params.b))
    inputs, upstream = torch.from_numpy(gradients), torch.from_numpy(d_updates)
    wanted = [weight for cell in cells for weight in list(cell.parameters())[:3]] + [W, b]

    def work():
        torch.set_num_threads(threads)
        n = inputs.shape[1]
        state = [(inputs.new_zeros(n, c.hidden_size), inputs.new_zeros(n, c.hidden_size)) for c in cells]
        total = inputs.new_zeros(())
        for gradient, d_update in zip(inputs, upstream):
            size = gradient.abs()
            large = size >= np.exp(-P)
            first = torch.where(large, torch.log(size.clamp_min(1e-30)) / P, -1.0)
            z = torch.stack([first, torch.where(large, gradient.sign(), gradient * np.exp(P))], dim=1)
            for l, cell in enumerate(cells):
                state[l] = cell(z, state[l])
                z = state[l][0]
            total = total + (d_update * SCALE * (z @ W + b)[:, 0]).sum()
        grads = torch.autograd.grad(total, wanted)
        *layers, d_W, d_b = [g.numpy() for g in grads]
        flat = [part for l in range(len(cells)) for part in (layers[3 * l].T, layers[3 * l + 1].T, layers[3 * l + 2])]
        return np.concatenate([a.ravel() for a in (*flat, d_W, d_b)])

    return work


IMPLEMENTATIONS = {"numba": numba_run, "numpy": numpy_run, "torch": torch_run}


def meta_gradient(coordinates=15_910, steps=20, hidden=(20, 20), dtype=np.float32, threads=(1, 2), rounds=5, seed=0,
                  report=None):
    """Time the meta-gradient. Returns the dict that ``bench meta-gradient --json`` prints.

    An implementation whose package is missing is left out, and results are `compared`.
    """
    rng = np.random.default_rng(seed)
    gradients = (0.01 * rng.standard_normal((steps, coordinates))).astype(dtype)
    d_updates = rng.standard_normal((steps, coordinates)).astype(dtype)
    drawn = cw.init_params(rng, hidden, 2)
    params = cw.unflatten(cw.flatten(drawn).astype(dtype), drawn)

    runs = compared(IMPLEMENTATIONS, threads, 1e-9 if dtype == np.float64 else 1e-3,
                    lambda make, count: make(gradients, d_updates, params, count))
    rows = timed(runs, rounds, report)
    for row in rows:
        row |= {"work": f"meta-gradient, {coordinates} coordinates x {steps} steps, hidden {list(hidden)}",
                "dtype": np.dtype(dtype).name,
                "ns_per_coordinate_step": 1e9 * row["median_s"] / (coordinates * steps)}
    return {"peak_gflops": {np.dtype(dtype).name: peak_gflops(dtype)}, "rows": rows}


def compared(implementations, threads, tolerance, make):
    """{(name, threads): work} of those that are installed, each run once: a wrong result is a ValueError, not a row.

    ``make(implementation, count)`` gives the work, whose result is one vector.
    """
    runs, reference = {}, None
    for name, implementation in implementations.items():
        for count in threads if name != "numpy" else (None,):  # NumPy's threads are its BLAS's own
            try:
                work = make(implementation, count)
            except ImportError:
                continue
            result = work()
            reference = result if reference is None else reference
            error = np.abs(result - reference).max() / np.abs(reference).max()
            if not error < tolerance:
                raise ValueError(f"{name}: its gradient differs from numba's by {error:.2g} of the largest entry")
            runs[name, count] = work
    return runs


def timed(runs, rounds, report=None):
    """A row for each of the runs, timed in interleaved rounds."""
    times = {key: [] for key in runs}
    for k in range(rounds):
        for key, work in runs.items():
            started = time.perf_counter()
            work()
            times[key].append(time.perf_counter() - started)
        if report:
            report(f"round {k + 1}/{rounds}")
    return [{"implementation": name, "threads": count, "median_s": statistics.median(seconds), "min_s": min(seconds)}
            for (name, count), seconds in times.items()]


def peak_gflops(dtype, size=2048, repeats=5):
    """The machine's rate on a large matrix product, all threads of BLAS, in GFLOP/s."""
    a = np.ones((size, size), dtype)
    best = np.inf
    for _ in range(repeats):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9

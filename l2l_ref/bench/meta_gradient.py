"""Speed of the meta-gradient: the compiled twin, the NumPy original, and PyTorch and JAX if they are installed.

The workload is the same for all: one unroll of the coordinatewise LSTM on given gradients of the optimizee (T, n).
First the forward pass, which gives the updates; then the gradient of the sum of d_updates * updates with respect to all
weights. The results are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from .. import backends
from ..executors import cores
from ..learned import coordinatewise
from ..trees import flatten, unflatten
from .timing import Report, machine_limits, prepare, time_rounds

if TYPE_CHECKING:
    from ..protocols import Array

P, SCALE = 10.0, 0.1  # of the preprocessing, and of the output


def numba_run(gradients: Array, d_updates: Array, params: Any, threads: int | None) -> Callable[[], Array]:
    """``step_inference`` T times, then ``meta_gradient``, which repeats the forward pass."""
    twin = backends.choose("coordinatewise", "numba")

    def workload() -> Array:
        state = start = coordinatewise.init_state(gradients.shape[1], params)
        spare = None
        for gradient in gradients:
            before = state
            _, state, _ = twin.step_inference(gradient, before, params, P, SCALE, threads, spare)
            spare = None if before is start else before
        return flatten(twin.meta_gradient(gradients, d_updates, start, params, P, SCALE, threads))

    return workload


def numpy_run(gradients: Array, d_updates: Array, params: Any, threads: int | None) -> Callable[[], Array]:
    """``unroll``, which keeps every cache, then ``unroll_backward``."""

    def workload() -> Array:
        state = coordinatewise.init_state(gradients.shape[1], params)
        (_, last), cache = coordinatewise.unroll(gradients, state, params, P, SCALE)
        _, _, d_params = coordinatewise.unroll_backward((d_updates, coordinatewise.zeros_like_state(last)), cache)
        return flatten(d_params)

    return workload


def torch_run(
    gradients: Array, d_updates: Array, params: Any, threads: int, compiled: bool = False,
) -> Callable[[], Array]:
    """PyTorch: LSTMCell and Linear with our weights, and autograd through the T steps."""
    import torch

    cells = []
    for layer in params.layers:
        cell = torch.nn.LSTMCell(layer.W_x.shape[0], len(layer.W_h), dtype=torch.from_numpy(layer.b).dtype)
        with torch.no_grad():  # the gates have the same order; the second bias of PyTorch stays zero
            for target, source in zip(cell.parameters(), (layer.W_x.T, layer.W_h.T, layer.b, 0 * layer.b)):
                target.copy_(torch.from_numpy(np.ascontiguousarray(source)))
        cells.append(cell)
    W, b = (torch.from_numpy(a.copy()).requires_grad_() for a in (params.W, params.b))
    inputs, upstream = torch.from_numpy(gradients), torch.from_numpy(d_updates)
    wanted = [weight for cell in cells for weight in list(cell.parameters())[:3]] + [W, b]

    def step(gradient: Any, state: Any) -> Any:
        size = gradient.abs()
        large = size >= np.exp(-P)
        first = torch.where(large, torch.log(size.clamp_min(1e-30)) / P, -1.0)
        z = torch.stack([first, torch.where(large, gradient.sign(), gradient * np.exp(P))], dim=1)
        after = []
        for cell, before in zip(cells, state):
            after.append(cell(z, before))
            z = after[-1][0]
        return SCALE * (z @ W + b)[:, 0], after

    step = torch.compile(step) if compiled else step

    def workload() -> Array:
        torch.set_num_threads(threads)
        n = inputs.shape[1]
        state = [(inputs.new_zeros(n, c.hidden_size), inputs.new_zeros(n, c.hidden_size)) for c in cells]
        total = inputs.new_zeros(())
        for gradient, d_update in zip(inputs, upstream):
            update, state = step(gradient, state)
            total = total + (d_update * update).sum()
        grads = torch.autograd.grad(total, wanted)
        *layers, d_W, d_b = [g.numpy() for g in grads]
        flat = [part for l in range(len(cells)) for part in (layers[3 * l].T, layers[3 * l + 1].T, layers[3 * l + 2])]
        return np.concatenate([a.ravel() for a in (*flat, d_W, d_b)])

    return workload


def torch_compiled_run(gradients: Array, d_updates: Array, params: Any, threads: int) -> Callable[[], Array]:
    """As `torch_run`, with the step compiled by torch.compile."""
    import torch

    try:
        workload = torch_run(gradients, d_updates, params, threads, compiled=True)
        workload()
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:  # for example without a C++ compiler
        raise ImportError(f"torch.compile does not work here: {error}") from None
    return workload


def jax_run(gradients: Array, d_updates: Array, params: Any, threads: int) -> Callable[[], Array]:
    """JAX: one jitted gradient through lax.scan over the T steps. It uses all cores."""
    import jax
    import jax.numpy as jnp

    if threads != cores():
        raise ImportError("XLA uses all cores")
    if gradients.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)

    def step(carry: Any, inputs: Any) -> Any:
        state, params = carry
        gradient, d_update = inputs
        size = jnp.abs(gradient)
        large = size >= np.exp(-P)
        z = jnp.stack([jnp.where(large, jnp.log(jnp.maximum(size, 1e-30)) / P, -1.0),
                       jnp.where(large, jnp.sign(gradient), gradient * np.exp(P))], axis=1).astype(gradient.dtype)
        layers, W, b = params
        after = []
        for (W_x, W_h, bias), (h, c) in zip(layers, state):
            i, f, g, o = jnp.split(z @ W_x + h @ W_h + bias, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            z = jax.nn.sigmoid(o) * jnp.tanh(c)
            after.append((z, c))
        return (tuple(after), params), (d_update * SCALE * (z @ W + b)[:, 0]).sum()

    def total(params: Any, gradients: Any, d_updates: Any) -> Any:
        zeros = tuple((jnp.zeros((gradients.shape[1], len(layer[1])), gradients.dtype),) * 2 for layer in params[0])
        return jax.lax.scan(step, (zeros, params), (gradients, d_updates))[1].sum()

    run = jax.jit(jax.grad(total))
    weights = (tuple(tuple(map(jnp.asarray, layer)) for layer in params.layers), *map(jnp.asarray, params[1:]))
    inputs, upstream = jnp.asarray(gradients), jnp.asarray(d_updates)

    def workload() -> Array:
        layers, W, b = jax.block_until_ready(run(weights, inputs, upstream))
        return np.concatenate([np.asarray(a).ravel() for a in (*(a for layer in layers for a in layer), W, b)])

    return workload


IMPLEMENTATIONS = {"numba": numba_run, "numpy": numpy_run, "torch": torch_run, "torch-compiled": torch_compiled_run,
                   "jax": jax_run}


def meta_gradient(
    coordinates: int = 15_910, steps: int = 20, hidden: Sequence[int] = (20, 20), dtype: DTypeLike = np.float32,
    threads: Sequence[int] = (1, 2), rounds: int = 5, seed: int = 0, report: Report | None = None,
) -> dict[str, Any]:
    """Time the meta-gradient. Returns the dict that ``bench meta-gradient --json`` prints.

    ``coordinates``, ``steps``, ``hidden`` and ``dtype`` define the workload. See `prepare` for ``threads``. ``report``
    is called with a line of text about the progress.
    """
    rng = np.random.default_rng(seed)
    gradients = (0.01 * rng.standard_normal((steps, coordinates))).astype(dtype)
    d_updates = rng.standard_normal((steps, coordinates)).astype(dtype)
    drawn = coordinatewise.init_params(rng, hidden, 2)
    params = unflatten(flatten(drawn).astype(dtype), drawn)

    runs = prepare(IMPLEMENTATIONS, threads, 1e-9 if dtype == np.float64 else 1e-3,
                   lambda make, count: make(gradients, d_updates, params, count))
    rows, limits = time_rounds(runs, rounds, report), machine_limits(dtype, threads)
    for row in rows:
        row |= {"work": f"meta-gradient, {coordinates} coordinates x {steps} steps, hidden {list(hidden)}",
                "dtype": np.dtype(dtype).name,
                "ns_per_coordinate_step": 1e9 * row["median_s"] / (coordinates * steps)}
        if row["threads"]:
            rate = 6 * macs(hidden) / row["ns_per_coordinate_step"]  # three passes, two operations per multiply-add
            row["part_of_peak"] = rate / limits["peak_gflops_by_threads"][str(row["threads"])]
    return limits | {"rows": rows}


def macs(hidden: Sequence[int], inputs: int = 2) -> int:
    """The multiply-adds of the matrix products of one step of one coordinate. A gradient needs three times as many."""
    return sum(4 * H * (D + H) for D, H in zip((inputs, *hidden), hidden)) + hidden[-1]

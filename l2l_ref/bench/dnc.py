"""Speed of the differentiable neural computer: the compiled twin, the NumPy original, and PyTorch if it is installed.

The workload is the same for all: T steps on given inputs (T, B, D) from an empty memory, and then the gradient of the
sum of d_output * output over all steps with respect to all weights. It is in float32, and the results are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..learned.cells import dnc_with, with_backend
from ..ops import dnc
from ..ops.addressing import EPSILON
from ..ops.heads import interface_shapes
from ..trees import add, build, flatten, leaves, unflatten
from .timing import Report, machine_limits, prepare, time_rounds

if TYPE_CHECKING:
    from ..protocols import Array, Backend


def _ours(backend: Backend) -> Any:
    def make(
        x: Array, d_output: Array, params: Any, sizes: tuple[int, int, int], threads: int | None,
    ) -> Callable[[], Array]:
        cell = with_backend(dnc_with(*sizes), backend, x.shape[1], threads)

        def workload() -> Array:
            state, caches = cell.initial_state(x.shape[1], params), []
            for x_t in x:
                state, cache = cell.forward(x_t, state, params)
                caches.append(cache)
            d_state, d_params = build(state, map(np.zeros_like, leaves(state))), None
            for d, cache in zip(d_output[::-1], reversed(caches)):
                _, d_state, d_step = cell.backward(d_state._replace(h=d_state.h + d), cache)
                d_params = d_step if d_params is None else add(d_params, d_step)
            return flatten(d_params)

        return workload

    return make


def _torch(x: Any, d_output: Any, params: Any, sizes: tuple[int, int, int], threads: int) -> Callable[[], Array]:
    """PyTorch in eager mode, by autograd: an LSTMCell with our weights, equations of ops/addressing.py and heads.py."""
    import torch

    slots, W, R = sizes
    T, B, D = x.shape
    (W_x, W_h, b), W_xi, b_xi = params
    H = len(W_h)
    cell = torch.nn.LSTMCell(len(W_x), H)
    with torch.no_grad():  # the gates have the same order; the second bias of PyTorch stays zero
        for target, source in zip(cell.parameters(), (W_x.T, W_h.T, b, 0 * b)):
            target.copy_(torch.from_numpy(np.ascontiguousarray(source)))
    W_xi, b_xi = (torch.from_numpy(a.copy()).requires_grad_() for a in (W_xi, b_xi))
    wanted = [*list(cell.parameters())[:3], W_xi, b_xi]
    x, d_output = torch.from_numpy(x), torch.from_numpy(d_output)
    shapes = interface_shapes(W, R)
    cuts = [int(np.prod(shape)) for shape in shapes]
    off_diagonal = 1 - torch.eye(slots)

    def content(M: Any, key: Any, beta: Any) -> Any:
        size_M, size_key = (torch.sqrt((a * a).sum(2) + EPSILON) for a in (M, key))
        s = key @ M.transpose(1, 2) / (size_key[:, :, None] * size_M[:, None])
        return torch.softmax(beta[:, :, None] * s, 2)

    def workload() -> Array:
        torch.set_num_threads(threads)
        zeros = x.new_zeros
        h, c, read = zeros(B, H), zeros(B, H), zeros(B, R * W)
        M, u, L = zeros(B, slots, W), zeros(B, slots), zeros(B, slots, slots)
        p, w, w_r, total = zeros(B, slots), zeros(B, slots), zeros(B, R, slots), zeros(())
        for x_t, d in zip(x, d_output):
            h, c = cell(torch.cat([x_t, read], 1), (h, c))
            parts = torch.split(h @ W_xi + b_xi, cuts, 1)
            k_r, b_r, modes, k_w, b_w, e, v, f, g_a, g_w = (q.reshape(B, *s) for q, s in zip(parts, shapes))
            b_r, b_w = 1 + torch.nn.functional.softplus(b_r), 1 + torch.nn.functional.softplus(b_w)
            modes, e, f, g_a, g_w = torch.softmax(modes, 2), e.sigmoid(), f.sigmoid(), g_a.sigmoid(), g_w.sigmoid()
            u = (u + w - u * w) * (1 - f[:, :, None] * w_r).prod(1)
            sorted_u, order = torch.sort(u, dim=1, stable=True)
            before = torch.cumprod(torch.cat([torch.ones(B, 1), sorted_u[:, :-1]], 1), 1)
            a = zeros(B, slots).scatter(1, order, (1 - sorted_u) * before)
            g_a, g_w = g_a[:, None], g_w[:, None]
            w = g_w * (g_a * a + (1 - g_a) * content(M, k_w, b_w)[:, 0])
            M = M * (1 - w[:, :, None] * e[:, None]) + w[:, :, None] * v[:, None]
            L = ((1 - w[:, :, None] - w[:, None]) * L + w[:, :, None] * p[:, None]) * off_diagonal
            p = (1 - w.sum(1, keepdim=True)) * p + w
            w_r = (modes[:, :, :1] * (w_r @ L) + modes[:, :, 1:2] * content(M, k_r, b_r)
                   + modes[:, :, 2:] * (w_r @ L.transpose(1, 2)))
            read = (w_r @ M).reshape(B, R * W)
            total = total + (d * torch.cat([h, read], 1)).sum()
        d_W_x, d_W_h, d_b, d_W_xi, d_b_xi = (g.numpy() for g in torch.autograd.grad(total, wanted))
        return np.concatenate([a.ravel() for a in (d_W_x.T, d_W_h.T, d_b, d_W_xi, d_b_xi)])

    return workload


IMPLEMENTATIONS = {"numba": _ours("numba"), "numpy": _ours("numpy"), "torch": _torch}


def dnc_step(
    batch: int = 128, steps: int = 100, hidden: int = 64, sizes: tuple[int, int, int] = (16, 16, 2),
    threads: Sequence[int] = (1, 2), rounds: int = 5, seed: int = 0, report: Report | None = None,
) -> dict[str, Any]:
    """Time forward and backward of a DNC. Returns the dict that ``bench dnc --json`` prints.

    ``batch``, ``steps``, ``hidden`` and ``sizes`` (slots, numbers per slot, read heads) define the workload. See
    `prepare` for ``threads``. ``report`` is called with a line of text about the progress.
    """
    rng, D = np.random.default_rng(seed), 4
    drawn = dnc.dnc_init(rng, D, hidden, *sizes[1:])
    params = unflatten(flatten(drawn).astype(np.float32), drawn)
    x = rng.standard_normal((steps, batch, D)).astype(np.float32)
    d_output = rng.standard_normal((steps, batch, dnc_with(*sizes).output_size(hidden))).astype(np.float32)
    # The tolerance is wide: if two usages nearly tie, rounding decides which slot is taken, and later steps differ.
    runs = prepare(IMPLEMENTATIONS, threads, 0.05, lambda make, count: make(x, d_output, params, sizes, count))
    rows = time_rounds(runs, rounds, report)
    for row in rows:
        row |= {"work": f"DNC {list(sizes)}, {hidden} units, {batch} x {steps} steps", "dtype": "float32",
                "us_per_row_step": 1e6 * row["median_s"] / (batch * steps)}
    return machine_limits(np.float32, threads) | {"rows": rows}

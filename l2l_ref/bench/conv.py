"""Speed of the convolutional network: the compiled twins, the NumPy originals, and PyTorch if it is installed.

The workload is the same for all: the loss of `optimizees.ConvNet` on one minibatch of random images, and its gradient
with respect to all parameters. It is in float32, and the results are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import backends
from ..optimizees.convnet import Layout, convnet_loss, convnet_loss_backward, parameter_count, split_theta
from .timing import Report, machine_limits, prepare, time_rounds

if TYPE_CHECKING:
    from ..protocols import Array, Backend

UNIT = 255.0


def _ours(backend: Backend) -> Any:
    def make(theta: Array, images: Array, labels: Array, layout: Layout, threads: int | None) -> Callable[[], Array]:
        backends.choose("convolution", backend)  # raises ImportError where it does not work

        def workload() -> Array:
            _, cache = convnet_loss(theta, images, labels, layout, UNIT, backend, threads)
            return convnet_loss_backward(np.float32(1), cache)[0]

        return workload

    return make


def _torch(theta: Array, images: Array, labels: Array, layout: Layout, threads: int) -> Callable[[], Array]:
    """PyTorch in eager mode, by autograd, in its own memory layout: channels before rows and columns."""
    import torch
    from torch.nn.functional import batch_norm, conv2d, cross_entropy, linear, max_pool2d, relu

    arrays = split_theta(theta, layout)
    K, L, (P, Q, C) = len(layout.channels), len(layout.hidden), layout.image
    rows, columns = (-(-side // 2**K) for side in (P, Q))
    there = {"conv": (3, 2, 0, 1), "fc": (1, 0)}  # the axes of a W in PyTorch

    def to_torch(name: str, array: Array) -> Any:
        if name == "fc1.W":  # its rows are the pixels and channels of an image
            array = np.moveaxis(array.reshape(rows, columns, -1, array.shape[1]), 2, 0).reshape(array.shape)
        if name.endswith(".W"):
            array = array.transpose(there[name.rstrip(".W0123456789")])
        return torch.from_numpy(np.ascontiguousarray(array)).requires_grad_()

    def from_torch(name: str, array: Array) -> Array:
        if name.endswith(".W"):
            array = array.transpose(np.argsort(there[name.rstrip(".W0123456789")]))
        if name == "fc1.W":
            array = np.moveaxis(array.reshape(-1, rows, columns, array.shape[1]), 0, 2)
        return array.ravel()

    w = {name: to_torch(name, array) for name, array in arrays.items()}
    planes = np.ascontiguousarray(images.reshape(-1, P, Q, C).transpose(0, 3, 1, 2))
    pixels, truth = torch.from_numpy(planes), torch.from_numpy(labels)

    def norm(a: Any, offset: Any) -> Any:
        return batch_norm(a, None, None, bias=offset, training=True, eps=1e-3)

    def workload() -> Array:
        torch.set_num_threads(threads)
        z = pixels.to(torch.float32) / UNIT
        for k in range(1, K + 1):
            a = conv2d(z, w[f"conv{k}.W"], w[f"conv{k}.b"], padding="same")
            z = relu(max_pool2d(norm(a, w[f"conv{k}.offset"]), 2, ceil_mode=True))
        z = z.reshape(len(z), -1)
        for k in range(1, L + 1):
            z = relu(norm(linear(z, w[f"fc{k}.W"], w[f"fc{k}.b"]), w[f"fc{k}.offset"]))
        loss = cross_entropy(linear(z, w[f"fc{L + 1}.W"], w[f"fc{L + 1}.b"]), truth)
        gradients = torch.autograd.grad(loss, list(w.values()))
        return np.concatenate([from_torch(name, g.numpy()) for name, g in zip(w, gradients)])

    return workload


IMPLEMENTATIONS = {"numba": _ours("numba"), "numpy": _ours("numpy"), "torch": _torch}


def conv(batch: int = 128, threads: Sequence[int] = (1, 2), rounds: int = 5, seed: int = 0,
         report: Report | None = None) -> dict[str, Any]:
    """Time forward and backward of the network. Returns the dict that ``bench conv --json`` prints.

    See `prepare` for ``threads``. ``report`` is called with a line of text about the progress.
    """
    rng, layout = np.random.default_rng(seed), Layout()
    theta = (0.05 * rng.standard_normal(parameter_count(layout))).astype(np.float32)
    images = rng.integers(0, 256, (batch, np.prod(layout.image)), np.uint8)
    labels = rng.integers(0, layout.classes, batch)
    # The tolerance is wide: where two entries of a window nearly tie, rounding decides which of them is the larger.
    runs = prepare(IMPLEMENTATIONS, threads, 0.01, lambda make, count: make(theta, images, labels, layout, count))
    rows = time_rounds(runs, rounds, report)
    for row in rows:
        row |= {"work": f"ConvNet, {len(theta)} parameters, {batch} images", "dtype": "float32",
                "ms": 1e3 * row["median_s"]}
    return machine_limits(np.float32, threads) | {"rows": rows}

"""A convolutional network on images, as a function of its weights: Andrychowicz et al. 2016, section 3.3.

Dims: N images of a minibatch of P x Q pixels and C colours, K convolutions, L layers of hidden units, n parameters.

    M9   z_0 = images / unit                                                    (N, P, Q, C)
    M10  z_k = relu(max_pool(nu_k(conv2d(z_k-1, W_k, b_k))))      k = 1..K      half as many rows and columns
    M11  z_k = relu(nu_k(z_k-1 W_k + b_k))                        k = K+1..K+L  (N, units)
    M12  f = mean over the images of softmax_cross_entropy(z_K+L W + b, labels)

nu_k is batch normalisation with an offset and no gain, or nothing. The input of M11 is z_K with its pixels and
channels laid out as one row. Max pooling and ReLU commute, and the pooled image is smaller, so ReLU comes second; the
values and, but for ties, the gradients are those of the other order.

theta (n,) holds the arrays of `parameter_shapes` one after the other, each of them row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .. import backends
from ..checks import choice, require_shape, whole_number, whole_numbers
from ..datasets import load
from ..ops.linear import linear, linear_backward
from ..ops.losses import softmax_cross_entropy, softmax_cross_entropy_backward
from ..seeds import generators
from .starts import STARTS, checked_scale, starting_points

if TYPE_CHECKING:
    from ..protocols import Array, Backend, Path, Seed

# The learning rates on which baselines are tuned, five per decade, of which every third is tried at first: a run of 100
# steps takes many seconds.
LEARNING_RATES = tuple(float(f"{10 ** (k / 5):.3g}") for k in range(-20, 6)), 3  # 1e-4 .. 10


class Layout(NamedTuple):
    """The sizes of a network."""

    image: tuple[int, int, int] = (32, 32, 3)  # rows, columns, colours
    channels: tuple[int, ...] = (16, 16, 16)   # of each convolution
    kernel: int = 5                            # rows and columns of a kernel
    hidden: tuple[int, ...] = (32,)            # units of each hidden layer
    classes: int = 10
    batch_norm: bool = True


def parameter_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """The name and the shape of each array of parameters, in the order in which theta holds them.

    Names are ``conv1.W``, ``conv1.b``, ``conv1.offset``, ``conv2.W``, ..., ``fc1.W`` and so on. The last fully
    connected layer, which gives the logits, has no offset. Without batch normalisation there are no offsets.
    """
    P, Q, inputs = layout.image
    shapes: dict[str, tuple[int, ...]] = {}
    for k, channels in enumerate(layout.channels, 1):
        shapes |= {f"conv{k}.W": (layout.kernel, layout.kernel, inputs, channels), f"conv{k}.b": (channels,)}
        if layout.batch_norm:
            shapes[f"conv{k}.offset"] = (channels,)
        P, Q, inputs = -(-P // 2), -(-Q // 2), channels
    inputs *= P * Q
    for k, units in enumerate((*layout.hidden, layout.classes), 1):
        shapes |= {f"fc{k}.W": (inputs, units), f"fc{k}.b": (units,)}
        if layout.batch_norm and k <= len(layout.hidden):
            shapes[f"fc{k}.offset"] = (units,)
        inputs = units
    return shapes


def parameter_count(layout: Layout) -> int:
    """n, the number of all parameters; 22,682 for the default sizes."""
    return sum(map(math.prod, parameter_shapes(layout).values()))


def split_theta(theta: Array, layout: Layout) -> dict[str, Array]:
    """theta (n,) -> its arrays by name, which are views of theta."""
    arrays, at = {}, 0
    for name, shape in parameter_shapes(layout).items():
        size = math.prod(shape)
        arrays[name] = theta[at : at + size].reshape(shape)
        at += size
    return arrays


class Pairs(NamedTuple):
    """The functions of `ops` of which the network is made, or their compiled twins."""

    conv2d: Callable[..., Any]
    conv2d_backward: Callable[..., Any]
    max_pool: Callable[..., Any]
    max_pool_backward: Callable[..., Any]
    batch_norm: Callable[..., Any]
    batch_norm_backward: Callable[..., Any]
    relu: Callable[..., Any]
    relu_backward: Callable[..., Any]


def pairs_of(backend: Backend, work: float, threads: int | None) -> Pairs:
    """All of them of one backend, since the convolutions do nearly all of the work, counted in multiplications."""
    name = backends.name_of(backends.choose("convolution", backend, work))
    parts = {"convolution": Pairs._fields[:4], "normalization": Pairs._fields[4:6], "activations": Pairs._fields[6:]}
    chosen = (backends.functions(part, name, 0, names, threads) for part, names in parts.items())
    return Pairs(*(function for functions in chosen for function in functions))


class ConvNetLossCache(NamedTuple):
    """The cache of `convnet_loss`."""

    convolutions: tuple[Any, ...]  # for each k of M10, the caches of conv2d, batch_norm (or None), max_pool and relu
    hidden: tuple[Any, ...]        # for each k of M11, the caches of linear, batch_norm (or None) and relu
    last: tuple[Any, ...]          # the caches of linear and softmax_cross_entropy
    pooled: tuple[int, ...]        # the shape of z_K
    pairs: Pairs
    layout: Layout
    names: tuple[str, ...]         # of the arrays, in the order in which theta holds them


def convnet_loss(
    theta: Array, images: Array, labels: Array, layout: Layout, unit: float = 1.0, backend: Backend = "numpy",
    threads: int | None = None,
) -> tuple[Any, ConvNetLossCache]:
    """M9 to M12. theta (n,), images (N, P Q C) integers, labels (N,) -> f scalar in nats, cache.

    ``unit`` is the pixel value that counts as 1. N is at least 1. ``threads`` are those of the compiled twins. Raises
    ValueError for other shapes.
    """
    P, Q, C = layout.image
    require_shape("theta", theta, n=parameter_count(layout))
    require_shape("images", images, N=None, D=P * Q * C)
    work = images.size * layout.kernel**2 * max(layout.channels, default=0)
    pairs = pairs_of(backend, work, threads)
    arrays, norm = split_theta(theta, layout), pairs.batch_norm if layout.batch_norm else _pass
    z = (images.astype(theta.dtype) * theta.dtype.type(1 / unit)).reshape(-1, P, Q, C)  # M9
    convolutions, hidden = [], []
    for k in range(1, len(layout.channels) + 1):
        a, conv_cache = pairs.conv2d(z, arrays[f"conv{k}.W"], arrays[f"conv{k}.b"])  # M10
        a, norm_cache = norm(a, arrays.get(f"conv{k}.offset"))       # M10
        a, pool_cache = pairs.max_pool(a)                            # M10
        z, relu_cache = pairs.relu(a)                                # M10
        convolutions.append((conv_cache, norm_cache, pool_cache, relu_cache))
    pooled = z.shape
    z = z.reshape(len(z), -1)
    for k in range(1, len(layout.hidden) + 1):
        a, linear_cache = linear(z, arrays[f"fc{k}.W"], arrays[f"fc{k}.b"])  # M11
        a, norm_cache = norm(a, arrays.get(f"fc{k}.offset"))         # M11
        z, relu_cache = pairs.relu(a)                                # M11
        hidden.append((linear_cache, norm_cache, relu_cache))
    K = len(layout.hidden) + 1
    logits, linear_cache = linear(z, arrays[f"fc{K}.W"], arrays[f"fc{K}.b"])  # M12
    losses, loss_cache = softmax_cross_entropy(logits, labels)       # M12
    last = linear_cache, loss_cache
    return losses.mean(), ConvNetLossCache(tuple(convolutions), tuple(hidden), last, pooled, pairs, layout,
                                           tuple(arrays))


def convnet_loss_backward(d_f: Any, cache: ConvNetLossCache) -> tuple[Array, None, None, None]:
    """d_f scalar -> d_theta (n,), None, None, None: images, labels and layout are constants."""
    convolutions, hidden, (linear_cache, loss_cache), pooled, pairs, layout, names = cache
    norm_backward = pairs.batch_norm_backward if layout.batch_norm else _pass_gradient
    N, K = len(loss_cache.labels), len(hidden) + 1
    d_logits, _ = softmax_cross_entropy_backward(np.full(N, d_f / N, loss_cache.p.dtype), loss_cache)  # M12
    d_z, d_W, d_b = linear_backward(d_logits, linear_cache)          # M12
    d = {f"fc{K}.W": d_W, f"fc{K}.b": d_b}
    for k, (linear_cache, norm_cache, relu_cache) in reversed(list(enumerate(hidden, 1))):
        d_a, d[f"fc{k}.offset"], _ = norm_backward(pairs.relu_backward(d_z, relu_cache), norm_cache)  # M11
        d_z, d[f"fc{k}.W"], d[f"fc{k}.b"] = linear_backward(d_a, linear_cache)  # M11
    d_z = d_z.reshape(pooled)
    for k, (conv_cache, norm_cache, pool_cache, relu_cache) in reversed(list(enumerate(convolutions, 1))):
        d_a = pairs.max_pool_backward(pairs.relu_backward(d_z, relu_cache), pool_cache)  # M10
        d_a, d[f"conv{k}.offset"], _ = norm_backward(d_a, norm_cache)  # M10
        d_z, d[f"conv{k}.W"], d[f"conv{k}.b"] = pairs.conv2d_backward(d_a, conv_cache, input_gradient=k > 1)  # M10
    return np.concatenate([d[name].ravel() for name in names]), None, None, None


def _pass(x: Array, offset: Array | None) -> tuple[Array, None]:
    return x, None


def _pass_gradient(d_y: Array, cache: None) -> tuple[Array, Any, None]:
    return d_y, None, None


class ConvNet:
    """The distribution of convolutional networks that classify images: starting points and minibatches are random.

    By default it is the network of Andrychowicz et al. 2016 with the sizes of their released code: 22,682 parameters.

    Parameters
    ----------
    dataset : {"cifar10", "mnist", "digits"}
    labels : sequence of int or None
        Only images with these labels; see `l2l_ref.datasets.load`. By default all ten.
    channels : tuple of int
        Channels of the convolutions. Each is followed by 2 x 2 max pooling.
    kernel : int
        Rows and columns of the kernels.
    hidden : tuple of int
        Units of the hidden layers.
    batch_norm : bool
        Whether convolutions and hidden layers are followed by batch normalisation.
    split : {"train", "validation", "test"}
        The images from which minibatches are drawn. Meta-training uses "train", its validation "validation",
        comparisons "test".
    batch : int
        Images per minibatch, drawn with replacement; 128 in the released code.
    theta0_scale : float
        Of the start "normal": the standard deviation of weights and biases; 0.01 is that of the released code.
        Offsets begin at 0.
    start : {"normal", "glorot", "he"}
        The distribution of theta0, as in `MLP`.
    data_dir : path or None
        The folder with the files of the data set. By default the environment variable ``L2L_REF_DATA`` names it.
    backend : {"auto", "numpy", "numba"}
    threads : int or None
        Threads of the compiled twins; None uses all cores of the process. No result depends on it.

    Raises
    ------
    ValueError
        For arguments out of range.
    FileNotFoundError
        When the files of the data set are missing.
    """

    learning_rates = LEARNING_RATES

    def __init__(
        self, dataset: str = "cifar10", labels: Sequence[int] | None = None, channels: Sequence[int] = (16, 16, 16),
        kernel: int = 5, hidden: Sequence[int] = (32,), batch_norm: bool = True, split: str = "train", batch: int = 128,
        theta0_scale: float = 0.01, data_dir: Path | None = None, backend: Backend = "auto", threads: int | None = None,
        start: str = "normal",
    ) -> None:
        choice("backend", backend, backends.BACKENDS)
        self.dataset, self.split, self.data_dir = dataset, split, data_dir
        self.start = choice("start", start, STARTS)
        self.batch, self.theta0_scale = whole_number("batch", batch), checked_scale(theta0_scale)
        self.backend, self.threads = backend, whole_number("threads", threads, optional=True)
        channels, hidden = whole_numbers("channels", channels), whole_numbers("hidden", hidden)
        kernel = whole_number("kernel", kernel)
        self.labels = None if labels is None else whole_numbers("labels", labels, 0, 9)
        self.data = load(dataset, split, data_dir, self.labels)
        self.layout = Layout(self.data.shape, channels, kernel, hidden, self.data.classes, bool(batch_norm))
        self.shapes = parameter_shapes(self.layout)
        self.chance = float(np.log(self.data.classes))

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        layout, start = self.layout, {} if self.start == "normal" else {"start": self.start}
        return {"problem": "convnet", "dataset": self.dataset, "labels": self.labels and list(self.labels),
                "channels": list(layout.channels), "kernel": layout.kernel, "hidden": list(layout.hidden),
                "batch_norm": layout.batch_norm, "batch": self.batch, "theta0_scale": self.theta0_scale, **start}

    def on(self, split: str) -> ConvNet:
        """The same distribution on the images of another split."""
        layout = self.layout
        return ConvNet(self.dataset, self.labels, layout.channels, layout.kernel, layout.hidden, layout.batch_norm,
                       split, self.batch, self.theta0_scale, self.data_dir, self.backend, self.threads, self.start)

    def sample(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> ConvNetTask:
        """Draw a task of ``functions`` networks. ``seed`` is an int or a SeedSequence."""
        return ConvNetTask(self, functions, seed, dtype)


class ConvNetTask:
    """B networks, each with its own starting point and its own stream of minibatches."""

    def __init__(self, problem: ConvNet, functions: int, seed: Seed, dtype: DTypeLike) -> None:
        self.problem, self.rngs = problem, generators(seed, range(functions))
        self.shapes = problem.shapes
        self.theta0 = starting_points(self.rngs, self.shapes, problem.start, problem.theta0_scale, dtype)

    def loss_and_gradient(self, theta: Array) -> tuple[Array, Array]:
        """theta (B, n) -> losses (B,), gradients (B, n), on the next minibatch of each network."""
        problem, data = self.problem, self.problem.data
        losses, gradients = np.empty(len(theta), theta.dtype), np.empty_like(theta)
        for b, rng in enumerate(self.rngs):
            rows = rng.integers(0, len(data.images), problem.batch)
            losses[b], cache = convnet_loss(theta[b], data.images[rows], data.labels[rows], problem.layout, data.scale,
                                            problem.backend, problem.threads)
            gradients[b], *_ = convnet_loss_backward(theta.dtype.type(1), cache)
        return losses, gradients

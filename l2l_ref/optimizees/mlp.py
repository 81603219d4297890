"""A multilayer perceptron on images or on a table, as a function of its weights: Andrychowicz et al. 2016, section 3.2.

Dims: N images of a minibatch, D pixels, layers of S_0 = D, S_1, ..., S_K = C units, n parameters in all.

    M1  z_0 = images / unit                                     (N, D)
    M2  z_k = phi(z_k-1 W_k + b_k)      for k = 1..K-1          (N, S_k), phi sigmoid, tanh or ReLU
    M3  f = mean over the images of l(z_K-1 W_K + b_K, labels)  l the softmax cross-entropy, or the squared error of
                                                                targets (N, C) in place of labels

theta (n,) holds W_1, b_1, W_2, b_2, ... one after the other, each of them row by row. The gradient of f is an operation
of its own; its backward is the product of the Hessian and a vector (Pearlmutter 1994). Let a' be the derivative of a in
the direction (V_1, c_1, V_2, c_2, ...) of theta, and d_a the gradient of f with respect to a. Then

    M4  a_k' = z_k-1' W_k + z_k-1 V_k + c_k,   z_k' = phi'(a_k) a_k'
    M5  d_a_K = (p - onehot) / N               d_a_K' = (p a_K' - p sum_j p_j a_Kj') / N
        d_a_K = 2 (a_K - targets) / N          d_a_K' = 2 a_K' / N            of the squared error
    M6  d_z_k = d_a_k+1 W_k+1^T                d_z_k' = d_a_k+1' W_k+1^T + d_a_k+1 V_k+1^T
    M7  d_a_k = phi'(a_k) d_z_k                d_a_k' = phi'(a_k) d_z_k' + phi''(a_k) a_k' d_z_k
    M8  d_W_k = z_k-1^T d_a_k                  d_W_k' = z_k-1'^T d_a_k + z_k-1^T d_a_k'
        d_b_k = sum of d_a_k over the images   d_b_k' = sum of d_a_k' over the images
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..checks import choice, require_shape, short, whole_number, whole_numbers
from ..datasets import load
from ..datasets.tables import Generated, described, table
from ..ops.activations import (
    SoftmaxCache,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax_backward,
    tanh,
    tanh_backward,
)
from ..ops.linear import LinearCache, linear, linear_backward
from ..ops.losses import softmax_cross_entropy, softmax_cross_entropy_backward, squared_error, squared_error_backward
from ..seeds import generators
from .starts import STARTS, checked_scale, starting_points

if TYPE_CHECKING:
    from ..datasets import Images
    from ..protocols import Array, Path, Seed

# For each activation: phi, its backward, and phi'' as a function of the cache.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[[Any], Any]]] = {
    "sigmoid": (sigmoid, sigmoid_backward, lambda cache: cache.s * (1 - cache.s) * (1 - 2 * cache.s)),
    "tanh": (tanh, tanh_backward, lambda cache: -2 * cache.t * (1 - cache.t * cache.t)),
    "relu": (relu, relu_backward, lambda cache: 0),
}

# For each loss: l, its backward, and the derivative of d_a_K N in the direction a_K', of the cache and a_K' (M5).
LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[[Any, Array], Array]]] = {
    "cross-entropy": (softmax_cross_entropy, softmax_cross_entropy_backward,
                      lambda cache, a_dot: softmax_backward(a_dot, SoftmaxCache(cache.p))),
    "squared error": (squared_error, squared_error_backward, lambda cache, a_dot: 2 * a_dot),
}


def parameter_shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The name and the shape of each array of parameters in the order of theta: ``fc1.W``, ``fc1.b``, ``fc2.W``, ..."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k, (D, M) in enumerate(zip(sizes, sizes[1:]), 1):
        shapes |= {f"fc{k}.W": (D, M), f"fc{k}.b": (M,)}
    return shapes


def parameter_count(sizes: Sequence[int]) -> int:
    """n, the number of weights and biases of a network whose layers have ``sizes`` units."""
    return sum(D * M + M for D, M in zip(sizes, sizes[1:]))


def split_theta(theta: Array, sizes: Sequence[int]) -> list[tuple[Array, Array]]:
    """theta (n,) -> [(W_1, b_1), (W_2, b_2), ...], which are views of theta."""
    layers, at = [], 0
    for D, M in zip(sizes, sizes[1:]):
        W = theta[at : at + D * M].reshape(D, M)
        layers.append((W, theta[at + D * M : at + D * M + M]))
        at += D * M + M
    return layers


class MLPLossCache(NamedTuple):
    """The cache of `mlp_loss`."""

    linears: tuple[LinearCache, ...]  # K of them
    activations: tuple[Any, ...]      # K - 1 caches of phi
    losses: Any                       # that of l
    activation: str                   # the name of phi
    loss: str                         # the name of l


def mlp_loss(
    theta: Array, images: Array, labels: Array, sizes: Sequence[int], unit: float = 1.0, activation: str = "sigmoid",
    loss: str = "cross-entropy",
) -> tuple[Any, MLPLossCache]:
    """M1 to M3. theta (n,), images (N, D), labels (N,) or targets (N, C) -> f scalar, in nats or squared units, cache.

    ``sizes`` is (D, S_1, ..., C), and ``unit`` is the pixel value that counts as 1. N is at least 1. Raises ValueError
    for other shapes, and for an unknown activation or loss.
    """
    choice("activation", activation, ACTIVATIONS)
    choice("loss", loss, LOSSES)
    require_shape("theta", theta, n=parameter_count(sizes))
    require_shape("images", images, N=None, D=sizes[0])
    phi, _, _ = ACTIVATIONS[activation]
    *hidden, last = split_theta(theta, sizes)
    z = images.astype(theta.dtype) * theta.dtype.type(1 / unit)      # M1
    linears, activations = list[LinearCache](), list[Any]()
    for W, b in hidden:
        a, linear_cache = linear(z, W, b)                            # M2
        linears.append(linear_cache)
        z, cache = phi(a)                                            # M2
        activations.append(cache)
    out, linear_cache = linear(z, *last)                             # M3
    linears.append(linear_cache)
    labels = labels.astype(theta.dtype) if loss == "squared error" else labels
    losses, loss_cache = LOSSES[loss][0](out, labels)                # M3
    return losses.mean(), MLPLossCache(tuple(linears), tuple(activations), loss_cache, activation, loss)


def mlp_loss_backward(d_f: Any, cache: MLPLossCache) -> tuple[Array, None, None, None]:
    """d_f scalar -> d_theta (n,), None, None, None: images, labels and sizes are constants."""
    d_theta, _, _ = _backward_with_intermediates(d_f, cache)
    return d_theta, None, None, None


def _backward_with_intermediates(d_f: Any, cache: MLPLossCache) -> tuple[Array, list[Array], list[Array]]:
    """d_theta (n,), and the lists d_a_1 .. d_a_K and d_z_0 .. d_z_K-1 of which it is computed."""
    linears, activations, loss_cache, activation, loss = cache
    _, phi_backward, _ = ACTIVATIONS[activation]
    x = linears[0].x
    d_losses = np.full(len(x), d_f / len(x), x.dtype)                # M3, the mean
    d_a, _ = LOSSES[loss][1](d_losses, loss_cache)                   # M3, M5
    pieces, d_as, d_zs = [], [], []
    for k in reversed(range(len(linears))):
        d_z, d_W, d_b = linear_backward(d_a, linears[k])             # M3, M2; M6, M8
        pieces += [d_b, d_W.ravel()]
        d_as.append(d_a)
        d_zs.append(d_z)
        if k > 0:
            d_a = phi_backward(d_z, activations[k - 1])              # M2, M7
    return np.concatenate(pieces[::-1]), d_as[::-1], d_zs[::-1]


class MLPGradientCache(NamedTuple):
    """The cache of `mlp_gradient`."""

    loss: MLPLossCache
    d_a: list[Array]  # the gradients of f with respect to a_1 .. a_K
    d_z: list[Array]  # the gradients of f with respect to z_0 .. z_K-1


def mlp_gradient(
    theta: Array, images: Array, labels: Array, sizes: Sequence[int], unit: float = 1.0, activation: str = "sigmoid",
    loss: str = "cross-entropy",
) -> tuple[Array, MLPGradientCache]:
    """grad f (n,), cache. Inputs and errors are those of `mlp_loss`."""
    _, gradient, cache = _loss_and_gradient(theta, images, labels, sizes, unit, activation, loss)
    return gradient, cache


def _loss_and_gradient(theta: Array, *arguments: Any) -> tuple[Any, Array, MLPGradientCache]:
    """f scalar and grad f (n,) of `mlp_loss`, and the cache of the gradient."""
    f, cache = mlp_loss(theta, *arguments)
    gradient, d_a, d_z = _backward_with_intermediates(theta.dtype.type(1), cache)
    return f, gradient, MLPGradientCache(cache, d_a, d_z)


def mlp_gradient_backward(d_gradient: Array, cache: MLPGradientCache) -> tuple[Array, None, None, None]:
    """d_gradient (n,) -> d_theta (n,), None, None, None: M4 to M8 in the direction d_gradient.

    The Hessian is symmetric, so its product with d_gradient is also the derivative of the gradient in this direction.
    """
    (linears, activations, loss_cache, activation, loss), d_a, d_z = cache
    _, phi_backward, curvature = ACTIVATIONS[activation]
    K, N = len(linears), len(linears[0].x)
    sizes = (linears[0].W.shape[0], *(linear.W.shape[1] for linear in linears))
    directions = split_theta(d_gradient, sizes)
    a_dots, z_dots = [], [None]  # z_0 does not depend on theta
    for k, (V, c) in enumerate(directions):
        a_dot = linears[k].x @ V + c                                 # M4
        if k > 0:
            z_dots.append(phi_backward(a_dots[-1], activations[k - 1]))  # M4
            a_dot = a_dot + z_dots[k] @ linears[k].W                 # M4
        a_dots.append(a_dot)
    d_a_dot = LOSSES[loss][2](loss_cache, a_dots[-1]) / N            # M5
    pieces = []
    for k in reversed(range(K)):
        (z, W), (V, _) = linears[k], directions[k]
        d_W_dot = z.T @ d_a_dot                                      # M8
        if k > 0:
            d_W_dot = d_W_dot + z_dots[k].T @ d_a[k]                 # M8
        pieces += [d_a_dot.sum(axis=0), d_W_dot.ravel()]             # M8
        if k > 0:
            d_z_dot = d_a_dot @ W.T + d_a[k] @ V.T                   # M6
            bend = curvature(activations[k - 1]) * a_dots[k - 1] * d_z[k]  # M7
            d_a_dot = phi_backward(d_z_dot, activations[k - 1]) + bend  # M7
    return np.concatenate(pieces[::-1]), None, None, None


class MLP:
    """The distribution of networks on a data set: the starting points and the minibatches are random.

    Parameters
    ----------
    dataset : {"digits", "mnist", "cifar10"}, (inputs, targets) or a distribution of tables
        Images by name, or a table of your own: inputs (N, D) of numbers, and labels (N,), integers from 0, to be
        classified, or targets (N, C), floating-point numbers, of a regression. Its rows are parted into the three
        splits, see `l2l_ref.datasets.tables.table`. With a distribution of tables, one of `l2l_ref.datasets.tables`,
        each function has a table of its own, and the split has no meaning.
    hidden : tuple of int
        Units of the hidden layers; (20,) in Andrychowicz et al. 2016. () is softmax regression, or linear regression.
    activation : {"sigmoid", "tanh", "relu"}
    split : {"train", "validation", "test"}
        The rows from which minibatches are drawn. Meta-training uses "train", its validation "validation", comparisons
        "test".
    batch : int
        Rows per minibatch, drawn with replacement; 128 in Andrychowicz et al. 2016.
    theta0_scale : float
        Of the start "normal": the standard deviation of weights and biases. Andrychowicz et al. do not give it; 0.01 is
        that of their released code.
    start : {"normal", "glorot", "he"}
        The distribution of theta0: normal throughout, or weights after Glorot and Bengio 2010 or He et al. 2015, with
        biases 0.
    data_dir : path or None
        The folder with the files of MNIST. By default the environment variable ``L2L_REF_DATA`` names it.

    Raises
    ------
    ValueError
        For arguments out of range.
    FileNotFoundError
        When MNIST's files are missing.
    """

    def __init__(
        self, dataset: str | tuple[Array, Array] | Generated = "digits", hidden: Sequence[int] = (20,),
        activation: str = "sigmoid", split: str = "train", batch: int = 128, theta0_scale: float = 0.01,
        data_dir: Path | None = None, start: str = "normal",
    ) -> None:
        choice("activation", activation, ACTIVATIONS)
        self.dataset, self.activation, self.split = dataset, activation, split
        self.hidden = whole_numbers("hidden", hidden)
        self.batch, self.data_dir = whole_number("batch", batch), data_dir
        self.theta0_scale, self.start = checked_scale(theta0_scale), choice("start", start, STARTS)
        self.data = _data(dataset, split, data_dir)
        self.loss = "cross-entropy" if self.data.labels.ndim == 1 else "squared error"
        self.sizes = (self.data.images.shape[1], *self.hidden, self.data.classes)
        self.shapes = parameter_shapes(self.sizes)
        self.chance = float(np.log(self.data.classes)) if self.loss == "cross-entropy" else None

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        name = {"problem": self.dataset} if isinstance(self.dataset, str) else described(self.dataset)
        start = {} if self.start == "normal" else {"start": self.start}
        return {**name, "hidden": list(self.hidden), "activation": self.activation, "batch": self.batch,
                "theta0_scale": self.theta0_scale, **start}

    def on(self, split: str) -> MLP:
        """The same distribution on the rows of another split."""
        return MLP(self.dataset, self.hidden, self.activation, split, self.batch, self.theta0_scale, self.data_dir,
                   self.start)

    def sample(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> MLPTask:
        """Draw a task of ``functions`` networks. ``seed`` is an int or a SeedSequence."""
        return MLPTask(self, functions, seed, dtype)


class MLPTask:
    """B networks, each with its own starting point and its own stream of minibatches."""

    def __init__(self, problem: MLP, functions: int, seed: Seed, dtype: DTypeLike) -> None:
        self.problem, self.rngs, self.shapes = problem, generators(seed, range(functions)), problem.shapes
        drawn = isinstance(problem.dataset, Generated)
        self.data = [problem.dataset.draw(rng) if drawn else problem.data for rng in self.rngs]  # type: ignore[union-attr]
        self.theta0 = starting_points(self.rngs, self.shapes, problem.start, problem.theta0_scale, dtype)

    def loss_and_gradient(self, theta: Array) -> tuple[Array, Array]:
        """theta (B, n) -> losses (B,), gradients (B, n), on the next minibatch of each network."""
        losses, gradients, _ = self._evaluate(theta)
        return losses, gradients

    def second_order(self, theta: Array) -> tuple[Array, Array, Callable[[Array], Array]]:
        """`loss_and_gradient`, and a function v (B, n) -> (B, n): the Hessians at theta times v."""
        losses, gradients, caches = self._evaluate(theta)

        def hessian_product(v: Array) -> Array:
            return np.stack([mlp_gradient_backward(v_b, cache)[0] for v_b, cache in zip(v, caches)])

        return losses, gradients, hessian_product

    def _evaluate(self, theta: Array) -> tuple[Array, Array, tuple[MLPGradientCache, ...]]:
        """The losses and gradients on the next minibatches, and the caches of the gradients."""
        losses, gradients, caches = zip(*(_loss_and_gradient(theta_b, *minibatch)
                                          for theta_b, minibatch in zip(theta, self._minibatches())))
        return np.array(losses, theta.dtype), np.array(gradients, theta.dtype), caches

    def _minibatches(self) -> Iterator[tuple[Array, Array, tuple[int, ...], float, str, str]]:
        """The arguments of `mlp_loss` after theta, for one network after the other."""
        problem = self.problem
        for rng, data in zip(self.rngs, self.data):
            rows = rng.integers(0, len(data.images), problem.batch)
            yield (data.images[rows], data.labels[rows], problem.sizes, data.scale, problem.activation, problem.loss)


def _data(dataset: Any, split: str, data_dir: Path | None) -> Images:
    """The rows of a split; of a distribution of tables, the first table of seed 0, for its sizes."""
    if isinstance(dataset, str):
        return load(dataset, split, data_dir)
    if isinstance(dataset, Generated):
        return dataset.draw(np.random.default_rng(0))
    if not isinstance(dataset, tuple) or len(dataset) != 2:
        raise ValueError(f"dataset: expected a name, (inputs, targets) or a distribution of tables, "
                         f"got {short(dataset)}")
    inputs, targets = dataset
    return table(inputs, targets, split)

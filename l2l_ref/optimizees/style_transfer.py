"""Neural art: an image that shows a photograph, painted as a painting is. Andrychowicz et al. 2016, section 3.4.

Dims: N images of P x Q pixels in red, green and blue, n = 3 P Q parameters, K convolutions of a trained network.

    M13  F_0 = 255 theta - mean                                            (N, P, Q, 3)
    M14  F_k = relu(conv2d(max_pool(F_k-1), W_k, b_k))    k = 1..K         pooling only where the network has it
    M15  c = mean over the content layers of E5(F_k, T_k) / E5(0, T_k)     (N,), T_k the features of the photograph
    M16  s = mean over the style layers of E6(G_k, A_k) / E6(0, A_k)       (N,), Gram matrices E4 of F_k, the painting
    M17  f = alpha c + beta s + gamma E7(theta)                            (N,)

theta (N, n) are pixels, row by row, the colours of a pixel side by side. A value of 0 is dark and 1 is bright; values
outside are allowed. E4 to E7 are those of ops/image_losses.py. M15 and M16 are relative: 1 is the loss of features that
are all 0, whatever the network and the layer.

Andrychowicz et al. say that f is a sum of the three terms and theta the image. Nobody has published the network, the
layers, alpha, beta, gamma, or where theta begins. What stands here is our choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .. import backends
from ..checks import choice, require_shape, whole_number
from ..datasets.networks import MEAN, NETWORKS, Convolution, read_network
from ..datasets.pictures import STYLE, middle, painting, photographs, random_square, scaled
from ..ops.image_losses import (
    content_loss,
    content_loss_backward,
    gram,
    gram_backward,
    style_loss,
    style_loss_backward,
    total_variation,
    total_variation_backward,
)
from ..seeds import generators
from .convnet import Pairs, pairs_of

if TYPE_CHECKING:
    from ..protocols import Array, Backend, Path, Seed

LAYERS = {  # for each network: those of the content, those of the style
    "vgg16": (("conv3_1",), ("conv1_1", "conv2_1", "conv3_1", "conv4_1")),
    "squeezenet": (("fire3",), ("conv1", "fire2", "fire4", "fire6")),
}

# The learning rates on which baselines are tuned, five per decade, of which every third is tried at first. They reach
# further up than those of networks: the gradient is spread over thousands of pixels.
LEARNING_RATES = tuple(float(f"{10 ** (k / 5):.3g}") for k in range(-15, 21)), 3  # 1e-3 .. 1e4


class FeaturesCache(NamedTuple):
    """The cache of `features`."""

    layers: tuple[Any, ...]  # for each k, the caches of max_pool (or None), conv2d and relu
    wanted: tuple[int, ...]
    pairs: Pairs


def features(x: Array, chain: Sequence[Convolution], wanted: Sequence[int], pairs: Pairs) -> tuple[Any, FeaturesCache]:
    """M14. x (N, P, Q, C) -> a tuple of F_k (N, P', Q', M) for each k of ``wanted``, cache.

    ``chain`` are the layers of the network, and ``wanted`` are numbers from 0, in ascending order. Layers after the
    last of them are not computed. The weights are taken in the precision of x. Raises ValueError for other shapes.
    """
    found, caches = [], []
    for k, layer in enumerate(chain[: wanted[-1] + 1]):
        pool_cache = None
        if layer.pool:
            x, pool_cache = pairs.max_pool(x, layer.pool, 2)         # M14
        W, b = (array.astype(x.dtype, copy=False) for array in (layer.W, layer.b))
        a, conv_cache = pairs.conv2d(x, W, b, layer.stride)          # M14
        x, relu_cache = pairs.relu(a)                                # M14
        caches.append((pool_cache, conv_cache, relu_cache))
        if k in wanted:
            found.append(x)
    return tuple(found), FeaturesCache(tuple(caches), tuple(wanted), pairs)


def features_backward(d_found: Sequence[Array], cache: FeaturesCache) -> Array:
    """d_found, a tuple of d_F_k -> d_x (N, P, Q, C). The network is a constant."""
    caches, wanted, pairs = cache
    arriving, d_x = dict(zip(wanted, d_found)), 0
    for k, (pool_cache, conv_cache, relu_cache) in reversed(list(enumerate(caches))):
        d_a = pairs.relu_backward(d_x + arriving.get(k, 0), relu_cache)  # M14
        d_x, _, _ = pairs.conv2d_backward(d_a, conv_cache, weight_gradients=False)  # M14
        if pool_cache is not None:
            d_x = pairs.max_pool_backward(d_x, pool_cache)           # M14
    return d_x


class Targets(NamedTuple):
    """What N images are compared with. The keys are the numbers k of layers."""

    content: dict[int, tuple[Array, Array]]  # T_k (N, P', Q', M), and the weight (N,) of E5(F_k, T_k) in f
    style: dict[int, tuple[Array, Array]]    # A_k (N, M, M), and the weight (N,) of E6(G_k, A_k) in f
    smoothness: float                        # gamma


class StyleTransferLossCache(NamedTuple):
    """The cache of `style_transfer_loss`."""

    contents: dict[int, Any]  # for each k, the cache of content_loss
    styles: dict[int, Any]    # for each k, the caches of gram and style_loss
    roughness: Any
    features: FeaturesCache
    targets: Targets


def style_transfer_loss(
    theta: Array, shape: tuple[int, int], chain: Sequence[Convolution], targets: Targets, pairs: Pairs,
) -> tuple[Array, StyleTransferLossCache]:
    """M13 to M17. theta (N, n) -> f (N,), cache.

    ``shape`` is P, Q. The constants are taken in the precision of theta. Raises ValueError for other shapes.
    """
    (P, Q), wanted, targets = shape, sorted({*targets.content, *targets.style}), _in_precision(theta.dtype, targets)
    require_shape("theta", theta, N=None, n=P * Q * 3)
    images = theta.reshape(-1, P, Q, 3)
    found, features_cache = features(_network_input(images), chain, wanted, pairs)
    F, contents, styles = dict(zip(wanted, found)), dict[int, Any](), dict[int, Any]()
    f, roughness = total_variation(images)                           # M17
    f = theta.dtype.type(targets.smoothness) * f                     # M17
    for k, (T, weight) in targets.content.items():
        losses, contents[k] = content_loss(F[k], T)                  # M15
        f = f + weight * losses                                      # M17
    for k, (A, weight) in targets.style.items():
        G, gram_cache = gram(F[k])                                   # M16
        losses, loss_cache = style_loss(G, A)                        # M16
        f, styles[k] = f + weight * losses, (gram_cache, loss_cache)  # M17
    return f, StyleTransferLossCache(contents, styles, roughness, features_cache, targets)


def style_transfer_loss_backward(d_f: Array, cache: StyleTransferLossCache) -> Array:
    """d_f (N,) -> d_theta (N, n)."""
    contents, styles, roughness, features_cache, targets = cache
    d_F = {k: content_loss_backward(targets.content[k][1] * d_f, loss_cache)[0]  # M17, M15
           for k, loss_cache in contents.items()}
    for k, (gram_cache, loss_cache) in styles.items():
        d_G, _ = style_loss_backward(targets.style[k][1] * d_f, loss_cache)  # M17, M16
        d_F[k] = d_F.get(k, 0) + gram_backward(d_G, gram_cache)      # M16
    d_x = features_backward([d_F[k] for k in features_cache.wanted], features_cache)
    d_smooth = total_variation_backward(d_f.dtype.type(targets.smoothness) * d_f, roughness)  # M17
    return (255 * d_x + d_smooth).reshape(len(d_x), -1)              # M13


def _in_precision(dtype: np.dtype[Any], targets: Targets) -> Targets:
    content, style = ({k: (wanted.astype(dtype, copy=False), weight.astype(dtype, copy=False))
                       for k, (wanted, weight) in part.items()} for part in (targets.content, targets.style))
    return Targets(content, style, targets.smoothness)


def _network_input(images: Array) -> Array:
    """M13. images (N, P, Q, 3), 0 to 1 -> F_0."""
    return 255 * images - np.array(MEAN, images.dtype)               # M13


def content_targets(photos: Array, chain: Sequence[Convolution], layers: Sequence[int], alpha: float,
                    pairs: Pairs) -> dict[int, tuple[Array, Array]]:
    """M15. Photographs (N, P, Q, 3), 0 to 1 -> {k: (T_k, the weight of E5 in f)}; ``layers`` in ascending order."""
    found, _ = features(_network_input(photos), chain, layers, pairs)
    return {k: (T, _relative(alpha / len(layers), content_loss(T, np.zeros_like(T))[0]))  # M15
            for k, T in zip(layers, found)}


def style_targets(paintings: Array, chain: Sequence[Convolution], layers: Sequence[int], beta: float,
                  pairs: Pairs) -> dict[int, tuple[Array, Array]]:
    """M16. Paintings (N, P, Q, 3), 0 to 1 -> {k: (A_k, the weight of E6 in f)}; ``layers`` in ascending order."""
    found, _ = features(_network_input(paintings), chain, layers, pairs)
    grams = {k: gram(F)[0] for k, F in zip(layers, found)}
    return {k: (A, _relative(beta / len(layers), style_loss(A, np.zeros_like(A))[0]))  # M16
            for k, A in grams.items()}


def _relative(weight: float, whole: Array) -> Array:
    """weight / whole, and 0 where whole is 0: features that are 0 everywhere are not compared."""
    return np.divide(whole.dtype.type(weight), whole, out=np.zeros_like(whole), where=whole > 0)


class StyleTransfer:
    """The distribution of images to be painted: the photograph, its part and the starting image are random.

    Each function belongs to a square of a photograph, drawn at random and scaled down. The painting is the same for
    all: the largest square in its middle, scaled to the same size. The weights and the layers are our choice, since
    nobody has published those of Andrychowicz et al. 2016.

    Parameters
    ----------
    style : str
        The name of the painting. Optimizers are trained on "great_wave".
    size : int
        Rows and columns of the image. Andrychowicz et al. train with 64 (12,288 parameters) and test with 128 (49,152).
    network : {"vgg16", "squeezenet"}
        Whose features are compared. VGG-16 takes nine times as long, and its pictures are better: those of SqueezeNet
        have a pattern like that of a chessboard.
    content_layers, style_layers : sequence of str or None
        The layers of M15 and of M16, by name. None is `LAYERS`: for VGG-16 conv3_1, and conv1_1, conv2_1, conv3_1 and
        conv4_1.
    alpha, beta, gamma : float
        The weights of content, style and smoothness.
    noise : float
        Between 0 and 1: theta0 is this times uniform noise, plus the rest times the photograph.
    split : {"train", "validation", "test"}
        The photographs; see `l2l_ref.datasets.pictures`. Meta-training uses "train", its validation "validation",
        comparisons "test".
    data_dir : path or None
        The folder with the pictures and the weights of the networks. By default the environment variable
        ``L2L_REF_DATA`` names it.
    backend : {"auto", "numpy", "numba"}
        "auto" is NumPy: images are computed one at a time, for which its matrix products are as fast as the twins.
    threads : int or None
        Threads of the compiled twins; None uses all cores of the process. No result depends on it.

    Raises
    ------
    ValueError
        For arguments out of range, and for files with other content.
    FileNotFoundError
        When a file is missing.
    """

    chance = None  # there is no guess that has learned nothing; the loss at the start takes its place
    learning_rates = LEARNING_RATES

    def __init__(
        self, style: str = STYLE, size: int = 64, network: str = "vgg16", content_layers: Sequence[str] | None = None,
        style_layers: Sequence[str] | None = None, alpha: float = 0.1, beta: float = 1.0, gamma: float = 1.0,
        noise: float = 1.0, split: str = "train", data_dir: Path | None = None, backend: Backend = "auto",
        threads: int | None = None,
    ) -> None:
        choice("network", network, NETWORKS)
        choice("backend", backend, backends.BACKENDS)
        self.style, self.network, self.split, self.data_dir = style, network, split, data_dir
        self.size = whole_number("size", size, 2)
        self.shapes = {"image": (self.size, self.size, 3)}
        self.alpha, self.beta = _weight("alpha", alpha), _weight("beta", beta)
        self.gamma, self.noise = _weight("gamma", gamma), _weight("noise", noise, 1.0)
        self.backend, self.threads = backend, whole_number("threads", threads, optional=True)
        content, painted = LAYERS[network]
        self.content_layers = _names("content_layers", content if content_layers is None else content_layers, network)
        self.style_layers = _names("style_layers", painted if style_layers is None else style_layers, network)
        self.photographs = photographs(split, data_dir)
        self.painting = scaled(middle(painting(style, data_dir)), self.size) / 255
        self.chain = read_network(network, data_dir)[: max(self.numbers(self.content_layers + self.style_layers)) + 1]

    @property
    def config(self) -> dict[str, Any]:
        """The settings, in JSON's types."""
        return {"problem": "art", "style": self.style, "size": self.size, "network": self.network,
                "content_layers": list(self.content_layers), "style_layers": list(self.style_layers),
                "alpha": self.alpha, "beta": self.beta, "gamma": self.gamma, "noise": self.noise}

    @property
    def data(self) -> tuple[Array, ...]:
        """All arrays that were read from files, as far as they are used."""
        return (*self.photographs, self.painting, *(array for layer in self.chain for array in (layer.W, layer.b)))

    def numbers(self, names: Sequence[str]) -> list[int]:
        """The numbers of layers of the network, from 0 and in ascending order."""
        return [k for k, layer in enumerate(NETWORKS[self.network].layers) if layer.name in names]

    def on(self, split: str) -> StyleTransfer:
        """The same distribution on the photographs of another split."""
        return StyleTransfer(self.style, self.size, self.network, self.content_layers, self.style_layers, self.alpha,
                             self.beta, self.gamma, self.noise, split, self.data_dir, self.backend, self.threads)

    def sample(self, functions: int, seed: Seed, dtype: DTypeLike = np.float32) -> StyleTransferTask:
        """Draw a task of ``functions`` images. ``seed`` is an int or a SeedSequence."""
        return StyleTransferTask(self, functions, seed, dtype)


class StyleTransferTask:
    """B images, each with its own photograph and its own starting point. Nothing else is random."""

    def __init__(self, problem: StyleTransfer, functions: int, seed: Seed, dtype: DTypeLike) -> None:
        self.problem, size, photos, starts = problem, problem.size, [], []
        self.shapes = problem.shapes
        for rng in generators(seed, range(functions)):
            picture = problem.photographs[rng.integers(len(problem.photographs))]
            photo = scaled(random_square(picture, rng), size) / 255
            photos.append(photo)
            starts.append(problem.noise * rng.random(photo.shape) + (1 - problem.noise) * photo)
        self.photos = np.array(photos, dtype).reshape(functions, size, size, 3)
        self.theta0 = np.array(starts, dtype).reshape(functions, -1)
        self._chain = tuple(layer._replace(W=layer.W.astype(dtype, copy=False)) for layer in problem.chain)
        self._pairs = pairs_of(problem.backend, 0, problem.threads)
        content, style = problem.numbers(problem.content_layers), problem.numbers(problem.style_layers)
        painted = style_targets(problem.painting.astype(dtype)[None], self._chain, style, problem.beta, self._pairs)
        self._targets = [
            Targets(content_targets(photo[None], self._chain, content, problem.alpha, self._pairs), painted,
                    problem.gamma)
            for photo in self.photos
        ]

    def loss_and_gradient(self, theta: Array) -> tuple[Array, Array]:
        """theta (B, n) -> losses (B,), gradients (B, n)."""
        losses, gradients = np.empty(len(theta), theta.dtype), np.empty_like(theta)
        for b in range(len(theta)):
            losses[b], gradients[b] = self.function(b, theta[b])
        return losses, gradients

    def function(self, b: int, theta: Array) -> tuple[Any, Array]:
        """The loss and the gradient (n,) of function b at theta (n,)."""
        shape = self.problem.size, self.problem.size
        f, cache = style_transfer_loss(theta[None], shape, self._chain, self._targets[b], self._pairs)
        return f[0], style_transfer_loss_backward(np.ones_like(f), cache)[0]


def _weight(name: str, value: Any, most: float = np.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= most or value == np.inf:
        wanted = "a finite number >= 0" if most == np.inf else f"a number in [0, {most:g}]"
        raise ValueError(f"{name}: expected {wanted}, got {value!r}")
    return float(value)


def _names(name: str, values: Any, network: str) -> tuple[str, ...]:
    """The names of layers, in the order of the network."""
    known = [layer.name for layer in NETWORKS[network].layers]
    if isinstance(values, str) or not values or not set(values) <= set(known):
        raise ValueError(f"{name}: expected a sequence of {', '.join(known)}, got {values!r}")
    return tuple(layer for layer in known if layer in values)

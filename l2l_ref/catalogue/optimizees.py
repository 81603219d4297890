"""Optimizees: quadratics and perceptrons, with their second derivatives, and all others."""

from functools import partial

import numpy as np

from ..optimizees import convnet, factorization, mlp, quadratic, rosenbrock, style_transfer
from .operation import Operation, normal, times


def _quadratic(rng, B=3, d=4):
    return normal(rng, B, d), normal(rng, B, d, d), normal(rng, B, d)


def _at_the_minimum(rng):
    theta, W, _ = _quadratic(rng)
    return theta, W, (W @ theta[:, :, None])[:, :, 0]


def _rosenbrock(rng, B=3, d=4):
    return normal(rng, B, d), np.exp(normal(rng, B))


def _factorization(rng, B=2, p=4, q=3, k=2):
    return normal(rng, B, p, k), normal(rng, B, q, k), normal(rng, B, p, q)


def _mlp(rng, N=4, sizes=(6, 5, 4, 3)):
    theta = 0.5 * normal(rng, mlp.parameter_count(sizes))
    return theta, rng.integers(0, 17, (N, sizes[0])), rng.integers(0, sizes[-1], N), sizes


def _blank_images(rng):
    theta, images, labels, sizes = _mlp(rng)
    return theta, np.zeros_like(images), labels, sizes


def _regression(rng, N=4, sizes=(6, 5, 4, 3)):
    """The targets are whole numbers, since they are constants."""
    theta, images, _, _ = _mlp(rng, N, sizes)
    return theta, images, rng.integers(-3, 4, (N, sizes[-1])), sizes


LAYOUT = convnet.Layout(image=(3, 4, 1), channels=(2, 2), kernel=2, hidden=(3,), classes=3)


def _convnet(rng, N=3, **sizes):
    layout = LAYOUT._replace(**sizes)
    theta = 0.5 * normal(rng, convnet.parameter_count(layout))
    return theta, rng.integers(0, 17, (N, np.prod(layout.image))), rng.integers(0, layout.classes, N), layout


def _numbers(*shape):
    """Numbers between -1 and 1 that are always the same and look like random ones."""
    return np.sin(7.1 * np.arange(1, 1 + np.prod(shape))).reshape(shape)


SIDES = 5, 4  # rows and columns of the images
CHAIN = (
    style_transfer.Convolution("one", _numbers(3, 3, 3, 2), _numbers(2), 1, 0),
    style_transfer.Convolution("two", _numbers(1, 1, 2, 3), _numbers(3), 1, 2),
    style_transfer.Convolution("three", _numbers(3, 2, 3, 2), _numbers(2), 2, 3),
)
NUMPY = convnet.pairs_of("numpy", 0, None)
PHOTOS = 0.5 + 0.5 * _numbers(2, *SIDES, 3)


def _images(rng, N=2):
    return (100 * normal(rng, N, *SIDES, 3),)


def _painted(rng, N=2):
    return (rng.random((N, PHOTOS[0].size)),)


def _targets(N=2):
    return style_transfer.Targets(
        style_transfer.content_targets(PHOTOS[:N], CHAIN, (0, 1), 0.7, NUMPY),
        style_transfer.style_targets(PHOTOS[::-1][:N], CHAIN, (1, 2), 1.3, NUMPY), 0.4,
    )


STYLE_TRANSFER = (r"f = \alpha \ c + \beta \ s + \gamma \ \ell \qquad c = \mathrm{mean}_k \ "
                  r"\dfrac{\Vert F_k - T_k \Vert^2}{\Vert T_k \Vert^2} \qquad "
                  r"s = \mathrm{mean}_k \ \dfrac{\Vert G_k - A_k \Vert^2}{\Vert A_k \Vert^2}")
CONVNET = (r"f = \dfrac{1}{N} \sum_n \ \ell_n(z_K W + b) \qquad "
           r"z_k = \max(\text{pool}(\nu_k(\text{conv}(z_{k-1}, W_k) + b_k)), 0)")
QUADRATIC_CASES = {
    "tied": _at_the_minimum,
    "tiny": times(1e-8, _quadratic),
    "huge": times(1e4, _quadratic),
    "one function": partial(_quadratic, B=1),
    "one parameter": partial(_quadratic, d=1),
    "empty": partial(_quadratic, B=0),
}
MLP_CASES = {
    "saturated": times(20, _mlp),
    "tied": times(0, _mlp),
    "blank images": _blank_images,
    "one image": partial(_mlp, N=1),
    "no hidden layer": partial(_mlp, sizes=(6, 3)),
}
REGRESSION_CASES = {
    "tied": times(0, _regression),
    "one row": partial(_regression, N=1),
    "one target": partial(_regression, sizes=(6, 4, 1)),
    "no hidden layer": partial(_regression, sizes=(6, 3)),
}


OPERATIONS = (
    Operation(
        "quadratic", quadratic.quadratic, _quadratic,
        r"f = \Vert W \theta - y \Vert^2", "Andrychowicz et al. 2016, section 3.1",
        cases=QUADRATIC_CASES,
    ),
    Operation(
        "quadratic_gradient", quadratic.quadratic_gradient, _quadratic,
        r"\nabla f = 2 \ W^T (W \theta - y)", "Andrychowicz et al. 2016, section 3.1",
        cases=QUADRATIC_CASES,
    ),
    Operation(
        "rosenbrock", rosenbrock.rosenbrock, _rosenbrock,
        r"f = \sum_i \ a (\theta_{i+1} - \theta_i^2)^2 + (1 - \theta_i)^2", "Rosenbrock 1960",
        cases={
            "one function": partial(_rosenbrock, B=1),
            "one term": partial(_rosenbrock, d=2),
            "at the minimum": lambda rng: (np.ones((2, 4)), np.exp(normal(rng, 2))),
            "empty": partial(_rosenbrock, B=0),
        },
    ),
    Operation(
        "factorization", factorization.factorization, _factorization,
        r"f = \dfrac{1}{p q} \Vert U V^T - M \Vert^2", "definition",
        cases={
            "one function": partial(_factorization, B=1),
            "one column": partial(_factorization, k=1),
            "tiny": times(1e-8, _factorization),
            "empty": partial(_factorization, B=0),
        },
    ),
    Operation(
        "mlp_loss", partial(mlp.mlp_loss, unit=16.0), _mlp,
        r"f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \sigma(z_{k-1} W_k + b_k)",
        "Andrychowicz et al. 2016, section 3.2",
        cases=MLP_CASES,
    ),
    Operation(
        "mlp_loss with relu", partial(mlp.mlp_loss, unit=16.0, activation="relu"), _mlp,
        r"f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \max(z_{k-1} W_k + b_k, 0)",
        "Andrychowicz et al. 2016, section 3.2",
        cases={
            "saturated": times(20, _mlp),
            "tied": times(0, _mlp),
            "one image": partial(_mlp, N=1),
        },
    ),
    Operation(
        "mlp_loss with tanh", partial(mlp.mlp_loss, unit=16.0, activation="tanh"), _mlp,
        r"f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \tanh(z_{k-1} W_k + b_k)",
        "Andrychowicz et al. 2016, section 3.2",
        cases=MLP_CASES,
    ),
    Operation(
        "mlp_loss, squared error", partial(mlp.mlp_loss, unit=16.0, activation="tanh", loss="squared error"),
        _regression,
        r"f = \dfrac{1}{N} \sum_n \ \Vert z_{n,K-1} W_K + b_K - t_n \Vert^2 \qquad z_k = \tanh(z_{k-1} W_k + b_k)",
        "definition",
        cases=REGRESSION_CASES,
    ),
    Operation(
        "mlp_gradient", partial(mlp.mlp_gradient, unit=16.0), _mlp,
        r"\nabla f, \ f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \sigma(z_{k-1} W_k + b_k)",
        "Pearlmutter 1994",
        cases=MLP_CASES,
    ),
    Operation(
        "mlp_gradient with relu", partial(mlp.mlp_gradient, unit=16.0, activation="relu"),
        _mlp,
        r"\nabla f, \ f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \max(z_{k-1} W_k + b_k, 0)",
        "Pearlmutter 1994",
        cases={
            "saturated": times(20, _mlp),
            "one image": partial(_mlp, N=1),
            "one hidden layer": partial(_mlp, sizes=(6, 4, 3)),
        },
    ),
    Operation(
        "mlp_gradient with tanh", partial(mlp.mlp_gradient, unit=16.0, activation="tanh"), _mlp,
        r"\nabla f, \ f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \tanh(z_{k-1} W_k + b_k)",
        "Pearlmutter 1994",
        cases=MLP_CASES,
    ),
    Operation(
        "mlp_gradient, squared error", partial(mlp.mlp_gradient, unit=16.0, activation="tanh", loss="squared error"),
        _regression,
        r"\nabla f, \ f = \dfrac{1}{N} \sum_n \ \Vert z_{n,K-1} W_K + b_K - t_n \Vert^2 \qquad "
        r"z_k = \tanh(z_{k-1} W_k + b_k)",
        "Pearlmutter 1994",
        cases=REGRESSION_CASES,
    ),
    Operation(
        "convnet_loss", partial(convnet.convnet_loss, unit=16.0), _convnet, CONVNET,
        "Andrychowicz et al. 2016, section 3.3",
        cases={
            "one image": partial(_convnet, N=1),
            "one convolution": partial(_convnet, channels=(2,), hidden=()),
            "no convolution": partial(_convnet, image=(2, 2, 1), channels=()),
            "two hidden layers": partial(_convnet, image=(2, 3, 1), channels=(2,), hidden=(3, 2)),
        },
    ),
    Operation(
        "convnet_loss without batch_norm", partial(convnet.convnet_loss, unit=16.0),
        partial(_convnet, batch_norm=False), CONVNET, "Andrychowicz et al. 2016, section 3.3",
        cases={
            "one image": partial(_convnet, N=1, batch_norm=False),
            "no convolution": partial(_convnet, image=(2, 2, 1), channels=(), batch_norm=False),
            "tied": times(0, partial(_convnet, batch_norm=False)),
        },
    ),
    Operation(
        "features", partial(style_transfer.features, chain=CHAIN, wanted=(1, 2), pairs=NUMPY), _images,
        r"F_k = \max(\text{conv}(\text{pool}(F_{k-1}), W_k) + b_k, 0)", "Gatys, Ecker & Bethge 2016, section 2",
        cases={
            "one image": partial(_images, N=1),
            "huge": times(1e4, _images),
            "empty": partial(_images, N=0),
        },
    ),
    Operation(
        "style_transfer_loss",
        partial(style_transfer.style_transfer_loss, shape=SIDES, chain=CHAIN, targets=_targets(), pairs=NUMPY),
        _painted, STYLE_TRANSFER, "Andrychowicz et al. 2016, section 3.4; all else is our choice",
        cases={
            "the photograph": lambda rng: (PHOTOS.reshape(2, -1).copy(),),
            "out of range": times(30, _painted),
            "one of them the photograph": lambda rng: (np.stack([PHOTOS[0].ravel(), _painted(rng)[0][1]]),),
        },
    ),
    Operation(
        "style_transfer_loss, one image",
        partial(style_transfer.style_transfer_loss, shape=SIDES, chain=CHAIN, targets=_targets(1), pairs=NUMPY),
        partial(_painted, N=1), STYLE_TRANSFER, "Andrychowicz et al. 2016, section 3.4; all else is our choice",
        cases={
            "one photograph": lambda rng: (PHOTOS[:1].reshape(1, -1).copy(),),
            "one photograph in the dark": lambda rng: (0.1 * PHOTOS[:1].reshape(1, -1),),
            "out of range": times(30, partial(_painted, N=1)),
        },
    ),
)

"""Layers on images, batch normalisation, and the losses of style transfer."""

from functools import partial

import numpy as np

from ..ops import convolution, image_losses, normalization
from .operation import Operation, normal, one_array, times


def _conv2d(rng, N=2, P=3, Q=4, C=2, A=3, B=2, M=3):
    return normal(rng, N, P, Q, C), normal(rng, A, B, C, M), normal(rng, M)


def _apart(rng, N=2, P=4, Q=3, C=2):
    """Images whose entries are at least 0.05 apart, so that a maximum has a derivative."""
    return (rng.permutation(np.arange(N * P * Q * C) / 10.0).reshape(N, P, Q, C) + 0.05 * rng.random((N, P, Q, C)),)


def _batch_norm(rng, *shape, gain=False):
    x = normal(rng, *(shape or (2, 3, 2, 2)))
    C = x.shape[-1]
    return x, normal(rng, C), normal(rng, C) if gain else None


def _equal_values(rng):
    x, offset, gain = _batch_norm(rng, 4, 2, gain=True)
    x[:, 0] = x[0, 0]
    return x, offset, gain


def _two_images(rng, N=2, P=3, Q=2, C=3):
    return normal(rng, N, P, Q, C), normal(rng, N, P, Q, C)


def _grams(rng, N=2, C=3):
    return normal(rng, N, C, C), normal(rng, N, C, C)


def _same_twice(draw):
    """``draw`` with its second input equal to the first."""

    def drawn(rng):
        first, _ = draw(rng)
        return first, first.copy()

    return drawn


CONVOLUTION = r"y_{nijm} = \sum_{abc} \ X_{n,si+a,sj+b,c} W_{abcm} + b_m"
POOLING = r"y_{nijc} = \max_{ab} \ X_{n,si+a,sj+b,c}"
NORMALIZATION = (r"n_c = \dfrac{x_c - m_c}{\sqrt{v_c + \epsilon}} \qquad m_c = \mathrm{mean}(x_c), \ "
                 r"v_c = \mathrm{mean}((x_c - m_c)^2)")
GATYS = "Gatys, Ecker & Bethge 2016"
IMAGE_CASES = {
    "one image": {"N": 1}, "one channel": {"C": 1}, "one pixel": {"P": 1, "Q": 1}, "one row": {"P": 1},
    "empty": {"N": 0},
}

OPERATIONS = (
    Operation(
        "conv2d", convolution.conv2d, _conv2d, CONVOLUTION, "definition",
        cases={
            "even kernel": partial(_conv2d, A=2, B=4),
            "kernel as large as the image": partial(_conv2d, N=1, P=3, Q=3, A=3, B=3),
            "kernel larger than the image": partial(_conv2d, N=1, P=2, Q=2, A=5, B=5),
            "1 x 1": partial(_conv2d, A=1, B=1),
            "one channel": partial(_conv2d, C=1, M=1),
            "one image": partial(_conv2d, N=1),
            "one pixel": partial(_conv2d, P=1, Q=1),
            "tiny": times(1e-8, _conv2d),
            "huge": times(1e4, _conv2d),
            "empty": partial(_conv2d, N=0),
        },
    ),
    Operation(
        "conv2d, stride 2", partial(convolution.conv2d, stride=2), _conv2d, CONVOLUTION, "definition",
        cases={
            "odd and even sides": partial(_conv2d, N=1, P=5, Q=4, A=3, B=3),
            "even and odd sides": partial(_conv2d, N=1, P=4, Q=5, A=2, B=2),
            "1 x 1": partial(_conv2d, A=1, B=1),
            "one image": partial(_conv2d, N=1),
        },
    ),
    Operation(
        "conv2d, valid", partial(convolution.conv2d, padding="valid"), _conv2d, CONVOLUTION, "definition",
        cases={
            "kernel as large as the image": partial(_conv2d, P=3, Q=2),
            "1 x 1": partial(_conv2d, A=1, B=1),
            "one channel": partial(_conv2d, C=1, M=1),
            "one image": partial(_conv2d, N=1),
        },
    ),
    Operation(
        "conv2d, valid, stride 3", partial(convolution.conv2d, padding="valid", stride=3),
        partial(_conv2d, P=6, Q=7), CONVOLUTION, "definition",
        cases={
            "a rest that no window sees": partial(_conv2d, N=1, P=5, Q=4),
            "kernel as large as the image": partial(_conv2d, P=3, Q=2),
            "stride larger than the kernel": partial(_conv2d, N=1, P=5, Q=5, A=1, B=2),
            "one image": partial(_conv2d, N=1, P=6, Q=7),
        },
    ),
    Operation(
        "max_pool", convolution.max_pool, _apart, POOLING, "definition; of a tie, the first entry",
        cases={
            "odd sides": partial(_apart, P=3, Q=5),
            "tied": lambda rng: (np.array([2.0, 2.0, 1.0, 2.0]).reshape(1, 2, 2, 1),),
            "all tied": lambda rng: (np.zeros((1, 2, 4, 2)),),
            "negative": lambda rng: (-10 - _apart(rng, P=3, Q=3)[0],),
            "one channel": partial(_apart, C=1),
            "one image": partial(_apart, N=1),
            "one pixel": partial(_apart, P=1, Q=1),
            "tiny": times(1e-8, _apart),
            "huge": times(1e4, _apart),
            "empty": partial(_apart, N=0),
        },
    ),
    Operation(
        "max_pool, overlapping", partial(convolution.max_pool, size=3, stride=2), _apart, POOLING,
        "definition; of a tie, the first entry",
        cases={
            "odd sides": partial(_apart, P=5, Q=3),
            "tied": lambda rng: (np.ones((1, 5, 5, 1)),),
            "window larger than the image": partial(_apart, P=2, Q=2),
            "one image": partial(_apart, N=1),
        },
    ),
    Operation(
        "max_pool, valid", partial(convolution.max_pool, size=3, stride=2, padding="valid"), _apart, POOLING,
        "definition; of a tie, the first entry",
        cases={
            "a rest that no window sees": partial(_apart, P=4, Q=4),
            "window as large as the image": partial(_apart, P=3, Q=3),
            "one image": partial(_apart, N=1),
        },
    ),
    Operation(
        "batch_norm", normalization.batch_norm, _batch_norm, NORMALIZATION + r" \qquad y_c = n_c + o_c",
        "Ioffe & Szegedy 2015, without the gain",
        cases={
            "rows": lambda rng: _batch_norm(rng, 5, 3),
            "one image": lambda rng: _batch_norm(rng, 1, 3, 2, 2),
            "one number per channel": lambda rng: _batch_norm(rng, 1, 3),
            "one channel": lambda rng: _batch_norm(rng, 4, 1),
            "equal values": lambda rng: (np.full((4, 2), 3.0), normal(rng, 2), None),
            "tiny": times(1e-8, _batch_norm),
            "huge": times(1e4, _batch_norm),
        },
    ),
    Operation(
        "batch_norm with gain", normalization.batch_norm, partial(_batch_norm, gain=True),
        NORMALIZATION + r" \qquad y_c = g_c n_c + o_c", "Ioffe & Szegedy 2015",
        cases={
            "rows": lambda rng: _batch_norm(rng, 5, 3, gain=True),
            "one number per channel": lambda rng: _batch_norm(rng, 1, 3, gain=True),
            "one channel": lambda rng: _batch_norm(rng, 4, 1, gain=True),
            "equal values": _equal_values,
        },
    ),
    Operation(
        "gram", image_losses.gram, one_array(2, 3, 2, 3),
        r"G_{nab} = \dfrac{1}{P Q} \sum_{ij} \ F_{nija} F_{nijb}", GATYS + ", equation (3), as a mean",
        cases={
            "one image": one_array(1, 3, 2, 3),
            "one channel": one_array(2, 3, 2, 1),
            "one pixel": one_array(2, 1, 1, 3),
            "tiny": times(1e-8, one_array(2, 3, 2, 3)),
            "huge": times(1e4, one_array(2, 3, 2, 3)),
            "empty": one_array(0, 3, 2, 3),
        },
    ),
    Operation(
        "content_loss", image_losses.content_loss, _two_images,
        r"\ell_n = \dfrac{1}{2 P Q C} \sum_{ijc} \ (F_{nijc} - T_{nijc})^2", GATYS + ", equation (1), as a mean",
        cases={
            **{name: partial(_two_images, **sizes) for name, sizes in IMAGE_CASES.items()},
            "tied": _same_twice(_two_images),
            "tiny": times(1e-8, _two_images),
            "huge": times(1e4, _two_images),
        },
    ),
    Operation(
        "style_loss", image_losses.style_loss, _grams,
        r"\ell_n = \dfrac{1}{4 C^2} \sum_{ab} \ (G_{nab} - A_{nab})^2", GATYS + ", equation (4)",
        cases={
            "one image": partial(_grams, N=1),
            "one channel": partial(_grams, C=1),
            "tied": _same_twice(_grams),
            "tiny": times(1e-8, _grams),
            "huge": times(1e4, _grams),
            "empty": partial(_grams, N=0),
        },
    ),
    Operation(
        "total_variation", image_losses.total_variation, one_array(2, 3, 4, 2),
        r"\ell_n = \dfrac{1}{P Q C} \sum_{ijc} \ (F_{n,i+1,j,c} - F_{nijc})^2 + (F_{n,i,j+1,c} - F_{nijc})^2",
        "our choice",
        cases={
            "one image": one_array(1, 3, 4, 2),
            "one row": one_array(2, 1, 4, 1),
            "one column": one_array(2, 4, 1, 1),
            "one pixel": one_array(2, 1, 1, 2),
            "tied": lambda rng: (np.ones((1, 3, 3, 1)),),
            "tiny": times(1e-8, one_array(2, 3, 4, 2)),
            "huge": times(1e4, one_array(2, 3, 4, 2)),
            "empty": one_array(0, 3, 4, 2),
        },
    ),
)

"""Losses of neural style transfer: what an image shows, how it is painted, how rough it is.

Dims:   N images of P x Q pixels, C channels, which are features of a network or the colours of an image itself.
Layout: channels come last, F (N, P, Q, C).

    E4  G_nab = 1 / (P Q) sum_ij F_nija F_nijb                          Gram matrix (N, C, C)
    E5  l_n = 1 / (2 P Q C) sum_ijc (F_nijc - T_nijc)^2                 content, features T of another image
    E6  l_n = 1 / (4 C^2) sum_ab (G_nab - A_nab)^2                      style, the Gram matrix A of another image
    E7  l_n = 1 / (P Q C) sum_ijc (F_n,i+1,jc - F_nijc)^2 + (F_n,i,j+1,c - F_nijc)^2    total variation, in squares

Gatys et al. sum where E4, E5 and E7 take means over pixels. With means, the weights of the three losses need not change
with the size of the image; where all images have one size, only constant factors differ.

Source: Gatys, Ecker & Bethge 2016, equations (1) to (4); E7 is our form of the smoothness of Andrychowicz et al. 2016,
section 3.4, who do not give theirs.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_shape


def _require_images(name: str, features: np.ndarray) -> None:
    require_shape(name, features, N=None, P=None, Q=None, C=None)
    if 0 in features.shape[1:]:
        raise ValueError(f"{name}: expected at least one pixel and one channel, got shape {features.shape}")


class GramCache(NamedTuple):
    F: np.ndarray  # (N, P, Q, C)


def gram(F: np.ndarray) -> tuple[np.ndarray, GramCache]:
    """E4. F (N, P, Q, C) -> G (N, C, C), cache. Raises ValueError on other shapes, and for images without pixels."""
    _require_images("F", F)
    N, P, Q, C = F.shape
    rows = F.reshape(N, P * Q, C)
    return rows.swapaxes(1, 2) @ rows / (P * Q), GramCache(F)        # E4


def gram_backward(d_G: np.ndarray, cache: GramCache) -> np.ndarray:
    """d_G (N, C, C) -> d_F (N, P, Q, C)."""
    _, P, Q, _ = cache.F.shape
    d_both = (d_G + d_G.swapaxes(1, 2)) / (P * Q)                    # E4, both factors
    return cache.F @ d_both[:, None]


class ContentLossCache(NamedTuple):
    residual: np.ndarray  # (N, P, Q, C), F - T


def content_loss(F: np.ndarray, T: np.ndarray) -> tuple[np.ndarray, ContentLossCache]:
    """E5. F, T (N, P, Q, C) -> losses (N,), cache. Raises ValueError on other shapes, and for images without pixels."""
    _require_images("F", F)
    N, P, Q, C = F.shape
    require_shape("T", T, N=N, P=P, Q=Q, C=C)
    residual = F - T
    return (residual * residual).sum(axis=(1, 2, 3)) / (2 * P * Q * C), ContentLossCache(residual)  # E5


def content_loss_backward(d_losses: np.ndarray, cache: ContentLossCache) -> tuple[np.ndarray, np.ndarray]:
    """d_losses (N,) -> d_F, d_T (N, P, Q, C)."""
    _, P, Q, C = cache.residual.shape
    d_F = (d_losses / (P * Q * C))[:, None, None, None] * cache.residual  # E5
    return d_F, -d_F


class StyleLossCache(NamedTuple):
    residual: np.ndarray  # (N, C, C), G - A


def style_loss(G: np.ndarray, A: np.ndarray) -> tuple[np.ndarray, StyleLossCache]:
    """E6. G, A (N, C, C) -> losses (N,), cache. Raises ValueError on other shapes."""
    require_shape("G", G, N=None, C=None, D=None)
    N, C, _ = G.shape
    require_shape("G", G, N=N, C=C, D=C)
    require_shape("A", A, N=N, C=C, D=C)
    residual = G - A
    return (residual * residual).sum(axis=(1, 2)) / (4 * C**2), StyleLossCache(residual)  # E6


def style_loss_backward(d_losses: np.ndarray, cache: StyleLossCache) -> tuple[np.ndarray, np.ndarray]:
    """d_losses (N,) -> d_G, d_A (N, C, C)."""
    _, C, _ = cache.residual.shape
    d_G = (d_losses / (2 * C**2))[:, None, None] * cache.residual    # E6
    return d_G, -d_G


class TotalVariationCache(NamedTuple):
    down: np.ndarray    # (N, P - 1, Q, C), differences of rows
    across: np.ndarray  # (N, P, Q - 1, C), differences of columns


def total_variation(F: np.ndarray) -> tuple[np.ndarray, TotalVariationCache]:
    """E7. F (N, P, Q, C) -> losses (N,), cache. Raises ValueError on other shapes, and for images without pixels."""
    _require_images("F", F)
    _, P, Q, C = F.shape
    down, across = F[:, 1:] - F[:, :-1], F[:, :, 1:] - F[:, :, :-1]
    squares = (down * down).sum(axis=(1, 2, 3)) + (across * across).sum(axis=(1, 2, 3))
    return squares / (P * Q * C), TotalVariationCache(down, across)  # E7


def total_variation_backward(d_losses: np.ndarray, cache: TotalVariationCache) -> np.ndarray:
    """d_losses (N,) -> d_F (N, P, Q, C)."""
    down, across = cache
    N, P, _, C = across.shape
    Q = down.shape[2]
    scale = (2 * d_losses / (P * Q * C))[:, None, None, None]
    d_F = np.zeros((N, P, Q, C), across.dtype)
    for d_difference, higher, lower in (
        (scale * down, d_F[:, 1:], d_F[:, :-1]), (scale * across, d_F[:, :, 1:], d_F[:, :, :-1])
    ):
        higher += d_difference                                       # E7
        lower -= d_difference                                        # E7
    return d_F

"""Random instances of one function: translated, scaled, flipped and permuted, as in Chen et al. 2017.

    F1  u' = 1/2 + s F P (u - 1/2) + t        u in the unit cube; P permutes the dimensions, F flips

The source (section 5.2.2 of the review) gives the ranges t in [-0.1, 0.1] and s in [0.9, 1.1]. The rest is our choice:
the box is scaled to the unit cube, all dimensions have one s, the operations have the order of F1, and the function is
evaluated at u' even if u' lies outside the box.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array, Rng
    from .benchmarks import BlackBox

TRANSLATION, SCALE = (-0.1, 0.1), (0.9, 1.1)


@dataclass(frozen=True, eq=False)
class Transform:
    """F1: a transformation of the unit cube."""

    permutation: np.ndarray  # (d,) integer: dimension i of u' is dimension permutation[i] of u
    flip: np.ndarray         # (d,), 1 or -1, of the dimensions of u'
    scale: float
    translation: np.ndarray  # (d,)

    def __call__(self, u: Array) -> Array:
        """F1. u (..., d) -> u' (..., d)."""
        centred = (u - 0.5)[..., self.permutation]
        return 0.5 + self.scale * self.flip * centred + self.translation  # F1

    def inverse(self, u_new: Array) -> Array:
        """u' (..., d) -> u (..., d)."""
        centred = np.empty_like(u_new)
        centred[..., self.permutation] = (u_new - 0.5 - self.translation) * self.flip / self.scale
        return 0.5 + centred


def draw_transform(d: int, seed: Rng) -> Transform:
    """Draw a Transform in d dimensions. ``seed`` is an int, a SeedSequence or a Generator."""
    rng = np.random.default_rng(seed)
    return Transform(rng.permutation(d), rng.choice([-1.0, 1.0], d), rng.uniform(*SCALE), rng.uniform(*TRANSLATION, d))


def transformed(box: BlackBox, transform: Transform) -> BlackBox:
    """The BlackBox whose inputs go through a Transform before they reach ``box``. It has the same bounds.

    Its minimum is that of ``box`` if one of the minimizers still lies within the bounds, and None otherwise. Raises
    ValueError for a Transform of another dimension.
    """
    if len(transform.flip) != box.dim:
        raise ValueError(f"transform: expected {box.dim} dimensions, as {box.name} has, got {len(transform.flip)}")

    def formula(x: Array) -> Array:
        return box.formula(box.from_unit(transform(box.to_unit(x))))

    minimizers = box.minimizers
    if minimizers is not None:
        u = transform.inverse(box.to_unit(minimizers))
        minimizers = box.from_unit(u[((u >= 0) & (u <= 1)).all(axis=1)])
    known = minimizers is not None and len(minimizers) > 0
    return replace(box, name=f"{box.name}, transformed", formula=formula, minimizers=minimizers,
                   minimum=box.minimum if known else None)

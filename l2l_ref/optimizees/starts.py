"""Where the training of a network begins: the distribution of theta0.

    Q5  weights and biases are normal with one standard deviation          normal, Andrychowicz et al. 2016
    Q6  weights are normal with the variance 2 / (fan_in + fan_out)        glorot, Glorot and Bengio 2010
    Q7  weights are normal with the variance 2 / fan_in                    he, He et al. 2015

An array of weights has the shape (..., inputs, outputs). Its fan_in is the number of inputs of one output, which for a
convolution counts the pixels of a kernel, and its fan_out the number of outputs that one input reaches. With Q6 and Q7
biases are 0. The offsets of a normalisation are always 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    from ..protocols import Array

STARTS = ("normal", "glorot", "he")


def standard_deviations(shapes: Mapping[str, tuple[int, ...]], start: str, theta0_scale: float) -> Array:
    """The standard deviation of each parameter of theta0, (n,) float64.

    ``shapes`` are those of the arrays that theta holds one after the other, of which those whose names end in ``.W``
    are weights and those that end in ``.offset`` are offsets. ``start`` is one of `STARTS`.
    """
    deviations = []
    for name, shape in shapes.items():
        if name.endswith(".offset"):
            deviation = 0.0
        elif start == "normal":
            deviation = theta0_scale                                 # Q5
        elif name.endswith(".W"):
            fan_in, fan_out = math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]
            deviation = math.sqrt(2 / (fan_in + fan_out if start == "glorot" else fan_in))  # Q6, Q7
        else:
            deviation = 0.0
        deviations.append(np.full(math.prod(shape), deviation))
    return np.concatenate(deviations)


def starting_points(
    rngs: Sequence[np.random.Generator], shapes: Mapping[str, tuple[int, ...]], start: str, theta0_scale: float,
    dtype: DTypeLike,
) -> Array:
    """theta0 (B, n), each row drawn by a generator of its own."""
    deviations = standard_deviations(shapes, start, theta0_scale)
    drawn = np.stack([rng.standard_normal(len(deviations)) for rng in rngs])
    theta0: Array = (deviations * drawn + 0.0).astype(dtype)  # without the sum, some zeros would be -0
    return theta0


def checked_scale(theta0_scale: float) -> float:
    """The standard deviation of theta0 as a float. Raises ValueError unless it is finite and >= 0."""
    if not 0 <= theta0_scale < np.inf:
        raise ValueError(f"theta0_scale: expected a finite number >= 0, got {theta0_scale!r}")
    return float(theta0_scale)

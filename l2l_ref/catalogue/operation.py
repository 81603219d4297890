"""One entry of the catalogue, and what the examples of all chapters are drawn with."""

import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np


class Operation(NamedTuple):
    r"""One pair.

    ``example(rng)`` draws a tuple of float64 inputs away from points where there is no derivative;
    whole numbers among them are constants. ``cases`` names further examples, at the edges. ``equation`` is
    LaTeX in the subset that matplotlib draws too, its parts separated by ``\qquad``. ``analytic``
    says that the forward takes complex128 for its floating inputs, so that the complex step works.
    """

    name: str
    forward: Callable
    example: Callable
    equation: str
    source: str
    analytic: bool = True
    cases: dict[str, Callable] = {}

    @property
    def backward(self):
        """The function ``<forward>_backward`` of the module of the forward."""
        pair = self.pair
        return getattr(sys.modules[pair.__module__], f"{pair.__name__}_backward")

    @property
    def pair(self):
        """The forward itself, without the settings that a ``partial`` gives it."""
        return self.forward.func if isinstance(self.forward, partial) else self.forward

    @property
    def module(self):
        return self.backward.__module__


def times(size, draw):
    """``draw`` with every number that has a derivative ``size`` times as large."""

    def scaled(tree):
        if isinstance(tree, tuple):
            children = [scaled(child) for child in tree]
            return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)
        return size * tree if isinstance(tree, np.ndarray) and tree.dtype.kind == "f" else tree

    return lambda rng: scaled(draw(rng))


def normal(rng, *shape):
    return rng.standard_normal(shape)


def one_array(*shape):
    """An example of one array, normal."""
    return lambda rng: (normal(rng, *shape),)


def off_zero(rng, *shape):
    """Numbers of both signs, none of them near 0."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2.0, shape)


def nonzero_array(rng, *shape):
    return (off_zero(rng, *(shape or (3, 4))),)


def gradient_set(draw, gradient):
    """``draw`` with its first input, the gradients, set to these numbers."""

    def drawn(rng):
        first, *others = draw(rng)
        return np.full_like(first, gradient), *others

    return drawn


MEMORY_SIZES = {"one memory": {"B": 1}, "one slot": {"N": 1}, "one read head": {"R": 1}, "empty": {"B": 0}}


def size_cases(draw):
    """Cases of an operation on a memory."""
    return {name: partial(draw, **sizes) for name, sizes in MEMORY_SIZES.items()}

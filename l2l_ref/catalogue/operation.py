"""One entry of the catalogue, and helpers that draw the examples of all chapters."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

Inputs = tuple[Any, ...]  # of a forward function
Draw = Callable[[np.random.Generator], Inputs]


class Operation(NamedTuple):
    r"""A forward function and its backward function.

    ``example(rng)`` draws a tuple of float64 inputs away from points without a derivative. Integers among them are
    constants. ``cases`` are further examples at the edges, by name. ``equation`` is LaTeX in the subset that matplotlib
    can draw, with its parts separated by ``\qquad``. ``analytic`` says whether the forward function accepts complex128
    for its floating inputs, so that the complex step works.
    """

    name: str
    forward: Callable[..., Any]
    example: Draw
    equation: str
    source: str
    analytic: bool = True
    cases: dict[str, Draw] = {}

    @property
    def backward(self) -> Callable[..., Any]:
        """The function ``<forward>_backward`` in the module of the forward function."""
        pair = self.pair
        backward: Callable[..., Any] = getattr(sys.modules[pair.__module__], f"{pair.__name__}_backward")
        return backward

    @property
    def pair(self) -> Callable[..., Any]:
        """The forward function without the arguments that a ``partial`` fixes."""
        return self.forward.func if isinstance(self.forward, partial) else self.forward

    @property
    def module(self) -> str:
        """The name of the module in which the pair is defined."""
        return self.backward.__module__


def times(size: float, draw: Draw) -> Draw:
    """``draw`` with every floating number multiplied by ``size``."""

    def scaled(tree: Any) -> Any:
        if isinstance(tree, tuple):
            children = [scaled(child) for child in tree]
            return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)
        return size * tree if isinstance(tree, np.ndarray) and tree.dtype.kind == "f" else tree

    return lambda rng: scaled(draw(rng))


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Standard normal numbers."""
    return rng.standard_normal(shape)


def one_array(*shape: int) -> Draw:
    """A Draw of one array of standard normal numbers."""
    return lambda rng: (normal(rng, *shape),)


def off_zero(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of both signs, none of them near 0."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2.0, shape))


def nonzero_array(rng: np.random.Generator, *shape: int) -> Inputs:
    """One array of numbers of both signs, none of them near 0."""
    return (off_zero(rng, *(shape or (3, 4))),)


def gradient_set(draw: Draw, gradient: Any) -> Draw:
    """``draw`` with its first input, the gradients, set to these numbers."""

    def drawn(rng: np.random.Generator) -> Inputs:
        first, *others = draw(rng)
        return np.full_like(first, gradient), *others

    return drawn


MEMORY_SIZES = {"one memory": {"B": 1}, "one slot": {"N": 1}, "one read head": {"R": 1}, "empty": {"B": 0}}


def size_cases(draw: Callable[..., Inputs]) -> dict[str, Draw]:
    """Cases of an operation on a memory, one for each of the MEMORY_SIZES."""
    return {name: partial(draw, **sizes) for name, sizes in MEMORY_SIZES.items()}

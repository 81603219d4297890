"""The backward function of a backward function."""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np

from . import trees
from .gradcheck import Options, as_arguments, generator, gradcheck
from .pair import Pair, cotangent_tree, signature
from .report import Report

STREAM = (8,)  # the key of the random d_out, which must not be the cotangent of the check itself


def gradgradcheck(
    f: Callable[..., Any],
    f_backward: Callable[..., Any],
    f_backward_backward: Callable[..., Any],
    inputs: Any,
    **options: Unpack[Options],
) -> Report:
    """Compare a hand-written second derivative with differences of the first one.

    The first derivative is a function, too: it takes d_out and the inputs and returns gradients. `gradcheck` checks it
    against the second one, with a random d_out. It does not check ``f_backward`` itself.

    Parameters
    ----------
    f, f_backward : callable
        As for `gradcheck`, with or without a cache.
    f_backward_backward : callable
        ``f_backward_backward(d_gradients, d_out, *inputs)``, where ``d_gradients`` has the structure of what
        ``f_backward`` returns. It returns a tuple: the gradient with respect to d_out, and that for each input.
    inputs : tuple
        The arguments of f.
    **options
        Those of `gradcheck`. ``cache`` says whether f returns (out, cache), and ``wrt`` may name "d_out".

    Returns
    -------
    Report
        The report on ``f_backward`` as a function of d_out and the inputs.

    Raises
    ------
    TypeError, ValueError
        As `gradcheck`. For kind="gradient" use ``gradcheck(gradient, hvp, inputs, kind="hvp")``.
    """
    if options.get("kind") not in (None, "backward"):
        raise ValueError(f"kind: expected 'backward', got {options['kind']!r}; for a gradient and the product of the "
                         f"Hessian with a vector use gradcheck(gradient, hvp, inputs, kind='hvp')")
    inputs = as_arguments(inputs)
    cache = options.pop("cache", None)
    pair = Pair(f, f_backward, inputs, cache)
    rng = generator(options.get("seed", 0), STREAM)
    d_out = cotangent_tree(pair.base_out, [
        rng.standard_normal(np.shape(leaf)) if trees.is_floating(leaf) else None for _, leaf in pair.output_leaves
    ])

    def first(d_out: Any, *inputs: Any) -> Any:
        _, vjp = Pair(f, f_backward, inputs, cache).forward(inputs)
        return vjp(d_out)

    names = ["d_out", *pair.names]
    if all(name.isidentifier() for name in names):  # which the report shows
        first.__signature__ = signature(names)  # type: ignore[attr-defined]
    return gradcheck(first, f_backward_backward, (d_out, *inputs), **{**options, "kind": "backward", "cache": False})

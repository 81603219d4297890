"""Arrays and dicts of arrays, treated alike; and weights, which are nested tuples of arrays.

A *tree* here is an array or a dict whose values are arrays. Optimizers of both kinds,
learned and hand-designed, take a tree of gradients and give back a tree of updates, as
optax does. Dicts are walked in the order of their sorted keys, so two dicts that hold the
same entries in another order are the same tree.
"""

import numpy as np


def tree_map(function, *trees):
    """Apply ``function`` to corresponding arrays of trees of one structure.

    Raises ValueError when the trees differ in structure.
    """
    first = trees[0]
    if not isinstance(first, dict):
        return function(*trees)
    for other in trees[1:]:
        if not isinstance(other, dict) or other.keys() != first.keys():
            keys = sorted(other) if isinstance(other, dict) else type(other).__name__
            raise ValueError(f"trees differ: expected the keys {sorted(first)}, got {keys}")
    return {key: function(*(tree[key] for tree in trees)) for key in sorted(first)}


def leaves(tree):
    """The arrays of a tree, in the order of the sorted keys."""
    if isinstance(tree, dict):
        return [np.asarray(tree[key]) for key in sorted(tree)]
    return [np.asarray(tree)]


def arrays_of(params):
    """The arrays of weights, nested tuples of any depth, in their order."""
    return [a for part in params for a in arrays_of(part)] if isinstance(params, tuple) else [params]


def names_of(params, prefix=""):
    """Of each of these arrays, the way to it: fields of NamedTuples and numbers in plain tuples, ``layers.0.W_x``."""
    if not isinstance(params, tuple):
        return [prefix]
    steps = getattr(params, "_fields", range(len(params)))
    return [name for step, part in zip(steps, params)
            for name in names_of(part, f"{prefix}.{step}" if prefix else str(step))]


def flatten(params):
    """Weights -> one vector, their arrays one after the other."""
    return np.concatenate([a.ravel() for a in arrays_of(params)])


def build(like, arrays):
    """Nested tuples as ``like``, of the arrays that an iterator gives."""
    if not isinstance(like, tuple):
        return next(arrays)
    parts = [build(part, arrays) for part in like]
    return type(like)(*parts) if hasattr(like, "_fields") else tuple(parts)


def add(params, others):
    """The sum of two sets of weights of one structure."""
    return build(params, map(np.add, arrays_of(params), arrays_of(others)))


def unflatten(vector, like):
    """One vector -> weights with the shapes of ``like``; views."""
    arrays = arrays_of(like)
    cuts = np.cumsum([a.size for a in arrays])[:-1]
    return build(like, (part.reshape(a.shape) for part, a in zip(np.split(vector, cuts), arrays)))

"""Arrays and dicts of arrays, treated alike.

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

"""Nested inputs, outputs and gradients, traversed in a fixed order and named by their path.

A tree is a tuple, list, NamedTuple or dict of trees; everything else is a leaf. A leaf is
*floating* (an array, NumPy scalar or Python float of real floating dtype) or a constant.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np


def children(tree: Any) -> list[tuple[str, Any]] | None:
    """The (name, child) pairs of a tree, or None for a leaf. The path of a child is that of the tree and its name."""
    if isinstance(tree, dict):
        return [(f"[{key!r}]", child) for key, child in tree.items()]
    if hasattr(tree, "_fields"):
        return [(f".{field}", child) for field, child in zip(tree._fields, tree)]
    if isinstance(tree, (tuple, list)):
        return [(f"[{i}]", child) for i, child in enumerate(tree)]
    return None


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """All leaves, as a list of (path, leaf)."""
    inner = children(tree)
    if inner is None:
        return [(path, tree)]
    return [leaf for name, child in inner for leaf in leaves(child, path + name)]


def rebuild(tree: Any, values: Iterator[Any]) -> Any:
    """A tree with the structure of ``tree`` whose leaves are the next items of ``values``, in the order of `leaves`."""
    if isinstance(tree, dict):
        return {key: rebuild(child, values) for key, child in tree.items()}
    if hasattr(tree, "_fields"):
        return type(tree)(*(rebuild(child, values) for child in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(rebuild(child, values) for child in tree)
    return next(values)


def name(path: str, index: tuple[Any, ...]) -> str:
    """An entry as you would write it in Python: ``params['W'][3, 17]``."""
    return path + (f"[{', '.join(str(int(i)) for i in index)}]" if len(index) else "")


def is_floating(leaf: Any) -> bool:
    """Whether a leaf has a derivative: integers, booleans, None and other objects are constants."""
    numeric = isinstance(leaf, (np.ndarray, np.floating, float))
    return numeric and np.issubdtype(np.asarray(leaf).dtype, np.floating)


def is_complex(leaf: Any) -> bool:
    """Whether a leaf is a complex array or number."""
    return isinstance(leaf, (np.ndarray, np.complexfloating, complex)) and np.iscomplexobj(leaf)


def like(value: Any, leaf: Any) -> Any:
    """``value`` as an array if ``leaf`` is an array, else as a scalar."""
    value = np.asarray(value)
    return value if isinstance(leaf, np.ndarray) else value[()]


def match(tree: Any, reference: Any, path: str) -> tuple[list[Any], list[str]]:
    """Match a tree of gradients with the tree that it belongs to.

    Returns
    -------
    matched : list
        One item for each leaf of ``reference``, in the order of `leaves`; None where ``tree`` has none.
    problems : list of str
        One sentence for each place where the structures differ.
    """
    inner = children(reference)
    if inner is None:
        if children(tree) is not None:
            return [None], [f"{path} is a {type(tree).__name__}, expected one array"]
        return [tree], []
    if tree is None:
        return [None] * len(leaves(reference)), []
    others = children(tree)
    kinds_differ = hasattr(reference, "_fields") and type(tree) is not type(reference)
    if others is None or kinds_differ or isinstance(tree, dict) != isinstance(reference, dict):
        return [None] * len(leaves(reference)), [
            f"{path} is a {type(tree).__name__}, expected a {type(reference).__name__} as its input is"
        ]
    if isinstance(tree, dict):
        needed = {key for key, child in reference.items() if any(is_floating(leaf) for _, leaf in leaves(child))}
        same = needed <= tree.keys() <= reference.keys()  # the gradients of constants may be left out
        others = [(name, tree.get(key)) for (name, _), key in zip(inner, reference)] if same else []
    if len(others) != len(inner):
        names = ", ".join(name for name, _ in inner)
        return [None] * len(leaves(reference)), [f"{path} does not have the items of its input, which are {names}"]
    matched, problems = [], []
    for (name, child), (_, other) in zip(inner, others):
        below, wrong = match(other, child, path + name)
        matched += below
        problems += wrong
    return matched, problems

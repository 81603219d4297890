"""Trees of arrays: what optimizers take and give back, and the weights of models.

A *tree* is an array, or a list, tuple, NamedTuple or dict of trees, nested as you like; None is a tree without arrays.
Anything else is a leaf. Dicts are walked in the order of their sorted keys, so two dicts that hold the same entries in
another order are the same tree. Each array has a *path* that names it: ``layers.0.W_x`` is the field ``W_x`` of the
first item of ``layers``. Two trees have the same arrays when their paths are the same, so a list may stand for a tuple.

Weights are such trees, too: nested NamedTuples and tuples of arrays. Their paths are the names of the arrays in a file.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from .protocols import Array, Tree

    Layout: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]  # (path, shape) of each array

def leaves(tree: Any) -> list[Any]:
    """The leaves of a tree, in its order."""
    parts = _parts(tree)
    return [tree] if parts is None else [leaf for part in parts for leaf in leaves(part)]


def paths(tree: Any, root: str = "") -> list[str]:
    """The path of each leaf, in the order of `leaves`; it begins with ``root``."""
    parts = _parts(tree)
    if parts is None:
        return [root]
    steps = _sorted_keys(tree) if isinstance(tree, dict) else getattr(tree, "_fields", range(len(parts)))
    return [path for step, part in zip(steps, parts) for path in paths(part, f"{root}.{step}" if root else str(step))]


def build(like: Tree, values: Iterable[Any]) -> Tree:
    """A tree of the structure of ``like`` with the leaves ``values``, in the order of `leaves`."""
    tree: Tree = _build(like, iter(values))
    return tree


def tree_map(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """A tree of the same structure, ``function`` of each leaf."""
    return build(tree, map(function, leaves(tree)))


def add(tree: Tree, other: Any) -> Tree:
    """The sum of two trees: ``theta = add(theta, update)`` is ``theta + update`` for trees.

    Raises ValueError when they do not have the same number of arrays.
    """
    return build(tree, [a + b for a, b in zip(leaves(tree), leaves(other), strict=True)])


def flatten(tree: Any) -> Array:
    """One vector of all arrays of a tree, one after the other."""
    return np.concatenate([np.ravel(leaf) for leaf in leaves(tree)])


def unflatten(vector: Array, like: Tree) -> Tree:
    """The tree of the structure and the shapes of ``like`` whose `flatten` is ``vector``. Its arrays are views."""
    if isinstance(like, np.ndarray):  # as most are
        return cast("Tree", vector.reshape(like.shape))
    values, end = [], 0
    for leaf in leaves(like):
        start, end = end, end + math.prod(np.shape(leaf))  # a tensor's size need not be a number
        values.append(vector[start:end].reshape(np.shape(leaf)))
    return build(like, values)


def layout(tree: Any) -> Layout:
    """The path and the shape of each array, in the order of `leaves`."""
    if isinstance(tree, np.ndarray):  # as most are
        return (("", tree.shape),)
    return tuple((path, np.shape(leaf)) for path, leaf in zip(paths(tree), leaves(tree)))


def require_layout(name: str, tree: Any, wanted: Layout, owner: str) -> None:
    """Raise ValueError unless a tree has the `layout` ``wanted``, which is that of ``owner``; say where it differs."""
    came = layout(tree)
    if came == wanted:
        return
    there, needed = [path for path, _ in came], [path for path, _ in wanted]
    if there == needed:
        path, shape, other = next((path, a, b) for (path, a), (_, b) in zip(wanted, came) if a != b)
        raise ValueError(f"{at(name, path)}: expected shape {shape}, as in {owner}, got {other}")
    if needed == [""]:
        raise ValueError(f"{name}: expected one array, as {owner} is, got {_listed(there)}")
    if there == [""]:
        raise ValueError(f"{name}: expected the arrays of {owner}, which are {_listed(needed)}, got one array")
    missing, extra = [path for path in needed if path not in there], [path for path in there if path not in needed]
    differences = [f"{word} {_listed(some)}" for word, some in (("without", missing), ("with", extra)) if some]
    raise ValueError(f"{name}: expected the arrays of {owner}, got them "
                     f"{' and '.join(differences) or 'in another order'}")


def at(name: str, path: str) -> str:
    """How messages name an array: ``gradient.dense.W``, or ``gradient`` where it is the whole tree."""
    return f"{name}.{path}" if path else name


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "no array"


def _parts(tree: Any) -> list[Any] | tuple[Any, ...] | None:
    """The trees that a tree is made of; None for a leaf."""
    if isinstance(tree, (tuple, list)):
        return tree
    if isinstance(tree, dict):
        return [tree[key] for key in _sorted_keys(tree)]
    return () if tree is None else None


def _sorted_keys(tree: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(tree)
    except TypeError:  # keys of different types
        return sorted(tree, key=lambda key: (type(key).__name__, repr(key)))


def _build(like: Any, values: Iterator[Any]) -> Any:
    if isinstance(like, (tuple, list)):
        parts = [_build(part, values) for part in like]
        return type(like)(*parts) if hasattr(like, "_fields") else type(like)(parts)
    if isinstance(like, dict):
        tree = copy.copy(like)  # of the same type, its keys in the same order
        for key in _sorted_keys(like):
            tree[key] = _build(like[key], values)
        return tree
    return None if like is None else next(values)

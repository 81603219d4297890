"""Nested inputs, outputs and gradients, traversed in a fixed order and named by their path.

A tree is a tuple, list, NamedTuple, dict or object that holds arrays; everything else is a leaf. A leaf is *floating*
(an array, NumPy scalar or Python float of real floating dtype) or a constant. Arrays of other libraries are read as
NumPy arrays, and rebuilt in their own type.

A complex array z is a tree with the leaves z.real and z.imag. So its gradient is dS / d Re z + i dS / d Im z, and a
complex output contributes Re(conj(d_out) out) to S.
"""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from .foreign import ATOMS, aligned, as_given, as_gradient, as_numpy, attributes, fields_of


def children(tree: Any) -> list[tuple[str, Any]] | None:
    """The (name, child) pairs of a tree, or None for a leaf. The path of a child is that of the tree and its name."""
    kind = type(tree)
    if kind is np.ndarray and tree.dtype.kind != "c" or kind in ATOMS:
        return None
    if isinstance(tree, dict):
        return [(f"[{key!r}]", child) for key, child in tree.items()]
    if _is_namedtuple(tree):
        return [(f".{field}", child) for field, child in zip(tree._fields, tree)]
    if isinstance(tree, (tuple, list)):
        return [(f"[{i}]", child) for i, child in enumerate(tree)]
    if is_complex(tree):
        array = as_numpy(tree)
        return [(".real", array.real), (".imag", array.imag)]
    values = attributes(tree)
    return None if values is None else [(f".{name}", child) for name, child in values.items()]


def leaves(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """All leaves, as a list of (path, leaf)."""
    inner = children(tree)
    if inner is None:
        return [(path, as_numpy(tree))]
    return [leaf for name, child in inner for leaf in leaves(child, path + name)]


def as_they_are(tree: Any, path: str = "") -> list[tuple[str, Any]]:
    """All leaves as (path, leaf), with the arrays in their own type, and complex ones in one piece."""
    inner = None if is_complex(tree) else children(tree)
    if inner is None:
        return [(path, tree)]
    return [leaf for name, child in inner for leaf in as_they_are(child, path + name)]


def rebuild(tree: Any, values: Iterator[Any]) -> Any:
    """A tree with the structure of ``tree`` whose leaves are the next items of ``values``, in the order of `leaves`.

    No ``__init__`` is called: objects are copied, and their attributes are set.
    """
    kind = type(tree)
    if kind is np.ndarray and tree.dtype.kind != "c" or kind in ATOMS:
        return next(values)
    if kind is dict:
        return {key: rebuild(child, values) for key, child in tree.items()}
    if isinstance(tree, dict):
        same = copy.copy(tree)
        same.update({key: rebuild(child, values) for key, child in tree.items()})
        return same
    if _is_namedtuple(tree):
        return kind(*(rebuild(child, values) for child in tree))
    if isinstance(tree, (tuple, list)):
        return kind(rebuild(child, values) for child in tree)
    if is_complex(tree):
        return as_given(_complex(next(values), next(values), as_numpy(tree)), tree)
    given = attributes(tree)
    if given is None:
        return as_given(next(values), tree)
    same = copy.copy(tree)
    for name, child in given.items():
        object.__setattr__(same, name, rebuild(child, values))  # which frozen dataclasses allow
    return same


def _is_namedtuple(tree: Any) -> bool:
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def _complex(real: Any, imag: Any, z: Any) -> Any:
    """The complex array with these parts, in the memory order of ``z``; None if they are None."""
    if real is None or imag is None:
        return None
    if np.iscomplexobj(real) or np.iscomplexobj(imag):
        raise TypeError("a complex step needs real inputs")
    array = np.empty_like(z, np.result_type(np.asarray(real).dtype, np.complex64))
    array.real, array.imag = real, imag
    return like(array, z)


def name(path: str, index: tuple[Any, ...]) -> str:
    """An entry as you would write it in Python: ``params['W'][3, 17]``."""
    return path + (f"[{', '.join(str(int(i)) for i in index)}]" if len(index) else "")


def is_floating(leaf: Any) -> bool:
    """Whether a leaf has a derivative: integers, booleans, None and other objects are constants."""
    if type(leaf) is np.ndarray:
        return bool(leaf.dtype.kind == "f")
    leaf = as_numpy(leaf)
    return isinstance(leaf, (np.ndarray, np.floating, float)) and np.asarray(leaf).dtype.kind == "f"


def is_complex(leaf: Any) -> bool:
    """Whether this is a complex array or number."""
    if type(leaf) is np.ndarray:
        return bool(leaf.dtype.kind == "c")
    leaf = as_numpy(leaf)
    return isinstance(leaf, (np.ndarray, np.complexfloating, complex)) and np.asarray(leaf).dtype.kind == "c"


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
    missing = [None] * len(leaves(reference))
    if tree is None and inner is not None:
        return missing, []
    if is_floating(reference) or is_complex(reference):
        tree = as_gradient(aligned(tree, reference), np.asarray(as_numpy(reference)))
        if is_complex(tree) != is_complex(reference) and isinstance(tree, (np.ndarray, np.generic)):
            return missing, [f"{path} has dtype {tree.dtype}, expected {np.asarray(as_numpy(reference)).dtype}"]
    if inner is None:
        if children(tree) is not None:
            return [None], [f"{path} is a {type(tree).__name__}, expected one array"]
        return [tree], []
    array = as_numpy(tree)
    if type(reference) in (tuple, list) and isinstance(array, np.ndarray) and array.shape[:1] == (len(reference),):
        tree = list(array)  # an array for a list of numbers
    others = children(tree)
    kinds_differ = _is_namedtuple(reference) and type(tree) is not type(reference)
    wanted, given = _by_name(reference), _by_name(tree)
    if wanted is not None and given is not None and (isinstance(tree, dict) or not isinstance(reference, dict)):
        # The gradients of constants may be left out. The gradient of an object may be a dict, or another object.
        needed = {key for key, child in wanted.items() if any(is_floating(leaf) for _, leaf in leaves(child))}
        same = needed <= given.keys() and (given.keys() <= wanted.keys() or not isinstance(tree, dict))
        others = [(name, given.get(key)) for (name, _), key in zip(inner, wanted)] if same else []
    elif others is None or kinds_differ or wanted is not None or given is not None:
        return missing, [f"{path} is a {type(tree).__name__}, expected a {type(reference).__name__} as its input is"]
    if len(others) != len(inner):
        names = ", ".join(name for name, _ in inner)
        return missing, [f"{path} does not have the items of its input, which are {names}"]
    matched, problems = [], []
    for (name, child), (_, other) in zip(inner, others):
        below, wrong = match(other, child, path + name)
        matched += below
        problems += wrong
    return matched, problems


def _by_name(tree: Any) -> Any:
    """The items of a dict, or the attributes of an object; None for other trees and leaves."""
    return tree if isinstance(tree, dict) else fields_of(tree)

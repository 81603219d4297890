"""Arrays of other libraries, objects that hold arrays, and Jacobians that are not arrays.

No other library is imported here. Arrays are recognised by ``__array__``, objects by their attributes, sparse matrices
by ``toarray`` and linear operators by ``matvec``. The checks themselves only ever see NumPy arrays: `as_numpy` reads
an array, and `as_given` puts new numbers into an array of the same type.
"""

from __future__ import annotations  # so that no annotation loads numpy.random

import dataclasses
import math
import sys
from collections.abc import Mapping
from types import ModuleType, NoneType
from typing import Any

import numpy as np

ATOMS = frozenset({float, int, bool, str, NoneType, np.float64, np.float32})  # leaves that need no closer look
PYTHON = (int, float)
NUMERIC = "biufc"  # the kinds of dtype that count as numbers
TO_DENSE = ("toarray", "todense")  # the methods of sparse matrices
DENSE = 10**8  # no more entries than this are made of a Jacobian that is no array
ADJOINT_EPS = 1e4  # the rounding error of a product with a Jacobian, in eps of its terms; how it is computed is unknown

Shape = tuple[int, ...]


# --- arrays


def as_numpy(leaf: Any) -> Any:
    """A leaf as a NumPy array if it is an array of numbers of any library, otherwise the leaf itself.

    Masked entries become nan. A table with columns of several dtypes is no array.
    """
    kind = type(leaf)
    if kind is np.ndarray or kind in ATOMS:
        return leaf
    if isinstance(leaf, np.ndarray):
        return leaf.filled(np.nan) if masked(leaf) and leaf.dtype.kind in "fc" else np.asarray(leaf)  # type: ignore
    if isinstance(leaf, np.generic) or not hasattr(kind, "__array__"):
        return leaf
    try:
        array = np.asarray(_detached(leaf))
    except Exception:  # for example a dtype that NumPy does not have
        return leaf
    return array if array.dtype.kind in NUMERIC and len(_dtypes(leaf)) < 2 else leaf


def _dtypes(leaf: Any) -> list[str]:
    """The names of the dtypes of a leaf: several for a table, none for what is no array."""
    if hasattr(leaf, "columns") and hasattr(leaf, "dtypes"):
        return sorted({str(dtype) for dtype in leaf.dtypes})
    return [str(leaf.dtype)] if hasattr(leaf, "dtype") else []


def dtype_name(leaf: Any) -> str:
    """The dtype of a leaf, or its type if it has none."""
    dtypes, name = _dtypes(leaf), type(leaf).__name__
    return f"a {name} with columns of {', '.join(dtypes)}" if len(dtypes) > 1 else dtypes[0] if dtypes else name


def as_given(value: Any, leaf: Any) -> Any:
    """An array as an array of the type of ``leaf``, with the dtype of ``value``. It stays as it is if that fails."""
    kind = type(leaf)
    if kind is np.ndarray or kind in ATOMS or value is None or not isinstance(as_numpy(leaf), np.ndarray):
        return value
    value = np.asarray(value)
    if isinstance(leaf, np.ndarray):
        given = leaf.astype(value.dtype)  # which keeps what a subclass knows besides its numbers
        np.asarray(given)[...] = value
        return given
    try:
        return _made(value, leaf)
    except Exception:  # we do not know how this type is made
        return value if value.dtype.kind in "fc" else leaf


def _detached(leaf: Any) -> Any:
    """A PyTorch tensor without its graph, dense and in main memory; other arrays as they are."""
    return leaf.to_dense().numpy(force=True) if hasattr(leaf, "detach") else leaf


def _made(value: np.ndarray, leaf: Any) -> Any:
    """A new array of the type of ``leaf``, which is no NumPy array."""
    kind = type(leaf)
    library = kind.__module__.partition(".")[0]
    if library == "torch":
        return sys.modules["torch"].as_tensor(value).to(leaf.device)
    if hasattr(leaf, "__array_namespace__"):  # the array API standard; JAX
        return leaf.__array_namespace__().asarray(value)
    if hasattr(leaf, "columns"):  # pandas.DataFrame
        return kind(value, index=leaf.index, columns=leaf.columns)
    if not callable(getattr(leaf, "index", len)):  # pandas.Series
        return kind(value, index=leaf.index, name=leaf.name)
    if hasattr(leaf, "coords"):  # xarray.DataArray
        return leaf.copy(data=value)
    return kind(value)


def masked(leaf: Any) -> int:
    """The number of masked entries of a leaf."""
    ma = sys.modules.get("numpy.ma")  # if nobody has imported it, there are no masked arrays
    return int(ma.count_masked(leaf)) if ma is not None and isinstance(leaf, ma.MaskedArray) else 0


def refusal(path: str, leaf: Any) -> str | None:
    """A sentence that says why this leaf cannot be used, and what to do instead; None if it can be used."""
    count = masked(leaf)
    if count and leaf.dtype.kind in "fc":
        return f"{path}: expected an array without masked entries, got {count} masked; pass .filled() or .compressed()"
    return None


def refusal_of_input(path: str, leaf: Any) -> str | None:
    """`refusal` for an input, which f has to get in its own type."""
    sentence, array = refusal(path, leaf), as_numpy(leaf)
    if sentence or isinstance(leaf, np.ndarray) or not (isinstance(array, np.ndarray) and array.dtype.kind in "fc"):
        return sentence
    again = as_given(array, leaf)
    if type(leaf).__module__.startswith("torch") or type(again) is type(leaf) and _equal(as_numpy(again), array):
        return None  # a torch.nn.Parameter becomes a Tensor
    name = type(leaf).__name__
    return f"{path}: expected an array, got {name}, which cannot be made from an array; pass np.asarray({path})"


def _equal(a: Any, b: np.ndarray) -> bool:
    return isinstance(a, np.ndarray) and a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def from_numbers(tree: Any) -> np.ndarray | None:
    """Nested lists or tuples of numbers, or of rows, as one array; None if ``tree`` is anything else."""
    if type(tree) not in (list, tuple):
        return None
    try:
        array = np.array([item if type(item) in ATOMS else _item(item) for item in tree])
    except ValueError:  # rows of different lengths
        return None
    return array if array.dtype.kind in NUMERIC else None


def _item(item: Any) -> Any:
    return from_numbers(item) if type(item) in (list, tuple) else as_numpy(item)


def aligned(gradient: Any, leaf: Any) -> Any:
    """The gradient of a pandas object in the order of its labels, if it has the same labels in another order."""
    if not all(hasattr(item, "reindex_like") and hasattr(item, "index") for item in (gradient, leaf)):
        return gradient
    axes = [(gradient.index, leaf.index)]
    if hasattr(gradient, "columns") and hasattr(leaf, "columns"):
        axes.append((gradient.columns, leaf.columns))
    same = all(len(g) == len(x) and g.is_unique and x.is_unique and x.isin(g).all() for g, x in axes)
    return gradient.reindex_like(leaf) if same and gradient.ndim == leaf.ndim else gradient


def as_gradient(gradient: Any, leaf: np.ndarray) -> Any:
    """The gradient of one array as a NumPy array, if it is nested lists of numbers, sparse, or of another library.

    Numbers of Python have no precision of their own, so they take that of ``leaf``. Sparse gradients and ``np.matrix``
    always have two axes, so those of a vector take its shape.
    """
    if is_sparse(gradient) or isinstance(gradient, np.matrix):
        dense = dense_form(gradient)
        return dense.reshape(leaf.shape) if leaf.ndim < 2 and dense.size == leaf.size else dense
    array = from_numbers(gradient)
    if type(gradient) in PYTHON or array is not None and _of_python(gradient):
        array = np.asarray(gradient) if array is None else array
        return array.astype(leaf.dtype) if array.dtype.kind in "if" else array
    return as_numpy(gradient) if array is None else array


def _of_python(tree: Any) -> bool:
    """Whether all of the numbers in nested lists are numbers of Python."""
    return all(_of_python(item) if type(item) in (list, tuple) else type(item) in PYTHON for item in tree)


# --- objects


def attributes(tree: Any) -> Mapping[str, Any] | None:
    """The attributes by which an object is a tree, or None if it is no such object.

    They are the fields of a dataclass that holds arrays or floats, or what is in the ``__dict__`` and ``__slots__`` of
    another object that holds arrays. An object that refers to itself is no tree. Neither are functions and other
    callables, whose arrays are their own affair.
    """
    try:
        return _attributes(tree)
    except RecursionError:  # it refers to itself
        return None


def _attributes(tree: Any) -> Mapping[str, Any] | None:
    values = fields_of(tree)
    if values is None:
        return None
    floats = (float, complex) if dataclasses.is_dataclass(tree) else ()
    # All are searched, not only those before the first array, so that an object that refers to itself is noticed.
    held = [isinstance(value, floats) or _holds_arrays(value) for value in values.values()]
    return values if any(held) else None


def fields_of(tree: Any) -> Mapping[str, Any] | None:
    """The fields of a dataclass or the attributes of another object, whatever they are; None for all else."""
    if type(tree) in ATOMS or isinstance(tree, (np.ndarray, np.generic, complex, type, ModuleType, dict, list, tuple)):
        return None
    if any(hasattr(type(tree), method) for method in ("__array__", "matvec", *TO_DENSE)):
        return None
    if dataclasses.is_dataclass(tree):
        return {f.name: getattr(tree, f.name) for f in dataclasses.fields(tree) if hasattr(tree, f.name)}
    if callable(tree):
        return None
    slots = [name for cls in type(tree).__mro__ for name in _names(getattr(cls, "__slots__", ()))]
    if not slots and not hasattr(tree, "__dict__"):
        return None
    return {name: getattr(tree, name) for name in [*slots, *getattr(tree, "__dict__", ())] if hasattr(tree, name)}


def _names(slots: Any) -> list[str]:
    """The names in ``__slots__`` that are attributes."""
    return [name for name in ([slots] if isinstance(slots, str) else slots) if not name.startswith("__")]


def _holds_arrays(tree: Any) -> bool:
    if type(tree) in ATOMS:
        return False
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return any([_holds_arrays(item) for item in tree])
    array = as_numpy(tree)
    return isinstance(array, np.ndarray) and array.dtype.kind in "fc" or _attributes(tree) is not None


# --- Jacobians


def is_sparse(array: Any) -> bool:
    """Whether this is a sparse matrix, of scipy.sparse or of another library."""
    return isinstance(getattr(array, "shape", None), tuple) and any(hasattr(array, name) for name in TO_DENSE)


def dense_form(array: Any) -> np.ndarray:
    """A sparse matrix, or another one, as a NumPy array."""
    name = next((name for name in TO_DENSE if hasattr(array, name)), None)
    return np.asarray(as_numpy(array if name is None else getattr(array, name)()))


def dense_jacobian(jacobian: Any, out_shape: Shape, in_shape: Shape) -> tuple[np.ndarray | None, list[str]]:
    """A Jacobian as an array of shape out_shape + in_shape.

    Parameters
    ----------
    jacobian : array, nested lists, sparse matrix or LinearOperator
        Sparse matrices, ``np.matrix`` and linear operators have two dimensions, so they have one row for each entry of
        the output, and one column for each entry of the input, both in C order.

    Returns
    -------
    array : array or None
        None if there are problems.
    problems : list of str
        What is wrong, to be read after "the Jacobian of x".
    """
    problems = _problems(jacobian, out_shape, in_shape)
    if problems:
        return None, problems
    compact = is_sparse(jacobian) or hasattr(jacobian, "matvec")
    if compact and math.prod(out_shape + in_shape) > DENSE:
        return None, [f"has shape {tuple(jacobian.shape)}, too large for an array: an operator needs an rmatvec"]
    dense = _by_matvec(jacobian) if hasattr(jacobian, "matvec") else _as_array(jacobian)
    return dense.reshape(out_shape + in_shape), []


def vector_times_jacobian(
    d_out: np.ndarray, jacobian: Any, in_shape: Shape
) -> tuple[np.ndarray | None, list[str]]:
    """d_out^T J, an array of shape in_shape, and problems as in `dense_jacobian`.

    Sparse matrices and linear operators are not made dense for it.
    """
    problems = _problems(jacobian, d_out.shape, in_shape)
    if problems:
        return None, problems
    if hasattr(jacobian, "toarray") and len(jacobian.shape) == 2:  # scipy.sparse
        return np.reshape(jacobian.T @ d_out.ravel(), in_shape), []
    if hasattr(jacobian, "matvec"):
        product = _by_rmatvec(jacobian, d_out.ravel())
        if product is not None:
            return product.reshape(in_shape), []
    dense, problems = dense_jacobian(jacobian, d_out.shape, in_shape)
    return None if dense is None else np.asarray(np.tensordot(d_out, dense, d_out.ndim)), problems


def stored_entries(jacobian: Any) -> np.ndarray | None:
    """Which entries (rows, columns) a sparse matrix stores, zeros among them; None if it is not sparse."""
    if not hasattr(jacobian, "toarray"):
        return None
    pattern = jacobian.tocsr() if jacobian.format in ("lil", "dok") else jacobian.copy()
    pattern.data = np.ones(pattern.data.shape)
    return np.asarray(pattern.toarray() != 0)


def entry_not_stored(name: str, stored: np.ndarray, numeric: np.ndarray, bound: Any) -> str | None:
    """A sentence if a derivative that is not 0 has no place in the sparsity pattern of a Jacobian, else None.

    Parameters
    ----------
    name : str
        The name of the input.
    stored : array (rows, columns)
        The result of `stored_entries`.
    numeric, bound : arrays (rows, columns)
        The derivatives according to differences, with nan where they are not known, and the bounds of their errors.
    """
    lacking = ~stored & (np.abs(numeric) > bound)
    if not lacking.any():
        return None
    row, column = (int(i) for i in np.unravel_index(np.argmax(np.where(lacking, np.abs(numeric), 0.0)), stored.shape))
    count = int(lacking.sum())
    others = f", and {count - 1} more that {'is' if count == 2 else 'are'} not 0" if count > 1 else ""
    return (f"the sparsity pattern of the Jacobian of {name} lacks row {row}, column {column}, where the derivative is "
            f"{numeric[row, column]:.6g}{others}")


def _problems(jacobian: Any, out_shape: Shape, in_shape: Shape) -> list[str]:
    """What is wrong with the form of a Jacobian, as a list of at most one predicate."""
    if is_sparse(jacobian) or hasattr(jacobian, "matvec"):
        shape, dtype = tuple(jacobian.shape), getattr(jacobian, "dtype", None) or np.dtype(float)
        wanted: list[Shape] = [(math.prod(out_shape), math.prod(in_shape))]
    else:
        array = _as_array(jacobian)
        if not isinstance(array, np.ndarray):
            return [f"is a {type(jacobian).__name__}, expected an array, a sparse matrix or a LinearOperator"]
        if masked(jacobian):
            return [f"has {masked(jacobian)} masked entries; return .filled(0.0), or what they are"]
        shape, dtype, wanted = array.shape, array.dtype, [out_shape + in_shape]
        if isinstance(jacobian, np.matrix) or hasattr(jacobian, "columns"):
            wanted.append((math.prod(out_shape), math.prod(in_shape)))
    if shape not in (*wanted, out_shape + in_shape):
        return [f"has shape {shape}, expected {wanted[0]}: that of the output, then that of the input"]
    if np.dtype(dtype).kind not in "biuf":
        return [f"has dtype {dtype}, expected real numbers; view complex ones as pairs of real ones"]
    return _not_adjoint(jacobian) if hasattr(jacobian, "matvec") else []


def _as_array(jacobian: Any) -> Any:
    if is_sparse(jacobian):
        return dense_form(jacobian)
    array = from_numbers(jacobian)
    if array is None:
        array = as_numpy(jacobian)
    return np.asarray(array) if isinstance(array, (float, int, np.generic)) else array


def _by_matvec(operator: Any) -> np.ndarray:
    """An operator as an array, column by column."""
    dense = np.zeros(operator.shape)
    for column in range(operator.shape[1]):
        unit = np.zeros(operator.shape[1])
        unit[column] = 1.0
        dense[:, column] = np.ravel(operator.matvec(unit))
    return dense


def _by_rmatvec(operator: Any, v: np.ndarray) -> np.ndarray | None:
    """J^T v, or None if the operator does not define it."""
    try:
        return np.ravel(operator.rmatvec(v))
    except (NotImplementedError, AttributeError):
        return None


def _not_adjoint(operator: Any) -> list[str]:
    """A predicate if <v, J u> is not <J^T v, u> for a random u and v."""
    rng = np.random.default_rng(0)
    v, u = (rng.standard_normal(size) for size in operator.shape)
    forward, back = np.ravel(operator.matvec(u)), _by_rmatvec(operator, v)
    if back is None:
        return []
    if back.shape != u.shape or forward.shape != v.shape:
        return [f"has a matvec that returns {forward.size} numbers and an rmatvec that returns {back.size}, expected "
                f"{v.size} and {u.size}"]
    size = np.linalg.norm(v) * np.linalg.norm(forward) + np.linalg.norm(u) * np.linalg.norm(back)
    eps = max(np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0.0 for a in (forward, back, u))
    if abs(v @ forward - back @ u) <= ADJOINT_EPS * eps * size:
        return []
    return [f"has an rmatvec that is not the adjoint of its matvec: <v, J u> is {v @ forward:.6g}, <J^T v, u> is "
            f"{back @ u:.6g}"]

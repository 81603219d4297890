"""What a kernel is given, checked: a kernel reads and writes where the sizes lead it, and compares nothing.

Every function that a twin shares with its original passes its arrays through `fit` before a kernel sees them.
"""

import numpy as np

from ..checks import FLOATS


def precision(*arrays):
    """The one dtype in which to compute with all these arrays. Raises TypeError unless it is float32 or float64."""
    dtype = np.result_type(*arrays)
    if dtype not in FLOATS:
        raise TypeError(f"a compiled function takes float32 or float64 arrays, got {dtype}")
    return dtype


def shape_of(name, array, axes):
    """The shape of an array that must have this many axes. Raises ValueError for anything else."""
    shape = getattr(array, "shape", ())
    if len(shape) != axes:
        raise ValueError(f"{name}: expected shape ({', '.join('N' * axes)}), {_came(array)}")
    return shape


def require(dtype, *operands):
    """Raise unless each operand (name, array, shape) is an array of exactly this shape, of real floating numbers.

    ValueError is for another shape and for what is no array, TypeError for what does not go into ``dtype``.
    """
    for name, array, shape in operands:
        if getattr(array, "shape", None) != shape:
            raise ValueError(f"{name}: expected shape {shape}, {_came(array)}")
        if array.dtype.kind != "f":
            raise TypeError(f"{name}: expected {dtype}, got {array.dtype}")


def fit(dtype, *operands, order="C"):
    """`require`, and the arrays in this dtype, contiguous in this order: copied only where they have to be."""
    require(dtype, *operands)
    arrays = [np.asarray(array, dtype, order) for _, array, _ in operands]
    return [array if array.flags.aligned else array.copy(order) for array in arrays]


def _came(array):
    """What came in the place of an array, for a message."""
    return f"got {getattr(array, 'shape', type(array).__name__)}"


def require_cache(cache, kind):
    """Raise TypeError unless ``cache`` is of this class: a backward pass reads it as its own forward pass left it."""
    if type(cache) is not kind:
        raise TypeError(f"cache: expected a {kind.__module__}.{kind.__name__}, "
                        f"got a {type(cache).__module__}.{type(cache).__name__}")

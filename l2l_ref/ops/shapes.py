"""The one way in which operations complain about a shape, and about numbers that have to be positive."""

import numpy as np


def require_shape(name, array, **dims):
    """Raise ValueError unless ``array`` has the shape that the keywords spell out.

    ``require_shape("h", h, N=3, H=None)`` accepts any array of shape (3, anything).
    """
    expected = tuple(dims.values())
    shape = getattr(array, "shape", None)
    if shape is None:
        raise ValueError(f"{name}: expected an array, got {type(array).__name__}")
    if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected)):
        wanted = ", ".join(d if e is None else f"{d}={e}" for d, e in dims.items())
        raise ValueError(f"{name}: expected shape ({wanted}), got {shape}")


def require_floating(name, array):
    """Raise ValueError unless ``array`` holds floating numbers, real or complex."""
    if array.dtype.kind not in "fc":
        raise ValueError(f"{name}: expected floating numbers, got {array.dtype}")


def positive(name, value, like, single=False):
    """``value`` as an array in the precision of ``like``; complex numbers stay complex.

    Raises ValueError unless all of it are numbers that are finite and > 0, and one number if ``single``.
    """
    value = np.asarray(value)
    if value.dtype.kind not in "iufc" or not (np.isfinite(value) & (value.real > 0)).all():
        raise ValueError(f"{name}: expected finite numbers > 0, got {value}")
    if single and value.ndim:
        raise ValueError(f"{name}: expected one number, got an array of shape {value.shape}")
    return value if value.dtype.kind == "c" else value.astype(like.dtype)

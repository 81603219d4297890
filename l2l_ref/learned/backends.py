"""The one file that sees both the NumPy originals and their compiled twins, and chooses."""

import importlib.util
from functools import lru_cache

from . import coordinatewise as original

BACKENDS = ("auto", "numpy", "numba")

# Below this many coordinates one step is faster in NumPy than the way into compiled code and back.
# The meta-gradient of a whole unroll pays at any size.
SMALLEST_STEP = 16


@lru_cache(maxsize=None)
def _numba_is_installed():
    return all(importlib.util.find_spec(name) is not None for name in ("numba", "scipy"))


@lru_cache(maxsize=None)
def _twin():
    if not _numba_is_installed():
        raise ImportError("backend: 'numba' needs numba and SciPy, which are not installed; use 'numpy' or 'auto'")
    from ..compiled import coordinatewise as twin

    return twin


def choose(backend, params, n):
    """The module whose ``advance`` and ``meta_gradient`` to call for n coordinates.

    ``auto`` takes numba where it is installed and the work is large enough to pay. Raises ValueError
    for an unknown backend, ImportError for a numba that is not there.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "numba":
        return _twin()
    if backend == "auto" and params.layers and n >= SMALLEST_STEP and _numba_is_installed():
        return _twin()
    return original

"""The one file that sees both the NumPy originals and their compiled twins, and chooses."""

import importlib.util
from functools import lru_cache

from . import coordinatewise as original

BACKENDS = ("auto", "numpy", "numba")

# Below this many coordinates a step takes about as long in NumPy, and nothing has to be compiled for it.
SMALLEST_STEP = 256


@lru_cache(maxsize=None)
def _twin():
    """The compiled twin, or the reason why there is none, a string."""
    missing = [name for name in ("numba", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} cannot be found"
    try:
        from ..compiled import coordinatewise as twin
    except ImportError as error:  # numba refuses versions of NumPy that it does not know
        return str(error)
    return twin


def choose(backend, params, n):
    """The module whose ``advance`` and ``meta_gradient`` to call for n coordinates.

    ``auto`` takes numba where it works and the work is large enough to pay. Raises ValueError for an unknown
    backend, ImportError for "numba" where it does not work.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "numpy" or backend == "auto" and (not params.layers or n < SMALLEST_STEP):
        return original
    twin = _twin()
    if not isinstance(twin, str):
        return twin
    if backend == "numba":
        raise ImportError(f"backend: 'numba' does not work here ({twin}); use 'numpy' or 'auto'")
    return original


def name_of(backend, params):
    """What ``backend`` comes to for large work: "numpy" or "numba"."""
    return "numpy" if choose(backend, params, SMALLEST_STEP) is original else "numba"

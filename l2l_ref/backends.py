"""The one file that knows both the NumPy originals and their compiled twins, and chooses between them.

Modules are named in `PARTS` and imported when they are chosen, so that neither side imports the other and NumPy alone is
loaded where NumPy alone is used.
"""

import importlib
import importlib.util
from functools import lru_cache
from typing import NamedTuple

from .checks import choice

BACKENDS = ("auto", "numpy", "numba")


class Part(NamedTuple):
    """A file of hot functions and its twin, which has its name."""

    original: str
    twin: str
    enough: float  # the work from which "auto" takes the twin: measured, see docs/lab-notes/performance.md
    unit: str      # what the work is counted in


PARTS = {
    # Below this many coordinates a step takes about as long in NumPy, and nothing has to be compiled for it.
    "coordinatewise": Part("learned.coordinatewise", "compiled.coordinatewise", 256, "coordinates"),
    # Below this many rows a cell takes about as long in NumPy, forward and backward.
    "lstm": Part("ops.lstm", "compiled.lstm", 16, "rows"),
    "heads": Part("ops.heads", "compiled.heads", 16, "rows"),
    # Below this many rows of Cholesky factors in a trajectory, nothing has to be compiled for it.
    "gp": Part("ops.gp", "compiled.gp", 100, "functions x queries"),
    # The twins are twice as fast for few rows, where that is 10 microseconds per step, and loading them takes as long as
    # tens of thousands of steps. So "auto" never takes them.
    "propose": Part("learned.propose", "compiled.propose", float("inf"), "rows"),
    "stepping": Part("learned.stepping", "compiled.stepping", float("inf"), "searches"),
}


def choose(part, backend, work=0):
    """The module, original or twin, whose functions to call.

    A cache belongs to the module that made it.

    Parameters
    ----------
    part : str
        A key of `PARTS`.
    backend : {"auto", "numpy", "numba"}
        "auto" takes numba where it works and the work is large enough to pay.
    work : int
        How much there is to do, in the unit of the part.

    Raises
    ------
    ValueError
        For an unknown backend.
    ImportError
        For "numba" where it does not work.
    """
    choice("backend", backend, BACKENDS)
    original, twin, enough, _ = PARTS[part]
    if backend == "numba" or backend == "auto" and work >= enough:
        module = _twin(twin)
        if not isinstance(module, str):
            return module
        if backend == "numba":
            raise ImportError(f"backend: 'numba' does not work here ({module}); use 'numpy' or 'auto', or "
                              "pip install 'l2l-ref[fast]'")
    return importlib.import_module(f".{original}", __package__)


def available(backend):
    """Whether this backend works here."""
    return backend != "numba" or not isinstance(_twin("compiled.coordinatewise"), str)


def name_of(module):
    """The backend of a module that `choose` gave: "numpy" or "numba"."""
    return "numba" if f"{__package__}.compiled." in module.__name__ else "numpy"


@lru_cache(maxsize=None)
def _twin(name):
    """The compiled twin of this name, or the reason why there is none, a string."""
    missing = [package for package in ("numba", "scipy") if importlib.util.find_spec(package) is None]
    if missing:
        return f"{' and '.join(missing)} cannot be found"
    try:
        return importlib.import_module(f".{name}", __package__)
    except ImportError as error:  # numba refuses versions of NumPy that it does not know
        return str(error)

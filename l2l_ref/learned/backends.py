"""The one file that sees both the NumPy originals and their compiled twins, and chooses."""

import importlib
import importlib.util
from functools import lru_cache, partial

from ..ops import gp as original_gp
from ..ops import heads as original_heads
from ..ops import lstm as original_lstm
from . import coordinatewise as original
from . import stepping as original_stepping
from . import propose as original_proposer

BACKENDS = ("auto", "numpy", "numba")

# Below this many coordinates a step takes about as long in NumPy, and nothing has to be compiled for it.
SMALLEST_STEP = 256
# Below this many rows a cell takes about as long in NumPy, forward and backward.
SMALLEST_BATCH = 16
# Below this many rows of Cholesky factors in a trajectory, nothing has to be compiled for it.
SMALLEST_SAMPLE = 100


@lru_cache(maxsize=None)
def _twin(name="coordinatewise"):
    """The compiled twin of this name, or the reason why there is none, a string."""
    missing = [name for name in ("numba", "scipy") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} cannot be found"
    try:
        return importlib.import_module(f"..compiled.{name}", __package__)
    except ImportError as error:  # numba refuses versions of NumPy that it does not know
        return str(error)


def works(backend):
    """Whether this backend works here."""
    return backend != "numba" or not isinstance(_twin(), str)


def choose(backend, params, n):
    """The module whose ``step_inference`` and ``meta_gradient`` to call for n coordinates.

    ``auto`` takes numba where it works and the work is large enough to pay. Raises ValueError for an unknown
    backend, ImportError for "numba" where it does not work.
    """
    small = not params.layers or n < SMALLEST_STEP
    return _choose(backend, original, "coordinatewise", small)


def choose_gp(backend, functions, steps):
    """The module whose ``gp_append``, ``gp_sample`` and backward passes to call for this many functions and queries.

    A cache belongs to the module that made it. ``auto`` and what is raised are as for `choose`.
    """
    return _choose(backend, original_gp, "gp", functions * steps < SMALLEST_SAMPLE)


def choose_proposer(backend):
    """The module whose ``step_inference`` and ``dnc_propose_inference`` step a Proposer; ``auto`` takes NumPy for every number of rows.

    The twin is twice as fast or more for some ten rows and fewer alone, where that is 10 microseconds a step and
    loading it takes as long as tens of thousands of them; what it gains with a hundred rows or more depends on the
    machine. What is raised is as for `choose`.
    """
    return _choose(backend, original_proposer, "propose", small=True)


def choose_stepper(backend):
    """The module whose `Stepper` takes the steps of a Proposer in a search of one function; as `choose_proposer`."""
    return _choose(backend, original_stepping, "stepping", small=True)


def choose_cell(backend, cell, rows, threads=None):
    """The Cell with the pair that suits so many rows. A cache belongs to the pair that made it.

    ``threads`` is for the twin of the LSTM. ``auto`` and what is raised are as for `choose`.
    """
    small = rows < SMALLEST_BATCH
    lstm = _choose(backend, original_lstm, "lstm", small)
    if cell.name == "lstm":
        forward, backward = lstm.lstm_cell, lstm.lstm_cell_backward
        if lstm is not original_lstm and threads is not None:
            forward, backward = partial(forward, threads=threads), partial(backward, threads=threads)
        return cell._replace(forward=forward, backward=backward)
    heads = _choose(backend, original_heads, "heads", small)
    return cell._replace(forward=partial(cell.forward, parts=(lstm, heads)))


def _choose(backend, original, name, small):
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "numpy" or backend == "auto" and small:
        return original
    twin = _twin(name)
    if not isinstance(twin, str):
        return twin
    if backend == "numba":
        raise ImportError(f"backend: 'numba' does not work here ({twin}); use 'numpy' or 'auto'")
    return original


def name_of(chosen):
    """The backend of a module that `choose`, `choose_gp` or `choose_proposer` gave: "numpy" or "numba"."""
    return "numpy" if chosen in (original, original_gp, original_proposer) else "numba"

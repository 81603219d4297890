"""ReLU, compiled: NumPy makes three passes over memory where one is enough.

Original: ops/activations.py. It is the definition, with the equation A3; a difference is a bug in this file. Only real
numbers, float32 or float64.
"""

from typing import NamedTuple

import numpy as np

from .arguments import fit, precision, require_cache
from .jit import kernel_without_refcounts
from .threads import run_rows

PART = 2**14  # numbers that a thread works on at a time
WORK = 8      # one number takes about as long as this many multiplications of a matrix product


class ReluCache(NamedTuple):
    kept: np.ndarray  # (...) bool: where x is not <= 0


def relu(x, threads=None):
    """A3. x (...) -> r (...), cache."""
    (x,) = fit(precision(x), ("x", x, np.shape(x)))
    r, kept = np.empty_like(x), np.empty(x.shape, np.bool_)
    run_rows(_relu_part, x.size, PART, WORK, threads, x.reshape(-1), r.reshape(-1), kept.reshape(-1))
    return r, ReluCache(kept)


def relu_backward(d_r, cache, threads=None):
    """d_r (...) -> d_x (...)."""
    require_cache(cache, ReluCache)
    (d_r,) = fit(precision(d_r), ("d_r", d_r, cache.kept.shape))
    d_x = np.empty_like(d_r)
    run_rows(_relu_backward_part, d_r.size, PART, WORK, threads, d_r.reshape(-1), cache.kept.reshape(-1),
             d_x.reshape(-1))
    return d_x


# ------------------------------------------------------------------------------------------- the kernels


@kernel_without_refcounts
def _relu_part(first_part, parts, x, r, kept):
    zero = x.dtype.type(0)
    for part in range(first_part * PART, len(x), parts * PART):
        for k in range(part, min(part + PART, len(x))):
            kept[k] = not x[k] <= zero
            r[k] = zero if x[k] <= zero else x[k]                    # A3; nan stays nan


@kernel_without_refcounts
def _relu_backward_part(first_part, parts, d_r, kept, d_x):
    zero = d_r.dtype.type(0)
    for part in range(first_part * PART, len(d_r), parts * PART):
        for k in range(part, min(part + PART, len(d_r))):
            d = d_r[k]  # read in any case, or the loop is not vectorised
            d_x[k] = d if kept[k] else zero                          # A3

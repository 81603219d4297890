"""The one place that names numba: one decorator, one set of flags, gate functions by precision.

Flags: ``error_model="numpy"`` on every function, since Python's check for a division by zero keeps
a loop from being vectorised; ``contract`` alone of the fast-math flags, which allows fused
multiply-adds and nothing that loses a NaN. In a ``sum_kernel`` also ``reassoc``: a sum is vectorised only if its order
is free. Its order depends on the processor and the length, never on the number of threads.
"""

import hashlib
import math
import os
from pathlib import Path

import numba
import numpy as np
from numba import types
from numba.extending import overload

GEMM_SIZE = 2**18  # OpenBLAS starts threads of its own above this product of sizes

FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def kernel(function, flags=FLAGS):
    """Compile ``function`` with the package's flags, cached on disk where that is possible."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _CACHE  # read while the decorator runs, and put back
    try:
        return numba.njit(cache=True, **flags)(function)
    except RuntimeError:  # there is nowhere to put a cache
        return numba.njit(**flags)(function)
    finally:
        numba.config.CACHE_DIR = before


def _cache_folder():
    """A folder of machine code for exactly these sources.

    numba compares a cached kernel with the file that it stands in alone, not with the functions that it calls
    in others.
    """
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    root = numba.config.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(root, "l2l_ref", f"numba-{sources.hexdigest()[:16]}")


_CACHE = _cache_folder()


def _dot(a, b, n):
    """Sum of a[i] b[i] over i < n."""
    total = a.dtype.type(0)
    for i in range(n):
        total += a[i] * b[i]
    return total


def sum_kernel(function):
    """`kernel` with sums in any order."""
    return kernel(function, {**FLAGS, "fastmath": {"contract", "reassoc"}})


dot = sum_kernel(_dot)


def tanh(x):
    """Hyperbolic tangent, of the precision of ``x``."""
    raise NotImplementedError("for compiled code only")


def sigmoid(x):
    """Logistic function, of the precision of ``x``; neither end overflows."""
    raise NotImplementedError("for compiled code only")


def exp(x):
    """Exponential of an x <= 0, of its precision: libm's in float64, ``_exp_float32`` in float32."""
    raise NotImplementedError("for compiled code only")


# float32: tanh(x) = x P(x^2) / Q(x^2) on [-7.9, 7.9], where it has come within 2.7e-7 of 1: our own fit of the least
# maximum relative error, 1.4e-8 before rounding, below 4e-7 in float32. Up to 8.1 no rounding takes it above 1. One
# division and nine multiply-adds, no branch and no call, so LLVM puts 8 or 16 of them side by side.
P0, P1, P2, P3, P4 = map(numba.float32, (
    0.9999999867366131, 0.13406876579600083, 0.0035264031503440684, 2.112240931995652e-05,
    1.4082513504914106e-08))
Q0, Q1, Q2, Q3, Q4 = map(numba.float32, (
    1.0, 0.46740198115943266, 0.02599390578173353, 0.0003336272904262113, 8.070653366323209e-07))
ONE, HALF, EDGE = map(numba.float32, (1.0, 0.5, 7.9))


def _tanh_float32(x):
    x = min(max(x, -EDGE), EDGE)
    u = x * x
    p = (((P4 * u + P3) * u + P2) * u + P1) * u + P0
    q = (((Q4 * u + Q3) * u + Q2) * u + Q1) * u + Q0
    return x * p / q


# float32: exp(x) = 2^n exp(r) with |r| <= ln(2) / 2: Taylor's series of exp(r) to r^7, relative error 8e-8 in all, and
# 2^n by its bits. Adding 1.5 * 2^23 rounds to a whole number; ln(2) is taken in two parts, the first of few bits.
LOG2_E, LN2_HIGH, LN2_LOW, ROUNDS, LOWEST = map(numba.float32, (
    1.4426950408889634, 0.693359375, -2.1219444005469057e-4, 12582912.0, -87.0))
E2, E3, E4, E5, E6, E7 = (numba.float32(1 / math.factorial(k)) for k in range(2, 8))


def _exp_float32(x):
    x = max(x, LOWEST)
    n = (x * LOG2_E + ROUNDS) - ROUNDS
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = ((((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2) * r + ONE) * r + ONE
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


def _sigmoid_float32(x):
    return HALF + HALF * tanh(HALF * x)


# float64: exp(x) = 2^n (1 + p), p = exp(r) - 1 by Taylor's series to r^13, 4e-18 of it; as above, but that what r loses
# in rounding joins p. Both functions are quotients of 2^n and p whose denominator is a sum: what the sum loses joins
# the quotient, in one step of Newton's. Within 2 ulp, and vectorised like the others, where calls to libm are not.
ROUNDS_64, LN2_HIGH_64, LN2_LOW_64 = 6755399441055744.0, 0.6931471803691238, 1.9082149292705877e-10
D2, D3, D4, D5, D6, D7, D8, D9, D10, D11, D12, D13 = (1 / math.factorial(k) for k in range(2, 14))


def _exp_parts(x):
    """(p, 2^n) of an x <= 0, x > -1000."""
    n = (x * math.log2(math.e) + ROUNDS_64) - ROUNDS_64
    h = x - n * LN2_HIGH_64
    r = h - n * LN2_LOW_64
    lost = (h - r) - n * LN2_LOW_64
    p = (((((((((((D13 * r + D12) * r + D11) * r + D10) * r + D9) * r + D8) * r + D7) * r + D6) * r + D5) * r + D4) * r
          + D3) * r + D2) * (r * r) + lost
    return r + p, np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)


def _quotient(a, b, c):
    """a / (b + c), |c| <= |b|."""
    d = b + c
    lost = c - (d - b)
    over_d = 1 / d
    q = a * over_d
    return q + ((a - q * d) - q * lost) * over_d


def _tanh_float64(x):
    p, power = _exp_parts(-2 * min(abs(x), 20.0))
    y = power * p + (power - 1.0)  # exp(-2 |x|) - 1
    return math.copysign(_quotient(-y, 2.0, y), x)


def _sigmoid_float64(x):
    p, power = _exp_parts(-min(abs(x), 708.39))
    e = 0.0 if abs(x) > 708.39 else power * p + power  # below, exp(-|x|) is no normal number
    return _quotient(1.0 if x >= 0 else e, 1.0, e)


_OVERLOAD_FLAGS = {"error_model": FLAGS["error_model"], "fastmath": FLAGS["fastmath"]}
_exp_parts, _quotient = (numba.njit(**_OVERLOAD_FLAGS, inline="always")(f) for f in (_exp_parts, _quotient))


@overload(exp, jit_options=_OVERLOAD_FLAGS)
def _exp(x):
    return _exp_float32 if x is types.float32 else lambda x: math.exp(x)


@overload(tanh, jit_options=_OVERLOAD_FLAGS)
def _tanh(x):
    return _tanh_float32 if x is types.float32 else _tanh_float64


@overload(sigmoid, jit_options=_OVERLOAD_FLAGS)
def _sigmoid(x):
    return _sigmoid_float32 if x is types.float32 else _sigmoid_float64

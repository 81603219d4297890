"""The one place that names numba: one decorator, one set of flags, gate functions by precision, small products.

Flags: ``error_model="numpy"`` on every function, since Python's check for a division by zero keeps
a loop from being vectorised; ``contract`` alone of the fast-math flags, which allows fused
multiply-adds and nothing that loses a NaN. In a ``kernel_reassociating`` also ``reassoc``: a sum is vectorised only if its order
is free. Its order depends on the processor and the length, never on the number of threads. ``_nrt``: whether references
to arrays are counted, as numba does; see `kernel_without_refcounts`.
"""

import hashlib
import math
import os
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

GEMM_SIZE = 2**18  # OpenBLAS starts threads of its own above this product of sizes

FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "_nrt": True}
LEAN = {**FLAGS, "_nrt": False}


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


def kernel_without_refcounts(function):
    """`kernel` that counts no references to arrays.

    To count one, when a row gets a name, is an atomic addition and so is to stop: as long as the arithmetic of a short
    row. In turn it can allocate nothing, not assign one array to another, and not call np.dot but through a `kernel`;
    and a part of an array that it returns must stay with lean kernels: nothing would keep the array alive.
    """
    return kernel(function, LEAN)


def kernel_reassociating(function):
    """`kernel_without_refcounts` with sums in any order.

    A loop that sums must not write into an array: whether it is vectorised, and so the order of the sum, would depend
    on how far apart the arrays happen to lie.
    """
    return kernel(function, {**LEAN, "fastmath": {"contract", "reassoc"}})


dot = kernel_reassociating(_dot)


@kernel_reassociating
def dots(A, x, out):
    """A x, (N,), of a small A (N, K)."""
    for i in range(len(A)):
        a, total = A[i], A.dtype.type(0)
        for j in range(len(x)):
            total += a[j] * x[j]
        out[i] = total


@kernel_without_refcounts
def product(x, A, out):
    """out + x A, into out (K,), of a small A (N, K): four rows at a time, since a sum through memory has to wait."""
    N = len(x)
    rest = N - N % 4
    for i in range(0, rest, 4):
        x_0, x_1, x_2, x_3 = x[i], x[i + 1], x[i + 2], x[i + 3]
        a_0, a_1, a_2, a_3 = A[i], A[i + 1], A[i + 2], A[i + 3]
        for j in range(len(out)):
            out[j] += (x_0 * a_0[j] + x_1 * a_1[j]) + (x_2 * a_2[j] + x_3 * a_3[j])
    for i in range(rest, N):
        x_i, a = x[i], A[i]
        for j in range(len(out)):
            out[j] += x_i * a[j]


WIDTH = 64  # bytes of the rows of a block


@intrinsic
def _transpose_block(_, a, out, i, j):
    """The square block of a from row i and column j, transposed, to out from row j and column i.

    LLVM makes a loop over single numbers of it, four times as slow. Here it is told what to do: n rows of n numbers,
    and log2(n) rounds that exchange the corners of ever smaller squares on the diagonal, between two rows at once.
    """

    if (a.layout, out.layout) != ("C", "C"):
        raise TypingError("transpose: expected C-contiguous arrays")

    def codegen(context, builder, signature, arguments):
        number = context.get_data_type(signature.args[0].dtype)
        size, index = context.get_abi_sizeof(number), ir.IntType(32)
        n = WIDTH // size
        row, order = ir.VectorType(number, n), ir.VectorType(index, n)
        kinds = signature.args[:2]
        arrays = [context.make_array(kind)(context, builder, value) for kind, value in zip(kinds, arguments)]

        def at(which, r, c):
            place = cgutils.get_item_pointer(context, builder, kinds[which], arrays[which], [r, c], wraparound=False)
            return builder.bitcast(place, row.as_pointer())

        def after(first, k):
            return builder.add(first, first.type(k))

        i, j = arguments[2:]
        rows = []
        for k in range(n):
            rows.append(builder.load(at(0, after(i, k), j)))
            rows[k].align = size
        half = n // 2
        while half:
            upper = order([index(n + c - half if c & half else c) for c in range(n)])  # from n on: of the second row
            lower = order([index(n + c if c & half else c + half) for c in range(n)])
            for k in range(n):
                if not k & half:
                    pair = rows[k], rows[k + half]
                    rows[k], rows[k + half] = (builder.shuffle_vector(*pair, which) for which in (upper, lower))
            half //= 2
        for k in range(n):
            builder.store(rows[k], at(1, after(j, k), i)).align = size
        return context.get_dummy_value()

    return types.void(a, out, i, j), codegen


@kernel_without_refcounts
def transpose(a, out):
    """a^T, into out (M, N), of a (N, M), both C-contiguous; by square blocks, of which the last overlap those before."""
    N, M = a.shape
    n = WIDTH // a.itemsize
    if min(N, M) < n:
        for i in range(N):
            for j in range(M):
                out[j, i] = a[i, j]
        return
    for i in range(0, N, n):
        for j in range(0, M, n):
            _transpose_block(a, out, min(i, N - n), min(j, M - n))


def tanh(x):
    """Hyperbolic tangent, of the precision of ``x``."""
    raise NotImplementedError("for compiled code only")


def sigmoid(x):
    """Logistic function, of the precision of ``x``; neither end overflows."""
    raise NotImplementedError("for compiled code only")


def exp(x):
    """Exponential of an x <= 0, of its precision; where it would be no normal number, the smallest of them."""
    raise NotImplementedError("for compiled code only")


def log(x):
    """Natural logarithm of an x > 0 that is a normal number, of its precision."""
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
# 2^n by its bits. Adding 1.5 * 2^23 rounds to a whole number, and its bits are then the last ones; ln(2) is taken in
# two parts, the first of few bits.
LOG2_E, LN2_HIGH, LN2_LOW, ROUNDS, LOWEST = map(numba.float32, (
    1.4426950408889634, 0.693359375, -2.1219444005469057e-4, 12582912.0, -87.0))
E2, E3, E4, E5, E6, E7 = (numba.float32(1 / math.factorial(k)) for k in range(2, 8))


def _exp_float32(x):
    x = max(x, LOWEST)
    shifted = x * LOG2_E + ROUNDS
    n = shifted - ROUNDS
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = ((((((E7 * r + E6) * r + E5) * r + E4) * r + E3) * r + E2) * r + ONE) * r + ONE
    return p * np.int32((np.float32(shifted).view(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)


# float32: log(x) = n ln(2) + log(y), x = 2^n y with sqrt(1/2) <= y < sqrt(2), and log(y) = 2 artanh(s) with
# s = (y - 1) / (y + 1): the series to s^9, within 2e-9 of it where |s| < 0.172. The bits of sqrt(1/2), taken from those
# of x, leave n in front.
ROOT_HALF, BELOW_EXPONENT = np.int32(np.float32(0.5**0.5).view(np.int32)), np.int32(23)
LARGEST_32 = numba.float32(np.finfo(np.float32).max)
A3, A5, A7, A9 = (numba.float32(1 / k) for k in (3, 5, 7, 9))


def _log_float32(x):
    bits = np.float32(x).view(np.int32)
    n = np.int32(np.int32(bits - ROOT_HALF) >> BELOW_EXPONENT)
    y = np.int32(bits - np.int32(n << BELOW_EXPONENT)).view(np.float32)
    s = (y - ONE) / (y + ONE)
    u = s * s
    series = (((A9 * u + A7) * u + A5) * u + A3) * u + ONE
    k = np.float32(n)
    return k * LN2_HIGH + (k * LN2_LOW + (s + s) * series) if x <= LARGEST_32 else x  # infinite is its own logarithm


def _log_float64(x):
    return math.log(x)


def _sigmoid_float32(x):
    return HALF + HALF * tanh(HALF * x)


# float64: exp(x) = 2^n (1 + p) with p = exp(r) - 1, |r| <= ln(2) / 2: Taylor's series, economised by Chebyshev's
# polynomials to r^11, 4e-18 of it. All three below are within 3 ulp, and vectorised, where calls to libm are not.
ROUNDS_64, LN2_HIGH_64, LN2_LOW_64 = 6755399441055744.0, 0.6931471803691238, 1.9082149292705877e-10
D2, D3, D4, D5, D6, D7, D8, D9, D10, D11 = (
    0.5000000000000001, 0.1666666666666667, 0.04166666666662412, 0.008333333333326134, 0.0013888888917215586,
    0.00019841269874822307, 2.4801521293463862e-05, 2.755725539833871e-06, 2.762008948195459e-07,
    2.5105217695684516e-08)
LARGEST = 708.39  # exp of it and of its negative are normal numbers


def _exp_parts(x):
    """(p, 2^n) of an x in -LARGEST .. LARGEST."""
    shifted = x * math.log2(math.e) + ROUNDS_64
    n = shifted - ROUNDS_64
    r = (x - n * LN2_HIGH_64) - n * LN2_LOW_64
    p = ((((((((D11 * r + D10) * r + D9) * r + D8) * r + D7) * r + D6) * r + D5) * r + D4) * r + D3) * r + D2
    power = np.int64((np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)).view(np.float64)
    return p * (r * r) + r, power


def _exp_float64(x):
    p, power = _exp_parts(max(x, -LARGEST))
    return power * p + power


def _tanh_float64(x):
    p, power = _exp_parts(2.0 * min(max(x, -20.0), 20.0))
    y = power * p + (power - 1.0)  # exp(2 x) - 1
    return y / (y + 2.0)


def _sigmoid_float64(x):
    p, power = _exp_parts(min(max(-x, -LARGEST), LARGEST))
    return 1.0 / (1.0 + (power * p + power))


_OVERLOAD_FLAGS = {"error_model": FLAGS["error_model"], "fastmath": FLAGS["fastmath"]}
_exp_parts = numba.njit(**_OVERLOAD_FLAGS, inline="always")(_exp_parts)


@overload(exp, jit_options=_OVERLOAD_FLAGS)
def _exp(x):
    return _exp_float32 if x is types.float32 else _exp_float64


@overload(log, jit_options=_OVERLOAD_FLAGS)
def _log(x):
    return _log_float32 if x is types.float32 else _log_float64


@overload(tanh, jit_options=_OVERLOAD_FLAGS)
def _tanh(x):
    return _tanh_float32 if x is types.float32 else _tanh_float64


@overload(sigmoid, jit_options=_OVERLOAD_FLAGS)
def _sigmoid(x):
    return _sigmoid_float32 if x is types.float32 else _sigmoid_float64

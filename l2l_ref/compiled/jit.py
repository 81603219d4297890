"""Everything that names numba: the decorators, their flags, gate functions for each precision, and small products.

Flags:

- ``error_model="numpy"`` on every function, because Python's check for division by zero keeps a loop from being
  vectorised.
- ``contract`` is the only fast-math flag of a `kernel`. It allows fused multiply-adds, and nothing that loses a NaN.
- ``reassoc`` is added in a `kernel_reassociating`, because a sum is vectorised only if its order is free. The order
  then depends on the processor and the length, never on the number of threads.
- ``_nrt`` says whether numba counts references to arrays, see `kernel_without_refcounts`.
"""

import hashlib
import logging
import math
import os
from functools import cache
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload

from .. import files

LOG = logging.getLogger("l2l_ref")  # not a warning, which may be an error to the caller

if numba.config.DISABLE_JIT:
    LOG.warning("NUMBA_DISABLE_JIT is set: there are no compiled twins, backend='auto' takes the NumPy originals")
    raise ImportError("NUMBA_DISABLE_JIT is set, and the twins exist as compiled code only")

if hasattr(os, "register_at_fork"):  # a child that is forked while a thread compiles would wait for this lock forever
    os.register_at_fork(before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release,
                        after_in_child=global_compiler_lock.release)

GEMM_SIZE = 2**18  # OpenBLAS starts threads of its own above this product of sizes

FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}, "_nrt": True}
WITHOUT_REFCOUNTS = {**FLAGS, "_nrt": False}


def kernel(function, flags=FLAGS):
    """Compile ``function`` with the package's flags, and cache the machine code on disk where that is possible."""
    compiled = numba.njit(**flags)(function)
    if _CACHE is not None:
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = _CACHE  # numba reads it while the cache is made
        try:
            compiled._cache = _Cache(function)
        except RuntimeError:  # the folder cannot be written to
            pass
        finally:
            numba.config.CACHE_DIR = before
    return compiled


class _Cache(FunctionCache):
    """numba's cache, without which a function is compiled anew.

    numba raises whatever comes of a cut file, which a power failure leaves, and of a full disk.
    """

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # that of any pickle
            _warn()
            try:
                self.flush()  # so that the next process finds an index
            except OSError:
                self.disable()
            return None

    def save_overload(self, sig, data):
        try:
            super().save_overload(sig, data)
        except Exception:
            _warn()
            self.disable()


@cache  # so that it is said once
def _warn():
    LOG.warning("the cache of compiled code in %s has damaged files, or its disk is full: compiled anew", _CACHE)


def _cache_folder():
    """A folder of machine code for exactly these sources, or None if there is no safe place for it.

    What lies there is pickle, which runs as code when it is loaded. So the folder must belong to the user, and nobody
    else may write into it.

    numba only compares a cached kernel with the file that defines it. It does not notice changes in functions of other
    files that the kernel calls, nor in constants of ops/ that it has compiled in.
    """
    sources = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted((*here.glob("*.py"), *here.with_name("ops").glob("*.py"))):
        sources.update(path.read_bytes())
    root = files.cache_folder(numba.config.CACHE_DIR)
    folder = root and os.path.join(root, f"numba-{sources.hexdigest()[:16]}")
    return folder if folder and files.make_private(root) and files.make_private(folder) else None


_CACHE = _cache_folder()


def _dot(a, b, n):
    """The sum of a[i] b[i] over i < n."""
    total = a.dtype.type(0)
    for i in range(n):
        total += a[i] * b[i]
    return total


def kernel_without_refcounts(function):
    """A `kernel` in which references to arrays are not counted.

    Counting takes two atomic additions whenever a row gets a name, which is as slow as the arithmetic on a short row.
    In return such a kernel must not allocate, must not assign one array to another, and may call np.dot only through a
    `kernel`. If it returns part of an array, only kernels of this kind may use it, since nothing keeps the array alive.
    """
    return kernel(function, WITHOUT_REFCOUNTS)


def kernel_reassociating(function):
    """A `kernel_without_refcounts` that may take sums in any order.

    A loop that sums must not write into an array. Otherwise how far apart the arrays lie in memory would decide
    whether the loop is vectorised, and with it the order of the sum.
    """
    return kernel(function, {**WITHOUT_REFCOUNTS, "fastmath": {"contract", "reassoc"}})


dot = kernel_reassociating(_dot)


@kernel_reassociating
def dots(A, x, out):
    """Write A x into out (N,), for a small A (N, K)."""
    for i in range(len(A)):
        a, total = A[i], A.dtype.type(0)
        for j in range(len(x)):
            total += a[j] * x[j]
        out[i] = total


@kernel_without_refcounts
def product(x, A, out):
    """Add x A to out (K,), for a small A (N, K): four rows per pass, because sums that go through memory are slow."""
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


WIDTH = 64  # bytes in a row of a block


@intrinsic
def _transpose_block(_, a, out, i, j):
    """Transpose the square block of a at row i and column j into out at row j and column i.

    Left to itself, LLVM turns this into a loop over single numbers, which is four times as slow. Here it is told what
    to do with n rows of n numbers: log2(n) rounds, each of which swaps the off-diagonal corners of smaller and smaller
    squares along the diagonal, for two rows at once.
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
            # An index of n or more refers to the second row of a pair.
            upper = order([index(n + c - half if c & half else c) for c in range(n)])
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
    """Write a^T into out (M, N), for a (N, M), both C-contiguous, by square blocks; the last ones overlap others."""
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


ROWS = 6  # of a block: 2 x 6 sums, two factors and a broadcast one fill 15 of the 16 registers of 32 bytes


def _block_of(rows):
    """The intrinsic behind `block_product`, for a number of rows that is fixed when it is compiled."""

    @intrinsic
    def block(_, a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at, start_row,
              out, out_at, out_row):
        if any((array.layout, array.ndim) != ("C", 1) for array in (a, b, start, out)):
            raise TypingError("block_product: expected contiguous vectors")

        def codegen(context, builder, signature, arguments):
            number = context.get_data_type(signature.args[0].dtype)
            size, index = context.get_abi_sizeof(number), ir.IntType(32)
            vector = ir.VectorType(number, WIDTH // size)
            everywhere = ir.VectorType(index, WIDTH // size)(None)  # the index 0 in each place
            a, b, start, out = (context.make_array(signature.args[k])(context, builder, arguments[k]).data
                                for k in (0, 5, 11, 14))
            _, a_at, a_row, a_outer, a_inner, _, b_at, b_outer, b_inner, outer, inner = arguments[:11]
            _, start_at, start_row, _, out_at, out_row = arguments[11:]

            def at(pointer, first, *steps):
                for count, step in steps:
                    first = builder.add(first, builder.mul(count, step))
                return builder.gep(pointer, [first])

            def many(pointer):
                return builder.bitcast(pointer, vector.as_pointer())

            sums = [cgutils.alloca_once(builder, vector) for _ in range(rows)]
            for q, total in enumerate(sums):
                first = builder.load(many(at(start, start_at, (start_row.type(q), start_row))))
                first.align = size
                builder.store(first, total)
            with cgutils.for_range(builder, outer) as u, cgutils.for_range(builder, inner) as v:
                factors = builder.load(many(at(b, b_at, (u.index, b_outer), (v.index, b_inner))))
                factors.align = size
                here = at(a, a_at, (u.index, a_outer), (v.index, a_inner))
                for q, total in enumerate(sums):
                    x = builder.load(builder.gep(here, [builder.mul(a_row.type(q), a_row)]))
                    x = builder.insert_element(vector(ir.Undefined), x, index(0))
                    x = builder.shuffle_vector(x, vector(ir.Undefined), everywhere)
                    product = builder.fmul(x, factors, flags=["contract"])
                    builder.store(builder.fadd(builder.load(total), product, flags=["contract"]), total)
            for q, total in enumerate(sums):
                place = many(at(out, out_at, (out_row.type(q), out_row)))
                builder.store(builder.load(total), place).align = size
            return context.get_dummy_value()

        return types.void(a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at,
                          start_row, out, out_at, out_row), codegen

    return block


_block_1, _block_2, _block_3, _block_4, _block_5, _block_6 = map(_block_of, range(1, ROWS + 1))


@kernel_without_refcounts
def block_product(rows, a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at,
                  start_row, out, out_at, out_row):
    """One block of a product of matrices whose rows may overlap in memory, which BLAS does not take.

    All arrays are contiguous vectors. For q < rows and the WIDTH bytes of k it writes

        out[out_at + q out_row + k] = start[start_at + q start_row + k]
            + sum_uv a[a_at + q a_row + u a_outer + v a_inner] b[b_at + u b_outer + v b_inner + k]

    where u < outer and v < inner. The sums stay in registers. Their order is that of u and v, so a result does not
    depend on the block that it is in.
    """
    if rows == 6:
        _block_6(a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at, start_row,
                 out, out_at, out_row)
    elif rows == 5:
        _block_5(a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at, start_row,
                 out, out_at, out_row)
    elif rows == 4:
        _block_4(a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at, start_row,
                 out, out_at, out_row)
    elif rows == 3:
        _block_3(a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at, start_row,
                 out, out_at, out_row)
    elif rows == 2:
        _block_2(a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at, start_row,
                 out, out_at, out_row)
    else:
        _block_1(a, a_at, a_row, a_outer, a_inner, b, b_at, b_outer, b_inner, outer, inner, start, start_at, start_row,
                 out, out_at, out_row)


def tanh(x):
    """The hyperbolic tangent, in the precision of ``x``."""
    raise NotImplementedError("for compiled code only")


def sigmoid(x):
    """The logistic function, in the precision of ``x``; it does not overflow at either end."""
    raise NotImplementedError("for compiled code only")


def exp(x):
    """exp(x) for x <= 0, in the precision of ``x``; results are at least the smallest normal number."""
    raise NotImplementedError("for compiled code only")


def log(x):
    """The natural logarithm of a normal number x > 0, in the precision of ``x``."""
    raise NotImplementedError("for compiled code only")


# float32: tanh(x) = x P(x^2) / Q(x^2) on [-7.9, 7.9]; at the ends it is within 2.7e-7 of 1. The coefficients are our
# own minimax fit: the relative error is 1.4e-8 before rounding and below 4e-7 in float32. Up to 8.1 rounding never
# takes the result above 1. There are nine multiply-adds and one division, no branch and no call, so LLVM vectorises it.
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


# float32: exp(x) = 2^n exp(r) with |r| <= ln(2) / 2. exp(r) is its Taylor series up to r^7, and 2^n is made from its
# bits; the relative error of the result is 8e-8. Adding 1.5 * 2^23 rounds to a whole number and puts its bits last.
# ln(2) is split into two parts, the first of which has few bits.
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


# float32: log(x) = n ln(2) + log(y), where x = 2^n y with sqrt(1/2) <= y < sqrt(2), and log(y) = 2 artanh(s) with
# s = (y - 1) / (y + 1). The series up to s^9 has an error below 2e-9 for |s| < 0.172. Subtracting the bits of sqrt(1/2)
# from those of x leaves n in the leading bits.
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
    return k * LN2_HIGH + (k * LN2_LOW + (s + s) * series) if x <= LARGEST_32 else x  # inf, or nan


def _log_float64(x):
    return math.log(x)


def _sigmoid_float32(x):
    return HALF + HALF * tanh(HALF * x)


# float64: exp(x) = 2^n (1 + p) with p = exp(r) - 1 and |r| <= ln(2) / 2. p is the Taylor series up to r^11, economised
# by Chebyshev polynomials, with a relative error of 4e-18. The three functions below are within 3 ulp and, unlike calls
# to libm, are vectorised.
ROUNDS_64, LN2_HIGH_64, LN2_LOW_64 = 6755399441055744.0, 0.6931471803691238, 1.9082149292705877e-10
D2, D3, D4, D5, D6, D7, D8, D9, D10, D11 = (
    0.5000000000000001, 0.1666666666666667, 0.04166666666662412, 0.008333333333326134, 0.0013888888917215586,
    0.00019841269874822307, 2.4801521293463862e-05, 2.755725539833871e-06, 2.762008948195459e-07,
    2.5105217695684516e-08)
LARGEST = 708.39  # exp(LARGEST) and exp(-LARGEST) are normal numbers


def _exp_parts(x):
    """(p, 2^n) for x in [-LARGEST, LARGEST]."""
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

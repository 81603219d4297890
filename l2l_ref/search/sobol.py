"""Points of a Sobol sequence in the unit cube, for boxes of more dimensions than a network was trained on.

    v_k = m_k / 2^k,  m_k from the recurrence of the dimension's primitive polynomial
    x_n = the exclusive or of those v_k for which bit k of the Gray code of n is set, and of a random shift

Source: Sobol 1967; the Gray code of Antonov and Saleev 1979; the polynomials and the first m_k are those of Joe and
Kuo 2008. The shift is drawn from a seed.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..protocols import Array

BITS = 32
# Of each dimension after the first: the polynomial, its coefficients being the bits of a number, and the first m_k.
TABLE = """
3:1 7:1,3 11:1,3,1 13:1,1,1 19:1,1,3,3 25:1,3,5,13 37:1,1,5,5,17 41:1,1,5,5,5 47:1,1,7,11,19 55:1,1,5,1,1
59:1,1,1,3,11 61:1,3,5,5,31 67:1,3,3,9,7,49 91:1,1,1,15,21,21 97:1,3,1,13,27,49 103:1,1,1,15,7,5
109:1,3,1,15,13,25 115:1,1,5,5,19,61 131:1,3,7,11,23,15,103 137:1,3,7,13,13,15,69 143:1,1,3,13,7,35,63
145:1,3,5,9,1,25,53 157:1,3,1,13,9,35,107 167:1,3,1,5,27,61,31 171:1,1,5,11,19,41,61 185:1,3,5,3,3,13,69
191:1,1,7,13,1,19,1 193:1,3,7,5,13,19,59 203:1,1,3,9,25,29,41 211:1,3,5,13,23,1,55 213:1,3,7,3,13,59,17
229:1,3,1,3,5,53,69 239:1,1,5,5,23,33,13 241:1,1,7,7,1,61,123 247:1,1,7,9,13,61,49 253:1,3,3,5,3,55,33
285:1,3,1,15,31,13,49,245 299:1,3,5,15,31,59,63,97 301:1,3,1,11,11,11,77,249
"""
MOST_DIMENSIONS = len(TABLE.split()) + 1


@cache
def _directions() -> Array:
    """v_k of each dimension as whole numbers of `BITS` bits, (MOST_DIMENSIONS, BITS)."""
    rows = [[1] * BITS]
    for text in TABLE.split():
        polynomial, _, first = text.partition(":")
        coefficients, m = int(polynomial), [int(m_k) for m_k in first.split(",")]
        degree = len(m)
        for k in range(degree, BITS):
            m_k = m[k - degree]
            for j in range(1, degree + 1):
                if coefficients >> (degree - j) & 1:
                    m_k ^= m[k - j] << j
            m.append(m_k)
        rows.append(m)
    return np.array([[m_k << BITS - 1 - k for k, m_k in enumerate(row)] for row in rows], np.uint64)


def sobol_point(number: int, dim: int, seed: list[int]) -> Array:
    """Point ``number`` (dim,) of the sequence of this seed."""
    shift = np.random.default_rng(seed).integers(2**BITS, size=dim, dtype=np.uint64)
    gray = number ^ number >> 1
    set_ = [k for k in range(BITS) if gray >> k & 1]
    bits = np.bitwise_xor.reduce(_directions()[:dim, set_], axis=1) ^ shift if set_ else shift
    point: Array = (bits.astype(np.float64) + 0.5) / 2.0**BITS
    return point

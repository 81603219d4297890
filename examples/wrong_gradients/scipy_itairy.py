"""The integral of the Airy function Ai near 9, and its derivative Ai.

Seen in scipy 1.17.1. Up to 9.25, `itairy` is the difference of two power series, and each is cut off at a term of 1e-5
of its sum. At 9 the sums are 2e6 and the difference should be 1/3.
"""

import numpy as np

import l2l_ref as l2l

try:
    import mpmath
    import scipy
    from scipy import special
except ImportError as missing:
    print(f"{missing.name} is not installed")
    raise SystemExit from None


def integral(x):
    return special.itairy(x)[0]


def derivative(d_out, x):
    return d_out * special.airy(x)[0]


x = np.array([5.0, 7.0, 9.0])
print(l2l.gradcheck(integral, derivative, x))

# The same integral with 30 digits, by the primitive function of mpmath, whose own derivative is Ai again.
mpmath.mp.dps = 30
print(f"\nscipy {scipy.__version__}")
for point in x:
    primitive = mpmath.airyai(point, derivative=-1)
    slope = mpmath.diff(lambda t: mpmath.airyai(t, derivative=-1), point)
    assert abs(slope / mpmath.airyai(point) - 1) < 1e-9
    print(f"at {point:g}: itairy {integral(point):.10f}, mpmath {float(primitive):.10f}")

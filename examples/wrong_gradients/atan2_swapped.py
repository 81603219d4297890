"""The two gradients of atan2, swapped.

Reported as getkeops/keops#155. KeOps, a library for kernel operations, gave -y / r^2 to y and x / r^2 to x.
"""

import numpy as np

import l2l_ref as l2l


def atan2(y, x):
    return np.arctan2(y, x)


def wrong(d_out, y, x):
    r2 = x**2 + y**2
    return -d_out * y / r2, d_out * x / r2


def right(d_out, y, x):
    r2 = x**2 + y**2
    return d_out * x / r2, -d_out * y / r2


y, x = np.random.default_rng(0).normal(size=(2, 4))
print(l2l.gradcheck(atan2, wrong, (y, x)), end="\n\n")
print(l2l.gradcheck(atan2, right, (y, x)))

"""A stray digit in the constant ln 10.

Reported as shader-slang/slang#9176. In the derivative of log10 of the shading language Slang, the constant
2.302585... had become 52.302585...
"""

import numpy as np

import l2l_ref as l2l


def log10(x):
    return np.log10(x)


def wrong(d_out, x):
    return d_out / (x * 52.30258509299404568)


def right(d_out, x):
    return d_out / (x * 2.30258509299404568)


x = np.random.default_rng(0).uniform(0.5, 5.0, size=6)
print(l2l.gradcheck(log10, wrong, x), end="\n\n")
print(l2l.gradcheck(log10, right, x))

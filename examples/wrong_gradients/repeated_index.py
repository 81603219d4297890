"""= for +=: of an entry that is used twice, only the last use counts.

Reported as pytorch/pytorch#1528, in the days of version 0.1: indexing with repeated indices.
"""

import numpy as np

import l2l_ref as l2l

index = np.array([0, 2, 2, 1, 2])


def pick(x):
    return x[index]


def wrong(d_out, x):
    d_x = np.zeros_like(x)
    d_x[index] = d_out
    return d_x


def right(d_out, x):
    d_x = np.zeros_like(x)
    np.add.at(d_x, index, d_out)
    return d_x


x = np.random.default_rng(0).normal(size=4)
print(l2l.gradcheck(pick, wrong, x), end="\n\n")
print(l2l.gradcheck(pick, right, x))

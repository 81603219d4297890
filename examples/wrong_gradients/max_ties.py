"""A maximum that is shared, and a gradient that is given to each of its owners whole.

Reported as apache/mxnet#18563. For a matrix of ones, the gradient of the maximum of each column was 1 in every row.
"""

import numpy as np

import l2l_ref as l2l


def column_maximum(x):
    return x.max(axis=0)


def wrong(d_out, x):
    return d_out * (x == x.max(axis=0))


def right(d_out, x):
    largest = x == x.max(axis=0)
    return d_out * largest / largest.sum(axis=0)


x = np.ones((4, 3))
print(l2l.gradcheck(column_maximum, wrong, x), end="\n\n")
print(l2l.gradcheck(column_maximum, right, x))

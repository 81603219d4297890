"""A maximum that is shared, and a gradient that is given to each of its owners whole.

Reported as apache/mxnet#18563. For a matrix of ones, the gradient of the maximum of each column was 1 in every row.
Here the rows are copies of one input, whose gradient is the sum over the rows.
"""

import numpy as np

import l2l_ref as l2l


def maximum_of_copies(x):
    rows = np.stack([x, x, x, x])
    return rows.max(axis=0)


def wrong(d_out, x):
    rows = np.stack([x, x, x, x])
    largest = rows == rows.max(axis=0)
    d_rows = d_out * largest
    return d_rows.sum(axis=0)


def right(d_out, x):
    rows = np.stack([x, x, x, x])
    largest = rows == rows.max(axis=0)
    d_rows = d_out * largest / largest.sum(axis=0)
    return d_rows.sum(axis=0)


x = np.random.default_rng(0).normal(size=3)
print(l2l.gradcheck(maximum_of_copies, wrong, x), end="\n\n")
print(l2l.gradcheck(maximum_of_copies, right, x))

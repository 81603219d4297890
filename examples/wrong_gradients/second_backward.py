"""A gradient that is added to what the last call left.

Reported as karpathy/micrograd#53. Each node of the graph keeps its gradient, and a second backward pass adds to it.
For leaves that is wanted; for the nodes between, here c = a + b, it is passed on.
"""

import numpy as np

import l2l_ref as l2l

grad_c = np.zeros(3)  # a buffer that lives as long as the graph


def product(a, b, d):
    c = a + b
    return c * d


def wrong(d_out, a, b, d):
    grad_c[...] += d_out * d
    return grad_c.copy(), grad_c.copy(), d_out * (a + b)


def right(d_out, a, b, d):
    grad_c[...] = d_out * d
    return grad_c.copy(), grad_c.copy(), d_out * (a + b)


a, b, d = np.random.default_rng(0).normal(size=(3, 3))
print(l2l.gradcheck(product, wrong, (a, b, d)), end="\n\n")
print(l2l.gradcheck(product, right, (a, b, d)))

"""The softmax, as if each output depended on its own input alone.

Reported as deeplearning4j/libnd4j#440: "we only implement one part of this", the diagonal of the Jacobian.
"""

import numpy as np

import l2l_ref as l2l


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def wrong(d_out, x):
    p = softmax(x)
    return d_out * p * (1 - p)


def right(d_out, x):
    p = softmax(x)
    return p * (d_out - np.sum(d_out * p, axis=1, keepdims=True))


x = np.random.default_rng(0).normal(size=(3, 4))
print(l2l.gradcheck(softmax, wrong, x), end="\n\n")
print(l2l.gradcheck(softmax, right, x))

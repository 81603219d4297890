"""A bias that was broadcast, and a gradient that was not summed.

Reported as deeplearning4j/nd4j#2424: the gradient of a row vector that is added to a matrix came back as a matrix.
"""

import numpy as np

import l2l_ref as l2l


def add(x, bias):
    return x + bias


def wrong(d_out, x, bias):
    return d_out, d_out


def right(d_out, x, bias):
    return d_out, d_out.sum(axis=0, keepdims=True)


rng = np.random.default_rng(0)
x, bias = rng.normal(size=(3, 4)), rng.normal(size=(1, 4))
print(l2l.gradcheck(add, wrong, (x, bias)), end="\n\n")
print(l2l.gradcheck(add, right, (x, bias)))

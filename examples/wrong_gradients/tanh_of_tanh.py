"""The right derivative, evaluated at the output instead of the input.

Reported as davidrmiller/neural2d#40. The derivative of tanh was a function of the input, but the network kept the
output, so that training used 1 - tanh(tanh(x))^2.
"""

import numpy as np

import l2l_ref as l2l


def activation(x):
    y = np.tanh(x)
    return y, y  # the output, and what the backward pass gets


def wrong(d_out, y):
    return d_out * (1 - np.tanh(y) ** 2)


def right(d_out, y):
    return d_out * (1 - y**2)


x = np.random.default_rng(0).normal(size=6)
print(l2l.gradcheck(activation, wrong, x), end="\n\n")
print(l2l.gradcheck(activation, right, x))

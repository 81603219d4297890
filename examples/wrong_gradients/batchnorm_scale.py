"""A scale that is left out, and that the tests had set to 1.

Reported as denizyuret/Knet.jl#288. The backward pass of batch normalisation computed d_y * gamma and went on with
d_y. Its gradient check passed, since gamma starts at 1.
"""

import numpy as np

import l2l_ref as l2l


def normalize(x):
    std = np.sqrt(x.var(axis=0) + 1e-5)
    return (x - x.mean(axis=0)) / std, std


def batchnorm(x, gamma, beta):
    return gamma * normalize(x)[0] + beta


def wrong(d_y, x, gamma, beta):
    z, std = normalize(x)
    d_z = d_y
    d_x = (d_z - d_z.mean(axis=0) - z * (d_z * z).mean(axis=0)) / std
    return d_x, (d_y * z).sum(axis=0), d_y.sum(axis=0)


def right(d_y, x, gamma, beta):
    z, std = normalize(x)
    d_z = d_y * gamma
    d_x = (d_z - d_z.mean(axis=0) - z * (d_z * z).mean(axis=0)) / std
    return d_x, (d_y * z).sum(axis=0), d_y.sum(axis=0)


rng = np.random.default_rng(0)
inputs = rng.normal(size=(6, 3)), rng.uniform(0.5, 2.0, size=3), rng.normal(size=3)
print(l2l.gradcheck(batchnorm, wrong, inputs), end="\n\n")
print(l2l.gradcheck(batchnorm, right, inputs))

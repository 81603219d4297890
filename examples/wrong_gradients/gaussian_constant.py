"""A constant term that is off: 1/4 for 1/2.

Reported as y0ast/VAE-Torch#5. The criterion is the log-likelihood of a Gaussian, and its second parameter is the
logarithm of the variance.
"""

import numpy as np

import l2l_ref as l2l


def log_likelihood(mean, log_var, x):
    z2 = (x - mean) ** 2 / np.exp(log_var)
    return np.sum(-0.5 * (np.log(2 * np.pi) + log_var) - 0.5 * z2)


def wrong(d_out, mean, log_var, x):
    z2 = (x - mean) ** 2 / np.exp(log_var)
    return d_out * (x - mean) / np.exp(log_var), d_out * (-0.25 + 0.5 * z2), None


def right(d_out, mean, log_var, x):
    z2 = (x - mean) ** 2 / np.exp(log_var)
    return d_out * (x - mean) / np.exp(log_var), d_out * (-0.5 + 0.5 * z2), None


mean, log_var, x = np.random.default_rng(0).normal(size=(3, 5))
print(l2l.gradcheck(log_likelihood, wrong, (mean, log_var, x), wrt=["mean", "log_var"]), end="\n\n")
print(l2l.gradcheck(log_likelihood, right, (mean, log_var, x), wrt=["mean", "log_var"]))

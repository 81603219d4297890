"""The derivative by alpha, where the optimizer moves log alpha.

Reported as scverse/PyDESeq2#106. The function is the prior on the dispersions alpha of genes, whose logarithms are
fitted. The chain rule by hand left a division by alpha.
"""

import numpy as np

import l2l_ref as l2l

prior_mean, prior_var = -1.0, 0.8


def prior(log_alpha):
    return np.sum((log_alpha - prior_mean) ** 2) / (2 * prior_var)


def wrong(log_alpha):
    alpha = np.exp(log_alpha)
    return (log_alpha - prior_mean) / (alpha * prior_var)


def right(log_alpha):
    return (log_alpha - prior_mean) / prior_var


log_alpha = np.random.default_rng(0).normal(size=6)
print(l2l.gradcheck(prior, wrong, log_alpha, kind="gradient"), end="\n\n")
print(l2l.gradcheck(prior, right, log_alpha, kind="gradient"))

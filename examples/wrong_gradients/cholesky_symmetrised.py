"""A symmetric gradient, of a function that reads one triangle.

Reported as pytorch/pytorch#137284. The change that was proposed was not taken: a symmetric gradient is right for a
function of symmetric matrices. It is not the gradient in the entries of the array, of which the factorisation reads the
lower triangle alone.
"""

import numpy as np

import l2l_ref as l2l


def cholesky(A):
    return np.linalg.cholesky(A)


def wrong(d_L, A):
    L = np.linalg.cholesky(A)
    M = np.tril(L.T @ d_L)
    M -= np.diag(np.diag(M)) / 2
    S = np.linalg.solve(L.T, np.linalg.solve(L.T, M.T).T)
    return (S + S.T) / 2


def right(d_L, A):
    L = np.linalg.cholesky(A)
    M = np.tril(L.T @ d_L)
    M -= np.diag(np.diag(M)) / 2
    S = np.linalg.solve(L.T, np.linalg.solve(L.T, M.T).T)
    return np.tril(S + S.T) - np.diag(np.diag(S))


B = np.random.default_rng(0).normal(size=(4, 4))
print(l2l.gradcheck(cholesky, wrong, B @ B.T + np.eye(4)), end="\n\n")
print(l2l.gradcheck(cholesky, right, B @ B.T + np.eye(4)))

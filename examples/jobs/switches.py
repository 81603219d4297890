"""Six switches: which features of handwritten digits a linear classifier is to see, by its error on others."""

import sys

import numpy as np

import l2l_ref as l2l

TITLE, NEEDS = "6 switches", None
NAMES = ("squares", "sums", "right", "down", "thresholds", "centred")
SPACE = {name: l2l.Categorical([False, True]) for name in NAMES}
EVALUATIONS, WORKERS = 40, 1


def features(images, x):
    """The pixels (n, 64) and what the switches add."""
    pixels = images / images.max()
    square = pixels.reshape(-1, 8, 8)
    parts = [np.ones((len(images), 1)), pixels - pixels.mean(axis=1, keepdims=True) if x["centred"] else pixels]
    if x["squares"]:
        parts.append(pixels**2)
    if x["sums"]:
        parts += [square.sum(axis=1) ** 2, square.sum(axis=2) ** 2]
    if x["right"]:
        parts.append((square[:, :, 1:] * square[:, :, :-1]).reshape(len(images), -1))
    if x["down"]:
        parts.append((square[:, 1:] * square[:, :-1]).reshape(len(images), -1))
    if x["thresholds"]:
        parts.append(pixels > 0.5)
    return np.concatenate(parts, axis=1)


def objective(seed):
    """The error in % on 600 images, after training on the 200 others of 800 that the seed draws."""
    digits = l2l.datasets.load("digits", "train")
    rows = np.random.default_rng([seed, 3]).permutation(len(digits.images))[:800]
    images, labels = digits.images[rows], digits.labels[rows]
    targets = np.eye(10)[labels]

    def error(x):
        F = features(images, x)
        A, B = F[:200], F[200:]
        weights = np.linalg.solve(A.T @ A + np.eye(A.shape[1]), A.T @ targets[:200])
        return float(100 * np.mean((B @ weights).argmax(axis=1) != labels[200:]))

    return error, error


if __name__ == "__main__":
    from beside_peers import main

    main(sys.modules[__name__])

"""Layers and losses of feed-forward networks."""

from functools import partial

import numpy as np

from ..ops import activations, linear, losses
from .operation import Operation, nonzero_array, normal, off_zero, one_array, times


def _linear(rng, N=3, D=4, M=2):
    return normal(rng, N, D), normal(rng, D, M), normal(rng, M)


def _entropy(rng, N=4, C=3):
    return normal(rng, N, C), rng.integers(0, C, N)


def _squared_error(rng, N=3, D=2):
    return normal(rng, N, D), normal(rng, N, D)


def _prediction_is_target(rng):
    prediction, _ = _squared_error(rng)
    return prediction, prediction.copy()


OPERATIONS = (
    Operation(
        "sigmoid", activations.sigmoid, one_array(3, 4),
        r"s = \dfrac{1}{1 + e^{-x}}", "definition",
        cases={
            "saturated": times(30, one_array(5)),
            "tied": lambda rng: (np.array([0.0, -0.0, 0.0]),),
            "tiny": times(1e-8, one_array(5)),
            "huge": times(1e4, nonzero_array),
            "one entry": one_array(1),
            "empty": one_array(0, 3),
        },
    ),
    Operation(
        "tanh", activations.tanh, one_array(3, 4),
        r"t = \tanh x", "definition",
        cases={
            "saturated": times(15, one_array(5)),
            "tiny": times(1e-8, one_array(5)),
            "huge": times(1e4, nonzero_array),
            "one entry": one_array(1),
            "empty": one_array(0, 3),
        },
    ),
    Operation(
        "relu", activations.relu, nonzero_array,
        r"r = \max(x, 0)", "definition; slope 0 at 0",
        cases={
            "tied": lambda rng: (np.array([0.0, 1.0, -1.0]),),
            "tiny": times(1e-8, nonzero_array),
            "huge": times(1e4, nonzero_array),
            "one entry": lambda rng: nonzero_array(rng, 1),
            "empty": one_array(0, 3),
        },
    ),
    Operation(
        "softmax", activations.softmax, one_array(3, 4),
        r"p_j = \dfrac{e^{x_j}}{\sum_k \ e^{x_k}}", "definition",
        cases={
            "saturated": times(100, one_array(2, 3)),
            "tied": lambda rng: (np.ones((2, 3)),),
            "tiny": times(1e-8, one_array(2, 3)),
            "huge": times(1e4, one_array(2, 3)),
            "one row": one_array(1, 3),
            "one class": one_array(2, 1),
            "three axes": one_array(2, 2, 3),
            "empty": one_array(0, 3),
        },
    ),
    Operation(
        "linear", linear.linear, _linear,
        r"y = x W + b", "definition",
        cases={
            "tiny": times(1e-8, _linear),
            "huge": times(1e4, _linear),
            "one row": partial(_linear, N=1),
            "empty": partial(_linear, N=0),
        },
    ),
    Operation(
        "softmax_cross_entropy", losses.softmax_cross_entropy, _entropy,
        r"\ell_n = \log \sum_j \ e^{z_{nj}} - z_{n,y(n)}", "definition",
        cases={
            "saturated": times(50, _entropy),
            "tied": times(0, _entropy),
            "tiny": times(1e-8, _entropy),
            "huge": times(1e4, _entropy),
            "one row": partial(_entropy, N=1),
            "one class": partial(_entropy, C=1),
            "empty": partial(_entropy, N=0),
        },
    ),
    Operation(
        "squared_error", losses.squared_error, _squared_error,
        r"\ell_n = \sum_j \ (p_{nj} - t_{nj})^2", "definition",
        cases={
            "tied": _prediction_is_target,
            "tiny": times(1e-8, _squared_error),
            "huge": times(1e4, _squared_error),
            "one row": partial(_squared_error, N=1),
            "empty": partial(_squared_error, N=0),
        },
    ),
    Operation(
        "sigmoid_cross_entropy", losses.sigmoid_cross_entropy,
        lambda rng: (normal(rng, 3, 4), rng.integers(0, 2, (3, 4))),
        r"l = \log(1 + e^v) - t v", "definition",
        cases={
            "saturated": lambda rng: (30 * normal(rng, 5), rng.integers(0, 2, 5)),
            "huge": lambda rng: (1e4 * off_zero(rng, 5), rng.integers(0, 2, 5)),
            "one bit": lambda rng: (normal(rng, 1), np.array([1])),
            "empty": lambda rng: (normal(rng, 0, 3), rng.integers(0, 2, (0, 3))),
        },
    ),
)

"""Losses: E1 and E2 give one value per row, E3 one value per entry.

Dims: N rows, C classes, D outputs.

    E1  l_n = log sum_j exp(z_nj) - z_n,y(n)      softmax cross-entropy, logits z, labels y
    E2  l_n = sum_j (p_nj - t_nj)^2               squared error
    E3  l = log(1 + exp(v)) - t v                 sigmoid cross-entropy of single bits, logit v, target t
"""

import reprlib
from typing import NamedTuple

import numpy as np

from ..checks import require_shape
from .activations import softmax


class SoftmaxCrossEntropyCache(NamedTuple):
    p: np.ndarray       # (N, C), softmax(z)
    labels: np.ndarray  # (N,) integer


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, SoftmaxCrossEntropyCache]:
    """E1. logits (N, C), labels (N,) integers in 0..C-1 -> losses (N,) in nats, cache.

    Raises ValueError on other shapes, and on labels that are not integers in 0..C-1.
    """
    require_shape("logits", logits, N=None, C=None)
    N, C = logits.shape
    require_shape("labels", labels, N=N)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels: expected integers, got {labels.dtype}")
    if N and not (0 <= labels.min() and labels.max() < C):
        raise ValueError(f"labels: expected integers in 0..{C - 1}, got {labels.min()}..{labels.max()}")
    p, _ = softmax(logits)
    shift = logits.real.max(axis=1, keepdims=True, initial=-np.inf)
    log_sum = np.log(np.exp(logits - shift).sum(axis=1)) + shift[:, 0]
    return log_sum - logits[np.arange(N), labels], SoftmaxCrossEntropyCache(p, labels)  # E1


def softmax_cross_entropy_backward(
    d_losses: np.ndarray, cache: SoftmaxCrossEntropyCache
) -> tuple[np.ndarray, None]:
    """d_losses (N,) -> d_logits (N, C), None (the labels are constants)."""
    p, labels = cache
    d_logits = d_losses[:, None] * p                                 # E1, the log-sum-exp
    d_logits[np.arange(len(labels)), labels] -= d_losses             # E1, the chosen logit
    return d_logits, None


class SquaredErrorCache(NamedTuple):
    residual: np.ndarray  # (N, D), prediction - target


def squared_error(prediction: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, SquaredErrorCache]:
    """E2. prediction (N, D), target (N, D) -> losses (N,), cache. Raises ValueError on other shapes."""
    require_shape("prediction", prediction, N=None, D=None)
    require_shape("target", target, N=prediction.shape[0], D=prediction.shape[1])
    residual = prediction - target
    return (residual * residual).sum(axis=1), SquaredErrorCache(residual)  # E2


def squared_error_backward(d_losses: np.ndarray, cache: SquaredErrorCache) -> tuple[np.ndarray, np.ndarray]:
    """d_losses (N,) -> d_prediction (N, D), d_target (N, D)."""
    d_prediction = 2 * d_losses[:, None] * cache.residual            # E2
    return d_prediction, -d_prediction


class SigmoidCrossEntropyCache(NamedTuple):
    slope: np.ndarray  # (...), sigmoid(v) - t


def sigmoid_cross_entropy(
    logits: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, SigmoidCrossEntropyCache]:
    """E3. logits (...), target (...) of integers 0 or 1 -> losses (...) in nats, cache.

    It does not overflow at either end. Raises ValueError on shapes that differ, and on other targets.
    """
    require_shape("target", target, **{f"axis{i}": length for i, length in enumerate(np.shape(logits))})
    if target.dtype.kind not in "iu" or not np.isin(target, (0, 1)).all():
        raise ValueError(f"target: expected integers 0 or 1, got {reprlib.repr(target)}")
    target = target.astype(logits.real.dtype)
    flip = logits.real >= 0
    e = np.exp(np.where(flip, -logits, logits))                      # |e| <= 1
    losses = np.where(flip, (1 - target) * logits, -target * logits) + np.log1p(e)  # E3
    up, down = np.where(flip, 1, e), np.where(flip, e, 1)            # sigmoid(v) and 1 - sigmoid(v), times 1 + e
    return losses, SigmoidCrossEntropyCache(np.where(target == 1, -down, up) / (1 + e))


def sigmoid_cross_entropy_backward(
    d_losses: np.ndarray, cache: SigmoidCrossEntropyCache
) -> tuple[np.ndarray, None]:
    """d_losses (...) -> d_logits (...), None (the targets are constants)."""
    return d_losses * cache.slope, None                              # E3

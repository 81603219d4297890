"""Elementwise nonlinearities, and softmax.

    A1  s = 1 / (1 + exp(-x))                sigmoid
    A2  t = tanh(x)                          tanh
    A3  r = max(x, 0)                        relu
    A4  p_j = exp(x_j) / sum_k exp(x_k)      softmax over the last axis
    A6  b = 1 + log(1 + exp(x))              oneplus

Arrays may have any shape. The derivative of ``relu`` at 0 is taken as 0, its slope on the left.

Twin: compiled/activations.py, of ``relu`` alone.
"""

from typing import NamedTuple

import numpy as np


class SigmoidCache(NamedTuple):
    s: np.ndarray  # the output


def sigmoid(x: np.ndarray) -> tuple[np.ndarray, SigmoidCache]:
    """A1. x (...) -> s (...), cache. It does not overflow at either end."""
    flip = x.real >= 0
    e = np.exp(np.where(flip, -x, x))                                # |e| <= 1
    s = np.where(flip, 1, e) / (1 + e)                               # A1
    return s, SigmoidCache(s)


def sigmoid_backward(d_s: np.ndarray, cache: SigmoidCache) -> np.ndarray:
    """d_s (...) -> d_x (...)."""
    s = cache.s
    return d_s * s * (1 - s)                                         # A1


class TanhCache(NamedTuple):
    t: np.ndarray  # the output


def tanh(x: np.ndarray) -> tuple[np.ndarray, TanhCache]:
    """A2. x (...) -> t (...), cache."""
    t = np.tanh(x)                                                   # A2
    return t, TanhCache(t)


def tanh_backward(d_t: np.ndarray, cache: TanhCache) -> np.ndarray:
    """d_t (...) -> d_x (...)."""
    return d_t * (1 - cache.t**2)                                    # A2


class ReluCache(NamedTuple):
    kept: np.ndarray  # (...) bool, x > 0, or nan


def relu(x: np.ndarray) -> tuple[np.ndarray, ReluCache]:
    """A3. x (...) -> r (...), cache. nan stays nan."""
    kept = ~(x.real <= 0)
    return np.where(kept, x, np.zeros_like(x)), ReluCache(kept)      # A3


def relu_backward(d_r: np.ndarray, cache: ReluCache) -> np.ndarray:
    """d_r (...) -> d_x (...)."""
    return np.where(cache.kept, d_r, np.zeros_like(d_r))             # A3


class SoftmaxCache(NamedTuple):
    p: np.ndarray  # (..., C), the output


def softmax(x: np.ndarray) -> tuple[np.ndarray, SoftmaxCache]:
    """A4. x (..., C) -> p (..., C), cache. The largest entry is subtracted first, so nothing overflows."""
    e = np.exp(x - x.real.max(axis=-1, keepdims=True, initial=-np.inf))
    p = e / e.sum(axis=-1, keepdims=True)                            # A4
    return p, SoftmaxCache(p)


def softmax_backward(d_p: np.ndarray, cache: SoftmaxCache) -> np.ndarray:
    """d_p (..., C) -> d_x (..., C)."""
    p = cache.p
    return p * (d_p - (d_p * p).sum(axis=-1, keepdims=True))         # A4


class OneplusCache(NamedTuple):
    s: np.ndarray  # sigmoid(x)


def oneplus(x: np.ndarray) -> tuple[np.ndarray, OneplusCache]:
    """A6. x (...) -> b (...) > 1, cache. It does not overflow at either end."""
    flip = x.real >= 0
    e = np.exp(np.where(flip, -x, x))                                # |e| <= 1
    b = 1 + np.where(flip, x, np.zeros_like(x)) + np.log1p(e)        # A6
    return b, OneplusCache(np.where(flip, 1, e) / (1 + e))


def oneplus_backward(d_b: np.ndarray, cache: OneplusCache) -> np.ndarray:
    """d_b (...) -> d_x (...)."""
    return d_b * cache.s                                             # A6

"""Elementwise nonlinearities, and softmax.

    A1  s = 1 / (1 + exp(-x))                sigmoid
    A2  t = tanh(x)                          tanh
    A3  r = max(x, 0)                        relu
    A4  p_j = exp(x_j) / sum_k exp(x_k)      softmax over the last axis
    A6  b = 1 + log(1 + exp(x))              oneplus

Shapes: any. The derivative of ``relu`` at 0 is taken as 0, the slope from the left.
"""

from typing import NamedTuple

import numpy as np


class SigmoidCache(NamedTuple):
    s: np.ndarray  # the output


def sigmoid(x):
    """A1. x (...) -> s (...), cache. Neither end overflows."""
    flip = x.real >= 0
    e = np.exp(np.where(flip, -x, x))                                # |e| <= 1
    s = np.where(flip, 1, e) / (1 + e)                               # A1
    return s, SigmoidCache(s)


def sigmoid_backward(d_s, cache):
    """d_s (...) -> d_x (...)."""
    s = cache.s
    return d_s * s * (1 - s)                                         # A1


class TanhCache(NamedTuple):
    t: np.ndarray  # the output


def tanh(x):
    """A2. x (...) -> t (...), cache."""
    t = np.tanh(x)                                                   # A2
    return t, TanhCache(t)


def tanh_backward(d_t, cache):
    """d_t (...) -> d_x (...)."""
    return d_t * (1 - cache.t**2)                                    # A2


class ReluCache(NamedTuple):
    positive: np.ndarray  # bool, where x > 0


def relu(x):
    """A3. x (...) -> r (...), cache."""
    positive = x.real > 0
    return np.where(positive, x, np.zeros_like(x)), ReluCache(positive)  # A3


def relu_backward(d_r, cache):
    """d_r (...) -> d_x (...)."""
    return np.where(cache.positive, d_r, np.zeros_like(d_r))         # A3


class SoftmaxCache(NamedTuple):
    p: np.ndarray  # (..., C), the output


def softmax(x):
    """A4. x (..., C) -> p (..., C), cache. The largest entry is subtracted first: no overflow."""
    e = np.exp(x - x.real.max(axis=-1, keepdims=True, initial=-np.inf))
    p = e / e.sum(axis=-1, keepdims=True)                            # A4
    return p, SoftmaxCache(p)


def softmax_backward(d_p, cache):
    """d_p (..., C) -> d_x (..., C)."""
    p = cache.p
    return p * (d_p - (d_p * p).sum(axis=-1, keepdims=True))         # A4


class OneplusCache(NamedTuple):
    s: np.ndarray  # sigmoid of the input


def oneplus(x):
    """A6. x (...) -> b (...), above 1, cache. Neither end overflows."""
    flip = x.real >= 0
    e = np.exp(np.where(flip, -x, x))                                # |e| <= 1
    b = 1 + np.where(flip, x, np.zeros_like(x)) + np.log1p(e)        # A6
    return b, OneplusCache(np.where(flip, 1, e) / (1 + e))


def oneplus_backward(d_b, cache):
    """d_b (...) -> d_x (...)."""
    return d_b * cache.s                                             # A6

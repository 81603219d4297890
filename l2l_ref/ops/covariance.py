"""Stationary covariance functions of Gaussian processes, with one length scale for all dimensions or one per dimension.

Dims: B functions, n and m points of each, d dimensions.

    K1  r2 = sum_j ((x_j - z_j) / s_j)^2                             squared distance, length scales s
    K2  k = v exp(-r2 / 2)                                           squared exponential, variance v
    K3  k = v (1 + q) exp(-q),            q = sqrt(3 r2)             Matern 3/2
    K4  k = v (1 + q + q^2 / 3) exp(-q),  q = sqrt(5 r2)             Matern 5/2

Source: Rasmussen & Williams 2006, chapter 4: equation (4.9) for K2 and (4.17) for K3 and K4.

At x = z the distance sqrt(r2) has no derivative, but r2 has one, and so has each k as a function of r2. The backward
passes therefore go through r2 and never divide by the distance. If you already have r2, call the functions of r2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..checks import positive, require_floating, require_shape


class SquaredDistanceCache(NamedTuple):
    u: np.ndarray             # (B, n, m, d), (x - z) / s
    length_scale: np.ndarray  # () or (d,), s


def squared_distance(
    x: np.ndarray, z: np.ndarray, length_scale: ArrayLike
) -> tuple[np.ndarray, SquaredDistanceCache]:
    """K1. x (B, n, d), z (B, m, d), length_scale () or (d,) -> r2 (B, n, m), cache.

    Raises ValueError on other shapes, on points that are not floating, and on a length scale that is not > 0.
    """
    require_shape("x", x, B=None, n=None, d=None)
    B, _, d = x.shape
    require_shape("z", z, B=B, m=None, d=d)
    require_floating("x", x)
    require_floating("z", z)
    length_scale = positive("length_scale", length_scale, x)
    if length_scale.shape not in ((), (d,)):
        raise ValueError(f"length_scale: expected a number or an array of shape (d={d}), got {length_scale.shape}")
    u = (x[:, :, None] - z[:, None]) / length_scale
    return (u * u).sum(axis=3), SquaredDistanceCache(u, length_scale)  # K1


def squared_distance_backward(
    d_r2: np.ndarray, cache: SquaredDistanceCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_r2 (B, n, m) -> d_x (B, n, d), d_z (B, m, d), d_length_scale () or (d,)."""
    u, length_scale = cache
    d_u = 2 * d_r2[..., None] * u                                    # K1
    d_difference = d_u / length_scale                                # K1
    d_length_scale = -(d_difference * u).sum(axis=(0, 1, 2))         # K1
    if length_scale.ndim == 0:
        d_length_scale = d_length_scale.sum()
    return d_difference.sum(axis=2), -d_difference.sum(axis=1), d_length_scale


class SquaredExponentialCache(NamedTuple):
    correlation: np.ndarray  # (...), k / v
    variance: np.ndarray     # ()


def squared_exponential_of_r2(r2: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, SquaredExponentialCache]:
    """K2. r2 (...) >= 0, variance () > 0 -> k (...), cache. Nothing is checked here; `squared_distance` checks."""
    correlation = np.exp(-r2 / 2)                                    # K2
    return variance * correlation, SquaredExponentialCache(correlation, variance)  # K2


def squared_exponential_of_r2_backward(
    d_k: np.ndarray, cache: SquaredExponentialCache
) -> tuple[np.ndarray, np.ndarray]:
    """d_k (...) -> d_r2 (...), d_variance ()."""
    correlation, variance = cache
    return d_k * variance * correlation * -0.5, (d_k * correlation).sum()  # K2


class MaternCache(NamedTuple):
    q: np.ndarray         # (...)
    decay: np.ndarray     # (...), exp(-q)
    variance: np.ndarray  # ()


def matern32_of_r2(r2: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, MaternCache]:
    """K3. Arguments and shapes are those of `squared_exponential_of_r2`."""
    q = np.sqrt(3 * r2)                                              # K3
    decay = np.exp(-q)
    return variance * (1 + q) * decay, MaternCache(q, decay, variance)  # K3


def matern32_of_r2_backward(d_k: np.ndarray, cache: MaternCache) -> tuple[np.ndarray, np.ndarray]:
    """d_k (...) -> d_r2 (...), d_variance ()."""
    q, decay, variance = cache
    return d_k * variance * decay * -1.5, (d_k * (1 + q) * decay).sum()  # K3


def matern52_of_r2(r2: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, MaternCache]:
    """K4. Arguments and shapes are those of `squared_exponential_of_r2`."""
    q = np.sqrt(5 * r2)                                              # K4
    decay = np.exp(-q)
    return variance * (1 + q + q * q / 3) * decay, MaternCache(q, decay, variance)  # K4


def matern52_of_r2_backward(d_k: np.ndarray, cache: MaternCache) -> tuple[np.ndarray, np.ndarray]:
    """d_k (...) -> d_r2 (...), d_variance ()."""
    q, decay, variance = cache
    return d_k * variance * (1 + q) * decay * (-5 / 6), (d_k * (1 + q + q * q / 3) * decay).sum()  # K4


class CovarianceCache(NamedTuple):
    r2: SquaredDistanceCache
    k: Any  # the cache of K2, K3 or K4


# of each covariance: d_x (B, n, d), d_z (B, m, d), d_length_scale () or (d,), d_variance ()
Gradients = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def squared_exponential(
    x: np.ndarray, z: np.ndarray, length_scale: ArrayLike, variance: ArrayLike
) -> tuple[np.ndarray, CovarianceCache]:
    """K1, K2. x (B, n, d), z (B, m, d), length_scale () or (d,), variance () -> k (B, n, m), cache.

    Raises ValueError as `squared_distance` does, and if the variance is not one number > 0.
    """
    r2, r2_cache = squared_distance(x, z, length_scale)              # K1
    k, k_cache = squared_exponential_of_r2(r2, positive("variance", variance, x, single=True))  # K2
    return k, CovarianceCache(r2_cache, k_cache)


def squared_exponential_backward(d_k: np.ndarray, cache: CovarianceCache) -> Gradients:
    """d_k (B, n, m) -> d_x (B, n, d), d_z (B, m, d), d_length_scale () or (d,), d_variance ()."""
    d_r2, d_variance = squared_exponential_of_r2_backward(d_k, cache.k)  # K2
    return *squared_distance_backward(d_r2, cache.r2), d_variance    # K1


def matern32(
    x: np.ndarray, z: np.ndarray, length_scale: ArrayLike, variance: ArrayLike
) -> tuple[np.ndarray, CovarianceCache]:
    """K1, K3. Arguments, shapes and errors are those of `squared_exponential`."""
    r2, r2_cache = squared_distance(x, z, length_scale)              # K1
    k, k_cache = matern32_of_r2(r2, positive("variance", variance, x, single=True))  # K3
    return k, CovarianceCache(r2_cache, k_cache)


def matern32_backward(d_k: np.ndarray, cache: CovarianceCache) -> Gradients:
    """d_k (B, n, m) -> d_x (B, n, d), d_z (B, m, d), d_length_scale () or (d,), d_variance ()."""
    d_r2, d_variance = matern32_of_r2_backward(d_k, cache.k)         # K3
    return *squared_distance_backward(d_r2, cache.r2), d_variance    # K1


def matern52(
    x: np.ndarray, z: np.ndarray, length_scale: ArrayLike, variance: ArrayLike
) -> tuple[np.ndarray, CovarianceCache]:
    """K1, K4. Arguments, shapes and errors are those of `squared_exponential`."""
    r2, r2_cache = squared_distance(x, z, length_scale)              # K1
    k, k_cache = matern52_of_r2(r2, positive("variance", variance, x, single=True))  # K4
    return k, CovarianceCache(r2_cache, k_cache)


def matern52_backward(d_k: np.ndarray, cache: CovarianceCache) -> Gradients:
    """d_k (B, n, m) -> d_x (B, n, d), d_z (B, m, d), d_length_scale () or (d,), d_variance ()."""
    d_r2, d_variance = matern52_of_r2_backward(d_k, cache.k)         # K4
    return *squared_distance_backward(d_r2, cache.r2), d_variance    # K1


OF_R2: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "squared_exponential": (squared_exponential_of_r2, squared_exponential_of_r2_backward),
    "matern32": (matern32_of_r2, matern32_of_r2_backward),
    "matern52": (matern52_of_r2, matern52_of_r2_backward),
}
COVARIANCES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "squared_exponential": (squared_exponential, squared_exponential_backward),
    "matern32": (matern32, matern32_backward),
    "matern52": (matern52, matern52_backward),
}


def covariance_pair(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and the backward function of this name. Raises ValueError for an unknown name."""
    if name not in COVARIANCES:
        raise ValueError(f"covariance: expected one of {', '.join(COVARIANCES)}, got {name!r}")
    return COVARIANCES[name]

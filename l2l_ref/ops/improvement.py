"""Expected improvement: how far a new value is expected to fall below the best one.

Everything here **minimises**. ``best`` is the smallest value so far, and the improvement is how far a new value falls
below it. If the value is predicted by a normal distribution with mean mu and standard deviation sigma, then

    I1  gain = best - mu,   z = gain / sigma
    I2  EI = E max(best - value, 0) = gain Phi(z) + sigma phi(z)
           = max(gain, 0) + sigma phi(z) G(|z|)
    I3  dEI/dmu = -Phi(z),   dEI/dsigma = phi(z),   dEI/dbest = Phi(z)

The second form of I2 contains no difference of nearly equal numbers, so EI keeps its relative precision however far z
lies in the tail. phi, Phi and G are defined in ops/normal.py. At sigma = 0, EI is the limit max(gain, 0).

Source: Jones, Schonlau & Welch 1998, equation (15), where EI is called E[I(x)] and best is called f_min.
"""

from typing import NamedTuple

import numpy as np

from ..checks import require_floating, require_shape
from .normal import density, distribution, mills_gap


class ExpectedImprovementCache(NamedTuple):
    phi: np.ndarray  # (...), phi(z)
    Phi: np.ndarray  # (...), Phi(z)


def expected_improvement(
    mu: np.ndarray, sigma: np.ndarray, best: np.ndarray
) -> tuple[np.ndarray, ExpectedImprovementCache]:
    """I1, I2. mu, sigma and best, all of one shape (...) -> EI (...) >= 0, cache.

    Raises ValueError on shapes that differ, on arrays that are not floating, and on a sigma that is not >= 0.
    """
    for name, array in (("mu", mu), ("sigma", sigma), ("best", best)):
        require_shape(name, array, **{f"axis{i}": length for i, length in enumerate(np.shape(mu))})
        require_floating(name, array)
    if not (sigma.real >= 0).all():
        raise ValueError(f"sigma: expected numbers >= 0, got {sigma.real.min()}")
    gain = best - mu                                                 # I1
    with np.errstate(over="ignore"):  # gain / sigma may overflow, and phi is then 0
        z = gain / np.where(sigma == 0, np.finfo(gain.dtype).tiny, sigma)  # I1
    z = np.where(np.abs(z.real) > 40, np.copysign(40, z.real), z).astype(z.dtype)
    phi = density(z)
    above = gain.real >= 0
    tail = sigma * phi * mills_gap(np.where(above, z, -z))
    improvement = np.where(above, gain, 0) + tail                    # I2
    phi, Phi = (a.astype(gain.dtype, copy=False) for a in (phi, distribution(z)))
    return improvement.astype(gain.dtype), ExpectedImprovementCache(phi, Phi)


def expected_improvement_backward(
    d_improvement: np.ndarray, cache: ExpectedImprovementCache
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """d_EI (...) -> d_mu (...), d_sigma (...), d_best (...)."""
    phi, Phi = cache
    d_gain = d_improvement * Phi                                     # I3
    return -d_gain, d_improvement * phi, d_gain                      # I3

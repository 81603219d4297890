"""The standard normal distribution, accurate to rounding in both tails.

    N1  phi(z) = exp(-z^2 / 2) / sqrt(2 pi)                  density
    N2  R(x) = (1 - Phi(x)) / phi(x),      x >= 0            Mills' ratio
    N3  G(x) = 1 - x R(x) = -R'(x),        x >= 0            about 1 / x^2 for large x
    N4  Phi(z) = 1 - phi(z) R(z) for z >= 0, phi(z) R(-z) elsewhere

Arrays may have any shape. The functions are helpers of pairs, without backward passes of their own. They take complex
z near the real line.

R and G are still ordinary numbers where Phi(z) underflows to 0, so the tails are written in terms of them. If
t = (x - 5) / (x + 5) maps [0, inf) to [-1, 1), then (1 + x) R and (1 + x)^2 G are smooth in t and of order 1, so few
Chebyshev polynomials suffice. The expansions are our own, computed from values with 80 digits and cut off below 1e-16.
"""

import math

import numpy as np
from numpy.polynomial.chebyshev import chebval

# Chebyshev coefficients in t of (1 + x) R and of (1 + x)^2 G
MILLS = (
    1.1579976221305188, -0.1633449388451398, -0.013683136055781576, 0.03082200019810004, -0.016220073012046806,
    0.005616691016460094, -0.0014133933783549216, 0.00025026254607256603, -2.4689072397283847e-05,
    -1.0107964061836617e-06, 7.495419179741007e-07, -7.600274268731365e-08, -1.1574771441265294e-08,
    3.333386472376105e-09, 7.538039636552837e-11, -1.1104247258364995e-10, 3.5092438801847745e-12,
    3.689495228970975e-12, -2.3376673453966504e-13, -1.3271833312249529e-13, 9.921837318209968e-15,
    5.2760903014158894e-15, -3.3715172377568083e-16, -2.2827876741682296e-16, 7.920605089774962e-18,
)
GAP = (
    1.1786939013866438, -0.10125727962799318, -0.14865546208521888, 0.09816848778580152, -0.03171798898152607,
    0.004118380306630206, 0.0013840174983079266, -0.0009838340353495313, 0.00029489504920453166,
    -4.70926019514016e-05, 8.590029272921191e-07, 1.3554619080433658e-06, -2.314755559582581e-07,
    -1.7075440608136695e-08, 9.949362873932115e-09, -2.410646464821235e-10, -3.566617529458466e-10,
    2.8945226810295644e-11, 1.3016100933656976e-11, -1.5524541626733314e-12, -5.220929400425904e-13,
    6.950197050368569e-14, 2.3459587349239212e-14, -2.772118607797039e-15, -1.1540250041518077e-15,
    9.086969458144134e-17, 5.987040629430208e-17, -1.5720931501039814e-18,
)

ROOT_2PI = math.sqrt(2 * math.pi)


def density(z: np.ndarray) -> np.ndarray:
    """N1. z (...) -> phi (...).

    z is split into z rounded to 1/16, whose square is exact, and a rest. In this way the rounding error of z^2 does not
    spoil the tails.
    """
    z = np.where(np.abs(z.real) > 40, np.copysign(40, z.real), z).astype(z.dtype)  # where phi is 0 in all precisions
    near = np.round(z.real * 16) / 16
    return np.exp(-near * near / 2) * np.exp((near - z) * (near + z) / 2) / ROOT_2PI  # N1


def mills_ratio(x: np.ndarray) -> np.ndarray:
    """N2. x (...) with real part >= 0 -> R (...)."""
    return _chebyshev(MILLS, x) / (1 + x)                            # N2


def mills_gap(x: np.ndarray) -> np.ndarray:
    """N3. x (...) with real part >= 0 -> G (...)."""
    return _chebyshev(GAP, x) / (1 + x) / (1 + x)                    # N3


def _chebyshev(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    t = 1 - 10 / (x + 5)
    return chebval(t, np.array(coefficients, x.dtype))


def distribution(z: np.ndarray) -> np.ndarray:
    """N4. z (...) -> Phi (...), between 0 and 1."""
    above = z.real >= 0
    tail = density(z) * mills_ratio(np.where(above, z, -z))
    return np.where(above, 1 - tail, tail)                           # N4

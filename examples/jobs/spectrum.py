"""Eight dimensions: two peaks on a sloping background, fitted to a noisy spectrum."""

import sys

import numpy as np

import l2l_ref as l2l

TITLE, NEEDS = "spectrum, 8 dimensions", None
SPACE = {
    "offset": l2l.Float(0, 2), "slope": l2l.Float(-1, 1),
    "height_1": l2l.Float(0.1, 10, log=True), "centre_1": l2l.Float(0, 10), "width_1": l2l.Float(0.1, 3, log=True),
    "height_2": l2l.Float(0.1, 10, log=True), "centre_2": l2l.Float(0, 10), "width_2": l2l.Float(0.1, 3, log=True),
}
EVALUATIONS, WORKERS = 100, 1
GRID = np.linspace(0, 10, 200)


def spectrum(x):
    """A line and two peaks of Lorentz's form."""
    y = x["offset"] + x["slope"] * GRID / 10
    for k in (1, 2):
        y = y + x[f"height_{k}"] / (1 + ((GRID - x[f"centre_{k}"]) / x[f"width_{k}"]) ** 2)
    return y


def objective(seed):
    """The root mean square of the residuals; the seed draws the spectrum, and noise of 0.1."""
    rng = np.random.default_rng([seed, 4])
    truth = {"offset": rng.uniform(0.5, 1.5), "slope": rng.uniform(-0.5, 0.5)}
    for k, low in ((1, 1), (2, 6)):
        truth |= {f"height_{k}": rng.uniform(1, 5), f"centre_{k}": rng.uniform(low, low + 3),
                  f"width_{k}": rng.uniform(0.3, 1.0)}
    measured = spectrum(truth) + 0.1 * rng.standard_normal(len(GRID))

    def residual(x):
        return float(np.sqrt(np.mean((spectrum(x) - measured) ** 2)))

    return residual, residual


if __name__ == "__main__":
    from beside_peers import main

    main(sys.modules[__name__])

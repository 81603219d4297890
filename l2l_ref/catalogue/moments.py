"""Running means of a gradient, the directions made of them, and the gated sum of directions."""

from functools import partial

import numpy as np

from ..ops import gated_sum, moments
from .operation import Operation, normal, off_zero, times

SHAPES = [(2, 2), (3,)]


def _running_means(rng, n=5):
    return normal(rng, n), normal(rng, 3, n), rng.uniform(0.1, 2.0, (2, n))


def _clip_arrays(rng, shapes=SHAPES, functions=1, limit=1.0):
    arrays = moments.arrays_of(shapes, functions)
    return normal(rng, int(arrays.size.sum())), limit * rng.uniform(0.1, 0.2, len(arrays.size)), arrays


def _directions(rng, shapes=SHAPES, functions=1, g=1.0):
    arrays = moments.arrays_of(shapes, functions)
    n = int(arrays.size.sum())
    S = rng.uniform(0.5, 2.0, len(arrays.size))
    return g * off_zero(rng, n), normal(rng, 3, n), rng.uniform(0.5, 2.0, (2, n)), S, arrays


def _gated_sum(rng, N=4, K=3, E=2, H=5, ell=0.0, o=1.0):
    params = normal(rng, E, H), normal(rng, H), normal(rng, H, 1 + K), np.append(ell, normal(rng, K))
    return o * normal(rng, N, K), normal(rng, N, E), gated_sum.GatedSumParams(*params)


OPERATIONS = (
    Operation(
        "clip_arrays", moments.clip_arrays, _clip_arrays,
        r"g' = g \min\left(1, \frac{\mathrm{limit}}{\mathrm{rms}(g)}\right)",
        "Pascanu, Mikolov & Bengio 2013, array by array",
        cases={
            "one coordinate": partial(_clip_arrays, shapes=[(1,)]),
            "several functions": partial(_clip_arrays, functions=2),
            "within the limit": partial(_clip_arrays, limit=100.0),
            "far above the limit": partial(_clip_arrays, limit=1e-6),
        },
    ),
    Operation(
        "running_means", moments.running_means, _running_means,
        r"m_k' = \beta_k m_k + (1 - \beta_k) g \qquad v_j' = \beta_{vj} v_j + (1 - \beta_{vj}) g^2",
        "Kingma & Ba 2015, of several horizons",
        cases={
            "one coordinate": partial(_running_means, n=1),
            "tiny": times(1e-8, _running_means),
            "huge": times(1e8, _running_means),
            "empty": partial(_running_means, n=0),
        },
    ),
    Operation(
        "directions", moments.directions, _directions,
        r"o = \left(\frac{g}{s}, \frac{\hat m_k}{s}, \frac{g}{S}, \frac{\hat m_k}{S}\right)"
        r" \qquad s = \sqrt{\max(\hat v_1, \hat v_2)}",
        "Kingma & Ba 2015, Lv et al. 2017, Reddi et al. 2018",
        cases={
            "one coordinate": partial(_directions, shapes=[(1,)]),
            "one array": partial(_directions, shapes=[(4,)]),
            "several functions": partial(_directions, functions=2),
            "clipped": partial(_directions, g=100.0),
        },
    ),
    Operation(
        "gated_sum", gated_sum.gated_sum, _gated_sum,
        r"z = \tanh(e W_1 + b_1) \qquad (\ell, a) = z W_2 + b_2 \qquad y = e^{\min(\ell, 80)} \sum_k a_k o_k",
        "this project",
        cases={
            "one row": partial(_gated_sum, N=1),
            "one direction": partial(_gated_sum, K=1),
            "one unit": partial(_gated_sum, H=1),
            "one feature": partial(_gated_sum, E=1),
            "tiny": times(1e-4, _gated_sum),
            "as long as can be": partial(_gated_sum, ell=100.0, o=1e-35),
            "empty": partial(_gated_sum, N=0),
        },
    ),
)

"""Sharing information between coordinates: averaged units, the two memories, and the optimizer that they make up."""

from functools import partial

import numpy as np

from ..learned import coordinatewise
from ..learned import sharing as learned
from ..ops import sharing
from ..ops.lstm import LSTMParams, LSTMState
from .operation import Operation, normal, one_array, times


def _heads(rng, B, d, W):
    return normal(rng, B, d), normal(rng, B, d, W), normal(rng, B, d, W)


def _matrix(rng, B=2, d=3, W=2):
    return normal(rng, B, d, d), *_heads(rng, B, d, W)


def _window(rng, B=2, d=3, W=2, K=5):
    return sharing.Window(normal(rng, B, d, K), normal(rng, B, d, K)), *_heads(rng, B, d, W)


def _optimizer(rng, B, d, hidden, inputs, memory, W=2):
    """The state and the parameters of an optimizer whose coordinates share."""
    sizes = (inputs + (memory is not None), *hidden)
    layers = tuple(LSTMState(np.tanh(normal(rng, B * d, H)), normal(rng, B * d, H)) for H in hidden)
    weights = tuple(LSTMParams(normal(rng, D, 4 * H), normal(rng, H, 4 * H), normal(rng, 4 * H))
                    for D, H in zip(sizes, hidden))
    kept = {None: None, "matrix": _matrix, "window": _window}[memory]
    outputs = 1 if memory is None else 2 + 2 * W
    state = learned.State(layers, None if kept is None else normal(rng, B, d), kept and kept(rng, B, d, W)[0])
    return state, coordinatewise.Params(weights, normal(rng, sizes[-1], outputs), normal(rng, outputs))


def _step(rng, memory=None, B=2, d=3, hidden=(3, 2), inputs=1):
    # Between 0.1 and 2, away from exp(-3), where the branches of log_and_sign meet.
    gradient = rng.choice([-1.0, 1.0], (B, d)) * rng.uniform(0.1, 2.0, (B, d))
    return gradient, *_optimizer(rng, B, d, hidden, inputs, memory)


def _unroll(rng, memory=None, T=3, B=1, d=2, hidden=(2,)):
    return normal(rng, T, B, d), *_optimizer(rng, B, d, hidden, 1, memory)


def _each(draw):
    """(name, draw) for each kind of memory."""
    return [("", draw), *((f" with a {memory}", partial(draw, memory=memory)) for memory in ("matrix", "window"))]


MEMORY_CASES = {"one function": {"B": 1}, "one coordinate": {"d": 1}, "one write head": {"W": 1}, "empty": {"B": 0}}
SOURCE = "Andrychowicz et al. 2016, on sharing information between coordinates"
LAYERS = (r"z_0 = (\nabla, i) \qquad (h_l, c_l)' = \text{lstm-cell}(z_{l-1}, (h_l, c_l)) \qquad"
          r" z_l = \text{global-average}(h_l') \qquad g = \text{scale} \cdot (z_L W + b)")
HEADS = r" \qquad (r, a, b) = z_L W' + b'"

OPERATIONS = (
    Operation(
        "global_average", partial(sharing.global_average, cells=2), one_array(2, 3, 4),
        r"o_{ij} = \frac{1}{d} \sum_k \ h_{kj} \ \text{for the first } j, \ h_{ij} \text{ for the others}", SOURCE,
        cases={
            "one coordinate": one_array(2, 1, 4),
            "all units": one_array(2, 3, 2),
            "fewer units": one_array(2, 3, 1),
            "huge": times(1e8, one_array(2, 3, 4)),
            "empty": one_array(0, 3, 4),
        },
    ),
    Operation(
        "matrix_memory", sharing.matrix_memory, _matrix, r"i = M r \qquad M' = M + \sum_w \ a_w b_w^T", SOURCE,
        cases={
            **{name: partial(_matrix, **sizes) for name, sizes in MEMORY_CASES.items()},
            "tiny": times(1e-8, _matrix),
            "huge": times(1e4, _matrix),
        },
    ),
    Operation(
        "window_memory", sharing.window_memory, _window,
        r"i = r + \sum_k \ \text{left}_k (\text{right}_k \cdot r) \qquad"
        r" (\text{left}, \text{right})' = \text{the last } K \text{ of } (\text{left}, a), (\text{right}, b)", SOURCE,
        cases={
            **{name: partial(_window, **sizes) for name, sizes in MEMORY_CASES.items()},
            "no pair is kept": partial(_window, K=2),
            "tiny": times(1e-8, _window),
            "huge": times(1e3, _window),
        },
    ),
    *(Operation(
        f"sharing_step{name}", partial(learned.sharing_step, averaged=1, scale=0.5), draw,
        LAYERS if name == "" else LAYERS + HEADS, SOURCE,
        cases={
            "saturated": times(3, partial(draw, hidden=(2,))),
            "one function": partial(draw, B=1, hidden=(2,)),
            "one coordinate": partial(draw, d=1, hidden=(2,)),
            "empty": partial(draw, B=0, hidden=(2,)),
            **({} if name == "" else {"no layers": partial(draw, hidden=())}),
        },
    ) for name, draw in _each(_step)),
    Operation(
        "sharing_step with log_and_sign", partial(learned.sharing_step, averaged=1, p=3.0, scale=0.1),
        partial(_step, memory="matrix", inputs=2),
        LAYERS.replace(r"(\nabla, i)", r"(\text{log-and-sign}(\nabla), i)") + HEADS, SOURCE,
        cases={
            "one coordinate": partial(_step, memory="window", d=1, inputs=2),
            "one function": partial(_step, memory="matrix", B=1, inputs=2),
            "empty": partial(_step, memory="matrix", B=0, inputs=2),
        },
    ),
    *(Operation(
        f"sharing_unroll{name}", partial(learned.sharing_unroll, averaged=1, scale=0.5), draw,
        r"(g_t, s_{t+1}) = m(\nabla_t, s_t, \phi) \qquad t = 0, \ldots, T - 1", SOURCE,
        cases={
            "one step": partial(draw, T=1),
            "one coordinate": partial(draw, d=1, T=2),
            "several functions": partial(draw, B=2, T=2),
        },
    ) for name, draw in _each(_unroll)),
)

"""Recurrent cells, and the coordinatewise optimizer that they make up."""

from functools import partial

import numpy as np

from ..learned import coordinatewise
from ..ops import lstm, preprocessing, rnn
from .operation import Operation, gradient_set, nonzero_array, normal, one_array, times


def _rnn_params(rng, D, H):
    return rnn.RNNParams(*(normal(rng, *s) for s in ((D, H), (H, H), (H,))))


def _rnn_state(rng, N, H):
    return rnn.RNNState(np.tanh(normal(rng, N, H)))


def _rnn(rng, N=3, D=2, H=4):
    return normal(rng, N, D), rnn.RNNState(normal(rng, N, H)), _rnn_params(rng, D, H)


def _lstm_params(rng, D, H):
    return lstm.LSTMParams(normal(rng, D, 4 * H), normal(rng, H, 4 * H), normal(rng, 4 * H))


def _lstm_state(rng, N, H):
    return lstm.LSTMState(np.tanh(normal(rng, N, H)), normal(rng, N, H))


def _lstm(rng, N=3, D=2, H=3):
    state = _lstm_state(rng, N, H)
    return normal(rng, N, D), state, _lstm_params(rng, D, H)


def _gradients(rng, *shape):
    """Small and large gradients, none of them near exp(-p) with p = 3, where the branches of log_and_sign meet."""
    size = np.where(rng.random(shape) < 0.5, rng.uniform(0.001, 0.02, shape), rng.uniform(0.1, 3.0, shape))
    return rng.choice([-1.0, 1.0], shape) * size


BRANCH_POINT = np.exp(-3.0) * np.array([1.0, -1.0])


LSTM, RNN = (_lstm_state, _lstm_params), (_rnn_state, _rnn_params)


def _coordinatewise(rng, n, hidden, inputs, cell):
    """The state and the parameters of a coordinatewise optimizer."""
    sizes, (draw_state, draw_params) = (inputs, *hidden), cell
    state = tuple(draw_state(rng, n, H) for H in hidden)
    layers = tuple(draw_params(rng, D, H) for D, H in zip(sizes, hidden))
    return state, coordinatewise.Params(layers, normal(rng, sizes[-1], 1), normal(rng, 1))


def _step(rng, n=3, hidden=(3, 2), inputs=1, cell=LSTM):
    return _gradients(rng, n), *_coordinatewise(rng, n, hidden, inputs, cell)


def _unroll(rng, T=4, n=2, hidden=(3, 2), inputs=1, cell=LSTM):
    return _gradients(rng, T, n), *_coordinatewise(rng, n, hidden, inputs, cell)


LAYERS = r" (h_l, c_l)' = \text{lstm-cell}(z_{l-1}, (h_l, c_l)), \ z_l = h_l' \qquad g = \text{scale} \cdot (z_L W + b)"
RNN_LAYERS = LAYERS.replace(r"(h_l, c_l)' = \text{lstm-cell}(z_{l-1}, (h_l, c_l))",
                            r"h_l' = \text{rnn-cell}(z_{l-1}, h_l)")
LSTM_SOURCE = "Hochreiter & Schmidhuber 1997; Gers et al. 2000"
COORDINATEWISE_SOURCE = "Andrychowicz et al. 2016, section 2.1; review, equations (4) and (5)"


OPERATIONS = (
    Operation(
        "rnn_cell", rnn.rnn_cell, _rnn,
        r"h' = \tanh(x W_x + h W_h + b)", "review, equation (1)",
        cases={
            "saturated": times(3, _rnn),
            "tiny": times(1e-8, _rnn),
            "huge": times(1e3, _rnn),
            "one row": partial(_rnn, N=1),
            "empty": partial(_rnn, N=0),
        },
    ),
    Operation(
        "lstm_cell", lstm.lstm_cell, _lstm,
        r"a = x W_x + h W_h + b \qquad i, f, o = \sigma(a_i), \sigma(a_f), \sigma(a_o) \qquad g = \tanh a_g \qquad"
        r" c' = f \odot c + i \odot g \qquad h' = o \odot \tanh c'", LSTM_SOURCE,
        cases={
            "saturated": times(3, _lstm),
            "tiny": times(1e-8, _lstm),
            "huge": times(1e3, _lstm),
            "one row": partial(_lstm, N=1),
            "one unit": partial(_lstm, D=1, H=1),
            "empty": partial(_lstm, N=0),
        },
    ),
    Operation(
        "log_and_sign", partial(preprocessing.log_and_sign, p=3.0),
        lambda rng: (_gradients(rng, 6),),
        r"(\frac{1}{p} \log \vert g \vert, \mathrm{sign}(g)) \ \mathrm{where} \ \vert g \vert \geq e^{-p} \qquad"
        r" (-1, e^p g) \ \mathrm{elsewhere}", "Andrychowicz et al. 2016, Appendix A",
        cases={
            "tied": lambda rng: (BRANCH_POINT,),
            "zero": lambda rng: (np.zeros(2),),
            "tiny": times(1e-8, nonzero_array),
            "huge": times(1e8, nonzero_array),
            "one entry": lambda rng: (_gradients(rng, 1),),
            "two axes": lambda rng: (_gradients(rng, 2, 3),),
            "empty": one_array(0),
        },
    ),
    Operation(
        "step", partial(coordinatewise.step, scale=0.5), _step,
        r"z_0 = \nabla \qquad" + LAYERS, COORDINATEWISE_SOURCE,
        cases={
            "saturated": times(3, _step),
            "tiny": times(1e-8, _step),
            "huge": times(1e3, _step),
            "one coordinate": partial(_step, n=1),
            "no layers": partial(_step, hidden=()),
            "three layers": partial(_step, hidden=(2, 1, 3)),
            "empty": partial(_step, n=0),
        },
    ),
    Operation(
        "step with log_and_sign", partial(coordinatewise.step, p=3.0, scale=0.1),
        partial(_step, inputs=2),
        r"z_0 = \text{log-and-sign}(\nabla) \qquad" + LAYERS, COORDINATEWISE_SOURCE + "; Appendix A",
        cases={
            "saturated": times(3, partial(_step, inputs=2)),
            "tied": gradient_set(partial(_step, n=2, inputs=2), BRANCH_POINT),
            "zero gradient": gradient_set(partial(_step, inputs=2), 0.0),
            "huge": times(1e3, partial(_step, inputs=2)),
            "one coordinate": partial(_step, n=1, inputs=2),
            "empty": partial(_step, n=0, inputs=2),
        },
    ),
    Operation(
        "step of an RNN", partial(coordinatewise.step, scale=0.5), partial(_step, cell=RNN),
        r"z_0 = \nabla \qquad" + RNN_LAYERS, COORDINATEWISE_SOURCE,
        cases={
            "saturated": times(3, partial(_step, cell=RNN)),
            "tiny": times(1e-8, partial(_step, cell=RNN)),
            "one coordinate": partial(_step, n=1, cell=RNN),
            "three layers": partial(_step, hidden=(2, 1, 3), cell=RNN),
            "empty": partial(_step, n=0, cell=RNN),
        },
    ),
    Operation(
        "unroll", partial(coordinatewise.unroll, scale=0.5), _unroll,
        r"(g_t, h_{t+1}) = m(\nabla_t, h_t, \phi) \qquad t = 0, \ldots, T - 1", COORDINATEWISE_SOURCE,
        cases={
            "saturated": times(3, partial(_unroll, hidden=(2, 1))),
            "tiny": times(1e-8, partial(_unroll, hidden=(2, 1))),
            "one step": partial(_unroll, T=1),
            "two steps": partial(_unroll, T=2, n=1, hidden=(1,)),
            "twenty steps": partial(_unroll, T=20, n=1, hidden=(2,)),
            "one coordinate": partial(_unroll, n=1, hidden=(2, 1)),
            "no layers": partial(_unroll, hidden=()),
            "empty": partial(_unroll, n=0, hidden=(2, 1)),
        },
    ),
    Operation(
        "unroll with log_and_sign", partial(coordinatewise.unroll, p=3.0, scale=0.1),
        partial(_unroll, inputs=2),
        r"(g_t, h_{t+1}) = m(\text{log-and-sign}(\nabla_t), h_t, \phi) \qquad t = 0, \ldots, T - 1",
        COORDINATEWISE_SOURCE + "; Appendix A",
        cases={
            "saturated": times(3, partial(_unroll, hidden=(2,), inputs=2)),
            "tied": gradient_set(partial(_unroll, T=2, hidden=(2,), inputs=2), BRANCH_POINT),
            "zero gradient": gradient_set(partial(_unroll, hidden=(2,), inputs=2), 0.0),
            "one coordinate": partial(_unroll, n=1, hidden=(2,), inputs=2),
        },
    ),
    Operation(
        "unroll of an RNN", partial(coordinatewise.unroll, p=3.0, scale=0.1),
        partial(_unroll, inputs=2, cell=RNN),
        r"(g_t, h_{t+1}) = m(\text{log-and-sign}(\nabla_t), h_t, \phi) \qquad t = 0, \ldots, T - 1",
        COORDINATEWISE_SOURCE + "; Appendix A",
        cases={
            "saturated": times(3, partial(_unroll, hidden=(2,), inputs=2, cell=RNN)),
            "one step": partial(_unroll, T=1, inputs=2, cell=RNN),
            "twenty steps": partial(_unroll, T=20, n=1, hidden=(2,), inputs=2, cell=RNN),
            "one coordinate": partial(_unroll, n=1, hidden=(2,), inputs=2, cell=RNN),
        },
    ),
)

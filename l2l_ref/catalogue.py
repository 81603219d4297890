"""Every differentiable operation of the package, once: what the audit, the tests and the docs read."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from .learned import coordinatewise
from .ops import activations, linear, losses, lstm, preprocessing, rnn
from .optimizees import mlp, quadratic


class Operation(NamedTuple):
    """One pair.

    ``example(rng)`` draws a tuple of float64 inputs away from points where there is no derivative;
    whole numbers among them are constants. ``cases`` names further examples, at the edges. ``analytic``
    says that the forward takes complex128 for its floating inputs, so that the complex step works.
    """

    name: str
    forward: Callable
    backward: Callable
    example: Callable
    equation: str
    source: str
    analytic: bool = True
    cases: dict[str, Callable] = {}

    @property
    def module(self):
        return self.backward.__module__


def _normal(rng, *shape):
    return rng.standard_normal(shape)


def _off_zero(rng, *shape):
    """Numbers of both signs, none of them near 0."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2.0, shape)


def _lstm_params(rng, D, H, scale=1.0):
    return lstm.LSTMParams(scale * _normal(rng, D, 4 * H), scale * _normal(rng, H, 4 * H), scale * _normal(rng, 4 * H))


def _lstm(rng, N=3, D=2, H=3, scale=1.0):
    state = lstm.LSTMState(np.tanh(_normal(rng, N, H)), _normal(rng, N, H))
    return _normal(rng, N, D), state, _lstm_params(rng, D, H, scale)


def _rnn(rng, N=3, D=2, H=4, scale=1.0):
    params = rnn.RNNParams(*(scale * _normal(rng, *s) for s in ((D, H), (H, H), (H,))))
    return _normal(rng, N, D), _normal(rng, N, H), params


def _linear(rng, N=3, D=4, M=2):
    return _normal(rng, N, D), _normal(rng, D, M), _normal(rng, M)


def _gradients(rng, *shape):
    """Gradients of all sizes, none near the branch point exp(-p) of log_and_sign, p = 3."""
    size = np.where(rng.random(shape) < 0.5, rng.uniform(0.001, 0.02, shape), rng.uniform(0.1, 3.0, shape))
    return rng.choice([-1.0, 1.0], shape) * size


def _coordinatewise(rng, n=3, hidden=(3, 2), inputs=1, scale=1.0):
    """state, params of a coordinatewise optimizer."""
    sizes = (inputs, *hidden)
    state = tuple(lstm.LSTMState(np.tanh(_normal(rng, n, H)), _normal(rng, n, H)) for H in hidden)
    layers = tuple(_lstm_params(rng, D, H, scale) for D, H in zip(sizes, hidden))
    return state, coordinatewise.Params(layers, _normal(rng, sizes[-1], 1), _normal(rng, 1))


def _step(rng, n=3, hidden=(3, 2), inputs=1, scale=1.0):
    return _gradients(rng, n), *_coordinatewise(rng, n, hidden, inputs, scale)


def _unroll(rng, T=4, n=2, hidden=(3, 2), inputs=1, scale=1.0):
    return _gradients(rng, T, n), *_coordinatewise(rng, n, hidden, inputs, scale)


def _quadratic(rng, B=3, d=4):
    return _normal(rng, B, d), _normal(rng, B, d, d), _normal(rng, B, d)


MLP_SIZES = (6, 5, 4, 3)


def _mlp(rng, N=4):
    theta = 0.5 * _normal(rng, mlp.parameter_count(MLP_SIZES))
    return theta, rng.integers(0, 17, (N, MLP_SIZES[0])), rng.integers(0, MLP_SIZES[-1], N), MLP_SIZES


LSTM_SOURCE = "Hochreiter & Schmidhuber 1997; Gers et al. 2000"
COORDINATEWISE_SOURCE = "Andrychowicz et al. 2016, section 2.1; review, equations (4) and (5)"

OPERATIONS = (
    Operation(
        "sigmoid", activations.sigmoid, activations.sigmoid_backward,
        lambda rng: (_normal(rng, 3, 4),),
        "s = 1 / (1 + exp(-x))", "definition",
        cases={
            "saturated": lambda rng: (30 * _normal(rng, 5),),
            "huge": lambda rng: (1e4 * _off_zero(rng, 3),),
            "empty": lambda rng: (np.zeros((0, 3)),),
        },
    ),
    Operation(
        "tanh", activations.tanh, activations.tanh_backward,
        lambda rng: (_normal(rng, 3, 4),),
        "t = tanh(x)", "definition",
        cases={
            "saturated": lambda rng: (15 * _normal(rng, 5),),
            "tiny": lambda rng: (1e-6 * _normal(rng, 5),),
            "empty": lambda rng: (np.zeros((0, 3)),),
        },
    ),
    Operation(
        "relu", activations.relu, activations.relu_backward,
        lambda rng: (_off_zero(rng, 3, 4),),
        "r = max(x, 0)", "definition; slope 0 at 0",
        cases={
            "at the kink": lambda rng: (np.array([0.0, 1.0, -1.0]),),
            "empty": lambda rng: (np.zeros((0, 3)),),
        },
    ),
    Operation(
        "softmax", activations.softmax, activations.softmax_backward,
        lambda rng: (_normal(rng, 3, 4),),
        "p_j = exp(x_j) / sum_k exp(x_k)", "definition",
        cases={
            "tied": lambda rng: (np.ones((2, 3)),),
            "far apart": lambda rng: (100 * _normal(rng, 2, 3),),
            "one class": lambda rng: (_normal(rng, 2, 1),),
            "empty": lambda rng: (np.zeros((0, 3)),),
        },
    ),
    Operation(
        "linear", linear.linear, linear.linear_backward, _linear,
        "y = x W + b", "definition",
        cases={"one row": partial(_linear, N=1), "empty": partial(_linear, N=0)},
    ),
    Operation(
        "rnn_cell", rnn.rnn_cell, rnn.rnn_cell_backward, _rnn,
        "h' = tanh(x W_x + h W_h + b)", "review, equation (1)",
        cases={
            "one row": partial(_rnn, N=1),
            "saturated": partial(_rnn, scale=8.0),
            "empty": partial(_rnn, N=0),
        },
    ),
    Operation(
        "lstm_cell", lstm.lstm_cell, lstm.lstm_cell_backward, _lstm,
        "c' = f * c + i * g,  h' = o * tanh(c')", LSTM_SOURCE,
        cases={
            "one row": partial(_lstm, N=1),
            "one unit": partial(_lstm, D=1, H=1),
            "saturated": partial(_lstm, scale=8.0),
            "empty": partial(_lstm, N=0),
        },
    ),
    Operation(
        "log_and_sign", partial(preprocessing.log_and_sign, p=3.0), preprocessing.log_and_sign_backward,
        lambda rng: (_gradients(rng, 6),),
        "(log|g| / p, sign g) if |g| >= exp(-p), else (-1, exp(p) g)", "Andrychowicz et al. 2016, Appendix A",
        cases={
            "zero": lambda rng: (np.zeros(2),),
            "huge": lambda rng: (1e8 * _off_zero(rng, 4),),
            "empty": lambda rng: (np.zeros(0),),
        },
    ),
    Operation(
        "softmax_cross_entropy", losses.softmax_cross_entropy, losses.softmax_cross_entropy_backward,
        lambda rng: (_normal(rng, 4, 3), rng.integers(0, 3, 4)),
        "l_n = log sum_j exp(z_nj) - z_n,y(n)", "definition",
        cases={
            "far apart": lambda rng: (50 * _normal(rng, 4, 3), rng.integers(0, 3, 4)),
            "one row": lambda rng: (_normal(rng, 1, 3), rng.integers(0, 3, 1)),
            "empty": lambda rng: (np.zeros((0, 3)), np.zeros(0, int)),
        },
    ),
    Operation(
        "squared_error", losses.squared_error, losses.squared_error_backward,
        lambda rng: (_normal(rng, 3, 2), _normal(rng, 3, 2)),
        "l_n = sum_j (p_nj - t_nj)^2", "definition",
        cases={"empty": lambda rng: (np.zeros((0, 2)), np.zeros((0, 2)))},
    ),
    Operation(
        "step", partial(coordinatewise.step, scale=0.5), coordinatewise.step_backward, _step,
        "g, state' = m(grad, state, phi)", COORDINATEWISE_SOURCE,
        cases={
            "one coordinate": partial(_step, n=1),
            "no layers": partial(_step, hidden=()),
            "three layers": partial(_step, hidden=(2, 1, 3)),
            "saturated": partial(_step, scale=8.0),
        },
    ),
    Operation(
        "step with log_and_sign", partial(coordinatewise.step, p=3.0, scale=0.1), coordinatewise.step_backward,
        partial(_step, inputs=2), "g, state' = m(log_and_sign(grad), state, phi)",
        COORDINATEWISE_SOURCE + "; Appendix A",
    ),
    Operation(
        "unroll", partial(coordinatewise.unroll, scale=0.5), coordinatewise.unroll_backward, _unroll,
        "g_t, state_t+1 = m(grad_t, state_t, phi) for t = 0..T-1", COORDINATEWISE_SOURCE,
        cases={
            "one step": partial(_unroll, T=1),
            "twenty steps": partial(_unroll, T=20, n=1, hidden=(2,)),
            "no layers": partial(_unroll, hidden=()),
        },
    ),
    Operation(
        "unroll with log_and_sign", partial(coordinatewise.unroll, p=3.0, scale=0.1), coordinatewise.unroll_backward,
        partial(_unroll, inputs=2), "g_t, state_t+1 = m(log_and_sign(grad_t), state_t, phi) for t = 0..T-1",
        COORDINATEWISE_SOURCE + "; Appendix A",
    ),
    Operation(
        "quadratic", quadratic.quadratic, quadratic.quadratic_backward, _quadratic,
        "f = ||W theta - y||^2", "Andrychowicz et al. 2016, section 3.1",
        cases={"one function": partial(_quadratic, B=1), "one parameter": partial(_quadratic, d=1)},
    ),
    Operation(
        "mlp_loss", partial(mlp.mlp_loss, unit=16.0), mlp.mlp_loss_backward, _mlp,
        "f = mean_n cross_entropy(z_K-1 W_K + b_K, labels),  z_k = sigmoid(z_k-1 W_k + b_k)",
        "Andrychowicz et al. 2016, section 3.2",
        cases={"one image": partial(_mlp, N=1)},
    ),
    Operation(
        "mlp_loss with relu", partial(mlp.mlp_loss, unit=16.0, activation="relu"), mlp.mlp_loss_backward, _mlp,
        "f = mean_n cross_entropy(z_K-1 W_K + b_K, labels),  z_k = max(z_k-1 W_k + b_k, 0)",
        "Andrychowicz et al. 2016, section 3.2",
    ),
)

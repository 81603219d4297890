"""Every differentiable operation of the package, once: what the audit, the tests and the docs read."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from .learned import coordinatewise
from .ops import activations, linear, losses, lstm, preprocessing, rnn
from .optimizees import mlp, quadratic


class Operation(NamedTuple):
    r"""One pair.

    ``example(rng)`` draws a tuple of float64 inputs away from points where there is no derivative;
    whole numbers among them are constants. ``cases`` names further examples, at the edges. ``equation`` is
    LaTeX in the subset that matplotlib draws too, its parts separated by ``\qquad``. ``analytic``
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


def _times(size, draw):
    """``draw`` with every number that has a derivative ``size`` times as large."""

    def scaled(tree):
        if isinstance(tree, tuple):
            children = [scaled(child) for child in tree]
            return type(tree)(*children) if hasattr(tree, "_fields") else tuple(children)
        return size * tree if isinstance(tree, np.ndarray) and tree.dtype.kind == "f" else tree

    return lambda rng: scaled(draw(rng))


def _normal(rng, *shape):
    return rng.standard_normal(shape)


def _one(*shape):
    """An example of one array, normal."""
    return lambda rng: (_normal(rng, *shape),)


def _off_zero(rng, *shape):
    """Numbers of both signs, none of them near 0."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.1, 2.0, shape)


def _relu(rng, *shape):
    return (_off_zero(rng, *(shape or (3, 4))),)


def _linear(rng, N=3, D=4, M=2):
    return _normal(rng, N, D), _normal(rng, D, M), _normal(rng, M)


def _rnn(rng, N=3, D=2, H=4):
    return _normal(rng, N, D), _normal(rng, N, H), rnn.RNNParams(*(_normal(rng, *s) for s in ((D, H), (H, H), (H,))))


def _lstm_params(rng, D, H):
    return lstm.LSTMParams(_normal(rng, D, 4 * H), _normal(rng, H, 4 * H), _normal(rng, 4 * H))


def _lstm_state(rng, N, H):
    return lstm.LSTMState(np.tanh(_normal(rng, N, H)), _normal(rng, N, H))


def _lstm(rng, N=3, D=2, H=3):
    state = _lstm_state(rng, N, H)
    return _normal(rng, N, D), state, _lstm_params(rng, D, H)


def _gradients(rng, *shape):
    """Gradients of all sizes, none near the branch point exp(-p) of log_and_sign, p = 3."""
    size = np.where(rng.random(shape) < 0.5, rng.uniform(0.001, 0.02, shape), rng.uniform(0.1, 3.0, shape))
    return rng.choice([-1.0, 1.0], shape) * size


BRANCH_POINT = np.exp(-3.0) * np.array([1.0, -1.0])


def _entropy(rng, N=4, C=3):
    return _normal(rng, N, C), rng.integers(0, C, N)


def _squared_error(rng, N=3, D=2):
    return _normal(rng, N, D), _normal(rng, N, D)


def _prediction_is_target(rng):
    prediction, _ = _squared_error(rng)
    return prediction, prediction.copy()


def _coordinatewise(rng, n, hidden, inputs):
    """state, params of a coordinatewise optimizer."""
    sizes = (inputs, *hidden)
    state = tuple(_lstm_state(rng, n, H) for H in hidden)
    layers = tuple(_lstm_params(rng, D, H) for D, H in zip(sizes, hidden))
    return state, coordinatewise.Params(layers, _normal(rng, sizes[-1], 1), _normal(rng, 1))


def _step(rng, n=3, hidden=(3, 2), inputs=1):
    return _gradients(rng, n), *_coordinatewise(rng, n, hidden, inputs)


def _unroll(rng, T=4, n=2, hidden=(3, 2), inputs=1):
    return _gradients(rng, T, n), *_coordinatewise(rng, n, hidden, inputs)


def _gradient_set(draw, gradient):
    """``draw`` with its first input, the gradients, set to these numbers."""

    def drawn(rng):
        first, *others = draw(rng)
        return np.full_like(first, gradient), *others

    return drawn


def _quadratic(rng, B=3, d=4):
    return _normal(rng, B, d), _normal(rng, B, d, d), _normal(rng, B, d)


def _at_the_minimum(rng):
    theta, W, _ = _quadratic(rng)
    return theta, W, (W @ theta[:, :, None])[:, :, 0]


def _mlp(rng, N=4, sizes=(6, 5, 4, 3)):
    theta = 0.5 * _normal(rng, mlp.parameter_count(sizes))
    return theta, rng.integers(0, 17, (N, sizes[0])), rng.integers(0, sizes[-1], N), sizes


def _blank_images(rng):
    theta, images, labels, sizes = _mlp(rng)
    return theta, np.zeros_like(images), labels, sizes


LAYERS = r" (h_l, c_l)' = \text{lstm-cell}(z_{l-1}, (h_l, c_l)), \ z_l = h_l' \qquad g = \text{scale} \cdot (z_L W + b)"
LSTM_SOURCE = "Hochreiter & Schmidhuber 1997; Gers et al. 2000"
COORDINATEWISE_SOURCE = "Andrychowicz et al. 2016, section 2.1; review, equations (4) and (5)"

OPERATIONS = (
    Operation(
        "sigmoid", activations.sigmoid, activations.sigmoid_backward, _one(3, 4),
        r"s = \dfrac{1}{1 + e^{-x}}", "definition",
        cases={
            "saturated": _times(30, _one(5)),
            "tied": lambda rng: (np.array([0.0, -0.0, 0.0]),),
            "tiny": _times(1e-8, _one(5)),
            "huge": _times(1e4, _relu),
            "one entry": _one(1),
            "empty": _one(0, 3),
        },
    ),
    Operation(
        "tanh", activations.tanh, activations.tanh_backward, _one(3, 4),
        r"t = \tanh x", "definition",
        cases={
            "saturated": _times(15, _one(5)),
            "tiny": _times(1e-8, _one(5)),
            "huge": _times(1e4, _relu),
            "one entry": _one(1),
            "empty": _one(0, 3),
        },
    ),
    Operation(
        "relu", activations.relu, activations.relu_backward, _relu,
        r"r = \max(x, 0)", "definition; slope 0 at 0",
        cases={
            "tied": lambda rng: (np.array([0.0, 1.0, -1.0]),),
            "tiny": _times(1e-8, _relu),
            "huge": _times(1e4, _relu),
            "one entry": lambda rng: _relu(rng, 1),
            "empty": _one(0, 3),
        },
    ),
    Operation(
        "softmax", activations.softmax, activations.softmax_backward, _one(3, 4),
        r"p_j = \dfrac{e^{x_j}}{\sum_k \ e^{x_k}}", "definition",
        cases={
            "saturated": _times(100, _one(2, 3)),
            "tied": lambda rng: (np.ones((2, 3)),),
            "tiny": _times(1e-8, _one(2, 3)),
            "huge": _times(1e4, _one(2, 3)),
            "one row": _one(1, 3),
            "one class": _one(2, 1),
            "three axes": _one(2, 2, 3),
            "empty": _one(0, 3),
        },
    ),
    Operation(
        "linear", linear.linear, linear.linear_backward, _linear,
        r"y = x W + b", "definition",
        cases={
            "tiny": _times(1e-8, _linear),
            "huge": _times(1e4, _linear),
            "one row": partial(_linear, N=1),
            "empty": partial(_linear, N=0),
        },
    ),
    Operation(
        "rnn_cell", rnn.rnn_cell, rnn.rnn_cell_backward, _rnn,
        r"h' = \tanh(x W_x + h W_h + b)", "review, equation (1)",
        cases={
            "saturated": _times(3, _rnn),
            "tiny": _times(1e-8, _rnn),
            "huge": _times(1e3, _rnn),
            "one row": partial(_rnn, N=1),
            "empty": partial(_rnn, N=0),
        },
    ),
    Operation(
        "lstm_cell", lstm.lstm_cell, lstm.lstm_cell_backward, _lstm,
        r"a = x W_x + h W_h + b \qquad i, f, o = \sigma(a_i), \sigma(a_f), \sigma(a_o) \qquad g = \tanh a_g \qquad"
        r" c' = f \odot c + i \odot g \qquad h' = o \odot \tanh c'", LSTM_SOURCE,
        cases={
            "saturated": _times(3, _lstm),
            "tiny": _times(1e-8, _lstm),
            "huge": _times(1e3, _lstm),
            "one row": partial(_lstm, N=1),
            "one unit": partial(_lstm, D=1, H=1),
            "empty": partial(_lstm, N=0),
        },
    ),
    Operation(
        "log_and_sign", partial(preprocessing.log_and_sign, p=3.0), preprocessing.log_and_sign_backward,
        lambda rng: (_gradients(rng, 6),),
        r"(\frac{1}{p} \log \vert g \vert, \mathrm{sign}(g)) \ \mathrm{where} \ \vert g \vert \geq e^{-p} \qquad"
        r" (-1, e^p g) \ \mathrm{elsewhere}", "Andrychowicz et al. 2016, Appendix A",
        cases={
            "tied": lambda rng: (BRANCH_POINT,),
            "zero": lambda rng: (np.zeros(2),),
            "tiny": _times(1e-8, _relu),
            "huge": _times(1e8, _relu),
            "one entry": lambda rng: (_gradients(rng, 1),),
            "two axes": lambda rng: (_gradients(rng, 2, 3),),
            "empty": _one(0),
        },
    ),
    Operation(
        "softmax_cross_entropy", losses.softmax_cross_entropy, losses.softmax_cross_entropy_backward, _entropy,
        r"\ell_n = \log \sum_j \ e^{z_{nj}} - z_{n,y(n)}", "definition",
        cases={
            "saturated": _times(50, _entropy),
            "tied": _times(0, _entropy),
            "tiny": _times(1e-8, _entropy),
            "huge": _times(1e4, _entropy),
            "one row": partial(_entropy, N=1),
            "one class": partial(_entropy, C=1),
            "empty": partial(_entropy, N=0),
        },
    ),
    Operation(
        "squared_error", losses.squared_error, losses.squared_error_backward, _squared_error,
        r"\ell_n = \sum_j \ (p_{nj} - t_{nj})^2", "definition",
        cases={
            "tied": _prediction_is_target,
            "tiny": _times(1e-8, _squared_error),
            "huge": _times(1e4, _squared_error),
            "one row": partial(_squared_error, N=1),
            "empty": partial(_squared_error, N=0),
        },
    ),
    Operation(
        "step", partial(coordinatewise.step, scale=0.5), coordinatewise.step_backward, _step,
        r"z_0 = \nabla \qquad" + LAYERS, COORDINATEWISE_SOURCE,
        cases={
            "saturated": _times(3, _step),
            "tiny": _times(1e-8, _step),
            "huge": _times(1e3, _step),
            "one coordinate": partial(_step, n=1),
            "no layers": partial(_step, hidden=()),
            "three layers": partial(_step, hidden=(2, 1, 3)),
            "empty": partial(_step, n=0),
        },
    ),
    Operation(
        "step with log_and_sign", partial(coordinatewise.step, p=3.0, scale=0.1), coordinatewise.step_backward,
        partial(_step, inputs=2),
        r"z_0 = \text{log-and-sign}(\nabla) \qquad" + LAYERS, COORDINATEWISE_SOURCE + "; Appendix A",
        cases={
            "saturated": _times(3, partial(_step, inputs=2)),
            "tied": _gradient_set(partial(_step, n=2, inputs=2), BRANCH_POINT),
            "zero gradient": _gradient_set(partial(_step, inputs=2), 0.0),
            "huge": _times(1e3, partial(_step, inputs=2)),
            "one coordinate": partial(_step, n=1, inputs=2),
            "empty": partial(_step, n=0, inputs=2),
        },
    ),
    Operation(
        "unroll", partial(coordinatewise.unroll, scale=0.5), coordinatewise.unroll_backward, _unroll,
        r"(g_t, h_{t+1}) = m(\nabla_t, h_t, \phi) \qquad t = 0, \ldots, T - 1", COORDINATEWISE_SOURCE,
        cases={
            "saturated": _times(3, partial(_unroll, hidden=(2, 1))),
            "tiny": _times(1e-8, partial(_unroll, hidden=(2, 1))),
            "one step": partial(_unroll, T=1),
            "two steps": partial(_unroll, T=2, n=1, hidden=(1,)),
            "twenty steps": partial(_unroll, T=20, n=1, hidden=(2,)),
            "one coordinate": partial(_unroll, n=1, hidden=(2, 1)),
            "no layers": partial(_unroll, hidden=()),
            "empty": partial(_unroll, n=0, hidden=(2, 1)),
        },
    ),
    Operation(
        "unroll with log_and_sign", partial(coordinatewise.unroll, p=3.0, scale=0.1), coordinatewise.unroll_backward,
        partial(_unroll, inputs=2),
        r"(g_t, h_{t+1}) = m(\text{log-and-sign}(\nabla_t), h_t, \phi) \qquad t = 0, \ldots, T - 1",
        COORDINATEWISE_SOURCE + "; Appendix A",
        cases={
            "saturated": _times(3, partial(_unroll, hidden=(2,), inputs=2)),
            "tied": _gradient_set(partial(_unroll, T=2, hidden=(2,), inputs=2), BRANCH_POINT),
            "zero gradient": _gradient_set(partial(_unroll, hidden=(2,), inputs=2), 0.0),
            "one coordinate": partial(_unroll, n=1, hidden=(2,), inputs=2),
        },
    ),
    Operation(
        "quadratic", quadratic.quadratic, quadratic.quadratic_backward, _quadratic,
        r"f = \Vert W \theta - y \Vert^2", "Andrychowicz et al. 2016, section 3.1",
        cases={
            "tied": _at_the_minimum,
            "tiny": _times(1e-8, _quadratic),
            "huge": _times(1e4, _quadratic),
            "one function": partial(_quadratic, B=1),
            "one parameter": partial(_quadratic, d=1),
            "empty": partial(_quadratic, B=0),
        },
    ),
    Operation(
        "mlp_loss", partial(mlp.mlp_loss, unit=16.0), mlp.mlp_loss_backward, _mlp,
        r"f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \sigma(z_{k-1} W_k + b_k)",
        "Andrychowicz et al. 2016, section 3.2",
        cases={
            "saturated": _times(20, _mlp),
            "tied": _times(0, _mlp),
            "blank images": _blank_images,
            "one image": partial(_mlp, N=1),
            "no hidden layer": partial(_mlp, sizes=(6, 3)),
        },
    ),
    Operation(
        "mlp_loss with relu", partial(mlp.mlp_loss, unit=16.0, activation="relu"), mlp.mlp_loss_backward, _mlp,
        r"f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \max(z_{k-1} W_k + b_k, 0)",
        "Andrychowicz et al. 2016, section 3.2",
        cases={
            "saturated": _times(20, _mlp),
            "tied": _times(0, _mlp),
            "one image": partial(_mlp, N=1),
        },
    ),
)

"""Every differentiable operation of the package, once: what the audit, the tests and the docs read."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from .learned import coordinatewise
from .ops import (
    activations, cholesky, covariance, gp, improvement, linear, losses, lstm, meta_losses, preprocessing, rnn,
)
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

def _points(rng, B=2, n=3, m=4, d=2, scales=False, spread=1.0, apart=None):
    """x, z, length_scale; the first points of x and z are ``apart`` from each other, if that is given."""
    x, z = spread * rng.random((B, n, d)), spread * rng.random((B, m, d))
    if apart is not None:
        z[:, :2] = x[:, :2] + apart * _normal(rng, B, 2, d)
    return x, z, rng.uniform(0.3, 1.0, d if scales else ())


def _covariance(rng, **changes):
    return *_points(rng, **changes), rng.uniform(0.5, 2.0)


COVARIANCE_CASES = {
    "six dimensions": partial(_covariance, d=6),
    "far apart": partial(_covariance, spread=10.0),
    "nearly coincident": partial(_covariance, apart=1e-6),
    "coincident": partial(_covariance, apart=0.0),
    "one function": partial(_covariance, B=1),
    "no points": partial(_covariance, m=0),
    "one length scale a dimension": partial(_covariance, scales=True),
}


def _lower(rng, B, t):
    """Cholesky factors, no entry of the diagonal near 0."""
    return np.tril(_normal(rng, B, t, t), -1) + rng.uniform(0.5, 2.0, (B, t))[:, :, None] * np.eye(t)


def _solve_lower(rng, B=2, t=4):
    return _lower(rng, B, t), _normal(rng, B, t)


def _cholesky_row(rng, B=2, t=4, left=(0.5, 2.0)):
    """The rest of the diagonal entry, c - l . l, is between the two numbers ``left``."""
    L, l = _lower(rng, B, t), _normal(rng, B, t)
    return L, (L @ l[:, :, None])[:, :, 0], (l * l).sum(axis=1) + rng.uniform(*left, B)


def _trajectory(rng, B=2, T=4, d=2, scales=False, repeated=False, apart=0.0, spread=1.0):
    """x (B, T, d), z (B, T), length_scale, variance; with ``repeated`` later points are ``apart`` from the first."""
    x = spread * rng.random((B, T, d))
    if repeated:
        x[:, 1::2] = x[:, :1] + apart * _normal(rng, B, T // 2, d)
    return x, _normal(rng, B, T), rng.uniform(0.3, 0.8, d if scales else ()), rng.uniform(0.5, 2.0)


def _gp_append(rng, B=2, T=4, d=2, t=2, **changes):
    """A state with t of T queries done, the next query, length_scale, variance."""
    x, z, length_scale, variance = _trajectory(rng, B, T, d, **changes)
    state = gp.gp_start(B, T, d)
    for s in range(t):
        (_, state), _ = gp.gp_append(state, x[:, s], z[:, s], length_scale, variance, jitter=JITTER)
    return state, x[:, t], z[:, t], length_scale, variance


def _gp_posterior(rng, B=2, n=3, m=4, d=2, noise=0.2, **changes):
    x, queries, length_scale, variance = _covariance(rng, B=B, n=n, m=m, d=d, **changes)
    return x, _normal(rng, B, n), queries, length_scale, variance, noise


def _belief(rng, *shape, z=1.0):
    """mu, sigma, best with (best - mu) / sigma about z, of both signs."""
    sigma, best = rng.uniform(0.2, 2.0, shape), _normal(rng, *shape)
    return best - z * sigma * _off_zero(rng, *shape), sigma, best


def _apart(rng, B, T):
    """Values that are far apart within each row: where none tie, minima have a derivative."""
    return rng.permuted(np.tile(np.arange(T) + 0.0, (B, 1)), axis=1) + 0.1 * rng.random((B, T))


def _improvement_loss(rng, B=2, T=5):
    return _normal(rng, B, T), rng.uniform(0.2, 2.0, (B, T)), _apart(rng, B, T)


VALUE_CASES = {
    "thirty steps": lambda rng: (_apart(rng, 2, 30),),
    "one function": lambda rng: (_apart(rng, 1, 5),),
    "one step": lambda rng: (_apart(rng, 2, 1),),
    "no function": lambda rng: (np.zeros((0, 5)),),
    "ties": lambda rng: (np.array([[1.0, 1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]]),),
}


LSTM_SOURCE = "Hochreiter & Schmidhuber 1997; Gers et al. 2000"
JITTER = 0.1  # large, as rounding of nearly singular matrices is not what is checked; and the same in both precisions
GP_SOURCE = "Chen et al. 2017; review, section 4.2.2"
ROW = (r"k_t = k(x_t, x_{<t}) \qquad l_t = L_{<t}^{-1} k_t \qquad"
       r" \delta_t = \sqrt{v (1 + \varepsilon) - l_t \cdot l_t} \qquad")
INCUMBENT = r"\qquad b_t = \min_{s < t} \ "
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
    Operation(
        "squared_distance", covariance.squared_distance, covariance.squared_distance_backward, _points,
        r"r^2 = \sum_j \ (x_j - z_j)^2 / s_j^2", "definition",
        cases={
            "one function": partial(_points, B=1),
            "coincident": partial(_points, apart=0.0),
            "no points": partial(_points, n=0),
            "one length scale a dimension": partial(_points, scales=True),
        },
    ),
    Operation(
        "squared_exponential", covariance.squared_exponential, covariance.squared_exponential_backward, _covariance,
        r"k = v \ e^{-r^2 / 2}", "Rasmussen & Williams 2006, equation (4.9)",
        cases=COVARIANCE_CASES,
    ),
    Operation(
        "matern32", covariance.matern32, covariance.matern32_backward, _covariance,
        r"k = v (1 + q) e^{-q} \qquad q = \sqrt{3} \ r", "Rasmussen & Williams 2006, equation (4.17)",
        cases=COVARIANCE_CASES,
    ),
    Operation(
        "matern52", covariance.matern52, covariance.matern52_backward, _covariance,
        r"k = v (1 + q + q^2 / 3) e^{-q} \qquad q = \sqrt{5} \ r", "Rasmussen & Williams 2006, equation (4.17)",
        cases=COVARIANCE_CASES,
    ),
    Operation(
        "solve_lower", cholesky.solve_lower, cholesky.solve_lower_backward, _solve_lower,
        r"L x = b", "definition",
        cases={
            "one matrix": partial(_solve_lower, B=1),
            "one row": partial(_solve_lower, t=1),
            "no rows": partial(_solve_lower, t=0),
        },
    ),
    Operation(
        "cholesky_row", cholesky.cholesky_row, cholesky.cholesky_row_backward, _cholesky_row,
        r"l = L^{-1} k \qquad \delta = \sqrt{c - l \cdot l}", "Golub & Van Loan 2013, section 4.2",
        cases={
            "little left": partial(_cholesky_row, left=(1e-3, 2e-3)),
            "one matrix": partial(_cholesky_row, B=1),
            "first row": partial(_cholesky_row, t=0),
        },
    ),
    Operation(
        "gp_append", partial(gp.gp_append, jitter=JITTER), gp.gp_append_backward, _gp_append,
        ROW + r" m_t = l_t \cdot z_{<t} \qquad f_t = m_t + \delta_t z_t", GP_SOURCE,
        cases={
            "six dimensions": partial(_gp_append, B=1, d=6),
            "one length scale a dimension": partial(_gp_append, scales=True),
            "last query": partial(_gp_append, t=3),
            "first query": partial(_gp_append, t=0),
        },
    ),
    Operation(
        "gp_append at earlier points", partial(gp.gp_append, jitter=JITTER), gp.gp_append_backward,
        partial(_gp_append, t=3, repeated=True),
        ROW + r" m_t = l_t \cdot z_{<t} \qquad f_t = m_t + \delta_t z_t", GP_SOURCE,
        cases={"nearly": partial(_gp_append, t=3, repeated=True, apart=1e-6)},
    ),
    Operation(
        "gp_sample", partial(gp.gp_sample, jitter=JITTER), gp.gp_sample_backward, _trajectory,
        ROW + r" f_t = l_t \cdot z_{<t} + \delta_t z_t \qquad t = 1 .. T", GP_SOURCE,
        cases={
            "thirty steps": partial(_trajectory, B=1, T=30, d=1, spread=3.0),
            "six dimensions": partial(_trajectory, d=6),
            "one length scale a dimension": partial(_trajectory, scales=True),
            "one function": partial(_trajectory, B=1),
            "one step": partial(_trajectory, T=1),
            "no function": partial(_trajectory, B=0),
        },
    ),
    *(
        Operation(
            f"gp_sample with {name}", partial(gp.gp_sample, covariance=name, jitter=JITTER), gp.gp_sample_backward,
            partial(_trajectory, scales=True),
            ROW + r" f_t = l_t \cdot z_{<t} + \delta_t z_t \qquad t = 1 .. T", GP_SOURCE,
            cases={
                "coincident": partial(_trajectory, repeated=True),
                "nearly coincident": partial(_trajectory, repeated=True, apart=1e-6),
            },
        )
        for name in covariance.COVARIANCES
    ),
    Operation(
        "observe", gp.observe, gp.observe_backward,
        lambda rng: (_normal(rng, 2, 3), _normal(rng, 2, 3), rng.uniform(0.1, 1.0)),
        r"y = f + \sigma \epsilon", "Chen et al. 2017; review, equation (7)",
        cases={
            "empty": lambda rng: (np.zeros((0, 3)), np.zeros((0, 3)), 0.5),
        },
    ),
    Operation(
        "gp_posterior", partial(gp.gp_posterior, jitter=JITTER), gp.gp_posterior_backward, _gp_posterior,
        r"K = k(x, x) + (v \varepsilon + \sigma^2) I \qquad m = k^T K^{-1} y \qquad"
        r" s^2 = v (1 + \varepsilon) - k^T K^{-1} k", "Rasmussen & Williams 2006, equations (2.23) and (2.24)",
        cases={
            "six dimensions": partial(_gp_posterior, d=6),
            "at the data": partial(_gp_posterior, apart=0.0),
            "no data": partial(_gp_posterior, n=0),
            "one function, little noise": partial(_gp_posterior, B=1, noise=0.01),
            "one length scale a dimension": partial(_gp_posterior, scales=True),
        },
    ),
    Operation(
        "gp_posterior with matern52", partial(gp.gp_posterior, covariance="matern52", jitter=JITTER),
        gp.gp_posterior_backward, _gp_posterior,
        r"K = k(x, x) + (v \varepsilon + \sigma^2) I \qquad m = k^T K^{-1} y \qquad"
        r" s^2 = v (1 + \varepsilon) - k^T K^{-1} k", "Rasmussen & Williams 2006, equations (2.23) and (2.24)",
    ),
    Operation(
        "expected_improvement", improvement.expected_improvement, improvement.expected_improvement_backward,
        lambda rng: _belief(rng, 3, 4),
        r"EI = (b - \mu) \Phi(z) + \sigma \phi(z) \qquad z = (b - \mu) / \sigma",
        "Jones, Schonlau & Welch 1998, equation (15)",
        cases={
            "far tails": lambda rng: _belief(rng, 6, z=10.0),
            "no gain": lambda rng: (np.ones(2), rng.uniform(0.2, 2.0, 2), np.ones(2)),
            "small sigma": lambda rng: (_normal(rng, 3), 1e-4 * rng.uniform(1.0, 2.0, 3), _normal(rng, 3)),
            "single": lambda rng: _belief(rng),
            "empty": lambda rng: _belief(rng, 0, 3),
        },
    ),
    Operation(
        "sum_loss", meta_losses.sum_loss, meta_losses.sum_loss_backward,
        lambda rng: (_apart(rng, 3, 4),),
        r"L = \sum_t \ f_t", "Chen et al. 2017; review, equation (8)",
        cases=VALUE_CASES,
    ),
    Operation(
        "incumbent", meta_losses.incumbent, meta_losses.incumbent_backward,
        lambda rng: (_apart(rng, 3, 4),),
        r"b_t = \min_{s < t} \ y_s", "Chen et al. 2017; review, equation (10)",
        cases=VALUE_CASES,
    ),
    Operation(
        "expected_improvement_loss", meta_losses.expected_improvement_loss,
        meta_losses.expected_improvement_loss_backward, _improvement_loss,
        r"L = -\sum_{t > 1} \ EI(m_t, \delta_t, b_t)" + INCUMBENT + "y_s",
        "Chen et al. 2017; review, equation (9)",
        cases={
            "thirty steps": partial(_improvement_loss, T=30),
            "one function": partial(_improvement_loss, B=1),
            "one step": partial(_improvement_loss, T=1),
            "no function": partial(_improvement_loss, B=0),
        },
    ),
    Operation(
        "observed_improvement_loss", meta_losses.observed_improvement_loss,
        meta_losses.observed_improvement_loss_backward, lambda rng: (_apart(rng, 3, 4),),
        r"L = \sum_{t > 1} \ \min(f_t - b_t, 0)" + INCUMBENT + "f_s",
        "Chen et al. 2017; review, equation (10)",
        cases=VALUE_CASES,
    ),
    Operation(
        "final_loss", meta_losses.final_loss, meta_losses.final_loss_backward,
        lambda rng: (_apart(rng, 3, 4),),
        r"L = f_T", "Chen et al. 2017; review, section 4.2.1",
        cases=VALUE_CASES,
    ),
    Operation(
        "best_loss", meta_losses.best_loss, meta_losses.best_loss_backward,
        lambda rng: (_apart(rng, 3, 4),),
        r"L = \min_t \ f_t", "Chen et al. 2017; the review's figures 8 to 12",
        cases=VALUE_CASES,
    ),
)

"""Every differentiable operation of the package, once: what the audit, the tests and the docs read."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from .learned import black_box, cells, coordinatewise, sequence
from .ops import (
    activations, addressing, cholesky, covariance, dnc, gp, heads, improvement, linear, losses, lstm, meta_losses,
    preprocessing, rnn,
)
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


QUADRATIC_CASES = {
    "tied": _at_the_minimum,
    "tiny": _times(1e-8, _quadratic),
    "huge": _times(1e4, _quadratic),
    "one function": partial(_quadratic, B=1),
    "one parameter": partial(_quadratic, d=1),
    "empty": partial(_quadratic, B=0),
}
MLP_CASES = {
    "saturated": _times(20, _mlp),
    "tied": _times(0, _mlp),
    "blank images": _blank_images,
    "one image": partial(_mlp, N=1),
    "no hidden layer": partial(_mlp, sizes=(6, 3)),
}


def _points(rng, B=2, n=3, m=4, d=2, scales=False, spread=1.0, apart=None):
    """x, z, length_scale; the first points of x and z are ``apart`` from each other, if that is given."""
    x, z = spread * rng.random((B, n, d)), spread * rng.random((B, m, d))
    if apart is not None:
        z[:, :2] = x[:, :2] + apart * _normal(rng, B, 2, d)
    return x, z, rng.uniform(0.3, 1.0, d if scales else ())


def _covariance(rng, **changes):
    return *_points(rng, **changes), rng.uniform(0.5, 2.0)


def _squared_distances(rng, B=2, n=3, m=4, low=0.1, high=9.0):
    """r2, variance. Off 0: there the Matern covariances have a slope in r2, but on one side alone."""
    return rng.uniform(low, high, (B, n, m)), rng.uniform(0.5, 2.0)


DISTANCE_CASES = {
    "far apart": partial(_squared_distances, low=100.0, high=200.0),
    "one pair": partial(_squared_distances, B=1, n=1, m=1),
    "empty": partial(_squared_distances, m=0),
}
COVARIANCE_CASES = {
    "coincident": partial(_covariance, apart=0.0),
    "nearly coincident": partial(_covariance, apart=1e-6),
    "far apart": partial(_covariance, spread=10.0),
    "huge": _times(1e4, _covariance),
    "a scale for each dimension": partial(_covariance, scales=True),
    "six dimensions": partial(_covariance, n=2, m=2, d=6),
    "one function": partial(_covariance, B=1),
    "one point": partial(_covariance, n=1, m=1, d=1),
    "empty": partial(_covariance, m=0),
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


JITTER = 0.1  # large, as rounding of nearly singular matrices is not what is checked; and the same in both precisions


def _trajectory(rng, B=2, T=4, d=2, scales=False, repeated=False, apart=0.0):
    """x (B, T, d), z (B, T), length_scale, variance; with ``repeated`` later points are ``apart`` from the first."""
    x = rng.random((B, T, d))
    if repeated:
        x[:, 1::2] = x[:, :1] + apart * _normal(rng, B, T // 2, d)
    return x, _normal(rng, B, T), rng.uniform(0.3, 0.8, d if scales else ()), rng.uniform(0.5, 2.0)


SAMPLE_CASES = {
    "coincident": partial(_trajectory, B=1, T=3, repeated=True),
    "nearly coincident": partial(_trajectory, B=1, T=3, repeated=True, apart=1e-6),
    "one function": partial(_trajectory, B=1, d=1),
}


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


POSTERIOR_CASES = {
    "at the data": partial(_gp_posterior, apart=0.0),
    "no data": partial(_gp_posterior, n=0),
    "one function": partial(_gp_posterior, B=1),
}


def _observe(rng, B=2, T=3):
    return _normal(rng, B, T), _normal(rng, B, T), rng.uniform(0.1, 1.0)


def _belief(rng, *shape, z=1.0):
    """mu, sigma, best with (best - mu) / sigma about z, of both signs."""
    sigma, best = rng.uniform(0.2, 2.0, shape), _normal(rng, *shape)
    return best - z * sigma * _off_zero(rng, *shape), sigma, best


def _apart(rng, B, T):
    """Values that are far apart within each row: where none tie, minima have a derivative."""
    return rng.permuted(np.tile(np.arange(T) + 0.0, (B, 1)), axis=1) + 0.1 * rng.random((B, T))


def _values(rng):
    return (_apart(rng, 3, 4),)


def _certain(rng):
    """Beliefs that are all but certain: z is far from 0, and nothing depends on sigma."""
    mu = _normal(rng, 3)
    return mu, 1e-4 * rng.uniform(1.0, 2.0, 3), mu + rng.choice([-1, 1], 3) * rng.uniform(0.1, 2.0, 3)


def _improvement_loss(rng, B=2, T=5):
    return _normal(rng, B, T), rng.uniform(0.2, 2.0, (B, T)), _apart(rng, B, T)


TIES = np.array([[1.0, 1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
VALUE_CASES = {
    "tied": lambda rng: (TIES,),
    "tiny": _times(1e-8, _values),
    "huge": _times(1e4, _values),
    "thirty steps": lambda rng: (_apart(rng, 1, 30),),
    "one function": lambda rng: (_apart(rng, 1, 5),),
    "one step": lambda rng: (_apart(rng, 2, 1),),
    "empty": lambda rng: (np.zeros((0, 5)),),
}


LAYERS = r" (h_l, c_l)' = \text{lstm-cell}(z_{l-1}, (h_l, c_l)), \ z_l = h_l' \qquad g = \text{scale} \cdot (z_L W + b)"
LSTM_SOURCE = "Hochreiter & Schmidhuber 1997; Gers et al. 2000"
GP_SOURCE = "Chen et al. 2017; review, section 4.2.2"
ROW = (r"k_t = k(x_t, x_{<t}) \qquad l_t = L_{<t}^{-1} k_t \qquad"
       r" \delta_t = \sqrt{v (1 + \varepsilon) - l_t \cdot l_t} \qquad")
SAMPLE = ROW + r" f_t = l_t \cdot z_{<t} + \delta_t z_t \qquad t = 1 .. T"
POSTERIOR = (r"K = k(x, x) + (v \varepsilon + \sigma^2) I \qquad m = k^T K^{-1} y \qquad"
             r" s^2 = v (1 + \varepsilon) - k^T K^{-1} k")
COORDINATEWISE_SOURCE = "Andrychowicz et al. 2016, section 2.1; review, equations (4) and (5)"

def _proposer(rng, d=2, H=3):
    params = black_box.proposer_init(rng, d, H)
    return params._replace(W=_normal(rng, H, d), b=_normal(rng, d))


def _propose(rng, B=2, d=2, H=3, scale=1.0):
    state = lstm.LSTMState(np.tanh(_normal(rng, B, H)), _normal(rng, B, H))
    return scale * _normal(rng, B, d + 2), state, _proposer(rng, d, H)


PROPOSE_CASES = {
    "one function": partial(_propose, B=1),
    "six dimensions": partial(_propose, B=1, d=6, H=2),
    "empty": partial(_propose, B=0),
}


def _search(rng, B=2, T=4, d=2, H=2, workers=1):
    """params, z, epsilon, fed, length_scale of a trajectory."""
    fed = black_box.arrivals(T, workers, rng)
    return _proposer(rng, d, H), _normal(rng, B, T), _normal(rng, B, T), fed, rng.uniform(0.3, 0.8, ())


def _search_around(rng, d=2, **settings):
    """`_search` with some queries in the cube and some outside, none near its edge."""
    params, *others = _search(rng, d=d, **settings)
    return params._replace(W=0.02 * params.W, b=_around_the_cube(rng, d)), *others


def _search_given(rng, **settings):
    """`_search` for one function, under the law of the values that `_given` decides."""
    *inputs, _ = _search(rng, B=1, **settings)
    return *inputs, np.array(0.5)


def _given(d=2, known=2, steps=4):
    """One function with some values decided beforehand, scaled and shifted."""
    rng = np.random.default_rng(0)
    state = gp.gp_start(1, known + steps, d)
    for _ in range(known):
        (_, state), _ = gp.gp_append(state, rng.random((1, d)), _normal(rng, 1), 0.5, 1.0, jitter=JITTER)
    return gp.Given(state, np.array([0.7]), np.array([-0.4]))


def _searched(rng, B=2, T=4, d=2):
    """A trajectory, of which the network was outside of the cube."""
    f = _normal(rng, B, T)
    return (black_box.Trajectory(rng.uniform(0.1, 0.9, (B, T, d)), rng.uniform(0, 1, (B, T)), f, _normal(rng, B, T),
                                 _normal(rng, B, T), rng.uniform(0.3, 1.0, (B, T))),)


def _around_the_cube(rng, *shape):
    """Numbers inside of [0, 1] and on either side, none near an end."""
    return np.where(rng.random(shape) < 0.5, rng.uniform(0.1, 0.9, shape), rng.choice([-0.4, 1.3], shape))


def _weightings(rng, *shape):
    """Rows of numbers in (0, 1), each with a sum of its own below 1."""
    return rng.uniform(0.3, 0.95, (*shape[:-1], 1)) * rng.dirichlet(np.ones(shape[-1]), shape[:-1])


def _content(rng, B=2, K=2, N=4, W=3, size=1.0, sharp=3.0):
    return size * _normal(rng, B, N, W), _normal(rng, B, K, W), rng.uniform(1.0, sharp, (B, K))


def _content_of_nothing(rng, key=1.0):
    M, k, beta = _content(rng)
    return np.zeros_like(M), key * k, beta


def _usage(rng, B=2, R=3, N=4):
    return rng.uniform(0.1, 0.9, (B, N)), _weightings(rng, B, N), rng.random((B, R)), _weightings(rng, B, R, N)


def _usage_at_the_ends(rng):
    """Gates of exactly 0 and 1, and a slot that one head, or both, look at alone: factors of W3 are 0."""
    u, w, _, w_r = _usage(rng, N=3, R=2)
    w_r[:, 0], w_r[1, 1] = np.eye(3)[0], np.eye(3)[0]
    return np.array([[0.0, 1.0, 0.3]] * 2), w, np.array([[1.0, 0.0], [1.0, 1.0]]), w_r


def _spread(rng, B=2, N=4):
    """Usages, no two of a row near each other."""
    return rng.permuted(np.tile((np.arange(N) + 0.5) / N, (B, 1)), axis=1) + rng.uniform(-0.1, 0.1, (B, N)) / N


def _write_weighting(rng, B=2, N=4, gates=None):
    gates = rng.random((2, B)) if gates is None else np.full((2, B), gates)
    return _weightings(rng, B, N), _weightings(rng, B, N), *gates


def _link(rng, B=2, N=4):
    L = _weightings(rng, B, N, N) * (1 - np.eye(N))
    return L, _weightings(rng, B, N), _weightings(rng, B, N)


def _read_weighting(rng, B=2, R=2, N=4):
    return _link(rng, B, N)[0], _weightings(rng, B, R, N), _weightings(rng, B, R, N), rng.dirichlet(np.ones(3), (B, R))


def _erase_and_add(rng, B=2, N=4, W=3, gate=None):
    erase = rng.random((B, W)) if gate is None else np.full((B, W), gate)
    return _normal(rng, B, N, W), _weightings(rng, B, N), erase, _normal(rng, B, W)


def _memory(rng, B=2, N=4, W=3, R=2):
    L, p, w = _link(rng, B, N)
    return heads.Memory(_normal(rng, B, N, W), _spread(rng, B, N), L, p, 0.1 * w / N, 0.1 * _weightings(rng, B, R, N))


def _xi(rng, B=2, W=3, R=2):
    return _normal(rng, B, heads.interface_size(W, R))


def _interfaces(rng, B=2, W=3, R=2):
    return heads.split_interface(_xi(rng, B, W, R), W, R)[0]


def _read_heads(rng, **sizes):
    return _memory(rng, **sizes), _interfaces(rng, **{k: v for k, v in sizes.items() if k != "N"})[0]


def _write_head(rng, **sizes):
    return _memory(rng, **sizes), _interfaces(rng, **{k: v for k, v in sizes.items() if k != "N"})[1]


def _memory_access(rng, **sizes):
    return _xi(rng, **{k: v for k, v in sizes.items() if k != "N"}), _memory(rng, **sizes)


def _dnc(rng, B=2, D=2, H=3, N=4, W=3, R=2):
    memory = _memory(rng, B, N, W, R)
    shown = np.tanh(_normal(rng, B, H + R * W))
    return _normal(rng, B, D), dnc.DNCState(shown, _normal(rng, B, H), memory), dnc.dnc_init(rng, D, H, W, R)


def _sequence(rng, B=2, T=4, D=2, K=3, H=3, cell=None):
    cell = cell or cells.LSTM
    asked = np.arange(T) >= T // 2
    return (_normal(rng, B, T, D), rng.integers(0, 2, (B, T, K)), asked, sequence.sequence_init(rng, D, K, H, cell))


def _loss_of_sequence(x, y, asked, params, cell=cells.LSTM):
    """`sequence` without what it shows besides."""
    (L, _, _), cache = sequence.sequence(x, y, asked, params, cell)
    return L, cache


MEMORY_SIZES = {"one memory": {"B": 1}, "one slot": {"N": 1}, "one read head": {"R": 1}, "empty": {"B": 0}}


def _sizes(draw):
    """Cases of an operation on a memory."""
    return {name: partial(draw, **sizes) for name, sizes in MEMORY_SIZES.items()}


GRAVES = "Graves et al. 2016, Methods"
CHEN_SOURCE = "Chen et al. 2017; review, equations (6) and (11)"

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
        cases=QUADRATIC_CASES,
    ),
    Operation(
        "quadratic_gradient", quadratic.quadratic_gradient, quadratic.quadratic_gradient_backward, _quadratic,
        r"\nabla f = 2 \ W^T (W \theta - y)", "Andrychowicz et al. 2016, section 3.1",
        cases=QUADRATIC_CASES,
    ),
    Operation(
        "mlp_loss", partial(mlp.mlp_loss, unit=16.0), mlp.mlp_loss_backward, _mlp,
        r"f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \sigma(z_{k-1} W_k + b_k)",
        "Andrychowicz et al. 2016, section 3.2",
        cases=MLP_CASES,
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
    Operation(
        "mlp_gradient", partial(mlp.mlp_gradient, unit=16.0), mlp.mlp_gradient_backward, _mlp,
        r"\nabla f, \ f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \sigma(z_{k-1} W_k + b_k)",
        "Pearlmutter 1994",
        cases=MLP_CASES,
    ),
    Operation(
        "mlp_gradient with relu", partial(mlp.mlp_gradient, unit=16.0, activation="relu"), mlp.mlp_gradient_backward,
        _mlp,
        r"\nabla f, \ f = \dfrac{1}{N} \sum_n \ \ell_n(z_{K-1} W_K + b_K) \qquad z_k = \max(z_{k-1} W_k + b_k, 0)",
        "Pearlmutter 1994",
        cases={
            "saturated": _times(20, _mlp),
            "one image": partial(_mlp, N=1),
            "one hidden layer": partial(_mlp, sizes=(6, 4, 3)),
        },
    ),
    Operation(
        "squared_distance", covariance.squared_distance, covariance.squared_distance_backward, _points,
        r"r^2 = \sum_j \ (x_j - z_j)^2 / s_j^2", "definition",
        cases={
            "coincident": partial(_points, apart=0.0),
            "tiny": _times(1e-8, _points),
            "huge": _times(1e4, _points),
            "a scale for each dimension": partial(_points, scales=True),
            "one function": partial(_points, B=1),
            "empty": partial(_points, n=0),
        },
    ),
    Operation(
        "squared_exponential_of_r2", covariance.squared_exponential_of_r2,
        covariance.squared_exponential_of_r2_backward, _squared_distances,
        r"k = v \ e^{-r^2 / 2}", "Rasmussen & Williams 2006, equation (4.9)",
        cases=DISTANCE_CASES,
    ),
    Operation(
        "matern32_of_r2", covariance.matern32_of_r2, covariance.matern32_of_r2_backward, _squared_distances,
        r"k = v (1 + q) e^{-q} \qquad q = \sqrt{3 r^2}", "Rasmussen & Williams 2006, equation (4.17)",
        cases=DISTANCE_CASES,
    ),
    Operation(
        "matern52_of_r2", covariance.matern52_of_r2, covariance.matern52_of_r2_backward, _squared_distances,
        r"k = v (1 + q + q^2 / 3) e^{-q} \qquad q = \sqrt{5 r^2}", "Rasmussen & Williams 2006, equation (4.17)",
        cases=DISTANCE_CASES,
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
            "huge": _times(1e4, _solve_lower),
            "one matrix": partial(_solve_lower, B=1),
            "one row": partial(_solve_lower, t=1),
            "empty": partial(_solve_lower, t=0),
        },
    ),
    Operation(
        "cholesky_row", cholesky.cholesky_row, cholesky.cholesky_row_backward, _cholesky_row,
        r"l = L^{-1} k \qquad \delta = \sqrt{c - l \cdot l}", "Golub & Van Loan 2013, section 4.2",
        cases={
            "little left": partial(_cholesky_row, t=2, left=(1e-3, 2e-3)),
            "one matrix": partial(_cholesky_row, B=1),
            "first row": partial(_cholesky_row, t=0),
            "empty": partial(_cholesky_row, B=0),
        },
    ),
    Operation(
        "gp_append", partial(gp.gp_append, jitter=JITTER), gp.gp_append_backward, _gp_append,
        ROW + r" m_t = l_t \cdot z_{<t} \qquad f_t = m_t + \delta_t z_t", GP_SOURCE,
        cases={
            "coincident": partial(_gp_append, T=2, t=1, repeated=True),
            "nearly coincident": partial(_gp_append, T=2, t=1, repeated=True, apart=1e-6),
            "a scale for each dimension": partial(_gp_append, T=3, scales=True),
            "six dimensions": partial(_gp_append, B=1, T=2, d=6, t=1),
            "first query": partial(_gp_append, T=2, t=0),
            "last query": partial(_gp_append, T=3),
            "one function": partial(_gp_append, B=1, d=1),
            "empty": partial(_gp_append, B=0),
        },
    ),
    Operation(
        "gp_sample", partial(gp.gp_sample, jitter=JITTER), gp.gp_sample_backward, _trajectory,
        SAMPLE, GP_SOURCE,
        cases=SAMPLE_CASES | {
            "a scale for each dimension": partial(_trajectory, T=3, scales=True),
            "six dimensions": partial(_trajectory, B=1, T=3, d=6),
            "thirty steps": partial(_trajectory, B=1, T=30, d=1),
            "one step": partial(_trajectory, T=1),
            "empty": partial(_trajectory, B=0),
        },
    ),
    *(
        Operation(
            f"gp_sample with {name}", partial(gp.gp_sample, covariance=name, jitter=JITTER), gp.gp_sample_backward,
            partial(_trajectory, T=3), SAMPLE, GP_SOURCE, cases=SAMPLE_CASES,
        )
        for name in ("matern32", "matern52")
    ),
    Operation(
        "observe", gp.observe, gp.observe_backward, _observe,
        r"y = f + \sigma \epsilon", "Chen et al. 2017; review, equation (7)",
        cases={
            "tiny": _times(1e-8, _observe),
            "huge": _times(1e4, _observe),
            "one value": partial(_observe, B=1, T=1),
            "empty": partial(_observe, B=0),
        },
    ),
    Operation(
        "gp_posterior", partial(gp.gp_posterior, jitter=JITTER), gp.gp_posterior_backward, _gp_posterior,
        POSTERIOR, "Rasmussen & Williams 2006, equations (2.23) and (2.24)",
        cases=POSTERIOR_CASES | {
            "little noise": partial(_gp_posterior, B=1, noise=0.01),
            "a scale for each dimension": partial(_gp_posterior, scales=True),
            "six dimensions": partial(_gp_posterior, n=2, m=2, d=6),
            "no queries": partial(_gp_posterior, m=0),
            "empty": partial(_gp_posterior, B=0),
        },
    ),
    Operation(
        "gp_posterior with matern52", partial(gp.gp_posterior, covariance="matern52", jitter=JITTER),
        gp.gp_posterior_backward, _gp_posterior,
        POSTERIOR, "Rasmussen & Williams 2006, equations (2.23) and (2.24)", cases=POSTERIOR_CASES,
    ),
    Operation(
        "expected_improvement", improvement.expected_improvement, improvement.expected_improvement_backward,
        lambda rng: _belief(rng, 3, 4),
        r"EI = (b - \mu) \Phi(z) + \sigma \phi(z) \qquad z = (b - \mu) / \sigma",
        "Jones, Schonlau & Welch 1998, equation (15)",
        cases={
            "far tails": lambda rng: _belief(rng, 6, z=10.0),
            "no gain": lambda rng: (np.ones(2), rng.uniform(0.2, 2.0, 2), np.ones(2)),
            "small sigma": _certain,
            "tiny": _times(1e-8, lambda rng: _belief(rng, 3)),
            "huge": _times(1e4, lambda rng: _belief(rng, 3)),
            "one belief": lambda rng: _belief(rng),
            "empty": lambda rng: _belief(rng, 0, 3),
        },
    ),
    Operation(
        "sum_loss", meta_losses.sum_loss, meta_losses.sum_loss_backward, _values,
        r"L = \sum_t \ f_t", "Chen et al. 2017; review, equation (8)",
        cases=VALUE_CASES,
    ),
    Operation(
        "incumbent", meta_losses.incumbent, meta_losses.incumbent_backward, _values,
        r"b_t = \min_{s < t} \ y_s", "Chen et al. 2017; review, equation (10)",
        cases=VALUE_CASES,
    ),
    Operation(
        "expected_improvement_loss", meta_losses.expected_improvement_loss,
        meta_losses.expected_improvement_loss_backward, _improvement_loss,
        r"L = -\sum_{t > 1} \ EI(m_t, \delta_t, b_t) \qquad b_t = \min_{s < t} \ y_s",
        "Chen et al. 2017; review, equation (9)",
        cases={
            "tied": lambda rng: (*_improvement_loss(rng)[:2], TIES),
            "thirty steps": partial(_improvement_loss, B=1, T=30),
            "one function": partial(_improvement_loss, B=1),
            "one step": partial(_improvement_loss, T=1),
            "empty": partial(_improvement_loss, B=0),
        },
    ),
    Operation(
        "observed_improvement_loss", meta_losses.observed_improvement_loss,
        meta_losses.observed_improvement_loss_backward, _values,
        r"L = \sum_{t > 1} \ \min(f_t - b_t, 0) \qquad b_t = \min_{s < t} \ f_s",
        "Chen et al. 2017; review, equation (10)",
        cases=VALUE_CASES,
    ),
    Operation(
        "final_loss", meta_losses.final_loss, meta_losses.final_loss_backward, _values,
        r"L = f_T", "Chen et al. 2017; review, section 4.2.1",
        cases=VALUE_CASES,
    ),
    Operation(
        "best_loss", meta_losses.best_loss, meta_losses.best_loss_backward, _values,
        r"L = \min_t \ f_t", "Chen et al. 2017; the review's figures 8 to 12",
        cases=VALUE_CASES,
    ),
    Operation(
        "oneplus", activations.oneplus, activations.oneplus_backward, _one(3, 4),
        r"b = 1 + \log(1 + e^x)", GRAVES,
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
        "content_weighting", addressing.content_weighting, addressing.content_weighting_backward, _content,
        r"c = \text{softmax}(\beta s) \qquad s_i = \dfrac{k \cdot M_i}{\ell_k \ell_i}", GRAVES,
        cases={
            "empty slots": _content_of_nothing,
            "nothing to look for": partial(_content_of_nothing, key=0.0),
            "sharp": partial(_content, sharp=30.0),
            "huge": partial(_content, size=1e4),
            "one memory": partial(_content, B=1, K=1),
            "one slot": partial(_content, N=1),
            "empty": partial(_content, B=0),
        },
    ),
    Operation(
        "usage", addressing.usage, addressing.usage_backward, _usage,
        r"u' = (u + w - u w) \prod_r \ (1 - f_r w_r)", GRAVES,
        cases={
            "gates of 0 and 1": _usage_at_the_ends,
            "one memory": partial(_usage, B=1),
            "one slot": partial(_usage, N=1),
            "one read head": partial(_usage, R=1),
            "empty": partial(_usage, B=0),
        },
    ),
    Operation(
        "allocation", addressing.allocation, addressing.allocation_backward, lambda rng: (_spread(rng),),
        r"a_k = (1 - u_k) \prod_{u_j < u_k} \ u_j", GRAVES,
        cases={
            "0 and 1": lambda rng: (np.array([[0.0, 0.4, 1.0], [1.0, 0.0, 0.5]]),),
            "tied at 1": lambda rng: (np.array([[1.0, 0.4, 1.0]]),),
            "one memory": lambda rng: (_spread(rng, B=1),),
            "one slot": lambda rng: (_spread(rng, N=1),),
            "sixteen slots": lambda rng: (_spread(rng, N=16),),
            "empty": lambda rng: (_spread(rng, B=0),),
        },
    ),
    Operation(
        "write_weighting", addressing.write_weighting, addressing.write_weighting_backward, _write_weighting,
        r"w = g_w (g_a a + (1 - g_a) c)", GRAVES,
        cases={
            "gates of 0": partial(_write_weighting, gates=0.0),
            "gates of 1": partial(_write_weighting, gates=1.0),
            "one memory": partial(_write_weighting, B=1),
            "one slot": partial(_write_weighting, N=1),
            "empty": partial(_write_weighting, B=0),
        },
    ),
    Operation(
        "temporal_link", addressing.temporal_link, addressing.temporal_link_backward, _link,
        r"L'_{ij} = (1 - w_i - w_j) L_{ij} + w_i p_j \qquad p' = (1 - \sum_i \ w_i) p + w", GRAVES,
        cases={
            "one memory": partial(_link, B=1),
            "one slot": partial(_link, N=1),
            "empty": partial(_link, B=0),
        },
    ),
    Operation(
        "read_weighting", addressing.read_weighting, addressing.read_weighting_backward, _read_weighting,
        r"w' = m_1 L^T w + m_2 c + m_3 L w", GRAVES,
        cases={
            "one memory": partial(_read_weighting, B=1),
            "one slot": partial(_read_weighting, N=1),
            "one read head": partial(_read_weighting, R=1),
            "empty": partial(_read_weighting, B=0),
        },
    ),
    Operation(
        "split_interface", heads.split_interface, heads.split_interface_backward, lambda rng: (_xi(rng), 3, 2),
        r"\xi \to \text{oneplus, sigmoid and softmax of its parts}", GRAVES,
        cases={
            "saturated": _times(30, lambda rng: (_xi(rng), 3, 2)),
            "one memory": lambda rng: (_xi(rng, B=1), 3, 2),
            "one read head": lambda rng: (_xi(rng, R=1), 3, 1),
            "empty": lambda rng: (_xi(rng, B=0), 3, 2),
        },
    ),
    Operation(
        "erase_and_add", heads.erase_and_add, heads.erase_and_add_backward, _erase_and_add,
        r"M' = M (1 - w e^T) + w v^T", GRAVES,
        cases={
            "nothing erased": partial(_erase_and_add, gate=0.0),
            "all erased": partial(_erase_and_add, gate=1.0),
            "one memory": partial(_erase_and_add, B=1),
            "one slot": partial(_erase_and_add, N=1),
            "empty": partial(_erase_and_add, B=0),
        },
    ),
    Operation(
        "write_head", heads.write_head, heads.write_head_backward, _write_head,
        r"M', u', L', p', w' = \text{write}(M, u, L, p, w, w_r; \text{interface})", GRAVES, cases=_sizes(_write_head),
    ),
    Operation(
        "read_heads", heads.read_heads, heads.read_heads_backward, _read_heads,
        r"w_r' = \text{read weighting}(M', L') \qquad r = M'^T w_r'", GRAVES, cases=_sizes(_read_heads),
    ),
    Operation(
        "memory_access", heads.memory_access, heads.memory_access_backward, _memory_access,
        r"r, \text{memory}' = \text{read}(\text{write}(\text{memory}; \xi); \xi)", GRAVES, cases=_sizes(_memory_access),
    ),
    Operation(
        "dnc_cell", dnc.dnc_cell, dnc.dnc_cell_backward, _dnc,
        r"h' = \text{lstm}((x, r), h) \qquad \xi = h' W + b \qquad r' = \text{memory access}(\xi)", GRAVES,
        cases={**_sizes(_dnc), "no input": partial(_dnc, D=0)},
    ),
    Operation(
        "sigmoid_cross_entropy", losses.sigmoid_cross_entropy, losses.sigmoid_cross_entropy_backward,
        lambda rng: (_normal(rng, 3, 4), rng.integers(0, 2, (3, 4))),
        r"l = \log(1 + e^v) - t v", "definition",
        cases={
            "saturated": lambda rng: (30 * _normal(rng, 5), rng.integers(0, 2, 5)),
            "huge": lambda rng: (1e4 * _off_zero(rng, 5), rng.integers(0, 2, 5)),
            "one bit": lambda rng: (_normal(rng, 1), np.array([1])),
            "empty": lambda rng: (_normal(rng, 0, 3), rng.integers(0, 2, (0, 3))),
        },
    ),
    Operation(
        "sequence", _loss_of_sequence, sequence.sequence_backward, _sequence,
        r"state_{t+1} = \text{cell}(x_t, state_t) \qquad L = \text{mean}_t \ l(h_{t+1} W + b, y_t)", "definition",
        cases={
            "one sequence": partial(_sequence, B=1),
            "one step": partial(_sequence, T=1),
            "one bit": partial(_sequence, K=1),
            "empty": partial(_sequence, B=0),
        },
    ),
    Operation(
        "propose", black_box.propose, black_box.propose_backward, _propose,
        r"state' = \text{cell}(u, state) \qquad x = \sigma(h' W + b) \qquad e = 0", CHEN_SOURCE,
        cases={**PROPOSE_CASES, "saturated": partial(_propose, scale=20.0)},
    ),
    Operation(
        "propose, linear", partial(black_box.propose, output="linear"), black_box.propose_backward, _propose,
        r"state' = \text{cell}(u, state) \qquad x, e = \text{into cube}(h' W + b)", CHEN_SOURCE,
        cases=PROPOSE_CASES,
    ),
    Operation(
        "into_cube", black_box.into_cube, black_box.into_cube_backward,
        lambda rng: (_around_the_cube(rng, 3, 2),),
        r"x = \min(\max(v, 0), 1) \qquad e = \sum_i \max(v_i - 1, 0) + \max(-v_i, 0)", "our choice",
        cases={
            "one point": lambda rng: (_around_the_cube(rng, 1, 2),),
            "trajectories": lambda rng: (_around_the_cube(rng, 2, 3, 2),),
            "tied": lambda rng: (np.array([[0.0, 1.0], [0.5, 1.5]]),),
            "empty": lambda rng: (np.zeros((0, 2)),),
        },
    ),
    Operation(
        "trajectory", partial(black_box.trajectory, noise=0.3, jitter=JITTER), black_box.trajectory_backward, _search,
        r"x_t, state_{t+1} = m(\tilde x_t, \tilde y_t, o_t, state_t) \qquad f_t = f(x_t), \ f \sim \text{GP} \qquad "
        r"y_t = f_t + \nu \epsilon_t",
        CHEN_SOURCE,
        cases={
            "one function": partial(_search, B=1, d=1),
            "one query": partial(_search, T=1),
            "three workers": partial(_search, T=6, workers=3),
            "nothing comes back": partial(_search, T=2, workers=4),
            "six dimensions": partial(_search, B=1, T=3, d=6),
        },
    ),
    Operation(
        "trajectory, linear", partial(black_box.trajectory, output="linear", jitter=JITTER),
        black_box.trajectory_backward, _search_around,
        r"x_t, e_t = \text{into cube}(h_{t+1} W + b) \qquad f_t = f(x_t), \ f \sim \text{GP}", CHEN_SOURCE,
        cases={
            "one function": partial(_search_around, B=1, T=3),
            "two workers": partial(_search_around, T=3, workers=2),
            "six dimensions": partial(_search_around, B=1, T=2, d=6),
        },
    ),
    Operation(
        "trajectory, values given", partial(black_box.trajectory, noise=0.3, jitter=JITTER, given=_given()),
        black_box.trajectory_backward, _search_given,
        r"f_t = b + a g(x_t), \ g \sim \text{GP given values} \qquad y_t = f_t + \nu \epsilon_t",
        "Chen et al. 2017; what is given is our choice",
        cases={
            "one function": partial(_search_given, H=3),
            "two workers": partial(_search_given, workers=2),
            "four workers": partial(_search_given, workers=4),
        },
    ),
    Operation(
        "trajectory_loss", partial(black_box.trajectory_loss, penalty=2.0), black_box.trajectory_loss_backward,
        _searched, r"L = \text{loss}(f_1 .. f_T) + \dfrac{p}{T} \sum_t \ e_t",
        "Chen et al. 2017; the penalty is our choice",
        cases={
            "one function": partial(_searched, B=1),
            "one query": partial(_searched, T=1),
            "six dimensions": partial(_searched, d=6),
        },
    ),
    *(
        Operation(
            f"trajectory_loss of {name}", partial(black_box.trajectory_loss, loss=name, penalty=1.0),
            black_box.trajectory_loss_backward, _searched,
            r"L = \text{loss}(f_1 .. f_T) + \dfrac{p}{T} \sum_t \ e_t",
            "Chen et al. 2017; the penalty is our choice",
            cases={
                "one function": partial(_searched, B=1),
                "one query": partial(_searched, T=1),
                "two queries": partial(_searched, T=2),
            },
        )
        for name in ("sum", "ei", "final", "best")
    ),
)

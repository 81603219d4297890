"""The meta-gradients, C5 and C6, each below the function of the weights whose gradient it is."""

from functools import partial

import numpy as np

from .. import backends
from ..learned import coordinatewise
from ..learned.cells import with_backend
from ..ops.lstm import lstm_init
from ..ops.rnn import rnn_init
from ..trees import tree_map
from .operation import Operation, normal, times


def _state(rng, n, params):
    """A state of n coordinates, in the precision of the weights."""
    zeros = coordinatewise.init_state(n, params)
    return tree_map(lambda a: np.tanh(normal(rng, *a.shape)).astype(a.dtype), zeros)


def updates_of_window(params, steps, n, p=None, scale=0.5, backend="numpy"):
    """The updates (steps, n) of n coordinates whose gradients are given: params -> updates, cache."""
    rng = np.random.default_rng(0)
    gradients, state = normal(rng, steps, n).astype(params.W.dtype), _state(rng, n, params)
    (updates, _), _ = coordinatewise.unroll(gradients, state, params, p, scale)
    return updates, (gradients, state, params, p, scale, backend)


def updates_of_window_backward(d_updates, cache):
    """`meta_gradient`: d_updates (steps, n) -> d_params, and None for the constants."""
    gradients, state, params, p, scale, backend = cache
    module = backends.choose("coordinatewise", backend)
    return module.meta_gradient(gradients, d_updates, state, params, p, scale), None, None


def loss_of_window(params, steps, n, p=None, scale=0.5, backend="numpy"):
    """C4 and C6: the sum over s = 1..steps of s |A theta_s - y|^2, as it depends on the weights: params -> L, cache."""
    rng, dtype = np.random.default_rng(0), params.W.dtype
    A, y, theta = (normal(rng, *shape).astype(dtype) for shape in ((n, n), (n,), (n,)))
    first = state = _state(rng, n, params)
    gradients, loss_gradients, L = [], [], dtype.type(0)
    for s in range(1, steps + 1):
        gradients.append(2.0 * A.T @ (A @ theta - y))
        (g, state), _ = coordinatewise.step(gradients[-1], state, params, p, scale)
        theta = theta + g                                            # C4
        residual = A @ theta - y
        L = L + float(s) * (residual * residual).sum()
        loss_gradients.append(2.0 * float(s) * A.T @ residual)
    products = [lambda v: 2.0 * A.T @ (A @ v)] * steps               # C6: H_t v
    cell = with_backend(coordinatewise.cell_of(params), backend, n)
    return L, (np.array(gradients), np.array(loss_gradients), products, first, params, p, scale, cell)


def loss_of_window_backward(d_L, cache):
    """`second_order_meta_gradient`: d_L () -> d_params, and None for the constants."""
    gradients, loss_gradients, *others = cache
    d_params = coordinatewise.second_order_meta_gradient(gradients, d_L * loss_gradients, *others)
    return d_params, None, None


def _weights(rng, steps=3, n=2, hidden=(2,), inputs=1, init=lstm_init):
    like = coordinatewise.init_params(rng, hidden, inputs, init)
    return like._replace(W=normal(rng, hidden[-1], 1), b=normal(rng, 1)), steps, n


CASES = {
    "saturated": times(3, _weights),
    "two layers": partial(_weights, steps=2, hidden=(2, 1)),
    "one coordinate": partial(_weights, n=1),
    "one step": partial(_weights, steps=1),
}
RNN = partial(_weights, init=rnn_init)
RNN_CASES = {
    "saturated": times(3, RNN),
    "two layers": partial(RNN, steps=2, hidden=(2, 1)),
    "one coordinate": partial(RNN, n=1),
}
FEATURES = partial(_weights, steps=2, inputs=2)
FEATURES_CASES = {
    "saturated": times(3, FEATURES),
    "one coordinate": partial(FEATURES, n=1),
    "one step": partial(_weights, steps=1, inputs=2),
}
SOURCE = "Andrychowicz et al. 2016, section 2 and Figure 2; review, equations (3) to (5)"
C5 = r"\frac{\partial L}{\partial \phi} = \sum_t \ \frac{\partial L}{\partial g_t} \frac{\partial g_t}{\partial \phi}"
C6 = (r"\frac{\partial L}{\partial g_t} = \lambda_{t+1} \qquad"
      r" \lambda_t = w_t \nabla f(\theta_t) + H_t \mu_t + \lambda_{t+1}")

OPERATIONS = (
    Operation("meta_gradient", updates_of_window, _weights, C5, SOURCE, cases=CASES),
    Operation("second_order_meta_gradient", loss_of_window, _weights, C6, SOURCE, cases=CASES),
    Operation("second_order_meta_gradient with log_and_sign", partial(loss_of_window, p=10.0), FEATURES, C6, SOURCE,
              cases=FEATURES_CASES),
    Operation("meta_gradient of an RNN", updates_of_window, RNN, C5, SOURCE, cases=RNN_CASES),
    Operation("second_order_meta_gradient of an RNN", loss_of_window, RNN, C6, SOURCE, cases=RNN_CASES),
)

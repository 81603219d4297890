"""The learned black-box optimizer: its losses, its proposals and its whole trajectory."""

from functools import partial

import numpy as np

from ..learned import cells, propose, shared_cell, trajectory
from ..ops import gp, improvement, lstm, meta_losses, noisy_improvement
from .gaussian_processes import JITTER
from .operation import Operation, normal, off_zero, times


def _prediction(rng, *shape, z=1.0):
    """mu, sigma and best, with (best - mu) / sigma of order z and of both signs."""
    sigma, best = rng.uniform(0.2, 2.0, shape), normal(rng, *shape)
    return best - z * sigma * off_zero(rng, *shape), sigma, best


def _apart(rng, B, T):
    """Values that are far apart within each row, so that minima have a derivative."""
    return rng.permuted(np.tile(np.arange(T) + 0.0, (B, 1)), axis=1) + 0.1 * rng.random((B, T))


def _values(rng):
    return (_apart(rng, 3, 4),)


def _certain(rng):
    """Predictions with a tiny sigma: z is far from 0, and the result hardly depends on sigma."""
    mu = normal(rng, 3)
    return mu, 1e-4 * rng.uniform(1.0, 2.0, 3), mu + rng.choice([-1, 1], 3) * rng.uniform(0.1, 2.0, 3)


def _improvement_loss(rng, B=2, T=5):
    return normal(rng, B, T), rng.uniform(0.2, 2.0, (B, T)), _apart(rng, B, T)


TIES = np.array([[1.0, 1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
VALUE_CASES = {
    "tied": lambda rng: (TIES,),
    "tiny": times(1e-8, _values),
    "huge": times(1e4, _values),
    "thirty steps": lambda rng: (_apart(rng, 1, 30),),
    "one function": lambda rng: (_apart(rng, 1, 5),),
    "one step": lambda rng: (_apart(rng, 2, 1),),
    "empty": lambda rng: (np.zeros((0, 5)),),
}


def _observed(rng, B=2, T=5, d=2, workers=1, noise=0.3):
    """x, y, fed, length_scale, variance and noise of a trajectory whose results came in in random order."""
    fed = trajectory.arrivals(T, workers, rng)
    return rng.random((B, T, d)), _apart(rng, B, T), fed, np.array(0.5), np.array(1.3), np.array(noise)


def _proposer(rng, d=2, H=3):
    params = propose.proposer_init(rng, d, H)
    return params._replace(W=normal(rng, H, d), b=normal(rng, d))


def _propose(rng, B=2, d=2, H=3, scale=1.0):
    state = lstm.LSTMState(np.tanh(normal(rng, B, H)), normal(rng, B, H))
    return scale * normal(rng, B, d + 2), state, _proposer(rng, d, H)


PROPOSE_CASES = {
    "one function": partial(_propose, B=1),
    "six dimensions": partial(_propose, B=1, d=6, H=2),
    "empty": partial(_propose, B=0),
}


def _shared(rng, B=2, d=3, H=4, fed=1.0):
    """u, state and weights of a cell that coordinates share; something was fed before, to every second function."""
    state = shared_cell.SharedState(
        np.tanh(normal(rng, B, d, H)), normal(rng, B, d, H), rng.random((B, d)), normal(rng, B),
        np.arange(B) % 2 + 0.0, np.broadcast_to(shared_cell.codes(d), (B, d, shared_cell.CODE)) + 0.0)
    u = np.concatenate([rng.random((B, d)), _away_from(rng, state.q)[:, None], np.full((B, 1), fed)], axis=1)
    return u, state, _weights(rng, shared_cell.INPUTS, H)


def _weights(rng, D, H):
    return lstm.LSTMParams(normal(rng, D, 4 * H), normal(rng, H, 4 * H), normal(rng, 4 * H))


def _away_from(rng, y):
    """Values that are larger or smaller than y, none of them near it."""
    return y + rng.choice([-1, 1], y.shape) * rng.uniform(0.1, 2.0, y.shape)


def _propose_shared(rng, B=2, d=3, H=4):
    u, state, weights = _shared(rng, B, d, H)
    return u, state, propose.ProposerParams(weights, normal(rng, H, 1), normal(rng, 1))


def _search_shared(rng, B=2, T=4, d=2, H=4, workers=1):
    """`_search` by a network whose coordinates share its weights."""
    _, *others = _search(rng, B, T, d, H, workers)
    return propose.ProposerParams(_weights(rng, shared_cell.INPUTS, H), normal(rng, H, 1), normal(rng, 1)), *others


def _search(rng, B=2, T=4, d=2, H=2, workers=1):
    """params, z, epsilon, fed and length_scale of a trajectory."""
    fed = trajectory.arrivals(T, workers, rng)
    return _proposer(rng, d, H), normal(rng, B, T), normal(rng, B, T), fed, rng.uniform(0.3, 0.8, ())


def _search_around(rng, d=2, **settings):
    """`_search` with queries both inside and outside the cube, none of them near its edge."""
    params, *others = _search(rng, d=d, **settings)
    return params._replace(W=0.02 * params.W, b=_around_the_cube(rng, d)), *others


def _search_given(rng, **settings):
    """`_search` for one function that is conditioned on the values of `_given`."""
    *inputs, _ = _search(rng, B=1, **settings)
    return *inputs, np.array(0.5)


def _given(d=2, known=2, steps=4):
    """One function with several values fixed in advance, scaled and shifted."""
    rng = np.random.default_rng(0)
    state = gp.gp_initial_state(1, known + steps, d)
    for _ in range(known):
        (_, state), _ = gp.gp_append(state, rng.random((1, d)), normal(rng, 1), 0.5, 1.0, jitter=JITTER)
    return gp.Given(state, np.array([0.7]), np.array([-0.4]))


def _searched(rng, B=2, T=4, d=2):
    """A trajectory whose network outputs lay outside the cube."""
    f = normal(rng, B, T)
    return (trajectory.Trajectory(rng.uniform(0.1, 0.9, (B, T, d)), rng.uniform(0, 1, (B, T)), f, normal(rng, B, T),
                                  normal(rng, B, T), rng.uniform(0.3, 1.0, (B, T))),)


def _around_the_cube(rng, *shape):
    """Numbers inside [0, 1] and on either side of it, none of them near an end."""
    return np.where(rng.random(shape) < 0.5, rng.uniform(0.1, 0.9, shape), rng.choice([-0.4, 1.3], shape))


CHEN_SOURCE = "Chen et al. 2017; review, equations (6) and (11)"


OPERATIONS = (
    Operation(
        "expected_improvement", improvement.expected_improvement,
        lambda rng: _prediction(rng, 3, 4),
        r"EI = (b - \mu) \Phi(z) + \sigma \phi(z) \qquad z = (b - \mu) / \sigma",
        "Jones, Schonlau & Welch 1998, equation (15)",
        cases={
            "far tails": lambda rng: _prediction(rng, 6, z=10.0),
            "no gain": lambda rng: (np.ones(2), rng.uniform(0.2, 2.0, 2), np.ones(2)),
            "small sigma": _certain,
            "tiny": times(1e-8, lambda rng: _prediction(rng, 3)),
            "huge": times(1e4, lambda rng: _prediction(rng, 3)),
            "one belief": lambda rng: _prediction(rng),
            "empty": lambda rng: _prediction(rng, 0, 3),
        },
    ),
    Operation(
        "sum_loss", meta_losses.sum_loss, _values,
        r"L = \sum_t \ f_t", "Chen et al. 2017; review, equation (8)",
        cases=VALUE_CASES,
    ),
    Operation(
        "incumbent", meta_losses.incumbent, _values,
        r"b_t = \min_{s < t} \ y_s", "Chen et al. 2017; review, equation (10)",
        cases=VALUE_CASES,
    ),
    Operation(
        "expected_improvement_loss", meta_losses.expected_improvement_loss, _improvement_loss,
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
        "observed_improvement_loss", meta_losses.observed_improvement_loss, _values,
        r"L = \sum_{t > 1} \ \min(f_t - b_t, 0) \qquad b_t = \min_{s < t} \ f_s",
        "Chen et al. 2017; review, equation (10)",
        cases=VALUE_CASES,
    ),
    Operation(
        "noisy_improvement_loss", partial(noisy_improvement.noisy_improvement_loss, jitter=JITTER), _observed,
        r"L = -\sum_t \ EI(m_t, s_t, b_t) \qquad m_t, s_t \text{ given the } y_s \text{ that are known before } t",
        "Chen et al. 2017; review, equation (9)",
        cases={
            "one function": partial(_observed, B=1),
            "one query": partial(_observed, T=1),
            "three workers": partial(_observed, T=6, workers=3),
            "little noise": partial(_observed, noise=0.01),
            "empty": partial(_observed, B=0),
        },
    ),
    Operation(
        "final_loss", meta_losses.final_loss, _values,
        r"L = f_T", "Chen et al. 2017; review, section 4.2.1",
        cases=VALUE_CASES,
    ),
    Operation(
        "best_loss", meta_losses.best_loss, _values,
        r"L = \min_t \ f_t", "Chen et al. 2017; the review's figures 8 to 12",
        cases=VALUE_CASES,
    ),
    Operation(
        "propose", propose.propose, _propose,
        r"state' = \text{cell}(u, state) \qquad x = \sigma(h' W + b) \qquad e = 0", CHEN_SOURCE,
        cases={**PROPOSE_CASES, "saturated": partial(_propose, scale=20.0)},
    ),
    Operation(
        "propose, linear", partial(propose.propose, output="linear"), _propose,
        r"state' = \text{cell}(u, state) \qquad x, e = \text{into cube}(h' W + b)", CHEN_SOURCE,
        cases=PROPOSE_CASES,
    ),
    Operation(
        "shared_cell", shared_cell.shared_cell, _shared,
        r"r_i = (x_i - o/2, p_i' - k'/2, y, q', o, \log d, code_i) \qquad "
        r"(g_i, c_i') = \text{lstm-cell}(r_i, (h_i, c_i)) \qquad h' = \text{global-average}(g)", "our choice",
        cases={
            "one function": partial(_shared, B=1),
            "one dimension": partial(_shared, d=1, H=2),
            "six dimensions": partial(_shared, B=1, d=6, H=2),
            "nothing fed": partial(_shared, fed=0.0),
            "empty": partial(_shared, B=0),
        },
    ),
    Operation(
        "propose, shared", partial(propose.propose, cell=cells.shared_with(3)), _propose_shared,
        r"state' = \text{shared-cell}(u, state) \qquad x_i = \sigma(h_i' W + b) \qquad e = 0", "our choice",
        cases={
            "one function": partial(_propose_shared, B=1),
            "one dimension": partial(_propose_shared, d=1),
            "empty": partial(_propose_shared, B=0),
        },
    ),
    Operation(
        "into_cube", propose.into_cube,
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
        "trajectory", partial(trajectory.trajectory, noise=0.3, jitter=JITTER), _search,
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
        "trajectory, linear", partial(trajectory.trajectory, output="linear", jitter=JITTER), _search_around,
        r"x_t, e_t = \text{into cube}(h_{t+1} W + b) \qquad f_t = f(x_t), \ f \sim \text{GP}", CHEN_SOURCE,
        cases={
            "one function": partial(_search_around, B=1, T=3),
            "two workers": partial(_search_around, T=3, workers=2),
            "six dimensions": partial(_search_around, B=1, T=2, d=6),
        },
    ),
    Operation(
        "trajectory, shared", partial(trajectory.trajectory, cell=cells.shared_with(2), dim=2, jitter=JITTER),
        _search_shared,
        r"x_t, state_{t+1} = m(\tilde x_t, \tilde y_t, o_t, state_t) \qquad f_t = f(x_t), \ f \sim \text{GP}",
        "Chen et al. 2017; the cell is our choice",
        cases={
            "one function": partial(_search_shared, B=1),
            "one query": partial(_search_shared, T=1),
            "two workers": partial(_search_shared, T=3, workers=2),
        },
    ),
    Operation(
        "trajectory, values given", partial(trajectory.trajectory, noise=0.3, jitter=JITTER, given=_given()),
        _search_given,
        r"f_t = b + a g(x_t), \ g \sim \text{GP given values} \qquad y_t = f_t + \nu \epsilon_t",
        "Chen et al. 2017; what is given is our choice",
        cases={
            "one function": partial(_search_given, H=3),
            "two workers": partial(_search_given, workers=2),
            "four workers": partial(_search_given, workers=4),
        },
    ),
    Operation(
        "trajectory_loss", partial(trajectory.trajectory_loss, penalty=2.0),
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
            f"trajectory_loss of {name}", partial(trajectory.trajectory_loss, loss=name, penalty=1.0), _searched,
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

"""Meta-training of an optimizer on a problem of your own: first its gradient is checked, then the optimizer is trained.

The problem is logistic regression on 32 random points with 5 coordinates, which are drawn anew for each function. A
problem needs a method ``sample``. The task that it returns needs ``theta0`` and ``loss_and_gradient``.
"""

import numpy as np

import l2l_ref as l2l
from l2l_ref.baselines.gradient import Adam
from l2l_ref.optimizees.rollout import rollout

POINTS, DIM = 32, 5


def logistic_loss(theta, x, t):
    """theta (B, d), x (B, N, d), t (B, N) of -1 and 1 -> losses (B,), cache."""
    margin = t * (x @ theta[:, :, None])[:, :, 0]
    return np.logaddexp(0, -margin).mean(axis=1), (x, t, margin)


def logistic_loss_backward(d_losses, cache):
    x, t, margin = cache
    d_margin = -d_losses[:, None] / (1 + np.exp(margin)) / margin.shape[1]
    return ((d_margin * t)[:, None, :] @ x)[:, 0, :], None, None


class LogisticRegression:
    config = {"problem": "logistic regression", "points": POINTS, "dim": DIM}
    chance = float(np.log(2))

    def sample(self, functions, seed, dtype=np.float32):
        return Task(functions, np.random.default_rng(seed), dtype)


class Task:
    def __init__(self, functions, rng, dtype):
        self.x = rng.standard_normal((functions, POINTS, DIM)).astype(dtype)
        truth = rng.standard_normal((functions, DIM, 1))
        noise = rng.logistic(size=(functions, POINTS))
        self.t = np.where((self.x @ truth)[:, :, 0] + noise > 0, 1, -1)
        self.theta0 = np.zeros((functions, DIM), dtype)

    def loss_and_gradient(self, theta):
        losses, cache = logistic_loss(theta, self.x, self.t)
        return losses, logistic_loss_backward(np.ones_like(losses), cache)[0].astype(theta.dtype)


problem = LogisticRegression()

# 1. Is the gradient right? The data x and t are constants, so only the gradient with respect to theta is checked.
task = problem.sample(3, 0, np.float64)
theta = np.random.default_rng(1).standard_normal(task.theta0.shape)
report = l2l.gradcheck(logistic_loss, logistic_loss_backward, (theta, task.x, task.t), wrt=[0])
print(report)
report.raise_if_failed()

# 2. Train an optimizer on it.
model, log = l2l.meta_train(
    l2l.CoordinatewiseLSTM(hidden=(20,), preprocess=10.0, output_scale=0.1), problem, steps=30, unroll=15, seed=0,
    epochs=8, tasks=20, functions=32, learning_rate=1e-2, final_learning_rate=1e-3,
)
for entry in log:
    print(f"epoch {entry['epoch']}: f(30) {entry['validation_final']:.4f}, sum {entry['validation_sum']:.2f}")
l2l.save(model, "logistic-lstm.npz", {"problem": problem.config})

# 3. Compare it with Adam on new functions. Adam has the best of seven learning rates.
learned = rollout(l2l.load("logistic-lstm.npz"), problem.sample(500, 99), 30).mean(axis=1)
adam = min(
    (rollout(Adam(rate), problem.sample(500, 99), 30).mean(axis=1) for rate in (0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0)),
    key=lambda curve: curve[-1],
)
print(f"f(5):  learned {learned[5]:.4f}, Adam {adam[5]:.4f}")
print(f"f(30): learned {learned[-1]:.4f}, Adam {adam[-1]:.4f}")

assert learned[-1] < 0.7 * learned[0]

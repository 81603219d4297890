"""A learned optimizer as an optax gradient transformation, inside of a jitted step.

NumPy computes the update, behind ``jax.pure_callback``. What optax carries from step to step are the arrays of the
state; what does not change stays outside.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import l2l_ref as l2l


def learned(optimizer, params, **settings):
    """A GradientTransformation for parameters like ``params``."""
    start = optimizer.init(jax.tree.map(np.asarray, params), **settings)

    def host(gradient, arrays, t):
        network = type(start.network)(*map(np.asarray, arrays), int(t))
        update, state = optimizer.update(jax.tree.map(np.asarray, gradient), start._replace(network=network))
        return update, state.network[:-1]

    def init(params):
        return tuple(map(jnp.asarray, start.network[:-1])), jnp.zeros((), jnp.int32)

    def update(gradient, state, params=None):
        arrays, t = state
        like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (gradient, arrays))
        change, arrays = jax.pure_callback(host, like, gradient, arrays, t)
        return change, (arrays, t + 1)

    return optax.GradientTransformation(init, update)


data = l2l.datasets.load("digits", "train")
x, y = jnp.asarray(data.images, jnp.float32) / data.scale, jnp.asarray(data.labels)
rng = np.random.default_rng(0)
params = {"W1": jnp.asarray(rng.normal(0, 0.15, (64, 32)), jnp.float32), "b1": jnp.zeros(32),
          "W2": jnp.asarray(rng.normal(0, 0.2, (32, 10)), jnp.float32), "b2": jnp.zeros(10)}
transformation = learned(l2l.load("general"), params, steps=200)
state = transformation.init(params)


def loss_of(params, rows):
    logits = jnp.tanh(x[rows] @ params["W1"] + params["b1"]) @ params["W2"] + params["b2"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()


@jax.jit
def step(params, state, rows):
    loss, gradient = jax.value_and_grad(loss_of)(params, rows)
    change, state = transformation.update(gradient, state)
    return optax.apply_updates(params, change), state, loss


for _ in range(200):
    params, state, loss = step(params, state, rng.integers(0, len(x), 64))
print(f"loss {loss:.3f} after 200 steps")

assert loss < 0.3

"""A training loop in plain NumPy with a learned optimizer.

The model is softmax regression on the digits in the package, and theta is a dict of arrays. It needs NumPy alone.
"""

import numpy as np

import l2l_ref as l2l

train, test = (l2l.datasets.load("digits", split) for split in ("train", "test"))
rng = np.random.default_rng(0)


def logits(theta, x):
    return x @ theta["W"] + theta["b"]


def gradient(theta, x, labels):
    """The gradient of the mean cross-entropy, written by hand."""
    z = logits(theta, x)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    p /= len(labels)
    return {"W": x.T @ p, "b": p.sum(axis=0)}


def accuracy(theta, data):
    x = data.images.astype(np.float32) / np.float32(data.scale)
    return (logits(theta, x).argmax(axis=1) == data.labels).mean()


theta = {"W": np.zeros((64, 10), np.float32), "b": np.zeros(10, np.float32)}
optimizer, steps = l2l.load(), 100
state = optimizer.init(theta, steps=steps)
for step in range(steps):
    rows = rng.integers(0, len(train.images), 128)
    x = train.images[rows].astype(np.float32) / np.float32(train.scale)
    update, state = optimizer.update(gradient(theta, x, train.labels[rows]), state)
    theta = {name: theta[name] + update[name] for name in theta}
    if step % 20 == 19:
        print(f"step {step + 1:3}: {accuracy(theta, test):.1%} of the test images right")

assert accuracy(theta, test) > 0.85

"""The backward pass of the LSTM on NumPy arrays.

Seen in thinc 9.1.1. The loop over time stops before the first step, so that its input gets no gradient, and the array
in which the gradients of the parameters are summed starts as the parameters instead of zeros.
"""

import importlib.metadata

import numpy as np

import l2l_ref as l2l

try:
    from thinc.api import NumpyOps
except ImportError:
    print("thinc is not installed")
    raise SystemExit from None

steps, inputs, hidden = 4, 2, 3
gates = 4 * hidden
ops, zero, lengths = NumpyOps(), np.zeros((1, 1, hidden), "f"), np.ones(steps, "i")
rng = np.random.default_rng(0)
X = rng.normal(size=(steps, inputs)).astype("f")
params = rng.normal(scale=0.5, size=gates * (inputs + hidden + 2)).astype("f")


def lstm(X, params):
    Y, state = ops.lstm_forward_training(params.astype("f"), zero, zero, X.astype("f"), lengths)
    return Y, (params.astype("f"), state)


def backward(d_Y, cache):
    return ops.backprop_lstm(d_Y.astype("f").copy(), lengths, *cache)


print(l2l.gradcheck(lstm, backward, (X, params)))


def own_lstm(X):
    """The same outputs in double precision, for the complex step."""
    W_x, b_x, W_h, b_h = np.split(params.astype(float), np.cumsum([gates * inputs, gates, gates * hidden]))
    h, c, outputs = np.zeros(hidden), np.zeros(hidden), []
    for x in X:
        a = W_x.reshape(gates, inputs) @ x + b_x + W_h.reshape(gates, hidden) @ h + b_h
        f, i, o = 1 / (1 + np.exp(-a[: 3 * hidden].reshape(3, hidden)))
        c = f * c + i * np.tanh(a[3 * hidden :])
        h = o * np.tanh(c)
        outputs.append(h)
    return np.array(outputs)


Y, cache = lstm(X, params)
assert np.abs(own_lstm(X) - Y).max() < 1e-6
d_X, d_params = backward(np.ones_like(Y), cache)
nothing = backward(np.zeros_like(Y), cache)[1]
print(f"\nthinc {importlib.metadata.version('thinc')}")
for t in range(2):
    step = 1e-30j * (np.indices(X.shape) == np.array([t, 0])[:, None, None]).all(axis=0)
    print(f"input [{t}, 0]: gradient {d_X[t, 0]:.7f}, complex step {own_lstm(X + step).imag.sum() / 1e-30:.7f}")
print(f"the first three parameters:         {params[:3]}")
print(f"their gradients for a d_Y of zeros: {nothing[:3]}")

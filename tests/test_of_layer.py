"""Layers that keep their parameters and gradients, as the arguments of `gradcheck`."""

import numpy as np
import pytest

import l2l_ref as l2l
from l2l_ref.checking import gradcheck, trees
from l2l_ref.checking.layers import of_layer

X = np.array([[0.3, -1.2, 0.7], [2.0, 0.5, -0.4]])
W, B = np.random.default_rng(0).normal(size=(3, 2)), np.array([0.5, -1.0])


class Affine:
    """Attributes W and dW; dW is made by backward, db is added to."""

    def __init__(self, W=W, b=B):
        self.W, self.b, self.db, self.calls = W.copy(), b.copy(), np.full(b.shape, 7.0, b.dtype), 0

    def forward(self, x):
        self.calls += 1
        self.x, self.y = x, np.tanh(x @ self.W + self.b)
        return self.y

    def backward(self, d_y):
        d = d_y * (1 - self.y**2)
        self.dW = self.x.T @ d
        self.db += d.sum(axis=0)
        return d @ self.W.T


class Lists(Affine):
    """Lists of the same arrays, as in "deep learning from scratch": a layer reads self.W, an optimizer self.params."""

    def __init__(self, W=W, b=B):
        super().__init__(W, b)
        self.dW = np.zeros_like(W)
        self.params, self.grads = [self.W, self.b], [self.dW, self.db]

    def backward(self, d_y):
        d_x = super().backward(d_y)
        self.grads[0][...] = self.dW
        return d_x


class Dicts(Affine):
    """Dicts that are the only place of the arrays."""

    def __init__(self, W=W, b=B):
        self.params = {"W": W.copy(), "b": b.copy()}
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}

    W = property(lambda self: self.params["W"])
    b = property(lambda self: self.params["b"])
    db = property(lambda self: self.grads["b"], lambda self, value: self.grads.update(b=value))
    dW = property(lambda self: self.grads["W"], lambda self, value: self.grads.update(W=value))

    def forward(self, x):
        self.x, self.y = x, np.tanh(x @ self.W + self.b)
        return self.y


class Parameter:
    def __init__(self, data):
        self.data, self.grad = data.copy(), None


class Objects(Affine):
    """Parameters with .data and .grad, which is None before the first backward."""

    def __init__(self, W=W, b=B):
        self.weight, self.bias = Parameter(W), Parameter(b)

    W = property(lambda self: self.weight.data)
    b = property(lambda self: self.bias.data)

    def forward(self, x):
        self.x, self.y = x, np.tanh(x @ self.W + self.b)
        return self.y

    def backward(self, d_y):
        d = d_y * (1 - self.y**2)
        for parameter, gradient in ((self.weight, self.x.T @ d), (self.bias, d.sum(axis=0))):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return d @ self.W.T


LAYERS = {
    "attributes": (Affine, {"params": {"W": "dW", "b": "db"}}, ["params['W']", "params['b']"]),
    "lists": (Lists, {}, ["params[0]", "params[1]"]),
    "dicts": (Dicts, {}, ["params['W']", "params['b']"]),
    "dotted names": (Objects, {"params": {"weight.data": "weight.grad", "bias.data": "bias.grad"}},
                     ["params['weight.data']", "params['bias.data']"]),
    "functions": (Objects, {"params": lambda layer: [p.data for p in (layer.weight, layer.bias)],
                            "grads": lambda layer: [p.grad for p in (layer.weight, layer.bias)]},
                  ["params[0]", "params[1]"]),
    "other names": (Dicts, {"params": "params", "grads": "grads", "forward": "forward",
                            "backward": lambda layer, d: layer.backward(d)}, ["params['W']", "params['b']"]),
}


def state(tree):
    """All arrays and numbers of an object, by their path."""
    return {path: np.array(leaf) for path, leaf in trees.leaves(tree) if not callable(leaf)}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_checked_in_its_inputs_and_parameters(name):
    kind, options, paths = LAYERS[name]
    layer = kind()
    layer.forward(X)  # it has been used before
    layer.backward(np.ones((2, 2)))
    before, arrays = state(layer), [leaf for _, leaf in trees.leaves(layer)]
    right = gradcheck(*of_layer(layer, X, **options))
    assert right.ok and [entry.path for entry in right.entries] == ["x", *paths], right
    after = state(layer)
    assert before.keys() == after.keys() and all(np.array_equal(before[path], after[path]) for path in before)
    assert all(a is b for (_, a), b in zip(trees.leaves(layer), arrays))

    class Wrong(kind):
        def backward(self, d_y):
            return 1.001 * super().backward(d_y)

    class WrongInParameters(kind):
        def backward(self, d_y):
            d_x = super().backward(1.001 * d_y)
            return d_x / 1.001

    wrong = gradcheck(*of_layer(Wrong(), X, **options))
    assert [entry.verdict for entry in wrong.entries] == ["FAIL", "PASS", "PASS"]
    wrong = gradcheck(*of_layer(WrongInParameters(), X, **options))
    assert [entry.verdict for entry in wrong.entries] == ["PASS", "FAIL", "FAIL"]
    assert gradcheck(*of_layer(Wrong(), X, **options), wrt="params").ok


def test_a_layer_that_forgets_to_add_or_to_set_a_gradient():
    """A gradient buffer that is never written stays 0, whatever an earlier call left in it."""

    class Forgetful(Lists):
        def backward(self, d_y):
            kept = self.db.copy()
            d_x = super().backward(d_y)
            self.db[...] = kept
            return d_x

    layer = Forgetful()
    report = gradcheck(*of_layer(layer, X))
    assert report.verdict == "FAIL" and "the gradient of params[1] is all zero" in str(report)

    class Unset(Affine):
        dW = property(lambda self: None, lambda self, value: None)

    unset = gradcheck(*of_layer(Unset(), X, params={"W": "dW", "b": "db"}))
    assert "gradient of params['W'] is missing" in str(unset)


def test_layers_with_several_inputs_without_parameters_and_with_random_numbers():
    class Loss:
        def forward(self, y, t):
            self.y, self.t = y, t
            return 0.5 * np.sum((y - t) ** 2)

        def backward(self, d=1.0):
            return d * (self.y - self.t)

    class Cell:
        def forward(self, x, h):
            self.x, self.h = x, h
            return x * h, x + h

        def backward(self, d):
            return [d[0] * self.h + d[1], d[0] * self.x + d[1]]

    class Dropout:
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def forward(self, x):
            self.mask = self.rng.random(x.shape) < 0.5
            return x * self.mask

        def backward(self, d):
            return (d * self.mask,)

    class Embedding:
        def __init__(self):
            self.params, self.grads = [W.copy()], [np.zeros_like(W)]

        def forward(self, rows):
            self.rows = rows
            return self.params[0][rows]

        def backward(self, d):
            np.add.at(self.grads[0], self.rows, d)

    assert gradcheck(*of_layer(Loss(), X, X[::-1].copy(), params={}), wrt="y").ok
    loss = gradcheck(*of_layer(Loss(), X, X[::-1].copy(), params={}))
    assert "gradient of t is missing" in str(loss)
    assert gradcheck(*of_layer(Loss(), X, np.arange(3), params={})).ok  # a constant
    cell = gradcheck(*of_layer(Cell(), X, X[::-1].copy(), params={}))
    assert cell.ok and [entry.path for entry in cell.entries] == ["x", "h"]
    assert gradcheck(*of_layer(Dropout(), X, params={})).ok
    embedding = gradcheck(*of_layer(Embedding(), np.array([0, 2, 2])))
    assert embedding.ok and [entry.path for entry in embedding.entries] == ["params[0]"]


def test_a_backward_may_use_up_what_forward_left():
    class Frugal(Lists):
        def backward(self, d_y):
            d_x = super().backward(d_y)
            del self.x, self.y
            return d_x

    assert gradcheck(*of_layer(Frugal(), X)).ok


def test_the_parameters_of_a_layer_keep_their_dtype():
    f, _, (x, params) = of_layer(Lists(W.astype(np.float32), B.astype(np.float32)), X)
    for dtype in (np.float64, np.complex128):
        with pytest.raises(TypeError, match=rf"params\[0\]: expected float32, .*, got {np.dtype(dtype)}"):
            f(x, [leaf.astype(dtype) for leaf in params])


def test_a_layer_with_complex_parameters():
    class Complex(Dicts):
        def forward(self, x):
            self.x = x
            return x @ self.W + self.b

        def backward(self, d):
            self.grads["W"] += np.conj(self.x.T) @ d
            self.grads["b"] += d.sum(axis=0)
            return (d @ np.conj(self.W.T)).real

    layer = Complex(W + 1j * W[::-1], B - 0.5j)
    report = gradcheck(*of_layer(layer, X))
    assert report.ok, report
    assert [entry.path for entry in report.entries][1:3] == ["params['W'].real", "params['W'].imag"]


def test_a_layer_in_single_precision():
    layer = Lists(W.astype(np.float32), B.astype(np.float32))
    assert gradcheck(*of_layer(layer, X.astype(np.float32))).ok

    class Wrong(Lists):
        def backward(self, d_y):
            return np.float32(1.1) * super().backward(d_y)

    wrong = Wrong(W.astype(np.float32), B.astype(np.float32))
    assert gradcheck(*of_layer(wrong, X.astype(np.float32))).verdict == "FAIL"


def test_a_layer_of_torch_tensors():
    torch = pytest.importorskip("torch")

    class Linear:
        def __init__(self):
            self.params, self.grads = [torch.tensor(W)], [torch.zeros(3, 2, dtype=torch.float64)]

        def forward(self, x):
            self.x = x
            return x @ self.params[0]

        def backward(self, d):
            self.grads[0] += self.x.T @ d
            return d @ self.params[0].T

    layer = Linear()
    assert gradcheck(*of_layer(layer, torch.tensor(X))).ok
    assert np.array_equal(layer.params[0].numpy(), W) and not layer.grads[0].any()


def test_what_is_no_layer_is_refused_in_one_line():
    class Locked(Lists):
        def __init__(self):
            super().__init__()
            self.forward_hook = (item for item in [])

    class Shared(Affine):
        W = W

        def __init__(self):
            self.b, self.dW, self.db = B.copy(), None, None

    outside = Affine()
    for layer, options, message in (
        (Affine(), {}, "params: expected attributes, such as params={'W': 'dW'}; 'Affine' object has no attribute"),
        (Affine(), {"params": {"V": "dV"}}, "params: expected attributes, .* 'Affine' object has no attribute 'V'"),
        (Lists(), {"forward": "apply"}, "forward: expected the name of a method of Lists, got 'apply'"),
        (Lists(), {"backward": 3}, "backward: expected the name of a method of Lists, got 3"),
        (Affine(), {"params": {"scale": "d_scale"}}, "params: expected attributes, "),
        (Locked(), {}, "layer: expected an object that copy.deepcopy can copy, got Locked .*generator"),
        (Shared(), {"params": {"W": "dW"}}, r"params\['W'\]: expected an array of this layer alone, got one that"),
        (Lists(), {"params": lambda layer: [outside.W], "grads": "grads"}, r"params\[0\]: expected an array of this"),
    ):
        with pytest.raises(TypeError, match=message) as raised:
            of_layer(layer, X, **options)
        assert "\n" not in str(raised.value)
    layer = Affine()
    layer.scale = 0.5
    with pytest.raises(TypeError, match=r"params\['scale'\]: expected an array, which can be written in pl"):
        of_layer(layer, X, params={"scale": "d_scale"})
    with pytest.raises(TypeError, match="grads: expected attributes, .* 'Affine' object has no attribute 'gone'"):
        gradcheck(*of_layer(Affine(), X, params={"W": "gone"}))


def test_the_adapter_is_public():
    assert l2l.of_layer is of_layer and "of_layer" in l2l.__all__

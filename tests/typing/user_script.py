"""What users write, with all that type checkers know of it: tests/test_typing.py checks it with mypy --strict.

The variables have the types that ``assert_type`` says; nothing here has to be told the checker.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, assert_type

import numpy as np
import numpy.typing as npt

import l2l_ref as l2l
from l2l_ref.baselines.gradient import Adam
from l2l_ref.learned.optimizer import OptimizerState
from l2l_ref.protocols import AskTell, FunctionDistribution, Optimizer, Problem, Task
from l2l_ref.search import ManyResult, Result, Trial
from l2l_ref.trees import add

Floats = npt.NDArray[np.float64]


class Layer(NamedTuple):
    W: Floats
    b: Floats


# -------------------------------------------------------------------------------------- a learned optimizer, on arrays

mnist = l2l.load("mnist-lstm", backend="numpy", threads=1)
assert_type(mnist, l2l.CoordinatewiseLSTM)
theta: Floats = np.linspace(-1, 1, 5)
state = mnist.init(theta)
assert_type(state, OptimizerState)
for _ in range(3):
    update, state = mnist.update(2 * theta, state, theta)
    assert_type(update, Floats)
    theta = theta + update
update, state = mnist.update(2 * theta, state, in_place=True)

# ---------------------------------------------------------------------------------------------------- ... and on trees

by_name = {"W": np.zeros((3, 2)), "b": np.zeros(2)}
steps_by_name, state = mnist.update(by_name, mnist.init(by_name), params=by_name)
by_name = {name: by_name[name] + steps_by_name[name] for name in by_name}
layers = [Layer(np.zeros((3, 2)), np.zeros(2)), Layer(np.zeros((2, 1)), np.zeros(1))]
steps, state = mnist.update(layers, mnist.init(layers))
assert_type(steps, list[Layer])
layers = add(layers, steps)
assert_type(layers[0].W, Floats)


def descend(optimizer: Optimizer, start: Floats, count: int) -> Floats:
    state = optimizer.init(start)
    for _ in range(count):
        update, state = optimizer.update(2 * start, state)
        start = start + update
    return start


descend(mnist, theta, 3)
descend(Adam(0.1), theta, 3)

# ---------------------------------------------------------------------------------------------------- SciPy's minimize


def bowl(x: Floats) -> float:
    return float(((x - 0.3) ** 2).sum())


try:
    import scipy.optimize  # type: ignore[import-untyped, unused-ignore]
except ImportError:
    pass
else:
    scipy.optimize.minimize(bowl, theta, jac=lambda x: 2 * (x - 0.3), method=mnist.scipy_method,
                            options={"maxiter": 5})

# --------------------------------------------------------------------------------------- a learned black-box optimizer

result = l2l.minimize(bowl, [(-1.0, 1.0), (0.0, 2.0)], 5, seed=1, x0=[0.5, 0.5], log=[False, False])
assert_type(result, Result)
best: float = result.fun
print(result, result.x.shape, result.nfev + 1, result.message.upper(), [event[0] for event in result.log])
for point, why in result.failures:
    print(point.tolist(), why)
with ThreadPoolExecutor(2) as pool:
    l2l.minimize(bowl, np.array([[0.0, 1.0]]), 4, "dnc-oi", workers=pool, scaling=(0.0, 1.0))


def watch(intermediate_result: Result) -> None:
    print(intermediate_result.fun)


l2l.minimize(bowl, [(0, 1)], 3, l2l.Proposer(1, 4), callback=watch, args=())
many = l2l.minimize_many(lambda X: (X**2).sum(axis=1), [(0, 1)], functions=3, max_evaluations=4)
assert_type(many, ManyResult)
print(many.history.shape, many.fun.min())

bb = l2l.BlackBoxOptimizer([(0.0, 1.0), (1.0, 9.0)], model="lstm-oi", seed=0, integers=[False, True], backend="numpy")
trial = bb.ask()
assert_type(trial, Trial)
bb.tell(trial, bowl(trial.x))
bb.tell([0.5, 3.0], None)
if bb.best is not None:
    x, value = bb.best
    print(x.mean(), value + 1)
again = l2l.BlackBoxOptimizer.from_state(bb.state_dict())
assert_type(again, l2l.BlackBoxOptimizer)
print([pending.id for pending in again.pending])


def search(optimizer: AskTell[Trial, float], count: int) -> None:
    for _ in range(count):
        trial = optimizer.ask()
        optimizer.tell(trial, bowl(trial.x))


search(bb, 2)

# --------------------------------------------------------------------------------------------------- gradient checking


def square(x: Floats) -> tuple[Floats, Floats]:
    return x**2, x


def square_backward(d_y: Floats, x: Floats) -> Floats:
    return 2 * d_y * x


class Square:
    def forward(self, x: Floats) -> Floats:
        self.x = x
        return x**2

    def backward(self, d_y: Floats) -> Floats:
        return 2 * d_y * self.x


report = l2l.gradcheck(square, square_backward, (theta,))
print(report.ok, report.max_error, report)
l2l.assert_gradients(square, square_backward, (theta,))
l2l.assert_gradients(*l2l.of_layer(Square(), theta, params={}), wrt="x")

# ---------------------------------------------------------------------------------------- meta-training, save and load


class Lines:
    """A problem of one's own: |a theta|^2 for a random slope a."""

    def sample(self, functions: int, seed: int | np.random.SeedSequence, dtype: Any = np.float32) -> "LinesTask":
        return LinesTask(np.random.default_rng(seed).random((functions, 2)).astype(dtype))


class LinesTask:
    def __init__(self, a: npt.NDArray[Any]) -> None:
        self.a, self.theta0 = a, np.ones_like(a)

    def loss_and_gradient(self, theta: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return ((self.a * theta) ** 2).sum(axis=1), 2 * self.a**2 * theta


def trained(problem: Problem) -> l2l.CoordinatewiseLSTM:
    model, log = l2l.meta_train(l2l.CoordinatewiseLSTM(hidden=(2,)), problem, steps=4, unroll=2, seed=0, epochs=1,
                                tasks=1, functions=2, validation_functions=2)
    assert_type(model, l2l.CoordinatewiseLSTM)
    print(log[-1]["validation_final"])
    return model


task: Task = Lines().sample(2, 0)
trained(Lines())
model = trained(l2l.optimizees.Quadratic(dim=2))
distribution: FunctionDistribution = l2l.black_boxes.GPDistribution(dim=1)
proposer, log = l2l.meta_train_black_box(l2l.Proposer(1, 3), distribution, steps=3, first_steps=2, epochs=1, updates=1,
                                         functions=2, validation_functions=2)
assert_type(proposer, l2l.Proposer)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "mine.npz"
    l2l.save(model, path, {"note": "mine"})
    loaded = l2l.load(path)
    assert_type(loaded, l2l.CoordinatewiseLSTM | l2l.CoordinatewiseRNN | l2l.MomentsMLP | l2l.PartitionedLSTM
                | l2l.SharingLSTM | l2l.Proposer)
    assert isinstance(loaded, l2l.CoordinatewiseLSTM)
    loaded.init(theta)
assert_type(l2l.load("lstm-oi-2"), l2l.Proposer)
assert_type(l2l.load(), l2l.MomentsMLP)
assert_type(l2l.load("cifar-lstm"), l2l.PartitionedLSTM)
assert_type(l2l.load("quadratic-sharing-lstm"), l2l.SharingLSTM)
print([card["name"] for card in l2l.models()], l2l.__version__)
digits = l2l.datasets.load("digits", "test")
print(digits.images.shape)

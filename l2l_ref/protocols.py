"""The types of what is passed around. Any object that has these methods can be passed; none has to inherit anything.

======================  =============================================================================================
`Optimizer`             ``init`` and ``update``, as optax has them: learned and hand-designed gradient-based optimizers
`AskTell`               ``ask`` and ``tell``: black-box optimizers and their baselines
`RecurrentCell`         a recurrent cell: a forward/backward pair, an initial state and an initialiser
`Problem`, `Task`       a distribution of differentiable functions, and a batch of functions drawn from it
`SecondOrderTask`       a Task that has products with its second derivatives, too
`FunctionDistribution`  a distribution of functions of which a black-box optimizer sees only values
======================  =============================================================================================

The aliases below are names for types that many signatures have. Import this module for type checking alone: nothing in
it runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Path: TypeAlias = str | os.PathLike[str]
Seed: TypeAlias = int | np.random.SeedSequence
Rng: TypeAlias = int | np.random.SeedSequence | np.random.Generator  # whatever np.random.default_rng takes
Backend: TypeAlias = Literal["auto", "numpy", "numba"]
Card: TypeAlias = dict[str, Any]   # in JSON's types
Weights: TypeAlias = tuple[Any, ...]  # nested NamedTuples and tuples of arrays

# An array, or lists, tuples, NamedTuples and dicts of arrays, nested as you like (l2l_ref/trees.py). An update has the
# type of its gradient.
Tree = TypeVar("Tree")

Asked = TypeVar("Asked")
Told = TypeVar("Told", contravariant=True)


class Optimizer(Protocol):
    """A gradient-based optimizer; optax's gradient transformations are some, too.

    ``state = optimizer.init(theta)``, then ``update, state = optimizer.update(gradient, state)`` and
    ``theta = theta + update`` at each step.
    """

    def init(self, theta: Any, /) -> Any:
        """The state before the first step."""

    def update(self, gradient: Tree, state: Any, /) -> tuple[Tree, Any]:
        """What to add to theta, of the gradient's structure, and the next state. The arguments are not changed."""


def updated(optimizer: Optimizer, gradient: Tree, state: Any, theta: Any) -> tuple[Tree, Any]:
    """``optimizer.update(gradient, state)``, and theta as a third argument if it has ``wants_params``."""
    update: Any = optimizer.update
    told = (theta,) if getattr(optimizer, "wants_params", False) else ()
    step: tuple[Tree, Any] = update(gradient, state, *told)
    return step


class AskTell(Protocol[Asked, Told]):
    """A black-box optimizer: ``asked = search.ask()``, then ``search.tell(asked, value)``.

    `BlackBoxOptimizer` is an ``AskTell[Trial, float | None]``; a baseline of B functions at once is an
    ``AskTell[Array, Array]``, of points (B, d) and values (B,).
    """

    def ask(self) -> Asked:
        """Where to evaluate next."""

    def tell(self, asked: Asked, value: Told, /) -> None:
        """What the evaluation gave."""


class Bounds(Protocol):
    """The bounds of a box as two vectors: SciPy's ``Bounds``."""

    @property
    def lb(self) -> Any: ...

    @property
    def ub(self) -> Any: ...


class Executor(Protocol):
    """``submit(function, *arguments)`` gives a Future: the executors of ``concurrent.futures`` and others like them."""

    @property
    def submit(self) -> Any: ...


class HasExecutor(Protocol):
    """``get_executor()`` gives an `Executor`: dask's Client."""

    @property
    def get_executor(self) -> Any: ...


class RecurrentCell(Protocol):
    """A recurrent cell. Its state is a NamedTuple; what comes next reads its ``h`` (B, ``output_size(hidden)``).

    A cell that the coordinates of a point share has a true attribute ``shared``, and h (B, d, ``output_size(hidden)``).
    """

    @property
    def name(self) -> str: ...

    def forward(self, u: Array, state: Any, params: Any, /) -> tuple[Any, Any]:
        """(u (B, inputs), state, params) -> state', cache."""

    def backward(self, d_state: Any, cache: Any, /) -> tuple[Array, Any, Any]:
        """(d_state', cache) -> d_u, d_state, d_params."""

    def initial_state(self, rows: int, params: Any, /) -> Any:
        """The state of B rows before the first step."""

    def init(self, rng: np.random.Generator, inputs: int, hidden: int, /) -> Any:
        """Draw the weights."""

    def output_size(self, hidden: int, /) -> int:
        """The number of columns of ``h``."""


class Task(Protocol):
    """A batch of B functions of n parameters each."""

    @property
    def theta0(self) -> Array:
        """(B, n), where every optimizer starts."""

    def loss_and_gradient(self, theta: Array, /) -> tuple[Array, Array]:
        """theta (B, n) -> losses (B,), gradients (B, n)."""


class SecondOrderTask(Task, Protocol):
    """A Task for meta-training with second derivatives."""

    def second_order(self, theta: Array, /) -> tuple[Array, Array, Any]:
        """Losses, gradients, and a function v (B, n) -> second derivatives at theta times v (B, n)."""


class Problem(Protocol):
    """A distribution of differentiable functions.

    Five attributes are used where a problem has them: ``on(split)``, the same problem on other data; ``config``, a
    description in JSON's types; ``chance``, the loss of a guess that has learned nothing; ``shapes``, the names and the
    shapes of the arrays of a row of theta, which its tasks have too; ``sample_each(functions, seed)``, a list of tasks
    that together stand for a problem of several parts.
    """

    def sample(self, functions: int, seed: Seed, /) -> Task:
        """Draw a Task of this many functions. The same seed gives the same functions."""


class FunctionDistribution(Protocol):
    """A distribution of functions on the unit cube to meta-train a black-box optimizer on.

    ``config``, a description in JSON's types, is used where a distribution has it.
    """

    @property
    def dim(self) -> int:
        """The number of dimensions."""

    @property
    def gp_arguments(self) -> Mapping[str, Any]:
        """Arguments of `l2l_ref.learned.trajectory.trajectory`: the length scale, the variance, the noise and so on."""

    def sample(self, functions: int, steps: int, seed: Seed, dtype: Any = ..., /) -> tuple[Array, Array, Any]:
        """(z, epsilon, given): standard normal numbers (B, T) twice, and what is given of the functions, or None."""

"""The optimizer of learned/moments_mlp.py as an object, with the interface that optimizers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import backends
from ..checks import choice, short, whole_number
from ..ops.moments import arrays_of
from ..trees import layout, require_layout, unflatten
from . import moments_mlp
from .model import LARGEST_LAYER, LearnedModel, shapes_of
from .optimizer import ScipyMethod, one_vector, require_state, say_that_coordinates_are_held

if TYPE_CHECKING:
    from types import ModuleType

    from ..ops.moments import Arrays
    from ..protocols import Array, Backend, Card, Rng, Tree
    from ..trees import Layout


class MomentsState(NamedTuple):
    """State carried from step to step. ``update`` never modifies it."""

    network: moments_mlp.State
    arrays: Arrays
    steps: float         # T, the number of steps of the run; infinity where it is not known
    shapes: Layout       # the path and the shape of each array of theta
    skipped: int = 0     # entries of the gradients so far that were nan, infinite or too large: steps not taken


class MomentsMLP(ScipyMethod, LearnedModel[moments_mlp.Params]):
    """A learned optimizer that is odd in the gradient: a small network weighs running means of the gradient.

    It does not know the scale of a function: f and 100 f give the same updates. A coordinate whose gradient is always 0
    does not move, and where the sign of a gradient is turned round, so is the update. An untrained optimizer is close
    to Adam. ``l2l.load("general")`` is a trained one.

    Parameters
    ----------
    hidden : int
        Units of the hidden layer.
    rng : int, SeedSequence or Generator
        Draws the weights.
    params : GatedSumParams, optional
        Weights to use instead of drawn ones.
    backend : {"auto", "numpy", "numba"}
        What computes the steps; "auto" takes numba where it is installed and pays.
    threads : int or None
        Threads of the compiled twin; None uses all cores of the process. No result depends on it.

    Attributes
    ----------
    params : GatedSumParams
        The weights.
    card : dict or None
        Of a model that was loaded: how it was trained and what it scores.

    Raises
    ------
    ValueError
        For settings out of range, and for params of other shapes or dtypes.

    Examples
    --------
    >>> opt = MomentsMLP(rng=0)
    >>> theta = {"W": np.ones((3, 2)), "b": np.zeros(2)}
    >>> update, state = opt.update(theta, opt.init(theta, steps=100))
    """

    by_name = by_function = wants_steps = True  # `init` of rows of parameters wants to know all three

    def __init__(self, hidden: int = 16, *, rng: Rng = 0, params: moments_mlp.Params | None = None,
                 backend: Backend = "auto", threads: int | None = None) -> None:
        self.hidden = whole_number("hidden", hidden, most=LARGEST_LAYER)
        self.backend = choice("backend", backend, backends.BACKENDS)
        self.threads = whole_number("threads", threads, optional=True)
        self.card: Card | None = None
        self.params = moments_mlp.init_params(np.random.default_rng(rng), self.hidden) if params is None else params

    def __repr__(self) -> str:
        return f"MomentsMLP(hidden={self.hidden})"

    @classmethod
    def shapes(cls, hidden: int) -> moments_mlp.Params:
        """Params of which only the shapes mean anything: those of an optimizer with these settings."""
        return shapes_of(moments_mlp.init_params, hidden)

    def _shapes(self) -> moments_mlp.Params:
        return self.shapes(self.hidden)

    @property
    def config(self) -> Card:
        """The settings, in JSON's types."""
        return {"model": "moments-mlp", "hidden": self.hidden}

    def steps_of(self, n: float) -> ModuleType:
        """The module with the two passes of a step over n coordinates: the original, or its twin."""
        return backends.choose("moments_mlp", self.backend, n)

    def init(self, theta: Any, names: Mapping[str, tuple[int, ...]] | None = None, *, functions: int = 1,
             steps: float | None = None) -> MomentsState:
        """The state before the first step.

        Parameters
        ----------
        theta : array or tree of arrays
            The parameters to be optimized: their sizes, array by array, and their dtype, float32 or float64, matter.
        names : dict of str to tuple of int, optional
            For theta of shape (B, n), B sets of parameters in rows: the names and the shapes of the arrays that a row
            holds one after the other. By default a row is one array.
        functions : int
            B, the number of functions that theta has rows of parameters for; they share nothing. 1 is a single function
            of all arrays of theta.
        steps : int, optional
            How many steps you are going to take. Without it, the optimizer sees no end that comes nearer. Steps beyond
            it are like the last.

        Raises
        ------
        TypeError
            For dtypes other than float32 and float64, for a mixture of the two, and for names without shapes.
        ValueError
            When ``functions`` or ``names`` do not fit theta, unless ``steps`` >= 1, and for nan or infinity in theta.
        """
        flat = one_vector("theta", theta)
        if not np.isfinite(flat).all():
            raise ValueError("theta: expected finite numbers, got nan or infinity")
        functions = whole_number("functions", functions)
        horizon = whole_number("steps", steps, optional=True)
        shapes = [shape for _, shape in layout(theta)]
        if functions > 1 and (len(shapes) > 1 or np.shape(theta)[0] != functions):
            raise ValueError(f"functions: expected theta of {functions} rows, got "
                             f"{f'{len(shapes)} arrays' if len(shapes) > 1 else f'shape {np.shape(theta)}'}")
        if names is not None:
            if not isinstance(names, Mapping) or not all(isinstance(shape, tuple) for shape in names.values()):
                raise TypeError(f"names: expected a dict of shapes, which are tuples, got {short(names)}")
            shapes = list(names.values())
        elif functions > 1:
            shapes = [np.shape(theta)[1:]]
        arrays = arrays_of(shapes, functions)
        if arrays.size.sum() != len(flat):
            raise ValueError(f"names: expected arrays of {len(flat)} numbers in all, got {arrays.size.sum()}")
        return MomentsState(moments_mlp.init_state(flat, arrays), arrays, np.inf if horizon is None else horizon,
                            layout(theta))

    def update(self, gradient: Tree, state: MomentsState, params: Any = None, *,
               in_place: bool = False) -> tuple[Tree, MomentsState]:
        """One step: C19 to C24 and C28 of ``learned/moments_mlp.py``.

        Where an entry of the gradient is nan, infinite, masked, or so large that its square overflows, the update is 0
        and the coordinate keeps its state; to the others it is 0. ``state.skipped`` counts these entries.

        The arguments and the errors are those of `CoordinatewiseLSTM.update`; ``in_place`` makes no difference.
        """
        require_state(state, MomentsState)
        flat = one_vector("gradient", gradient)
        require_layout("gradient", gradient, state.shapes, "theta")
        network, dtype = state.network, flat.dtype
        if not len(flat):
            return unflatten(flat, gradient), state
        if network.v.dtype != dtype:
            *arrays, t = network
            network = moments_mlp.State(*(array.astype(dtype) for array in arrays), t)
        g, network, held = moments_mlp.step(flat, network, state.arrays, self.params_as(dtype), state.steps,
                                            self.steps_of(len(flat)), self.threads)
        if held:
            say_that_coordinates_are_held()
        return unflatten(g, gradient), state._replace(network=network, skipped=state.skipped + held)

    def with_params(self, params: moments_mlp.Params) -> MomentsMLP:
        """The same optimizer with other weights."""
        return MomentsMLP(self.hidden, params=params, backend=self.backend, threads=self.threads)

    def meta_gradient(self, gradients: Array, d_updates: Array, state: MomentsState, chosen: Array | None = None,
                      weight: float | None = None) -> moments_mlp.Params:
        """C5 of ``learned/coordinatewise.py``: dL/dphi of one unroll, with the arguments of `CoordinatewiseLSTM`."""
        if chosen is not None:
            weight = d_updates.shape[1] / len(chosen) if weight is None else weight
            d_updates = d_updates.dtype.type(weight) * d_updates[:, chosen]
        return moments_mlp.meta_gradient(gradients, d_updates, state.network, state.arrays,
                                         self.params_as(gradients.dtype), state.steps, chosen)

"""The learned optimizer as an object: weights, settings, and the interface that optimizers share."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .. import backends
from ..checks import FLOATS, choice, whole_number, whole_numbers
from ..ops.lstm import lstm_init
from ..ops.rnn import rnn_init
from ..scipy_callback import call_back
from ..trees import layout, leaves, paths, require_layout, unflatten
from . import coordinatewise
from .model import LARGEST_LAYER, MOST_LAYERS, LearnedModel, shapes_of

if TYPE_CHECKING:
    from types import ModuleType
    from typing import Self

    import numpy.typing as npt

    from ..protocols import Array, Backend, Card, Rng, Tree
    from ..trees import Layout


LOG = logging.getLogger("l2l_ref")  # not a warning, which may be an error to the caller


class OptimizerState(NamedTuple):
    """State carried from step to step.

    ``update`` never modifies ``layers``. With ``in_place=True`` it writes into the arrays of ``spare``, which are those
    of the state before; a pickle or a copy has no ``spare``.
    """

    layers: coordinatewise.State  # one LSTMState or RNNState per layer, (n, H_l)
    shapes: Layout                # the path and the shape of each array of theta
    skipped: int = 0              # entries of the gradients so far that were nan or infinite: steps that were not taken
    spare: coordinatewise.State | None = None  # a state that nobody needs any more

    def __reduce__(self) -> tuple[Any, ...]:
        return OptimizerState, (self.layers, self.shapes, self.skipped)


class ScipyMethod:
    """What makes an optimizer with ``init`` and ``update`` a method of SciPy."""

    init: Callable[..., Any]
    update: Callable[..., Any]
    wants_steps: bool = False  # whether `init` wants to know how many steps there will be

    def scipy_method(self, fun: Callable[..., Any], x0: npt.ArrayLike, args: tuple[Any, ...] = (), *, jac: Any = None,
                     callback: Callable[..., Any] | None = None, maxiter: int = 100, gtol: float = 1e-5,
                     tol: float | None = None, bounds: Any = None, constraints: Any = (), hess: Any = None,
                     hessp: Any = None, **unknown: Any) -> Any:
        """A ``method`` for ``scipy.optimize.minimize``.

        Call ``minimize(fun, x0, jac=gradient, method=optimizer.scipy_method, options={"maxiter": 100})``. The result is
        the best point seen, because a learned optimizer does not go down at every step. Running out of steps is status
        1, as in SciPy's own methods.

        Parameters
        ----------
        fun, x0, args, jac
            As SciPy passes them; ``jac`` is required. ``hess`` and ``hessp`` are not needed, and ignored.
        callback : callable, optional
            Either form of SciPy's callbacks, called after each step. StopIteration ends the run.
        maxiter : int
            The number of steps.
        gtol : float
            The run ends, with success, when no entry of the gradient is larger; ``tol`` means the same. The default is
            that of SciPy's BFGS.

        Returns
        -------
        scipy.optimize.OptimizeResult

        Raises
        ------
        ValueError
            Without ``jac``, with bounds or constraints, for a negative maxiter, for a gradient of another shape.
        """
        from scipy.optimize import OptimizeResult, OptimizeWarning

        if not callable(jac):
            raise ValueError("jac: a learned optimizer needs the gradient; pass a function, or jac=True")
        for name, value in (("bounds", bounds), ("constraints", constraints)):
            if value is not None and value != ():
                raise ValueError(f"{name}: not supported by a learned optimizer")
        maxiter = whole_number("maxiter", maxiter, least=0)
        if unknown:
            warnings.warn(f"Unknown solver options: {', '.join(unknown)}", OptimizeWarning, stacklevel=3)
        gtol = gtol if tol is None else tol
        theta = np.array(x0, dtype=np.float64)
        state = self.init(theta, **({"steps": max(1, maxiter)} if self.wants_steps else {}))
        best: Any = None
        status, message = 1, "The given number of steps was taken."
        for step in range(maxiter + 1):
            value = float(fun(theta.copy(), *args))
            gradient = np.array(jac(theta.copy(), *args), dtype=np.float64)
            if gradient.shape != theta.shape:
                raise ValueError(f"jac: expected a gradient of shape {theta.shape}, got {gradient.shape}")
            if best is None or value < best.fun:
                best = OptimizeResult(x=theta, fun=value, jac=gradient)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                status, message = 2, f"The function or its gradient is not finite at step {step}."
                break
            if np.abs(gradient).max(initial=0.0) <= gtol:
                status, message = 0, "Every entry of the gradient is at most gtol."
                break
            if callback is not None and step > 0:
                try:
                    call_back(callback, OptimizeResult(x=theta.copy(), fun=value, jac=gradient, nit=step))
                except StopIteration:
                    status, message = 99, "The callback ended the run."
                    break
            if step == 0:
                first = value
            if step < maxiter:
                update, state = self.update(gradient, state, in_place=True)
                theta = theta + update
        if status == 1 and value > first:
            message += " The last value is above the first: this optimizer does not suit the function."
        best.update(nit=step, nfev=step + 1, njev=step + 1, status=status, success=status == 0, message=message)
        return best


class CoordinatewiseLSTM(ScipyMethod, LearnedModel[coordinatewise.Params]):
    """The coordinatewise LSTM optimizer of Andrychowicz et al. 2016.

    ``init`` and ``update`` follow optax. Neither changes the optimizer, and theta may be an array or a tree of arrays:
    lists, tuples, NamedTuples and dicts, nested as you like (see `l2l_ref.trees`).

    Parameters
    ----------
    hidden : tuple of int
        Units of each LSTM layer. Andrychowicz et al. use (20, 20); () is a linear rule.
    preprocess : float or None
        p of log_and_sign. Andrychowicz et al. use 10 wherever they preprocess (their Appendix A). None feeds the
        gradient itself, as they do on quadratics.
    output_scale : float
        Factor of the update. Andrychowicz et al. use 0.1 on MNIST and CIFAR, and 1 on quadratics.
    rng : int, SeedSequence or Generator
        Draws the weights.
    params : Params, optional
        Weights to use instead of drawn ones.
    backend : {"auto", "numpy", "numba"}
        What computes the steps; "auto" takes numba where it is installed and pays.
    threads : int or None
        Threads of the compiled twin; None uses all cores of the process. No result depends on it.

    Attributes
    ----------
    params : Params
        The weights.
    card : dict or None
        Of a model that was loaded: how it was trained and what it scores.

    Raises
    ------
    ValueError
        For settings out of range, and for params of other shapes or dtypes.
    """

    hidden: tuple[int, ...]
    preprocess: float | None
    output_scale: float
    backend: Backend
    threads: int | None
    card: Card | None

    _kind: ClassVar[str] = "coordinatewise-lstm"  # what a card calls it
    _draw_layer: ClassVar[Callable[..., Any]] = staticmethod(lstm_init)
    _arrays: ClassVar[int] = 2                    # in the state of a layer
    _backends: ClassVar[tuple[str, ...]] = backends.BACKENDS

    def __init__(self, hidden: Sequence[int] = (20, 20), preprocess: float | None = None, output_scale: float = 1.0, *,
                 rng: Rng = 0, params: coordinatewise.Params | None = None, backend: Backend = "auto",
                 threads: int | None = None) -> None:
        if preprocess is not None and not 0 < preprocess < 80:
            raise ValueError(f"preprocess: expected None or a number between 0 and 80, got {preprocess!r}")
        if not 0 < abs(output_scale) <= sys.float_info.max:
            raise ValueError(f"output_scale: expected a finite number other than 0, got {output_scale!r}")
        self.backend = choice("backend", backend, self._backends)
        self.hidden = whole_numbers("hidden", hidden, most=LARGEST_LAYER, most_count=MOST_LAYERS)
        self.preprocess = None if preprocess is None else float(preprocess)
        self.output_scale = float(output_scale)
        self.threads = whole_number("threads", threads, optional=True)
        self.card = None
        if params is None:
            self._shapes()  # raises if there would be too many weights
            params = self._draw(np.random.default_rng(rng))
        self.params = params

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(hidden={self.hidden}, preprocess={self.preprocess}, "
                f"output_scale={self.output_scale})")

    @classmethod
    def shapes(cls, hidden: Sequence[int], preprocess: float | None) -> coordinatewise.Params:
        """Params of which only the shapes mean anything: those of an optimizer with these settings."""
        return shapes_of(coordinatewise.init_params, hidden, coordinatewise.input_size(preprocess), cls._draw_layer)

    def _draw(self, rng: np.random.Generator) -> coordinatewise.Params:
        return coordinatewise.init_params(rng, self.hidden, coordinatewise.input_size(self.preprocess),
                                          self._draw_layer)

    def _shapes(self) -> coordinatewise.Params:
        return shapes_of(self._draw)

    @property
    def config(self) -> Card:
        """The settings, in JSON's types."""
        return {"model": self._kind, "hidden": list(self.hidden), "preprocess": self.preprocess,
                "output_scale": self.output_scale}

    def steps_of(self, n: float) -> ModuleType:
        """The module that computes the steps of n coordinates: the original, or its twin."""
        work = n if self.hidden else 0  # a rule without layers is left to NumPy
        return backends.choose("coordinatewise", self.backend, work)

    def init(self, theta: Any) -> OptimizerState:
        """The state before the first step.

        Parameters
        ----------
        theta : array or tree of arrays
            The parameters to be optimized; only their shapes and their dtype, float32 or float64, matter.

        Raises
        ------
        TypeError
            For other dtypes, and for a mixture of the two.
        """
        flat = one_vector("theta", theta)
        return OptimizerState(coordinatewise.init_state(len(flat), self.params_as(flat.dtype)), layout(theta))

    def update(self, gradient: Tree, state: OptimizerState, params: Any = None, *,
               in_place: bool = False) -> tuple[Tree, OptimizerState]:
        """One step: C1 to C3 of ``learned/coordinatewise.py`` on every coordinate.

        Where an entry of the gradient is nan, infinite or masked, the update is 0 and the coordinate keeps its state.
        The other coordinates are what they would be without it, and ``state.skipped`` counts these entries.

        Parameters
        ----------
        gradient : array or tree of arrays
            The gradient at theta, float32 or float64. Its arrays have the paths and shapes that ``init`` saw.
        state : OptimizerState
            From ``init`` or from the step before.
        params : optional
            Ignored. Optax passes theta here; this optimizer does not need it.
        in_place : bool
            Whether you give up ``state``, which is faster for many coordinates: the next call with ``in_place`` writes
            into its arrays. Until then it is unchanged, so a call that was interrupted can be made again. This takes
            the memory of a second state.

        Returns
        -------
        update, state
            The update has the structure, the shapes and the dtype of the gradient. For an array the next theta is
            ``theta + update``, for a tree ``l2l_ref.trees.add(theta, update)``.

        Raises
        ------
        ValueError
            When the gradient's arrays are not those of theta, or the state is another optimizer's; the message names
            the array.
        TypeError
            For other dtypes, and for a mixture of the two.
        """
        require_state(state, OptimizerState)
        flat = one_vector("gradient", gradient)
        require_layout("gradient", gradient, state.shapes, "theta")
        layers, dtype = state.layers, flat.dtype
        came, wanted = [[a.shape for a in layer] for layer in layers], [(len(flat), units) for units in self.hidden]
        if came != [[shape] * self._arrays for shape in wanted]:
            raise ValueError(f"state: expected the layers of this optimizer, {wanted}, each {self._arrays} times, "
                             f"got {came}")
        if layers and layers[0].h.dtype != dtype:
            layers = tuple(type(layer)(*(a.astype(dtype) for a in layer)) for layer in layers)
        module = self.steps_of(len(flat))
        weights = self.kept((module.__name__, dtype), lambda: module.packed(self.params_as(dtype)))
        g, new_layers, held = module.step_inference(flat, layers, weights, self.preprocess, self.output_scale,
                                                    self.threads, state.spare if in_place else None)
        if held:
            say_that_coordinates_are_held()
        new_state = OptimizerState(new_layers, state.shapes, state.skipped + held, layers if in_place else None)
        return unflatten(g, gradient), new_state

    def with_params(self, params: coordinatewise.Params) -> Self:
        """The same optimizer with other weights."""
        return type(self)(self.hidden, self.preprocess, self.output_scale, params=params, backend=self.backend,
                          threads=self.threads)

    def meta_gradient(self, gradients: Array, d_updates: Array, state: OptimizerState, chosen: Array | None = None,
                      weight: float | None = None) -> coordinatewise.Params:
        """C5 of ``learned/coordinatewise.py``: dL/dphi of one unroll.

        Parameters
        ----------
        gradients, d_updates : ndarray, shape (T, n)
            The gradients that the optimizer saw, and dL/dg.
        state : OptimizerState
            That before the first step.
        chosen : ndarray of int, optional
            m of the n coordinates, drawn at random, from which the sum over all coordinates is estimated.
        weight : float, optional
            The factor of what is chosen, by default n / m, with which the estimate has the right mean.
        """
        layers = state.layers
        if chosen is not None:
            weight = d_updates.shape[1] / len(chosen) if weight is None else weight
            gradients, d_updates = gradients[:, chosen], d_updates.dtype.type(weight) * d_updates[:, chosen]
            layers = tuple(type(layer)(*(a.T[:, chosen].T for a in layer)) for layer in layers)
        params = self.params_as(gradients.dtype)
        module = self.steps_of(gradients.shape[1])
        d_params: coordinatewise.Params = module.meta_gradient(gradients, d_updates, layers, params, self.preprocess,
                                                               self.output_scale, self.threads)
        return d_params


class CoordinatewiseRNN(CoordinatewiseLSTM):
    """A `CoordinatewiseLSTM` with vanilla recurrent cells, h' = tanh(x W_x + h W_h + b), in place of its LSTM cells.

    Compare the two to see what gates are worth. NumPy computes it: it has no compiled twin.

    Parameters
    ----------
    hidden, preprocess, output_scale, rng, params, threads
        As in `CoordinatewiseLSTM`.
    backend : {"auto", "numpy"}

    Raises
    ------
    ValueError
        For settings out of range, for the backend "numba", and for params of other shapes or dtypes.
    """

    _kind = "coordinatewise-rnn"
    _draw_layer = staticmethod(rnn_init)
    _arrays = 1
    _backends = ("auto", "numpy")

    def steps_of(self, n: float) -> ModuleType:
        return coordinatewise


@cache  # so that it is said once, not at each step of each run
def say_that_coordinates_are_held() -> None:
    LOG.warning("a gradient has entries that are nan, infinite or too large: there the update is 0 and the state is "
                "kept; state.skipped counts them")


def as_array(leaf: Any) -> Array:
    """A leaf as an array, with nan where an array of floats is masked."""
    if isinstance(leaf, np.ma.MaskedArray) and leaf.dtype in FLOATS:
        return np.asarray(leaf.filled(np.nan))
    return np.asarray(leaf)


def require_state(state: Any, kind: type) -> None:
    """Raise ValueError unless a state is of this kind."""
    if not isinstance(state, kind):
        raise ValueError(f"state: expected the {kind.__name__} of this optimizer, got {type(state).__name__}")


def one_vector(name: str, tree: Any) -> Array:
    """The arrays of a tree as one vector; TypeError unless all are float32 or all float64."""
    arrays = [leaf if type(leaf) is np.ndarray else as_array(leaf) for leaf in leaves(tree)]
    dtypes = {array.dtype for array in arrays}
    if len(dtypes) != 1 or not dtypes <= set(FLOATS):
        for path, array in zip(paths(tree, name), arrays):
            if array.dtype not in FLOATS:
                raise TypeError(f"{path}: expected a float32 or float64 array, got {array.dtype}")
        came = ", ".join(sorted(map(str, dtypes))) or "nothing"
        raise TypeError(f"{name}: expected float32 or float64 arrays, all of one dtype, got {came}")
    return arrays[0].ravel() if len(arrays) == 1 else np.concatenate([array.ravel() for array in arrays])

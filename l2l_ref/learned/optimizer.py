"""The learned optimizer as an object: weights, settings, and the interface that optimizers share."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from .. import backends
from ..checks import choice, whole_number, whole_numbers
from ..scipy_callback import call_back
from ..trees import arrays_of, leaves, tree_map
from . import coordinatewise
from .model import FLOATS, LARGEST_LAYER, MOST_LAYERS, LearnedModel


class OptimizerState(NamedTuple):
    """What the optimizer carries from step to step. Nothing in it is ever written to."""

    layers: tuple  # of LSTMState, (n, H_l) each
    shapes: Any    # the tree of theta's shapes


class CoordinatewiseLSTM(LearnedModel):
    """The coordinatewise LSTM optimizer of Andrychowicz et al. 2016.

    ``init`` and ``update`` follow optax: neither changes the object or its arguments, and theta may be
    an array or a dict of arrays.

    Parameters
    ----------
    hidden : tuple of int
        Units of each LSTM layer; (20, 20) in the paper, () for a linear rule.
    preprocess : float or None
        p of log_and_sign (Appendix A); 10 in the paper wherever it is used. None feeds the gradient as
        it is, as the paper does on quadratics.
    output_scale : float
        Factor on the update; 0.1 in the paper on MNIST and CIFAR, 1 on quadratics.
    rng : int, SeedSequence or Generator
        Draws the weights.
    params : Params, optional
        Weights to take in place of drawn ones.
    backend : {"auto", "numpy", "numba"}
    threads : int or None
        For the compiled twin; None takes all cores of the process. No result depends on it.
    """

    def __init__(self, hidden=(20, 20), preprocess=None, output_scale=1.0, *, rng=0, params=None,
                 backend="auto", threads=None):
        if preprocess is not None and not 0 < preprocess < 80:
            raise ValueError(f"preprocess: expected None or a number between 0 and 80, got {preprocess!r}")
        if not np.isfinite(output_scale) or output_scale == 0:
            raise ValueError(f"output_scale: expected a finite number other than 0, got {output_scale!r}")
        choice("backend", backend, backends.BACKENDS)
        self.hidden = whole_numbers("hidden", hidden, most=LARGEST_LAYER, most_count=MOST_LAYERS)
        self.preprocess = None if preprocess is None else float(preprocess)
        self.output_scale = float(output_scale)
        self.backend, self.threads = backend, whole_number("threads", threads, optional=True)
        self.card = None
        inputs = 1 if preprocess is None else 2
        if params is None:
            params = coordinatewise.init_params(np.random.default_rng(rng), self.hidden, inputs)
        self.params = _checked(params, self.hidden, inputs)

    def __repr__(self):
        return (f"CoordinatewiseLSTM(hidden={self.hidden}, preprocess={self.preprocess}, "
                f"output_scale={self.output_scale})")

    @property
    def config(self):
        """The settings, in JSON's types."""
        return {"model": "coordinatewise-lstm", "hidden": list(self.hidden), "preprocess": self.preprocess,
                "output_scale": self.output_scale}

    def work(self, n):
        """What n coordinates count for in `l2l_ref.backends.choose`: a rule without layers is left to NumPy."""
        return n if self.hidden else 0

    def init(self, theta):
        """The state before the first step on theta, an array or a dict of arrays of one float dtype."""
        dtype, n = _dtype("theta", theta), sum(leaf.size for leaf in leaves(theta))
        return OptimizerState(coordinatewise.init_state(n, self.params_as(dtype)), tree_map(np.shape, theta))

    def update(self, gradient, state, in_place=False):
        """One step: C1 to C3 of ``learned/coordinatewise.py`` on every coordinate.

        Parameters
        ----------
        gradient : array or dict of arrays
            Of the shapes of the theta that ``init`` saw, float32 or float64.
        state : OptimizerState
        in_place : bool
            The caller has no more use for the arrays of ``state``: the new state may be written into them, which is
            faster for many coordinates.

        Returns
        -------
        update, state
            theta = theta + update. Of the gradient's structure, shapes and dtype.

        Raises
        ------
        ValueError
            When the gradient's shapes are not those of theta. TypeError for other dtypes.
        """
        dtype, shapes = _dtype("gradient", gradient), tree_map(np.shape, gradient)
        if shapes != state.shapes:
            raise ValueError(f"gradient: expected the shapes of theta, {state.shapes}, got {shapes}")
        flat = np.concatenate([leaf.ravel() for leaf in leaves(gradient)])
        params = self.params_as(dtype)
        layers = state.layers
        wanted = [(len(flat), units) for units in self.hidden]
        if [layer.h.shape for layer in layers] != wanted or [layer.c.shape for layer in layers] != wanted:
            raise ValueError(f"state: expected the layers of this optimizer, {wanted}, "
                             f"got {[layer.h.shape for layer in layers]}")
        if layers and layers[0].h.dtype != dtype:
            layers = tuple(type(layer)(*(a.astype(dtype) for a in layer)) for layer in layers)
        twin = backends.choose("coordinatewise", self.backend, self.work(len(flat)))
        g, layers = twin.step_inference(flat, layers, params, self.preprocess, self.output_scale, self.threads,
                                 in_place)
        return _like(gradient, g), OptimizerState(layers, shapes)

    def scipy_method(self, fun, x0, args=(), *, jac=None, callback=None, maxiter=100, gtol=0.0, tol=None,
                     bounds=None, constraints=(), hess=None, hessp=None, **unknown):
        """A ``method`` for ``scipy.optimize.minimize``.

        ``minimize(fun, x0, jac=gradient, method=optimizer.scipy_method, options={"maxiter": 100})``. The
        best point seen is returned, since a learned optimizer need not go down at every step. Options:
        ``maxiter``, the steps to take, and ``gtol``, the largest gradient entry at which to stop (``tol``
        means the same). ``callback`` is SciPy's, in either form; StopIteration ends the run. Bounds and
        constraints are refused, a Hessian is not needed. Running out of steps is status 1, as in SciPy's own.

        Raises ValueError without ``jac``, with bounds or constraints, for a maxiter below 0.
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
        state = self.init(theta)
        best, status, message = None, 1, "The given number of steps was taken."
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
            if step < maxiter:
                update, state = self.update(gradient, state, in_place=True)
                theta = theta + update
        best.update(nit=step, nfev=step + 1, njev=step + 1, status=status, success=status == 0, message=message)
        return best


def _checked(params, hidden, inputs):
    """``params`` when its arrays fit the architecture; ValueError otherwise."""
    sizes = (inputs, *hidden)
    wanted = [shape for D, H in zip(sizes, hidden) for shape in ((D, 4 * H), (H, 4 * H), (4 * H,))]
    wanted += [(sizes[-1], 1), (1,)]
    arrays = arrays_of(params)
    if [a.shape for a in arrays] != wanted:
        raise ValueError(f"params: expected arrays of shapes {wanted}, got {[a.shape for a in arrays]}")
    if not all(a.dtype in FLOATS for a in arrays):
        raise ValueError(f"params: expected float32 or float64 arrays, got {sorted({str(a.dtype) for a in arrays})}")
    return params


def _dtype(name, tree):
    """The one float dtype of a tree."""
    dtypes = {leaf.dtype for leaf in leaves(tree)}
    if not dtypes or not dtypes <= set(FLOATS) or len(dtypes) > 1:
        came = ", ".join(sorted(map(str, dtypes))) or "nothing"
        raise TypeError(f"{name}: expected float32 or float64 arrays, all of one dtype, got {came}")
    return dtypes.pop()


def _like(tree, flat):
    """Cut a vector into the shapes of a tree."""
    at = 0

    def take(leaf):
        nonlocal at
        at += np.size(leaf)
        return flat[at - np.size(leaf) : at].reshape(np.shape(leaf))

    return tree_map(take, tree)

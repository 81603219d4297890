"""The learned black-box optimizer as a ``method`` of ``scipy.optimize.minimize``."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..extras import require
from ..search.minimize import minimize

if TYPE_CHECKING:
    import numpy.typing as npt

OPTIONS = set(inspect.signature(minimize).parameters) - {"fun", "bounds", "max_evaluations", "args", "x0", "callback",
                                                         "constraints"}


def learned_search(fun: Callable[..., Any], x0: npt.ArrayLike, args: tuple[Any, ...] = (), *, bounds: Any = None,
                   constraints: Any = (), callback: Callable[..., Any] | None = None, maxfev: int = 100,
                   jac: Any = None, hess: Any = None, hessp: Any = None, tol: float | None = None,
                   **options: Any) -> Any:
    """A ``method`` for ``scipy.optimize.minimize`` that needs no gradient.

    Call ``minimize(fun, x0, bounds=bounds, method=learned_search, options={"maxfev": 50, "seed": 1})``.

    Parameters
    ----------
    fun, x0, args, bounds, callback
        As SciPy passes them; ``bounds`` are required. x0 is evaluated first. ``jac``, ``hess``, ``hessp`` and ``tol``
        are not needed, and ignored.
    constraints : constraint or sequence of them
        SciPy's inequalities of all three kinds. Where one is violated, ``fun`` is not called.
    maxfev : int
        The number of evaluations.
    **options
        The other parameters of `l2l_ref.minimize`: seed, model, noise, workers, ...

    Returns
    -------
    l2l_ref.search.Result
        Which is a ``scipy.optimize.OptimizeResult``.

    Raises
    ------
    ValueError
        Without bounds, for an equality constraint, and for whatever `l2l_ref.minimize` raises it for.
    """
    require("scipy", "learned_search")
    from scipy.optimize import OptimizeWarning

    if bounds is None:
        raise ValueError("bounds: expected a pair for each dimension, got None")
    unknown = options.keys() - OPTIONS
    if unknown:
        warnings.warn(f"Unknown solver options: {', '.join(sorted(unknown))}", OptimizeWarning, stacklevel=3)
    several = list(constraints) if isinstance(constraints, (list, tuple)) else [constraints]
    for given in several:
        if given["type"] != "ineq" if isinstance(given, dict) else np.any(np.equal(given.lb, given.ub)):
            raise ValueError("constraints: expected inequalities, got an equality")
    return minimize(fun, bounds, maxfev, args=args, x0=x0, callback=callback,
                    constraints=partial(slack, several) if several else None,
                    **{name: value for name, value in options.items() if name in OPTIONS})


def slack(constraints: list[Any], x: Any) -> Any:
    """How far x is within constraints of SciPy, (k,): nothing is below 0 where they are met."""
    within: list[Any] = []
    for given in constraints:
        if isinstance(given, dict):
            within += [np.ravel(given["fun"](x, *given.get("args", ())))]
        else:
            value = np.ravel(given.A @ x if hasattr(given, "A") else given.fun(x))
            within += [value - given.lb, given.ub - value]
    return np.concatenate(within)

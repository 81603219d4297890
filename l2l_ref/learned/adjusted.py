"""Knobs of an optimizer: a factor on its update, weight decay, clipping, frozen parameters, half precision.

    C26  g' = g min(1, clip / |g|)           |g| the Euclidean norm of the whole gradient, frozen parameters left out
    C27  update = factor * m(g') - decay * theta

A frozen parameter is moved by neither, and m sees a gradient of 0 there.
"""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ..protocols import updated
from ..trees import build, layout, leaves, paths, require_layout, tree_map
from .optimizer import as_array
from .wrapper import Wrapper

if TYPE_CHECKING:
    from ..protocols import Array, Optimizer, Tree


class Adjusted(Wrapper):
    """An optimizer with another one inside, whose gradients and updates it adjusts.

    Parameters
    ----------
    optimizer : Optimizer
        With ``init`` and ``update``. It is not changed.
    factor : float
        What the update is multiplied by: below 1 for shorter steps, above 1 for longer ones.
    decay : float
        Decoupled weight decay: the part of the parameters that each step takes away. ``update`` then needs ``params``.
    clip : float or None
        The largest norm of the gradient.
    frozen : tree of bool or of arrays of bool, optional
        Which parameters do not move: a tree like theta, whose leaves are one truth value for a whole array, or an array
        of them. To an optimizer that looks at whole arrays, as `MomentsMLP` does, an array that is frozen in part has
        gradients of 0 there.

    Raises
    ------
    TypeError
        For an optimizer without ``init`` and ``update``.
    ValueError
        For numbers out of range.

    Examples
    --------
    >>> opt = Adjusted(load("general"), factor=0.5, decay=1e-4, frozen={"W": False, "b": True})
    >>> theta = {"W": np.ones((3, 2)), "b": np.zeros(2)}
    >>> update, state = opt.update(theta, opt.init(theta), theta)
    """

    def __init__(self, optimizer: Optimizer, *, factor: float = 1.0, decay: float = 0.0, clip: float | None = None,
                 frozen: Any = None) -> None:
        for name, value in (("factor", factor), ("decay", decay)):
            if not isinstance(value, Real) or not 0 <= float(value) < np.inf:
                raise ValueError(f"{name}: expected a finite number >= 0, got {value!r}")
        if clip is not None and not (isinstance(clip, Real) and 0 < float(clip) < np.inf):
            raise ValueError(f"clip: expected None or a finite number > 0, got {clip!r}")
        super().__init__(optimizer)
        self.frozen = frozen
        self.factor, self.decay, self.clip = float(factor), float(decay), None if clip is None else float(clip)
        self.wants_params = self.wants_params or self.decay > 0

    def init(self, theta: Any, *arguments: Any, **settings: Any) -> Any:
        """The optimizer's state before the first step. All arguments are the optimizer's; float16 becomes float32.

        Raises ValueError when ``frozen`` does not fit theta.
        """
        self._frozen(theta)
        return self.optimizer.init(tree_map(_single, theta), *arguments, **settings)

    def update(self, gradient: Tree, state: Any, params: Any = None) -> tuple[Tree, Any]:
        """C26 and C27.

        Parameters
        ----------
        gradient : array or tree of arrays
            float16, float32 or float64.
        state
            From ``init`` or from the step before.
        params : array or tree of arrays, optional
            theta, which weight decay needs, of the layout of the gradient.

        Returns
        -------
        update, state
            The update has the structure and the dtype of the gradient.

        Raises
        ------
        ValueError
            With weight decay, without ``params`` or with others than those of the gradient; and what the optimizer
            raises.
        """
        if self.decay:
            if params is None:
                raise ValueError("params: expected the parameters, which weight decay needs, got None")
            require_layout("params", params, layout(gradient), "the gradient")
        seen, frozen = [_single(leaf) for leaf in leaves(gradient)], self._frozen(gradient)
        seen = [g if still is None else np.where(still, g.dtype.type(0), g) for g, still in zip(seen, frozen)]
        if self.clip is not None:
            norm = _norm(seen)
            if norm > self.clip:
                seen = [g * g.dtype.type(self.clip / norm) for g in seen]  # C26
        update, state = updated(self.optimizer, build(gradient, seen), state, params)
        theta = leaves(params) if self.decay else [None] * len(seen)
        out = []
        for u, g, still, value in zip(leaves(update), leaves(gradient), frozen, theta, strict=True):
            u = u.dtype.type(self.factor) * u                        # C27
            if value is not None:
                u = u - u.dtype.type(self.decay) * _single(value)    # C27
            out.append((u if still is None else np.where(still, u.dtype.type(0), u)).astype(np.asarray(g).dtype))
        return build(gradient, out), state

    def _frozen(self, tree: Any) -> list[Any]:
        """Which parameters are frozen, leaf by leaf; None for none of them."""
        count = len(leaves(tree))
        if self.frozen is None:
            return [None] * count
        require_layout("frozen", tree_map(lambda leaf: np.zeros(0), self.frozen),
                       layout(tree_map(lambda leaf: np.zeros(0), tree)), "theta")
        masks = [np.asarray(leaf) for leaf in leaves(self.frozen)]
        for path, mask, leaf in zip(paths(self.frozen, "frozen"), masks, leaves(tree)):
            if mask.dtype != bool or mask.shape not in ((), np.shape(leaf)):
                raise ValueError(f"{path}: expected a truth value or an array of them of shape {np.shape(leaf)}, "
                                 f"got {mask.dtype} of shape {mask.shape}")
        return masks


def _single(leaf: Any) -> Array:
    """A leaf as an array, with nan where it is masked, and float16 as float32."""
    array = as_array(leaf)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _norm(arrays: list[Array]) -> float:
    """The Euclidean norm of several arrays, in double precision. Entries that are not finite are left out."""
    squares = 0.0
    for array in arrays:
        finite = np.asarray(array, np.float64)[np.isfinite(array)]
        squares += float(finite.ravel() @ finite.ravel())
    return float(np.sqrt(squares))

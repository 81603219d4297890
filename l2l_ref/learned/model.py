"""What all learned optimizers share: how they keep their weights, and how large a model may be."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ..checks import FLOATS
from ..trees import flatten, layout, leaves, require_layout, unflatten

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..protocols import Array

# A file that promises more than this is not believed, so no larger model can be made either.
LARGEST_LAYER, MOST_LAYERS, MOST_WEIGHTS = 4096, 64, 2**24

P = TypeVar("P", bound=tuple[Any, ...])
Made = TypeVar("Made")


class LearnedModel(Generic[P]):
    """A model whose weights are a tree of arrays: nested NamedTuples and tuples."""

    _params: P
    _kept: dict[Hashable, Any]

    def _shapes(self) -> P:
        """A tree of arrays that have the shapes of this model's weights."""
        raise NotImplementedError

    @property
    def params(self) -> P:
        """The weights, in the dtype they were given in: the model's own copy, read-only.

        To change them, assign a complete new tree. A tree of other shapes or dtypes raises ValueError.
        """
        return self._params

    @params.setter
    def params(self, params: P) -> None:
        require_layout("params", params, layout(self._shapes()), "this model")
        dtypes = {np.asarray(leaf).dtype for leaf in leaves(params)}
        if not dtypes <= set(FLOATS):
            raise ValueError(f"params: expected float32 or float64 arrays, got {', '.join(sorted(map(str, dtypes)))}")
        self._params, self._kept = _read_only(unflatten(flatten(params), params)), {}

    def params_as(self, dtype: npt.DTypeLike) -> P:
        """The weights in another precision, read-only."""
        dtype = np.dtype(dtype)
        return self.kept(dtype, lambda: _read_only(unflatten(flatten(self._params).astype(dtype), self._params)))

    def kept(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """``make()``, which is made once and kept under ``key`` until other weights are assigned."""
        if key not in self._kept:
            self._kept[key] = make()
        made: Made = self._kept[key]
        return made

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.params = self._params  # read-only again, which arrays do not stay in a pickle


class _ShapesAlone:
    """Stands in for a random generator; the arrays that it draws have a shape and take no memory."""

    def normal(self, mean: Any, std: Any, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(np.float32(0), shape)


def shapes_of(init: Callable[..., P], *arguments: Any) -> P:
    """The tree of weights that ``init(rng, *arguments)`` would draw, of which only the shapes mean anything.

    So the shapes of weights are written once, where the weights are drawn. Raises ValueError when there are more than
    `MOST_WEIGHTS`.
    """
    shapes = init(_ShapesAlone(), *arguments)
    count = sum(array.size for array in leaves(shapes))
    if count > MOST_WEIGHTS:
        raise ValueError(f"hidden: expected a model of at most {MOST_WEIGHTS:,} weights, got {count:,}")
    return shapes


def _read_only(params: P) -> P:
    for array in leaves(params):
        array.flags.writeable = False
    return params

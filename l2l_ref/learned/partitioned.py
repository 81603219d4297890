"""One optimizer of several parts: coordinatewise LSTMs with weights of their own for each kind of parameters.

Source: Andrychowicz et al. 2016, section 3.3, where one optimizer for convolutions and one for fully connected layers
train a network together. Each coordinate belongs to one part, so C1 to C6 of learned/coordinatewise.py hold as they
are, part by part.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..trees import layout, require_layout, unflatten
from .optimizer import CoordinatewiseLSTM, OptimizerState, one_vector, require_state

if TYPE_CHECKING:
    from types import ModuleType

    from ..protocols import Array, Card, Tree
    from ..trees import Layout
    from . import coordinatewise

MOST_PARTS, MOST_PATTERNS = 64, 1024  # a file that promises more is not believed


class PartitionedState(NamedTuple):
    """State carried from step to step: that of each part, and which coordinates are its own."""

    parts: dict[str, OptimizerState]
    where: dict[str, np.ndarray]  # the coordinates of each part, ascending
    shapes: Layout                # the path and the shape of each array of theta

    @property
    def skipped(self) -> int:
        """Entries of the gradients so far that were nan or infinite: steps that were not taken."""
        return sum(state.skipped for state in self.parts.values())


class PartitionedLSTM:
    """Several `CoordinatewiseLSTM` as one optimizer: each moves the parameters whose names belong to it.

    ``init`` and ``update`` are those of `CoordinatewiseLSTM`; theta is a tree of arrays, whose paths are the names.

    Parameters
    ----------
    parts : dict of str to CoordinatewiseLSTM
        The optimizers by the names of the parts.
    rule : dict of str to str
        Shell-style patterns of names, and the part that they belong to. The first pattern that fits a name decides.
        ``{"conv*": "conv", "*": "fc"}`` gives every array whose name begins with conv to one part and all others to
        another.

    Attributes
    ----------
    params : dict of str to Params
        The weights of each part.
    card : dict or None
        Of a model that was loaded: how it was trained and what it scores.

    Raises
    ------
    ValueError
        For a rule that names an unknown part, for a part that no pattern names, and for no part at all.

    Examples
    --------
    >>> parts = {name: CoordinatewiseLSTM(preprocess=10.0, output_scale=0.1, rng=0) for name in ("conv", "fc")}
    >>> opt = PartitionedLSTM(parts, {"conv*": "conv", "*": "fc"})
    >>> theta = {"conv1": np.zeros((5, 5, 3, 16)), "fc1": np.zeros((32, 10))}
    >>> update, state = opt.update(theta, opt.init(theta))
    """

    by_name = True  # `init` of rows of parameters wants their names

    parts: dict[str, CoordinatewiseLSTM]
    rule: dict[str, str]
    card: Card | None

    def __init__(self, parts: Mapping[str, CoordinatewiseLSTM], rule: Mapping[str, str]) -> None:
        checked_rule(list(parts), list(rule.items()))
        self.parts, self.rule, self.card = dict(sorted(parts.items())), dict(rule), None

    def __repr__(self) -> str:
        return f"PartitionedLSTM({self.parts}, {self.rule})"

    @property
    def params(self) -> dict[str, coordinatewise.Params]:
        return {name: part.params for name, part in self.parts.items()}

    @params.setter
    def params(self, params: Mapping[str, coordinatewise.Params]) -> None:
        if sorted(params) != sorted(self.parts):
            raise ValueError(f"params: expected those of {', '.join(self.parts)}, got {', '.join(map(str, params))}")
        self.parts = {name: part.with_params(params[name]) for name, part in self.parts.items()}

    def with_params(self, params: Mapping[str, coordinatewise.Params]) -> PartitionedLSTM:
        """The same optimizer with other weights."""
        other = PartitionedLSTM(self.parts, self.rule)
        other.params = params  # type: ignore[assignment]
        return other

    @property
    def backend(self) -> Any:
        return next(iter(self.parts.values())).backend

    @property
    def threads(self) -> int | None:
        return next(iter(self.parts.values())).threads

    @threads.setter
    def threads(self, threads: int | None) -> None:
        for part in self.parts.values():
            part.threads = threads

    def steps_of(self, n: float) -> ModuleType:
        """The module that computes the steps of n coordinates of a part: the original, or its twin."""
        return next(iter(self.parts.values())).steps_of(n)

    @property
    def config(self) -> Card:
        """The settings, in JSON's types."""
        return {"model": "partitioned-lstm", "parts": {name: part.config for name, part in self.parts.items()},
                "rule": [list(pair) for pair in self.rule.items()]}

    def part_of(self, name: str) -> str:
        """The part that an array of this name belongs to. Raises ValueError when no pattern fits."""
        for pattern, part in self.rule.items():
            if fnmatchcase(name, pattern):
                return part
        raise ValueError(f"rule: expected a pattern for {name!r}, got {', '.join(self.rule)}")

    def init(self, theta: Any, names: Mapping[str, tuple[int, ...]] | None = None) -> PartitionedState:
        """The state before the first step.

        Parameters
        ----------
        theta : tree of arrays
            The parameters to be optimized; only their names, their shapes and their dtype matter.
        names : dict of str to tuple of int, optional
            For theta of shape (B, n), B sets of parameters in rows: the names and the shapes of the arrays that a row
            holds one after the other.

        Raises
        ------
        TypeError
            For dtypes other than float32 and float64, and for a mixture of the two.
        ValueError
            When the rule has no pattern for a name, or names do not fit theta.
        """
        every = one_vector("theta", theta)
        if names is None:
            sizes = {path: int(np.prod(shape, dtype=int)) for path, shape in layout(theta)}
            rows = 1
        else:
            sizes = {name: int(np.prod(shape, dtype=int)) for name, shape in names.items()}
            rows = len(theta)
            if np.shape(theta) != (rows, sum(sizes.values())):
                raise ValueError(f"names: expected arrays of {np.shape(theta)[-1]} numbers in all, "
                                 f"got {sum(sizes.values())}")
        parts_of = np.repeat([self.part_of(name) for name in sizes], list(sizes.values()))
        where = {part: np.flatnonzero(np.tile(parts_of == part, rows)) for part in self.parts}
        return PartitionedState({name: part.init(every[where[name]]) for name, part in self.parts.items()}, where,
                                layout(theta))

    def update(self, gradient: Tree, state: PartitionedState, params: Any = None, *,
               in_place: bool = False) -> tuple[Tree, PartitionedState]:
        """One step of each part on its own coordinates; see `CoordinatewiseLSTM.update`."""
        require_state(state, PartitionedState)
        every = one_vector("gradient", gradient)
        require_layout("gradient", gradient, state.shapes, "theta")
        if list(state.parts) != list(self.parts):
            raise ValueError(f"state: expected the parts {', '.join(self.parts)}, got {', '.join(state.parts)}")
        update, states = np.empty_like(every), {}
        for name, part in self.parts.items():
            where = state.where[name]
            update[where], states[name] = part.update(every[where], state.parts[name], in_place=in_place)
        return unflatten(update, gradient), state._replace(parts=states)

    def meta_gradient(self, gradients: Array, d_updates: Array, state: PartitionedState,
                      chosen: Array | None = None) -> dict[str, coordinatewise.Params]:
        """C5 of each part; see `CoordinatewiseLSTM.meta_gradient`."""
        weight = 1.0 if chosen is None else gradients.shape[1] / len(chosen)
        d_params = {}
        for name, part in self.parts.items():
            where, own = state.where[name], None
            if chosen is not None:
                own = np.flatnonzero(np.isin(where, chosen, assume_unique=True))
            d_params[name] = part.meta_gradient(gradients[:, where], d_updates[:, where], state.parts[name], own,
                                                weight)
        return d_params


def checked_rule(parts: list[str], rule: list[Any]) -> dict[str, str]:
    """A rule as a dict, of pairs of a pattern and one of ``parts``. Raises ValueError for anything else."""
    if not 1 <= len(parts) <= MOST_PARTS or not all(name.isidentifier() for name in parts):
        raise ValueError(f"parts: expected 1 to {MOST_PARTS} parts with names of letters, digits and _, "
                         f"got {', '.join(map(repr, parts)) or 'none'}")
    if len(rule) > MOST_PATTERNS or not all(len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], str)
                                            for pair in rule):
        raise ValueError(f"rule: expected at most {MOST_PATTERNS} pairs of a pattern and the name of a part")
    named = {part for _, part in rule}
    if named != set(parts):
        raise ValueError(f"rule: expected each of {', '.join(sorted(parts))} and no other part, "
                         f"got {', '.join(sorted(named)) or 'none'}")
    return dict(rule)

"""The learned black-box optimizer as an object: weights, settings, and steps of many functions at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import backends
from ..checks import choice, whole_number, whole_numbers
from ..trees import tree_map
from . import cells, propose
from .model import LARGEST_LAYER, LearnedModel, shapes_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..protocols import Array, Backend, Card, Rng
    from .stepping import Stepper

LARGEST_DIM = 1000
MEMORY = (16, 16, 2)
INFERENCE = {"lstm": "propose_inference", "dnc": "dnc_propose_inference", "shared": "shared_propose_inference"}


class Proposer(LearnedModel[propose.ProposerParams]):
    """The recurrent network of Chen et al. 2017 that proposes queries in the unit cube.

    Parameters
    ----------
    dim : int or None
        The number of dimensions d of the functions that it searches; None for any number, if the cell is "shared". Then
        `of` gives the proposer for one number, which is what `minimize` and the others use.
    hidden : int
        Units of the cell. Chen et al. do not give their number.
    output : {"sigmoid", "linear"}
        How a query is kept in the cube: by a sigmoid, or by taking the nearest point of the cube.
    cell : {"lstm", "dnc", "shared"}
        "shared" is one LSTM for all coordinates, see learned/shared_cell.py.
    memory : (int, int, int), optional
        Of a DNC: the memory slots, the numbers per slot, and the read heads.
    rng : int, SeedSequence or Generator
        Draws the weights.
    params : ProposerParams, optional
        Weights to use instead of drawn ones.
    backend : {"auto", "numpy", "numba"}
        What computes the steps. "auto" is NumPy; numba pays for tens of thousands of steps of few functions.

    Attributes
    ----------
    params : ProposerParams
        The weights.
    card : dict or None
        Of a model that was loaded: how it was trained and what it scores.

    Raises
    ------
    ValueError
        For settings out of range, and for params of other shapes or dtypes.
    """

    dim: int | None
    hidden: int
    output: propose.Output
    cell: Literal["lstm", "dnc", "shared"]
    memory: tuple[int, int, int] | None
    network: cells.Cell
    backend: Backend
    card: Card | None

    def __init__(self, dim: int | None, hidden: int = 64, output: propose.Output = "sigmoid", *,
                 cell: Literal["lstm", "dnc", "shared"] = "lstm", memory: Sequence[int] | None = None, rng: Rng = 0,
                 params: propose.ProposerParams | None = None, backend: Backend = "auto") -> None:
        self.dim = checked_dim(dim, cell)
        self.hidden = whole_number("hidden", hidden, most=LARGEST_LAYER)
        self.output = choice("output", output, propose.OUTPUTS)
        self.cell = choice("cell", cell, cells.CELLS)
        self.backend = choice("backend", backend, backends.BACKENDS)
        self.memory = checked_memory(cell, memory)
        self.network = cells.cell_of(cell, self.memory, self.dim or 1)
        self.card = None
        if params is None:
            self._shapes()  # raises if there would be too many weights
            rng = np.random.default_rng(rng)
            params = propose.proposer_init(rng, self.dim or 1, self.hidden, self.network, output)
        self.params = params

    def __repr__(self) -> str:
        memory = f", memory={self.memory}" if self.memory else ""
        return f"Proposer(dim={self.dim}, hidden={self.hidden}, output={self.output!r}, cell={self.cell!r}{memory})"

    @staticmethod
    def shapes(dim: int | None, hidden: int, output: propose.Output, cell: str,
               memory: tuple[int, int, int] | None) -> propose.ProposerParams:
        """ProposerParams of which only the shapes mean anything: those of a proposer with these settings."""
        return shapes_of(propose.proposer_init, dim or 1, hidden, cells.cell_of(cell, memory), output)

    def _shapes(self) -> propose.ProposerParams:
        return self.shapes(self.dim, self.hidden, self.output, self.cell, self.memory)

    @property
    def config(self) -> Card:
        """The settings, in JSON's types."""
        config: Card = {"model": "proposer", "cell": self.cell, "dim": self.dim, "hidden": self.hidden,
                        "output": self.output}
        return config | ({"memory": list(self.memory)} if self.memory else {})

    def of(self, dim: int) -> Proposer:
        """The proposer for functions of this many dimensions: itself, or one with its weights if it is for any number.

        Its card has the moments of the nearest number of dimensions that it was trained on.
        """
        if self.dim is not None:
            return self
        bound = Proposer(dim, self.hidden, self.output, cell=self.cell, params=self.params, backend=self.backend)
        bound.card = _card_of(self.card, dim)
        return bound

    def _bound(self) -> int:
        """The number of dimensions. Raises ValueError if it is for any number."""
        if self.dim is None:
            raise ValueError("dim: expected a proposer for one number of dimensions, got one for any: call its of(dim)")
        return self.dim

    def initial_state(self, functions: int = 1, dtype: npt.DTypeLike = np.float32) -> Any:
        """The state of this many functions before their first query. Raises ValueError if ``dim`` is None."""
        self._bound()
        return self.network.initial_state(functions, self.params_as(dtype).cell)

    def step(self, u: Array, state: Any) -> tuple[Array, Any]:
        """X2 to X4 of learned/propose.py for B functions, in the precision of ``u``.

        Parameters
        ----------
        u : (B, d + 2) array, float32 or float64
            What is fed: X1 of learned/trajectory.py.
        state
            From `initial_state` or from the step before.

        Returns
        -------
        x, state
            The next queries (B, d), and the next state.

        Raises
        ------
        ValueError
            For shapes that do not fit, and if ``dim`` is None.
        """
        self._bound()
        dtype = u.dtype
        if state[0].dtype != dtype:
            state = tree_map(lambda a: a.astype(dtype), state)
        module = backends.choose("propose", self.backend)
        x, state = getattr(module, INFERENCE[self.cell])(u, state, self.params_as(dtype), self.output)
        return x, state

    def stepper(self, box: Any) -> Stepper:
        """A `Stepper` of learned/stepping.py, or its twin, for the search of one function in this Box.

        The twin reads the weights and does not call `step`. Raises ValueError if ``dim`` is None.
        """
        self._bound()
        stepper: Stepper = backends.choose("stepping", self.backend).Stepper(self, box)
        return stepper


def _card_of(card: Card | None, dim: int) -> Card | None:
    """The card of a proposer for any number of dimensions, with the moments for this one alone."""
    dims, moments = ((card or {}).get(name) for name in ("problem", "moments"))
    dims = dims.get("dim") if isinstance(dims, dict) else None
    if not (isinstance(dims, list) and isinstance(moments, list) and len(dims) == len(moments)
            and all(type(d) is int and d > 0 for d in dims)):
        return card
    return {**(card or {}), "moments": moments[int(np.abs(np.log(np.array(dims) / dim)).argmin())]}


def checked_dim(dim: Any, cell: Any) -> int | None:
    """The number of dimensions, or None for any number. Raises ValueError."""
    return whole_number("dim", dim, most=LARGEST_DIM, optional=cell == "shared")


def checked_memory(cell: str, memory: Sequence[int] | None) -> tuple[int, int, int] | None:
    """(slots, numbers per slot, read heads) of a DNC, None of another cell. Raises ValueError."""
    if cell != "dnc":
        if memory is not None:
            raise ValueError(f"memory: expected None for the cell {cell}, got {memory!r}")
        return None
    slots, word, heads = whole_numbers("memory", MEMORY if memory is None else memory, most=LARGEST_LAYER, count=3)
    return slots, word, heads

"""The optimizer of learned/sharing.py as an object, with the interface of `CoordinatewiseLSTM`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import choice, whole_number
from ..trees import build, layout, leaves, require_layout, tree_map, unflatten
from . import coordinatewise, sharing
from .cells import LSTM, with_backend
from .model import shapes_of
from .optimizer import CoordinatewiseLSTM, one_vector, require_state

if TYPE_CHECKING:
    from ..protocols import Array, Backend, Card, Rng, Tree
    from ..trees import Layout

SHARED = ("average", "bfgs", "l-bfgs")
LARGEST_WINDOW = 4096


class SharingState(NamedTuple):
    """State carried from step to step. ``update`` never modifies it."""

    network: sharing.State
    shapes: Layout       # the path and the shape of each array of theta
    functions: int       # B
    skipped: int = 0     # entries of the gradients so far that were nan or infinite


class SharingLSTM(CoordinatewiseLSTM):
    """A `CoordinatewiseLSTM` whose coordinates share information: Andrychowicz et al. 2016, LSTM+GAC and NTM-BFGS.

    A coordinatewise optimizer knows nothing of the other coordinates. Here, some units of each layer show every
    coordinate their mean over all of them (global averaging cells). With a memory, a matrix that all coordinates write
    and read together can hold what quasi-Newton methods know of the curvature.

    Parameters
    ----------
    share : {"average", "bfgs", "l-bfgs"}
        "average" has the averaged units alone. "bfgs" adds a matrix of d x d numbers for d coordinates, so d should be
        small. "l-bfgs" adds the last ``window`` pairs of vectors instead, 2 d ``window`` numbers.
    averaged : int
        How many units of each layer are averaged.
    window : int
        How many pairs of vectors "l-bfgs" keeps; three are written in a step.
    hidden, preprocess, output_scale, rng, params, backend, threads
        As in `CoordinatewiseLSTM`. The compiled twin computes the LSTM layers.

    Raises
    ------
    ValueError
        For settings out of range, and for params of other shapes or dtypes.

    Examples
    --------
    >>> opt = SharingLSTM("bfgs", rng=0)
    >>> theta = np.zeros(10)
    >>> update, state = opt.update(theta - 1, opt.init(theta))
    """

    by_function = True  # `init` of rows of parameters wants to know that they belong to several functions

    def __init__(self, share: str = "average", hidden: Sequence[int] = (20, 20), preprocess: float | None = None,
                 output_scale: float = 1.0, *, averaged: int = 5, window: int = 30, rng: Rng = 0,
                 params: coordinatewise.Params | None = None, backend: Backend = "auto",
                 threads: int | None = None) -> None:
        self.share = choice("share", share, SHARED)
        super().__init__(hidden, preprocess, output_scale, rng=rng, params=params, backend=backend, threads=threads)
        self.averaged = whole_number("averaged", averaged, least=0, most=min(self.hidden, default=0))
        self.window = whole_number("window", window, least=sharing.HEADS, most=LARGEST_WINDOW)

    def __repr__(self) -> str:
        return f"SharingLSTM({', '.join(f'{name}={value!r}' for name, value in self._settings.items())})"

    @property
    def _settings(self) -> dict[str, Any]:
        return {"share": self.share, "hidden": self.hidden, "preprocess": self.preprocess,
                "output_scale": self.output_scale, "averaged": self.averaged, "window": self.window}

    @staticmethod
    def shapes(hidden: Sequence[int], preprocess: float | None, share: str = "average") -> coordinatewise.Params:
        """Params of which only the shapes mean anything: those of an optimizer with these settings."""
        return shapes_of(sharing.init_params, hidden, coordinatewise.input_size(preprocess), share != "average")

    def _draw(self, rng: np.random.Generator) -> coordinatewise.Params:
        return sharing.init_params(rng, self.hidden, coordinatewise.input_size(self.preprocess),
                                   self.share != "average")

    @property
    def config(self) -> Card:
        """The settings, in JSON's types."""
        return {"model": "sharing-lstm", **self._settings, "hidden": list(self.hidden)}

    def init(self, theta: Any, functions: int = 1) -> SharingState:  # type: ignore[override]
        """The state before the first step.

        Parameters
        ----------
        theta : array or tree of arrays
            The parameters to be optimized; only their shapes and their dtype, float32 or float64, matter.
        functions : int
            How many functions they belong to: each has an equal part of them, one after the other. The coordinates of
            different functions share nothing.

        Raises
        ------
        TypeError
            For other dtypes, and for a mixture of the two.
        ValueError
            When ``functions`` does not divide the number of coordinates.
        """
        flat = one_vector("theta", theta)
        functions = whole_number("functions", functions)
        if len(flat) % functions:
            raise ValueError(f"functions: expected a divisor of {len(flat)} coordinates, got {functions}")
        d, dtype = len(flat) // functions, flat.dtype
        memory: Any = None
        if self.share == "bfgs":
            memory = sharing.matrix_start(functions, d, dtype)
        elif self.share == "l-bfgs":
            memory = sharing.window_start(functions, d, dtype, self.window)
        return SharingState(sharing.init_state(functions, d, self.params_as(dtype), memory), layout(theta), functions)

    def update(self, gradient: Tree, state: SharingState, params: Any = None, *,  # type: ignore[override]
               in_place: bool = False) -> tuple[Tree, SharingState]:
        """One step: C12 to C15 of ``learned/sharing.py``.

        Where an entry of the gradient is nan, infinite or masked, the whole function is held, because its coordinates
        depend on each other: its update is 0 and its state is kept. ``state.skipped`` counts these entries.

        The arguments and the errors are those of `CoordinatewiseLSTM.update`; ``in_place`` makes no difference.
        """
        require_state(state, SharingState)
        flat = one_vector("gradient", gradient)
        require_layout("gradient", gradient, state.shapes, "theta")
        B, d, network = state.functions, len(flat) // state.functions, state.network
        came, wanted = [a.shape for a in leaves(network)], self._state_shapes(B, d)
        if came != wanted:
            raise ValueError(f"state: expected one of this optimizer, with the arrays {wanted}, got {came}")
        network = tree_map(lambda a: a.astype(flat.dtype, copy=False), network)
        finite = np.isfinite(flat)
        rows = np.where(finite, flat, flat.dtype.type(0)).reshape(B, d)
        (g, new), _ = sharing.sharing_step(rows, network, self.params_as(flat.dtype), self.averaged, self.preprocess,
                                           self.output_scale, with_backend(LSTM, self.backend, B * d, self.threads))
        skipped = len(flat) - int(np.count_nonzero(finite))
        if skipped:
            held = ~finite.reshape(B, d).all(axis=1, keepdims=True)
            g = np.where(held, flat.dtype.type(0), g)
            kept = [np.where(held, a.reshape(B, -1), b.reshape(B, -1)).reshape(a.shape)
                    for a, b in zip(leaves(network), leaves(new), strict=True)]
            new = build(new, kept)
        return unflatten(g.ravel(), gradient), SharingState(new, state.shapes, B, state.skipped + skipped)

    def _state_shapes(self, B: int, d: int) -> list[tuple[int, ...]]:
        memory = {"average": [], "bfgs": [(B, d, d)], "l-bfgs": 2 * [(B, d, self.window)]}[self.share]
        return [(B * d, H) for H in self.hidden for _ in "hc"] + ([(B, d), *memory] if memory else [])

    def with_params(self, params: coordinatewise.Params) -> SharingLSTM:
        """The same optimizer with other weights."""
        return SharingLSTM(**self._settings, params=params, backend=self.backend, threads=self.threads)

    def meta_gradient(self, gradients: Array, d_updates: Array, state: SharingState,  # type: ignore[override]
                      chosen: Array | None = None, weight: float | None = None) -> coordinatewise.Params:
        """C5 of ``learned/coordinatewise.py``: dL/dphi of one unroll.

        Parameters
        ----------
        gradients, d_updates : ndarray, shape (T, n)
            The gradients that the optimizer saw, and dL/dg.
        state : SharingState
            That before the first step.
        chosen, weight
            Not supported: the gradient is no sum over coordinates.

        Raises
        ------
        ValueError
            When coordinates are chosen.
        """
        if chosen is not None:
            raise ValueError("coordinates: expected None for a SharingLSTM, whose coordinates depend on each other")
        T, n = gradients.shape
        shape = T, state.functions, n // state.functions
        return sharing.sharing_meta_gradient(
            gradients.reshape(shape), d_updates.reshape(shape), state.network, self.params_as(gradients.dtype),
            self.averaged, self.preprocess, self.output_scale, with_backend(LSTM, self.backend, n, self.threads)
        )

"""The learned black-box optimizer for a user's function: ask for a point, tell its value."""

from __future__ import annotations

import copy
import json
import math
import threading
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from .. import files, pretrained
from ..checks import told_value, whole_number
from ..learned.proposer import Proposer
from ..trees import leaves, paths
from .batch import symmetries
from .box import Box, Symmetry
from .restarts import RestartSchedule, restart_period
from .scale import given_scale, moments_of, rescaled_after, running_scale, scaled

if TYPE_CHECKING:
    import numpy.typing as npt

    from .. import protocols
    from ..protocols import Array, Backend, Bounds

FORMAT, KIND = 2, "l2l_ref.BlackBoxOptimizer"


class Trial:
    """A point to evaluate. It can be sent to another process, and told when it comes back.

    Attributes
    ----------
    id : int
        Trials are numbered from 0.
    x : (d,) float64 array
        The point.
    """

    __slots__ = ("id", "x", "_u")

    id: int
    x: Array
    _u: Array

    def __init__(self, id: int, x: Array, u: Array) -> None:
        self.id, self.x = id, x
        self._u = u  # (D,), the point in the cube of the network's dimensions

    def __repr__(self) -> str:
        return f"Trial(id={self.id}, x={self.x.tolist()})"


class BlackBoxOptimizer:
    """A trained recurrent network that proposes where to evaluate a function next, to find its minimum.

    ``trial = bb.ask()``, then ``bb.tell(trial, value)``. Several trials may be pending, and values may come in any
    order.

    Each ask is one step of the network, fed a value that was told (equation X1 of learned/trajectory.py). If you tell
    several values before the next ask, the network first takes a step for each but the last. After 33 steps, or as many
    as the network was trained for if they are fewer, it starts afresh in another orientation, knowing nothing.

    It pickles and copies with all that it knows: a copy goes on with the same points, bit for bit. Threads may share
    it. After an exception at any place, such as Ctrl-C, it is as before the call or as after it; ``log`` says which.

    Parameters
    ----------
    bounds : (d, 2) array_like or SciPy's Bounds
        low < high of each dimension.
    model : str, path or Proposer
        The name of a shipped optimizer, a file that `save` wrote, or the optimizer itself. One for more than d
        dimensions ignores the rest of them.
    seed : int
        The network is deterministic. The seed draws the order and the directions in which it sees the dimensions.
    integers, log : (d,) bool array_like, optional
        Which dimensions are whole numbers, and which have a log scale.
    scaling : "running" or (mean, std)
        How values are brought to the scale on which networks are trained. "running" takes the mean and the standard
        deviation of the values told so far, or of their logarithms if they span orders of magnitude (Y1, Y2 of
        scale.py). It is computed anew after tells number 1, 2, 4, 8, .., and then everything is fed again. Give the
        mean and the standard deviation if you know them.
    backend : {"auto", "numpy", "numba"}
        What computes the network. "auto" is NumPy, or the backend of a Proposer that you pass. Once it is loaded, numba
        takes a third of the time for an ask and its tell, or less.

    Attributes
    ----------
    log : list
        All asks and tells, in JSON's types: ["ask", id, x] and ["tell", id or None, x, value or None]. The log is the
        state. An ask of a network for more than d dimensions has a fourth entry, its coordinates in the others.

    Raises
    ------
    ValueError
        For bad arguments, and where no shipped optimizer has as many dimensions.
    ImportError
        For the backend "numba" where numba does not work.
    """

    def __init__(
        self, bounds: npt.ArrayLike | Bounds, model: protocols.Path | Proposer = "lstm-oi", seed: int = 0, *,
        integers: npt.ArrayLike | None = None, log: npt.ArrayLike | None = None,
        scaling: Literal["running"] | tuple[float, float] = "running", backend: Backend = "auto",
    ) -> None:
        self._box = Box(bounds, integers, log)
        self._given = given_scale(scaling)
        self._seed = whole_number("seed", seed, least=0)
        self._name, self._proposer = resolve_model(model, self._box.dim, backend)
        self._moments = moments_of(self._proposer.card)
        self.log: list[list[Any]] = []
        self._lock = threading.RLock()
        self._torn = False  # whether an exception has left all that follows half changed
        self._begin()

    def _begin(self) -> None:
        """Everything but the log, as it is at first."""
        self._rng = symmetries(self._seed)
        self._stepper = self._proposer.stepper(self._box)
        self._pending: dict[int, Trial] = {}
        self._asks: list[list[Any]] = []   # their events in the log
        self._told: list[list[Any]] = []   # likewise
        self._points: list[Array] = []     # where a value was told: u (D,)
        self._values: list[float] = []     # nan where the evaluation failed
        self._best: int | None = None      # the number of the tell with the smallest finite value
        self._worst: float | None = None   # the largest finite value
        self._scale = self._given
        self._schedule = RestartSchedule(restart_period(self._proposer.card), self._orient, self._start, self._step)

    def _mend(self) -> None:
        """Make everything anew from the log, if an exception has left it half changed, as Ctrl-C may at any line."""
        if self._torn:
            self._begin()
            for event in self.log:
                self._again(*event)
            self._torn = False

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            self._mend()
            return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.RLock())

    def __copy__(self) -> BlackBoxOptimizer:
        return copy.deepcopy(self)  # a copy has a state of its own

    def __repr__(self) -> str:
        return (f"BlackBoxOptimizer(dim={self._box.dim}, model={self._name or self._proposer!r}, seed={self._seed}, "
                f"asked={len(self._asks)}, told={len(self._told)})")

    @property
    def best(self) -> tuple[Array, float] | None:
        """(x, value) of the smallest value told, or None."""
        with self._lock:
            self._mend()
            if self._best is None:
                return None
            *_, x, value = self._told[self._best]
            return np.array(x), value

    @property
    def pending(self) -> list[Trial]:
        """The trials that were asked for and not told, the oldest first."""
        with self._lock:
            self._mend()
            return list(self._pending.values())

    def ask(self) -> Trial:
        """The next Trial."""
        with self._lock:
            self._mend()
            self._torn = True
            trial, event = self._asking(*self._schedule.query())
            self.log.append(event)  # from here on it has been asked
            self._torn = False
            return trial

    def tell(self, trial: Trial | npt.ArrayLike, value: float | None) -> None:
        """Tell the value of a trial, or of a point that was not asked for.

        Parameters
        ----------
        trial : Trial or (d,) array_like
            A pending trial of this optimizer, or a pickled copy of it; or a point within the bounds.
        value : float or None
            None, nan and infinity stand for an evaluation that failed. It is fed as the worst value told so far.

        Raises
        ------
        ValueError
            For a trial that is not pending (told twice, or another optimizer's), for a point out of bounds, and for a
            value that is not a number.
        """
        value = told_value(value)
        with self._lock:
            self._mend()
            place = self._place(trial)
            self._torn = True
            event = self._telling(*place, value)
            self.log.append(event)  # from here on it has been told
            self._torn = False

    def state_dict(self) -> dict[str, Any]:
        """The whole state in JSON's types: the settings, the digest of the weights, and a copy of the log."""
        box = self._box
        return {
            "format": FORMAT, "kind": KIND, "name": self._name, "model": identity(self._proposer),
            "bounds": box.bounds.tolist(), "integers": box.integers.tolist(), "log": box.log.tolist(),
            "seed": self._seed, "scaling": "running" if self._given is None else [self._given.first, self._given.s],
            "events": json.loads(json.dumps(self.log[:])),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], model: protocols.Path | Proposer | None = None,
                   backend: Backend = "auto") -> BlackBoxOptimizer:
        """The optimizer that ``state_dict`` described. Its later asks are the same; with the same backend, bit for bit.

        ``model`` and ``backend`` are as for the class. A Proposer has no name, so you have to pass it again. Raises
        ValueError for a state that is broken, or of another model.
        """
        if not isinstance(state, dict) or state.get("kind") != KIND or state.get("format") != FORMAT:
            raise ValueError(f"state: expected a dict that state_dict made, of format {FORMAT}")
        try:
            name, events = state["name"], state["events"]
            if model is None and not isinstance(name, str):
                raise ValueError("it was made with a Proposer: pass it as model")
            bb = cls(state["bounds"], name if model is None else model, state["seed"], integers=state["integers"],
                     log=state["log"], scaling=state["scaling"], backend=backend)
            if identity(bb._proposer) != state["model"]:
                raise ValueError("it was made with another model")
            for count, event in enumerate(events):
                try:
                    bb.log.append(bb._again(*event))
                except (ValueError, TypeError, LookupError, OverflowError) as error:
                    raise ValueError(f"event {count}: {error}") from None
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise ValueError(f"state: {' '.join(str(error).split()) or type(error).__name__}") from None
        return bb

    def save(self, path: protocols.Path) -> None:
        """Write the state as JSON to ``path``, with a hash at its end: whole or not at all."""
        files.write_json(path, self.state_dict())

    @classmethod
    def load(cls, path: protocols.Path, model: protocols.Path | Proposer | None = None,
             backend: Backend = "auto") -> BlackBoxOptimizer:
        """`from_state` of a file that ``save`` wrote.

        Raises ValueError when it is not such a file or was changed, and OSError when it cannot be opened. A state
        without the hash that ``save`` writes is refused, too; `from_state` takes what ``json.load`` makes of it.
        """
        state = files.read_json(path)
        try:
            return cls.from_state(state, model, backend)
        except ValueError as error:
            raise ValueError(f"{path}: {files.in_one_line(error)}") from None

    # ------------------------------------------------------------------------------------------ a log once more

    def _again(self, kind: Any, id: Any, x: Any, rest: Any = None, *more: Any) -> list[Any]:
        """Repeat one event of a log, and return it."""
        if kind not in ("ask", "tell") or more:
            raise ValueError(f"expected an ask or a tell, got {kind!r}")
        if id is not None and type(id) is not int:
            raise ValueError(f"expected a whole number as id, got {id!r}")
        x = self._box.checked(x)
        if kind == "ask":
            u, _ = self._schedule.query()
            if id != len(self._asks):
                raise ValueError(f"expected the ask of id {len(self._asks)}, got {id}")
            if len(u) > len(x):
                u[len(x):] = Box([(0, 1)] * (len(u) - len(x))).checked(rest)
            return self._asking(u, x)[1]
        if id is None:
            return self._telling(*self._place(x), told_value(rest))
        if id not in self._pending or self._asks[id][2] != x.tolist():
            raise ValueError(f"expected a tell of a pending trial, got id {id}")
        return self._telling(*self._place(self._pending[id]), told_value(rest))

    # -------------------------------------------------------------------------------------------- its parts

    def _place(self, trial: Trial | npt.ArrayLike) -> tuple[int | None, list[float], Array]:
        """The id or None, x and u of what is told. Raises ValueError for what is no pending trial and no point."""
        if isinstance(trial, Trial):
            pending = self._pending.get(trial.id)
            if pending is None or pending is not trial and not np.array_equal(pending._u, trial._u):
                raise ValueError(f"trial: expected a pending trial of this optimizer, got {trial!r}")
            # the point that was asked for, even if the caller has written to trial.x
            return trial.id, self._asks[trial.id][2], pending._u
        x = self._box.checked(trial)
        u = np.full(self._proposer.dim, 0.5)
        u[: self._box.dim] = self._box.unit(x)
        return None, x.tolist(), u

    def _asking(self, u: Array, x: Array) -> tuple[Trial, list[Any]]:
        d = self._box.dim
        id = len(self._asks)
        event = ["ask", id, x.tolist()]
        if d < len(u):
            event.append(u[d:].tolist())
        if self._box.any_integer:
            u[:d] = self._box.unit(x)  # the point that is evaluated: integers are rounded
        trial = self._pending[id] = Trial(id, x, u)
        self._asks.append(event)
        return trial, event

    def _telling(self, id: int | None, x: list[float], u: Array, value: float) -> list[Any]:
        if id is not None:
            del self._pending[id]
        n, failed = len(self._told), math.isnan(value)
        event = ["tell", id, x, None if failed else value]
        self._told.append(event)
        self._points.append(u)
        self._values.append(value)
        if not failed:
            if self._best is None or value < self._values[self._best]:
                self._best = n
            if self._worst is None or value > self._worst:
                self._worst = value
        rescaled = self._given is None and rescaled_after(n + 1)
        if rescaled:
            scale = running_scale(np.array([self._values]), self._moments)
            self._scale = type(scale)(*(float(np.squeeze(a)) for a in scale))
        self._schedule.tell(n, self._best, rescaled)
        return event

    # ------------------------------------------------------------------------------------------- the network

    def _orient(self) -> None:
        self._symmetry = Symmetry(self._rng, self._proposer.dim)

    def _start(self) -> None:
        self._stepper.start(self._symmetry)

    def _step(self, n: int | None) -> tuple[Array, Array]:
        """The next query and its point, (D,) and (d,), after a step that was fed tell number n or nothing."""
        if n is None:
            return self._stepper.step()
        value: float | None = self._values[n]
        if value != value:  # nan
            value = self._worst
        return self._stepper.step(self._points[n],
                                  0.0 if value is None or self._scale is None else scaled(value, self._scale))


# ------------------------------------------------------------------------------------------------ arguments


def resolve_model(model: protocols.Path | Proposer, dim: int,
                  backend: Backend = "auto") -> tuple[str | None, Proposer]:
    """(name or None, Proposer) for functions of ``dim`` dimensions. Raises ValueError when there is none."""
    name, proposer = None, cast(Any, model)
    if isinstance(model, Proposer):
        if backend != "auto":
            raise ValueError(f"backend: expected 'auto' with a Proposer, which has its own, got {backend!r}")
    else:
        name = str(model)
        try:
            known = name if pretrained.is_file(name) else pretrained.find(name, dim)
            proposer = pretrained.load(known, backend=backend)
        except OSError as error:
            raise ValueError(f"model: {error}") from None
    if not isinstance(proposer, Proposer):
        raise ValueError(f"model: expected a black-box optimizer, got {type(proposer).__name__}")
    if proposer.dim < dim:
        raise ValueError(f"model: expected one for {dim} dimensions or more, got one for {proposer.dim}")
    return name, proposer


def identity(proposer: Proposer) -> dict[str, Any]:
    """Everything of a proposer that its queries depend on, in JSON's types."""
    params, card = proposer.params_as(np.float32), proposer.card
    return {"config": proposer.config, "sha256": files.digest(dict(zip(paths(params), leaves(params)))),
            "run": restart_period(card), "moments": moments_of(card)}

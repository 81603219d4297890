"""The black-box optimizer for a user's function, with a learned opening: ask for a point, tell its value."""

from __future__ import annotations

import copy
import json
import math
import threading
from array import array
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

import numpy as np

from .. import backends, files, pretrained
from ..checks import choice, flag, is_feasible, short, told_value, whole_number
from ..learned.proposer import Proposer
from ..learned.stepping import distances
from ..trees import leaves, paths
from .batch import symmetries
from .box import Box, Symmetry
from .finish import History, next_query, require_memory
from .recommend import recommend
from .repeats import Places, Rows, radius, replacement
from .restarts import RestartSchedule, restart_period
from .scale import given_scale, moments_of, penalty_limit, rescaled_after, running_scale, scaled, without_penalties
from .sobol import MOST_DIMENSIONS, sobol_point

if TYPE_CHECKING:
    import numpy.typing as npt

    from .. import protocols
    from ..protocols import Array, Backend, Bounds

    Finish: TypeAlias = Callable[[History], "tuple[Array, Mapping[str, Array] | None] | None"]

FORMAT, KIND = 2, "l2l_ref.BlackBoxOptimizer"
SOURCES = ("sobol", "finish", "replacement")  # whose an ask may be that is not the network's
NETWORK, GIVEN = "network", "given"           # whose the others are, and points that nobody asked for


class Trial:
    """A point to evaluate. It can be sent to another process, and told when it comes back.

    Attributes
    ----------
    id : int
        Trials are numbered from 0.
    x : (d,) array or dict
        The point: a dict if the parameters have names, and else an array; of whole numbers if all dimensions are.
    """

    __slots__ = ("id", "x", "_u")

    id: int
    x: Any
    _u: Array

    def __init__(self, id: int, x: Any, u: Array) -> None:
        self.id, self.x = id, x
        self._u = u  # (D,), the point in the cube of the network's dimensions

    def __repr__(self) -> str:
        return f"Trial(id={self.id}, x={self.x.tolist() if isinstance(self.x, np.ndarray) else self.x})"


class BlackBoxOptimizer:
    """A trained recurrent network that proposes where to evaluate a function next, to find its minimum.

    ``trial = bb.ask()``, then ``bb.tell(trial, value)``. Several trials may be pending, and values may come in any
    order; ``ask(n)`` gives n trials.

    The network makes the opening: 2 d + 2 points. Then a Gaussian process goes on, of which nothing is learned from
    other functions (finish.py). With ``finish=None`` the network makes all points.

    Each ask of the opening is one step of the network, fed a value that was told (equation X1 of
    learned/trajectory.py). If you tell several values before the next ask, the network first takes a step for each but
    the last. While trials are pending, it is fed a guess of their values after all that is known, so that it does not
    propose the same again. With ``finish=None``, the network starts afresh in another orientation, knowing nothing,
    after 33 steps, or as many as it was trained for if they are fewer.

    No point is asked for twice as long as the box has others. A query that would repeat one, or a query of the network
    that lies close to a point of the worse half, is replaced (repeats.py).

    It pickles and copies with all that it knows: a copy goes on with the same points, bit for bit. Threads may share
    it: each ask and tell is done under a lock. After an exception at any place, such as Ctrl-C, it is as before the
    call or as after it; ``log`` says which.

    Parameters
    ----------
    bounds : (d, 2) array_like, SciPy's Bounds, or dict
        low < high of each dimension, or low == high of one that is fixed. A dict has a `Float`, an `Int` or a
        `Categorical` for each name. Points are then dicts, too.
    model : str, path or Proposer
        The name of a shipped optimizer, a file that `save` wrote, or the optimizer itself. One for more than d
        dimensions ignores the rest of them. A name is that of `l2l_ref.pretrained.find`; where it finds none, points of
        a Sobol sequence take its place, and the log says "sobol".
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
        What computes the network and the finish. "auto" is NumPy for the network, or the backend of a Proposer that you
        pass; for the finish it is numba from 10 points on, where numba is installed. Once it is loaded, numba takes
        less than half of the time for an ask and its tell.
    finish : "auto", None or callable
        What proposes after the opening. "auto": the Gaussian process of finish.py. None: nothing, the network goes on.
        A function of your own takes a `History`.
    maximize : bool
        Whether to look for the maximum.
    noise : bool or float, optional
        Whether the values are noisy, or the standard deviation of the noise. None: only if the values of a point that
        was told several times say so. ``recommended`` depends on it.
    restarts : bool
        Whether the network starts afresh from time to time. False is the search of Chen et al. 2017: one run of it.

    Attributes
    ----------
    log : list
        All asks and tells, in JSON's types: ["ask", id, x] and ["tell", id or None, x, value or None]. The log is the
        state. An ask of a network for more than d dimensions has a fourth entry, its coordinates in the others. An ask
        that is not the network's has a fifth (its fourth may be null), which says whose it is: "sobol", "finish" or
        "replacement".

    Raises
    ------
    ValueError
        For bad arguments.
    ImportError
        For the backend "numba" where numba does not work.
    """

    def __init__(
        self, bounds: npt.ArrayLike | Bounds | Mapping[str, Any], model: protocols.Path | Proposer = "lstm-oi",
        seed: int = 0, *, integers: npt.ArrayLike | None = None, log: npt.ArrayLike | None = None,
        scaling: Literal["running"] | tuple[float, float] = "running", backend: Backend = "auto",
        finish: Finish | Literal["auto"] | None = "auto", maximize: bool = False, noise: bool | float | None = None,
        restarts: bool = True,
    ) -> None:
        self._box = Box(bounds, integers, log)
        self._given = given_scale(scaling)
        self._seed = whole_number("seed", seed, least=0)
        self._name, self._proposer = resolve_model(model, self._box.dim, backend)
        self._backend = backend if self._proposer is None else self._proposer.backend
        self._finish = resolve_finish(finish, self._backend)
        self._finish_name = finish if isinstance(finish, str) else None
        self._sign = -1.0 if flag("maximize", maximize) else 1.0
        self._noise = checked_noise(noise)
        self._restarts = flag("restarts", restarts)
        self._moments = None if self._proposer is None else moments_of(self._proposer.card)
        self.log: list[list[Any]] = []
        self._memory: dict[int, dict[str, Array]] = {}  # of the finish: what it returned with the ask of this id
        self._lock = threading.RLock()
        self._torn = False  # whether an exception has left all that follows half changed
        self._begin()

    def _begin(self) -> None:
        """Everything but the log, as it is at first."""
        self._rng = symmetries(self._seed)
        self._pending: dict[int, Trial] = {}
        self._asks: list[list[Any]] = []   # their events in the log
        self._runs: list[int] = []         # in which run of the network each was asked for
        self._told: list[list[Any]] = []   # events of the log
        self._points: list[Array] = []     # where a value was told: u (D,)
        self._seen = Rows(self._box.dim)   # those of them that `_rows_seen` has seen
        self._values = array("d")          # to be made small; nan where the evaluation failed
        self._value_at: dict[bytes, float] = {}  # the first value of each point
        self._differ = False               # whether another value was told of such a point
        self._best: int | None = None      # the number of the tell with the smallest finite value
        self._worst: float | None = None   # the largest finite value that is no penalty
        self._limit = math.inf             # larger values are penalties
        self._scale = self._given
        self._sobol = 0                    # the number of the next Sobol point
        self._places = Places(self._box.dim, self._backend)
        self._rows: list[int] = []         # the number of each ask among the places
        self._schedule: RestartSchedule | None = None
        if self._proposer is not None:
            self._stepper = self._proposer.stepper(self._box)
            run = restart_period(self._proposer.card) if self._restarts else math.inf
            self._schedule = RestartSchedule(run, self._orient, self._start, self._step)

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
        model = "sobol" if self._proposer is None else self._name or repr(self._proposer)
        return (f"BlackBoxOptimizer(dim={len(self._box.low)}, model={model!r}, seed={self._seed}, "
                f"asked={len(self._asks)}, told={len(self._told)})")

    @property
    def best(self) -> tuple[Any, float] | None:
        """(x, value) of the smallest value told, the largest if we maximise; or None."""
        with self._lock:
            self._mend()
            if self._best is None:
                return None
            *_, x, value = self._told[self._best]
            return self._to_user(x), value

    @property
    def recommended(self) -> tuple[Any, float] | None:
        """(x, estimate) of the told point at which the function is thought to be best; without noise, ``best``."""
        with self._lock:
            self._mend()
            noise = self._noise
            if self._best is None or not self._is_noisy():
                return self.best
            n, estimate = recommend(*self._known(), None if noise is None or noise is True else float(noise))
            return self._to_user(self._told[n][2]), self._sign * estimate

    def _is_noisy(self) -> bool:
        """Whether the user said so, or a point was told several times, with values that differ."""
        return self._differ if self._noise is None else bool(self._noise)

    @property
    def proposed(self) -> dict[str, int]:
        """How many of the points that were told are whose: "network", "sobol", "finish", "replacement" or "given".

        Only what the network proposed is learned. Given points are those that nobody asked for.
        """
        with self._lock:
            self._mend()
            whose = [GIVEN if id is None else (self._asks[id][4:] or [NETWORK])[0] for _, id, *_ in self._told]
            return {name: whose.count(name) for name in (NETWORK, *SOURCES, GIVEN) if name in whose}

    @property
    def pending(self) -> list[Trial]:
        """The trials that were asked for and not told, the oldest first."""
        with self._lock:
            self._mend()
            return list(self._pending.values())

    @overload
    def ask(self) -> Trial: ...

    @overload
    def ask(self, n: int) -> list[Trial]: ...

    def ask(self, n: int | None = None) -> Trial | list[Trial]:
        """The next Trial, or a list of the next n."""
        if n is not None:
            whole_number("n", n)
        with self._lock:
            self._mend()
            self._torn = True
            if self._finish is not None:
                self._forget()
            if n is None:
                trial, event = self._asking(*self._next())
                self.log.append(event)  # from here on it has been asked
                self._torn = False
                return trial
            trials, events = zip(*(self._asking(*self._next()) for _ in range(n)))
            self.log.extend(events)
            self._torn = False
            return list(trials)

    def tell(self, trial: Trial | int | npt.ArrayLike | Mapping[str, Any], value: float | None,
             constraints: Any = None) -> None:
        """Tell the value of a trial, or of a point that was not asked for.

        Parameters
        ----------
        trial : Trial, int, (d,) array_like or dict
            A pending trial of this optimizer, or a pickled copy of it, or its id; or a point within the bounds. The
            point of a pending trial is that trial.
        value : float or None
            None, nan, infinity and a masked value stand for an evaluation that failed. It is fed as the worst value
            told so far. So is a value that lies far above all others, like a penalty for what is not feasible.
        constraints : float or array_like, optional
            Numbers that are >= 0 where the point is feasible. Otherwise the evaluation has failed.

        Raises
        ------
        ValueError
            For a trial that is not pending (told twice, or another optimizer's), for a point out of bounds, and for a
            value that is not a number.
        """
        value = told_value(value)
        if constraints is not None and not is_feasible(constraints):
            value = math.nan
        with self._lock:
            self._mend()
            place = self._place(trial)
            self._torn = True
            event = self._telling(*place, value)
            self.log.append(event)  # from here on it has been told
            self._torn = False

    def state_dict(self) -> dict[str, Any]:
        """The whole state in JSON's types: the settings, the digest of the weights, and a copy of the log."""
        with self._lock:
            self._mend()
            state = {
                "format": FORMAT, "kind": KIND, "name": self._name, "model": identity(self._proposer),
                **self._box.as_json(),
                "seed": self._seed, "scaling": "running" if self._given is None else [self._given.first, self._given.s],
                "events": json.loads(json.dumps(self.log[:])),
            }
            if self._sign < 0:
                state["maximize"] = True
            if self._noise is not None:
                state["noise"] = self._noise
            if not self._restarts:
                state["restarts"] = False
            if self._finish is not None:
                self._forget()
                state["finish"] = self._finish_name
                state["memory"] = {str(id): {name: _without_nan(array) for name, array in memory.items()}
                                   for id, memory in self._memory.items()}
            return state

    @classmethod
    def from_state(cls, state: dict[str, Any], model: protocols.Path | Proposer | None = None,
                   backend: Backend = "auto", finish: Finish | None = None) -> BlackBoxOptimizer:
        """The optimizer that ``state_dict`` described. Its later asks are the same; with the same backend, bit for bit.

        ``model`` and ``backend`` are as for the class. A Proposer and a finish of your own have no name, so you have to
        pass them again. Raises ValueError for a state that is broken, or of another model.
        """
        if not isinstance(state, dict) or state.get("kind") != KIND or state.get("format") != FORMAT:
            raise ValueError(f"state: expected a dict that state_dict made, of format {FORMAT}")
        try:
            name, events = state["name"], state["events"]
            if model is None and not isinstance(name, str):
                raise ValueError("it was made with a Proposer: pass it as model")
            if "finish" in state and state["finish"] is None and finish is None:
                raise ValueError("it was made with a finish of your own: pass it")
            box = ({"bounds": state["space"]} if "space" in state else
                   {"bounds": state["bounds"], "integers": state["integers"], "log": state["log"]})
            bb = cls(model=name if model is None else model, seed=state["seed"], scaling=state["scaling"],
                     backend=backend, finish=state.get("finish") if finish is None else finish,
                     maximize=state.get("maximize", False), noise=state.get("noise"),
                     restarts=state.get("restarts", True), **box)
            if identity(bb._proposer) != state["model"]:
                raise ValueError("it was made with another model")
            for count, event in enumerate(events):
                try:
                    bb.log.append(bb._again(*event))
                except (ValueError, TypeError, LookupError, OverflowError) as error:
                    raise ValueError(f"event {count}: {error}") from None
            bb._memory = {int(id): {name: np.array(array, np.float64) for name, array in memory.items()}
                          for id, memory in state.get("memory", {}).items()}
            if bb._finish_name is not None:
                for memory in bb._memory.values():
                    require_memory(memory, bb._history(0))
        except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as error:
            raise ValueError(f"state: {' '.join(str(error).split()) or type(error).__name__}") from None
        return bb

    def save(self, path: protocols.Path) -> None:
        """Write the state as JSON to ``path``, with a hash at its end: whole or not at all."""
        files.write_json(path, self.state_dict())

    @classmethod
    def load(cls, path: protocols.Path, model: protocols.Path | Proposer | None = None,
             backend: Backend = "auto", finish: Finish | None = None) -> BlackBoxOptimizer:
        """`from_state` of a file that ``save`` wrote.

        Raises ValueError when it is not such a file or was changed, and OSError when it cannot be opened. A state
        without the hash that ``save`` writes is refused, too; `from_state` takes what ``json.load`` makes of it.
        """
        state = files.read_json(path)
        try:
            return cls.from_state(state, model, backend, finish)
        except ValueError as error:
            raise ValueError(f"{path}: {files.in_one_line(error)}") from None

    # ------------------------------------------------------------------------------------------ a log once more

    def _again(self, kind: Any, id: Any, x: Any, rest: Any = None, by: Any = None, *more: Any) -> list[Any]:
        """Repeat one event of a log, and return it."""
        if kind not in ("ask", "tell") or more or by is not None and (kind == "tell" or by not in SOURCES):
            raise ValueError(f"expected an ask or a tell, got {kind!r}")
        if id is not None and type(id) is not int:
            raise ValueError(f"expected a whole number as id, got {id!r}")
        if kind == "ask":
            x = self._box.checked(x)
            if id != len(self._asks):
                raise ValueError(f"expected the ask of id {len(self._asks)}, got {id}")
            u, x, by = self._asked(x, rest, by)
            if self._box.any_integer:
                u[: self._box.dim] = self._box.unit(x)
            self._places.is_useless(u, 0.0)  # which writes u into the row that `_asking` keeps
            return self._asking(u, x, by)[1]
        if id is None:
            x = self._box.checked(x)
            return self._telling(None, self._box.to_json(x), self._cube(x), told_value(rest))
        if id not in self._pending or self._asks[id][2] != x:
            raise ValueError(f"expected a tell of a pending trial, got id {id}")
        return self._telling(*self._place(self._pending[id]), told_value(rest))

    def _asked(self, x: Array, rest: Any, by: str | None) -> tuple[Array, Array, str | None]:
        """What `_next` returned when x of the log was asked for."""
        u = None
        if self._schedule is not None and by != "finish":
            u, x_network = self._schedule.query(self._guessed())
            if by is not None or not np.array_equal(x, x_network):  # another machine's, or a replacement
                u[: self._box.dim] = self._box.unit(x)
            if len(u) > self._box.dim:
                u[self._box.dim:] = Box([(0, 1)] * (len(u) - self._box.dim)).checked(rest)
            return u, x, by
        self._sobol += by == "sobol"
        u = self._cube(x)
        return u, x, by

    # -------------------------------------------------------------------------------------------- its parts

    def _place(self, trial: Any) -> tuple[int | None, Any, Array]:
        """The id or None, x and u of what is told. Raises ValueError for what is no pending trial and no point."""
        id = trial.id if isinstance(trial, Trial) else trial
        if isinstance(trial, Trial) or isinstance(trial, (int, np.integer)) and not isinstance(trial, bool):
            pending = self._pending.get(id)
            if pending is None or isinstance(trial, Trial) and (
                    pending is not trial and not np.array_equal(pending._u, trial._u)):
                raise ValueError(f"trial: expected a pending trial of this optimizer, got {trial!r}")
            # the point that was asked for, even if the caller has written to trial.x
            return pending.id, self._asks[pending.id][2], pending._u
        point = self._box.checked(trial)
        x = self._box.to_json(point)
        for id, pending in self._pending.items():
            if self._asks[id][2] == x:
                return id, x, pending._u
        return None, x, self._cube(point)

    def _cube(self, x: Array) -> Array:
        """x as a point (D,) of the network's cube, in the middle of the dimensions that the box has not."""
        u = np.full(self._box.dim if self._proposer is None else self._proposer.dim, 0.5)
        u[: self._box.dim] = self._box.unit(x)
        return u

    def _to_user(self, x: Any) -> Any:
        """x of the log as the user sees it."""
        return self._box.to_user(self._box.checked(x))

    def _next(self) -> tuple[Array, Array, str | None]:
        """u (D,) and x (d,) of the next query, and whose it is: None of the network."""
        u = by = None
        if self._finish is not None:
            u = self._finished()
            by = None if u is None else "finish"
        if u is not None:
            x = self._box.point(u[: self._box.dim])
        elif self._schedule is not None:
            u, x = self._schedule.query(self._guessed() if self._pending else ())
        else:
            u = sobol_point(self._sobol, self._box.dim, [self._seed, 2])
            x, by = self._box.point(u), "sobol"
            self._sobol += 1
        d = self._box.dim
        if self._box.any_integer or by:
            u[:d] = self._box.unit(x)  # the point that is evaluated, and what a log can give back to the last bit
        if self._places.is_useless(u, 0.0 if by else radius(d)):
            new = replacement(self._places.rows, self._places.median, u, self._box, (self._seed, 0), len(self._asks),
                              self._backend)
            if new is not None:
                x = self._box.point(new)
                u[:d] = self._box.unit(x)
                by = by or "replacement"
                self._places.is_useless(u, 0.0)  # which writes u into the row that `_asking` keeps
        return u, x, by

    def _finished(self) -> Array | None:
        """What the finish proposes, as a point (D,) of the network's cube; None for the opening to go on."""
        d, id = self._box.dim, len(self._asks)
        proposed = cast(Any, self._finish)(self._history(id))
        if proposed is None:
            return None
        point, memory = proposed
        if memory is not None:
            self._memory[id] = {str(name): np.array(array, np.float64) for name, array in memory.items()}
        u = np.full(d if self._proposer is None else self._proposer.dim, 0.5)
        u[:d] = np.clip(point, 0, 1)
        return u

    def _history(self, id: int) -> History:
        """What the finish sees when it proposes the ask of this id."""
        d = self._box.dim
        return History(
            *self._known(), np.array([trial._u[:d] for trial in self._pending.values()]).reshape(-1, d),
            self._box.categorical, self._box.levels, self._rounded, self._is_noisy(), [self._seed, 1, id],
            self._memory.get(max((k for k in self._memory if k < id), default=-1)))  # an interrupt undoes an ask

    def _known(self) -> tuple[Array, Array]:
        """The points (n, d) of which values were told, and the values (n,), nan of those that failed."""
        values = np.array(self._values)
        return self._rows_seen().copy(), np.where(values > self._limit, np.nan, values)

    def _rows_seen(self) -> Array:
        """The points of which values were told, (n, d): a view of the rows that are kept."""
        for u in self._points[len(self._seen):]:
            self._seen.append(u[: self._box.dim])
        return self._seen.array

    def _rounded(self, u: Array) -> Array:
        """The points u (B, d) as they would be evaluated."""
        return self._box.unit(self._box.point(u)) if self._box.any_integer else u

    def _forget(self) -> None:
        """Keep what the finish returned last, of asks that are in the log."""
        known = [id for id in self._memory if id < len(self._asks)]
        self._memory = {id: self._memory[id] for id in known[-1:]}

    def _guessed(self) -> list[Trial]:
        """The pending trials of this run, of whose values the network is fed a guess."""
        run = cast(RestartSchedule, self._schedule).runs
        return [trial for id, trial in self._pending.items() if self._runs[id] == run]

    def _asking(self, u: Array, x: Array, by: str | None) -> tuple[Trial, list[Any]]:
        d = self._box.dim
        id = len(self._asks)
        event = ["ask", id, self._box.to_json(x)]
        if d < len(u) and by != "finish":
            event.append(u[d:].tolist())
        if by is not None:
            event += [None] * (len(event) == 3) + [by]
        trial = self._pending[id] = Trial(id, self._box.to_user(x), u)
        self._asks.append(event)
        self._runs.append(0 if self._schedule is None or by == "finish" else self._schedule.runs)
        self._rows.append(self._places.keep())
        return trial, event

    def _telling(self, id: int | None, x: Any, u: Array, value: float) -> list[Any]:
        n, failed = len(self._told), math.isnan(value)
        event = ["tell", id, x, None if failed else value]
        value *= self._sign
        if id is not None:
            del self._pending[id]
            self._places.set(self._rows[id], math.inf if failed else value)
        else:
            self._places.add(u, math.inf if failed else value)
        self._told.append(event)
        self._points.append(u)
        self._values.append(value)
        if not failed:
            self._differ |= self._value_at.setdefault(u[: self._box.dim].tobytes(), value) != value
            if self._best is None or value < self._values[self._best]:
                self._best = n
            if value <= self._limit and (self._worst is None or value > self._worst):
                self._worst = value
        rescaled = rescaled_after(n + 1) and self._rescale()
        if self._schedule is not None:
            self._schedule.tell(n, self._best, rescaled, id is not None)
        return event

    def _rescale(self) -> bool:
        """Find the limit and the scale anew. Returns whether the scale may be another one."""
        values = np.array(self._values)[None]
        limit = penalty_limit(values)
        values, self._limit = without_penalties(values, limit), float(limit[0])
        self._worst = float(np.nanmax(values)) if np.isfinite(values).any() else None
        if self._given is None:
            scale = running_scale(values, self._moments)
            self._scale = type(scale)(*(float(np.squeeze(a)) for a in scale))
        return self._given is None

    # ------------------------------------------------------------------------------------------- the network

    def _orient(self) -> None:
        self._symmetry = Symmetry(self._rng, cast(Proposer, self._proposer).dim)

    def _start(self) -> None:
        self._stepper.start(self._symmetry)

    def _step(self, n: int | Trial | None) -> tuple[Array, Array]:
        """The next query and its point, (D,) and (d,), after a step that was fed tell number n or nothing.

        Of a pending Trial, the value is guessed: it is that of the nearest point that was told.
        """
        if n is None:
            return self._stepper.step()
        if isinstance(n, Trial):
            u, value = n._u, None
            if self._points:
                value = self._values[int(distances(u[None, : self._box.dim], self._rows_seen()).argmin())]
        else:
            u, value = self._points[n], self._values[n]
        limit = self._limit if self._given is None else math.inf  # in a given scale, a penalty is a large value
        if value is None or not value <= limit:  # nan, or a penalty
            value = None if isinstance(n, Trial) and not self._points else self._worst
        return self._stepper.step(u, 0.0 if value is None or self._scale is None else scaled(value, self._scale))


# ------------------------------------------------------------------------------------------------ arguments


def resolve_model(model: protocols.Path | Proposer, dim: int,
                  backend: Backend = "auto") -> tuple[str | None, Proposer | None]:
    """(name or None, Proposer) for functions of ``dim`` dimensions. Raises ValueError when there is none.

    (name, None) where `pretrained.find` knows the name and has none for so many: Sobol points take its place.
    """
    name, proposer = None, cast(Any, model)
    if isinstance(model, Proposer):
        if backend != "auto":
            raise ValueError(f"backend: expected 'auto' with a Proposer, which has its own, got {backend!r}")
    else:
        name = str(model)
        try:
            known = name if pretrained.is_file(name) else pretrained.find(name, dim)
            if known is None:
                choice("backend", backend, backends.BACKENDS)
                whole_number("the number of dimensions", dim, most=MOST_DIMENSIONS)
                return name, None
            proposer = pretrained.load(known, backend=backend)
        except OSError as error:
            raise ValueError(f"model: {error}") from None
    if not isinstance(proposer, Proposer):
        raise ValueError(f"model: expected a black-box optimizer, got {type(proposer).__name__}")
    proposer = proposer.of(dim)
    if proposer.dim < dim:
        raise ValueError(f"model: expected one for {dim} dimensions or more, got one for {proposer.dim}")
    return name, proposer


def resolve_finish(finish: Any, backend: Backend) -> Finish | None:
    """The function of ``finish``. Raises ValueError for what is neither "auto", None nor callable."""
    if finish is None or callable(finish):
        return cast("Finish | None", finish)
    if not isinstance(finish, str) or finish != "auto":
        raise ValueError(f"finish: expected 'auto', None or a function, got {short(finish)}")
    return partial(next_query, backend=backend)


def _without_nan(array: Array) -> Any:
    """The array in JSON's types, with None for nan."""
    return np.where(np.isnan(array), cast(Any, None), array).tolist()


def checked_noise(noise: Any) -> bool | float | None:
    """``noise`` as None, a bool or a standard deviation. Raises ValueError for anything else."""
    if noise is None or isinstance(noise, (bool, np.bool_)):
        return None if noise is None else bool(noise)
    try:
        number = told_value(noise)
    except ValueError:
        number = math.nan
    if not number >= 0:
        raise ValueError(f"noise: expected None, a bool or a standard deviation >= 0, got {short(noise)}")
    return number


def identity(proposer: Proposer | None) -> dict[str, Any] | None:
    """Everything of a proposer that its queries depend on, in JSON's types; None of Sobol points."""
    if proposer is None:
        return None
    params, card = proposer.params_as(np.float32), proposer.card
    return {"config": proposer.config, "sha256": files.digest(dict(zip(paths(params), leaves(params)))),
            "run": restart_period(card), "moments": moments_of(card)}

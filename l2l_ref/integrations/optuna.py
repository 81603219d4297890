"""A sampler for Optuna. The study is its only state: before a trial, the search is repeated from what the study has.

So a sampler may be made anew for a study that is taken up again, and threads and processes may share a study. What a
study does not say of an ask, such as what the finish remembers, is stored with the trial.
"""

from __future__ import annotations

import math
import threading
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..extras import require

require("optuna", "LearnedSampler")

import optuna  # noqa: E402
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import FrozenTrial, TrialState  # noqa: E402

from ..search.box import Box  # noqa: E402
from ..search.optimizer import BlackBoxOptimizer, resolve_model  # noqa: E402
from ..search.space import Categorical, Float, Int, Parameter  # noqa: E402

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study

KEY = "l2l_ref:ask"  # of what is stored with a trial
MODEL = lru_cache(resolve_model)  # which would be read from its file before each trial
LOCK = threading.Lock()  # an ask is stored before the next thread looks


class LearnedSampler(optuna.samplers.BaseSampler):
    """Proposes the trials of an Optuna study by a `BlackBoxOptimizer`.

    ``optuna.create_study(sampler=LearnedSampler(seed=0))``. Parameters that not every finished trial has, as in
    conditional spaces and in the first trial, are left to Optuna's `TPESampler`. Trials that failed, were pruned or
    violate a constraint count as failed evaluations, and those that are running as pending ones.

    Parameters
    ----------
    seed : int
        Of the search. With the same seed and the same values, a study has the same trials.
    options
        model, scaling, backend, finish and noise, as for `BlackBoxOptimizer`.

    Raises
    ------
    ValueError
        When a trial is asked for: for bad options, and for a study with several objectives.
    """

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self._seed, self._options = seed, options
        self._last: tuple[Any, BlackBoxOptimizer] | None = None  # what the study had of late need not be repeated

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that every finished trial has, but for those that a `BlackBoxOptimizer` cannot take."""
        trials = study.get_trials(deepcopy=False)
        space = optuna.search_space.intersection_search_space(trials, include_pruned=True)
        return {name: given for name, given in space.items() if not given.single() and parameter_of(given) is not None}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, Any]) -> dict[str, Any]:
        """The next point of the search, after all that the study knows."""
        if len(study.directions) > 1:
            raise ValueError(f"LearnedSampler: expected one objective, got {len(study.directions)}")
        if not search_space:
            return {}
        parameters = {name: parameter_of(given) for name, given in search_space.items()}
        settings = {"bounds": parameters, "seed": self._seed, **self._options,
                    "maximize": study.direction == optuna.study.StudyDirection.MAXIMIZE}
        with LOCK:
            box = Box(parameters)
            name, proposer = MODEL(settings.get("model", "lstm-oi"), box.dim, settings.get("backend", "auto"))
            if proposer is not None:
                settings |= {"model": proposer, "backend": "auto"}
            events, memory, unknown = history(study, trial, box)
            bb = self._searching(settings, events, memory)
            for _ in range(unknown):
                bb.ask()
            asked = bb.ask()
            self._last = None if unknown else (settings, bb)
            state = bb.state_dict()
            study._storage.set_trial_system_attr(trial._trial_id, KEY, {
                "x": asked.x, "rest": state["events"][-1][3:], "memory": state.get("memory", {}).get(str(asked.id))})
        x: dict[str, Any] = asked.x
        return x

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str,
                           param_distribution: BaseDistribution) -> Any:
        """One parameter by Optuna's TPE, with a seed that depends on the trial and the name."""
        seed = zlib.crc32(f"{self._seed} {trial.number} {param_name}".encode())
        tpe = optuna.samplers.TPESampler(seed=seed)
        return tpe.sample_independent(study, trial, param_name, param_distribution)

    def _searching(self, settings: dict[str, Any], events: list[Any], memory: dict[str, Any]) -> BlackBoxOptimizer:
        """The search to which these events have happened."""
        if self._last is not None and self._last[0] == settings:
            bb = self._last[1]
            new = events[len(bb.log):]
            if bb.log == events[: len(bb.log)] and all(event[0] == "tell" for event in new):
                for _, id, x, value in new:
                    bb.tell(x if id is None else id, value)
                return bb
        state = {**BlackBoxOptimizer(**settings).state_dict(), "events": events, "memory": memory}
        again = {name: settings[name] for name in ("model", "backend", "finish") if name in settings}
        return BlackBoxOptimizer.from_state(state, **again)


def history(study: Study, trial: FrozenTrial, box: Box) -> tuple[list[Any], dict[str, Any], int]:
    """What happened before a trial, in the order of time and as in the log of a `BlackBoxOptimizer`.

    Also the last memory of the finish, and how many trials another process has begun and not yet asked for.
    """
    happened: list[Any] = []
    events: list[Any] = []
    memory: dict[str, Any] = {}
    ids: dict[int, int] = {}
    unknown = 0
    names = box.names or ()
    for other in study.get_trials(deepcopy=False):
        ask = other.system_attrs.get(KEY, {"x": {}})
        x = {**ask["x"], **other.params}
        running, finished = other.state == TrialState.RUNNING, other.state.is_finished()
        if other.number == trial.number or not (running or finished):
            continue
        if not is_point(x, box):
            unknown += running and not x and other.number < trial.number
            continue
        if set(ask["x"]) != set(names):  # it was asked for in another space, or by another sampler
            ask = {"rest": [None, "finish"], "memory": None} if running else None
        end: Any = other.datetime_complete
        start: Any = other.datetime_start or end
        x = {name: x[name] for name in names}
        if ask:
            happened.append((start, other.number, ["ask", x, *ask["rest"]], ask["memory"]))
        if finished:
            happened.append((max(start, end), other.number, ["tell", x, value_of(other)], None))
    for _, number, (kind, *rest), remembered in sorted(happened, key=lambda event: event[:2]):
        if kind == "ask":
            ids[number] = len(ids)
            memory = memory if remembered is None else {str(ids[number]): remembered}
        events.append([kind, ids.get(number), *rest])
    return events, memory, unknown


def parameter_of(given: BaseDistribution) -> Parameter | None:
    """A distribution of Optuna as a parameter, or None where there is none for it."""
    parameter: Parameter
    try:
        if isinstance(given, FloatDistribution):
            parameter = Float(given.low, given.high, given.log, given.step)
        elif isinstance(given, IntDistribution):
            parameter = Int(given.low, given.high, given.log, given.step)
        elif isinstance(given, CategoricalDistribution):
            parameter = Categorical(given.choices)
        else:
            return None
        Box({"": parameter})
    except ValueError:
        return None
    return parameter


def is_point(x: dict[str, Any], box: Box) -> bool:
    """Whether x has a point of the box: trials of other spaces have not, nor have all enqueued ones."""
    try:
        box.checked({name: x[name] for name in box.names or ()})
    except (KeyError, ValueError):
        return False
    return True


def value_of(trial: FrozenTrial) -> float | None:
    """What is told of a finished trial: None if it counts as a failure."""
    feasible = all(number <= 0 for number in getattr(trial, "constraints", {}).values())
    value = trial.value if trial.state == TrialState.COMPLETE and feasible else None
    return value if value is not None and math.isfinite(value) else None

"""Results that a change of the code's form leaves as they are: weights, numbers of seeds, the JSON of each command.

What is pinned is reached through the names of ``import l2l_ref`` and through the command line alone, so that files can
move. The values stand in ``pins.json``, which this file writes when it is run as a script::

    python tests/test_pins.py             # records every pin anew
    python tests/test_pins.py NAME NAME   # these alone

Keys, words, whole numbers and digests are compared exactly. Other numbers may differ by a part of themselves, in a list
of numbers by that part of the largest: `FLOAT64`, or `FLOAT32` where single precision has accumulated. Of times, sizes
of machines and files, rounding errors and sentences for the reader it is only compared that they are there. Tables,
figures, and what needs a data folder are not pinned.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from conftest import SLOW

import l2l_ref as l2l
from l2l_ref.cli import main

FILE = Path(__file__).with_name("pins.json")
FLOAT64, FLOAT32 = 1e-6, 1e-4
DIGITS = 10  # of a number that is recorded
PINS = {}    # {name: (function, tolerance, whether it needs numba, whether it is slow)}

BACKENDS = ("numpy", "numba")
GRADIENT_BASED = ("art-lstm", "cifar-lstm", "digits-lstm", "mnist-lstm", "quadratic-lstm", "quadratic-normal-lstm",
                  "quadratic-sharing-lstm", "general")
BLACK_BOX = tuple(f"{cell}-oi-{dim}" for cell in ("lstm", "dnc") for dim in (1, 2, 3, 4, 6)) + (
    "lstm-ei-2", "lstm-sum-2", "dnc-ei-2", "dnc-sum-2")


def pin(name, tolerance=FLOAT64, numba=False, slow=False):
    """Of a function without arguments: its value, in JSON's types, is pinned."""

    def add(function):
        assert name not in PINS, name
        PINS[name] = function, tolerance, numba, slow
        return function

    return add


def pin_each(name, values, tolerance=FLOAT64):
    """`pin`, of a function of one argument, for each of these; the name of a pin has its argument in it."""

    def add(function):
        for value in values:
            pin(name.format(value), tolerance, numba=value == "numba")(lambda value=value: function(value))
        return function

    return add


# --------------------------------------------------------------------------------- how values are recorded and compared

# Of these only the presence is compared, whatever stands in them.
CHANGING = re.compile(r"(seconds|minutes|(us|ns|ms)_|.*_bytes$|.*_s$|.*gflops|copy_gb|part_of_peak)"
                      r"|(version|numpy|module|equation|message|text|note|notes|folder_problem)$")
WORST = re.compile(r"(name|index|analytic|numeric)$")  # of a right gradient: rounding says which entry is the worst
ROUNDING = re.compile(r"(error|bound|max_error|checked_to|tolerance|widest|taylor_rate)$")


def masked(value, *patterns):
    """The same, with "a number" and "a text" in place of those under a key that one of the patterns matches."""
    if isinstance(value, dict):
        return {key: kinds(item) if any(p.match(key) for p in patterns) else masked(item, *patterns)
                for key, item in value.items()}
    return [masked(item, *patterns) for item in value] if isinstance(value, list) else value


def kinds(value):
    """The structure of a value alone."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    if isinstance(value, list):
        return [kinds(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return "a text" if isinstance(value, str) else "a number"


def plain(value):
    """In JSON's types: arrays as lists, floats with `DIGITS` digits."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def difference(wanted, came, tolerance, path="", size=0.0):
    """Where the two first differ and how, in words, or None. ``size``: of the largest number in the same list."""
    place = path or "the whole"
    if isinstance(wanted, dict) and isinstance(came, dict):
        if wanted.keys() != came.keys():
            lost, new = (", ".join(sorted(a.keys() - b.keys())) or "none" for a, b in ((wanted, came), (came, wanted)))
            return f"{place}: keys that are gone: {lost}; that are new: {new}"
        pairs = [(f"{path}.{key}" if path else key, wanted[key], came[key]) for key in wanted]
    elif isinstance(wanted, list) and isinstance(came, list):
        if len(wanted) != len(came):
            return f"{place}: {len(came)} items, {len(wanted)} were recorded"
        size = max((abs(item) for item in wanted if isinstance(item, float)), default=0.0)
        pairs = [(f"{path}[{k}]", *items) for k, items in enumerate(zip(wanted, came))]
    elif isinstance(wanted, float) and isinstance(came, float):
        near = abs(wanted - came) <= tolerance * max(abs(wanted), size)
        return None if near else f"{place}: {came!r}, {wanted!r} was recorded, and {tolerance:g} of it is allowed"
    else:
        same = type(wanted) is type(came) and wanted == came
        return None if same else f"{place}: {came!r}, {wanted!r} was recorded"
    for way, one, other in pairs:
        found = difference(one, other, tolerance, way, size if isinstance(one, float) else 0.0)
        if found:
            return found
    return None


@contextlib.contextmanager
def somewhere():
    """A new folder to work in, with a cache of its own, no data, and no figures, which take longer than results."""
    before, environment, paths = os.getcwd(), dict(os.environ), list(sys.path)
    drawing = sys.modules.get("matplotlib")
    with tempfile.TemporaryDirectory() as folder:
        try:
            os.chdir(folder)
            os.environ["XDG_CACHE_HOME"] = os.environ["MPLCONFIGDIR"] = str(Path(folder) / "cache")
            os.environ.pop("L2L_REF_DATA", None)
            sys.modules["matplotlib"] = None  # as where it is not installed
            yield
        finally:
            del sys.modules["matplotlib"]
            if drawing is not None:
                sys.modules["matplotlib"] = drawing
            os.environ.clear()
            os.environ.update(environment)
            sys.path[:] = paths
            os.chdir(before)


def warm():
    """The compiled twins look once for a place of their cache: before `somewhere` becomes that place."""
    model, gradient = l2l.load("quadratic-lstm", backend="numba"), np.ones(2, np.float32)
    model.update(gradient, model.init(gradient))


def numba_is_missing():
    """Why it cannot be imported, or None. A compiled twin that fails where numba works is no reason to skip."""
    try:
        import numba  # noqa: F401
    except ImportError as error:
        return str(error)


def value_of(name):
    function, *_ = PINS[name]
    with somewhere():
        return json.loads(json.dumps(plain(function()), allow_nan=False))


# ---------------------------------------------------------------------------------------------- what several pins share


def named_arrays(params, prefix=""):
    """(name, array) of weights, which are dicts, NamedTuples and tuples of arrays; numbers count in plain tuples."""
    if isinstance(params, np.ndarray):
        return [(prefix, params)]
    steps = params if isinstance(params, dict) else getattr(params, "_fields", range(len(params)))
    return [pair for step, part in zip(steps, params.values() if isinstance(params, dict) else params)
            for pair in named_arrays(part, f"{prefix}.{step}" if prefix else str(step))]


def digest_of_arrays(pairs):
    total = hashlib.sha256()
    for name, array in pairs:
        array = np.ascontiguousarray(array)
        total.update(f"{name} {array.dtype} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def digest_of_json(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def statistics(params):
    """Of each array of weights: the mean, the standard deviation, the first three numbers and the last one."""
    return {name: summary(a) for name, a in named_arrays(params)}


def summary(array):
    a = np.asarray(array, np.float64).ravel()
    return [a.mean(), a.std(), *a[:3], a[-1]]


def gradients(steps, shape, dtype=np.float32):
    """Numbers of several sizes."""
    rng = np.random.default_rng(7)
    return (rng.standard_normal((steps, *shape)) * 10.0 ** rng.integers(-4, 2, (steps, *shape))).astype(dtype)


def bowl(x):
    """A function with its minimum off the middle of the cube: x (..., d) -> (...)."""
    x = np.asarray(x, np.float64)
    return ((x - 0.3 - 0.1 * np.arange(x.shape[-1])) ** 2).sum(axis=-1)


def search(optimizer, evaluations):
    """The points that a BlackBoxOptimizer asks for, each told at once."""
    asked = []
    for _ in range(evaluations):
        trial = optimizer.ask()
        asked.append(trial.x.tolist())
        optimizer.tell(trial, float(bowl(trial.x)))
    return asked


def command(*words):
    """What a command leaves with --json: its exit code and its JSON, with cards of shipped optimizers as digests."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = main([*map(str, words), "--json"])
    return {"code": code, "json": masked(with_digests(json.loads(out.getvalue())), CHANGING)}


def with_digests(value):
    """Cards as digests: they have a ``sha256`` of the weights."""
    if isinstance(value, dict):
        if isinstance(value.get("sha256"), str) and "model" in value:
            return {"name": value["name"], "card": digest_of_json(value)}
        return {key: with_digests(item) for key, item in value.items()}
    return [with_digests(item) for item in value] if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------------------- names and weights


@pin("names of functions and classes")
def _():
    return sorted(name for name in dir(l2l) if not name.startswith("_") and callable(getattr(l2l, name)))


@pin("weights")
def _():
    shipped = [(card["name"], card, l2l.load(card["name"])) for card in l2l.models()]
    return {name: {"class": type(model).__name__, "arrays": digest_of_arrays(named_arrays(model.params)),
                   "card": digest_of_json(card), "card of load": digest_of_json(model.card)}
            for name, card, model in shipped}


@pin("files")
def _():
    """Of three optimizers that are saved again: the arrays in the file, by their names there, and the card."""
    digests = {}
    for name in ("mnist-lstm", "lstm-oi-2", "dnc-oi-2"):
        l2l.save(l2l.load(name), "again.npz")
        with np.load("again.npz") as file:
            weights = {key: file[key] for key in sorted(file.files) if file[key].dtype.kind == "f"}
        digests[name] = digest_of_arrays(weights.items())
        assert l2l.load("again.npz").card == l2l.load(name).card
    return digests


@pin("digits")
def _():
    sets = {split: l2l.datasets.load("digits", split) for split in ("train", "validation", "test")}
    return {split: digest_of_arrays([("images", data.images), ("labels", data.labels)]) for split, data in sets.items()}


# ----------------------------------------------------------------------------------------------------- numbers of seeds


@pin_each("updates, {}", BACKENDS, FLOAT32)
def _(backend):
    """Five updates of each shipped gradient-based optimizer, in both precisions."""
    found = {}
    for name in GRADIENT_BASED:
        model = l2l.load(name, backend=backend)
        for dtype in (np.float32, np.float64):
            series = gradients(5, (30,), dtype)
            state, steps = model.init(series[0]), []
            for gradient in series:
                update, state = model.update(gradient, state)
                steps.append(update[:6])
            found[f"{name}, {np.dtype(dtype)}"] = steps
    return found


@pin("an update of a dict", FLOAT32)
def _():
    model = l2l.load("digits-lstm", backend="numpy")
    tree = {"b": gradients(1, (2,))[0], "W": gradients(1, (3, 2))[0]}
    update, state = model.update(tree, model.init(tree))
    update, state = model.update(tree, state)
    return update


@pin("a run of scipy.optimize.minimize", FLOAT32)
def _():
    from scipy.optimize import minimize

    model = l2l.load("quadratic-lstm", backend="numpy")
    result = minimize(lambda x: float(bowl(x)), np.zeros(4), jac=lambda x: 2 * (x - 0.3 - 0.1 * np.arange(4)),
                      method=model.scipy_method, options={"maxiter": 12})
    return {"x": result.x, "value": result.fun, "nit": result.nit, "status": result.status}


@pin("weights that are drawn")
def _():
    models = {"coordinatewise": l2l.CoordinatewiseLSTM((4, 3), 10.0, 0.1, rng=5),
              "lstm": l2l.Proposer(2, 5, rng=5), "linear": l2l.Proposer(2, 5, "linear", rng=5),
              "dnc": l2l.Proposer(2, 5, cell="dnc", memory=(4, 3, 2), rng=5)}
    return {name: {"config": model.config, "weights": statistics(model.params)} for name, model in models.items()}


@pin_each("points of BlackBoxOptimizer, {}", BACKENDS, FLOAT32)
def _(backend):
    """Of each shipped black-box optimizer; of two of them so many that the network starts afresh."""
    return {name: search(l2l.BlackBoxOptimizer([(-1, 2)] * int(name[-1]), name, 0, backend=backend, finish=None),
                         40 if name in ("lstm-oi-2", "dnc-oi-2") else 10) for name in BLACK_BOX}


@pin_each("points of BlackBoxOptimizer in other ways, {}", BACKENDS, FLOAT32)
def _(backend):
    """Whole numbers, log scales, fewer dimensions than the network's, several pending, failures, a state taken up."""
    bounds = [(-3, 8), (1e-3, 10), (0, 1), (0, 1), (2, 9)]
    optimizer = l2l.BlackBoxOptimizer(bounds, "lstm-oi", 3, integers=np.arange(5) == 0, log=np.arange(5) == 1,
                                      backend=backend, finish=None)
    optimizer.tell([1, 0.5, 0.5, 0.5, 3], 2.5)
    for round_ in range(4):
        trials = [optimizer.ask() for _ in range(3)]
        for trial in trials[::-1][: 2 + round_ % 2]:
            optimizer.tell(trial, None if trial.id == 4 else float(bowl(trial.x)))
    optimizer.save("state.json")
    again = l2l.BlackBoxOptimizer.load("state.json", backend=backend)
    given = l2l.BlackBoxOptimizer([(0, 1)] * 2, "lstm-oi", 1, scaling=(1.0, 2.0), backend=backend, finish=None)
    return {"state": optimizer.state_dict(), "next": search(again, 3), "best": again.best[1],
            "pending": [trial.id for trial in again.pending], "given scaling": search(given, 6)}


@pin("minimize", FLOAT32)
def _():
    branin, found = l2l.black_boxes.BENCHMARKS["branin"], {}
    kept = ("x", "fun", "nfev", "nit", "success", "status", "failures", "log")
    for model in ("lstm-oi", "dnc-oi"):
        result = l2l.minimize(lambda x: float(branin(x)), branin.bounds, 20, model, 0, x0=[1.0, 1.0], backend="numpy",
                              finish=None)
        found[model] = {name: result[name] for name in kept}
    many = l2l.minimize_many(bowl, [(0, 1)] * 3, 3, 8, "lstm-oi", 0, backend="numpy")
    found["many"] = {name: many[name] for name in ("x", "fun", "history", "nfev", "nit", "success", "status")}
    return found


def trained(problem, backend, model=None, **recipe):
    """A tiny `meta_train`: weights and log."""
    start = l2l.CoordinatewiseLSTM(**{"hidden": (4, 3), "rng": 1} | (model or {}), backend=backend)
    sizes = {"steps": 6, "unroll": 3, "epochs": 2, "tasks": 2, "functions": 4, "validation_functions": 5}
    model, log = l2l.meta_train(start, problem, seed=2, **sizes | recipe)
    return {"weights": statistics(model.params), "log": masked(log, CHANGING)}


@pin_each("meta_train, {}", BACKENDS, FLOAT32)
def _(backend):
    quadratic = l2l.optimizees.Quadratic(5)
    return {
        "quadratic": trained(quadratic, backend),
        "normal": trained(l2l.optimizees.Quadratic(3, distribution="normal"), backend, {"preprocess": 10.0},
                          judge="sum", boundary_term=True, averaging=0.9),
        "coordinates": trained(quadratic, backend, coordinates=7),
        "second derivatives": trained(quadratic, backend, {"hidden": (3,)}, second_derivatives=True),
        "digits": trained(l2l.optimizees.MLP("digits", (2,), batch=8), backend,
                          {"preprocess": 10.0, "output_scale": 0.1}, functions=2, coordinates=50),
    }


class Family:
    """Draws of a Gaussian process, for `meta_train_black_box`."""

    dim, config = 2, {"problem": "pinned"}
    gp_arguments = {"length_scale": np.float32(0.3), "variance": 1.0, "noise": 0.01, "covariance": "matern52"}

    def sample(self, functions, steps, seed, dtype=np.float32):
        z, epsilon = np.random.default_rng(seed).standard_normal((2, functions, steps), dtype)
        return z, epsilon, None


def trained_search(backend, model=None, **recipe):
    """A tiny `meta_train_black_box`: weights and log."""
    start = l2l.Proposer(2, 5, "linear", rng=1, **model or {})
    sizes = {"epochs": 2, "updates": 2, "functions": 4, "steps": 5, "first_steps": 3, "validation_functions": 6,
             "workers": 2, "parallel": 0.5}
    proposer, log = l2l.meta_train_black_box(start, Family(), 3, backend=backend, **sizes | recipe)
    return {"weights": statistics(proposer.params), "log": masked(log, CHANGING)}


@pin_each("meta_train_black_box, {}", BACKENDS, FLOAT32)
def _(backend):
    return {"lstm": trained_search(backend), "dnc": trained_search(backend, {"cell": "dnc", "memory": (4, 3, 2)}),
            "ei": trained_search(backend, loss="ei", through_incumbent=False),
            "sum": trained_search(backend, loss="sum", judge="final")}


@pin("draws of quadratics and networks", FLOAT32)
def _():
    optimizees, found = l2l.optimizees, {}
    for name, problem in {"uniform": optimizees.Quadratic(), "normal": optimizees.Quadratic(4, "normal", 0.1),
                          "digits": optimizees.MLP("digits", (3,), batch=16),
                          "relu": optimizees.MLP("digits", (3, 2), "relu", "test", 16, 0.3)}.items():
        task = problem.sample(3, 0)
        losses, slopes = task.loss_and_gradient(task.theta0)
        again, slopes_again, product = task.second_order(task.theta0)
        found[name] = {"config": problem.config, "theta0": [summary(row) for row in task.theta0], "losses": losses,
                       "gradients": [summary(row) for row in slopes], "losses again": again,
                       "gradients again": [summary(row) for row in slopes_again],
                       "product": [summary(row) for row in product(np.ones_like(task.theta0))]}
    task = optimizees.Quadratic().sample(3, 0, np.float64)
    return found | {"W": [summary(W) for W in task.W], "y": task.y, "theta0": task.theta0}


@pin("draws of black boxes")
def _():
    boxes, found = l2l.black_boxes, {}
    rng = np.random.default_rng(3)
    for dim in (1, 2, 3):
        x = rng.random((4, 3, dim))
        for name, functions in {"paths": boxes.GPPaths(3, dim, 0), "queries": boxes.GPFunctions(3, dim, 4, 0),
                                "noise": boxes.GPFunctions(3, dim, 4, 0, 0.4, 2.0, 0.1, "matern32", first=5)}.items():
            found[f"{name}, {dim}"] = [functions(points) for points in x]
    found["minima"] = boxes.GPPaths(3, 2, 0).minima()
    for box in (*boxes.BENCHMARKS.values(), boxes.REPELLERS):
        u = rng.random((3, box.dim))
        moved = boxes.transformed(box, boxes.draw_transform(box.dim, 4))
        found[box.name] = {"bounds": box.bounds, "minimum": box.minimum, "values": box(box.from_unit(u)),
                           "moved": moved(box.from_unit(u)), "its minimum": moved.minimum}
    return found


@pin("updates of hand-designed optimizers")
def _():
    found, series = {}, gradients(4, (5,), np.float64)
    for name, kind in l2l.baselines.OPTIMIZERS.items():
        optimizer = kind(0.1)
        state, found[name] = optimizer.init(series[0]), []
        for gradient in series:
            update, state = optimizer.update(gradient, state)
            found[name].append(update)
    return found


@pin("points of hand-designed searches", FLOAT32)
def _():
    """Expected improvement looks for its maximum by steps that stop early, hence the tolerance."""
    baselines, found = l2l.baselines, {}
    for search_ in (baselines.RandomSearch(2, 2, 0), baselines.Sobol(2, 2, 0, first=3),
                    baselines.ExpectedImprovement(2, 2, 0, length_scale=0.3),
                    baselines.IntegratedExpectedImprovement(2, 2, 0, samples=3)):
        asked = found[search_.name] = []
        x = np.array([[0.15, 0.6], [0.9, 0.25]])  # so that no two places are alike
        search_.tell(x, bowl(x))
        for _ in range(5):
            x = search_.ask()
            asked.append(x)
            search_.tell(x, bowl(x))
    return found


def layer(x, W, b):
    return np.tanh(x @ W + b)


def layer_backward(d_y, x, W, b):
    d_a = d_y * (1 - layer(x, W, b) ** 2)
    return d_a @ W.T, x.T @ d_a, d_a.sum(axis=0)


def wrong_backward(d_y, x, W, b):
    d_x, d_W, d_b = layer_backward(d_y, x, W, b)
    return d_x, d_W, d_b / len(x)


def layer_inputs():
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 3)), rng.normal(size=(3, 4)), rng.normal(size=4)


@pin("gradcheck")
def _():
    """The verdicts, and where, by how much and how a wrong gradient is wrong."""
    found = {}
    for name, backward in (("right", layer_backward), ("wrong", wrong_backward)):
        for method in ("auto", "central"):
            report = l2l.gradcheck(layer, backward, layer_inputs(), method=method)
            found[f"{name}, {method}"] = {
                "verdict": report.verdict, "method": report.method, "evaluations": report.evaluations,
                "entries": [[e.path, e.count, e.verdict, e.wrong] for e in report.entries],
                "wrong": [[*e.index, e.analytic, e.numeric, e.error] for e in report.entries if not e.ok],
                "guesses": [[guess.path, guess.pattern] for guess in report.guesses],
            }
    with pytest.raises(AssertionError):
        l2l.assert_gradients(layer, wrong_backward, layer_inputs())
    l2l.assert_gradients(layer, layer_backward, layer_inputs())
    return found


# --------------------------------------------------------------------------------------------- the JSON of each command


@pin_each("command compare {}", ("quadratic", "digits"), FLOAT32)
def _(problem):
    return command("compare", problem, "--functions", 3, "--steps", 2, "--backend", "numpy")


@pin("command compare gp", FLOAT32)
def _():
    return command("compare", "gp", "--dim", "1,2", "--model", "lstm-oi", "--model", "dnc-oi", "--functions", 3,
                   "--evaluations", 5, "--baseline-functions", 2)


@pin("command compare benchmarks", FLOAT32)
def _():
    return command("compare", "benchmarks", "--functions", 3, "--evaluations", 4)


@pin("command compare repellers", FLOAT32)
def _():
    return command("compare", "repellers", "--functions", 2, "--evaluations", 3, "--baseline-functions", 1)


TRAIN = ("--epochs", 2, "--functions", 2, "--hidden", 3, "--backend", "numpy", "--output", "out.npz")


def train(*words):
    """What a training prints, and the weights and the card that it writes."""
    result = command("train", *words, *TRAIN)
    written = l2l.load("out.npz", backend="numpy")
    card = {key: value for key, value in written.card.items() if key != "sha256"}
    return result | {"weights": statistics(written.params), "card": masked(card, CHANGING)}


@pin("command train quadratic", FLOAT32)
def _():
    return train("quadratic", "--tasks", 1, "--steps", 4, "--unroll", 2)


@pin("command train digits", FLOAT32)
def _():
    return train("digits", "--tasks", 1, "--steps", 2, "--unroll", 1, "--coordinates", 40, "--judge", "final")


SEARCH = ("--dim", 2, "--updates", 2, "--steps", 4, "--first-steps", 2)


@pin("command train gp", FLOAT32)
def _():
    return train("gp", *SEARCH, "--workers", 2, "--parallel", 0.5)


@pin("command train gp with a dnc", FLOAT32)
def _():
    return train("gp", *SEARCH, "--cell", "dnc", "--memory", "3,3,1", "--loss", "ei", "--constant-incumbent")


@pin("command train support", FLOAT32)
def _():
    return train("support", *SEARCH, "--output-map", "sigmoid")


@pin("command models")
def _():
    return command("models")


@pin("command minimize", FLOAT32)
def _():
    with functions("def bowl(x):\n    return float(((x - 1) ** 2).sum()) if x[0] < 9 else float('nan')\n") as module:
        return command("minimize", f"{module}:bowl", "--bounds", "-5,10", "--bounds", "1,1e3", "--integer", 0,
                       "--log", 1, "--evaluations", 8, "--backend", "numpy")


@pin("command audit")
def _():
    result = command("audit", "--only", "lstm_cell")
    return masked(result, ROUNDING)


@pin("command gradcheck")
def _():
    np.savez("inputs.npz", **dict(zip("xWb", layer_inputs())))
    source = ("import numpy as np\n\ndef layer(x, W, b):\n    return np.tanh(x @ W + b)\n\n"
              "def right(d_y, x, W, b):\n    d_a = d_y * (1 - layer(x, W, b) ** 2)\n"
              "    return d_a @ W.T, x.T @ d_a, d_a.sum(axis=0)\n\n"
              "def wrong(d_y, x, W, b):\n    d_x, d_W, d_b = right(d_y, x, W, b)\n    return d_x, d_W, -d_b\n")
    found = {}
    with functions(source) as module:
        for name in ("right", "wrong"):
            result = command("gradcheck", f"{module}:layer", f"{module}:{name}", "--inputs", "inputs.npz")
            entries = [masked(entry, WORST) if entry["verdict"] == "PASS" else entry
                       for entry in result["json"]["entries"]]
            found[name] = masked(result | {"json": result["json"] | {"entries": entries}}, ROUNDING)
    return found


@contextlib.contextmanager
def functions(source):
    """The name of a module of this source, in the current folder."""
    name = "l2l_ref_pinned_functions"
    Path(f"{name}.py").write_text(source, encoding="utf-8")
    sys.modules.pop(name, None)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        yield name
    finally:
        sys.dont_write_bytecode = before
        sys.modules.pop(name, None)
        sys.path_importer_cache.pop(os.getcwd(), None)


@pin("command data")
def _():
    result = command("data")
    return result | {"json": masked(result["json"], re.compile("problem$"))}


BENCH = {
    "meta-gradient": ("--coordinates", 70, "--steps", 3, "--hidden", "4,3", "--threads", 1),
    "update": ("--coordinates", "1,300", "--threads", 1),
    "suggest": ("--dim", 2, "--past", "1,3"),
    "gp": ("--batch", 3, "--steps", 4, "--threads", 1),
    "dnc": ("--batch", 3, "--steps", 4, "--hidden", 4, "--memory", "3,3,1", "--threads", 1),
    "train": ("--batch", 3, "--steps", 4),
    "start-up": (),
}
PEERS = re.compile("torch|adam-torch|jax|optuna|hyperopt|skopt|scikit|smac")  # only where they are installed


def bench(work):
    """The keys at the top, and the names of the implementations with the keys of their rows."""
    result = command("bench", work, *BENCH[work], "--rounds", 1)
    rows = {" ".join(str(row[key]) for key in ("model", "implementation") if row.get(key)): sorted(row)
            for row in result["json"].pop("rows")}
    return {"code": result["code"], "keys": sorted(result["json"]),
            "rows": {name: keys for name, keys in rows.items() if not PEERS.match(name)}}


for _work in BENCH:
    pin(f"command bench {_work}", numba=True, slow=_work in ("train", "start-up"))(lambda work=_work: bench(work))


# ------------------------------------------------------------------------------------------------------------ the tests


@pytest.fixture(scope="module")
def recorded():
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", autouse=True)
def kernels():
    if numba_is_missing() is None:
        warm()


@pytest.mark.parametrize("name", PINS)
def test_pin(name, recorded):
    _, tolerance, numba, slow = PINS[name]
    if slow and not SLOW:
        pytest.skip("slow: asked for by the variable L2L_REF_SLOW")
    if numba and numba_is_missing():
        pytest.skip(f"it is of numba, which cannot be imported: {numba_is_missing()}")
    found = difference(recorded[name], value_of(name), tolerance)
    assert found is None, f"{name}: {found}"


def test_every_pin_is_recorded_and_none_is_left_over(recorded):
    assert recorded.keys() == PINS.keys()


@pytest.mark.parametrize("came, where", [
    ({"a": [1.0, 2.0], "b": {"c": "x"}}, None),
    ({"b": {"c": "x"}, "a": [1.0 + 1e-7, 2.0]}, None),
    ({"a": [1.0, 2.1], "b": {"c": "x"}}, "a[1]: 2.1, 2.0 was recorded"),
    ({"a": [1.0, 2], "b": {"c": "x"}}, "a[1]: 2, 2.0 was recorded"),
    ({"a": [1.0], "b": {"c": "x"}}, "a: 1 items, 2 were recorded"),
    ({"a": [1.0, 2.0], "b": {"d": "x"}}, "b: keys that are gone: c; that are new: d"),
    ({"a": [1.0, 2.0], "b": {"c": None}}, "b.c: None, 'x' was recorded"),
    ([], "the whole: [], {"),
])
def test_a_difference_is_named(came, where):
    found = difference({"a": [1.0, 2.0], "b": {"c": "x"}}, came, FLOAT64)
    assert (found is None) == (where is None) and (where is None or found.startswith(where))


def record(names):
    """Write ``pins.json``: these pins, or all of them, anew; one line for each."""
    warm()
    values = json.loads(FILE.read_text(encoding="utf-8")) if names else {}
    values |= {name: value_of(name) for name in names or PINS}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values[name])}" for name in PINS if name in values)
    FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    record(sys.argv[1:])

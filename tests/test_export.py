"""Exported optimizers: each target computes what the package does, and its self-test says so."""

import copy
import json
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.cli import main
from l2l_ref.exporting.description import describe
from l2l_ref.exporting.reference import STEPS, NetworkSearch, gradients, value_at
from l2l_ref.exporting.writers import SUFFIXES, TARGETS, WRITERS
from l2l_ref.search.box import Symmetry

GCC, NODE = shutil.which("gcc"), shutil.which("node")
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-x", "c"]
SHIPPED = [model["name"] for model in l2l.models()]


def module_of(text):
    module = types.ModuleType("exported")
    exec(compile(text, "exported.py", "exec"), module.__dict__)
    return module


def self_test(text, to, folder, *options):
    """Run the self-test of a file as a user would; return what it prints."""
    path = folder / f"exported{SUFFIXES[to]}"
    path.write_text(text, "utf-8")
    if to == "c":
        if not GCC:
            pytest.skip("there is no gcc")
        compiled = subprocess.run([GCC, *STRICT, *options, "-DL2L_TEST", str(path), "-lm", "-o", str(folder / "test")],
                                  capture_output=True, text=True)
        assert compiled.returncode == 0, compiled.stderr
        command = [str(folder / "test")]
    elif to == "js":
        if not NODE:
            pytest.skip("there is no node")
        command = [NODE, str(path), "test"]
    else:
        command = [sys.executable, *(["-S"] if to == "python" else []), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_pass_their_self_test(name, to, tmp_path):
    text = l2l.export(name, to, part="conv" if name == "cifar-lstm" else None)
    said = self_test(text, to, tmp_path, "-fsanitize=address,undefined", "-fno-sanitize-recover")
    assert float(said.split()[-1]) <= 1e-12


@pytest.mark.parametrize("to", TARGETS)
def test_nan_is_never_a_pass(to, tmp_path):
    text = l2l.export(l2l.CoordinatewiseLSTM(hidden=(2,), rng=1), to)
    scale, nan = {"c": ("L2L_SCALE 1.0", "L2L_SCALE NAN"), "js": ("SCALE = 1.0", "SCALE = NaN")}.get(
        to, ("SCALE = 1.0", 'SCALE = float("nan")'))
    assert text.count(scale) == 1
    with pytest.raises(AssertionError, match="largest difference"):
        self_test(text.replace(scale, nan), to, tmp_path)


@pytest.mark.parametrize("name", ["mnist-lstm", "general", "lstm-any", "dnc-oi-2"])
def test_c_in_single_precision(name, tmp_path):
    said = self_test(l2l.export(name, "c"), "c", tmp_path, "-DL2L_REAL=float")
    assert 1e-12 < float(said.split()[-1]) < 1e-5  # rounded indeed


@pytest.mark.parametrize("to", TARGETS)
def test_a_self_test_notices_a_wrong_equation(to, tmp_path):
    text = l2l.export(l2l.CoordinatewiseLSTM(hidden=(2,), rng=1), to)
    right, wrong = {
        "numpy": ("np.tanh(a_g)", "np.cos(a_g)"), "js": ("Math.tanh(a[2", "Math.cos(a[2"),
        "python": ("tanh(v) for v in a[2", "exp(v) for v in a[2"),
        "c": ("= l2l_tanh_near(a[j])", "= (l2l_real)cos(a[j])"),
    }[to]
    assert text.count(right) == 1
    with pytest.raises(AssertionError, match="largest difference"):
        self_test(text.replace(right, wrong), to, tmp_path)


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name, tag", [
    ("general", "C19"), ("quadratic-sharing-lstm", "C10"), ("lstm-oi-2", "Y1"), ("lstm-any", "L4"), ("dnc-oi-2", "W7"),
])
def test_a_self_test_notices_a_flipped_sign(name, tag, to, tmp_path):
    lines = l2l.export(name, to).splitlines(keepends=True)
    at = next(k for k, line in enumerate(lines) if re.search(rf"\b{tag}\b", line) and " + " in line)
    lines[at] = lines[at].replace(" + ", " - ", 1)
    with pytest.raises(AssertionError, match="largest difference"):
        self_test("".join(lines), to, tmp_path)


@st.composite
def models(draw):
    hidden = draw(st.lists(st.integers(1, 9), max_size=3))
    kind = draw(st.sampled_from([l2l.CoordinatewiseLSTM, l2l.CoordinatewiseRNN]))
    model = kind(hidden, draw(st.sampled_from([None, 1.0, 10.0])), draw(st.sampled_from([1.0, -0.1, 3.0])),
                 rng=draw(st.integers(0, 99)), backend="numpy")
    single = type(model.params)(tuple(type(layer)(*(a.astype(np.float32) for a in layer))
                                      for layer in model.params.layers), model.params.W.astype(np.float32),
                                model.params.b.astype(np.float32))
    return model.with_params(single)


HARD = [0.0, -0.0, 1e-300, np.exp(-10.0), -np.exp(-1.0), 1e300, np.nan, np.inf, -np.inf, 0.3]


@given(model=models(), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=30)
def test_numpy_is_the_package_bit_for_bit(model, dtype):
    exported, rng = module_of(l2l.export(model)), np.random.default_rng(0)
    theta = np.zeros((5, 2), dtype)
    ours, theirs = exported.init(theta), model.init(theta)
    for t in range(20):
        gradient = rng.normal(0, 1, theta.shape) if t % 5 else rng.permutation(HARD).reshape(theta.shape)
        with np.errstate(over="ignore"):
            gradient = gradient.astype(dtype)
        before = gradient.copy()
        got, ours = exported.update(gradient, ours)
        expected, theirs = model.update(gradient, theirs)
        assert got.dtype == dtype and np.array_equal(gradient, before, equal_nan=True)
        np.testing.assert_array_equal(got, expected)
        for a, b in zip(ours, theirs.layers, strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)


@st.composite
def moments(draw):
    """A MomentsMLP with weights in float32, and parameters for it."""
    model = l2l.MomentsMLP(draw(st.integers(1, 9)), rng=draw(st.integers(0, 99)), backend="numpy")
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    model = model.with_params(type(model.params)(*(rng.normal(0, 0.5, a.shape).astype(np.float32)
                                                   for a in model.params)))
    shapes = draw(st.lists(st.sampled_from([(3,), (2, 2), (1,), (), (0,), (2, 1, 3)]), min_size=1, max_size=4))
    return model, [rng.normal(0, draw(st.sampled_from([0.0, 1.0])), shape) for shape in [*shapes, (2, 3)]]


def hard_gradients(theta, rng, t):
    """Gradients like theta, every fifth time with entries that are held, tiny or huge."""
    return [np.asarray(rng.normal(0, 1, a.shape) if t % 5 else rng.choice([*HARD, 1e160], a.shape)) for a in theta]


@given(drawn=moments(), steps=st.sampled_from([None, 5, 30]), dtype=st.sampled_from([np.float32, np.float64]))
@settings(max_examples=30, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_numpy_is_the_package_bit_for_bit_on_arrays(drawn, steps, dtype):
    (model, theta), rng = drawn, np.random.default_rng(0)
    theta = [a.astype(dtype) for a in theta]
    exported = module_of(l2l.export(model))
    ours, theirs = exported.init(theta, steps or np.inf), model.init(theta, steps=steps)
    for t in range(20):
        with np.errstate(over="ignore"):
            gradients_ = [a.astype(dtype) for a in hard_gradients(theta, rng, t)]
        got, ours = exported.update(gradients_, ours)
        expected, theirs = model.update(gradients_, theirs)
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == dtype and a.shape == b.shape
            np.testing.assert_array_equal(a, b)


@given(drawn=moments(), steps=st.sampled_from([None, 5, 30]))
@settings(max_examples=20, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_python_is_the_package_on_arrays(drawn, steps):
    (model, theta), rng = drawn, np.random.default_rng(0)
    exported = module_of(l2l.export(model, "python"))
    ours = exported.init([a.ravel().tolist() for a in theta], [a.ndim > 1 for a in theta], steps or np.inf)
    theirs = model.init(theta, steps=steps)
    for t in range(20):
        gradients_ = [rng.normal(0, 1, a.shape) for a in theta]
        if t % 5 == 3:
            gradients_[-1][0, 0], gradients_[-1][1, 1] = np.nan, 1e200
        got, ours = exported.update([np.ravel(a).tolist() for a in gradients_], ours)
        expected, theirs = model.update(gradients_, theirs)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, np.ravel(b), rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(not GCC, reason="there is no gcc")
@given(drawn=moments())
@settings(max_examples=5, deadline=None)
def test_c_is_the_package_on_arrays(tmp_path_factory, drawn):
    self_test(l2l.export(drawn[0], "c"), "c", tmp_path_factory.mktemp("c"), "-fsanitize=address,undefined")


@given(model=models())
@settings(max_examples=20)
def test_python_is_the_package(model):
    exported = module_of(l2l.export(model, "python"))
    ours, theirs = exported.init(10), model.init(np.zeros(10))
    for row in np.tile(HARD, (10, 1)) * np.linspace(0.1, 1, 10)[:, None]:
        got, ours = exported.update(row.tolist(), ours)
        expected, theirs = model.update(row, theirs)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))


@st.composite
def sharing(draw):
    """A SharingLSTM with weights in float32."""
    hidden = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    model = l2l.SharingLSTM(draw(st.sampled_from(["average", "bfgs", "l-bfgs"])), hidden,
                            draw(st.sampled_from([None, 1.0, 10.0])), draw(st.sampled_from([1.0, -0.1])),
                            averaged=draw(st.integers(0, min(hidden))), window=draw(st.integers(3, 7)),
                            rng=draw(st.integers(0, 99)), backend="numpy")
    return model.with_params(model.params_as(np.float32))


@given(model=sharing(), dtype=st.sampled_from([np.float32, np.float64]), n=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_numpy_is_the_package_bit_for_bit_when_coordinates_share(model, dtype, n):
    exported, rng = module_of(l2l.export(model)), np.random.default_rng(0)
    theta = np.zeros((n, 1), dtype)
    ours, theirs = exported.init(theta), model.init(theta)
    for t in range(20):
        gradient = rng.normal(0, 1, theta.shape).astype(dtype)
        gradient[0] = gradient[0] if t % 5 else np.nan
        got, ours = exported.update(gradient, ours)
        expected, theirs = model.update(gradient, theirs)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)
        for a, b in zip(ours[0], theirs.network.layers, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("to", ["python", "js"])
@pytest.mark.parametrize("share", ["average", "bfgs", "l-bfgs"])
def test_each_memory_passes_its_self_test(share, to, tmp_path):
    self_test(l2l.export(l2l.SharingLSTM(share, (4, 3), 10.0, averaged=2, window=5, rng=2), to), to, tmp_path)


@pytest.mark.skipif(not GCC, reason="there is no gcc")
@given(model=st.one_of(models(), sharing()))
@settings(max_examples=16, deadline=None)
def test_c_is_the_package(tmp_path_factory, model):
    self_test(l2l.export(model, "c"), "c", tmp_path_factory.mktemp("c"), "-fsanitize=address,undefined")


@st.composite
def proposers(draw):
    """A Proposer with weights in float32, and how many dimensions it is for."""
    cell, d = draw(st.sampled_from(["lstm", "dnc", "shared"])), draw(st.integers(1, 4))
    memory = [draw(st.integers(1, 4)) for _ in range(3)] if cell == "dnc" else None
    drawn = l2l.Proposer(None if cell == "shared" else d, draw(st.integers(1, 9)),
                         draw(st.sampled_from(["linear", "sigmoid"])), cell=cell, memory=memory,
                         rng=draw(st.integers(0, 99)))
    model = l2l.Proposer(drawn.dim, drawn.hidden, drawn.output, cell=cell, memory=memory,
                         params=drawn.params_as(np.float32), backend="numpy")
    steps, pairs = draw(st.integers(1, 40)), [[0.1, 0.5], [-0.5, 0.8], [-1.0, 0.9]]
    dims = [1, 3] if cell == "shared" else d
    model.card = draw(st.sampled_from([None, {"recipe": {"steps": steps}, "problem": {"dim": dims}, "moments": [
        pairs, pairs[:2]] if cell == "shared" else pairs}]))
    return model, d


def values_for(rng, kind):
    """A function of query number t that is told: ordinary, skewed, with failures, with penalties, or all the same."""
    skewed = kind == "skewed"

    def tell(t, x):
        if kind != "flat" and rng.random() < 0.2:
            return float(rng.choice([np.nan, np.inf, -np.inf, 1e9, 1e9, 1e300, -1e-300] if kind == "hard" else [0.5]))
        return 1.0 if kind == "flat" else float(np.exp(8 * skewed * np.sum((x - 0.3) ** 2)) * (1 + rng.random()))

    return tell


@given(drawn=proposers(), kind=st.sampled_from(["plain", "skewed", "hard", "flat"]), seed=st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_a_numpy_search_is_the_package_bit_for_bit(drawn, kind, seed):
    (model, d), rng = drawn, np.random.default_rng(seed)
    ours, theirs = module_of(l2l.export(model)).Search(d, seed), NetworkSearch(model, d, seed)
    tell = values_for(rng, kind)
    for t in range(70):
        x = ours.ask()
        np.testing.assert_array_equal(x, theirs.ask())
        np.testing.assert_array_equal(x, ours.ask())
        value = tell(t, x)
        ours.tell(value)
        theirs.tell(value)
        if t == 40:
            ours = copy.deepcopy(ours)


@given(drawn=proposers(), kind=st.sampled_from(["plain", "skewed", "hard", "flat"]), seed=st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_a_python_search_is_the_package_and_its_state_is_json(drawn, kind, seed):
    (model, d), rng = drawn, np.random.default_rng(seed)
    exported = module_of(l2l.export(model, "python"))
    ours, theirs = exported.Search(d, seed), NetworkSearch(model, d, seed)
    tell = values_for(rng, kind)
    for t in range(40):
        x = ours.ask()
        np.testing.assert_allclose(x, theirs.ask(), rtol=0, atol=1e-9)
        value = tell(t, np.array(x))
        ours.tell(value)
        theirs.tell(value)
        if t % 7 == 3:
            state, ours = json.dumps(vars(ours), allow_nan=False), exported.Search(d)
            vars(ours).update(json.loads(state))


@pytest.mark.skipif(not GCC, reason="there is no gcc")
@given(drawn=proposers())
@settings(max_examples=8, deadline=None)
def test_a_search_in_c_is_the_package(tmp_path_factory, drawn):
    self_test(l2l.export(drawn[0], "c"), "c", tmp_path_factory.mktemp("c"), "-fsanitize=address,undefined")


@pytest.mark.skipif(not NODE, reason="there is no node")
@pytest.mark.parametrize("name", ["lstm-oi-2", "lstm-any", "dnc-oi-2"])
def test_the_state_of_a_search_in_js_is_json(name, tmp_path):
    l2l.export(name, "js", tmp_path / "exported.mjs")
    (tmp_path / "twice.mjs").write_text("""
        import { Search } from "./exported.mjs";
        const one = new Search(2, 7);
        let other = new Search(2, 7);
        for (let t = 0; t < 80; t++) {
          const x = one.ask();
          if (JSON.stringify(x) !== JSON.stringify(other.ask())) throw new Error("step " + t);
          for (const search of [one, other]) search.tell(t % 9 === 5 ? NaN : (x[0] - 0.2) ** 2 + x[1]);
          other = Search.from(JSON.parse(JSON.stringify(other)));
        }
        for (const d of [0, 1.5, "2"]) {
          let refused = false;
          try { new Search(d); } catch (error) { refused = error instanceof RangeError; }
          if (!refused) throw new Error("not refused: " + d);
        }
    """, "utf-8")
    done = subprocess.run([NODE, str(tmp_path / "twice.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["lstm-oi-2", "lstm-any", "dnc-oi-2"])
def test_a_search_of_the_reference_is_that_of_the_black_box_optimizer(name, monkeypatch):
    class Oriented(Symmetry):
        def __init__(self, rng, dim):
            self._sign, self._offset = 1 - 2 * ours._flip, ours._flip
            self._order, self._inverse = ours._order, np.argsort(ours._order)

    monkeypatch.setattr("l2l_ref.search.optimizer.Symmetry", Oriented)
    monkeypatch.setattr("l2l_ref.search.optimizer.replacement", lambda *_: None)
    ours = NetworkSearch(l2l.load(name, backend="numpy"), 2, seed=3)
    theirs = l2l.BlackBoxOptimizer([(0, 1)] * 2, name, backend="numpy", finish=None)
    for t in range(60):  # in single precision
        x, trial = ours.ask(), theirs.ask()
        np.testing.assert_allclose(trial.x, x, rtol=0, atol=2e-3)
        ours.tell(value_at(t, x))
        theirs.tell(trial, value_at(t, x))


def test_the_first_seeds_see_the_square_in_all_its_orientations():
    Search = module_of(l2l.export("lstm-any")).Search
    assert len({(*Search(2, seed).flip, *Search(2, seed).order) for seed in range(16)}) == 8


@pytest.mark.parametrize("name", ["lstm-oi-1", "lstm-oi-2", "lstm-any", "dnc-oi-2"])
def test_the_self_test_reaches_every_part_of_a_search(name):
    search = module_of(l2l.export(name)).Search(seed=7)
    bends, limits, orientations = set(), set(), set()
    for t in range(STEPS):
        x = search.ask()
        search.tell(value_at(t, x))
        bends.add(search.scale[5] < np.inf)
        limits.add(search.limit < 1e6)
        orientations.add((*search.flip, *search.order))
    assert bends == {False, True} and True in limits and len(orientations) > 1 and np.isnan(search.values).any()


@given(model=models())
@settings(max_examples=20)
def test_weights_are_the_float32_ones_exactly(model):
    exported = module_of(l2l.export(model, "python"))
    for layer, ours in zip(exported.LAYERS, model.params.layers, strict=True):
        for a, b in zip(layer, ours, strict=True):
            assert a.typecode == "f" and a.tolist() == b.ravel().tolist()
    assert exported.W.tolist() == model.params.W.ravel().tolist()


def test_the_self_test_reaches_both_branches_of_preprocessing():
    small = np.abs(gradients()) < np.exp(-10)
    assert small.any() and not small.all() and (gradients() < 0).any() and (gradients() > 0).any()


@pytest.mark.parametrize("to, most", [("numpy", 120), ("python", 120), ("js", 120), ("c", 155)])
def test_it_is_short(to, most):
    lines = l2l.export("mnist-lstm", to).splitlines()
    beside = len(lines) - len(WRITERS[to](describe("mnist-lstm"))["data"])  # beside the weights, and what is expected
    assert beside <= most and not any(line != line.rstrip() for line in lines)


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name", ["quadratic-lstm", "quadratic-sharing-lstm", "general", "lstm-oi-2", "lstm-any",
                                  "dnc-oi-2"])
def test_no_line_is_long(name, to):
    assert max(map(len, l2l.export(name, to).splitlines())) <= 120


def test_tags_stand_on_their_lines():
    for to in TARGETS:
        text = l2l.export("mnist-lstm", to)
        for tag in ("P1", "P2", "A1", "L1", "L2", "L3", "L4", "L5", "C2", "C3"):
            assert f" {tag}" in text, (to, tag)


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("name, tags", [
    ("general", [f"C{k}" for k in range(16, 25)]),
    ("quadratic-sharing-lstm", [f"C{k}" for k in range(10, 16)]),
    ("lstm-oi-2", ["X1", "X2", "X3", "X4", "Y1", "Y2"]),
    ("lstm-any", ["X8", "X9", "X10", "X11"]),
    ("dnc-oi-2", [*(f"W{k}" for k in range(1, 11)), "A4", "A6", "J1", "J3", "J5", "Z1", "Z2", "Z3", "Z5"]),
])
def test_the_tags_of_other_models_stand_on_their_lines(name, tags, to):
    text = l2l.export(name, to)
    for tag in tags:
        assert re.search(rf"\b{tag}\b", text), tag


def test_the_card_and_the_licence_are_in_the_header():
    for to in TARGETS:
        head = " ".join(l2l.export("mnist-lstm", to)[:4000].split())
        assert "MIT License" in head and l2l.load("mnist-lstm").card["sha256"] in head


def test_the_command_writes_a_file(tmp_path, capsys):
    assert main(["export", "quadratic-lstm", "--to", "c", "--output", str(tmp_path / "q.h"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["to"] == "c" and said["bytes"] == (tmp_path / "q.h").stat().st_size


@pytest.mark.parametrize("words, why", [
    (["nothing"], "name: expected"),
    (["cifar-lstm"], "part: expected one of conv, fc"), (["mnist-lstm", "--part", "fc"], "part: expected None"),
    (["mnist-lstm", "--output", "/nowhere/file.py"], "there is no folder"),
])
def test_bad_input_is_one_line(words, why, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and why in lines[0] and not list(tmp_path.iterdir())


def test_a_name_in_a_card_cannot_leave_the_header(tmp_path):
    model = l2l.CoordinatewiseLSTM(hidden=(1,))
    model.card = {"name": 'evil */ """ \\', "command": 'x */ """ \\u1 \n#error'}
    for to in TARGETS:
        self_test(l2l.export(model, to), to, tmp_path)
    assert ROOT.is_dir()

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

GCC, GXX, NODE = shutil.which("gcc"), shutil.which("g++"), shutil.which("node")
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


KINDS = ["quadratic-lstm", "quadratic-sharing-lstm", "general", "lstm-oi-2", "lstm-any", "dnc-oi-2"]


@pytest.mark.skipif(not GXX, reason="there is no g++")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("options", [["-std=gnu++11"], ["-std=c++17", "-pedantic"]])
def test_the_c_header_is_cpp_as_well(name, options, tmp_path):
    l2l.export(name, "c", tmp_path / "exported.h")
    built = subprocess.run([GXX, *options, "-Wall", "-Wextra", "-Werror", "-DL2L_TEST", "-x", "c++", "exported.h",
                            "-o", "test"], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert subprocess.run([tmp_path / "test"], capture_output=True).returncode == 0


@pytest.mark.parametrize("compiler, options", [(GCC, STRICT), (GXX, ["-std=gnu++11", "-Wall", "-Wextra", "-Werror"])])
@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_calls_nothing_of_the_c_header_has_no_warning(name, compiler, options, tmp_path):
    if not compiler:
        pytest.skip("there is no compiler")
    l2l.export(name, "c", tmp_path / "exported.h")
    (tmp_path / "user.c").write_text('#include "exported.h"\nint main(void) { return 0; }\n', "utf-8")
    built = subprocess.run([compiler, *options, "user.c", "-lm"], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


@pytest.mark.skipif(not GCC, reason="there is no gcc")
@pytest.mark.parametrize("name, most", [("lstm-any", 20), ("lstm-oi-2", 2)])
def test_a_search_in_c_stays_in_its_bounds(name, most, tmp_path):
    l2l.export(name, "c", tmp_path / "exported.h")
    (tmp_path / "user.c").write_text("""
        #define L2L_EVALUATIONS 3
        #include "exported.h"
        int main(void)
        {
            static l2l_search s;
            const int refused[] = {-1, 0, MOST + 1, MOST + 5, 1000000};
            const unsigned long long seeds[] = {0, 1, 0xffffffffffffffff, (unsigned long long)-3};
            for (int k = 0; k < 5; k++)
                if (l2l_init(&s, refused[k], 0) != -1)
                    return 1;
            for (int k = 0; k < 4; k++) {
                if (l2l_init(&s, MOST, seeds[k]) || l2l_tell(&s, 1) != -1)  /* no ask before it */
                    return 2;
                for (int t = 0; t < 5; t++) {
                    const l2l_real *x = l2l_ask(&s);
                    for (int j = 0; j < MOST; j++)
                        if (!(x[j] >= 0 && x[j] <= 1) || s.order[j] < 0 || s.order[j] >= MOST)
                            return 3;
                    if (l2l_tell(&s, t) != (t < 3 ? 0 : -1))
                        return 4;
                }
            }
            return 0;
        }
    """, "utf-8")
    built = subprocess.run([GCC, *STRICT, f"-DMOST={most}", "-fsanitize=address,undefined",
                            "-fno-sanitize-recover", "user.c", "-lm", "-o", "test"], cwd=tmp_path, capture_output=True,
                           text=True)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "test"], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)


def run_js(tmp_path, name, script):
    """Run a script beside the export; ``refused(Kind, name, call)`` in it demands an error that names an argument."""
    if not NODE:
        pytest.skip("there is no node")
    l2l.export(name, "js", tmp_path / "exported.mjs")
    (tmp_path / "user.mjs").write_text("""
        import * as exported from "./exported.mjs";
        function refused(Kind, name, call) {
          let error = null;
          try { call(); } catch (thrown) { error = thrown; }
          if (!(error instanceof Kind && error.message.startsWith(name + ":"))) throw new Error(call + ": " + error);
        }
    """ + script, "utf-8")
    done = subprocess.run([NODE, "user.mjs"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["lstm-oi-2", "lstm-any"])
def test_a_search_in_js_refuses_bad_arguments(name, tmp_path):
    run_js(tmp_path, name, """
        const { Search } = exported;
        for (const bad of [-1, NaN, 1.5, Infinity, "5", null, true, [1], 5n]) {
          refused(RangeError, "seed", () => new Search(2, bad));
          refused(RangeError, "run", () => new Search(2, 0, bad));
          refused(RangeError, "d", () => new Search(bad));
        }
        refused(RangeError, "run", () => new Search(2, 0, 0));
        refused(RangeError, "d", () => new Search(0));
        const search = new Search(2, 2 ** 53 - 1, 1), x = search.ask();
        for (const bad of ["3.5", true, [1], 5n, undefined, {}]) refused(TypeError, "value", () => search.tell(bad));
        if (search.ask() + "" !== x + "" || search.values.length) throw new Error("changed by what was refused");
        for (const failed of [null, NaN, Infinity]) {
          search.ask();
          search.tell(failed);
        }
        if (JSON.stringify(search.values) !== "[null,null,null]") throw new Error(JSON.stringify(search.values));
    """)


@pytest.mark.parametrize("name", ["lstm-oi-2", "lstm-any"])
@pytest.mark.parametrize("to", ["numpy", "python"])
def test_a_search_refuses_bad_arguments(name, to):
    Search = module_of(l2l.export(name, to)).Search
    for argument, bad in [("seed", -1), ("run", 0), ("run", -1), ("d", 0), ("d", -3)]:
        with pytest.raises(ValueError, match=f"^{argument}: expected a whole number from "):
            Search(**{"d": 2, argument: bad})
    for argument in ("d", "seed", "run"):
        for bad in (2.0, np.nan, "5", None, [1], np.float64(3)):
            with pytest.raises(ValueError, match=f"^{argument}: expected a whole number from "):
                Search(**{"d": 2, argument: bad})
    if name == "lstm-oi-2":
        with pytest.raises(ValueError, match="^d: expected a whole number from 1 to 2, got 3"):
            Search(3)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("to", ["numpy", "python"])
def test_arguments_of_a_search_may_be_integers_of_numpy(to, kind):
    Search, seed = module_of(l2l.export("lstm-oi-2", to)).Search, int(np.iinfo(kind).max)
    ours, plain = Search(kind(2), kind(seed), kind(3)), Search(2, seed, 3)
    for t in range(8):
        np.testing.assert_array_equal(ours.ask(), plain.ask())
        ours.tell(kind(t))
        plain.tell(t)
    if to == "python":
        assert json.dumps(vars(ours)) == json.dumps(vars(plain))


@pytest.mark.parametrize("to", ["numpy", "python"])
def test_none_is_a_failed_evaluation(to):
    search = module_of(l2l.export("lstm-oi-2", to)).Search(2)
    for failed in (None, np.nan, float("inf")):
        search.ask()
        search.tell(failed)
    assert search.values == [None] * 3 if to == "python" else np.isnan(search.values).all()
    x = search.ask()
    with pytest.raises(TypeError):
        search.tell("3.5")
    np.testing.assert_array_equal(search.ask(), x)
    assert len(search.values) == 3


@pytest.mark.parametrize("name", ["quadratic-lstm", "quadratic-sharing-lstm"])
def test_an_exported_network_in_numpy_refuses_what_is_not_floating(name):
    exported = module_of(l2l.export(name))
    for bad in (np.ones(3, int), [1, 2, 3], np.ones(3, bool), np.ones(3, np.float16), ["1.0"], None):
        with pytest.raises(TypeError, match="^theta: expected a float32 or float64 array, got "):
            exported.init(bad)
        with pytest.raises(TypeError, match="^gradient: expected a float32 or float64 array, got "):
            exported.update(bad, exported.init(np.zeros(3)))
    state = exported.init([0.0, 0.0, 0.0])  # a list of floats is an array of float64
    assert exported.update([1.0, 2.0, 3.0], state)[0].all()
    for n, wrong in [(3, 4), (1, 3), (3, 1)]:
        with pytest.raises(ValueError, match=f"^gradient: expected {n} numbers, as many as in theta, got {wrong}"):
            exported.update(np.ones(wrong), exported.init(np.zeros(n)))


def test_exported_general_in_numpy_refuses_what_it_cannot_optimize():
    exported = module_of(l2l.export("general"))
    theta = [np.ones((3, 2)), np.zeros(2)]
    state = exported.init(theta)
    for bad in ([], np.ones((3, 2)), np.ones(3), None, 1.0, [np.zeros(0)]):
        with pytest.raises(TypeError, match="^theta: expected a list of arrays"):
            exported.init(bad)
        with pytest.raises(TypeError, match="^gradients: expected a list of arrays"):
            exported.update(bad, state)
    for bad in ([np.ones((3, 2), int), np.zeros(2, int)], [np.ones((3, 2)), np.zeros(2, np.float32)], [1, 2]):
        with pytest.raises(TypeError, match="^theta: expected float32 or float64 arrays, all of one dtype, got "):
            exported.init(bad)
        with pytest.raises(TypeError, match="^gradients: expected float32 or float64 arrays, all of one dtype, got "):
            exported.update(bad, state)
    for steps in (0, -1, np.nan, None):
        with pytest.raises(ValueError, match="^steps: expected a number above 0, got "):
            exported.init(theta, steps)
    for bad in ([np.ones((3, 2))], [np.ones((3, 2)), np.ones(3)], [np.ones(2), np.ones((3, 2))]):
        with pytest.raises(ValueError, match=r"^gradients: expected arrays of \[6, 2\] numbers, as in theta, got "):
            exported.update(bad, state)


@pytest.mark.parametrize("name", ["quadratic-lstm", "quadratic-sharing-lstm"])
def test_an_exported_network_refuses_gradients_of_another_length(name, tmp_path):
    exported = module_of(l2l.export(name, "python"))
    for wrong in (0, 2, 4):
        with pytest.raises(ValueError, match=f"^gradient: expected 3 numbers, as for init, got {wrong}"):
            exported.update([1.0] * wrong, exported.init(3))
    run_js(tmp_path, name, """
        const { init, update } = exported;
        for (const wrong of [[], [1, 2], [1, 2, 3, 4]]) refused(RangeError, "gradient", () => update(wrong, init(3)));
    """)


def test_exported_general_refuses_what_does_not_fit(tmp_path):
    exported = module_of(l2l.export("general", "python"))
    for bad in ([], [1.0, 2.0]):
        with pytest.raises(TypeError, match="^theta: expected a list of lists"):
            exported.init(bad, [True] * len(bad))
    for matrix in ([], [True, False]):
        with pytest.raises(ValueError, match="^matrix: expected 1, one for each list of theta, got "):
            exported.init([[0.0, 0.0]], matrix)
    for steps in (0, -1, float("nan"), None):
        with pytest.raises(ValueError, match="^steps: expected a number above 0, got "):
            exported.init([[0.0, 0.0]], [True], steps)
    for bad in ([], [[1.0]], [[1.0] * 3], [[1.0] * 2] * 2):
        with pytest.raises(ValueError, match="^gradients: expected lists of "):
            exported.update(bad, exported.init([[0.0, 0.0]], [True]))
    run_js(tmp_path, "general", """
        const { init, update } = exported;
        for (const matrix of [[], [true, false]]) refused(RangeError, "matrix", () => init([[0, 0]], matrix));
        for (const steps of [0, -1, NaN, null]) refused(RangeError, "steps", () => init([[0, 0]], [true], steps));
        for (const bad of [[], [[1]], [[1, 2, 3]], [[1, 2], [1, 2]]]) {
          const state = init([[0, 0]], [true]);
          refused(RangeError, "gradients", () => update(bad, state));
          if (state.t) throw new Error("a step that was refused was counted");
        }
    """)


def test_the_files_of_numpy_and_python_have_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for to in TARGETS:
        assert main(["export", "lstm-oi-2", "--to", to]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lstm_oi_2.h", "lstm_oi_2.mjs", "lstm_oi_2.py", "lstm_oi_2_python.py"]
    assert "import numpy" in (tmp_path / "lstm_oi_2.py").read_text("utf-8")


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


@pytest.mark.parametrize("to, most", [("numpy", 120), ("python", 120), ("js", 120), ("c", 160)])
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

"""What needs a package beyond NumPy says which extra installs it, before it computes anything."""

import configparser
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from l2l_ref import backends, extras
from l2l_ref.baselines import ExpectedImprovement, IntegratedExpectedImprovement, Sobol
from l2l_ref.black_boxes import GPPaths
from l2l_ref.cli import main
from l2l_ref.cli.arguments import check_backend
from l2l_ref.compare.black_box import GPProblem, compare_black_box
from l2l_ref.learned.proposer import Proposer
from l2l_ref.plotting import matplotlib_figure, require_figure

FAST, PLOT = "pip install 'l2l-ref[fast]'", "pip install 'l2l-ref[plot]'"


@pytest.fixture
def without(monkeypatch, tmp_path):
    """``without(package)``: the package cannot be found any more."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def hide(*packages):
        for name in packages:
            monkeypatch.setitem(sys.modules, name, None)
        backends._twin.cache_clear()

    yield hide
    monkeypatch.undo()
    backends._twin.cache_clear()


def test_a_plain_install_brings_numpy_alone():
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg", encoding="utf-8")
    assert options["options"]["install_requires"].split() == ["numpy>=1.26"]
    brought = {name: re.findall(r"^[\w-]+", text, re.M) for name, text in options["options.extras_require"].items()}
    for package, extra in extras.EXTRAS.items():
        assert extras.TITLES.get(package, package).lower() in brought[extra]  # the name of the project


def test_a_missing_package_is_named_with_its_extra(without):
    without("scipy", "matplotlib")
    assert not extras.installed("scipy") and not extras.installed("json", "scipy") and extras.installed("json")
    with pytest.raises(ImportError, match=re.escape(f"a Sobol sequence needs SciPy: {FAST}")):
        Sobol(1, 2)
    for search in (lambda: ExpectedImprovement(1, 2, length_scale=1.0), lambda: IntegratedExpectedImprovement(1, 2)):
        with pytest.raises(ImportError, match=re.escape(f"expected improvement needs SciPy: {FAST}")):
            search()
    with pytest.raises(ImportError, match=re.escape(FAST)):
        GPPaths(1, 1, 0).minima()
    for figure in (matplotlib_figure, lambda: require_figure("f.png")):
        with pytest.raises(ImportError, match=re.escape(f"a figure needs matplotlib: {PLOT}")):
            figure()


def test_a_comparison_says_so_before_the_first_search(without):
    without("scipy")
    asked = pytest.fail
    with pytest.raises(ImportError, match=re.escape(FAST)):
        compare_black_box(GPProblem(1), {"learned": Proposer(1, 3)}, 2, 2, report=asked)


@pytest.mark.parametrize("words, message", [
    (["compare", "gp"], f"compare gp needs SciPy: {FAST}"),
    (["compare", "benchmarks", "--json"], f"compare benchmarks needs SciPy: {FAST}"),
    (["compare", "quadratic", "--backend", "numba"], "backend: 'numba' does not work here"),
    (["train", "quadratic", "--backend", "numba"], "backend: 'numba' does not work here"),
    (["train", "gp", "--dim", "1", "--backend", "numba"], "backend: 'numba' does not work here"),
    (["bench", "gp", "--figure", "b.png"], f"a figure needs matplotlib: {PLOT}"),
    (["audit", "--html", "a.html"], f"a figure needs matplotlib: {PLOT}"),
])
def test_a_command_says_so_in_one_line(without, capsys, tmp_path, words, message):
    without("scipy", "numba", "matplotlib")
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"l2l-ref {words[0]}: {message}") and err.count("\n") == 1 and FAST[:11] in err
    assert not list(tmp_path.iterdir())


def test_without_numba_a_slow_command_says_so_once(without, capsys):
    without("scipy", "numba", "matplotlib")
    words = ["--functions", "2", "--steps", "2", "--json"]
    note = f"without numba this takes several times as long: {FAST}\n"
    assert main(["train", "quadratic", *words, "--unroll", "1", "--epochs", "1", "--tasks", "1", "--hidden", "2"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(note) and err.count(note) == 1 and json.loads(out)["made with"]["backend"] == "numpy"
    assert main(["compare", "quadratic", *words, "--model", "quadratic-lstm.npz"]) == 0
    out, err = capsys.readouterr()
    assert err.count(note) == 1 and json.loads(out)["functions"] == 2
    check_backend("numpy")
    assert capsys.readouterr().err == ""


def test_nothing_is_said_where_numba_works(capsys):
    pytest.importorskip("numba")
    check_backend("auto")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [
    ["meta-gradient", "--coordinates", "20", "--steps", "2", "--hidden", "2"], ["update", "--coordinates", "5"],
    ["suggest", "--dim", "1", "--past", "1"], ["gp", "--batch", "2", "--steps", "3"],
    ["dnc", "--batch", "2", "--steps", "2", "--hidden", "3", "--memory", "2,2,1"], ["start-up"],
    ["conv", "--batch", "2"],
])
def test_bench_leaves_out_what_is_not_installed(without, capsys, monkeypatch, words):
    without("scipy", "numba", "torch", "jax", "optuna", "hyperopt", "skopt", "smac")
    monkeypatch.setattr("l2l_ref.bench.timing.machine_limits", dict)
    for bench in ("meta_gradient", "gp", "dnc", "conv", "update"):
        monkeypatch.setattr(f"l2l_ref.bench.{bench}.machine_limits",
                            lambda *a: {"peak_gflops_by_threads": {"1": 1.0, "2": 1.0}}, raising=False)
    assert main(["bench", *words, "--rounds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows and not any("numba" in str(row.values()) or "compiled" in str(row.values()) for row in rows)


NUMPY_ALONE = """
import sys
for name in ("scipy", "numba", "llvmlite", "matplotlib"):
    sys.modules[name] = None
from l2l_ref.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words, text", [
    (["minimize", "bowl_module:bowl", "--bounds", "-1,2", "--evaluations", "5"], "5 evaluations, 0 failed"),
    (["models"], "quadratic-lstm"),
    (["audit", "--only", "linear"], "PASS"),
    (["data"], "digits"),
    (["gradcheck", "bowl_module:square", "bowl_module:square_backward", "--inputs", "in.npz"], "gradcheck PASS"),
])
def test_commands_that_need_numpy_alone(tmp_path, words, text):
    (tmp_path / "bowl_module.py").write_text(
        "def bowl(x):\n    return float(x @ x)\n\ndef square(x):\n    return x * x\n\n"
        "def square_backward(d, x):\n    return 2 * d * x\n")
    np.savez(tmp_path / "in.npz", x=np.arange(1.0, 4.0))
    process = subprocess.run([sys.executable, "-c", NUMPY_ALONE, *words], cwd=tmp_path, text=True, timeout=120,
                             capture_output=True, env={"PYTHONPATH": str(ROOT)})
    assert process.returncode == 0, process.stderr
    assert text in process.stdout

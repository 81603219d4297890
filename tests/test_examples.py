"""The examples run, each as a user would run it, if the packages that they import are installed."""

import ast
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHORTER = {name: ["2"] for name in ("dnc_copy", "dnc_recall", "dnc_path")}  # arguments that make it quick


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


def missing(path):
    """What an example imports that is not installed."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return [name for name in sorted({name.split(".")[0] for name in names})
            if not (path.parent / f"{name}.py").exists() and importlib.util.find_spec(name) is None]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path, tmp_path):
    if missing(path):
        pytest.skip(f"needs {', '.join(missing(path))}")
    result = subprocess.run(
        [sys.executable, "-W", "error", str(path), *SHORTER.get(path.stem, [])],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


JOBS = sorted(path for path in (ROOT / "examples" / "jobs").glob("*.py") if path.stem != "beside_peers")


@pytest.mark.parametrize("path", JOBS, ids=lambda p: p.stem)
def test_job(path, tmp_path):
    """A few evaluations, by this package and by the peers that are installed."""
    words = ["--peers", "--evaluations", "3", "--file", "results.json"]
    result = subprocess.run([sys.executable, "-W", "error", str(path), *words], cwd=tmp_path, capture_output=True,
                            text=True, timeout=300, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert result.returncode == 0, result.stderr
    if "skipped" in result.stdout:
        pytest.skip(result.stdout)
    kept = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert result.stdout.count("\n") == 3 and len(kept) >= 2
    assert all(math.isfinite(score) for score, _ in kept.values())


def test_slurm_batch_script(tmp_path):
    """Without SLURM, which is not here: mpiexec starts three ranks. A second job goes on from its checkpoint."""
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("no mpiexec")
    script = str(ROOT / "examples" / "slurm" / "train.sbatch")
    environment = os.environ | {"LAUNCHER": f"{mpiexec} -n 3", "PYTHON": sys.executable, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("SLURM_SUBMIT_DIR", None)
    for _ in range(2):
        done = subprocess.run(["bash", script, "2", "2", "6"], cwd=tmp_path, capture_output=True, text=True,
                              timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith("gp-3-lstm.npz: best validation ")
        assert (tmp_path / "gp-3-lstm.npz").is_file()
    assert "epoch" not in done.stdout  # nothing was left to train

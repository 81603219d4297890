"""The typed face: no false error in a user's script, real mistakes found, all public names known."""

import ast
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from conftest import ROOT

import l2l_ref as l2l
from l2l_ref import pretrained

SCRIPT = Path(__file__).parent / "typing" / "user_script.py"

MISTAKES = {
    "l2l.minimise(lambda x: 0.0, [(0, 1)])": 'Module has no attribute "minimise"',
    "l2l.minimize(lambda x: 0.0, bound=[(0, 1)])": 'Unexpected keyword argument "bound" for "minimize"',
    "l2l.BlackBoxOptimizer([(0, 1)]).tel()": '"BlackBoxOptimizer" has no attribute "tel"',
    "l2l.BlackBoxOptimizer([(0, 1)]).tell()": 'Missing positional arguments "trial", "value" in call to "tell"',
    "l2l.load('lstm-oi-2').init": '"Proposer" has no attribute "init"',
    "l2l.load('mnist-lstm').dim": '"CoordinatewiseLSTM" has no attribute "dim"',
    "l2l.minimize(lambda x: 0.0, [(0, 1)]).funn": '"Result" has no attribute "funn"',
    "l2l.CoordinatewiseLSTM(backend='cuda')": 'incompatible type "Literal[\'cuda\']"',
    "l2l.load('mnist-lstm').update(1.0, 2)": 'incompatible type "int"; expected "OptimizerState"',
}


def mypy(path, folder):
    """What mypy --strict says of a file, in lines; of the package itself it says nothing, as of an installed one."""
    environment = {**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(path)],
                          capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("mypy")
    return tmp_path_factory.mktemp("mypy")


def test_a_users_script_has_no_error(folder):
    assert mypy(SCRIPT, folder) == []


def test_mistakes_are_errors(folder):
    """One statement a line, so that a line without an error is a mistake that was not found."""
    script = folder / "mistakes.py"
    script.write_text("import l2l_ref as l2l\n\n" + "".join(f"{mistake}\n" for mistake in MISTAKES))
    errors = mypy(script, folder)
    for number, (mistake, message) in enumerate(MISTAKES.items(), 3):
        said = [error for error in errors if f"mistakes.py:{number}: " in error]
        assert any(message in error for error in said), (mistake, said)


def test_a_users_script_runs(tmp_path):
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr


def test_type_checkers_know_every_public_name():
    tree = ast.parse((ROOT / "l2l_ref" / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    known = {}
    for node in block.body:
        for alias in node.names:
            assert alias.asname == alias.name  # so it is a name of the package, not a thing that it uses
            known[alias.name] = node.module or ""
    assert known == l2l._HOME | dict.fromkeys(l2l._MODULES, "")


def test_type_checkers_know_what_ships():
    known = {"coordinatewise-lstm": pretrained.Coordinatewise, "partitioned-lstm": pretrained.Partitioned,
             "sharing-lstm": pretrained.Sharing, "moments-mlp": pretrained.General, "proposer": pretrained.BlackBox}
    kinds = {card["name"]: card["model"]["model"] for card in l2l.models()}
    assert kinds == {name: kind for kind, names in known.items() for name in typing.get_args(names)}

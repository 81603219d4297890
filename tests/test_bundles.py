"""Programs that carry the package with them: a zip file that Python runs, and a folder made by PyInstaller.

Both need the shipped weights and data sets, which are read through importlib.resources. The commands are those of
docs/how-to/embed.md.
"""

import os
import shutil
import subprocess
import sys
import zipapp
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

import l2l_ref as l2l

# A search, the names of what ships, and the messages about a name that is none and a file that is broken.
SEARCH = """
import pathlib
import l2l_ref as l2l

assert len(l2l.models()) == {models}, l2l.models()
result = l2l.minimize(lambda x: (x[0] - 1) ** 2, [(-5, 10), (0, 1)], 10)
print(result.x.tolist())
for name in ("no-such-lstm", "../pretrained/mnist-lstm-2"):
    try:
        l2l.load(name)
    except ValueError as error:
        assert "expected the path of a file or one of {listed}" in str(error)
    else:
        raise AssertionError(name)
pathlib.Path("broken.npz").write_bytes(b"PK")
try:
    l2l.load("broken.npz")
except ValueError as error:
    assert "not a readable .npz file" in str(error)
else:
    raise AssertionError("broken.npz")
print(l2l.__file__)
"""


def run(command, folder, path=""):
    """What a command prints, in a folder of its own and without the package on Python's path, unless it is ``path``."""
    environment = os.environ | {"PYTHONPATH": str(path)}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def zipped(folder, code):
    """A zip file of the package and a main program, compressed."""
    shutil.copytree(ROOT / "l2l_ref", folder / "app" / "l2l_ref", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "app" / "__main__.py").write_text(code, "utf-8")
    zipapp.create_archive(folder / "app", folder / "app.pyz", compressed=True)
    shutil.rmtree(folder / "app")
    return folder / "app.pyz"


def search():
    names = [card["name"] for card in l2l.models()]
    return SEARCH.format(models=len(names), listed=", ".join(names))


def check(printed):
    """The point of the search is that of the package itself."""
    point, _ = printed.splitlines()
    expected = l2l.minimize(lambda x: (x[0] - 1) ** 2, [(-5, 10), (0, 1)], 10).x
    np.testing.assert_array_equal([float(x) for x in point.strip("[]").split(",")], expected)


def test_the_training_loop_runs_from_a_zip_file(tmp_path):
    app = zipped(tmp_path, (ROOT / "examples" / "training_loop.py").read_text("utf-8"))
    assert "of the test images right" in run([sys.executable, "-P", app], tmp_path)


def test_a_search_runs_from_a_zip_file(tmp_path):
    app = zipped(tmp_path, search())
    printed = run([sys.executable, "-P", app], tmp_path)
    check(printed)
    assert Path(printed.splitlines()[1]) == app / "l2l_ref" / "__init__.py"


@pytest.mark.parametrize("program", ["training_loop", "search"])
def test_it_runs_from_a_folder_of_pyinstaller(program, tmp_path):
    pytest.importorskip("PyInstaller")
    script = tmp_path / f"{program}.py"
    code = search() if program == "search" else (ROOT / "examples" / "training_loop.py").read_text("utf-8")
    script.write_text(code, "utf-8")
    # numba and others stay out, as where NumPy alone is installed
    run([sys.executable, "-m", "PyInstaller", "--collect-data", "l2l_ref", "--exclude-module", "numba",
         "--exclude-module", "scipy", "--exclude-module", "matplotlib", script], tmp_path, ROOT)
    built = tmp_path / "dist" / program
    shutil.rmtree(tmp_path / "build")
    script.unlink()
    printed = run([built / program], tmp_path)
    if program == "search":
        check(printed)
        assert Path(printed.splitlines()[1]).is_relative_to(built)
    else:
        assert "of the test images right" in printed

"""The cache of compiled code on disk: what lies there may be damaged, somebody else's, or nowhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import l2l_ref

pytest.importorskip("numba")

PACKAGE = Path(l2l_ref.__file__).parent.parent

# Two small kernels are enough: one that is loaded by the other.
CODE = """
import numpy as np
from l2l_ref.compiled import jit
x, A, out = np.ones(2), np.ones((2, 3)), np.zeros(3)
jit.product(x, A, out)
print(jit._CACHE, out.tolist())
"""
RIGHT = "[2.0, 2.0, 2.0]"


def run(cache, cwd, code=CODE, **more):
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE), "XDG_CACHE_HOME": str(cache), **more}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0 and RIGHT in done.stdout, done.stderr
    return done


def files_of(cache):
    return {path.suffix: path for path in Path(cache).rglob("*.nb?")}


def test_the_second_process_takes_what_the_first_compiled(tmp_path):
    run(tmp_path, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert set(files_of(tmp_path)) == {".nbi", ".nbc"} and run(tmp_path, tmp_path).stderr == ""
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == before


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "other bytes", "a folder"])
def test_damaged_files_are_said_once_and_replaced(tmp_path, suffix, damage):
    run(tmp_path, tmp_path)
    path = files_of(tmp_path)[suffix]
    whole = path.read_bytes()
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"empty": b"", "cut": whole[:len(whole) // 2], "other bytes": b"\x80\x05no pickle"}[damage])
    assert run(tmp_path, tmp_path).stderr.count("damaged files") <= 1
    if damage != "a folder":
        assert run(tmp_path, tmp_path).stderr == ""


def test_a_disk_that_is_full_is_said_once(tmp_path):
    full = ("import numba.core.caching as c, errno\n"
            "def full(*a): raise OSError(errno.ENOSPC, 'No space left on device')\n"
            "c.IndexDataCacheFile._save_data = full\n")
    assert run(tmp_path, tmp_path, full + CODE).stderr.count("its disk is full") == 1


@pytest.mark.parametrize("place", ["", "relative", "~/cache"])
def test_there_is_no_cache_in_a_relative_place(tmp_path, place):
    """Without HOME and an entry of the user, ~ stays as it is."""
    found = run(place, tmp_path, HOME="nowhere/at/all" if place == "" else str(tmp_path))
    assert found.stdout.startswith("None ") and not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners and modes of POSIX")
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_in_which_others_may_write_is_not_used(tmp_path, mode):
    (tmp_path / "l2l_ref").mkdir()
    (tmp_path / "l2l_ref").chmod(mode)
    assert run(tmp_path, tmp_path).stdout.startswith("None ")
    assert not list((tmp_path / "l2l_ref").iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_not_used(tmp_path):
    (tmp_path / "l2l_ref").mkdir()
    os.chown(tmp_path / "l2l_ref", 12345, -1)
    assert run(tmp_path, tmp_path).stdout.startswith("None ")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners and modes of POSIX")
def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "l2l_ref").symlink_to(tmp_path / "elsewhere")
    assert run(tmp_path, tmp_path).stdout.startswith("None ")


def test_without_the_compiler_auto_takes_numpy():
    code = ("import logging, numpy as np, l2l_ref as l2l\no = l2l.load('quadratic-lstm')\nt = np.ones(300)\n"
            "o.update(t, o.init(t)); print('[2.0, 2.0, 2.0]')")
    done = run(os.environ.get("XDG_CACHE_HOME", "/nowhere"), Path.cwd(), code, NUMBA_DISABLE_JIT="1",
               PYTHONWARNINGS="error")
    assert done.stderr.count("NUMBA_DISABLE_JIT is set") == 1

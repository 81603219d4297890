"""A short run of the fuzzer of files; its process alone is limited in its memory. L2L_REF_SLOW runs it whole."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SLOW

pytest.importorskip("resource")

import fuzz_files  # noqa: E402

from l2l_ref import files  # noqa: E402

QUICK = {"a card of lists", "a model of 34 GB", "a promise of 2 GB", "rollbacks", "device", "pipe", "sparse",
         "a state of objects", "zeros behind its end", "two million members", "a large directory behind a small one"}


def test_the_fuzzer_finds_nothing():
    large = [k for k, (_, name, _) in enumerate(fuzz_files.LARGE) if name in QUICK]
    words = ["--cases", "100000"] if SLOW else ["--cases", "1400", "--large", *map(str, large)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, ROOT / "tests" / "fuzz_files.py", *words], env=environment, text=True,
                         capture_output=True, timeout=3600)
    assert run.returncode == 0, run.stdout + run.stderr
    counts = {line.split()[0]: [int(word.replace(",", "")) for word in line.split()[1::2]]
              for line in run.stdout.splitlines()[:-1]}
    assert set(counts) == {*fuzz_files.KINDS, "large"}
    for kind in fuzz_files.KINDS:  # attacks of both ends: most are refused, and some are none
        refused, read = counts[kind]
        assert refused > 20 and read > 0, kind


@pytest.fixture
def case(tmp_path):
    path = tmp_path / "w.npz"
    path.write_bytes(fuzz_files.good_weights(tmp_path)[0])
    return path


def broken(kind, read):
    return fuzz_files.KINDS[kind]._replace(read=read)


@pytest.mark.parametrize("read, message", [
    (lambda path: 1 / 0, "ZeroDivisionError: division by zero"),
    (lambda path: int("x"), "expected one line that names the file, got \"invalid literal"),
    (lambda path: "another", "it was read, as something else"),
    (lambda path: (path.parent / "more").touch() or "good", r"reading has left \['more'\]"),
])
def test_the_fuzzer_notices(case, monkeypatch, read, message):
    """A reader that breaks a promise."""
    monkeypatch.setitem(fuzz_files.KINDS, "weights", broken("weights", read))
    with pytest.raises(fuzz_files.Failure, match=message):
        fuzz_files.check("weights", case, "good")


def out_of_memory(path):
    try:
        bytearray(2**30)
    except MemoryError:
        raise ValueError(f"{path}: as if nothing had happened") from None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells the address space")
@pytest.mark.parametrize("read, message", [
    (out_of_memory, "out of memory"),
    (lambda path: bytearray(2**30), "MemoryError"),
    (lambda path: np.ones(2**30, np.uint8).sum(), "MemoryError"),
    (lambda path: sum(range(10**8)), r"it took [\d.]+ s"),
])
def test_the_fuzzer_measures(case, monkeypatch, read, message):
    monkeypatch.setitem(fuzz_files.KINDS, "weights", broken("weights", read))
    monkeypatch.setattr(fuzz_files, "SECONDS", 0.2)
    monkeypatch.setattr(fuzz_files, "LARGE", [("weights", "any", lambda good, path: good)])
    with pytest.raises(fuzz_files.Failure, match=message):
        fuzz_files.large(0, {"weights": [case.read_bytes()]}, case.parent)


def test_a_reader_without_its_bounds_is_noticed(tmp_path, monkeypatch):
    """The large files ask for what they say: without a bound, the memory is not enough."""
    monkeypatch.setattr(fuzz_files, "MEMORY", 200 * 2**20)
    number = [name for _, name, _ in fuzz_files.LARGE].index("a card of objects")
    assert fuzz_files.large(number, {"weights": fuzz_files.good_weights(tmp_path)[:1]}, tmp_path) == "refused"
    monkeypatch.setattr(files, "MOST_VALUES", 2**40)
    with pytest.raises(fuzz_files.Failure, match="out of memory|MemoryError|has held"):
        fuzz_files.large(number, {"weights": fuzz_files.good_weights(tmp_path)[:1]}, tmp_path)

"""The command ``minimize``."""

import json

import pytest

from l2l_ref.cli import main
from l2l_ref.learned.proposer import Proposer
from l2l_ref.pretrained import save
from l2l_ref.search.minimize import minimize

BOUNDS = ["--bounds", "-5,10", "--bounds", "1,1e3"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    save(Proposer(2, 4, rng=1, backend="numpy"), tmp_path / "tiny.npz")
    (tmp_path / "cli_minimize_functions.py").write_text(
        "def bowl(x):\n    return float(((x - 1) ** 2).sum())\n\ndef broken(x):\n    raise RuntimeError('no\\nluck')\n"
    )


def run(capsys, *words, function="cli_minimize_functions:bowl", model="tiny.npz"):
    try:
        code = main(["minimize", function, "--model", model, "--evaluations", "5", *words])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


def test_json(capsys):
    code, out, err = run(capsys, *BOUNDS, "--integer", "0", "--log", "1", "--json")
    result = json.loads(out)
    assert (code, err, result["evaluations"], result["failures"], result["success"]) == (0, "", 5, [], True)
    asked = [x for kind, _, x in (event[:3] for event in result["log"]) if kind == "ask"]
    assert all(-5 <= x <= 10 and x % 1 == 0 and 1 <= y <= 1000 for x, y in asked)
    own = [event[2] for event in result["log"] if event[0] == "ask" and len(event) == 3]  # not a replacement
    assert own and all(20 < y < 50 for _, y in own)  # one that knows nothing stays in the middle: 31.6 on a log scale
    values = {tuple(event[2]): event[3] for event in result["log"] if event[0] == "tell"}
    assert result["fun"] == min(values.values()) == values[tuple(result["x"])]


def test_text_and_seed(capsys):
    outs = [run(capsys, *BOUNDS, "--seed", seed) for seed in "001"]
    assert outs[0] == outs[1] != outs[2]
    code, out, err = outs[0]
    assert (code, err) == (0, "")
    assert out.endswith("5 evaluations, 0 failed. The given number of evaluations was made.\n"
                        "Proposed by: network 4, replacement 1.\n")


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_backend(capsys, monkeypatch, backend):
    seen = []
    monkeypatch.setattr("l2l_ref.cli.minimize.minimize",
                        lambda *args, **rest: seen.append(rest["backend"]) or minimize(*args, **rest))
    code, out, _ = run(capsys, *BOUNDS, "--backend", backend, "--json")
    assert code == 0 and seen == [backend] and json.loads(out)["fun"] == pytest.approx(
        json.loads(run(capsys, *BOUNDS, "--json")[1])["fun"], rel=1e-4)


def test_every_evaluation_fails(capsys):
    code, out, err = run(capsys, *BOUNDS, "--json", function="cli_minimize_functions:broken")
    result = json.loads(out)
    assert (code, err, result["fun"], result["x"], result["success"]) == (1, "", None, None, False)
    assert [failure["message"] for failure in result["failures"]] == 5 * ["RuntimeError: no luck"]


@pytest.mark.parametrize(("words", "settings", "message"), [
    ([], {}, "--bounds"),
    (["--bounds", "1"], {}, "expected LOW,HIGH, got '1'"),
    (["--bounds", "1,x"], {}, "expected a finite number, got 'x'"),
    (["--bounds", "2,1"], {}, "expected low < high"),
    (["--bounds", "0,1", "--log", "0"], {}, "low > 0 on a log scale"),
    (["--bounds", "0,1", "--integer", "1"], {}, "--integer: expected one of the dimensions 0..0, got 1"),
    ([*BOUNDS, "--bounds", "0,1"], {}, "expected one for 3 dimensions or more, got one for 2"),
    (BOUNDS, {"model": "nowhere.npz"}, "nowhere.npz"),
    (BOUNDS, {"function": "bowl"}, "expected MODULE:FUNCTION"),
    (BOUNDS, {"function": "cli_minimize_functions:bowls"}, "has no bowls"),
    ([*BOUNDS, "--workers", "0"], {}, "--workers: expected a whole number >= 1"),
])
def test_mistakes_are_one_line(capsys, words, settings, message):
    code, out, err = run(capsys, *words, **settings)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert err.startswith("l2l-ref minimize: ")

"""The page of ``l2l-ref play`` is one file that needs nothing, and works in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT

import l2l_ref as l2l
from l2l_ref.cli import main
from l2l_ref.exporting.play import MODELS, SCRIPTS

NODE = shutil.which("node")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PARTS = ROOT / "l2l_ref" / "exporting" / "templates" / "play"


@pytest.fixture(scope="module")
def page():
    return l2l.play()


def test_it_is_one_file_without_requests(page):
    code = re.sub(r"/\*.*?\*/", "", page, flags=re.S)
    assert not re.search(r"https?:|//www|@import|url\(|fetch\(|XMLHttpRequest|\bimport\b|sendBeacon|WebSocket", code)
    assert set(re.findall(r"\b(?:src|href|action)=\"?([^\s\">]*)", code)) == {"data:,"}
    assert "default-src 'none'" in page and page.count("<script") == page.count("</script>") == len(MODELS) + 1
    assert "$" not in re.sub(r"\$\{", "", page)  # every name of the template has been filled in


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    l2l.play()
    assert not list(tmp_path.iterdir())


def test_it_is_small_and_readable(page):
    assert len(page.encode()) < 500_000
    assert max(map(len, page.splitlines())) <= 120


def test_its_networks_are_the_exports(page):
    for name, model in MODELS.items():
        export = l2l.export(model, "js")
        assert re.sub(r"^export ", "", export, flags=re.M) in page and f"const {name} = " in page
        assert model in page[page.index("What was trained"):page.index("<footer")]


def test_it_says_what_the_cards_say(page):
    dims = l2l.load("lstm-any").card["problem"]["dim"]
    about = " ".join(page[page.index("What was trained"):page.index("<footer")].split())
    assert f"{', '.join(map(str, dims[:-1]))} and {dims[-1]} dimensions" in about
    quadratic = l2l.load("quadratic-normal-lstm").card["problem"]
    assert f"quadratic functions of {quadratic['dim']} variables" in about and quadratic["dist"] == "normal"
    assert "33 evaluations" in about and l2l.load("lstm-any").card["score"]["steps"] == 33


def test_the_command_writes_it(page, tmp_path, capsys):
    assert main(["play", "--output", str(tmp_path / "p.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == (tmp_path / "p.html").stat().st_size
    assert (tmp_path / "p.html").read_text("utf-8") == page


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["play", "--output", str(tmp_path / "none" / "p.html")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / "none").exists()


def luminance(color):
    parts = [int(color[k:k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_from_their_ground(scheme):
    """The contrast ratios of WCAG 2.2: 4.5 for text, 3 for drawings, also on the lowest ground."""
    light, dark = re.findall(r":root \{(.*?)\}", (PARTS / "page.css").read_text("utf-8"), re.S)
    colors = dict(re.findall(r"--([\w-]+): (#\w{6})", light if scheme == "light" else dark))

    def contrast(a, b):
        high, low = sorted((luminance(colors[a]), luminance(colors[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("page", "box"):
        for text in ("text", "muted", "accent"):
            assert contrast(text, ground) >= 4.5, (text, ground)
    for name in ("learned", "random", "adam", "momentum", "general"):
        assert contrast(name, "box") >= 3 and contrast(name, "halo") >= 3, name
    assert contrast("mark", "learned") >= 4.5 and contrast("mark", "random") >= 4.5


@pytest.mark.skipif(not NODE, reason="there is no node")
def test_its_scripts_are_javascript(page, tmp_path):
    for number, script in enumerate(re.findall(r"<script.*?>\n(.*?)</script>", page, re.S)):
        path = tmp_path / f"{number}.mjs"
        path.write_text(script, "utf-8")
        done = subprocess.run([NODE, "--check", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert number == len(MODELS) and all((PARTS / name).exists() for name in SCRIPTS)


@pytest.fixture(scope="module")
def browsed(page, tmp_path_factory):
    """What browse_play.cjs saw."""
    if not NODE or subprocess.run([NODE, "-e", "require.resolve('playwright-core')"], capture_output=True).returncode:
        pytest.skip("needs node and its package playwright-core, which NODE_PATH names")
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    folder = tmp_path_factory.mktemp("play")
    (folder / "play.html").write_text(page, "utf-8")
    script = ROOT / "tests" / "browse_play.cjs"
    done = subprocess.run([NODE, script, folder / "play.html", folder, CHROMIUM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"folder": folder}


def test_no_message_and_no_request(browsed):
    assert browsed["messages"] == []
    assert {url.rpartition("/")[2] for url in browsed["requests"]} == {"play.html"}


@pytest.mark.parametrize("width", [320, 390, 768, 1600])
def test_it_fits_any_width_in_both_schemes(browsed, width):
    light, dark = (browsed["widths"][f"{width} {scheme}"] for scheme in ("light", "dark"))
    for seen in (light, dark):
        assert seen["overflow"] <= 0 and seen["sharp"] and seen["nameless"] == [] and not seen["small"]
        assert seen["blank"] == []
    assert light["ground"] == "rgb(255, 255, 255)" != dark["ground"]
    assert (browsed["folder"] / f"{width}-light.png").stat().st_size > 20_000


def test_it_runs_by_itself_unless_motion_is_to_be_reduced(browsed):
    seen = browsed["seen"]
    assert seen["itMoves"] and seen["itPauses"] and seen["descentMoves"] and seen["stillAtFirst"]
    assert re.match(r"After 30 of 30 evaluations the learned optimizer is [\d.]+\s% above", seen["status"])


def test_each_function_can_be_searched(browsed):
    for name, rows in browsed["seen"]["functions"].items():
        assert len(rows) == 3, name
        table = np.array(rows)
        assert np.isfinite(table).all() and table[:, 0].tolist() == [1, 2, 3], name
        for value, best in ((1, 2), (3, 4)):
            assert table[:, best].tolist() == np.minimum.accumulate(table[:, value]).tolist(), name


def test_a_function_is_drawn_by_keys_and_by_mouse(browsed):
    seen = browsed["seen"]
    assert seen["placeByKeys"].startswith("place 1 of 41") and seen["drawnByKeys"] == "place 1 of 41, height 0 of 100"
    assert seen["drawnByMouse"] == "place 41 of 41, height 100 of 100"
    network = l2l.load("lstm-any").of(1)
    first = network.step(np.zeros((1, 3)), network.initial_state(1, np.float64))[0].item()  # of any function
    # What was drawn is a line from 0 to 1, so its value is the query, or its mirror image.
    assert min(abs(seen["line"][1] - first), abs(seen["line"][1] - (1 - first))) < 0.01
    assert seen["dugAt"] == "0 across, 70 up"


def test_touch_steps_draws_digs_and_starts(browsed):
    seen = browsed["seen"]
    assert seen["drawnByTouch"] == "place 41 of 41, height 0 of 100" and seen["scrolledByTouch"] == 0
    assert seen["steppedByTouch"].startswith("best ") and "(no. 1)" in seen["steppedByTouch"]
    across, up = map(int, re.findall(r"\d+", seen["dugByTouch"]))
    assert 15 <= across <= 40 and 60 <= up <= 95
    x, y = (float(v.replace("\u2212", "-")) for v in re.findall(r"[\u2212\d.]+", seen["startByTouch"]))
    assert x < 0 < y


def test_the_descent_is_that_of_the_package(browsed):
    """The LSTM, Adam and momentum of the package on the same bowl from the same start."""
    seen = browsed["seen"]
    start = [float(v.replace("\u2212", "-")) for v in re.findall(r"[\u2212\d.]+", seen["start"])]
    np.testing.assert_allclose(start, [-1.4, 1.0])
    A, center = np.array([[2, 0.6], [0.6, 2]]), np.array([0.3, -0.2])
    adam, momentum = map(float, re.findall(r"[\d.]+(?= and|\. A learned)|(?<=and )[\d.]+(?=\.)",
                                           browsed["seen"]["rates"]))
    optimizers = [l2l.load("quadratic-normal-lstm"), l2l.baselines.Adam(adam), l2l.baselines.Momentum(momentum)]
    table = np.array(seen["descent"])
    assert table.shape == (61, 4)
    for column, optimizer in enumerate(optimizers, 1):
        theta = np.array(start)
        state, losses = optimizer.init(theta), []
        for _ in range(25):
            losses.append((theta - center) @ A @ (theta - center) / 2)
            update, state = optimizer.update(A @ (theta - center), state)
            theta = theta + update
        np.testing.assert_allclose(table[:25, column], losses, rtol=0.03, atol=1e-6)


def test_each_surface_can_be_gone_down(browsed):
    assert "after 60 of 60 steps" in browsed["seen"]["descentStatus"]
    for name, rows in browsed["seen"]["surfaces"].items():
        assert len(rows) == 2 and np.isfinite(rows).all() and min(rows[0][1:]) > 0, name


def test_the_networks_pass_their_self_test_in_the_browser(browsed):
    digit, power = re.search(r"at most (\d)\D+10(\S+) in", browsed["seen"]["selfTest"]).groups()
    exponent = int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    assert int(digit) * 10.0**exponent <= 1e-12


def test_the_learned_search_is_ahead_where_it_was_trained(browsed):
    """On draws like those of the training, with 100 seeds; in Node it was ahead in 76 of them after 10, 86 after 30."""
    wins = list(map(int, re.findall(r"in (\d+) (?:of 100 runs )?after", browsed["seen"]["luck"])))
    assert len(wins) == 2 and all(70 <= n <= 100 for n in wins)

import argparse
import importlib
import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import run_command

import l2l_ref
from l2l_ref import backends
from l2l_ref.baselines.gradient import OPTIMIZERS
from l2l_ref.cli import COMMANDS
from l2l_ref.cli import compare as compare_command
from l2l_ref.cli import train as train_command
from l2l_ref.cli.compare import TUNING_FUNCTIONS
from l2l_ref.compare import tuning
from l2l_ref.compare.figures import plot_learning_curves
from l2l_ref.compare.gradient_based import compare, paired, table, to_json
from l2l_ref.learned import coordinatewise
from l2l_ref.learned.optimizer import CoordinatewiseLSTM
from l2l_ref.optimizees import Quadratic
from l2l_ref.pretrained import FOLDER, load, save
from l2l_ref.trees import flatten

PACKAGE = Path(__file__).resolve().parent.parent
TRAIN = ["--epochs", "2", "--tasks", "1", "--functions", "2", "--steps", "4", "--unroll", "2", "--hidden", "3",
         "--backend", "numpy"]
COMPARE = ["--functions", "2", "--steps", "3", "--backend", "numpy"]
SEARCH = ["train", "gp", "--dim", "2", "--epochs", "2", "--updates", "2", "--functions", "3", "--steps", "4",
          "--first-steps", "2", "--hidden", "3", "--backend", "numpy"]


@pytest.fixture(scope="module", autouse=True)
def kernels():
    """The compiled twin looks once for a place of its cache: before a test's own folder becomes that place."""
    backends.choose("coordinatewise", "auto", np.inf)


@pytest.fixture(autouse=True)
def somewhere(tmp_path, tmp_path_factory, monkeypatch):
    """A folder of its own to work in, a cache of its own, no data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp() / "matplotlib"))
    monkeypatch.delenv("L2L_REF_DATA", raising=False)
    monkeypatch.setitem(TUNING_FUNCTIONS, "digits", 1)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run a command: (exit code, stdout, stderr)."""

    return partial(run_command, capsys)


@pytest.fixture
def no_figure(monkeypatch):
    """Drawing takes longer than the comparison."""
    monkeypatch.setattr("l2l_ref.compare.figures.plot_learning_curves", lambda *arguments: None)


@pytest.fixture
def model(tmp_path):
    """The path of a tiny saved optimizer."""
    path = tmp_path / "tiny.npz"
    save(CoordinatewiseLSTM((3,), rng=1), path, {"name": "tiny"})
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a tiny training leaves behind: its folder and its card."""
    folder = tmp_path_factory.mktemp("trained")
    process = python("-m", "l2l_ref", "train", "quadratic", *TRAIN, "--output", folder / "q.npz", "--json",
                     "--checkpoint", folder / "run.ckpt", cwd=folder)
    assert process.returncode == 0, process.stderr
    return folder, json.loads(process.stdout), process.stderr


def python(*words, cwd):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE), "XDG_CACHE_HOME": str(Path(cwd) / "cache"),
                                "MPLCONFIGDIR": str(Path(cwd) / "matplotlib")}
    return subprocess.run([sys.executable, *map(str, words)], cwd=cwd, env=environment, text=True, timeout=120,
                          capture_output=True)


# What users get wrong: one line on stderr, exit code 2.

MISTAKES = {
    "no command": ([], "COMMAND"),
    "an unknown command": (["paint"], "paint"),
    "an unknown problem": (["train", "chess"], "chess"),
    "an unknown option": (["train", "quadratic", "--colour", "red"], "--colour"),
    "an unknown preset": (["train", "quadratic", "--preset", "best"], "best"),
    "an output in no folder": (["train", "quadratic", "--output", "nowhere/q.npz"], "no folder nowhere"),
    "an output that is a folder": (["train", "quadratic", "--output", "folder"], "folder: is a folder"),
    "a checkpoint in no folder": (["train", "quadratic", "--checkpoint", "nowhere/c"], "no folder nowhere"),
    "a checkpoint that is a folder": (["train", "quadratic", "--checkpoint", "folder"], "folder: is a folder"),
    "a checkpoint that is the output": (["train", "digits", "--checkpoint", "q", "--output", "./q"], "--checkpoint"),
    "overwrite nothing": (["train", "quadratic", "--overwrite"], "--overwrite: needs --checkpoint"),
    "resume from nothing": (["train", "quadratic", "--resume"], "--resume: needs --checkpoint"),
    "resume from a text": (["train", "quadratic", "--resume", "--checkpoint", "text"], "text: not a readable"),
    "dist of digits": (["train", "digits", "--dist", "normal"], "--distribution: not for digits"),
    "an unknown dist": (["train", "quadratic", "--dist", "cauchy"], "cauchy"),
    "an unknown kind of sharing": (["train", "quadratic", "--share", "all"], "all"),
    "sharing of images": (["train", "digits", "--share", "bfgs"], "--share: not for digits"),
    "averaged units of none that share": (["train", "quadratic", "--averaged", "3"], "--averaged: needs --share"),
    "a window of a matrix": (["train", "quadratic", "--share", "bfgs", "--window", "9"], "needs --share l-bfgs"),
    "more averaged units than units": (["train", "quadratic", "--share", "bfgs", "--hidden", "3"], "averaged"),
    "no hidden units": (["train", "quadratic", "--hidden", "0"], "hidden: expected whole numbers >= 1"),
    "negative hidden units": (["train", "quadratic", "--hidden=-3"], "hidden: expected whole numbers >= 1"),
    "hidden units in words": (["train", "quadratic", "--hidden", "x"], "--hidden: expected whole numbers"),
    "half a hidden unit": (["train", "quadratic", "--hidden", "2.5"], "--hidden: expected whole numbers"),
    "too many hidden units": (["train", "quadratic", "--hidden", "99999999999"], "l2l-ref train: "),
    "no steps": (["train", "quadratic", "--steps", "0"], "--steps: expected a whole number >= 1, got '0'"),
    "no epochs": (["train", "quadratic", "--epochs", "0"], "--epochs: expected a whole number >= 1"),
    "half a task": (["train", "quadratic", "--tasks", "1.5"], "--tasks: expected a whole number >= 1"),
    "functions in words": (["train", "quadratic", "--functions", "few"], "--functions: expected a whole number"),
    "unroll that does not divide": (["train", "quadratic", "--steps", "10", "--unroll", "3"], "divisor of steps=10"),
    "a negative seed": (["train", "quadratic", "--seed", "-1"], "--seed: expected a whole number >= 0"),
    "a seed in words": (["train", "quadratic", "--seed", "x"], "--seed: expected a whole number >= 0"),
    "theta0-scale nan": (["train", "quadratic", "--theta0-scale", "nan"], "--theta0-scale: expected a finite number"),
    "learning rate infinite": (["train", "quadratic", "--learning-rate", "inf"], "--learning-rate: expected"),
    "learning rate 0": (["train", "quadratic", "--learning-rate", "0"], "learning_rate: expected"),
    "negative clip": (["train", "quadratic", "--clip=-1"], "clip: expected"),
    "output scale 0": (["train", "quadratic", "--output-scale", "0"], "output_scale: expected"),
    "preprocess 0": (["train", "quadratic", "--preprocess", "0"], "preprocess: expected"),
    "no threads": (["train", "quadratic", "--threads", "0"], "--threads: expected a whole number >= 1"),
    "an unknown backend": (["train", "quadratic", "--backend", "abacus"], "abacus"),
    "train mnist without data": (["train", "mnist"], "L2L_REF_DATA"),
    "train mnist with no data there": (["train", "mnist", "--data-dir", "folder"], "train-images"),
    "train mnist with no folder": (["train", "mnist", "--data-dir", "nowhere"], "nowhere"),
    "compare an unknown problem": (["compare", "chess"], "chess"),
    "an unknown model": (["compare", "digits", "--model", "none"], "got 'none'"),
    "a model that is a text": (["compare", "digits", "--model", "text"], "text: not a readable .npz file"),
    "a model that is a folder": (["compare", "digits", "--model", "folder"], "got 'folder'"),
    "a figure in no folder": (["compare", "digits", "--figure", "nowhere/f.png"], "no folder nowhere"),
    "a figure that is a folder": (["compare", "digits", "--figure", "folder"], "folder: is a folder"),
    "a figure of no known format": (["compare", "digits", "--figure", "f.xyz"], "f.xyz: expected a file name that"),
    "a figure of no format": (["compare", "digits", "--figure", "f"], "f: expected a file name that ends in ."),
    "a black-box figure of no known format": (["compare", "gp", "--figure", "f.xyz"], "f.xyz: expected a file name"),
    "a model of another kind": (["compare", "quadratic", "--model", "lstm-oi-2"], "expected a gradient-based"),
    "the same with threads": (["compare", "digits", "--model", "dnc-oi-1", "--threads", "2"],
                              "--model: expected a gradient-based optimizer for digits, got 'dnc-oi-1', a Proposer"),
    "compare dist of digits": (["compare", "digits", "--dist", "normal"], "--distribution: not for digits"),
    "compare hidden of quadratics": (["compare", "quadratic", "--hidden", "3"], "--hidden: not for quadratic"),
    "compare activation of quadratics": (["compare", "quadratic", "--activation", "relu"], "--activation: not for"),
    "compare data of quadratics": (["compare", "quadratic", "--data-dir", "folder"], "--data-dir: not for"),
    "compare no hidden units": (["compare", "digits", "--hidden", "0"], "hidden: expected whole numbers >= 1"),
    "compare hidden units in words": (["compare", "digits", "--hidden", "x"], "--hidden: expected whole numbers"),
    "compare no steps": (["compare", "digits", "--steps", "0"], "--steps: expected a whole number >= 1"),
    "compare no functions": (["compare", "digits", "--functions", "0"], "--functions: expected a whole number >= 1"),
    "compare a negative seed": (["compare", "digits", "--seed", "-1"], "--seed: expected a whole number >= 0"),
    "compare no threads": (["compare", "digits", "--threads", "0"], "--threads: expected a whole number >= 1"),
    "compare theta0-scale nan": (["compare", "digits", "--theta0-scale", "nan"], "--theta0-scale: expected"),
    "compare batch of a network": (["compare", "network", "--batch", "2"], "--batch: not for network"),
    "compare mnist without data": (["compare", "mnist"], "L2L_REF_DATA"),
    "audit of nothing": (["audit", "--only", "no-such-operation"], "no-such-operation"),
    "audit a negative seed": (["audit", "--seed", "-1"], "--seed: expected a whole number >= 0"),
    "audit to no folder": (["audit", "--html", "nowhere/a.html"], "no folder nowhere"),
    "audit to a folder": (["audit", "--html", "folder"], "folder: is a folder"),
    "bench of nothing": (["bench", "sandwich"], "sandwich"),
    "bench no steps": (["bench", "meta-gradient", "--steps", "0"], "--steps: expected a whole number >= 1"),
    "bench no coordinates": (["bench", "meta-gradient", "--coordinates", "0"], "--coordinates: expected whole numbers"),
    "bench no rounds": (["bench", "meta-gradient", "--rounds", "0"], "--rounds: expected a whole number >= 1"),
    "bench a negative seed": (["bench", "meta-gradient", "--seed", "-1"], "--seed: expected a whole number >= 0"),
    "bench no threads": (["bench", "meta-gradient", "--threads", "1,0"], "--threads: expected whole numbers >= 1"),
    "bench negative threads": (["bench", "meta-gradient", "--threads=-2"], "--threads: expected whole numbers >= 1"),
    "bench no counts of threads": (["bench", "meta-gradient", "--threads", ""], "--threads: expected at least one"),
    "bench no hidden units": (["bench", "meta-gradient", "--hidden", "20,0"], "--hidden: expected whole numbers >= 1"),
    "bench two numbers of coordinates": (["bench", "meta-gradient", "--coordinates", "5,6"], "--coordinates: expected"),
    "bench threads of start-up": (["bench", "start-up", "--threads", "1"], "--threads: not for start-up"),
    "bench a figure nowhere": (["bench", "gp", "--figure", "no/such/b.png"], "there is no folder"),
    "bench a figure of no known format": (["bench", "gp", "--figure", "b.xyz"], "b.xyz: expected a file name that"),
    "bench coordinates of a dnc": (["bench", "dnc", "--coordinates", "5"], "--coordinates: not for dnc"),
    "bench a memory of two sizes": (["bench", "dnc", "--memory", "5,4"],
                                     "--hidden, --memory: expected the units of one"),
    "bench a dnc of two layers": (["bench", "dnc", "--hidden", "5,4"], "--hidden, --memory: expected the units of one"),
    "bench negative hidden units": (["bench", "meta-gradient", "--hidden=-3"], "--hidden: expected whole numbers >= 1"),
    "models with an option of others": (["models", "--seed", "1"], "--seed"),
    "data with an option of others": (["data", "--seed", "1"], "--seed"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_users_mistake_is_one_line(run, tmp_path, mistake):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("not weights")
    words, reason = MISTAKES[mistake]
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("l2l-ref") and err.count("\n") == 1 and reason in err
    assert sorted(os.listdir(tmp_path)) == ["folder", "text"]


def test_a_mistake_has_no_traceback_in_a_real_process(tmp_path):
    for words in (["train", "quadratic", "--resume"], ["train", "quadratic", "--hidden", "x"]):
        process = python("-m", "l2l_ref", *words, cwd=tmp_path)
        assert (process.returncode, process.stdout) == (2, "")
        assert process.stderr.startswith("l2l-ref train: ") and process.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_the_summary_of_the_command(run, name):
    code, out, err = run(name, "--help")
    assert (code, err) == (0, "") and out.startswith(f"usage: l2l-ref {name}")
    assert importlib.import_module(f"l2l_ref.cli.{name}").__doc__.strip().splitlines()[0] == COMMANDS[name]
    for text in (out, run("--help")[1]):
        assert " ".join(COMMANDS[name].split()) in " ".join(text.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_text(name):
    parser = argparse.ArgumentParser()
    importlib.import_module(f"l2l_ref.cli.{name}").configure(parser)
    assert not [action.dest for action in parser._actions if not action.help]


@pytest.mark.parametrize("option, text", [
    ("epochs",
     "(default 80 for quadratic; 14 for digits; 60 for mnist, zoo, MODULE:PROBLEM; 40 for cifar; 30 for art; 100 for "
     "gp, support)"),
    ("distribution", "(default uniform)"), ("output_map", "(default linear)"),
    ("coordinates", "(default none for quadratic; 4000 for digits, mnist, cifar, art, zoo, MODULE:PROBLEM)"),
    ("hidden",
     "(default 20,20 for quadratic, digits, mnist, cifar, art, zoo, MODULE:PROBLEM; 64 for gp, support)"),
])
def test_the_texts_of_train_have_the_defaults(option, text):
    parser = argparse.ArgumentParser()
    train_command.configure(parser)
    assert next(action.help for action in parser._actions if action.dest == option).endswith(text)


def test_version(run):
    assert run("--version") == (0, f"l2l-ref {l2l_ref.__version__}\n", "")


LOADED = """
import sys
from l2l_ref.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(*(name for name in sys.modules if name.startswith("l2l_ref.")), file=sys.stderr)
"""


@pytest.mark.parametrize("words, commands, most", [
    (["--help"], set(), 1),
    (["--version"], set(), 1),
    (["audit", "--only", "linear"], {"audit"}, None),
    (["models"], {"models"}, None),
    (["gradcheck", "--help"], {"gradcheck"}, 20),
    (["compare", "--help"], {"compare", "compare_bbob", "compare_black_box", "compare_network", "compare_zoo"}, None),
])
def test_only_the_command_that_is_asked_for_is_loaded(tmp_path, words, commands, most):
    """Of the audit: what it checks, the checker, and few modules more."""
    loaded = python("-c", LOADED, *words, cwd=tmp_path).stderr.split()
    shared = {"arguments", "executors", "user_code"}
    assert {name.split(".")[2] for name in loaded if name.startswith("l2l_ref.cli.")} - shared == commands
    assert most is None or len(loaded) <= most
    if words[0] == "audit":
        checked = ("catalogue", "ops", "learned", "optimizees", "datasets", "checking")
        assert len([name for name in loaded if name.split(".")[1] not in checked]) <= 20


@pytest.mark.parametrize("words", ["audit --only linear", "models", "data", "--help", "train --help"])
def test_without_docstrings(tmp_path, words):
    process = python("-OO", "-m", "l2l_ref", *words.split(), cwd=tmp_path)
    assert process.returncode == 0 and process.stdout and process.stderr == ""


def test_a_folder_that_may_not_be_written_to(run, tmp_path, monkeypatch):
    (tmp_path / "locked").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")  # the administrator always may
    for words in (["train", "quadratic", "--output", "locked/q"], ["compare", "digits", "--figure", "locked/f.png"]):
        code, out, err = run(*words)
        assert (code, out) == (2, "") and "cannot be written to" in err and err.count("\n") == 1


def test_interrupted(run, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("l2l_ref.cli.models.run", interrupted)
    assert run("models") == (130, "", "l2l-ref models: interrupted\n")


def test_a_mistake_of_ours_is_not_hidden(run, monkeypatch):
    def wrong(args):
        raise KeyError("ours")

    monkeypatch.setattr("l2l_ref.cli.models.run", wrong)
    with pytest.raises(KeyError):
        run("models")


@pytest.mark.skipif(os.name != "posix", reason="pipes and signals are POSIX's")
def test_the_reader_of_the_output_may_leave(tmp_path):
    read, write = os.pipe()
    os.close(read)
    try:
        process = subprocess.run([sys.executable, "-m", "l2l_ref", "data"], stdout=write, stderr=subprocess.PIPE,
                                 env=os.environ | {"PYTHONPATH": str(PACKAGE), "PYTHONUNBUFFERED": ""}, timeout=60)
    finally:
        os.close(write)
    assert (process.returncode, process.stderr) == (128 + signal.SIGPIPE, b"")


def shell(words, cwd):
    """Run ``l2l-ref`` with these words and redirections."""
    command = f"{shlex.quote(sys.executable)} -m l2l_ref {words}"
    return subprocess.run(command, shell=True, cwd=cwd, env=os.environ | {"PYTHONPATH": str(PACKAGE)}, timeout=60,
                          text=True, capture_output=True)


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell closes the streams")
def test_streams_may_be_closed(tmp_path):
    """As some services start programs: the result goes nowhere, and above all not into the other stream."""
    closed = shell("models >&-", tmp_path)
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, "", "")
    closed = shell("audit --only linear --json 2>&-", tmp_path)
    assert closed.returncode == 0 and strict(closed.stdout)["ok"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
def test_a_full_disk_is_one_line(tmp_path):
    full = shell("models --json > /dev/full", tmp_path)
    assert full.returncode == 2 and full.stderr.startswith("l2l-ref models: ") and full.stderr.count("\n") == 1


# train


def test_train_writes_what_it_prints(trained):
    folder, card, err = trained
    loaded = load(folder / "q.npz")
    assert {key: loaded.card[key] for key in card} == card
    assert loaded.hidden == (3,) and loaded.card["name"] == "q"
    assert loaded.card["made with"] == {"backend": "numpy", "numpy": np.__version__}
    assert sorted(path.name for path in folder.iterdir()) == ["q.npz", "run.ckpt"]
    assert err.count("\n") == 3 and err.startswith("epoch 1/2 ")


def test_the_command_on_the_card_trains_the_same_weights(trained, run, tmp_path):
    folder, card, _ = trained
    program, *words = card["command"].split()
    assert program == "l2l-ref" and "/" not in card["command"]
    code, out, err = run(*words, "--backend", "numpy")
    assert (code, out) == (0, "")
    again = load(tmp_path / "q.npz")
    assert flatten(again.params).tobytes() == flatten(load(folder / "q.npz").params).tobytes()
    assert again.card["command"] == card["command"]
    assert again.card["score"] == card["score"] and again.card["validation"] == card["validation"]


@pytest.mark.parametrize("more, kept", [([], ["o-interrupted.npz", "o.npz"]),
                                        (["--checkpoint", "run.ckpt"], ["o.npz", "run.ckpt"])])
@pytest.mark.parametrize("problem", ["quadratic", "gp"])
def test_an_interrupted_training_keeps_what_there_is(run, tmp_path, monkeypatch, problem, more, kept):
    """The best weights so far, beside those of an earlier training; or the checkpoint."""
    (tmp_path / "o.npz").write_text("of an earlier training")
    words = ["train", "quadratic", *TRAIN] if problem == "quadratic" else SEARCH
    called = train_command.Reporter.__call__

    def interrupted(self, state, recipe):
        called(self, state, recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command.Reporter, "__call__", interrupted)
    code, out, err = run(*words, *more, "--output", "o.npz")
    assert (code, out) == (130, "") and "l2l-ref train: interrupted" in err and sorted(os.listdir(tmp_path)) == kept
    assert (tmp_path / "o.npz").read_text() == "of an earlier training"
    if not more:
        card = load("o-interrupted.npz").card
        assert card["name"] == "o-interrupted" and card["epochs"] == 1 and "score" not in card
        assert {"command", "made with", "problem", "recipe", "validation", "version"} <= set(card)
        monkeypatch.setattr(train_command.Reporter, "__call__", called)
        assert run(*words, "--epochs", "1", "--output", "one.npz")[0] == 0
        assert flatten(load("one.npz").params).tobytes() == flatten(load("o-interrupted.npz").params).tobytes()


def test_an_interrupt_before_the_first_epoch_keeps_nothing(run, tmp_path, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("l2l_ref.cli.train.meta_train", interrupted)
    assert run("train", "quadratic", *TRAIN) == (130, "", "l2l-ref train: interrupted\n")
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_is_overwritten_only_when_asked(trained, run, tmp_path):
    folder, _, _ = trained
    content = (folder / "run.ckpt").read_bytes()
    (tmp_path / "run.ckpt").write_bytes(content)
    words = ["train", "quadratic", *TRAIN, "--seed", "7", "--output", "o.npz", "--checkpoint", "run.ckpt"]
    code, out, err = run(*words)
    assert (code, out) == (2, "") and err.count("\n") == 1 and "resume" in err and "overwrite" in err
    assert (tmp_path / "run.ckpt").read_bytes() == content and os.listdir(tmp_path) == ["run.ckpt"]
    code, out, err = run(*words, "--overwrite")
    assert (code, out) == (0, "") and (tmp_path / "run.ckpt").read_bytes() != content
    assert "overwrite" not in load("o.npz").card["command"]


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
@pytest.mark.parametrize("words", [["train", "quadratic", *TRAIN, "--output", "pipe"],
                                   ["train", "quadratic", *TRAIN, "--checkpoint", "pipe"],
                                   ["audit", "--html", "pipe"]])
def test_what_is_no_file_is_refused_before_the_work(run, tmp_path, words):
    os.mkfifo(tmp_path / "pipe")
    code, out, err = run(*words)
    assert code == 2 and "pipe: expected a regular file" in err and err.count("\n") == 1
    assert os.listdir(tmp_path) == ["pipe"] and not (tmp_path / "pipe").is_file()


def test_a_finished_training_can_be_resumed(trained, run, tmp_path):
    folder, card, _ = trained
    code, out, err = run("train", "quadratic", *TRAIN, "--output", "again.npz", "--checkpoint", folder / "run.ckpt",
                         "--resume")
    assert (code, out) == (0, "") and "epoch" not in err
    assert flatten(load("again.npz").params).tobytes() == flatten(load(folder / "q.npz").params).tobytes()


def test_a_broken_checkpoint_is_named_and_left_alone(trained, run, tmp_path):
    folder, _, _ = trained
    broken = (folder / "run.ckpt").read_bytes()[:-1]
    (tmp_path / "run.ckpt").write_bytes(broken)
    code, out, err = run("train", "quadratic", *TRAIN, "--checkpoint", "run.ckpt", "--resume")
    assert (code, out) == (2, "") and err.startswith("l2l-ref train: run.ckpt: ") and err.count("\n") == 1
    assert (tmp_path / "run.ckpt").read_bytes() == broken and os.listdir(tmp_path) == ["run.ckpt"]


def test_the_checkpoint_of_another_run_is_named(trained, run):
    folder, _, _ = trained
    code, out, err = run("train", "quadratic", *TRAIN, "--seed", "7", "--checkpoint", folder / "run.ckpt", "--resume")
    assert code == 2 and "its seed is 0, not 7" in err and err.count("\n") == 1


def test_training_that_diverges_still_ends_well(run):
    code, out, err = run("train", "quadratic", *TRAIN[:-4], "--hidden", "", "--backend", "numpy", "--learning-rate",
                         "1e30", "--output", "q.npz", "--json")
    assert code == 0 and np.isfinite(flatten(load("q.npz").params)).all()
    json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_a_black_box_optimizer_is_trained_and_resumed(run, tmp_path, monkeypatch):
    monkeypatch.setattr("l2l_ref.cli.train.SEARCH_TEST_FUNCTIONS", 5)
    code, out, err = run(*SEARCH, "--loss", "ei", "--constant-incumbent", "--output", "s.npz", "--checkpoint", "s.ckpt",
                         "--json")
    assert code == 0 and err.count("\n") == 3 and "horizon 2" in err and "best value after step 4" in err
    card = strict(out)
    assert card["command"] == ("l2l-ref train gp --seed 0 --output s.npz --epochs 2 --functions 3 --steps 4 "
                               "--updates 2 --first-steps 2 --dim 2 --hidden 3 --loss ei --constant-incumbent")
    assert (card["recipe"]["loss"], card["recipe"]["through_incumbent"], card["problem"]["dim"]) == ("ei", False, 2)
    assert len(card["moments"]) == 3
    assert card["made with"] == {"backend": "numpy", "numpy": np.__version__}
    trained = load("s.npz")
    code, out, err = run(*card["command"].split()[1:], "--backend", "numpy", "--output", "again.npz")
    assert flatten(load("again.npz").params).tobytes() == flatten(trained.params).tobytes()
    monkeypatch.setattr("l2l_ref.pretrained.FOLDER", tmp_path)
    code, out, err = run("models")
    assert "model    proposer, cell lstm, dim 2, hidden 3, output linear" in out and "after 4 queries" in out


def test_one_network_for_several_dimensions_is_trained(run, tmp_path, monkeypatch):
    monkeypatch.setattr("l2l_ref.cli.train.SEARCH_TEST_FUNCTIONS", 5)
    words = [word if word != "2" or SEARCH[k - 1] != "--dim" else "1,3" for k, word in enumerate(SEARCH)]
    code, out, _ = run(*words, "--cell", "shared", "--json")
    card = strict(out)
    assert code == 0 and card["name"] == "gp-1-3-lstm" and card["model"]["dim"] is None
    assert card["problem"]["dim"] == [1, 3] and "--dim 1,3" in card["command"]
    assert [len(of_each) for of_each in card["moments"]] == [3, 3]
    assert np.mean(card["score"]["final of each"]) == pytest.approx(card["score"]["final"])
    assert load("gp-1-3-lstm.npz").of(2).card["moments"] in card["moments"]
    monkeypatch.setattr("l2l_ref.pretrained.FOLDER", tmp_path)
    out = run("models")[1]
    assert "cell shared, dim any, hidden 3" in out and "5 test functions of each number of dimensions" in out
    code, out, err = run(*words)
    assert (code, out) == (2, "") and "--dim: expected one number for --cell lstm, got 2" in err


@pytest.mark.parametrize("words, message", [
    (["train", "gp"], "--dim: expected the number of dimensions of the functions"),
    ([*SEARCH, "--unroll", "2"], "--unroll: not for gp"),
    ([*SEARCH, "--start", "lstm-oi-2"], "--start: not for gp"),
    ([*SEARCH, "--dist", "normal"], "--distribution: not for gp"),
    ([*SEARCH, "--hidden", "3,3"], "--hidden: expected the units of one layer, got (3, 3)"),
    ([*SEARCH, "--curriculum", "2"], "curriculum: expected a number in [0, 1], got 2.0"),
    (["train", "support", "--dim", "2", "--noise", "1"], "--noise: not for support"),
    (["train", "quadratic", "--data-dir", "folder"], "--data-dir: not for quadratic"),
    (["train", "quadratic", "--dim", "3"], "--dim: not for quadratic"),
    (["train", "digits", "--loss", "oi"], "--loss: not for digits"),
])
def test_options_of_another_problem_are_refused(run, words, message):
    assert run(*words) == (2, "", f"l2l-ref train: {message}\n")
    assert os.listdir() == []


@pytest.mark.parametrize("start, message", [("nothing", "--start: name: expected the path"), ("lstm-oi-2", "start: ")])
def test_a_start_that_does_not_fit_is_refused(run, start, message):
    code, out, err = run("train", "digits", "--start", start)
    assert (code, out) == (2, "") and err.startswith(f"l2l-ref train: {message}") and err.count("\n") == 1
    assert os.listdir() == []


@pytest.mark.parametrize("command, for_all", [
    (train_command, {"seed", "output", "checkpoint", "resume", "overwrite", "backend", "threads", "json",
                     "processes", "executor", "scheduler", "piece_seconds"}),
    (compare_command, {"model", "functions", "seed", "figure", "json"}),
])
def test_an_option_is_listed_for_its_problems_or_for_all(command, for_all):
    parser = argparse.ArgumentParser()
    command.configure(parser)
    listed = {name for names in command.OPTIONS.values() for name in names}
    assert {action.dest for action in parser._actions} - {"help", "problem"} == listed | for_all
    assert not listed & for_all


# compare

KEYS = {"final_loss_mean", "final_loss_ci95", "curve_mean", "learning_rate", "seconds_per_step"}


def strict(text):
    """Exactly one JSON object, without the NaN and Infinity that Python would take."""
    value = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert isinstance(value, dict)
    return value


def without_times(result):
    for entry in result["optimizers"].values():
        assert entry.pop("seconds_per_step") > 0
    return result


def cache_files(tmp_path):
    return sorted((tmp_path / "cache" / "l2l_ref").iterdir())


def test_compare_prints_one_json_object(run, model, tmp_path):
    code, out, err = run("compare", "digits", "--model", model, *COMPARE, "--figure", "f.svg", "--json")
    assert code == 0 and out.count("\n") == 1
    result = strict(out)
    assert result["steps"] == 3 and result["functions"] == 2 and result["problem"]["problem"] == "digits"
    assert result["model"]["name"] == "tiny"
    assert list(result["optimizers"]) == ["learned", *OPTIMIZERS]
    for name, entry in result["optimizers"].items():
        assert KEYS <= entry.keys()
        assert len(entry["curve_mean"]) == 4 and entry["curve_mean"][-1] == entry["final_loss_mean"]
        low, high = entry["final_loss_ci95"]
        assert low <= entry["final_loss_mean"] <= high
        assert (entry["learning_rate"] in tuning.GRID) == (name != "learned")
    starts = {entry["curve_mean"][0] for entry in result["optimizers"].values()}
    assert len(starts) == 1 and 1.5 < starts.pop() < 3.5  # everybody starts at the same points, about log 10
    assert (tmp_path / "f.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert "figure: f.svg" in err


def test_compare_again_takes_the_rates_from_the_cache(run, model, tmp_path, monkeypatch, no_figure):
    words = ["compare", "digits", "--model", model, *COMPARE, "--json"]
    first = without_times(strict(run(*words)[1]))
    held = {file: file.read_text(encoding="utf-8") for file in cache_files(tmp_path)}
    assert len(held) == len(OPTIMIZERS)
    with monkeypatch.context() as patch:
        patch.setattr("l2l_ref.compare.tuning.rollout", lambda *a: pytest.fail("tuned again"))
        assert without_times(strict(run(*words)[1])) == first

    nested, short = "[" * 100_000, json.dumps([1.0] * (len(tuning.GRID) - 1))
    lists = [json.dumps([bad] * len(tuning.GRID)) for bad in (float("nan"), float("-inf"), "1", None, True, [1.0])]
    objects = json.dumps({str(k): 1.0 for k in range(len(tuning.GRID))})
    for corrupted in ("", "{", "7", "\0\xff", nested, short, objects, *lists):
        victim = cache_files(tmp_path)[0]
        victim.write_text(corrupted, encoding="latin1")
        assert without_times(strict(run(*words)[1])) == first
        assert {file: file.read_text(encoding="utf-8") for file in cache_files(tmp_path)} == held  # mended


def test_the_cache_is_used_and_fresh_does_not_use_it(run, model, tmp_path, no_figure):
    words = ["compare", "digits", "--model", model, *COMPARE, "--json"]
    first = without_times(strict(run(*words)[1]))
    for file in cache_files(tmp_path):
        file.write_text(json.dumps([0.0] + [1.0] * (len(tuning.GRID) - 1)))
    code, out, err = run(*words)
    rates = {entry["learning_rate"] for name, entry in strict(out)["optimizers"].items() if name != "learned"}
    assert rates == {tuning.GRID[0]} and err.count("lies at the edge of its grid") == len(OPTIMIZERS)
    assert without_times(strict(run(*words, "--fresh")[1])) == first


@pytest.mark.parametrize("changes", [["--steps", "4"], ["--seed", "1"], ["--hidden", "5"], ["--activation", "relu"],
                                     ["--theta0-scale", "0.2"]])
def test_other_conditions_are_tuned_for_anew(run, model, tmp_path, changes, no_figure):
    words = ["compare", "digits", "--model", model, *COMPARE, "--json"]
    run(*words)
    run(*words, *changes)
    assert len(cache_files(tmp_path)) == 2 * len(OPTIMIZERS)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(run, model, tmp_path, monkeypatch, no_figure):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert run("compare", "digits", "--model", model, *COMPARE)[0] == 0
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert run("compare", "digits", "--model", model, *COMPARE)[0] == 0


def test_compare_prints_a_table(run, model, tmp_path):
    code, out, err = run("compare", "digits", "--model", model, *COMPARE)
    assert code == 0
    title, header, *rows = out.splitlines()
    assert title == "digits, hidden units 20, sigmoid: 2 functions"
    assert header.split()[:2] == ["optimizer", "rate"] and "f(3)" in header.split()
    names = [row.split()[0] for row in rows[: len(OPTIMIZERS) + 1]]
    assert sorted(names) == sorted(["learned", *OPTIMIZERS])
    at = header.index("f(3)") + len("f(3)")
    finals = [float(row[:at].split()[-1]) for row in rows[: len(names)]]
    assert finals == sorted(finals)
    assert (tmp_path / "compare-digits.png").read_bytes().startswith(b"\x89PNG")


def test_compare_on_one_function_has_no_interval(run, model, no_figure):
    result = strict(run("compare", "digits", "--model", model, *COMPARE, "--functions", "1", "--json")[1])
    assert result["optimizers"]["adam"]["final_loss_ci95"] == [None, None]


def test_compare_without_matplotlib(model, tmp_path):
    code = ("import sys; sys.modules['matplotlib'] = None; from l2l_ref.cli import main; "
            "sys.exit(main(sys.argv[1:]))")
    process = python("-c", code, "compare", "digits", "--model", model, *COMPARE, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert all(f"\n{name} " in process.stdout for name in ["learned", *OPTIMIZERS])
    assert process.stderr.startswith("no figure: a figure needs matplotlib: pip install 'l2l-ref[plot]'\n")
    assert not (tmp_path / "compare-digits.png").exists()


def test_a_figure_that_was_asked_for_needs_matplotlib(run, model, monkeypatch):
    """Said before anything is computed."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("l2l_ref.cli.compare.compare", lambda *a, **k: pytest.fail("the comparison was begun"))
    code, out, err = run("compare", "digits", "--model", model, *COMPARE, "--figure", "f.png")
    assert (code, out, err) == (2, "", "l2l-ref compare: a figure needs matplotlib: pip install 'l2l-ref[plot]'\n")


def test_an_optimizer_that_diverges_is_compared_all_the_same(tmp_path):
    """Infinities and nans are null in JSON, last in the table, and leave the figure through its top."""
    blown = coordinatewise.Params((), np.full((1, 1), 1e30), np.ones(1))
    model = CoordinatewiseLSTM((), params=blown, backend="numpy")
    problem = Quadratic(dim=2)
    results = compare(model, problem, steps=5, functions=3, tuning_functions=2, optimizers=("sgd", "adam"))
    assert not np.isfinite(results["learned"].losses[-1]).any()
    result = strict(json.dumps(to_json(results, problem, model, 5), allow_nan=False))
    assert result["optimizers"]["learned"]["final_loss_mean"] is None
    assert result["learned_minus_baseline"]["sgd"]["mean"] is None
    lines = table(results, problem, 5)
    assert lines[3].startswith("learned ")
    plot_learning_curves(results, problem, 5, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 0


def test_compare_is_fair():
    """An optimizer compared with itself: the same functions, the same starting points, the same losses."""
    problem, rate = Quadratic(dim=3), 0.0251
    assert rate in tuning.GRID
    tuned = compare(OPTIMIZERS["sgd"](rate), problem, 6, 4, optimizers=("sgd",), tuning_functions=3, cache=False)
    same = compare(OPTIMIZERS["sgd"](tuned["sgd"].learning_rate), problem, 6, 4, optimizers=("sgd",),
                   tuning_functions=3, cache=False)
    np.testing.assert_array_equal(same["learned"].losses, same["sgd"].losses)
    mean, half = paired(same, 6)["sgd"]
    assert (mean, half) == (0, 0)
    assert not np.array_equal(tuned["learned"].losses, compare(OPTIMIZERS["sgd"](rate), problem, 6, 4, seed=1,
                              optimizers=(), cache=False)["learned"].losses)


def test_tuning_takes_the_rate_with_the_least_final_loss():
    """f = x^2 from 1 with one SGD step: theta = 1 - 2 r, so r = 0.5 is best and the grid has 0.398 and 0.631."""

    class OneParabola:
        config = {"problem": "parabola"}

        def sample(self, functions, seed):
            class Task:
                theta0 = np.ones((functions, 1))

                def loss_and_gradient(self, theta):
                    return (theta * theta)[:, 0], 2 * theta

            return Task()

    tuned = tuning.tune("sgd", OneParabola(), 1, 2, 0, cache=False)
    assert tuned.learning_rate == 0.398 and not tuned.at_edge
    np.testing.assert_allclose(tuned.final_losses, [(1 - 2 * r) ** 2 for r in tuning.GRID], rtol=1e-9)
    assert tuning.tune("sgd", OneParabola(), 0, 2, 0, cache=False).at_edge  # all alike: the first


# models


def test_models_prints_the_cards(run):
    code, out, err = run("models", "--json")
    assert (code, err) == (0, "")
    cards = strict(out)["models"]
    assert [card["name"] for card in cards] == sorted(path.stem for path in FOLDER.glob("*.npz"))


def test_models_says_how_each_was_trained_and_what_it_scores(run, trained, monkeypatch):
    folder, card, _ = trained
    monkeypatch.setattr("l2l_ref.pretrained.FOLDER", folder)
    assert strict(run("models", "--json")[1])["models"] == [load(folder / "q.npz").card]
    code, out, err = run("models")
    assert (code, err) == (0, "") and out.startswith("q\n")
    for words in (card["command"], f"{card['score']['final']:.4g}", "hidden [3]", "dist uniform", "seed 0"):
        assert words in out


@pytest.mark.parametrize("work, words, unit", [
    ("meta-gradient", ["--coordinates", "70", "--steps", "3"], "ns_per_coordinate_step"),
    ("update", ["--coordinates", "1,300"], "ns_per_coordinate"),
    ("gp", ["--batch", "3", "--steps", "4"], "us_per_function"),
    ("train", ["--batch", "3", "--steps", "4"], "ms"),
    ("pieces", ["--batch", "5", "--steps", "4", "--pieces", "2", "--latency", "3", "--rest", "2"], "predicted_ms"),
    ("start-up", [], "ms_over_numpy"),
])
def test_bench(run, work, words, unit, tmp_path):
    code, out, err = run("bench", work, *words, "--rounds", "1", "--json", "--figure", tmp_path / "b.png")
    assert code == 0, err
    result = json.loads(out)
    rows = {(row["work"], row["implementation"], row["threads"]): row for row in result["rows"]}
    assert len(rows) == len(result["rows"]) >= 3 and (tmp_path / "b.png").is_file()
    assert all(0 < row["min_s"] <= row["median_s"] and np.isfinite(row[unit]) for row in rows.values())
    if work == "pieces":
        names = {row["implementation"] for row in rows.values()} - {"dask, 2 workers"}
        assert names == {"1 process", "2 processes", "2 processes, 3 ms late"}
        late = rows["gp, 5 functions in 2 pieces", "2 processes, 3 ms late", None]
        assert late["min_s"] > 0.003 and result["summary"][0].startswith("2 processes are ")
    elif work != "start-up":
        assert result["copy_gb_per_s"] > 0 and len(result["peak_gflops"]) == 1
    if work == "meta-gradient":
        one = rows[next(key for key in rows if key[1:] == ("numba", 1))]
        rate = 6 * (4 * 20 * 22 + 4 * 20 * 40 + 20) / one["ns_per_coordinate_step"]
        assert one["part_of_peak"] == pytest.approx(rate / result["peak_gflops_by_threads"]["1"])


# The cost of tuning.


@pytest.mark.parametrize("words, names, count", [
    ([], list(OPTIMIZERS), 2), (["--functions", "9999"], list(OPTIMIZERS), TUNING_FUNCTIONS["quadratic"]),
    (["--baselines", "adam, sgd"], ["sgd", "adam"], 2), (["--baselines", ""], [], None),
    (["--baselines", "nag", "--tuning-functions", "7"], ["nag"], 7),
])
def test_what_is_tuned_follows_from_the_options(run, model, no_figure, monkeypatch, words, names, count):
    tuned, measured = [], []
    monkeypatch.setattr("l2l_ref.compare.gradient_based.tune", lambda name, problem, steps, functions, *others:
                        tuned.append((name, functions)) or tuning.Tuned(0.1, [], False))
    monkeypatch.setattr("l2l_ref.compare.gradient_based.measure", lambda optimizer, problem, steps, functions, seed:
                        measured.append(functions) or (np.ones((steps + 1, 2)), 1.0))
    code, out, _ = run("compare", "quadratic", "--model", model, *COMPARE, *words)
    assert code == 0 and tuned == [(name, count) for name in names]
    assert len(measured) == 1 + len(names) and len(out.splitlines()) >= 2 + len(names)


def test_unknown_baselines_are_refused(run, model):
    code, _, err = run("compare", "quadratic", "--model", model, *COMPARE, "--baselines", "adam,lion")
    assert code == 2 and "--baselines: expected some of sgd, " in err and "got 'lion'" in err

import errno
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from l2l_ref import files, plotting

W = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.array([0.5, -1.0])
EXPECTED = {"W": ((2, 3), np.float32), "b": ((2,), np.float64)}


def expect(card):
    return EXPECTED


def npy(array, **settings):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), **settings)
    return stream.getvalue()


def npy_header(text, version=b"\x01\x00"):
    """The first bytes of an .npy file with a header of our own."""
    text = text.encode("latin1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


def card_bytes(card):
    text = card if isinstance(card, bytes) else json.dumps(card).encode()
    return npy(np.frombuffer(text, np.uint8))


def good_card(arrays=None):
    return {"format": files.FORMAT, "sha256": files.digest(arrays or {"W": W, "b": B})}


def members(**changes):
    """The members of a good file, some of them replaced; None leaves one out."""
    given = {"card": card_bytes(good_card()), "W": npy(W), "b": npy(B)} | changes
    return [(f"{name}.npy", content) for name, content in given.items() if content is not None]


def zipped(path, contents, compression=zipfile.ZIP_STORED):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in contents:
                archive.writestr(name, content)


def refusal(path, expect=expect):
    """The one line that says why a file is refused."""
    with pytest.raises(ValueError) as caught:
        files.read(path, expect)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < len(str(path)) + 700
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


@pytest.fixture
def good(path):
    files.write(path, {"W": W, "b": B}, {"name": "good"})
    return path.read_bytes()


# What is written comes back.

DTYPES = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.complex128, ">f4"])
FINITE = {"allow_nan": False, "allow_infinity": False}


@st.composite
def some_arrays(draw):
    names = st.text("abcXYZ_.0123456789 ", min_size=1, max_size=8).filter(lambda name: name not in ("card", "file"))
    shapes = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)

    def array():
        dtype = np.dtype(draw(DTYPES))
        values = draw(arrays(dtype, draw(shapes), elements=FINITE if dtype.kind in "fc" else None))
        return values.T if draw(st.booleans()) else values

    return {name: array() for name in draw(st.lists(names, unique=True, max_size=3))}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(**FINITE) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)


@given(some_arrays(), st.dictionaries(st.text().filter(lambda key: key not in ("format", "sha256")), JSON))
def test_round_trip(tmp_path_factory, written, card):
    path = tmp_path_factory.mktemp("files") / "any.npz"
    files.write(path, written, card)
    read, read_card = files.read(path, lambda card: {name: (a.shape, a.dtype) for name, a in written.items()})
    assert read.keys() == written.keys()
    for name, array in written.items():
        assert read[name].dtype == array.dtype and read[name].shape == array.shape
        assert read[name].tobytes() == array.tobytes()
    assert {key: read_card[key] for key in card} == card
    assert set(read_card) - set(card) == {"format", "sha256"}


def test_any_npz_reader_can_read_it(path, good):
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(archive["W"], W)
        assert json.loads(archive["card"].tobytes())["name"] == "good"


def test_a_card_with_another_format_is_written_in_this_one(path):
    files.write(path, {"W": W, "b": B}, {"format": 99, "sha256": "no"})
    assert files.read(path, expect)[1] == good_card()


@given(st.sampled_from(["W", "b"]), st.integers(0, 1))
def test_digest_tells_everything_apart(name, entry):
    held = {"W": W, "b": B}
    changed = {key: array.copy() for key, array in held.items()}
    changed[name].flat[entry] = np.nextafter(changed[name].flat[entry], np.inf, dtype=changed[name].dtype)
    others = [changed, {"W": W, "c": B}, {"W": W.reshape(3, 2), "b": B}, {"W": W.astype(np.int32), "b": B}, {"W": W}]
    assert len({files.digest(other) for other in [held, *others]}) == len(others) + 1


# Whole or not at all.


def test_a_failing_write_leaves_the_old_file_and_nothing_else(path, good, monkeypatch):
    def fails(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    for target in ("os.fsync", "os.replace", "numpy.savez"):
        with monkeypatch.context() as patch:
            patch.setattr(target, fails)
            with pytest.raises(OSError, match="No space"):
                files.write(path, {"W": W + 1, "b": B}, {})
        assert path.read_bytes() == good
        assert os.listdir(path.parent) == [path.name]


def test_a_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    files.write_text(path, "\N{GREEK SMALL LETTER THETA}\n")
    assert path.read_bytes() == b"\xce\xb8\n"
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        files.write_text(path, "new")
    assert path.read_bytes() == b"\xce\xb8\n" and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("ending", ["png", "SVG"])
def test_a_figure_is_written_whole_or_not_at_all(tmp_path, monkeypatch, ending):
    pytest.importorskip("matplotlib")
    path, figure = tmp_path / f"figure.{ending}", plotting.matplotlib_figure()()
    plotting.save_figure(figure, path, dpi=10)
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space .* the old file was kept"):
        plotting.save_figure(figure, path, dpi=20)
    assert path.read_bytes() == first and os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="the umask is POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_says_who_may_read_it(path, umask):
    before = os.umask(umask)
    try:
        files.write(path, {"W": W, "b": B}, {})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_what_a_killed_process_left_is_no_obstacle(path):
    """The next process may have the same number."""
    (path.parent / f"{path.name}.{os.getpid()}.tmp").write_bytes(b"half")
    files.write(path, {"W": W, "b": B}, {})
    files.read(path, expect)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(files.fcntl is None, reason="there are no such locks here")
def test_the_temporary_of_a_living_writer_stays(path, good, monkeypatch):
    """Another write comes when the first has written its temporary file, and before it is renamed."""
    fsync, others = os.fsync, []

    def watched(handle):
        if not others:
            others.append(set(os.listdir(path.parent)))
            files.write(path, {"W": W + 1, "b": B}, {})
            assert set(os.listdir(path.parent)) == others[0]
        fsync(handle)

    monkeypatch.setattr("os.fsync", watched)
    files.write(path, {"W": W + 2, "b": B}, {})
    assert len(others[0]) == 2 and os.listdir(path.parent) == [path.name]
    np.testing.assert_array_equal(files.read(path, expect)[0]["W"], W + 2)


@pytest.mark.skipif(files.fcntl is None, reason="there are no such locks here")
def test_a_temporary_that_was_taken_for_a_leftover_is_made_anew(path, monkeypatch):
    """Another writer comes between the making of the temporary file and its lock."""
    flock, taken = files.fcntl.flock, []

    def late(handle, operation):
        if not taken:
            taken.extend(os.listdir(path.parent))
            (path.parent / taken[0]).unlink()
        flock(handle, operation)

    monkeypatch.setattr("fcntl.flock", late)
    files.write(path, {"W": W, "b": B}, {})
    assert len(taken) == 1 and os.listdir(path.parent) == [path.name]
    files.read(path, expect)


KILLED = """
import os, signal, sys
from l2l_ref import files
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
files.write_text(sys.argv[1], "half")
"""


@pytest.mark.skipif(files.fcntl is None, reason="there are no such locks here")
def test_the_next_write_removes_what_a_killed_writer_left(path, good):
    for _ in range(2):
        assert python(KILLED, path).returncode == -signal.SIGKILL
        assert len(os.listdir(path.parent)) == 2 and path.read_bytes() == good
    others = [path.parent / name for name in ("weights.npz.tmp", "weights.npz.mine.tmp", "others.npz.0a.tmp")]
    for other in others:
        other.write_text("of somebody else")
    files.write(path, {"W": W + 1, "b": B}, {})
    assert sorted(path.parent.iterdir()) == sorted([path, *others])


def python(code, *arguments):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=environment, text=True, timeout=60,
                          capture_output=True)


def test_threads_that_write_one_file(path):
    """Each read sees a whole file, each write succeeds, and nothing stays beside the file."""
    files.write(path, {"W": W, "b": B}, {})
    failures, done = [], threading.Event()

    def watched(work):
        try:
            work()
        except Exception as error:
            failures.append(repr(error))

    def write(k):
        for _ in range(40):
            files.write(path, {"W": W + k, "b": B}, {"k": k})

    def read():
        while not done.is_set():
            arrays, card = files.read(path, expect)
            assert (arrays["W"] == W + card.get("k", 0)).all()

    writers = [threading.Thread(target=watched, args=(lambda k=k: write(k),)) for k in range(4)]
    reader = threading.Thread(target=watched, args=(read,))
    for thread in [reader, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert failures == [] and os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="modes, links and devices are POSIX's")
class TestWhatIsThere:
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o400])
    def test_a_file_keeps_its_mode(self, path, good, mode):
        path.chmod(mode)
        files.write(path, {"W": W + 1, "b": B}, {})
        assert path.stat().st_mode & 0o7777 == mode and path.read_bytes() != good

    def test_a_secret_file_is_secret_while_it_is_written(self, path, good, monkeypatch):
        path.chmod(0o600)
        write, modes = os.write, set()

        def watched(handle, content):
            modes.add(os.fstat(handle).st_mode & 0o777)
            return write(handle, content)

        monkeypatch.setattr("os.write", watched)
        files.write(path, {"W": W, "b": B}, {})
        assert modes == {0o600}

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
    def test_a_file_keeps_its_owner(self, path, good):
        os.chown(path, 12345, 54321)
        files.write(path, {"W": W, "b": B}, {})
        assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)

    @pytest.mark.parametrize("there", [True, False])
    def test_a_link_stays_and_its_target_is_written(self, tmp_path, there):
        (tmp_path / "other").mkdir()
        target, link = tmp_path / "other" / "target.npz", tmp_path / "link.npz"
        if there:
            files.write(target, {"W": W, "b": B}, {})
        link.symlink_to("other/target.npz")
        files.write(link, {"W": W + 1, "b": B}, {})
        assert os.readlink(link) == "other/target.npz" and not target.is_symlink()
        np.testing.assert_array_equal(files.read(target, expect)[0]["W"], W + 1)
        assert os.listdir(tmp_path / "other") == ["target.npz"] and len(os.listdir(tmp_path)) == 2

    def test_a_link_to_itself(self, path):
        path.symlink_to(path.name)
        with pytest.raises(OSError, match=path.name):
            files.write_text(path, "x")

    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null"), lambda path: listen(path)])
    def test_what_is_no_file_is_neither_written_nor_read(self, tmp_path, monkeypatch, make):
        monkeypatch.chdir(tmp_path)  # the names of sockets are short
        path = Path("special")
        make(path)
        before = os.lstat(path)
        for action in (lambda: files.write(path, {"W": W, "b": B}, {}), lambda: files.write_text(path, "x"),
                       lambda: files.read(path, expect), lambda: files.read_json(path),
                       lambda: files.read_npz(path, 99)):
            with pytest.raises((ValueError, OSError), match="special") as caught:  # a socket is not even opened
                action()
            assert isinstance(caught.value, ValueError) or caught.value.errno == errno.ENXIO
        assert (os.lstat(path).st_ino, os.lstat(path).st_mode) == (before.st_ino, before.st_mode)
        assert os.listdir() == ["special"]

    def test_the_folder_is_on_disk_at_the_end(self, path, monkeypatch):
        fsync, replace, seen = os.fsync, os.replace, []

        def watched(handle):
            seen.append(stat.S_IFMT(os.fstat(handle).st_mode))
            fsync(handle)

        monkeypatch.setattr("os.fsync", watched)
        monkeypatch.setattr("os.replace", lambda *names: (seen.append("renamed"), replace(*names)))
        files.write_text(path, "x")
        assert seen == [stat.S_IFREG, "renamed", stat.S_IFDIR]


def listen(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_a_failing_write_names_the_file_and_what_is_there(path, monkeypatch, there, call):
    if there:
        path.write_text("old")
    monkeypatch.setattr(f"os.{call}", lambda *arguments: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left on device; ") as caught:
        files.write_text(path, "new")
    monkeypatch.undo()
    assert caught.value.filename == str(path) and caught.value.errno == 28
    assert ("the old file was kept" if there else "nothing was written") in str(caught.value)
    assert [(entry.name, entry.read_text()) for entry in path.parent.iterdir()] == [(path.name, "old")] * there


@pytest.mark.skipif(os.name != "posix", reason="Windows removes no open file")
def test_a_folder_that_vanishes(tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    replace = os.replace
    monkeypatch.setattr("os.replace", lambda *names: (shutil.rmtree(folder), replace(*names)))
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(folder / "page.html", "new")
    assert caught.value.filename == str(folder / "page.html") and os.listdir(tmp_path) == []


def test_an_interrupted_write_leaves_the_old_file(path, good, monkeypatch):
    def interrupted(stream, **arrays):
        stream.write(good[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy.savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, {"W": W + 1, "b": B}, {})
    assert path.read_bytes() == good and os.listdir(path.parent) == [path.name]


def test_it_is_on_disk_before_it_takes_the_name(path, good, monkeypatch):
    synced = []
    fsync, replace = os.fsync, os.replace

    def watched(source, target):
        assert synced == [os.path.getsize(source)] and path.read_bytes() == good
        replace(source, target)

    monkeypatch.setattr("os.fsync", lambda handle: (synced.append(os.fstat(handle).st_size), fsync(handle)))
    monkeypatch.setattr("os.replace", watched)
    files.write(path, {"W": W + 1, "b": B}, {})
    np.testing.assert_array_equal(files.read(path, expect)[0]["W"], W + 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_could_not_be_read_is_not_written(path, good, bad):
    with pytest.raises(ValueError, match="weights.npz: b holds values that are not finite"):
        files.write(path, {"W": W, "b": np.array([0, bad])}, {})
    assert path.read_bytes() == good


def test_a_card_that_is_not_json_is_not_written(path, good):
    with pytest.raises(TypeError):
        files.write(path, {"W": W, "b": B}, {"name": object()})
    assert path.read_bytes() == good and os.listdir(path.parent) == [path.name]


def test_a_folder_that_is_missing(tmp_path):
    path = tmp_path / "nowhere" / "weights.npz"
    with pytest.raises(FileNotFoundError) as caught:
        files.write(path, {"W": W}, {})
    assert caught.value.filename == str(path)


def test_a_path_that_is_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        files.write(tmp_path / "folder", {"W": W}, {})
    with pytest.raises(OSError, match="folder"):
        files.read(tmp_path / "folder", expect)
    assert os.listdir(tmp_path) == ["folder"] and not os.listdir(tmp_path / "folder")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz"):
        files.read(tmp_path / "absent.npz", expect)


# One writer at a time.


def test_a_second_writer_is_refused(path):
    with files.only_writer(path):
        with pytest.raises(ValueError, match=f"^{path}: another run is writing it$"):
            with files.only_writer(path):
                pass
        assert "another run" in python(HOLDS, path).stderr
        with files.only_writer(path.with_name("other")):
            pass
    with files.only_writer(path):
        pass
    assert os.listdir(path.parent) == [] or os.name == "nt"


HOLDS = """
import os, sys, time
from l2l_ref import files
with files.only_writer(sys.argv[1]):
    if sys.argv[2:]:
        if sys.argv[2] != "fork" or os.fork() == 0:
            print(os.getpid(), flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("how", ["alone", "fork"])
def test_a_dead_writer_holds_no_lock(path, how):
    """Neither do the children that it leaves behind."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, path, how], env=environment, stdout=subprocess.PIPE,
                              text=True)
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(ValueError, match="another run"):
            with files.only_writer(path):
                pass
        holder.kill()
        holder.wait()
        assert os.listdir(path.parent) == [f"{path.name}.lock"]  # it stays, without meaning
        with files.only_writer(path):
            pass
        assert os.listdir(path.parent) == []
    finally:
        holder.kill()
        if how == "fork":
            os.kill(child, signal.SIGKILL)
        holder.stdout.close()


# Everything is under the hash.


@given(st.data())
def test_no_byte_of_the_card_may_change(tmp_path_factory, data):
    """The sums of the zip file are made anew for each change, as an editor would."""
    path = tmp_path_factory.mktemp("files") / "any.npz"
    files.write(path, {"W": W, "b": B}, {"name": "good", "score": 0.5, "log": [1, 2]})
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    card = bytearray(contents["card.npy"])
    at = data.draw(st.integers(card.index(b'{"'), len(card) - 1))
    card[at] = data.draw(st.integers(32, 126).filter(lambda byte: byte != card[at]))
    zipped(path, (contents | {"card.npy": bytes(card)}).items())
    assert re.search("do not match the hash|not JSON|not a JSON object|its format", refusal(path))


def test_a_file_whose_hash_is_that_of_the_arrays_alone_is_older(path):
    zipped(path, members(card=card_bytes(good_card() | {"name": "old"})))
    assert files.read(path, expect)[1] == good_card() | {"name": "old"}


def test_json_comes_back_with_its_hash_checked(tmp_path):
    path, content = tmp_path / "state.json", {"a": [1, None, 0.1], "b": {"c": "\N{GREEK SMALL LETTER THETA}"}}
    files.write_json(path, content)
    assert files.read_json(path) == content
    good = path.read_bytes()
    assert json.loads(good) == content | {"sha256": json.loads(good)["sha256"]}
    for at in range(len(good) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(ValueError, match=r"state\.json: it (does not match the hash|is not JSON)"):
            files.read_json(path)
    for other in (good + good, good[:-1] + b" \n", b" " + good, json.dumps(content).encode(), good[:-9], b"[]"):
        path.write_bytes(other)
        with pytest.raises(ValueError, match=r"state\.json: it "):
            files.read_json(path)


def test_what_could_not_be_read_for_its_size_is_not_written(path, monkeypatch):
    monkeypatch.setattr(files, "MOST_VALUES", 100)
    for write in (lambda card: files.write(path, {}, card), lambda card: files.write_json(path, card)):
        write({"log": [0] * 80})
        before = path.read_bytes()
        with pytest.raises(ValueError, match="weights.npz: expected at most .* so it is not written"):
            write({"log": [0] * 120})
        assert path.read_bytes() == before


# Archives of somebody else.


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_any_plain_arrays_are_read(path, save):
    written = {"x": np.arange(6.0).reshape(2, 3), "F": np.asfortranarray(np.arange(24).reshape(2, 3, 4)),
               "zero-d": np.float32(3), "empty": np.ones((0, 2)), "c": np.ones(2, complex), "big": np.ones(2, ">f4"),
               "text": np.array(["a", "bc"]), "nan": np.array([np.nan]), "a/b.c": np.array([True])}
    save(path, **written)
    read = files.read_npz(path, 10_000)
    assert read.keys() == written.keys()
    for name, array in written.items():
        assert read[name].dtype == array.dtype and read[name].flags.f_contiguous == array.flags.f_contiguous
        np.testing.assert_array_equal(read[name], array)


@pytest.mark.parametrize("content, message", [
    ({"x": np.ones(200)}, "it promises 1728 bytes of arrays, more than 1500"),
    ({"x": np.ones(60), "y": np.ones(100)}, "it promises 1536 bytes of arrays, more than 1500"),
    ({"x": np.array([{}])}, "x: expected plain numbers"),
])
def test_no_more_than_asked_for_is_read(path, content, message):
    for save in (np.savez, np.savez_compressed):
        save(path, **content)
        with pytest.raises(ValueError, match=f"^{path}: {message}"):
            files.read_npz(path, 1500)


# Hostile files.


def test_the_helpers_of_this_test_make_a_good_file(path):
    """Else every refusal below could have another reason."""
    zipped(path, members())
    read, card = files.read(path, expect)
    np.testing.assert_array_equal(read["W"], W)
    np.testing.assert_array_equal(read["b"], B)


def test_every_truncation_is_refused(path, good):
    for length in range(0, len(good)):
        path.write_bytes(good[:length])
        refusal(path)


def test_every_byte_may_be_wrong(path, good):
    """A wrong byte in a member is refused; elsewhere it may be one that no value depends on (a time, say)."""
    rng = np.random.default_rng(0)
    arrays, card = files.read(path, expect)
    with zipfile.ZipFile(path) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    inside = {at for content in contents for at in range(good.index(content), good.index(content) + len(content))}
    for at in range(len(good)):
        wrong = bytearray(good)
        wrong[at] ^= rng.integers(1, 256)
        path.write_bytes(wrong)
        try:
            read, read_card = files.read(path, expect)
        except ValueError:
            refusal(path)
        else:
            assert files.digest(read) == files.digest(arrays) and read_card == card and at not in inside


@given(st.data())
def test_many_bytes_may_be_wrong(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("files") / "any.npz"
    files.write(path, {"W": W, "b": B}, {"name": "good"})
    wrong = bytearray(path.read_bytes())
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, len(wrong) - 1), st.integers(0, 255)), max_size=8)):
        wrong[at] = byte
    path.write_bytes(wrong)
    try:
        read, card = files.read(path, expect)
    except ValueError:
        refusal(path)
    else:
        assert files.digest(read) == files.digest({"W": W, "b": B}) and card["name"] == "good"


@given(st.binary(max_size=300), st.sampled_from(["card", "W", "b", "file"]))
def test_anything_in_a_members_place(tmp_path_factory, content, where):
    path = tmp_path_factory.mktemp("files") / "any.npz"
    if where == "file":
        path.write_bytes(content)
    else:
        zipped(path, members(**{where: content}))
    refusal(path)
    if where != "file":
        zipped(path, members(**{where: b"\x93NUMPY\x01\x00" + content}))
        refusal(path)


@given(st.text(st.characters(max_codepoint=255), max_size=200))
def test_anything_in_a_header(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("files") / "any.npz"
    for header in (text, f"{{'descr': {text}, 'fortran_order': False, 'shape': (2, 3)}}",
                   f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({text}) }}"):
        zipped(path, members(W=npy_header(header) + b"\x00" * 24))
        refusal(path)


@given(JSON)
def test_any_json_in_the_cards_place(tmp_path_factory, card):
    path = tmp_path_factory.mktemp("files") / "any.npz"
    zipped(path, members(card=card_bytes(card)))
    refusal(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all " * 99, b"PK\x05\x06" + b"\x00" * 18])
def test_not_a_zip_or_an_empty_one(path, content):
    path.write_bytes(content)
    refusal(path)


# changed members -> what the refusal says
WRONG = {
    "no card": ({"card": None}, "no card"),
    "an array missing": ({"b": None}, "arrays missing: ['b.npy'], not expected: none"),
    "an array too many": ({"c": npy(B)}, "arrays missing: none, not expected: ['c.npy']"),
    "another name": ({"b": None, "B": npy(B)}, "missing: ['b.npy'], not expected: ['B.npy']"),
    "a path for a name": ({"../b": npy(B)}, "not expected: ['../b.npy']"),
    "another shape": ({"W": npy(W.T.copy())}, "W: expected shape (2, 3) of float32, got (3, 2) of float32"),
    "a flat shape": ({"W": npy(W.ravel())}, "got (6,) of float32"),
    "another precision": ({"W": npy(W.astype(np.float64))}, "got (2, 3) of float64"),
    "another byte order": ({"W": npy(W.astype(">f4"))}, "got (2, 3) of >f4"),
    "integers": ({"W": npy(W.astype(np.int32))}, "got (2, 3) of int32"),
    "Fortran order": ({"W": npy(np.asfortranarray(W))}, "W: expected plain numbers in C order"),
    "pickled objects": ({"W": npy(W.astype(object), allow_pickle=True)}, "W: expected plain numbers"),
    "nan": ({"b": npy(np.array([0, np.nan]))}, "b: holds values that are not finite"),
    "infinity": ({"b": npy(np.array([-np.inf, 0]))}, "b: holds values that are not finite"),
    "other values": ({"b": npy(B + 1)}, "the arrays do not match the hash"),
    "no hash": ({"card": card_bytes({"format": files.FORMAT})}, "the arrays do not match the hash"),
    "too few values": ({"b": npy(B)[:-1]}, "b: expected 16 bytes of values, got 15"),
    "too many values": ({"b": npy(B) + b"\x00"}, "b: expected 16 bytes of values, got more"),
    "a newer .npy": ({"b": npy(B, version=(2, 0))}, "b: not a readable array (version (2, 0))"),
    "Python 2's long integers": (
        {"W": npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}") + W.tobytes()},
        "W: not a readable array",
    ),
    "a negative shape": (
        {"W": npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -3)}") + W.tobytes()},
        "W: expected plain numbers",
    ),
    "an unclosed header": ({"W": npy_header("{'descr': '<f4', (((((") + W.tobytes()}, "W: not a readable array"),
    "a deep header": ({"W": npy_header("(" * 9000) + W.tobytes()}, "W: not a readable array"),
    "a long header": ({"W": npy_header("{}" + " " * 60_000) + W.tobytes()}, "W: not a readable array"),
    "a card of numbers": ({"card": npy(B)}, "its card is not text"),
    "a card of rows": ({"card": npy(np.zeros((2, 2), np.uint8))}, "its card is not text"),
    "an empty card": ({"card": card_bytes(b"")}, "its card is not JSON"),
    "a card not in UTF-8": ({"card": card_bytes(b'{"a": "\xff\xfe"}')}, "its card is not JSON"),
    "a card not in JSON": ({"card": card_bytes(b"{'format': 1}")}, "its card is not JSON"),
    "a card of a list": ({"card": card_bytes([1, 2])}, "its card is not a JSON object"),
    "a nested card": ({"card": card_bytes(b"[" * 1_000_000)}, "its card is not JSON"),
    "a card of digits": ({"card": card_bytes(b'{"format": ' + b"9" * 10_000 + b"}")}, "limit"),
    "a newer format": ({"card": card_bytes(good_card() | {"format": 2})}, "its format is 2, this version reads 1"),
    "no format": ({"card": card_bytes({})}, "its format is None"),
    "a talkative format": ({"card": card_bytes({"format": "two\nlines" * 10**6})}, "its format is 'two"),
    "a card cut short": ({"card": card_bytes(good_card())[:-1]}, "card: expected"),
    "a card that goes on": ({"card": card_bytes(good_card()) + b" "}, "got more"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_content_is_named(path, wrong):
    changes, reason = WRONG[wrong]
    zipped(path, members(**changes))
    assert reason in refusal(path)


def test_the_error_of_a_card_that_is_not_wanted_names_the_file(path, good):
    def unwanted(card):
        raise ValueError("hidden: expected\nother things")

    assert refusal(path, unwanted) == "hidden: expected other things"
    assert refusal(path, lambda card: {"W": card["shape"]}) == "shape"


@pytest.mark.parametrize("name", ["W.npy", "card.npy"])
def test_two_members_of_one_name(path, name):
    zipped(path, [*members(), (name, dict(members())[name])])
    assert refusal(path) == "it holds two arrays of one name"


def test_a_name_without_its_suffix(path):
    zipped(path, [("b" if name == "b.npy" else name, content) for name, content in members()])
    assert "missing: ['b.npy'], not expected: ['b']" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_bomb(path, compression):
    """8 MB of zeros in some kilobytes: refused for being compressed, before anything is unpacked."""
    size = 2**23
    header = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}")
    zipped(path, members(W=header + bytes(size)), compression)
    assert path.stat().st_size < size / 500
    assert peak(lambda: refusal(path, lambda card: EXPECTED | {"W": ((size,), np.uint8)})) < 2**20
    zipped(path, members(card=header + bytes(size)), compression)
    assert peak(lambda: refusal(path)) < 2**20


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 99])
def test_stored_values_that_are_said_to_be_compressed(path, good, method):
    """The method stands ten bytes after the start of a member's entry in the directory."""
    wrong = bytearray(good)
    wrong[good.index(b"PK\x01\x02") + 10] = method
    path.write_bytes(wrong)
    assert refusal(path) == "'card.npy' is compressed, which these files are not"


@pytest.mark.parametrize("shape", [(10**12,), (2**40, 2**40), (2**63,), (10**30, 3), (2**28,)])
@pytest.mark.parametrize("name", ["W", "card"])
def test_a_header_that_promises_too_much_costs_nothing(path, shape, name):
    header = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}")
    zipped(path, members(**{name: header + bytes(100)}))
    asked = EXPECTED | {"W": (shape, np.uint8)}  # a card can make the reader expect it, too
    assert peak(lambda: refusal(path, lambda card: asked)) < 2**20
    assert peak(lambda: refusal(path)) < 2**20


def test_a_directory_that_promises_too_much_costs_nothing(path):
    """Both sizes of a member, in the zip's directory, say 1 GB, and so does its header."""
    size = 2**30
    header = npy_header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size},)}}")
    zipped(path, members(W=header + bytes(100)))
    real, lie = struct.pack("<II", *(len(header) + 100,) * 2), struct.pack("<II", *(len(header) + size,) * 2)
    content = path.read_bytes()
    assert content.count(real) == 2
    path.write_bytes(content.replace(real, lie))
    asked = EXPECTED | {"W": ((size,), np.uint8)}
    assert peak(lambda: refusal(path, lambda card: asked)) < 2**20
    assert "promises" in refusal(path)


def peak(function):
    """The largest number of bytes that Python held at once."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

import argparse
import gzip
import json
import struct

import numpy as np
import pytest

from l2l_ref.cli import data
from l2l_ref.datasets.files import VARIABLE

KINDS = ["train images", "train labels", "test images", "test labels"]


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def command(capsys):
    """Run the command; gives the exit code, what it printed, and the lines on stderr."""

    def run(*arguments):
        parser = argparse.ArgumentParser()
        data.configure(parser)
        code = data.run(parser.parse_args([str(argument) for argument in arguments]))
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments else out, err.splitlines()

    return run


@pytest.fixture
def folder(tmp_path):
    """A data folder with only the test labels, well-formed but not the real ones."""
    content = struct.pack(">4BI", 0, 0, 8, 1, 10_000) + bytes(10_000)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    return tmp_path


def test_without_a_folder_there_are_the_digits(command):
    code, report, err = command("--json")
    assert code == 0 and err == []
    assert report["digits"] == {"train": 1000, "validation": 200, "test": 597}
    assert report["folder"] is None and VARIABLE in report["folder_problem"]
    assert list(report["mnist"]) == KINDS
    for entry in report["mnist"].values():
        assert entry["status"] == "missing" and entry["problem"] == report["folder_problem"]
    code, text, err = command()
    assert code == 0 and err == []
    assert "1797 images" in text and text.count("missing") == 4 and "--data-dir" in text and VARIABLE in text


def test_a_folder_that_does_not_exist_is_reported(command, tmp_path):
    code, report, _ = command("--json", "--data-dir", tmp_path / "nowhere")
    assert code == 0 and report["folder"] is None and "nowhere" in report["folder_problem"]


@pytest.mark.parametrize("by_variable", [False, True])
def test_what_is_there_is_told_from_the_real_thing(command, folder, by_variable, monkeypatch):
    if by_variable:
        monkeypatch.setenv(VARIABLE, str(folder))
    where = [] if by_variable else ["--data-dir", folder]
    code, report, err = command("--json", *where)
    assert code == 0 and err == [] and report["folder"] == str(folder.resolve())
    assert [report["mnist"][kind]["status"] for kind in KINDS] == ["missing"] * 3 + ["present"]
    assert report["mnist"]["test labels"] == {
        "status": "present",
        "path": str(folder.resolve() / "t10k-labels-idx1-ubyte.gz"),
        "count": 10_000,
        "sha256_matches": False,
        "problem": None,
    }
    assert "10000, content NOT the published one" in command(*where)[1]


def test_known_content_is_recognised(command, folder, monkeypatch):
    """The hash is that of the file's decompressed bytes; it is made up here, as the file is."""
    # sha256sum of the 8 header bytes and 10,000 zeros
    made_up = "fce4e2f69df0d4b98dc926db9d52e3054ec8f85ec567df277ca4efc90c53a0bc"
    entry = data.FILES["test labels"]._replace(sha256=made_up)
    monkeypatch.setitem(data.FILES, "test labels", entry)
    code, report, _ = command("--json", "--data-dir", folder)
    assert code == 0 and report["mnist"]["test labels"]["sha256_matches"] is True
    assert "10000, content as published" in command("--data-dir", folder)[1]


def test_files_of_cifar_are_counted(command, tmp_path):
    assert "cifar10 none of its files" in command("--data-dir", tmp_path)[1]
    (tmp_path / "data_batch_2.bin.gz").write_bytes(gzip.compress(bytes(3 * 3073)))
    (tmp_path / "test_batch.bin").write_bytes(bytes(3072))
    code, report, err = command("--json", "--data-dir", tmp_path)
    path = str(tmp_path.resolve() / "data_batch_2.bin.gz")
    assert report["cifar10"]["data_batch_2.bin"] == {"status": "present", "path": path, "count": 3, "problem": None}
    assert [entry["status"] for entry in report["cifar10"].values()] == [
        "missing", "present", "missing", "missing", "missing", "broken"]
    assert code == 1 and len(err) == 1 and "test_batch.bin: expected whole records of 3073 bytes" in err[0]
    text = command("--data-dir", tmp_path)[1]
    assert f"3 images  {path}" in text and "broken" in text


def test_pictures_and_networks_are_counted(command, tmp_path):
    text = command("--data-dir", tmp_path)[1]
    assert "pictures none of its files" in text and "networks none of its files" in text
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "vgg16.npz").write_bytes(b"no such thing")
    np.savez(tmp_path / "images.npz", photo_a=np.zeros((4, 5, 3), np.uint8), style_b=np.zeros((4, 5, 3), np.uint8))
    code, report, err = command("--json", "--data-dir", tmp_path)
    path = str(tmp_path.resolve() / "images.npz")
    assert report["pictures"] == {"images.npz": {"status": "present", "path": path, "count": 2, "problem": None}}
    assert [entry["status"] for entry in report["networks"].values()] == ["broken", "missing"]
    assert code == 1 and len(err) == 1 and "vgg16.npz: not a readable .npz file" in err[0]
    assert f"2 pictures  {path}" in command("--data-dir", tmp_path)[1]


def test_the_real_mnist_is_recognised(command, mnist_folder):
    code, report, _ = command("--json", "--data-dir", mnist_folder)
    assert code == 0
    assert [report["mnist"][kind]["count"] for kind in KINDS] == [60_000, 60_000, 10_000, 10_000]
    assert all(entry["sha256_matches"] for entry in report["mnist"].values())


def test_a_broken_file_is_one_line_and_exit_code_1(command, folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(b"no such thing")
    for arguments in ["--data-dir", folder], ["--json", "--data-dir", folder]:
        code, out, err = command(*arguments)
        assert code == 1
        assert len(err) == 1 and str(path) in err[0] and "no IDX file" in err[0]
    assert out["mnist"]["train images"]["status"] == "broken"
    assert out["mnist"]["train images"]["problem"] == err[0]
    assert out["mnist"]["test labels"]["status"] == "present"

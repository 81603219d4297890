import gzip
import struct
import tracemalloc
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref.datasets import SPLITS, load
from l2l_ref.datasets.cifar import CIFAR_2, CIFAR_5, MOST, NAMES, RECORD, held_out, read_batch
from l2l_ref.datasets.files import VARIABLE
from l2l_ref.datasets.idx import read_idx

SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=4).map(tuple)


def as_idx(array):
    """The bytes of an IDX file, put together one by one from the table of the format."""
    content = [0, 0, 8, array.ndim]
    for n in array.shape:
        content += [n >> 24 & 255, n >> 16 & 255, n >> 8 & 255, n & 255]
    return bytes(content) + array.astype(np.uint8).tobytes()


def write(folder, content, zipped):
    path = Path(folder) / ("file.gz" if zipped else "file")
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


# The format


@settings(deadline=None)
@given(shape=SHAPES, zipped=st.booleans(), data=st.data())
def test_an_idx_file_is_read_back(folder, shape, zipped, data):
    content = data.draw(st.binary(min_size=prod(shape), max_size=prod(shape)))
    array = np.frombuffer(content, np.uint8).reshape(shape)
    read = read_idx(write(folder, as_idx(array), zipped), shape)
    assert read.dtype == np.uint8 and read.shape == shape and not read.flags.writeable
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_cut_anywhere_is_refused(folder, zipped):
    content = as_idx(np.arange(24).reshape(2, 3, 4))
    for length in range(len(content)):
        path = write(folder, content[:length], zipped)
        with pytest.raises(ValueError, match=r"truncated|expected \d bytes|expected 24 bytes.*only") as error:
            read_idx(path, (2, 3, 4))
        assert str(path) in str(error.value)


def test_a_gzip_stream_cut_anywhere_is_refused(folder):
    content = gzip.compress(as_idx(np.arange(24).reshape(2, 3, 4)))
    path = folder / "cut.gz"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="cut.gz"):
            read_idx(path, (2, 3, 4))


@settings(deadline=None, max_examples=300)
@given(zipped=st.booleans(), data=st.data())
def test_a_corrupt_file_is_refused_or_was_not_harmed(folder, zipped, data):
    array = np.arange(24).reshape(2, 3, 4)
    content = bytearray(gzip.compress(as_idx(array), mtime=0) if zipped else as_idx(array))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    path = folder / ("corrupt.gz" if zipped else "corrupt")
    path.write_bytes(content)
    try:
        read = read_idx(path, (2, 3, 4))
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:  # a changed pixel of a plain file, or a byte of the gzip header that carries nothing
        assert as_idx(read) == (gzip.decompress(content) if zipped else bytes(content))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\1\0" + as_idx(np.zeros((2, 3)))[2:], "two zero bytes at the start, got 0x0100"),
        (gzip.compress(as_idx(np.zeros((2, 3))), mtime=0), "two zero bytes at the start, got 0x1f8b"),
        (b"\0\0\x0d" + as_idx(np.zeros((2, 3)))[3:], r"0x08 \(unsigned byte\), got 0x0d"),
        (as_idx(np.zeros((2, 3, 1))), "expected 2 dimensions, got 3"),
        (as_idx(np.zeros((3, 2))), r"expected the shape \(2, 3\), got \(3, 2\)"),
        (struct.pack(">4B2I", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1), r"got \(4294967295, 4294967295\)"),
        (as_idx(np.zeros((2, 3)))[:-1], "expected 6 bytes after the header, as it says, got only 5"),
        (as_idx(np.zeros((2, 3))) + b"\0", "expected 6 bytes after the header, as it says, got more"),
        (b"", "truncated: expected a header of 12 bytes, got 0 bytes"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(folder, content, message):
    with pytest.raises(ValueError, match=message):
        read_idx(write(folder, content, zipped=False), (2, 3))


def test_a_file_named_gzip_that_is_not_is_refused(folder):
    path = folder / "plain.gz"
    path.write_bytes(as_idx(np.zeros(3)))
    with pytest.raises(ValueError, match="plain.gz: cannot be read: Not a gzipped file"):
        read_idx(path, (3,))


def test_a_gzip_bomb_is_not_inflated(folder):
    path = write(folder, as_idx(np.zeros(3)) + bytes(100_000_000), zipped=True)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="got more"):
            read_idx(path, (3,))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# MNIST, made up: image k begins with the two bytes of k, and its label is k modulo 10


def numbered(count):
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(count), 256)
    return images


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """A data folder with a subfolder mnist: the training files plain, the test files gzipped and dotted."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "mnist").mkdir()
    for stem, count in ("train-{}-idx{}-ubyte", 60_000), ("t10k-{}.idx{}-ubyte.gz", 10_000):
        for what, array in ("images", numbered(count)), ("labels", np.arange(count) % 10):
            content = as_idx(array)
            path = folder / "mnist" / stem.format(what, array.ndim)
            path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return folder


@pytest.fixture
def broken(mnist, tmp_path):
    """A folder in which a test can break the small file of the test labels."""
    for path in (mnist / "mnist").iterdir():
        if "t10k-labels" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.mark.parametrize(
    "split, first, count", [("train", 0, 50_000), ("validation", 50_000, 10_000), ("test", 0, 10_000)]
)
def test_mnist_is_split_as_promised(mnist, split, first, count):
    found = load("mnist", split, mnist)
    numbers = np.arange(first, first + count)
    assert found.images.shape == (count, 784) and found.images.dtype == found.labels.dtype == np.uint8
    np.testing.assert_array_equal(found.images[:, :2].astype(int) @ [256, 1], numbers)
    np.testing.assert_array_equal(found.labels, numbers % 10)
    assert (found.scale, found.classes) == (255.0, 10)


def test_mnist_is_read_once_and_cannot_be_changed(mnist):
    one, two = load("mnist", "train", mnist), load("mnist", "validation", mnist / "mnist")
    assert np.shares_memory(one.images, load("mnist", "train", str(mnist)).images)
    assert one.images.ctypes.data + one.images.nbytes == two.images.ctypes.data
    for array in one.images, one.labels, two.images, two.labels:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_folder_is_the_argument_else_the_variable(mnist, tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match="give data_dir .*, or set L2L_REF_DATA"):
        load("mnist", "test")
    monkeypatch.setenv(VARIABLE, str(mnist))
    assert len(load("mnist", "test").labels) == 10_000
    with pytest.raises(FileNotFoundError, match="no file t10k-images-idx3-ubyte or t10k-images.idx3-ubyte"):
        load("mnist", "test", tmp_path)
    with pytest.raises(FileNotFoundError, match="data_dir: expected a folder, got .*nowhere, which is none"):
        load("mnist", "test", tmp_path / "nowhere")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="L2L_REF_DATA: expected a folder"):
        load("mnist", "test")


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.arange(10_000) % 11, "expected labels from 0 to 9, got 10 at position 10"),
        (np.arange(9_999) % 10, r"expected the shape \(10000,\), got \(9999,\)"),
    ],
)
def test_wrong_labels_are_refused(broken, labels, message):
    path = broken / "t10k-labels-idx1-ubyte"
    path.write_bytes(as_idx(labels))
    with pytest.raises(ValueError, match=message) as error:
        load("mnist", "test", broken)
    assert str(path) in str(error.value)
    path.write_bytes(as_idx(np.arange(10_000) % 10))  # a failure is not remembered
    assert len(load("mnist", "test", broken).labels) == 10_000


def test_images_of_another_size_are_refused(tmp_path):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(as_idx(np.zeros((10_000, 8, 8))))
    with pytest.raises(ValueError, match=r"expected the shape \(10000, 28, 28\), got \(10000, 8, 8\)"):
        load("mnist", "test", tmp_path)


def test_the_real_mnist(mnist_folder):
    splits = {split: load("mnist", split, mnist_folder) for split in SPLITS["mnist"]}
    assert splits["train"].labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits["test"].labels[:5].tolist() == [7, 2, 1, 0, 4]
    counts = np.bincount(np.concatenate([splits["train"].labels, splits["validation"].labels]))
    assert counts.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    # The well-known mean of all pixels of the 60,000 training images, in units of the scale.
    train, validation = splits["train"].images, splits["validation"].images
    mean = (50_000 * train.mean() + 10_000 * validation.mean()) / 60_000 / splits["train"].scale
    assert abs(mean - 0.1307) < 5e-5


# CIFAR-10, made up


def as_records(images, labels):
    """The bytes of a file of images (N, 32, 32, 3), put together record by record from the table of the format."""
    content = b""
    for image, label in zip(images.astype(np.uint8), labels):
        content += bytes([label]) + b"".join(image[:, :, colour].tobytes() for colour in range(3))
    return content


def random_batch(seed, count):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count, np.uint8)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    """A data folder with a part of the files: two of the five batches, one of them gzipped, and the test batch."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "cifar10").mkdir()
    files = ("data_batch_2.bin.gz", 30), ("data_batch_5.bin", 25), ("test_batch.bin", 40)
    for seed, (name, count) in enumerate(files):
        content = as_records(*random_batch(seed, count))
        (folder / "cifar10" / name).write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_a_batch_is_read_back(folder, zipped):
    images, labels = random_batch(0, 7)
    found, truth = read_batch(write(folder, as_records(images, labels), zipped))
    np.testing.assert_array_equal(found, images)
    np.testing.assert_array_equal(truth, labels)
    assert found.dtype == truth.dtype == np.uint8


def test_cifar_is_split_as_promised(cifar):
    """The last tenth of each training file is for validation: 3 of 30 images, 2 of 25."""
    (first, a), (second, b), (test, c) = (random_batch(k, n) for k, n in enumerate((30, 25, 40)))
    expected = {
        "train": (np.concatenate([first[:27], second[:23]]), np.concatenate([a[:27], b[:23]])),
        "validation": (np.concatenate([first[27:], second[23:]]), np.concatenate([a[27:], b[23:]])),
        "test": (test, c),
    }
    for split, (images, labels) in expected.items():
        found = load("cifar10", split, cifar)
        np.testing.assert_array_equal(found.images.reshape(-1, *found.shape), images)
        np.testing.assert_array_equal(found.labels, labels)
        assert (found.scale, found.classes, found.shape) == (255.0, 10, (32, 32, 3))
        for array in (found.images, found.labels):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
    assert np.shares_memory(load("cifar10", "train", cifar).images, load("cifar10", "train", str(cifar)).images)


def test_another_file_moves_no_image_to_the_other_side(cifar, tmp_path):
    for path in (cifar / "cifar10").iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "data_batch_1.bin").write_bytes(as_records(*random_batch(7, 10)))
    for split in ("train", "validation"):
        before, after = ({row.tobytes() for row in load("cifar10", split, where).images} for where in (cifar, tmp_path))
        assert before < after


@pytest.mark.parametrize("labels", [(3, 8), [8, 3], np.array([0, 1, 2, 3, 4])])
def test_labels_can_be_chosen(cifar, labels):
    whole, some = load("cifar10", "test", cifar), load("cifar10", "test", cifar, labels)
    rows = np.isin(whole.labels, labels)
    np.testing.assert_array_equal(some.images, whole.images[rows])
    np.testing.assert_array_equal(np.array(labels)[some.labels], whole.labels[rows])
    assert some.classes == len(labels) and some.labels.dtype == np.uint8 and not some.images.flags.writeable


def test_held_out_labels_are_the_others():
    assert held_out(CIFAR_5) == (5, 6, 7, 8, 9) and len(held_out(CIFAR_2)) == 8
    assert sorted(CIFAR_5 + held_out(CIFAR_5)) == list(range(len(NAMES)))


@pytest.mark.parametrize("labels", [(1,), (1, 1), (1, 10), (-1, 2), 3, (True, 2), "12", (1.0, 2)])
def test_wrong_choices_of_labels_are_refused(labels):
    with pytest.raises(ValueError, match="labels: expected"):
        load("digits", "test", labels=labels)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", r"expected whole records of 3073 bytes, got 0 bytes"),
        (bytes(RECORD - 1), "expected whole records of 3073 bytes, got 3072 bytes"),
        (bytes(2 * RECORD + 1), "expected whole records of 3073 bytes, got 6147 bytes"),
        (bytes(RECORD) + b"\x0a" + bytes(RECORD - 1), "expected labels from 0 to 9, got 10 in record 1"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_what_is_wrong_with_a_batch_is_said(folder, content, message, zipped):
    path = write(folder, content, zipped)
    with pytest.raises(ValueError, match=message) as error:
        read_batch(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_batch_that_inflates_to_more_is_not_inflated(folder):
    path = write(folder, bytes(MOST * RECORD + 100_000_000), zipped=True)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected at most 10000 records of 3073 bytes, got more"):
            read_batch(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * MOST * RECORD
    finally:
        tracemalloc.stop()


def test_missing_files_of_cifar_are_named(cifar, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file data_batch_1.bin, plain or .gz, in"):
        load("cifar10", "train", tmp_path)
    (tmp_path / "data_batch_3.bin").write_bytes(as_records(*random_batch(0, 10)))
    assert len(load("cifar10", "train", tmp_path).labels) == 9
    with pytest.raises(FileNotFoundError, match="no file test_batch.bin, plain or .gz, in"):
        load("cifar10", "test", tmp_path)


def test_the_real_cifar(cifar_folder):
    """The well-known means of the colours over the training images; those of a part of them are near."""
    found = load("cifar10", "train", cifar_folder)
    means = found.images.reshape(-1, *found.shape).mean(axis=(0, 1, 2)) / found.scale
    np.testing.assert_allclose(means, (0.4914, 0.4822, 0.4465), atol=0.002)
    assert np.bincount(found.labels).min() > 0.09 * len(found.labels)


# The digits that come with the package


def test_digits():
    splits = [load("digits", split) for split in ("train", "validation", "test")]
    assert [part.images.shape for part in splits] == [(1000, 64), (200, 64), (597, 64)]
    images = np.concatenate([part.images for part in splits])
    labels = np.concatenate([part.labels for part in splits])
    assert images.dtype == labels.dtype == np.uint8
    # The source says how often each digit occurs in optdigits.tes, and that pixels count 4 x 4 dots.
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.min() == 0 and images.max() == 16 == splits[0].scale
    assert splits[0].classes == 10
    with pytest.raises(ValueError, match="read-only"):
        splits[0].images[0] = 1


def test_digits_can_be_told_apart():
    """Images and labels belong together: the nearest training image has the label, nearly always."""
    train, test = load("digits", "train"), load("digits", "test")
    a, b = train.images / train.scale, test.images / test.scale
    nearest = np.argmin((a**2).sum(1) - 2 * b @ a.T, axis=1)
    assert np.mean(train.labels[nearest] == test.labels) > 0.95


@pytest.mark.parametrize(
    "name, split, message",
    [
        ("cifar", "train", "name: expected one of digits, mnist, cifar10, got 'cifar'"),
        ("digits", "all", "split: expected one of train, validation, test, got 'all'"),
    ],
)
def test_unknown_names_are_refused(name, split, message):
    with pytest.raises(ValueError, match=message):
        load(name, split)

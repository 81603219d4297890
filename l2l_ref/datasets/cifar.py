"""CIFAR-10 in its binary format: Krizhevsky 2009; 50,000 + 10,000 colour images of ten kinds of things, 32 x 32 pixels.

A file is a sequence of records:

    bytes           content
    0               the label, 0 .. 9
    1 .. 1024       the red values of the pixels, row by row
    1025 .. 2048    the green ones
    2049 .. 3072    the blue ones

The files are not part of the package. They are found under their published names, in the folder that the user names or
in its subfolder ``cifar10`` or ``cifar-10-batches-bin``. Not all of them need be there, and a file may hold fewer
records than the published one, which has 10,000.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from .files import data_folder, find_file, read_at_most

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Array
    from ..protocols import Path as PathLike

SHAPE = 32, 32, 3  # of an image: rows, columns, colours
RECORD = 1 + 3 * 32 * 32
MOST = 10_000  # records of a file
TRAINING = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
TEST = "test_batch.bin"
NAMES = "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"

# Andrychowicz et al. 2016 train on five and on two of the ten labels and do not say which. These are our choice.
CIFAR_5 = 0, 1, 2, 3, 4
CIFAR_2 = 0, 1


def held_out(labels: tuple[int, ...]) -> tuple[int, ...]:
    """The labels that are not among these: what LSTM-sub of Andrychowicz et al. 2016 is trained on."""
    return tuple(label for label in range(len(NAMES)) if label not in labels)


def find_cifar(name: str, data_dir: PathLike | None = None) -> Path:
    """The path of a file; ``name`` is `TEST` or one of `TRAINING`.

    Raises FileNotFoundError when there is no such folder or file.
    """
    folder = data_folder(data_dir)
    return find_file((folder, folder / "cifar10", folder / "cifar-10-batches-bin"), (name,))


def read_batch(path: Path) -> tuple[Array, Array]:
    """Read one file, gzipped if its name ends in ``.gz``.

    Returns
    -------
    images : ndarray of uint8, shape (N, 32, 32, 3)
        Rows, columns, and the colours red, green, blue.
    labels : ndarray of uint8, shape (N,)

    Raises
    ------
    ValueError
        When the file cannot be read, does not consist of 1 to 10,000 whole records, or has a label above 9. The message
        is one line that names the file.
    """
    content = read_at_most(path, MOST * RECORD + 1)  # one byte more shows whether the file is too long
    if len(content) > MOST * RECORD:
        raise ValueError(f"{path}: expected at most {MOST} records of {RECORD} bytes, got more")
    if not content or len(content) % RECORD:
        raise ValueError(f"{path}: expected whole records of {RECORD} bytes, got {len(content)} bytes")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].copy()
    if labels.max() >= len(NAMES):
        where = int(labels.argmax())
        raise ValueError(f"{path}: expected labels from 0 to 9, got {labels[where]} in record {where}")
    images = np.empty((len(records), *SHAPE), np.uint8)
    for colour in range(3):
        images[..., colour] = records[:, 1 + 1024 * colour : 1025 + 1024 * colour].reshape(-1, 32, 32)
    return images, labels


def read_cifar(split: str, data_dir: PathLike | None = None) -> tuple[Array, Array]:
    """Images (N, 3072) and labels (N,) of one split, uint8 and read-only.

    "test" is the test file. Of each training file that is there, the last tenth of the records is "validation" and the
    rest "train"; so no image changes sides when another file is added. What is read is kept in memory, and later
    changes on the disk are not noticed.

    Raises
    ------
    FileNotFoundError
        When there is no such folder, or no such file in it; one training file is enough.
    ValueError
        What `read_batch` raises.
    """
    if split == "test":
        images, labels, _ = _read((find_cifar(TEST, data_dir),))
        return images, labels
    paths = []
    for name in TRAINING:
        try:
            paths.append(find_cifar(name, data_dir))
        except FileNotFoundError:
            continue
    images, labels, border = _read(tuple(paths) or (find_cifar(TRAINING[0], data_dir),))
    rows = slice(border) if split == "train" else slice(border, None)
    return images[rows], labels[rows]


@lru_cache(maxsize=2)  # 184 MB when all files are there
def _read(paths: tuple[Path, ...]) -> tuple[Array, Array, int]:
    """Images (N, 3072), labels (N,) and the number of rows that come first: all but the last tenth of each file."""
    batches = [read_batch(path) for path in paths]
    borders = [len(labels) - len(labels) // 10 for _, labels in batches]
    order = [slice(border) for border in borders], [slice(border, None) for border in borders]
    images, labels = (np.concatenate([batch[k][rows] for part in order for batch, rows in zip(batches, part)])
                      for k in range(2))
    images = images.reshape(len(images), -1)
    images.flags.writeable = labels.flags.writeable = False
    return images, labels, sum(borders)

"""MNIST: LeCun, Cortes, Burges; 60,000 + 10,000 images of handwritten digits, 28 x 28 pixels.

The four files are not part of the package. They are found under their published names, in the folder that the user
names or in its subfolder ``mnist``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .files import data_folder, find_file
from .idx import read_idx

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Array
    from ..protocols import Path as PathLike


class MnistFile(NamedTuple):
    """One of the four files: its names, the shape that it must have, and the SHA-256 of its decompressed bytes."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    sha256: str


FILES = {
    "train images": MnistFile(
        ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
        (60_000, 28, 28),
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train labels": MnistFile(
        ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
        (60_000,),
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "test images": MnistFile(
        ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
        (10_000, 28, 28),
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "test labels": MnistFile(
        ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
        (10_000,),
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


def find_mnist(kind: str, data_dir: PathLike | None = None) -> Path:
    """The path of a file; ``kind`` is a key of `FILES`.

    Raises FileNotFoundError when there is no such folder or file.
    """
    folder = data_folder(data_dir)
    return find_file((folder, folder / "mnist"), FILES[kind].names)


def read_mnist(kind: str, data_dir: PathLike | None = None) -> Array:
    """The content of a file, uint8 and read-only; ``kind`` is a key of `FILES`.

    Each file is read once and then kept in memory, so later changes on the disk are not noticed.

    Raises
    ------
    FileNotFoundError
        When there is no such folder or file.
    ValueError
        When the file has another format or shape, or labels above 9.
    """
    return _read(find_mnist(kind, data_dir), kind)


@lru_cache(maxsize=len(FILES))  # 55 MB when full
def _read(path: Path, kind: str) -> Array:
    content = read_idx(path, FILES[kind].shape)
    if content.ndim == 1 and content.max() > 9:
        where = int(content.argmax())
        raise ValueError(f"{path}: expected labels from 0 to 9, got {content[where]} at position {where}")
    return content

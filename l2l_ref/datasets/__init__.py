"""Data to train on: the small digits that the package contains, MNIST, CIFAR-10, and tables of numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from ..checks import choice, whole_numbers
from .cifar import SHAPE, read_cifar
from .images import Images, Loaded
from .mnist import read_mnist

if TYPE_CHECKING:
    from ..protocols import Array, Path

__all__ = ["SPLITS", "Images", "load"]

# The rows of the source that form each split. MNIST's test images are a separate source. Those of CIFAR-10 depend on
# the files that are there.
SPLITS = {
    "digits": {"train": slice(0, 1000), "validation": slice(1000, 1200), "test": slice(1200, 1797)},
    "mnist": {"train": slice(0, 50_000), "validation": slice(50_000, 60_000), "test": slice(0, 10_000)},
    "cifar10": {"train": slice(None), "validation": slice(None), "test": slice(None)},
}


def load(name: str, split: str, data_dir: Path | None = None, labels: Sequence[int] | None = None) -> Images:
    """Load one split of a data set.

    Parameters
    ----------
    name : {"digits", "mnist", "cifar10"}
    split : {"train", "validation", "test"}
        MNIST: the first 50,000 training images, the last 10,000 training images, the 10,000 test images. Digits: rows
        0..999, 1000..1199, 1200..1796 of the original file. That file is ordered by writer, so the writers of the test
        rows do not occur in training (but see Notes). CIFAR-10: of each training file that is there, the first nine
        tenths and the last tenth; the test images.
    data_dir : str or path-like, optional
        The folder with the files of MNIST and CIFAR-10, or with subfolders ``mnist`` and ``cifar10`` that have them. By
        default the environment variable ``L2L_REF_DATA`` names the folder.
    labels : sequence of int, optional
        Keep only images with these labels, at least two of 0..9. They are renumbered 0, 1, ... in this order. CIFAR-5
        and CIFAR-2 of Andrychowicz et al. 2016 are CIFAR-10 with five and with two labels.

    Returns
    -------
    Images
        For digits, N is 1000, 200 or 597 and D is 64. For MNIST, N is 50,000, 10,000 or 10,000 and D is 784. For
        CIFAR-10, N is up to 45,000, 5,000 or 10,000 and D is 3,072.

    Raises
    ------
    FileNotFoundError
        When no folder is named, and when the folder or a file in it is missing.
    ValueError
        For an unknown name or split, for other labels, and for a file with other content.

    Notes
    -----
    What is loaded is pickled by its name, and loaded again where it is unpickled: from ``data_dir``, or from the folder
    that ``L2L_REF_DATA`` names there.

    CIFAR-10: Krizhevsky 2009. MNIST: LeCun, Cortes, Burges. Digits: Alpaydin and Kaynak 1998, see ``DIGITS.md``.

    The digits file does not name its writers. Its labels show that it is ordered by them: they run through nearly the
    same sequence fourteen times, in about 128 rows each, one completed form after the other. One form spans rows 906 to
    1028 and another one rows 1157 to 1286, so the validation rows share a form with each side, but training and test
    share none. The source counts thirteen writers, so one of them may have completed two forms.
    """
    splits = SPLITS[choice("name", name, SPLITS)]
    rows = splits[choice("split", split, splits)]
    if labels is not None:
        labels = whole_numbers("labels", labels, 0, 9)
        if len(set(labels)) < max(2, len(labels)):
            raise ValueError(f"labels: expected at least two different ones, got {labels}")
    found = _all_labels(name, split, rows, data_dir)
    folder = None if data_dir is None else os.fspath(data_dir)
    return Loaded.of(found if labels is None else _with_labels(found, labels), _again, name, split, folder, labels)


def _again(name: str, split: str, folder: str | None, labels: tuple[int, ...] | None) -> Images:
    """`load`, for what is unpickled. A worker does that often, so it keeps what it has found."""
    found = _kept(name, split, os.environ.get("L2L_REF_DATA") if folder is None else folder, labels)
    return Loaded.of(found, _again, name, split, folder, labels)


@lru_cache(maxsize=4)
def _kept(name: str, split: str, folder: str | None, labels: tuple[int, ...] | None) -> Images:
    return load(name, split, folder, labels)


def _all_labels(name: str, split: str, rows: slice, data_dir: Path | None) -> Images:
    if name == "digits":
        images, labels = _digits()
        return Images(images[rows], labels[rows], 16.0, 10, (8, 8, 1))
    if name == "cifar10":
        return Images(*read_cifar(split, data_dir), 255.0, 10, SHAPE)
    source = "test" if split == "test" else "train"
    images, labels = read_mnist(f"{source} images", data_dir), read_mnist(f"{source} labels", data_dir)
    return Images(images.reshape(len(images), -1)[rows], labels[rows], 255.0, 10, (28, 28, 1))


def _with_labels(found: Images, labels: tuple[int, ...]) -> Images:
    """The images with these labels, which are renumbered in this order."""
    number = np.full(found.classes, len(labels), np.uint8)
    number[list(labels)] = np.arange(len(labels))
    renumbered = number[found.labels]
    rows = renumbered < len(labels)
    images, renumbered = found.images[rows], renumbered[rows]
    images.flags.writeable = renumbered.flags.writeable = False
    return found._replace(images=images, labels=renumbered, classes=len(labels))


@lru_cache(maxsize=1)
def _digits() -> tuple[Array, Array]:
    with resources.files(__name__).joinpath("digits.npz").open("rb") as stream, np.load(stream) as archive:
        images, labels = archive["images"], archive["labels"]
    images.flags.writeable = labels.flags.writeable = False
    return images, labels

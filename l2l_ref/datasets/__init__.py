"""Labelled images to train on: the small digits that the package contains, and MNIST."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..checks import choice
from .mnist import read_mnist

if TYPE_CHECKING:
    from ..protocols import Array, Path

__all__ = ["SPLITS", "Images", "load"]

# The rows of the source that form each split. MNIST's test images are a separate source.
SPLITS = {
    "digits": {"train": slice(0, 1000), "validation": slice(1000, 1200), "test": slice(1200, 1797)},
    "mnist": {"train": slice(0, 50_000), "validation": slice(50_000, 60_000), "test": slice(0, 10_000)},
}


class Images(NamedTuple):
    """Images and their labels, read-only.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, D)
        One image per row, its pixels line by line.
    labels : ndarray of uint8, shape (N,)
    scale : float
        The largest value a pixel can have; ``images / scale`` lies in [0, 1].
    classes : int
        Labels are 0 .. classes - 1.
    """

    images: np.ndarray
    labels: np.ndarray
    scale: float
    classes: int


def load(name: str, split: str, data_dir: Path | None = None) -> Images:
    """Load one split of a data set.

    Parameters
    ----------
    name : {"digits", "mnist"}
    split : {"train", "validation", "test"}
        MNIST: the first 50,000 training images, the last 10,000 training images, the 10,000 test images. Digits: rows
        0..999, 1000..1199, 1200..1796 of the original file. That file is ordered by writer, so the writers of the test
        rows do not occur in training (but see Notes).
    data_dir : str or path-like, optional
        MNIST only: the folder with its files, or with a subfolder ``mnist`` that has them. By default the environment
        variable ``L2L_REF_DATA`` names the folder.

    Returns
    -------
    Images
        For digits, N is 1000, 200 or 597 and D is 64. For MNIST, N is 50,000, 10,000 or 10,000 and D is 784.

    Raises
    ------
    FileNotFoundError
        When no folder is named, and when the folder or a file in it is missing.
    ValueError
        For an unknown name or split, and for a file with other content.

    Notes
    -----
    MNIST: LeCun, Cortes, Burges. Digits: Alpaydin and Kaynak 1998, see ``DIGITS.md``.

    The digits file does not name its writers. Its labels show that it is ordered by them: they run through nearly the
    same sequence fourteen times, in about 128 rows each, one completed form after the other. One form spans rows 906 to
    1028 and another one rows 1157 to 1286, so the validation rows share a form with each side, but training and test
    share none. The source counts thirteen writers, so one of them may have completed two forms.
    """
    splits = SPLITS[choice("name", name, SPLITS)]
    rows = splits[choice("split", split, splits)]
    if name == "digits":
        images, labels = _digits()
        return Images(images[rows], labels[rows], 16.0, 10)
    source = "test" if split == "test" else "train"
    images, labels = read_mnist(f"{source} images", data_dir), read_mnist(f"{source} labels", data_dir)
    return Images(images.reshape(len(images), -1)[rows], labels[rows], 255.0, 10)


@lru_cache(maxsize=1)
def _digits() -> tuple[Array, Array]:
    with resources.files(__name__).joinpath("digits.npz").open("rb") as stream, np.load(stream) as archive:
        images, labels = archive["images"], archive["labels"]
    images.flags.writeable = labels.flags.writeable = False
    return images, labels

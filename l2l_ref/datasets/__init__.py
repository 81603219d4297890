"""Labelled images to train on: the small digits that come with the package, and MNIST."""

from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np

from l2l_ref.datasets.mnist import read_mnist

__all__ = ["SPLITS", "Images", "load"]

# Rows of the source that make each split. MNIST's test images are a source of their own.
SPLITS = {
    "digits": {"train": slice(0, 1000), "validation": slice(1000, 1200), "test": slice(1200, 1797)},
    "mnist": {"train": slice(0, 50_000), "validation": slice(50_000, 60_000), "test": slice(0, 10_000)},
}


class Images(NamedTuple):
    """Images and their labels, read-only.

    Attributes
    ----------
    images : ndarray of uint8, shape (N, D)
        One image a row, its pixels line by line.
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


def load(name, split, data_dir=None):
    """Load one split of a data set.

    Parameters
    ----------
    name : {"digits", "mnist"}
    split : {"train", "validation", "test"}
        MNIST: the first 50,000 training images, the last 10,000 training images, the 10,000
        test images. Digits: rows 0..999, 1000..1199, 1200..1796 of the original file, which is
        ordered by writer, so the writers of the test rows are unseen in training (but see Notes).
    data_dir : str or path-like, optional
        MNIST only: the folder with its files, or with a subfolder ``mnist`` that has them.
        Without it the environment variable ``L2L_REF_DATA`` names the folder.

    Returns
    -------
    Images
        N x D is 1000, 200, 597 x 64 for digits, 50,000, 10,000, 10,000 x 784 for MNIST.

    Raises
    ------
    FileNotFoundError
        When no folder is named, or the folder or a file in it is missing.
    ValueError
        For an unknown name or split, and for a file that is not what it should be.

    Notes
    -----
    MNIST: LeCun, Cortes, Burges. Digits: Alpaydin and Kaynak 1998, see ``DIGITS.md``.

    The digits file does not name its writers. That it is ordered by them is read off its labels,
    which run through nearly the same sequence fourteen times, some 128 rows each: one filled form
    after the other. A form spans rows 906 to 1028 and another 1157 to 1286, so the validation rows
    share one with either side, but training and test share none. The source counts thirteen
    writers, so one of them may have filled two forms.
    """
    rows = _choice("split", split, _choice("name", name, SPLITS))
    if name == "digits":
        images, labels = _digits()
        return Images(images[rows], labels[rows], 16.0, 10)
    source = "test" if split == "test" else "train"
    images, labels = read_mnist(f"{source} images", data_dir), read_mnist(f"{source} labels", data_dir)
    return Images(images.reshape(len(images), -1)[rows], labels[rows], 255.0, 10)


def _choice(argument, value, choices):
    if value not in choices:
        raise ValueError(f"{argument}: expected one of {', '.join(choices)}, got {value!r}")
    return choices[value]


@lru_cache(maxsize=1)
def _digits():
    with resources.files(__name__).joinpath("digits.npz").open("rb") as stream, np.load(stream) as archive:
        images, labels = archive["images"], archive["labels"]
    images.flags.writeable = labels.flags.writeable = False
    return images, labels

"""Photographs and paintings for neural style transfer: one ``.npz`` file of images, and how they are cut and scaled.

The file has an array for each picture, (rows, columns, 3) of uint8, red, green and blue. Photographs are named
``photo_...`` and paintings ``style_...``. It is not part of the package: it is found as ``images.npz``, in the folder
that the user names or in its subfolder ``images``.

Andrychowicz et al. 2016 use 1,800 photographs of ImageNet for training, and do not name their paintings. Our file has
eleven photographs, and the splits are our choice: no photograph is in two of them. A function to optimize gets a random
square of a photograph, so there are many more functions than photographs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ..checks import choice
from ..files import read_npz
from .files import data_folder, find_file

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Array
    from ..protocols import Path as PathLike

FILE = "images.npz"
MOST = 2**26   # bytes of all pictures
LEAST = 2      # rows and columns of a picture
PHOTOGRAPHS = {
    "train": ("coffee", "rocket", "hubble_deep_field", "brick", "grass", "gravel", "camera"),
    "validation": ("flower",),
    "test": ("chelsea", "astronaut", "china"),
}
STYLE = "great_wave"           # the painting that optimizers are trained on
UNSEEN_STYLE = "kandinsky_viii"  # and one on which they are only tested


def find_pictures(data_dir: PathLike | None = None) -> Path:
    """The path of the file. Raises FileNotFoundError when there is no such folder or file."""
    folder = data_folder(data_dir)
    return find_file((folder, folder / "images"), (FILE,))


@lru_cache(maxsize=1)  # 14 MB for the file as it is
def read_pictures(path: Path) -> Mapping[str, Array]:
    """All pictures of a file by name, each (rows, columns, 3) of uint8 and read-only.

    Raises ValueError when the file cannot be read, holds more than 64 MB, or has an array that is no picture. The
    message is one line that names the file.
    """
    pictures = read_npz(path, MOST)
    for name, picture in pictures.items():
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape) < LEAST:
            raise ValueError(f"{path}: {name}: expected uint8 of shape (rows >= {LEAST}, columns >= {LEAST}, 3), got "
                             f"{picture.dtype} of shape {picture.shape}")
    return MappingProxyType(pictures)


def photographs(split: str, data_dir: PathLike | None = None) -> tuple[Array, ...]:
    """The photographs of a split, "train", "validation" or "test".

    Raises
    ------
    FileNotFoundError
        When there is no such folder or file.
    ValueError
        For another split, and what `read_pictures` raises; also when the file lacks one of the photographs.
    """
    names = PHOTOGRAPHS[choice("split", split, PHOTOGRAPHS)]
    path = find_pictures(data_dir)
    pictures = read_pictures(path)
    for name in names:
        if f"photo_{name}" not in pictures:
            raise ValueError(f"{path}: expected a picture photo_{name}, got none")
    return tuple(pictures[f"photo_{name}"] for name in names)


def painting(name: str, data_dir: PathLike | None = None) -> Array:
    """The painting of this name, for example `STYLE`. Raises ValueError, with the names, for one that is not there.

    For the rest it raises what `photographs` raises.
    """
    pictures = read_pictures(find_pictures(data_dir))
    known = [picture.removeprefix("style_") for picture in pictures if picture.startswith("style_")]
    return pictures[f"style_{choice('style', name, known)}"]


def middle(picture: Array) -> Array:
    """The largest square in the middle of a picture, a view."""
    rows, columns = picture.shape[:2]
    side = min(rows, columns)
    top, left = (rows - side) // 2, (columns - side) // 2
    return picture[top : top + side, left : left + side]


def random_square(picture: Array, rng: np.random.Generator) -> Array:
    """A square of a picture at a random place, a view, mirrored or not.

    Its side is uniform between half of the shorter side of the picture and the whole of it.
    """
    rows, columns = picture.shape[:2]
    shorter = min(rows, columns)
    side = int(rng.integers(shorter // 2, shorter, endpoint=True))
    top, left = (int(rng.integers(0, length - side, endpoint=True)) for length in (rows, columns))
    square = picture[top : top + side, left : left + side]
    return square[:, ::-1] if rng.random() < 0.5 else square


def scaled(picture: Array, size: int) -> Array:
    """A picture scaled to (size, size, C), float64: each new pixel is the mean of the area that it covers."""
    rows, columns = (_shares(length, size) for length in picture.shape[:2])
    return np.ascontiguousarray(np.einsum("ip,jq,pqc->ijc", rows, columns, picture.astype(np.float64), optimize=True))


def _shares(length: int, size: int) -> Array:
    """The share (size, length) that each of ``length`` old pixels has in each of ``size`` new ones."""
    edges, old = np.arange(size + 1) * (length / size), np.arange(length)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.maximum(overlap, 0) * (size / length)

"""The weights of networks that were trained to recognise images, as far as their features serve for style transfer.

Two networks are known. Their files hold arrays ``NAME_w`` (M, C, A, B), a kernel of A x B pixels from C to M channels,
and ``NAME_b`` (M,), float16 or float32. Both networks expect the colours blue, green and red, 0 to 255 minus `MEAN`.
Here colours are red, green and blue, so the first kernel is turned around on reading.

    vgg16        the convolutions conv1_1 to conv5_1 of VGG-16, all 3 x 3 (Simonyan and Zisserman 2015)
    squeezenet   SqueezeNet 1.1 without its last layer (Iandola et al. 2016)

A network is read as a plain chain of convolutions, each followed by ReLU, some with max pooling before them. A "fire"
module of SqueezeNet ends in a 1 x 1 and a 3 x 3 convolution side by side. They are one 3 x 3 convolution here: a 1 x 1
kernel is a 3 x 3 kernel with zeros around it.

The files are not part of the package. They are found in the folder that the user names or in its subfolder
``networks``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..checks import choice
from ..files import read_npz
from .files import data_folder, find_file

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Array
    from ..protocols import Path as PathLike

MEAN = 123.68, 116.779, 103.939  # red, green, blue
MOST = 2**27  # bytes of all arrays of a file


class Convolution(NamedTuple):
    """A layer: F' = relu(conv2d(max_pool(F), W, b)), with "same" padding."""

    name: str
    W: np.ndarray  # (A, B, C, M)
    b: np.ndarray  # (M,)
    stride: int    # of the convolution
    pool: int      # rows and columns of the windows of the pooling, whose stride is 2; 0 is no pooling


class Layer(NamedTuple):
    """What a file must have for one layer."""

    name: str
    kernels: dict[str, tuple[int, int, int, int]]  # the name and the shape (M, C, A, B) of each of its arrays
    stride: int
    pool: int


class Architecture(NamedTuple):
    """A network: the names that its file may have, and its layers."""

    files: tuple[str, ...]
    layers: tuple[Layer, ...]


def _vgg16() -> tuple[Layer, ...]:
    layers, C = [], 3
    for block, (count, M) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (1, 512)), 1):
        for k in range(1, count + 1):
            name = f"conv{block}_{k}"
            layers.append(Layer(name, {name: (M, C, 3, 3)}, 1, 2 if k == 1 and block > 1 else 0))
            C = M
    return tuple(layers)


def _squeezenet() -> tuple[Layer, ...]:
    layers, C = [Layer("conv1", {"conv1": (64, 3, 3, 3)}, 2, 0)], 64
    for k in range(2, 10):
        S, E = ((16, 64), (32, 128), (48, 192), (64, 256))[k // 2 - 1]
        layers += [
            Layer(f"squeeze{k}", {f"fire{k}_squeeze1x1": (S, C, 1, 1)}, 1, 3 if k in (2, 4, 6) else 0),
            Layer(f"fire{k}", {f"fire{k}_expand1x1": (E, S, 1, 1), f"fire{k}_expand3x3": (E, S, 3, 3)}, 1, 0),
        ]
        C = 2 * E
    return tuple(layers)


NETWORKS = {
    "vgg16": Architecture(("vgg16_conv1-5_1_fp16.npz", "vgg16.npz"), _vgg16()),
    "squeezenet": Architecture(("squeezenet11.npz", "squeezenet.npz"), _squeezenet()),
}


def find_network(name: str, data_dir: PathLike | None = None) -> Path:
    """The path of a file; ``name`` is a key of `NETWORKS`.

    Raises FileNotFoundError when there is no such folder or file.
    """
    folder = data_folder(data_dir)
    return find_file((folder, folder / "networks"), NETWORKS[choice("network", name, NETWORKS)].files)


def read_network(name: str, data_dir: PathLike | None = None) -> tuple[Convolution, ...]:
    """All layers of a network, their arrays float32 and read-only; ``name`` is a key of `NETWORKS`.

    Each file is read once and then kept in memory, so later changes on the disk are not noticed.

    Raises
    ------
    FileNotFoundError
        When there is no such folder or file.
    ValueError
        For another name; when the file cannot be read, holds more than 128 MB, or lacks an array; when an array has
        another shape, is not of float16 or float32, or has a value that is not finite. The message is one line that
        names the file.
    """
    return read_layers(find_network(name, data_dir), name)


@lru_cache(maxsize=len(NETWORKS))  # 35 MB for VGG-16, 3 MB for SqueezeNet
def read_layers(path: Path, name: str) -> tuple[Convolution, ...]:
    """`read_network` of the file at this path."""
    arrays = read_npz(path, MOST)

    def checked(key: str, shape: tuple[int, ...]) -> Array:
        array = arrays.get(key)
        if array is None:
            raise ValueError(f"{path}: expected an array {key}, got none")
        if array.shape != shape or array.dtype not in (np.float16, np.float32):
            raise ValueError(f"{path}: {key}: expected float16 or float32 of shape {shape}, got {array.dtype} of shape "
                             f"{array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {key}: holds values that are not finite")
        return array.astype(np.float32)

    chain = list[Convolution]()
    for layer in NETWORKS[name].layers:
        size = max(shape[2] for shape in layer.kernels.values())
        kernels, offsets = [], []
        for key, shape in layer.kernels.items():
            border = (size - shape[2]) // 2
            around = (0, 0), (0, 0), (border, border), (border, border)
            kernels.append(np.pad(checked(f"{key}_w", shape), around))
            offsets.append(checked(f"{key}_b", shape[:1]))
        W = np.ascontiguousarray(np.concatenate(kernels).transpose(2, 3, 1, 0))
        if not chain:
            W = np.ascontiguousarray(W[:, :, ::-1])  # blue, green, red -> red, green, blue
        b = np.concatenate(offsets)
        W.flags.writeable = b.flags.writeable = False
        chain.append(Convolution(layer.name, W, b, layer.stride, layer.pool))
    return tuple(chain)

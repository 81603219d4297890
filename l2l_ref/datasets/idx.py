"""The IDX format of the MNIST files, unsigned bytes only.

    bytes             content
    0, 1              zero
    2                 code of the element type, 8 for unsigned bytes
    3                 number of dimensions, n
    4 .. 3 + 4 n      the dimensions, big-endian unsigned 32-bit integers
    4 + 4 n ..        the elements, last dimension fastest

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

The caller says which shape the file must have. The header of the file is only compared with that shape, so the number
of bytes to read is known in advance, whatever the file says.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .files import read_at_most

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Array

_UNSIGNED_BYTE = 8


def idx_header(shape: Sequence[int]) -> bytes:
    """The header of an IDX file of unsigned bytes of this shape, as bytes."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, _UNSIGNED_BYTE, len(shape), *shape)


def read_idx(path: Path, shape: tuple[int, ...]) -> Array:
    """Read an IDX file of unsigned bytes, gzipped if its name ends in ``.gz``.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        The shape that the file must have.

    Returns
    -------
    ndarray of uint8, of that shape, read-only

    Raises
    ------
    ValueError
        When the file cannot be read, is no IDX file of unsigned bytes, has another shape, or holds fewer or more
        elements than its header says. The message is one line that names the file.
    """
    expected, size = idx_header(shape), math.prod(shape)
    content = read_at_most(path, len(expected) + size + 1)  # one byte more shows whether the file is too long
    header, elements = content[: len(expected)], memoryview(content)[len(expected) :]
    if header != expected:
        raise ValueError(f"{path}: {_difference(header, shape)}")
    if len(elements) != size:
        count = "more" if len(elements) > size else f"only {len(elements)}"
        raise ValueError(f"{path}: expected {size} bytes after the header, as it says, got {count}")
    return np.frombuffer(elements, np.uint8).reshape(shape)


def _difference(header: bytes, shape: tuple[int, ...]) -> str:
    """What is wrong with a header that is not the one of ``shape``, in words."""
    if len(header) >= 2 and header[:2] != b"\0\0":
        return f"no IDX file: expected two zero bytes at the start, got 0x{header[:2].hex()}"
    if len(header) >= 3 and header[2] != _UNSIGNED_BYTE:
        return f"expected element type 0x08 (unsigned byte), got 0x{header[2]:02x}"
    if len(header) >= 4 and header[3] != len(shape):
        return f"expected {len(shape)} dimensions, got {header[3]}"
    length = 4 + 4 * len(shape)
    if len(header) < length:
        return f"truncated: expected a header of {length} bytes, got {len(header)} bytes in all"
    return f"expected the shape {shape}, got {struct.unpack_from(f'>{len(shape)}I', header, 4)}"

"""Arrays with a card, in one file: ``.npz`` without pickle, written whole or not at all.

The card is a JSON object, stored as text beside the arrays. It has the format version and a hash of the arrays.

Reading trusts nothing. No member of the file may be compressed or promise more bytes than the file has. The names,
shapes and dtypes that the reader expects are compared with the headers in the file before any array is allocated. The
values must be finite and match the hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import reprlib
import struct
import tokenize
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from . import protocols
    from .protocols import Array, Card

    Expected = Mapping[str, tuple[tuple[int, ...], Any]]  # name: (shape, dtype)

FORMAT = 1
LARGEST_CARD = 2**24  # bytes

# The errors of zipfile and NumPy on bytes that are not what they should be. (An OSError comes from a seek there.)
_BROKEN = (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OverflowError, MemoryError, struct.error,
           UnicodeError, OSError)


def write(path: protocols.Path, arrays: Mapping[str, Any], card: Card) -> None:
    """Write a dict of arrays and a card (a JSON-able dict) to ``path``.

    A temporary file beside it is written, flushed to disk and renamed, so that a crash leaves either the old file or
    the new one. Raises ValueError for values that are not finite, and OSError when the file cannot be written.
    """
    path = Path(path)
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} holds values that are not finite, so it is not written")
    card = {**card, "format": FORMAT, "sha256": digest(arrays)}
    text = np.frombuffer(json.dumps(card).encode(), np.uint8)
    if len(text) > LARGEST_CARD:
        raise ValueError(f"{path}: its card would be larger than {LARGEST_CARD} bytes")
    with _replacing(path) as stream:
        np.savez(stream, card=text, **arrays)


def write_text(path: protocols.Path, text: str) -> None:
    """Write a string to ``path`` as UTF-8: whole or not at all, as `write` does."""
    with _replacing(Path(path)) as stream:
        stream.write(text.encode())


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream of bytes. When all of them are on disk, they replace the file ``path``."""
    temporary = path.parent / f"{path.name}.{os.getpid()}.tmp"
    try:
        stream = open(temporary, "wb")
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read(source: protocols.Path | IO[bytes], expect: Callable[[Card], Expected],
         name: str | None = None) -> tuple[dict[str, Array], Card]:
    """Read back what ``write`` wrote: (arrays, card).

    Parameters
    ----------
    source : path or binary stream
        A stream must be seekable. It stays open.
    expect : callable
        card -> dict of name: (shape, dtype) of the arrays that must be there, no more and no less. It raises ValueError
        when the card itself is not what the reader wants.
    name : str, optional
        How messages name the file; by default the path, or the ``name`` of the stream.

    Raises
    ------
    ValueError
        When the file is not such a file; the message says what is wrong.
    OSError
        When the file cannot be read at all.
    """
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as stream:
            return read(stream, expect, name or str(source))
    name = name or str(getattr(source, "name", "the stream"))
    try:
        with zipfile.ZipFile(source) as archive:
            _check_members(archive, source.seek(0, os.SEEK_END))
            card = _card(archive)
            arrays = _arrays(archive, expect(card))
    except _BROKEN as error:
        raise ValueError(f"{name}: not a readable .npz file ({_in_one_line(error)})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{name}: {_in_one_line(error)}") from None
    if digest(arrays) != card.get("sha256"):
        raise ValueError(f"{name}: the arrays do not match the hash on the card")
    return arrays, card


def digest(arrays: Mapping[str, Any]) -> str:
    """A hash of names, dtypes, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return text if len(text) <= 500 else f"{text[:500]} ..."


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Nothing twice, nothing compressed, and no more bytes than the file's own ``size``."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ValueError("it holds two arrays of one name")
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"{reprlib.repr(member.filename)} is compressed, which these files are not")
    promised = sum(member.file_size for member in members)
    if promised > size:
        raise ValueError(f"it promises {promised} bytes of arrays and has {size}")


def _card(archive: zipfile.ZipFile) -> Card:
    if "card.npy" not in archive.namelist():
        raise ValueError("it has no card")
    with archive.open("card.npy") as stream:
        shape, dtype = _header(stream, "card")
        if len(shape) != 1 or dtype != np.uint8 or shape[0] > LARGEST_CARD:
            raise ValueError(f"its card is not text, or larger than {LARGEST_CARD} bytes")
        text = _values(stream, "card", shape[0])
    try:
        card = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("its card is not JSON") from None
    if not isinstance(card, dict):
        raise ValueError("its card is not a JSON object")
    if card.get("format") != FORMAT:
        raise ValueError(f"its format is {reprlib.repr(card.get('format'))}, this version reads {FORMAT}")
    return card


def _arrays(archive: zipfile.ZipFile, expected: Expected) -> dict[str, Array]:
    names, wanted = set(archive.namelist()) - {"card.npy"}, {name + ".npy" for name in expected}
    if names != wanted:
        missing, extra = (reprlib.repr(sorted(difference)) if difference else "none"
                          for difference in (wanted - names, names - wanted))
        raise ValueError(f"arrays missing: {missing}, not expected: {extra}")
    arrays = {}
    for name, (shape, dtype) in expected.items():
        shape, dtype = tuple(shape), np.dtype(dtype)
        with archive.open(name + ".npy") as stream:
            came = _header(stream, name)
            if came != (shape, dtype):
                raise ValueError(f"{name}: expected shape {shape} of {dtype}, got {came[0]} of {came[1]}")
            data = _values(stream, name, math.prod(shape) * dtype.itemsize)
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: holds values that are not finite")
    return arrays


def _values(stream: IO[bytes], name: str, size: int) -> bytes:
    """The rest of a stream, which must be ``size`` bytes. At its end, the stream has checked its CRC."""
    data = stream.read(size + 1)
    if len(data) != size:
        raise ValueError(f"{name}: expected {size} bytes of values, got {'more' if len(data) > size else len(data)}")
    return data


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """(shape, dtype) of an .npy stream, which is left at its first value."""
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns where it guesses
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, SyntaxError, TypeError, Warning, RecursionError, tokenize.TokenError) as error:
        raise ValueError(f"{name}: not a readable array ({error})") from None
    if dtype.hasobject or fortran and len(shape) > 1 or any(units < 0 for units in shape):
        raise ValueError(f"{name}: expected plain numbers in C order")
    return shape, dtype

"""Arrays with a card, in one file: ``.npz`` without pickle, written whole or not at all.

The card is a JSON object, stored as text beside the arrays. It carries the format version and a hash of the
arrays. Reading believes nothing: the names, shapes and dtypes that a reader expects are compared with what
the file's headers say before any array is allocated, and the values must be finite and match the hash.
"""

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

FORMAT = 1
LARGEST_CARD = 2**24  # bytes


def write(path, arrays, card):
    """Write a dict of arrays and a card (a JSON-able dict) to ``path``.

    A temporary file beside it is written, flushed to disk and renamed, so that a crash leaves the old
    file or the new one.
    """
    path = Path(path)
    card = {"format": FORMAT, **card, "sha256": digest(arrays)}
    text = np.frombuffer(json.dumps(card).encode(), np.uint8)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, card=text, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read(path, expect):
    """Read back what ``write`` wrote: (arrays, card).

    Parameters
    ----------
    path : path
    expect : callable
        card -> dict of name: (shape, dtype) of the arrays that must be there, no more and no less. It
        raises ValueError when the card itself is not what the reader wants.

    Raises
    ------
    ValueError
        When the file is not such a file; says what is wrong. OSError when it cannot be read at all.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            card = _card(archive)
            arrays = _arrays(archive, expect(card))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: not a readable .npz file ({error})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error.args[0] if error.args else error}") from None
    if digest(arrays) != card.get("sha256"):
        raise ValueError(f"{path}: the arrays do not match the hash on the card")
    return arrays, card


def digest(arrays):
    """A hash of names, dtypes, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _card(archive):
    names = archive.namelist()
    if "card.npy" not in names:
        raise ValueError("it has no card")
    if archive.getinfo("card.npy").file_size > LARGEST_CARD:
        raise ValueError(f"its card is larger than {LARGEST_CARD} bytes")
    with archive.open("card.npy") as stream:
        shape, dtype = _header(stream, "card")
        if len(shape) != 1 or dtype != np.uint8 or shape[0] > LARGEST_CARD:
            raise ValueError("its card is not text")
        text = stream.read(shape[0])
    try:
        card = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("its card is not JSON") from None
    if not isinstance(card, dict):
        raise ValueError("its card is not a JSON object")
    if card.get("format") != FORMAT:
        raise ValueError(f"its format is {card.get('format')!r}, this version reads {FORMAT}")
    return card


def _arrays(archive, expected):
    names = {name.removesuffix(".npy") for name in archive.namelist()} - {"card"}
    if names != set(expected):
        missing, extra = sorted(set(expected) - names), sorted(names - set(expected))
        raise ValueError(f"arrays missing: {missing or 'none'}, not expected: {extra or 'none'}")
    arrays = {}
    for name, (shape, dtype) in expected.items():
        with archive.open(name + ".npy") as stream:
            came = _header(stream, name)
            if came != (tuple(shape), np.dtype(dtype)):
                raise ValueError(f"{name}: expected shape {tuple(shape)} of {np.dtype(dtype)}, got {came[0]} of {came[1]}")
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            data = stream.read(size + 1)
        if len(data) != size:
            raise ValueError(f"{name}: expected {size} bytes of values, got {len(data)}")
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: holds values that are not finite")
    return arrays


def _header(stream, name):
    """(shape, dtype) of an .npy stream, left at its first value."""
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{name}: not a readable array ({error})") from None
    if fortran and len(shape) > 1:
        raise ValueError(f"{name}: expected C order")
    return shape, dtype

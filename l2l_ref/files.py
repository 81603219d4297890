"""Every file of the package is written here, whole or not at all, and read here, bounded before it is believed.

**Writing.** The bytes go to a temporary file of a random name beside the target, which is flushed to disk and renamed.
The folder is flushed, too. The writer holds a lock on its temporary. A temporary without one is of a writer that was
killed, and the next write of the same file removes it.

**An archive** is arrays with a card, in one ``.npz`` without pickle. The card is a JSON object, stored as text beside
the arrays. It has the format version and, at its end, a hash of all the rest of it and of the arrays. In older files
the hash is that of the arrays alone; the reader takes both.

**Reading** trusts nothing. The number of parts of an archive, their sizes, and the number of values of a JSON text are
bounded before anything of that size is allocated. No part may promise more bytes than the file has. The names, shapes
and dtypes that the reader expects are compared with the headers in the file. The values must be finite and match the
hash.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import re
import reprlib
import secrets
import stat
import struct
import tokenize
import warnings
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from . import protocols
    from .protocols import Array, Card

    Expected = Mapping[str, tuple[tuple[int, ...], Any]]  # name: (shape, dtype)

FORMAT = 1
LARGEST_CARD = 2**24       # bytes
LARGEST_STATE = 2**26      # bytes of a JSON text that stands alone
MOST_VALUES = 2**22        # of a JSON text
LARGEST_DIRECTORY = 2**18  # bytes, of the directory of a zip archive: some thousand entries
PIECE = 2**18              # bytes that are read or written at once

_BINARY = getattr(os, "O_BINARY", 0)  # Windows has the first, POSIX the others
_NO_LINK, _AT_ONCE = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)

# The errors of zipfile and NumPy on bytes that are not what they should be. (An OSError comes from a seek there.)
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError, MemoryError,
           struct.error, UnicodeError, OSError)


# ----------------------------------------------------------------------------------------------------------- writing


def write_bytes(path: protocols.Path, content: bytes | memoryview) -> None:
    """Write ``content`` to ``path``: whole or not at all, whatever happens meanwhile.

    A file that exists keeps its mode. A link stays one, and its target is written. Other writers of the same file, in
    this process or others, do not matter: each write is whole, and the last one stays.

    Raises
    ------
    ValueError
        When ``path`` exists and is a device, a pipe or a socket.
    OSError
        When the file cannot be written. The message names it, and says which file is there now.
    """
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    old = _existing(target, path)
    now = "nothing was written" if old is None else "the old file was kept"
    try:
        _remove_leftovers(target)
        temporary, handle = "", -1
        try:
            temporary, handle = _temporary(target, 0o666 if old is None else 0o600)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(handle, rest[:PIECE]):]
            if old is not None:
                _take_over(temporary, old)
            os.fsync(handle)
            if fcntl is None:  # Windows renames no open file
                os.close(handle)
                handle = -1
            os.replace(temporary, target)
            now = "the new file is there, but a loss of power may still undo it"
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            if handle >= 0:
                os.close(handle)
        _sync_folder(folder)
    except OSError as error:
        raise OSError(error.errno or errno.EIO, f"{error.strerror or error}; {now}", str(path)) from error


def write_text(path: protocols.Path, text: str) -> None:
    """`write_bytes` of a string in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: protocols.Path, content: dict[str, Any]) -> None:
    """Write a dict in JSON's types to ``path``, with a hash at its end, as `read_json` wants it.

    Raises ValueError when `read_json` would refuse it, and for the rest as `write_bytes`.
    """
    write_bytes(path, _with_hash(path, content, "", LARGEST_STATE) + b"\n")


def write(path: protocols.Path, arrays: Mapping[str, Any], card: Card) -> None:
    """Write a dict of arrays and a card (a JSON-able dict) to ``path``, by `write_bytes`.

    Raises ValueError for values that are not finite, and when `read` would refuse the card for its size.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name} holds values that are not finite, so it is not written")
    text = _with_hash(path, {**card, "format": FORMAT}, digest(arrays), LARGEST_CARD)
    archive = io.BytesIO()
    np.savez(archive, card=np.frombuffer(text, np.uint8), **arrays)
    write_bytes(path, archive.getbuffer())


def digest(arrays: Mapping[str, Any]) -> str:
    """A hash of names, dtypes, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.hexdigest()


_HASH = b', "sha256": "%s"}'  # how a text with a hash ends


def _with_hash(path: protocols.Path, content: dict[str, Any], more: str, largest: int) -> bytes:
    """The JSON text of a dict whose last field is a hash of what stands before it and of the string ``more``."""
    body = json.dumps({name: value for name, value in content.items() if name != "sha256"}).encode()[:-1]
    text = body + _HASH % _hash(body, more).encode()
    if len(text) > largest or _values_in(text) > MOST_VALUES:
        raise ValueError(f"{path}: expected at most {largest} bytes and {MOST_VALUES} values of JSON, "
                         f"got {len(text)} and {_values_in(text)}, so it is not written")
    return text


def _matches_hash(text: bytes, more: str) -> bool:
    """Whether a text ends with the hash of what stands before it and of the string ``more``."""
    body = text[: -len(_HASH % bytes(64))]
    return text == body + _HASH % _hash(body, more).encode()


def _hash(body: bytes, more: str) -> str:
    return hashlib.sha256(more.encode() + body).hexdigest()


def cache_folder(root: str | None = None) -> str | None:
    """The folder of what can be computed again: in ``root``, in $XDG_CACHE_HOME or in ~/.cache.

    None if that is no absolute path, since what lies in a folder relative to the working one may be somebody else's.
    """
    root = root or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(os.path.join("~", ".cache"))
    return os.path.join(root, "l2l_ref") if os.path.isabs(root) else None


def make_private(folder: str) -> bool:
    """Make a folder of the user's own. Return whether it is one: not a link, and nobody else may write into it."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
    except OSError:
        return False
    if not hasattr(os, "geteuid"):  # Windows: the user's profile belongs to the user
        return stat.S_ISDIR(found.st_mode)
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not shared


def _existing(target: str, path: protocols.Path) -> os.stat_result | None:
    """What ``target``, the end of all links at ``path``, is; None if there is nothing. Raises unless it is a file."""
    try:
        found = os.stat(target)
    except FileNotFoundError:
        return None
    _require_file(found.st_mode, path)
    return found


def _require_file(mode: int, path: protocols.Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path}: expected a regular file, got a device, a pipe or a socket")


def _temporary(target: str, mode: int) -> tuple[str, int]:
    """(path, handle) of a new file beside ``target``, with a lock on it."""
    while True:
        temporary, handle = f"{target}.{secrets.token_hex(8)}.tmp", -1
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
            if fcntl is not None:
                with contextlib.suppress(OSError):  # a file system without locks, on which nobody finds leftovers
                    fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.lexists(temporary):
                return temporary, handle
        except BaseException:
            if handle >= 0:
                os.close(handle)
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
            raise
        os.close(handle)  # another writer found it before it was locked, and took it for a leftover


def _remove_leftovers(target: str) -> None:
    """Remove temporaries of writers of ``target`` that were killed: those on which nobody holds a lock.

    Where there are no locks, they stay: on Windows, for example.
    """
    if fcntl is None:
        return
    folder, name = os.path.split(target)
    leftover = re.compile(re.escape(name) + r"\.[0-9a-f]+\.tmp")
    with contextlib.suppress(OSError):
        for other in os.listdir(folder):
            if leftover.fullmatch(other):
                with contextlib.suppress(OSError):
                    _remove_unless_locked(os.path.join(folder, other))


def _remove_unless_locked(path: str) -> None:
    handle = os.open(path, os.O_RDWR | _NO_LINK | _AT_ONCE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(handle)


def _take_over(temporary: str, old: os.stat_result) -> None:
    """Give a file the mode of the file that it will replace, and its owner if we may."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            os.chown(temporary, old.st_uid, old.st_gid)
    os.chmod(temporary, stat.S_IMODE(old.st_mode))


def _sync_folder(folder: str) -> None:
    """Flush a folder to disk, and with it the renaming of a file. Only POSIX can, where the folder may be read."""
    if os.name != "posix" or not os.access(folder, os.R_OK):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a file system that has no such thing
            raise
    finally:
        os.close(handle)


# ------------------------------------------------------------------------------------------------- one writer at a time


# Our locks are file objects, which Python closes when nothing refers to them any more. So an interrupt may come at any
# line and leaves no lock behind.
_held: weakref.WeakSet[io.FileIO] = weakref.WeakSet()


def _forget_locks() -> None:
    """In a child process: the locks are the parent's, and end with it even if the child lives on."""
    for lock in list(_held):
        lock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


@contextlib.contextmanager
def only_writer(path: protocols.Path) -> Iterator[None]:
    """Be the only one of those who call this that writes ``path``, until the end of the ``with`` block.

    The lock is on a file beside it, ``path.lock``, which is removed at the end. The operating system gives up the lock
    of a process that is killed; the file then stays, without meaning.

    Raises
    ------
    ValueError
        When another one holds the lock.
    OSError
        When the folder cannot be written to.
    """
    name = f"{os.path.realpath(path)}.lock"
    try:
        lock = _locked(name)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    if lock is None:
        raise ValueError(f"{path}: another run is writing it")
    try:
        yield
    finally:
        if not lock.closed:  # as it is in a child process
            with contextlib.suppress(OSError):  # Windows removes no open file
                os.unlink(name)
            lock.close()


def _locked(name: str) -> io.FileIO | None:
    """A file that we made or found, and locked; None while another one holds the lock."""
    while True:
        lock, ours = io.FileIO(name, "r+", opener=_open_lock), False
        _held.add(lock)
        try:
            if not _lock(lock.fileno()):
                return None
            with contextlib.suppress(FileNotFoundError):
                ours = os.path.samestat(os.stat(name), os.fstat(lock.fileno()))
            if ours:
                return lock  # otherwise the one before us has removed the file in between
        finally:
            if not ours:
                lock.close()


def _open_lock(name: str, _flags: int) -> int:
    return os.open(name, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)


def _lock(handle: int) -> bool:
    """Lock a file. False if another one holds the lock; True also on a file system that has no locks."""
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
    return True


# ----------------------------------------------------------------------------------------------------------- reading


def open_file(path: protocols.Path) -> IO[bytes]:
    """Open a regular file for reading. Raises ValueError for a device, a pipe or a socket, without waiting for it."""
    handle = os.open(path, os.O_RDONLY | _AT_ONCE | _BINARY)
    try:
        _require_file(os.fstat(handle).st_mode, path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: protocols.Path, most: int) -> bytes:
    """The content of a file of at most ``most`` bytes. Raises ValueError when it has more, or cannot be read."""
    with open_file(path) as stream:
        try:
            content = stream.read(most + 1)
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error}") from error
    if len(content) > most:
        raise ValueError(f"{path}: expected at most {most} bytes, got more")
    return content


def read_json(path: protocols.Path) -> dict[str, Any]:
    """The dict that `write_json` wrote.

    Raises
    ------
    ValueError
        When the file is not of it, or its hash is missing or another; the message says what is wrong.
    OSError
        When the file cannot be opened.
    """
    text = read_bytes(path, LARGEST_STATE).removesuffix(b"\n")
    try:
        content = _object(text, "it")
        if not _matches_hash(text, ""):
            raise ValueError("it does not match the hash at its end")
    except ValueError as error:
        raise ValueError(f"{path}: {in_one_line(error)}") from None
    del content["sha256"]
    return content


def read_object(path: protocols.Path) -> dict[str, Any]:
    """The object in a JSON file of the user's, bounded as all that is read.

    Raises ValueError when it is none, and OSError when the file cannot be opened.
    """
    try:
        return _object(read_bytes(path, LARGEST_STATE), "it")
    except ValueError as error:
        raise ValueError(f"{path}: {in_one_line(error)}") from None


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

    Returns
    -------
    arrays : dict
    card : dict
        Its ``sha256`` is the `digest` of the arrays, whatever the file says.

    Raises
    ------
    ValueError
        When the file is not such a file; the message says what is wrong.
    OSError
        When the file cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)):
        with open_file(source) as stream:
            return read(stream, expect, name or str(source))
    with _naming(name or str(getattr(source, "name", "the stream"))), _archive(source) as archive:
        _check_members(archive, (zipfile.ZIP_STORED,), source.seek(0, os.SEEK_END))
        card, text = _card(archive)
        arrays = _arrays(archive, expect(card))
        found = digest(arrays)
        if not _matches_hash(text, found) and card.get("sha256") != found:  # the latter in older files
            raise ValueError("its card or the arrays do not match the hash on the card")
    return arrays, {**card, "sha256": found}


def read_npz(path: protocols.Path, most: int) -> dict[str, Array]:
    """The arrays of an ``.npz`` file that somebody else wrote, by ``numpy.savez`` or ``savez_compressed``.

    Any names, shapes and dtypes will do but those that need pickle. ``most`` bounds the bytes of all arrays together.
    Raises ValueError when the file is not of that kind, and OSError when it cannot be opened.
    """
    with open_file(path) as stream, _naming(str(path)), _archive(stream) as archive:
        _check_members(archive, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), most)
        arrays = {}
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                raise ValueError(f"{reprlib.repr(name)} is not an array")
            with archive.open(member) as part:
                shape, fortran, dtype = _header(part, name)
                array = _values(part, name, shape[::-1] if fortran else shape, dtype)
            arrays[name] = array.T if fortran else array
    return arrays


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn every fault of a file into a ValueError of one line that names it."""
    try:
        yield
    except _BROKEN as error:
        raise ValueError(f"{name}: not a readable .npz file ({in_one_line(error)})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{name}: {in_one_line(error)}") from None


def in_one_line(error: Exception) -> str:
    """The message of an error, on one line and not too long."""
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    return text if len(text) <= 500 else f"{text[:500]} ..."


def _values_in(text: bytes) -> int:
    """An upper bound of the number of values and names in a JSON text; each has one of these marks beside it."""
    return 1 + sum(map(text.count, (b",", b":", b"[", b"{")))


def _object(text: bytes, what: str) -> dict[str, Any]:
    """The JSON object that a text holds. Python bounds how deep it is nested, and how many digits a number has."""
    if _values_in(text) > MOST_VALUES:
        raise ValueError(f"{what} holds more than {MOST_VALUES} values")
    try:
        value = json.loads(text.decode())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not a JSON object")
    return value


def _archive(stream: IO[bytes]) -> zipfile.ZipFile:
    """The zip archive in a stream, after a look at its end: zipfile would read a directory of any size at once."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 42))
    tail = stream.read(42)
    before, end = tail[:-22], tail[-22:]
    if len(end) < 22 or end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0":
        raise zipfile.BadZipFile("File is not a zip file that ends with its directory")
    if before[:4] == b"PK\x06\x07" or struct.unpack_from("<I", end, 12)[0] > LARGEST_DIRECTORY:
        raise zipfile.BadZipFile(f"its directory is larger than {LARGEST_DIRECTORY} bytes")
    return zipfile.ZipFile(stream)


def _check_members(archive: zipfile.ZipFile, methods: tuple[int, ...], most: int) -> None:
    """Nothing twice, nothing compressed in another way than ``methods``, and at most ``most`` bytes in all."""
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise ValueError("it holds two arrays of one name")
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if member.compress_type not in methods or stored and member.compress_size != member.file_size:
            raise ValueError(f"{reprlib.repr(member.filename)} is compressed, which these files are not")
    promised = sum(member.file_size for member in members)
    if promised > most:
        raise ValueError(f"it promises {promised} bytes of arrays, more than {most}")


def _card(archive: zipfile.ZipFile) -> tuple[Card, bytes]:
    """The card, and its text."""
    if "card.npy" not in archive.namelist():
        raise ValueError("it has no card")
    with archive.open("card.npy") as stream:
        shape, _, dtype = _header(stream, "card")
        if len(shape) != 1 or dtype != np.uint8 or shape[0] > LARGEST_CARD:
            raise ValueError(f"its card is not text, or larger than {LARGEST_CARD} bytes")
        text = _values(stream, "card", shape, dtype).tobytes()
    card = _object(text, "its card")
    if card.get("format") != FORMAT:
        raise ValueError(f"its format is {reprlib.repr(card.get('format'))}, this version reads {FORMAT}")
    return card, text


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
            found, fortran, its_dtype = _header(stream, name)
            if fortran and len(found) > 1:
                raise ValueError(f"{name}: expected plain numbers in C order")
            if (found, its_dtype) != (shape, dtype):
                raise ValueError(f"{name}: expected shape {shape} of {dtype}, got {found} of {its_dtype}")
            arrays[name] = _values(stream, name, shape, dtype)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name}: holds values that are not finite")
    return arrays


def _values(stream: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The rest of a stream as a read-only array. It must be as long as the array needs, which the stream knows.

    At its end, the stream has checked its CRC.
    """
    size = math.prod(shape) * dtype.itemsize
    content = bytearray()
    while len(content) <= size and (piece := stream.read(PIECE)):
        content += piece
    if len(content) != size:
        count = "more" if len(content) > size else len(content)
        raise ValueError(f"{name}: expected {size} bytes of values, got {count}")
    array = np.frombuffer(content, dtype).reshape(shape)
    array.flags.writeable = False
    return array


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether it is in Fortran order, dtype) of an .npy stream, which is left at its first value."""
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns where it guesses
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, SyntaxError, TypeError, Warning, RecursionError, tokenize.TokenError) as error:
        raise ValueError(f"{name}: not a readable array ({error})") from None
    if dtype.hasobject or any(units < 0 for units in shape):
        raise ValueError(f"{name}: expected plain numbers in C order")
    return shape, fortran, dtype

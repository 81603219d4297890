"""Where data files are, and how to read a file that may hold anything.

A data file is found in a folder that the user names. The reader of a format says how many bytes it needs, and no more
than these are read. A file that is longer than its format allows, or that inflates to more, therefore costs no memory.

A file that is missing raises FileNotFoundError; one with other content than expected raises ValueError.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..files import PIECE, open_file

if TYPE_CHECKING:
    from ..protocols import Path as PathLike

VARIABLE = "L2L_REF_DATA"
MOST_MEMBERS = 2**14  # of a gzip stream; most have one


def data_folder(data_dir: PathLike | None = None) -> Path:
    """The folder of the data sets: ``data_dir``, or by default the one that ``L2L_REF_DATA`` names.

    Parameters
    ----------
    data_dir : str or path-like, optional

    Returns
    -------
    Path
        An absolute path.

    Raises
    ------
    FileNotFoundError
        When neither names a folder, and when that folder does not exist.
    """
    source = VARIABLE if data_dir is None else "data_dir"
    named = os.environ.get(VARIABLE) if data_dir is None else data_dir
    if not named:
        raise FileNotFoundError(f"no data folder is named: give data_dir (--data-dir), or set {VARIABLE}")
    folder = Path(named).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"{source}: expected a folder, got {folder}, which is none")
    return folder


def find_file(folders: Iterable[Path], names: Iterable[str]) -> Path:
    """The first of the files ``names``, with or without ``.gz``, in the first of ``folders`` that has one.

    If there is none, it raises a FileNotFoundError that lists the names and the folders.
    """
    for folder in folders:
        for name in names:
            for path in (folder / name, folder / f"{name}.gz"):
                if os.path.isfile(path):  # it is False, not an error, when the folder may not be entered
                    return path
    raise FileNotFoundError(
        f"no file {' or '.join(names)}, plain or .gz, in {' or '.join(str(folder) for folder in folders)}"
    )


def read_at_most(path: Path, size: int) -> bytes:
    """The first ``size`` bytes of a file, or all of them if it is shorter. A file named ``.gz`` is decompressed.

    Raises ValueError when the file cannot be read, and when a file named ``.gz`` is not in that format.
    """
    try:
        with open_file(path) as stream:
            return _inflated(stream, size) if path.suffix == ".gz" else stream.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error


def _inflated(stream: IO[bytes], size: int) -> bytes:
    """The first ``size`` bytes of a gzip stream.

    Python's gzip would read zeros behind the end one by one, and any number of empty members.
    """
    content, data = bytearray(), stream.read(PIECE)
    if data[:2] != b"\x1f\x8b":
        raise OSError("Not a gzipped file")
    for _ in range(MOST_MEMBERS):
        member = zlib.decompressobj(wbits=31)  # with gzip's header, and its CRC at the end
        while not member.eof:
            content += member.decompress(data, size - len(content))
            if len(content) == size:
                return bytes(content)
            data = member.unused_data or member.unconsumed_tail or stream.read(PIECE)
            if not data and not member.eof:
                raise EOFError("the compressed data ends too early")
        data = (data or stream.read(PIECE)).lstrip(b"\0")
        if not data:  # zeros may follow the last member
            return bytes(content)
    raise OSError(f"more than {MOST_MEMBERS} members of a gzip stream")

"""Where data files lie, and how to read one that may be anything.

A data file is found in a folder that the user names, and read no further than its
format allows: the reader says how many bytes it can use, so a file that goes on, or
inflates, beyond that costs no memory.

What is not there raises FileNotFoundError, what is there but wrong ValueError.
"""

import gzip
import os
import zlib
from pathlib import Path

VARIABLE = "L2L_REF_DATA"


def data_folder(data_dir=None):
    """The folder of the data sets: ``data_dir``, else what ``L2L_REF_DATA`` names.

    Parameters
    ----------
    data_dir : str or path-like, optional

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    FileNotFoundError
        When neither names a folder, or the one named does not exist.
    """
    source = VARIABLE if data_dir is None else "data_dir"
    named = os.environ.get(VARIABLE) if data_dir is None else data_dir
    if not named:
        raise FileNotFoundError(f"no data folder is named: give data_dir (--data-dir), or set {VARIABLE}")
    folder = Path(named).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"{source}: expected a folder, but {folder} is none")
    return folder


def find_file(folders, names):
    """The first of the files ``names``, plain or with ``.gz``, in the first of ``folders`` that has one.

    Raises FileNotFoundError that lists what was looked for.
    """
    for folder in folders:
        for name in names:
            for path in (folder / name, folder / f"{name}.gz"):
                if os.path.isfile(path):  # False, not an error, where a folder may not be entered
                    return path
    raise FileNotFoundError(
        f"no file {' or '.join(names)}, plain or .gz, in {' or '.join(str(folder) for folder in folders)}"
    )


def read_at_most(path, size):
    """The first ``size`` bytes of a file, all of it if it is shorter; decompressed if named ``.gz``.

    Raises ValueError when the file cannot be read or is not the gzip it is named.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as stream:
            return stream.read(size)
    except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError
        raise ValueError(f"{path}: cannot be read: {error}") from error

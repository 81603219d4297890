"""HPOLib's pre-computed grids: the loss of a learning method at every combination of a few hyperparameters.

The tables are not part of the package. They are read from the folder that you name, or from its subfolder ``hpolib``.
They are comma-separated text whose first line has the names of the columns.

- ``svm``: latent structured SVM, Miller et al. 2012; columns C, alpha, epsilon, error, time_s.
- ``lda``: online LDA, Hoffman et al. 2010; columns kappa, tau, S, perplexity, time_s.
- ``logreg``: logistic regression on MNIST, Eggensperger and Feurer; columns lrate, l2_reg, batchsize, n_epochs,
  valid_error, test_error, time_s.

As in HPOLib, the input for a hyperparameter is its position on its axis of the grid, not its value. A number u in [0,
1] stands for position floor(n u) of n, so that all positions are equally wide. This is our choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..checks import choice
from ..datasets.files import data_folder, find_file, read_at_most
from .benchmarks import BlackBox

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Array
    from ..protocols import Path as PathLike


class TableFile(NamedTuple):
    """A file of a table, and what it must hold."""

    file: str
    columns: tuple[str, ...]
    shape: tuple[int, ...]  # the length of each axis; the loss is in the first column after the axes
    source: str


TABLES = {
    "svm": TableFile(
        "svm_on_grid.csv", ("C", "alpha", "epsilon", "error", "time_s"), (25, 14, 4), "HPOLib; Miller et al. 2012"
    ),
    "lda": TableFile(
        "lda_on_grid.csv", ("kappa", "tau", "S", "perplexity", "time_s"), (6, 6, 8), "HPOLib; Hoffman et al. 2010"
    ),
    "logreg": TableFile(
        "logreg_on_grid.csv",
        ("lrate", "l2_reg", "batchsize", "n_epochs", "valid_error", "test_error", "time_s"), (11, 11, 8, 10),
        "HPOLib; Eggensperger and Feurer",
    ),
}
LARGEST_LINE = 200  # bytes


def read_table(name: str, data_dir: PathLike | None = None) -> BlackBox:
    """Read a table as a BlackBox on the unit cube.

    Parameters
    ----------
    name : {"svm", "lda", "logreg"}
    data_dir : str or path-like, optional
        The folder with the files. By default the environment variable ``L2L_REF_DATA`` names it.

    Returns
    -------
    BlackBox

    Raises
    ------
    FileNotFoundError
        When no folder is named, or the folder or the file is missing.
    ValueError
        For an unknown name, and for a file that is not the complete grid.
    """
    choice("name", name, TABLES)
    table = TABLES[name]
    folder = data_folder(data_dir)
    path = find_file((folder, folder / "hpolib"), (table.file,))
    losses = _grid(path, _numbers(path, table), table.shape)
    shape = np.array(table.shape)

    def formula(u: Array) -> Array:
        if not np.isfinite(u).all():
            raise ValueError("x: expected finite numbers")
        positions = np.clip(np.floor(u * shape), 0, shape - 1).astype(np.intp)
        return losses[tuple(np.moveaxis(positions, -1, 0))]

    best = np.argwhere(losses == losses.min())
    return BlackBox(name, np.array([[0.0, 1.0]] * len(shape)), formula, table.source, float(losses.min()),
                    (best + 0.5) / shape)


def _numbers(path: Path, table: TableFile) -> Array:
    """The rows of the file as an array with the columns of the table."""
    rows = int(np.prod(table.shape))
    content = read_at_most(path, LARGEST_LINE * (rows + 2))
    try:
        header, *lines = content.decode("ascii").splitlines()
    except ValueError:  # there is no line, or the bytes are not ASCII
        raise ValueError(f"{path}: expected comma-separated text with a line of column names") from None
    if tuple(header.split(",")) != table.columns:
        raise ValueError(f"{path}: expected the columns {','.join(table.columns)}, got {header[:80]!r}")
    if len(lines) != rows:
        raise ValueError(f"{path}: expected {rows} rows of numbers, got {len(lines)}")
    numbers = np.empty((rows, len(table.columns)))
    for number, line in enumerate(lines):
        try:
            numbers[number] = [float(cell) for cell in line.split(",")]
        except ValueError:
            raise ValueError(f"{path}: expected {len(table.columns)} numbers in line {number + 2}, "
                             f"got {line[:80]!r}") from None
        if not np.isfinite(numbers[number]).all():
            raise ValueError(f"{path}: expected finite numbers in line {number + 2}, got {line[:80]!r}")
    return numbers


def _grid(path: Path, numbers: Array, shape: tuple[int, ...]) -> Array:
    """The losses as an array with one axis per hyperparameter."""
    positions = []
    for axis, length in enumerate(shape):
        levels, position = np.unique(numbers[:, axis], return_inverse=True)
        if len(levels) != length:
            raise ValueError(f"{path}: expected {length} different values in column {axis + 1}, got {len(levels)}")
        positions.append(position)
    flat = np.ravel_multi_index(positions, shape)
    if len(np.unique(flat)) != len(flat):
        raise ValueError(f"{path}: expected each combination of hyperparameters once, got some of them twice")
    losses = np.empty(shape)
    losses.flat[flat] = numbers[:, len(shape)]
    losses.flags.writeable = False
    return losses

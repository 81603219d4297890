"""``l2l_ref.export``: the text of a file, from the name of a model to the last line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .. import files
from ..checks import choice
from . import writers
from .description import describe

if TYPE_CHECKING:
    from .. import protocols
    from ..pretrained import Model


def export(model: protocols.Path | Model, to: Literal["numpy", "python", "c", "js"] = "numpy",
           path: protocols.Path | None = None, *, part: str | None = None) -> str:
    """Write a trained optimizer as one self-contained source file, with its weights and a self-test.

    Parameters
    ----------
    model : str, path or model
        The name of a shipped optimizer, a file that `save` wrote, or the optimizer itself. Of a `PartitionedLSTM` one
        part is exported, and of a `Proposer` the search that its network makes alone.
    to : {"numpy", "python", "c", "js"}
        A module on NumPy, one on Python's standard library alone, a C99 header, or an ES module.
    path : str or path, optional
        The file to write, whole or not at all. By default none is written.
    part : str, optional
        Of a `PartitionedLSTM`: the part to export.

    Returns
    -------
    str
        The text of the file. It has the weights in float32, exactly.

    Raises
    ------
    ValueError
        For what is no model, for an unknown target, and for a part that there is not.
    OSError
        When the file cannot be written.

    Examples
    --------
    >>> text = export("quadratic-lstm", "c")
    """
    choice("to", to, writers.TARGETS)
    description = describe(model, part)
    file = Path(path).name if path is not None else f"optimizer{writers.SUFFIXES[to]}"
    text = writers.write(description, to, file)
    if path is not None:
        files.write_text(path, text)
    return text

"""Figures need matplotlib, which is optional. It is imported when a figure is asked for."""

import io
import os
from pathlib import Path
from typing import Any

from .extras import require
from .files import write_bytes


def matplotlib_figure() -> Any:
    """Return matplotlib's class Figure.

    Raises
    ------
    ImportError
        matplotlib is missing. The message names the extra that installs it.
    """
    require("matplotlib", "a figure")
    from matplotlib.figure import Figure

    return Figure


def save_figure(figure: Any, path: str | os.PathLike[str], **settings: Any) -> None:
    """Write a figure to ``path``, whole or not at all, in the format that the file name asks for.

    ``settings`` are those of ``Figure.savefig``.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format=Path(path).suffix[1:].lower(), **settings)
    write_bytes(path, drawn.getbuffer())


def require_figure(path: str | os.PathLike[str]) -> None:
    """Do nothing if a figure can be written in the format that the file name asks for. Call this before long work.

    Raises
    ------
    ValueError
        matplotlib does not know the ending of ``path``, or there is none.
    ImportError
        As `matplotlib_figure`.
    """
    require("matplotlib", "a figure")
    from matplotlib.backend_bases import FigureCanvasBase

    endings = sorted(f".{ending}" for ending in FigureCanvasBase.get_supported_filetypes())
    if Path(path).suffix.lower() not in endings:
        raise ValueError(f"{path}: expected a file name that ends in {', '.join(endings)}")

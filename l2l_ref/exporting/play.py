"""``l2l_ref.play``: one HTML file in which exported optimizers are at work.

The page is put together from the files in ``templates/play``. The networks in it are the JavaScript exports as they
are, each in a function of its own.
"""

from __future__ import annotations

import html
import re
import textwrap
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from .. import __version__, files, pretrained
from .export import export

if TYPE_CHECKING:
    from .. import protocols

MODELS = {"quadraticNormalLstm": "quadratic-normal-lstm", "general": "general", "lstmAny": "lstm-any"}
SCRIPTS = ("functions.js", "drawing.js", "search.js", "descent.js")


def play(path: protocols.Path | None = None) -> str:
    """Write a page for a browser in which learned optimizers are watched at work.

    It has two panels. In the first, a learned black-box optimizer and random search look for the minimum of a function
    of one or two variables, which one chooses or draws. In the second, a coordinatewise LSTM, Adam and momentum go down
    a surface. The page is one file, it needs no network, and the optimizers in it are what `export` writes in
    JavaScript.

    Parameters
    ----------
    path : str or path, optional
        The file to write, whole or not at all. By default none is written.

    Returns
    -------
    str
        The HTML of the page.

    Raises
    ------
    OSError
        When the file cannot be written.

    Examples
    --------
    >>> text = play()
    """
    page = Template(_part("page.html")).substitute(
        css=_part("page.css"), script="\n".join(map(_part, SCRIPTS)), about=_about(), version=__version__,
        exports="\n".join(_script(name, model) for name, model in MODELS.items()))
    if path is not None:
        files.write_text(path, page)
    return page


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("templates", "play", name).read_text("utf-8")


def _script(name: str, model: str) -> str:
    """An export as a script that defines one object. A module of its own could not be imported without a URL."""
    text = export(model, "js")
    names = re.findall(r"^export (?:function|class) (\w+)", text, re.MULTILINE)
    inside = re.sub(r"^export ", "", text, flags=re.MULTILINE).replace("</", r"<\/")
    return f"<script>\nconst {name} = (() => {{\n{inside}\nreturn {{ {', '.join(names)} }};\n}})();\n</script>"


def _about() -> str:
    """What the cards of the models say of their training, as terms and descriptions."""
    quadratic, any_, general = (pretrained.load(MODELS[name]).card["problem"]  # type: ignore[index]
                                for name in ("quadraticNormalLstm", "lstmAny", "general"))
    problems = len(general["problems"])
    texts = {
        "The learned search": f"`{MODELS['lstmAny']}`, an LSTM of 64 units that all coordinates share. It was trained "
        f"on draws of Gaussian processes in {_listed(any_['dim'])} dimensions, to find low values within 33 "
        f"evaluations. The seed decides in which orientation it sees a function; of one variable there are only two. "
        f"The page shows the network alone; `l2l_ref.minimize` goes on with a Gaussian process where the network "
        f"ends.",
        "The learned descent": f"`{MODELS['quadraticNormalLstm']}`, an LSTM with two layers of 20 units that sees one "
        f"coordinate at a time. It was trained on random quadratic functions of {quadratic['dim']} variables whose "
        f"matrices have standard normal entries.",
        "general": f"A smaller network that weighs running means of the gradient. It was trained on {problems} "
        f"problems, most of them neural networks. Functions of two variables were not among them.",
        "Random search, Adam, momentum": "Random search draws its points uniformly. Adam and momentum have their usual "
        "constants, and a learning rate that the page tunes for each surface.",
    }
    return "\n".join(_wrapped(f"<dt>{_marked(term)}</dt><dd>{_marked(text)}</dd>") for term, text in texts.items())


def _listed(numbers: list[int]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 116, initial_indent="    ", subsequent_indent="      ")


def _marked(text: str) -> str:
    return re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(text))

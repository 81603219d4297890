"""What the site needs beyond the pages: its navigation, a page for each file of source code and links to them, and the
page of ``l2l-ref play``.
"""

import ast
import importlib
import inspect
import posixpath
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform

import l2l_ref

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("README.md", "CHANGELOG.md", "l2l_ref/**/*.py", "l2l_ref/**/*.md", "tests/*.py", "examples/**/*.py")
SECTION = re.compile(r"^## (.+?)$(.*?)(?=^## |\Z)", re.M | re.S)


def add_navigation(app, name, content):
    """Each section of the index whose list links to pages becomes a part of the navigation."""
    if name != "index":
        return
    for title, text in SECTION.findall(content[0]):
        pages = re.findall(r"^- \[([^\]]*)\]\(([\w/-]+)\.md\)", text, re.M)
        if pages:
            entries = "\n".join(f"{label} <{page}>" for label, page in pages)
            content[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"


def source_files():
    return sorted(path for pattern in SHOWN for path in ROOT.glob(pattern))


def source_page(path):
    """The name of the page on which a file of the repository is shown."""
    return f"source/{path.relative_to(ROOT).as_posix()}"


def definitions():
    """Where each function and class is defined: name -> (path, line), of names that only one original has.

    A name of one small word is left out, since it may also be a problem or an option.
    """
    places = {}
    for path in ROOT.glob("l2l_ref/**/*.py"):
        if path.parent.name != "compiled":  # a twin has the name of its original
            for node in ast.parse(path.read_text("utf-8")).body:
                named = isinstance(node, (ast.FunctionDef, ast.ClassDef))
                if named and re.fullmatch(r"[A-Z]\w+|[a-z]+_\w+", node.name):
                    places.setdefault(node.name, []).append((path, node.lineno))
    return {name: found[0] for name, found in places.items() if len(found) == 1}


def first_line(path, tag):
    """The first line of code whose comment has a tag; where no line has it, that of the file's header."""
    lines = path.read_text("utf-8").splitlines()
    for wanted in (rf"#.*\b{tag}\b", rf"^    {tag}  "):
        for number, line in enumerate(lines, 1):
            if re.search(wanted, line):
                return number


class LinkToSources(SphinxPostTransform):
    """Links from a page to the code.

    A link to a file outside of docs/ leads to the page that shows the file, from the table of tags to the line that
    computes the equation. The name of a function or a class of the package, set as code, leads to its entry on the page
    of the interface, or else to its definition.
    """

    default_priority = 5  # before Sphinx looks for the targets

    def run(self):
        shown = {path.with_suffix("") if path.suffix == ".md" else path: path for path in source_files()}
        defined, documented, page = definitions(), self.env.get_domain("py").objects, self.env.docname
        for node in list(self.document.findall(lambda n: isinstance(n, (download_reference, pending_xref)))):
            path = shown.get((Path(self.app.srcdir, page).parent / node.get("reftarget", "")).resolve())
            if path:
                node.replace_self(self.link(path, self.line_of_tag(node, path), node.children))
        for node in list(self.document.findall(nodes.literal)):
            name = re.sub(r"^l2l(_ref)?\.", "", node.astext())
            if isinstance(node.parent, (nodes.paragraph, nodes.entry, nodes.strong)):
                if f"l2l_ref.{name}" in documented:
                    entry = documented[f"l2l_ref.{name}"]
                    uri = self.app.builder.get_relative_uri(page, entry.docname) + f"#{entry.node_id}"
                    node.replace_self(nodes.reference("", "", node.deepcopy(), refuri=uri, internal=True))
                elif name in defined:
                    node.replace_self(self.link(*defined[name], [node.deepcopy()]))

    def link(self, path, line, children):
        anchor = f"#L-{line}" if line else ""
        uri = self.app.builder.get_relative_uri(self.env.docname, source_page(path)) + anchor
        return nodes.reference("", "", *children, refuri=uri, internal=True)

    def line_of_tag(self, node, path):
        row = node.parent
        while row and not isinstance(row, nodes.row):
            row = row.parent
        tag = row[0].astext() if row else ""
        return first_line(path, tag) if re.fullmatch(r"[A-Z]\d\d?", tag) and path.suffix == ".py" else None


def show_sources(app):
    """The pages of the source files, with an anchor for each line: #L-12."""
    for path in source_files():
        language = {".py": "python", ".md": "text"}[path.suffix]
        code = app.builder.highlighter.highlight_block(
            path.read_text("utf-8"), language, linenos="inline", lineanchors="L", linespans="line",
            anchorlinenos=True
        )
        name = path.relative_to(ROOT).as_posix()
        body = f'<div class="source"><h1>{name}</h1>{code}</div>'
        yield source_page(path), {"title": name, "body": body}, "page.html"


def write_play(app, exception):
    """The page of ``l2l-ref play``, as it is written now."""
    if exception is None:
        l2l_ref.play(Path(app.outdir, "_static", "play.html"))


def source_of(domain, info):
    """Where the code of a documented object is, for ``sphinx.ext.linkcode``: relative to the API page."""
    value = importlib.import_module(info["module"])
    try:
        for name in info["fullname"].split("."):
            value = getattr(value, name)
        value = inspect.unwrap(getattr(value, "fget", None) or value)
        path, line = Path(inspect.getsourcefile(value)), inspect.getsourcelines(value)[1]
    except (AttributeError, TypeError, OSError):
        return None
    return posixpath.join("..", f"{source_page(path)}.html#L-{line}") if path.is_relative_to(ROOT) else None


def setup(app):
    app.config.linkcode_resolve = source_of
    app.connect("source-read", add_navigation)
    app.add_post_transform(LinkToSources)
    app.connect("html-collect-pages", show_sources)
    app.connect("build-finished", write_play)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What the site needs beyond the pages: its navigation, and a page for each source file of the repository."""

import importlib
import inspect
import posixpath
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform

ROOT = Path(__file__).resolve().parent.parent
SHOWN = ("README.md", "CHANGELOG.md", "l2l_ref/**/*.py", "l2l_ref/**/*.md", "tests/*.py", "examples/*.py")
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


class LinkToSources(SphinxPostTransform):
    """A link from a page to a file outside of docs/ leads to the page that shows the file."""

    default_priority = 5  # before Sphinx looks for its target

    def run(self):
        shown = {path.with_suffix("") if path.suffix == ".md" else path: source_page(path) for path in source_files()}
        name = self.env.docname
        for node in list(self.document.findall(lambda n: isinstance(n, (download_reference, pending_xref)))):
            path = (Path(self.app.srcdir, name).parent / node.get("reftarget", "")).resolve()
            if path in shown:
                uri = self.app.builder.get_relative_uri(name, shown[path])
                node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def show_sources(app):
    """The pages of the source files, with an anchor for each line: #L-12."""
    for path in source_files():
        language = {".py": "python", ".md": "text"}[path.suffix]
        code = app.builder.highlighter.highlight_block(
            path.read_text("utf-8"), language, linenos="inline", lineanchors="L", anchorlinenos=True
        )
        name = path.relative_to(ROOT).as_posix()
        yield source_page(path), {"title": name, "body": f'<div class="source"><h1>{name}</h1>{code}</div>'}, "page.html"


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
    return {"parallel_read_safe": True, "parallel_write_safe": True}

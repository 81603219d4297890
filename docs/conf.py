"""How Sphinx builds the site: ``python -m sphinx -W --keep-going -b html docs docs/_build/html``.

Every page also reads well where Markdown is shown without Sphinx. So the pages contain no directives but those of
``reference/api.md``: the navigation is read from the lists of links in ``index.md``, and a link to a file of the
repository leads to a page with its source. ``site_pages.py`` does both.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from l2l_ref import __version__ as release  # noqa: E402

project = "l2l_ref"
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.linkcode", "sphinx-mathjax-offline",
              "site_pages"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"numpy\..*")]  # an inventory of NumPy would have to be fetched

# Pages are CommonMark with GitHub's formulas, tables and anchors of headings.
myst_enable_extensions = ["dollarmath"]
myst_dmath_double_inline = True
myst_heading_anchors = 4

smartquotes_action = "qe"  # --option stays as it is

html_theme = "furo"
html_title = f"l2l_ref {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

# Signatures and types are those of the docstrings.
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

"""How Sphinx makes the site: ``make docs``, from the guides beside this file and the docstrings."""

import sys
from importlib import metadata
from pathlib import Path

from pygments.lexers import TextLexer

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))  # for reference_pages

project = "fastbatch"
author = "fastbatch developers"
release = metadata.version("fastbatch")

extensions = [
    "myst_parser",
    "numpydoc",
    "reference_pages",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
myst_heading_anchors = 3  # links to headings as code hosts make them

html_theme = "alabaster"
html_title = "fastbatch"
html_theme_options = {
    "description": "Mini-batch training on CPUs, with the gradient of each example",
    "page_width": "1080px",
    "sidebar_width": "260px",
    "show_powered_by": False,
}
html_show_copyright = False
html_copy_source = False

# Fields and arguments that a docstring names stand under Parameters, where no link can lead;
# and no other library's site is asked for its names.
nitpick_ignore_regex = [("py:obj", "[a-z_]+"), ("py:obj", r"(numpy|scipy|sklearn)\..+")]

autosummary_generate = False  # reference_pages writes the pages
autodoc_typehints = "none"  # numpydoc's sections say types, and shapes, for readers
autodoc_member_order = "bysource"
default_role = "autolink"  # `Trainer.fit` in a docstring is a link
numpydoc_show_class_members = False
numpydoc_validation_checks = {
    "GL03",  # two blank lines in a row
    "GL06",  # an unknown section
    "GL07",  # sections in another order than numpydoc's
    "PR02",  # a word on a parameter that there is not
    "PR10",  # no space before the colon
    "SS03",  # a summary without a period
    "SS06",  # a summary of several lines
}


def setup(app):
    """Called by Sphinx."""
    app.add_lexer("csv", TextLexer)  # code hosts colour it, Pygments does not know it

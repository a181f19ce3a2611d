"""Sphinx: ``make docs`` builds the site, without a network and with every warning an error."""

project = "torus-swing"
author = "The torus-swing authors"
copyright = author
extensions = [
    "myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon",
    "sphinx_click", "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["_build", "jupyter_execute"]
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebook has its outputs, which a test compares with its cells
suppress_warnings = ["ref.python"]  # a shape such as (nlinks,) is taken for a type to look up
default_role = "code"  # names in docstrings are code
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_mock_imports = ["cupy"]
autosummary_generate = False  # its tables lead to the same page
copybutton_exclude = ".linenos, .gp, .go"  # copies what is typed, without prompts and answers
html_theme = "furo"
html_title = "torus-swing"
html_show_sphinx = False
html_static_path: list[str] = []


def accessible(app, pagename, templatename, context, doctree):
    """Give captions a level, let the keyboard scroll code and tables, and fade no small text."""
    for key in ("body", "furo_navigation_tree"):
        html = context.get(key, "")
        html = html.replace('role="heading"', 'role="heading" aria-level="2"')
        html = html.replace("<pre>", '<pre tabindex="0">')
        html = html.replace("<small>", '<small style="opacity: 1">')
        context[key] = html.replace('class="table-wrapper', 'tabindex="0" class="table-wrapper')


def setup(app):
    """Connect to Sphinx, which calls this function."""
    app.connect("html-page-context", accessible, priority=900)  # after the theme

"""Sphinx: ``make docs`` builds the site, without a network and with every warning an error."""

project = "torus-swing"
author = "The torus-swing authors"
copyright = author
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # a shape such as (nlinks,) is taken for a type to look up
default_role = "code"  # names in docstrings are code
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_mock_imports = ["cupy"]
html_theme = "furo"
html_title = "torus-swing"
html_show_sphinx = False
html_static_path: list[str] = []

"""Assemble a report as one HTML file with its style, program and data, and a strict CSP.

CSP stands for content security policy: the browser blocks what the policy does not permit.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

from swing.checks import shown

SCRIPTS = (
    "words.js", "place.js", "run.js", "view.js", "lattice.js", "switches.js", "picture.js",
    "details.js", "panel.js", "charts.js", "summary.js", "app.js",
)  # fmt: skip
"""The files of the program, which are concatenated in this order."""


def page(data: Mapping[str, Any]) -> str:
    """Return the HTML of a report.

    The content security policy permits the page's own script and style by their hashes, and no
    access to the network.

    Args:
        data: the data, from `netsim.report.data.describe`.

    Raises:
        TypeError: ``data`` is something else.
    """
    if not (isinstance(data, dict) and {"runs", "place"} <= data.keys()):
        raise TypeError(f"pass data of netsim.report.data.describe, not {shown(data)}")
    # importlib.resources also finds the files if the package is installed as a zip archive.
    package = files(__package__)
    style = (package / "style.css").read_text(encoding="utf-8")
    program = "".join((package / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return Template((package / "template.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(_title(data)),
        policy=f"default-src 'none'; script-src {_hash(program)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        program=program,
        data=_harmless(json.dumps(data, separators=(",", ":"))),
    )


def _title(data: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(run["name"].replace("_", " ") for run in data["runs"]))
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
    return f"{listed[:1].upper()}{listed[1:]} on {data['place']['name'].replace(':', ' ')}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _harmless(text: str) -> str:
    """Escape JSON so that it cannot close the script element around it."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

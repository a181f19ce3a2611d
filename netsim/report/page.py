"""One HTML file: style, program and data inside, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

SCRIPTS = ("model.js", "view.js", "panel.js", "charts.js", "app.js")
"""Parts of one program, in this order."""


def page(data: Mapping[str, Any]) -> str:
    """The report of what `netsim.report.describe` told.

    The page may run and style itself with what is in it, known by its hash, and may ask the
    network for nothing.
    """
    here = files(__package__)
    style = (here / "style.css").read_text(encoding="utf-8")
    program = "".join((here / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return Template((here / "template.html").read_text(encoding="utf-8")).substitute(
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
    """JSON that cannot end the element it stands in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

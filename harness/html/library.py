"""The JavaScript that draws the charts: plotly's, as its Python package brings it along.

A page holds it compressed, so that it needs no network; a browser takes it apart again.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from harness.errors import RequestError

PACKAGE, FILE = "plotly", Path("package_data") / "plotly.min.js"


@cache
def plotly() -> bytes:
    """The library's bytes. Raises RequestError where the package is not installed."""
    spec = find_spec(PACKAGE)  # which does not import it
    places = [Path(place) / FILE for place in (spec and spec.submodule_search_locations) or ()]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise RequestError("charts are drawn with plotly, which is not here: pip install plotly")
    return found.read_bytes()


@cache
def packed() -> str:
    """The same, as `pack` makes it."""
    return pack(plotly())


def pack(content: bytes) -> str:
    """Compressed, in characters that HTML leaves alone; equal for equal content."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def allowed(script: str | bytes) -> str:
    """How a Content-Security-Policy names a script that may run: by its digest."""
    content = script.encode() if isinstance(script, str) else script
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"

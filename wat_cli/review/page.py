"""The page's text: template, style, script and data put together so that no data can act as any of the others.

Data is JSON in which ``<``, ``>`` and ``&`` are escaped, so it can neither end its own element nor begin another. The
page's security policy names its one script and its one style sheet by their hashes and forbids every connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import urllib.parse
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import wat_cli

SCRIPTS = ("base", "files", "search", "player", "timeline", "entries", "corrections", "main")
"""Parts of the page's script, in order; together they are one function."""

GENERATOR = '<meta name="generator" content="wat review '
"""What tells a page of ours from somebody's own work."""

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def json_text(value: Any) -> str:
    """`value` as ASCII JSON that is safe inside a script element. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)


def base64_text(values: NDArray[np.uint8]) -> str:
    """Bytes as base64."""
    return base64.b64encode(values.tobytes()).decode("ascii")


def relative_url(target: Path, folder: Path) -> str:
    """Address of `target` as seen from a page in `folder`; each byte that means something in an address is escaped."""
    path = os.path.relpath(target.absolute(), folder.absolute())
    return urllib.parse.quote(os.fsencode(path.replace(os.sep, "/")))


def data_element(key: str, text: str) -> str:
    """A block of data inside the page, read when it is needed."""
    return f'<script type="application/json" id="{key}">{text}</script>\n'


def data_script(key: str, text: str) -> str:
    """The same as a file of its own, which hands its data to the page that asked for it."""
    return f"watData({json.dumps(key)},{text});\n"


def page_text(index: Mapping[str, Any], data: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        index: what the page needs at once.
        data: JSON text of blocks that are inside the page, by their keys.
    """
    style, script = _asset("style.css"), _script()
    elements = data_element("index", json_text(index)) + "".join(data_element(*item) for item in data.items())
    values = {
        "policy": content_policy(style, script),
        "version": wat_cli.__version__,
        "style": style,
        "script": script,
        "data": elements,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _asset("page.html"))


def content_policy(style: str, script: str) -> str:
    """Nothing but this script, what it loads itself, this style sheet, and media: from the page's own place."""
    return (
        "default-src 'none'; "
        f"script-src '{_hash(script)}' 'strict-dynamic'; style-src '{_hash(style)}'; "
        "media-src 'self' file:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in SCRIPTS)
    return f'\n(() => {{\n"use strict";\n{parts}}})();\n'


def _asset(name: str) -> str:
    return resources.files("wat_cli").joinpath("data", "review", name).read_text(encoding="utf-8")

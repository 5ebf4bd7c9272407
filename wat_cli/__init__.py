"""``wat``: batch media captioning, words and sounds from one Whisper-AT pass.

As a library: `load_model`, `caption` and what they give (`wat_cli.api`). They are imported when they are first named,
so that ``import wat_cli`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wat_cli.api import Captioned, Model, caption, load_model

__version__ = "0.1.0"

__all__ = ["Captioned", "Model", "__version__", "caption", "load_model"]


def __getattr__(name: str) -> Any:
    """The API, imported when it is first named (PEP 562)."""
    if name in __all__:
        from wat_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Finds what there is to review: sidecars, and media files that have none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wat_cli.discovery import MEDIA_SUFFIXES
from wat_cli.errors import UsageError, shown
from wat_cli.sidecar import MAX_BYTES

_HEAD = 512


@dataclass(frozen=True)
class Found:
    """One line of the review: a sidecar, or a media file without one."""

    sidecar: Path | None
    media: Path | None
    """Set where there is no sidecar; otherwise the sidecar says which file it is of."""


def find(paths: Iterable[Path]) -> tuple[Found, ...]:
    """The sidecars that `paths` name or that lie in folders named, and the media files there, in the order of names.

    Media that one of the sidecars is of are not listed again (`views` knows which); hidden names are left out. A media
    file named stands for the sidecar beside it. Raises `UsageError` for a path that does not exist.
    """
    found: dict[Path, Found] = {}
    for path in paths:
        if not path.exists():
            raise UsageError(f"{shown(path)}: no such file or folder")
        for item in _folder(path) if path.is_dir() else (_file(path),):
            found.setdefault(item.sidecar or item.media or path, item)
    return tuple(found.values())


def _file(path: Path) -> Found:
    if path.suffix.lower() == ".json":
        return Found(path, None)
    beside = (path.with_suffix(".json"), path.with_name(f"{path.name}.json"))
    return next((Found(name, None) for name in beside if name.is_file()), Found(None, path))


def _folder(root: Path) -> Iterator[Found]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted((name for name in folders if name[0] != "."), key=os.fsencode)
        for name in sorted((name for name in names if name[0] != "."), key=os.fsencode):
            path = Path(folder, name)
            suffix = path.suffix[1:].lower()
            if suffix == "json" and looks_like_sidecar(path):
                yield Found(path, None)
            elif suffix in MEDIA_SUFFIXES:
                yield Found(None, path)


def looks_like_sidecar(path: Path) -> bool:
    """Whether a file begins as ``wat``'s sidecars do, also after an edit that kept the order of keys."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        return head.lstrip().startswith(b"{") and b'"schema"' in head and b'"encoder_passes"' in head
    except OSError:
        return False


def read_bytes(path: Path) -> bytes:
    """Content of a sidecar, at most one byte more than a sidecar can have."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)

"""Hashes of checkpoint files, and what is remembered of them between runs.

Two small JSON files in wat's own cache folder (``~/.cache/wat``; `XDG_CACHE_HOME` is respected):

- ``verified.json``: the hash of a file on disk by path, size and time of change, since hashing three gigabytes takes
  seconds. Only a cache: when it is lost or unreadable, files are hashed again.
- ``first_seen.json``: the hash that each head had when it was first seen, by its address, because its publisher gives
  none (trust on first use). When this one is unreadable the run stops, since without it a changed head would pass.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from wat_cli.errors import CheckpointError

_BLOCK = 1 << 20

Reading = Callable[[int, int], None]
"""Called with bytes read so far and in all, while a large file is hashed."""


def cache_root() -> Path:
    """The folder of caches, found as openai-whisper finds it (`whisper.load_model`)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def state_folder() -> Path:
    """Where wat keeps what it remembers of checkpoints."""
    return cache_root() / "wat"


def hash_file(path: Path, reading: Reading | None = None) -> str:
    """The file's sha256 in hexadecimal, read in blocks of one MiB."""
    digest = hashlib.sha256()
    size, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if reading is not None:
                reading(done, size)
    return digest.hexdigest()


def sha256_of(path: Path, reading: Reading | None = None, *, afresh: bool = False) -> str:
    """`hash_file`, remembered for as long as the file keeps its size and time of change; `afresh` reads it anyway."""
    entry = None if afresh else _read_verified().get(str(path.resolve()))
    if isinstance(entry, dict) and entry.get("signature") == _signature(path) and isinstance(entry.get("sha256"), str):
        return str(entry["sha256"])
    signature = _signature(path)
    sha256 = hash_file(path, reading)
    if _signature(path) == signature:
        remember(path, sha256)
    return sha256


def remember(path: Path, sha256: str) -> None:
    """Keep the hash of a file as it is now."""
    with suppress(OSError):  # a home that cannot be written costs a second hashing, no more
        entry = {"signature": _signature(path), "sha256": sha256}
        _update("verified.json", lambda known: known | {str(path.resolve()): entry})


def _signature(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def first_seen(url: str) -> str | None:
    """The hash that this address's file had when it was first seen, or None.

    Raises `CheckpointError` where the record cannot be read.
    """
    path = state_folder() / "first_seen.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unreadable_record(path, error) from error
    if not isinstance(known, dict):
        raise _unreadable_record(path, "it holds no table")
    return known.get(url)


def remember_first_seen(url: str, sha256: str) -> None:
    """Trust this hash for this address from now on."""
    with suppress(OSError):
        _update("first_seen.json", lambda known: known | {url: sha256})


def forget_first_seen(url: str) -> None:
    """Let the next file from this address be trusted, whatever its hash."""
    first_seen(url)  # an unreadable record is said, not overwritten
    _update("first_seen.json", lambda known: {key: value for key, value in known.items() if key != url})


def _unreadable_record(path: Path, reason: object) -> CheckpointError:
    return CheckpointError(
        f"{path}: the record of the heads' hashes cannot be read ({reason}). Remove that file if you trust the heads "
        "in your cache; their hashes are then recorded anew."
    )


def _read_verified() -> dict[str, Any]:
    try:
        known = json.loads((state_folder() / "verified.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _update(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Rewrite one of the two files under a lock, whole or not at all."""
    folder = state_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with FileLock(folder / f".{name}.lock"):
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        changed = change(known if isinstance(known, dict) else {})
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(changed, file, indent=1, sort_keys=True)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

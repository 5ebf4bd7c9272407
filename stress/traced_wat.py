"""``wat`` as it is, but that it tells what it does while it does it, and takes its time in writing.

``python -m stress.traced_wat caption ...``: what it does goes line by line into the file ``STRESS_TRACE``
(`stress.runs.Event`); ``STRESS_SLOW`` are the seconds added to each step of writing down, so that a kill has something
to hit. Nothing else differs from ``wat``, whose own code has no hooks for this.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

SLOW = float(os.environ.get("STRESS_SLOW", "0"))
PIECES = 3
"""Pieces in which a slow writer writes a file."""


def trace(what: str, **fields: Any) -> None:
    """Append a line; it is there whole, whatever happens to this process next."""
    path = os.environ.get("STRESS_TRACE")
    if path is None:
        return
    line = json.dumps({"at": time.monotonic(), "process": os.getpid(), "what": what, **fields}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def held() -> dict[str, int]:
    """What this process holds: bytes of memory now and at its peak, threads, open files."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    files = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 (one of them is the listing's own)
    memory = {name: int(status[key][0]) << 10 for name, key in (("resident", "VmRSS"), ("peak", "VmHWM"))}
    return {**memory, "threads": int(status["Threads"][0]), "files": files}


def _told(function: Callable[..., Any], what: str, source: Callable[..., Path]) -> Callable[..., Any]:
    def call(*arguments: Any, **rest: Any) -> Any:
        name = source(*arguments).name
        trace(what, source=name, **(held() if what == "file" else {}))
        try:
            return function(*arguments, **rest)
        finally:
            trace(f"{what}-end", source=name)

    return call


class _Trickle(io.FileIO):
    """Writes in pieces, with pauses."""

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        step = max(1, -(-len(view) // PIECES))
        for start in range(0, len(view), step):
            time.sleep(SLOW)
            super().write(view[start : start + step])
        return len(view)


def _slowed(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **rest: Any) -> Any:
        time.sleep(SLOW)
        return function(*arguments, **rest)

    return call


def tell_and_slow_down() -> None:
    """Put the tracing and the pauses around ``wat``'s own functions."""
    from wat_cli import captioning, outputs
    from wat_cli.batch import Captioner

    Captioner.caption = _told(Captioner.caption, "file", lambda _, job: job.source)  # type: ignore[method-assign]
    captioning.transcribe = _told(captioning.transcribe, "hear", lambda job, *_: job.source)
    captioning.write = _told(captioning.write, "write", lambda job, *_: job.source)
    if SLOW:
        slow = {"fdopen": lambda descriptor, mode: _Trickle(descriptor, mode), "fsync": _slowed(os.fsync)}
        outputs.os = SimpleNamespace(**{**vars(os), **slow})  # type: ignore[assignment, attr-defined]
        Path.replace = _slowed(Path.replace)  # type: ignore[method-assign]
    atexit.register(lambda: trace("end", **held()))


def _tell_windows() -> None:
    from wat_cli.engine.file import File
    from wat_cli.seek import Window

    take = File.take

    def told(self: File, window: Window, *features: Any) -> None:
        trace("window", second=window.seek / 100)
        take(self, window, *features)

    File.take = told  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    tell_and_slow_down()
    _tell_windows()
    from wat_cli.cli import main

    main(sys.argv[1:])
